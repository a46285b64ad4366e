package redisstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/gateway"
	"ucwagate/gateway/redisstore"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

var prefixes atomic.Int64

// newPrefix lets tests on one server keep out of each other's way.
func newPrefix() string { return fmt.Sprintf("test%d", prefixes.Add(1)) }

func open(t testing.TB, client rueidis.Client, prefix string, clk clock.Clock, l storetest.Limits) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(redisstore.Options{
		Client: client, Prefix: prefix, Clock: clk, Idle: l.Idle, Tombstone: l.Tombstone, Max: l.Max, Session: l.Session,
		Timeout: time.Second / 2, // which mending waits for, before which nobody counts as unwatched
	})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestTheStoreKeepsTheContractOnOneServer(t *testing.T) {
	client := redistest.Start(t).Client(t)
	storetest.Run(t, true, func(t *testing.T, clk clock.Clock, l storetest.Limits) gateway.Store {
		return open(t, client, newPrefix(), clk, l)
	})
}

func TestTheStoreKeepsTheContractOnACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	storetest.Run(t, true, func(t *testing.T, clk clock.Clock, l storetest.Limits) gateway.Store {
		return open(t, client, newPrefix(), clk, l)
	})
}

func TestTwoStoresOnOneServerAreOne(t *testing.T) { testTwo(t, redistest.Start(t).Client(t)) }

func TestTwoStoresOnAClusterAreOne(t *testing.T) { testTwo(t, redistest.StartCluster(t).Client(t)) }

func testTwo(t *testing.T, client rueidis.Client) {
	storetest.RunReplicas(t, func(t *testing.T, clk clock.Clock, l storetest.Limits) (a, b gateway.Store) {
		prefix := newPrefix()
		return open(t, client, prefix, clk, l), open(t, client, prefix, clk, l)
	})
}
