package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/gateway"
	"ucwagate/gateway/memory"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheMemoryStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, false, func(t *testing.T, clk clock.Clock, l storetest.Limits) gateway.Store {
		s, err := memory.New(memory.Options{Clock: clk, Idle: l.Idle, Tombstone: l.Tombstone, Max: l.Max, Session: l.Session})
		require.NoError(t, err)
		t.Cleanup(s.Close)
		return s
	})
}
