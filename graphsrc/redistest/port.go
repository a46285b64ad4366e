package redistest

import (
	"math/rand/v2"
	"net"
	"testing"
)

// Ports are taken below those that systems give to outgoing connections (32768
// and up on Linux), so that none of these takes the port of a server that is
// being started again. A member of a cluster also listens busOffset above its port.
const (
	lowestPort = 11000
	ports      = 10000
	busOffset  = 10000
)

// freePort finds a port that nobody listens on, nor on that of the bus above it.
// Somebody may take it before it is used: then another is to be tried.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		port := lowestPort + rand.IntN(ports)
		if free(port) && free(port+busOffset) {
			return port
		}
	}
	tb.Fatal("redistest: no free port")
	return 0
}

func free(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
