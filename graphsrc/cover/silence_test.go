package cover

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

// covered waits until 20 people are covered, and long enough for what is missed
// from then on to count.
func covered(t *testing.T, b *bench) *helper {
	t.Helper()
	b.source.watch(ids(0, 20)...)
	pass(2 * time.Minute)
	require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
	return b.tenant.helpers[0]
}

// fallSilent makes the account's subscription deliver nothing.
func (h *helper) fallSilent(deaf bool) *modelSub {
	s := h.only()
	h.set(func(h *helper) { s.silent, h.deaf = true, deaf })
	return s
}

func TestTwoPeopleMissedAreTheDeathOfASubscription(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := covered(t, b)
		dead := h.fallSilent(false)
		b.tenant.change("p00001", "p00002")
		pass(safety + latency + floor)
		require.EqualValues(t, 1, b.first().SilentDeaths)
		require.NotSame(t, dead, h.only())
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)), "the first new one is trusted at once")
		require.Equal(t, StateLive, b.first().State)
	})
}

func TestTheSamePersonMissedTwiceIsTheDeathOfASubscription(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		covered(t, b).fallSilent(false)
		b.tenant.change("p00001")
		pass(safety + latency + floor)
		require.EqualValues(t, 0, b.first().SilentDeaths)
		require.Equal(t, StateSuspect, b.first().State)
		b.tenant.change("p00001")
		pass(safety + latency + floor)
		require.EqualValues(t, 1, b.first().SilentDeaths)
	})
}

func TestANotificationRefutesTheEvidence(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := covered(t, b)
		s := h.fallSilent(false)
		b.tenant.change("p00001")
		pass(safety + latency + floor)
		require.Equal(t, StateSuspect, b.first().State)
		h.set(func(*helper) { s.silent = false })
		b.tenant.change("p00003")
		pass(5 * time.Second)
		require.Equal(t, StateLive, b.first().State)
		h.set(func(*helper) { s.silent = true })
		b.tenant.change("p00002")
		pass(safety + latency + floor)
		require.EqualValues(t, 0, b.first().SilentDeaths)
	})
}

func TestLatencyOfAMinuteIsNoSilence(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := covered(t, b)
		h.set(func(h *helper) { h.latency = 59 * time.Second })
		for i := range 200 {
			b.tenant.change(ids(i%20, i%20+1)...)
			pass(97 * time.Second)
		}
		require.EqualValues(t, 0, b.first().SilentDeaths)
		require.EqualValues(t, 0, b.first().Muted)
		require.EqualValues(t, 200, b.first().Notifications)
	})
}

func TestAfterTheSecondDeathANewOneMustProveItself(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := covered(t, b)
		h.fallSilent(true)
		for range 2 {
			b.tenant.change(ids(0, 20)...)
			pass(2*safety + latency)
		}
		require.EqualValues(t, 2, b.first().SilentDeaths)
		pass(2 * time.Minute)
		require.Equal(t, StateProbation, b.first().State)
		require.Equal(t, 0, b.source.coveredOf(ids(0, 20)))
		pass(floor)
		require.Empty(t, b.source.stale())

		// Those that never deliver are made anew ever more rarely.
		pass(48 * time.Hour)
		creates := h.created()
		require.Less(t, len(creates), 22)
		last := creates[len(creates)-1].Sub(creates[len(creates)-2])
		require.InDelta(t, lastProbation.Hours(), last.Hours(), 0.2)

		// One that delivers is covered again, and trust returns in full.
		h.set(func(h *helper) { h.deaf = false })
		s := h.only()
		h.set(func(*helper) { s.silent = false })
		b.tenant.change("p00004")
		pass(5 * time.Second)
		require.Equal(t, StateLive, b.first().State)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
		pass(2 * time.Minute)
		h.fallSilent(false)
		b.tenant.change(ids(0, 20)...)
		pass(safety + latency + floor)
		require.EqualValues(t, 3, b.first().SilentDeaths)
		require.Equal(t, StateLive, b.first().State)
	})
}

func TestAQuietNightIsNoSilence(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		covered(t, b)
		pass(12 * time.Hour)
		require.EqualValues(t, 1, b.first().Created)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
	})
}

func TestSomebodyMissedAloneIsUncoveredAlone(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := covered(t, b)
		s := h.only()
		h.set(func(*helper) { s.muffled["p00001"] = true })
		for range 30 {
			b.tenant.change("p00001", "p00002")
			pass(time.Minute)
		}
		require.Equal(t, 0, b.source.coveredOf(ids(1, 2)))
		require.Equal(t, 19, b.source.coveredOf(ids(0, 20)))
		require.EqualValues(t, 0, b.first().SilentDeaths)
		require.EqualValues(t, 1, b.first().Muted)
		require.Equal(t, 19, b.first().Covered)
		h.set(func(*helper) { delete(s.muffled, "p00001") })
		b.tenant.change("p00001")
		pass(time.Minute + 5*time.Second)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
	})
}

func TestMissedPeopleWhoAreNotCoveredAreNoEvidence(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		covered(t, b)
		for range 5 {
			b.Missed("p09999")
			b.Missed("P09998")
			pass(2 * time.Minute)
		}
		require.EqualValues(t, 0, b.first().SilentDeaths)
		require.Equal(t, StateLive, b.first().State)
	})
}

func TestLedger(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var l ledger
	a := newAccount(Account{Name: "a"})
	s := newSubscription(a, []string{"p"}, "k")
	require.False(t, l.knows("id", "", now), "an empty ledger knows nothing")
	l.open(s, "secret", now)
	require.False(t, l.knows("id", "", now))
	require.False(t, l.knows("id", "secre", now))
	got, _ := l.find("")
	require.Nil(t, got, "an id that is not known yet is not the empty one")
	require.True(t, l.knows("ID", "secret", now))
	require.True(t, l.knows("id", "secret", now))
	require.False(t, l.knows("another", "secret", now))
	got, inForce := l.find("iD")
	require.Same(t, s, got)
	require.True(t, inForce)
	l.retire(s, now.Add(time.Minute))
	_, inForce = l.find("id")
	require.False(t, inForce)
	require.True(t, l.knows("id", "secret", now.Add(59*time.Second)))
	require.False(t, l.knows("id", "secret", now.Add(time.Minute)))
	require.Empty(t, l.entries)
}

func TestPausesDoubleUpToTheirBound(t *testing.T) {
	for n, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		require.Equal(t, want, doubled(time.Minute, 5*time.Minute, n))
	}
	require.Equal(t, time.Hour, doubled(time.Minute, time.Hour, 1<<40))
}

func TestRefusedIsOnlyWhatGraphSaysOfTheRequest(t *testing.T) {
	require.True(t, refused(graphError(graphsrc.KindInvalid, 409)))
	require.True(t, refused(graphError(graphsrc.KindNotFound, 404)))
	require.False(t, refused(graphError(graphsrc.KindThrottled, 429)))
	require.False(t, refused(&graphsrc.Error{Kind: graphsrc.KindInvalid, Err: graphsrc.ErrSignInNeeded}))
}

func TestAMissConfirmedAfterANotificationOfAnotherIsNoEvidence(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newSubscription(newAccount(Account{Name: "a"}), []string{"p", "q", "r"}, "k")
	s.accepted, s.covering = true, true
	require.True(t, s.miss("p", now))
	require.False(t, s.miss("p", now), "one miss is one doubt")
	require.True(t, s.hear("q", now.Add(30*time.Second)))
	require.Empty(t, s.judge(now.Add(59*time.Second)))
	require.Len(t, s.doubts, 1)
	require.Empty(t, s.judge(now.Add(latency)))
	require.Equal(t, 0, s.evidence)
	require.Equal(t, 1, s.seats["p"].misses)

	require.False(t, s.miss("q", now.Add(89*time.Second)), "it was heard of a moment ago")
	require.True(t, s.miss("r", now.Add(2*time.Minute)))
	s.judge(now.Add(3 * time.Minute))
	require.Equal(t, 1, s.evidence)
	require.Equal(t, doomNone, s.doom)
	require.True(t, s.miss("p", now.Add(4*time.Minute)))
	require.Equal(t, []string{"p"}, s.judge(now.Add(5*time.Minute)))
	require.Equal(t, doomSilent, s.doom)
}
