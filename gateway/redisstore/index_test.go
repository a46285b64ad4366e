package redisstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// watched is what the hook of a view was told.
func watched(x *index) map[string]bool {
	all := map[string]bool{}
	x.tell = func(name string, some bool) { all[name] = some }
	return all
}

// read lets a shard be compared with what Redis holds.
func read(x *index, r reading) {
	v := &x.shards[3]
	r.known, r.top, r.round = max(v.seq, v.heard), v.top, v.round
	x.compare(3, r)
}

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
			all := watched(x)
			if c.first != "" {
				x.heard("3", c.first, []string{"+ana"})
			}
			x.compare(3, reading{seq: c.seq, names: c.names, whole: "a 1"})
			require.Equal(t, c.stale, x.shards[3].stale)
			if c.stale {
				read(x, reading{seq: 1001, names: []string{"ana"}, whole: "a 1"})
				require.False(t, x.shards[3].stale)
			}
			require.Equal(t, c.first != "", all["ana"])
		})
	}
}

func TestNumbersMayBeginAnew(t *testing.T) {
	x := newIndex("w")
	x.heard("3", "5000", []string{"+ana"})
	read(x, reading{whole: "a 1"})
	require.False(t, x.shards[3].stale, "what was heard before was lost")
}

func TestAViewFollowsAServerThatLacksTheLastChanges(t *testing.T) {
	for name, heard := range map[string]bool{"of which nothing was heard": false, "that was heard": true} {
		t.Run(name, func(t *testing.T) {
			x := newIndex("w")
			all := watched(x)
			read(x, reading{seq: 100, names: []string{"ana"}, whole: "a 1"})
			require.False(t, x.heard("3", "101", []string{"+bo", "+cy", "-ana"})) // up to 103
			if heard {
				require.False(t, x.heard("3", "102", []string{"+di"}), "the new server has 101")
				require.True(t, x.shards[3].stale)
			}
			read(x, reading{seq: 102, names: []string{"ana", "bo", "di"}})
			require.True(t, all["ana"] && all["di"])
			require.True(t, all["cy"], "whoever watches may have been lost with the entry")
			require.Equal(t, []int{3}, x.broken())
			read(x, reading{seq: 102, names: []string{"ana", "bo", "di"}, whole: "b 1"})
			require.False(t, all["cy"])
			require.Empty(t, x.broken())
			require.False(t, x.heard("3", "103", []string{"+ed"}))
			require.True(t, all["ed"])
			require.False(t, x.shards[3].stale)
		})
	}
}

func TestAShardWhoseNumbersWentBackIsBrokenThoughRedisDoesNotKnow(t *testing.T) {
	x := newIndex("w")
	read(x, reading{seq: 103, names: []string{"ana"}, whole: "a 1"})
	read(x, reading{seq: 102, whole: "a 1"})
	require.Equal(t, []int{3}, x.broken())
	read(x, reading{seq: 102, whole: "a 1"})
	require.Equal(t, []int{3}, x.broken(), "until it was mended")
	read(x, reading{seq: 103, names: []string{"ana"}, whole: "a 2"})
	require.Empty(t, x.broken())
	read(x, reading{seq: 100, names: []string{"ana"}, whole: "a 3"})
	require.Empty(t, x.broken(), "another replica has mended it by now")
}

func TestThatNumbersWentBackIsNotForgottenWhenTheyBeginAnew(t *testing.T) {
	for name, c := range map[string]struct {
		anew func(x *index)
		seq  int64
	}{
		"the connection is made anew": {(*index).restart, 102},
		"a number is heard twice": {func(x *index) {
			x.heard("3", "102", []string{"+bo"})
			x.heard("3", "103", []string{"+cy", "+di"})
		}, 104},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex("w")
			read(x, reading{seq: 100, names: []string{"ana"}, whole: "a 1"})
			require.False(t, x.heard("3", "101", []string{"+bo", "+cy", "-ana"})) // up to 103
			read(x, reading{seq: 103, names: []string{"bo", "cy"}, whole: "a 1"})
			require.Empty(t, x.broken())
			c.anew(x)
			read(x, reading{seq: c.seq, names: []string{"bo"}, whole: "a 1"})
			require.Equal(t, []int{3}, x.broken())
			read(x, reading{seq: c.seq, names: []string{"bo"}, whole: "a 2"})
			require.Empty(t, x.broken())
			x.restart()
			read(x, reading{seq: c.seq, names: []string{"bo"}, whole: "a 2"})
			require.Empty(t, x.broken(), "that was mended")
		})
	}
}

func TestNumbersThatMendingBeganAnewAreNotMissed(t *testing.T) {
	x := newIndex("w")
	read(x, reading{seq: 100, whole: "a 1"})
	require.False(t, x.heard("3", "101", []string{"+ana"}))
	read(x, reading{seq: 5000, names: []string{"ana"}, whole: "b 1"})
	require.False(t, x.heard("3", "5001", []string{"+bo"}))
	require.True(t, x.heard("3", "5003", []string{"+cy"}))
}

func TestNobodyIsUnwatchedByHearsayWhileAShardIsBroken(t *testing.T) {
	x := newIndex("w")
	all := watched(x)
	read(x, reading{seq: 100, names: []string{"ana", "bo"}, whole: "a 1"})
	read(x, reading{seq: 100, names: []string{"ana", "bo"}})
	require.False(t, x.heard("3", "101", []string{"-ana", "-bo", "+cy"}))
	require.True(t, all["ana"] && all["bo"], "entries of others may be missing")
	require.True(t, all["cy"])
	read(x, reading{seq: 103, names: []string{"ana", "cy"}, whole: "b 1"})
	require.True(t, all["ana"], "it was entered again")
	require.False(t, all["bo"])
	require.False(t, x.heard("3", "104", []string{"-ana"}))
	require.False(t, all["ana"])
}

func TestAReadingSaysNothingOfNumbersThatBeganAnewMeanwhile(t *testing.T) {
	x := newIndex("w")
	x.restart()
	x.compare(3, reading{seq: 100})
	require.True(t, x.shards[3].stale, "it was asked for before others could be heard")
}

func TestAGapInWhatIsHeardSaysThatMoreWasMissed(t *testing.T) {
	x := newIndex("w")
	read(x, reading{seq: 100, whole: "a 1"})
	require.False(t, x.heard("3", "103", []string{"+ana"}), "what came before may have been said before it could be heard")
	require.False(t, x.heard("3", "104", []string{"+bo"}))
	require.True(t, x.heard("3", "106", []string{"+cy"}))
}
