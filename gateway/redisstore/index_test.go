package redisstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsHeardWhileAShardIsReadIsNotLost(t *testing.T) {
	for name, c := range map[string]struct {
		seq   int64    // of what was read
		names []string // that were read
		first string   // number of what is heard meanwhile; empty: nothing
		stale bool     // it has to be read again
	}{
		"the first of all in a shard that was empty": {0, nil, "1000", true},
		"the next, of which the reading knows":       {1001, []string{"ana"}, "1001", false},
		"one that came after the reading":            {1000, []string{"bo"}, "1001", true},
		"nothing":                                    {0, nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex("w")
			watched := map[string]bool{}
			x.tell = func(name string, some bool) { watched[name] = some }
			if c.first != "" {
				x.heard("3", c.first, []string{"+ana"})
			}
			x.compare(3, c.seq, c.names, 0)
			require.Equal(t, c.stale, x.shards[3].stale)
			if c.stale {
				x.compare(3, 1001, []string{"ana"}, x.shards[3].heard)
				require.False(t, x.shards[3].stale)
			}
			require.Equal(t, c.first != "", watched["ana"])
		})
	}
}

func TestNumbersMayBeginAnew(t *testing.T) {
	x := newIndex("w")
	x.heard("3", "5000", []string{"+ana"})
	x.compare(3, 0, nil, 5000)
	require.False(t, x.shards[3].stale, "what was heard before was lost")
}
