package redistest

import (
	"net"
	"sync"
	"testing"
)

// Link is a way to a server that can be cut, for one process of several.
type Link struct {
	to       string
	listener net.Listener
	busy     sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed while the way is open
	conns map[net.Conn]bool
	ended bool
}

// Link opens a way to the server, which ends with the test.
func (s *Server) Link(tb testing.TB) *Link {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("redistest: opening a way to the server: %v", err)
	}
	l := &Link{to: s.Addr(), listener: listener, open: make(chan struct{}), conns: make(map[net.Conn]bool)}
	close(l.open)
	l.busy.Go(l.accept)
	tb.Cleanup(l.end)
	return l
}

// Addr is where the way begins.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut has nothing arrive any more, without a word to either side, as if a cable
// were pulled.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

// Mend ends a cut. What was sent meanwhile arrives now.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.open)
}

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		if l.keep(near) {
			l.busy.Go(func() { l.join(near) })
		}
	}
}

// join takes a connection on to the server.
func (l *Link) join(near net.Conn) {
	defer l.drop(near)
	l.pass()
	far, err := net.Dial("tcp", l.to)
	if err != nil || !l.keep(far) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { l.carry(near, far) })
	l.carry(far, near)
	back.Wait()
}

// carry copies until either side closes, and closes the other then.
func (l *Link) carry(to, from net.Conn) {
	defer l.drop(to)
	for b := make([]byte, 32<<10); ; {
		n, err := from.Read(b)
		l.pass()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until the way is open.
func (l *Link) pass() {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	<-open
}

// keep notes a connection that is to be closed at the end; it closes it now if
// that has come.
func (l *Link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		_ = c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *Link) drop(c net.Conn) {
	_ = c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *Link) end() {
	_ = l.listener.Close()
	l.mu.Lock()
	l.ended = true
	for c := range l.conns {
		_ = c.Close()
	}
	select {
	case <-l.open:
	default:
		close(l.open)
	}
	l.mu.Unlock()
	l.busy.Wait()
}
