package budget_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/budget/budgettest"
)

// busy begins so many replicas of a plan for n that always have something to
// send, and waits until the bucket is no longer young.
func (w *world) busy(replicas int) (rs []*replica) {
	for i := range replicas {
		rs = append(rs, w.newReplica(i))
		rs[i].work(40, 0, budget.Interactive)
	}
	pause(w.terms.Forget + 20*time.Second)
	return rs
}

// A server that is cut off with a gateway goes on beside the one that has taken
// over, for longer than anybody is remembered.
func TestTwoServersAtOncePourNoMoreThanThePlan(t *testing.T) {
	for _, n := range []int{3, 4, 6} {
		for _, missed := range []time.Duration{0, 5 * time.Second} {
			t.Run(fmt.Sprint(n, " ", missed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(budget.DefaultPlan(), hasty(n), 1)
					first := budgettest.New(w.terms, time.Now)
					first.Serve(1, 1)
					w.lessor = first
					rs := w.busy(3)
					require.InDelta(t, 450, w.sendsIn(10*time.Second), 25)

					second := first.Copy()
					second.Serve(2, 0)
					for i, r := range rs[1:] {
						w.all.Go(func() {
							pause(time.Duration(i) * 2 * time.Second)
							r.set(func() { r.moved = second })
						})
					}
					pause(missed) // until the first server knows that its copy is gone
					first.Serve(1, 0)
					pause(3 * w.terms.Forget)
					for _, r := range rs {
						require.Equal(t, budget.Shared, r.sharing().State, "each has a server that answers")
					}
					sends := w.sendsIn(30 * time.Second)
					require.InDelta(t, 1350*3/n, sends, 60, "each server pours for those it hears")

					// The first is made a copy of the second.
					rs[0].set(func() { rs[0].moved = second })
					pause(time.Second)
					second.Serve(2, 1)
					pause(2 * w.terms.Forget)
					require.InDelta(t, 450, w.sendsIn(10*time.Second), 25, "and all is as before")
					w.finish(rs...)
					require.NoError(t, w.judge(1))
				})
			})
		}
	}
}

// Nobody who knows of what was lost asks before those who do not.
func TestATakeoverThatLosesWritesLeasesNothingTwice(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 3, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		for max(rs[1].sharing().Contact, rs[2].sharing().Contact) > 300*time.Millisecond { // nor ask while rs[0] does
			pause(10 * time.Millisecond)
		}
		restore := l.Save()
		rs[0].work(100, time.Hour, budget.Interactive)
		require.Equal(t, 100, w.sendsIn(200*time.Millisecond))
		rs[0].set(func() { rs[0].cut = true })
		pause(10 * time.Millisecond) // what was under way
		restore()
		l.Serve(2, 0)
		rs[1].work(100, time.Hour, budget.Interactive)
		require.Zero(t, w.sendsIn(2500*time.Millisecond))
		pause(10 * time.Second)
	})
}

func TestAPauseOutlivesTheDataOfTheBucket(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 3, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		rs[0].work(40, 0, budget.Interactive)
		rs[0].budget.Throttled(time.Minute, true)
		pause(2 * time.Second)
		rs[2].end(true)
		l.Wipe()
		rs[2] = w.newReplica(2)
		rs[2].work(40, 0, budget.Interactive)
		require.Zero(t, w.sendsIn(57*time.Second), "the new one has not been told by the service")
		for _, r := range rs {
			require.Equal(t, 22.5, r.budget.Stats().Rate, "and the rate is halved once")
		}
		pause(10 * time.Second)
	})
}

// split is how one server takes over from another that goes on.
type split struct {
	replicas, n      int           // of N
	seed             uint64        //
	behind           time.Duration // how old the data are that the second has
	missed           time.Duration // until the first misses its copy
	still            time.Duration // how long the first stands still at first
	changes          []time.Duration
	cut              []bool // off from both
	newcomer, moving bool   // a replica that begins at the first, and changes to the second
	lasts            time.Duration
}

func drawSplit(t *rapid.T) split {
	seconds := func(most int, what string) time.Duration {
		return time.Duration(rapid.IntRange(0, most*1000).Draw(t, what)) * time.Millisecond
	}
	s := split{
		n: rapid.IntRange(2, 6).Draw(t, "N"), seed: rapid.Uint64().Draw(t, "seed"),
		behind: seconds(3, "behind"), missed: seconds(5, "missed"), still: seconds(2, "still"),
		newcomer: rapid.Bool().Draw(t, "newcomer"), moving: rapid.Bool().Draw(t, "moving"),
		lasts: seconds(120, "lasts"),
	}
	s.replicas = rapid.IntRange(1, s.n-1).Draw(t, "replicas")
	for range s.replicas {
		at := seconds(30, "changes")
		if rapid.IntRange(0, 2).Draw(t, "stays") == 0 {
			at = -1
		}
		s.changes = append(s.changes, at)
		s.cut = append(s.cut, rapid.IntRange(0, 4).Draw(t, "cut") == 0)
	}
	return s
}

func (s split) play(w *world) error {
	first := budgettest.New(w.terms, time.Now)
	first.Serve(1, 1)
	w.lessor = first
	rs := w.busy(s.replicas)
	second := first.Copy()
	pause(s.behind)
	second.Serve(2, 0)
	all := rs
	for i, r := range rs {
		if s.changes[i] >= 0 {
			w.all.Go(func() { pause(s.changes[i]); r.set(func() { r.moved = second }) })
		}
		if s.cut[i] {
			r.set(func() { r.cut = true })
		}
	}
	w.bucket.shut() // and with it the way to the second: it is only later
	pause(s.still)
	w.bucket.lift()
	w.all.Go(func() { pause(s.missed); first.Serve(1, 0) })
	if s.newcomer {
		late := w.newReplica(len(rs))
		late.work(40, 0, budget.Interactive)
		all = append(all, late)
		if s.moving {
			w.all.Go(func() { pause(10 * time.Second); late.set(func() { late.moved = second }) })
		}
	}
	pause(s.lasts)
	for _, r := range all {
		r.set(func() { r.moved, r.cut = second, false })
	}
	pause(time.Second)
	second.Serve(2, 1)
	pause(time.Minute)
	w.finish(all...)
	return w.judge(1)
}

func TestHoweverOneServerTakesOverFromAnotherThePlanIsKept(t *testing.T) {
	outer, sends := t, 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawSplit(t)
		var err error
		synctest.Test(outer, func(*testing.T) {
			w := newWorld(budget.DefaultPlan(), hasty(s.n), s.seed)
			err = s.play(w)
			sends += len(w.sends)
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d sends", sends)
}
