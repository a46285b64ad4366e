package budget_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/budget/budgettest"
)

// inWorld runs a test in a bubble with so many replicas on one bucket, once that
// is no longer young.
func inWorld(t *testing.T, plan budget.Plan, replicas int, f func(t *testing.T, w *world, l *budgettest.Ledger, r []*replica)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(plan, hasty(replicas), 1)
		l := budgettest.New(w.terms, time.Now)
		w.lessor = l
		var rs []*replica
		for i := range replicas {
			rs = append(rs, w.newReplica(i))
		}
		pause(w.terms.Forget + 10*time.Second)
		defer func() {
			w.finish(rs...)
			require.NoError(t, w.judge(1))
		}()
		f(t, w, l, rs)
	})
}

// sharing returns what a replica has to do with others.
func (r *replica) sharing() budget.SharingStats { return r.budget.Stats().Sharing }

// sendsIn runs the time and returns the sends in it.
func (w *world) sendsIn(d time.Duration) int {
	count := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.sends) }
	before := count()
	pause(d)
	return count() - before
}

// recount begins anew what sentBy returns.
func (w *world) recount() { w.mu.Lock(); defer w.mu.Unlock(); clear(w.by) }

func (w *world) sentBy(place int) int { w.mu.Lock(); defer w.mu.Unlock(); return w.by[place] }

func TestReplicasTogetherUseThePlan(t *testing.T) {
	for name, plan := range map[string]budget.Plan{
		"default":      budget.DefaultPlan(),
		"a tiny burst": {Limit: 1500, Window: 30 * time.Second, Capacity: 10, Rate: 45},
		"fast":         {Limit: 70_000, Window: 30 * time.Second, Capacity: 2000, Rate: 2000},
	} {
		for _, replicas := range []int{1, 3} {
			t.Run(name, func(t *testing.T) {
				inWorld(t, plan, replicas, func(t *testing.T, w *world, _ *budgettest.Ledger, rs []*replica) {
					for _, r := range rs {
						r.work(60, 0, budget.Interactive, budget.Refresh)
					}
					pause(5 * time.Second)
					w.recount()
					n := w.sendsIn(30 * time.Second)
					require.Greater(t, float64(n), 0.95*30*plan.Rate)
					for place := range rs {
						require.InDelta(t, 30*plan.Rate/float64(replicas), w.sentBy(place), 0.1*30*plan.Rate, "replica %d gets its part", place)
					}
				})
			})
		}
	}
}

func TestABurstGoesToWhicheverReplicaNeedsIt(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 3, func(t *testing.T, w *world, _ *budgettest.Ledger, rs []*replica) {
		rs[1].work(100, time.Hour, budget.Interactive)
		n := w.sendsIn(2 * time.Second)
		require.Equal(t, 100, n)
		require.EqualValues(t, 3, rs[0].sharing().Members)
		require.Zero(t, rs[0].sharing().Ghosts)
	})
}

func TestAnIdleReplicaLeasesNothingForLong(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		ctx, cancel := context.WithCancel(t.Context())
		p, err := rs[0].budget.Acquire(ctx, budget.Interactive)
		require.NoError(t, err)
		p.Return()
		cancel()
		pause(time.Second)
		level, leased := l.Outstanding()
		require.Zero(t, leased)
		require.InDelta(t, 100, level, 0.01, "and it is back in the bucket")
		before := rs[0].sharing().Trips
		pause(time.Minute)
		require.InDelta(t, 60, rs[0].sharing().Trips-before, 2, "one trip a second says that it is alive")
	})
}

func TestRefreshLeavesTheReserveInTheSharedBucket(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		rs[0].work(50, 0, budget.Refresh)
		pause(20 * time.Second)
		for range 20 {
			level, _ := l.Outstanding()
			require.GreaterOrEqual(t, level, 8.0, "but for those that were taken out of it")
			for _, r := range rs {
				asked := time.Now()
				p, err := r.budget.Acquire(t.Context(), budget.Interactive)
				require.NoError(t, err)
				require.Less(t, time.Since(asked), 10*time.Millisecond, "a trip or two, and no waiting for Refresh here or there")
				p.Return()
				pause(100 * time.Millisecond)
			}
		}
	})
}

func TestAFrozenReplicaSendsNothingThatIsVoid(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		var permits []*budget.Permit
		for range 40 {
			p, err := rs[0].budget.Acquire(t.Context(), budget.Interactive)
			require.NoError(t, err)
			permits = append(permits, p)
		}
		rs[0].frozen.shut()
		rs[0].set(func() { rs[0].cut = true })
		pause(20 * time.Second)
		require.Zero(t, rs[0].budget.Stats().Held)
		rs[0].frozen.lift()
		// Thawed, it tries to send what it was about to, and must ask anew.
		transport := rs[0].budget.Transport(rs[0])
		for _, p := range permits {
			ctx, cancel := context.WithTimeout(budget.WithPermit(t.Context(), p), 10*time.Millisecond)
			w.all.Go(func() { defer cancel(); _ = sendOne(ctx, transport) })
		}
		pause(15 * time.Millisecond)
		w.mu.Lock()
		require.LessOrEqual(t, len(w.sends), 1, "it has nothing but what its fallback has begun to pour")
		w.mu.Unlock()
	})
}

func TestAnAnswerThatCameBeforeAFreezeIsNotHeededAfterIt(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		w.bucket.shut() // an ask is under way when the process freezes
		pause(w.terms.Renew + 100*time.Millisecond)
		rs[0].frozen.shut()
		rs[0].set(func() { rs[0].cut = true }) // no other will follow
		w.bucket.lift()
		pause(30 * time.Second)
		require.Equal(t, 1, rs[1].sharing().Ghosts)
		failed := rs[0].sharing().Failed
		rs[0].frozen.lift()
		pause(time.Millisecond)
		require.Greater(t, rs[0].sharing().Failed, failed)
		require.Equal(t, budget.Fallback, rs[0].sharing().State)
	})
}

func TestAReplicaThatIsCutOffFallsBackAndReturns(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 3, func(t *testing.T, w *world, _ *budgettest.Ledger, rs []*replica) {
		for _, r := range rs {
			r.work(40, 0, budget.Interactive)
		}
		rs[0].set(func() { rs[0].cut = true })
		pause(4 * time.Second)
		require.Equal(t, budget.Waiting, rs[0].sharing().State)
		pause(11 * time.Second)
		require.Equal(t, budget.Fallback, rs[0].sharing().State)
		require.Equal(t, 1, rs[1].sharing().Ghosts)
		require.Equal(t, 2, rs[1].sharing().Members)
		w.recount()
		n := w.sendsIn(10 * time.Second)
		require.InDelta(t, 450, n, 25, "all together still use the plan")
		require.InDelta(t, 150, w.sentBy(0), 10, "a third of it by itself")

		rs[0].set(func() { rs[0].cut = false })
		pause(4 * time.Second)
		require.Equal(t, budget.Shared, rs[0].sharing().State)
		require.Zero(t, rs[1].sharing().Ghosts)
		require.InDelta(t, 450, w.sendsIn(10*time.Second), 25)
	})
}

func TestAFallbackEndsBeforeItsShareGoesToTheOthers(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, _ *budgettest.Ledger, rs []*replica) {
		for _, r := range rs {
			r.work(40, 0, budget.Interactive)
		}
		rs[0].set(func() { rs[0].cut = true })
		pause(w.terms.Stop - 2*time.Second)
		require.Equal(t, budget.Fallback, rs[0].sharing().State)
		pause(2 * time.Second)
		require.Equal(t, budget.Waiting, rs[0].sharing().State)
		require.Equal(t, 1, rs[1].sharing().Ghosts)
		pause(w.terms.Forget - w.terms.Stop + 2*time.Second)
		require.Zero(t, rs[1].sharing().Ghosts)
		w.recount()
		require.InDelta(t, 450, w.sendsIn(10*time.Second), 25)
		require.Zero(t, w.sentBy(0))
	})
}

func TestAReplicaThatNeverReachedTheBucketSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(budget.DefaultPlan(), hasty(2), 1)
		w.lessor = budgettest.New(w.terms, time.Now)
		w.bucket.shut()
		r := w.newReplica(0)
		r.work(10, 0, budget.Interactive)
		pause(10 * time.Minute)
		require.Empty(t, w.sends)
		require.Equal(t, budget.Waiting, r.sharing().State)
		require.Negative(t, r.sharing().Contact)
		w.finish(r)
	})
}

func TestAGoodbyeFreesTheShareAtOnce(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		for range 30 {
			_, err := rs[0].budget.Acquire(t.Context(), budget.Interactive)
			require.NoError(t, err)
		}
		rs[0].budget.Close()
		_, leased := l.Outstanding()
		require.Zero(t, leased)
		pause(time.Minute)
		require.Equal(t, 1, rs[1].sharing().Members)
		require.Zero(t, rs[1].sharing().Ghosts)
		rs[1].work(40, 0, budget.Interactive)
		pause(5 * time.Second)
		require.InDelta(t, 450, w.sendsIn(10*time.Second), 25)
	})
}

func TestAKilledReplicaIsMissedOnlyUntilItsSuccessorIsKnown(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, _ *budgettest.Ledger, rs []*replica) {
		rs[1].work(40, 0, budget.Interactive)
		rs[0].end(true)
		rs[0] = w.newReplica(0)
		pause(w.terms.Detect + 2*time.Second)
		require.Zero(t, rs[1].sharing().Ghosts, "no more than two can be alive, and two are heard of")
		require.InDelta(t, 450, w.sendsIn(10*time.Second), 25)
	})
}

func TestAllReplicasPauseWhenOneIsThrottled(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 3, func(t *testing.T, w *world, _ *budgettest.Ledger, rs []*replica) {
		for _, r := range rs {
			r.work(40, 0, budget.Interactive, budget.Refresh)
		}
		pause(10 * time.Second)
		rs[1].budget.Throttled(4*time.Second, true) // and half a second of jitter
		pause(w.terms.Renew / 2)
		require.Zero(t, w.sendsIn(4*time.Second-50*time.Millisecond))
		for _, r := range rs {
			require.Equal(t, 22.5, r.budget.Stats().Rate)
		}
		rs[2].budget.Throttled(time.Second, true)
		pause(10 * time.Second)
		require.Equal(t, 22.5, rs[0].budget.Stats().Rate, "once in a pause, whoever is throttled")
		require.InDelta(t, 225, w.sendsIn(10*time.Second), 15)
		pause(2 * time.Minute)
		require.Greater(t, rs[0].budget.Stats().Rate, 35.0, "quiet brings it back")
	})
}

func TestALostBucketIsBornEmpty(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		for _, r := range rs {
			r.work(40, 0, budget.Interactive)
		}
		pause(10 * time.Second)
		l.Wipe()
		pause(100 * time.Millisecond)
		require.Zero(t, w.sendsIn(2500*time.Millisecond), "until all that was leased before is void")
		pause(3 * time.Second)
		require.Zero(t, rs[0].sharing().Ghosts, "both are known again")
		require.InDelta(t, 450, w.sendsIn(10*time.Second), 25)
	})
}

func TestWhileABucketIsYoungTheUnknownMayBePouring(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 3, func(t *testing.T, w *world, l *budgettest.Ledger, rs []*replica) {
		rs[2].work(40, 0, budget.Interactive)
		rs[2].set(func() { rs[2].cut = true })
		pause(15 * time.Second)
		l.Wipe()
		rs[0].work(40, 0, budget.Interactive)
		pause(10 * time.Second)
		require.Equal(t, budget.Fallback, rs[2].sharing().State)
		require.Equal(t, 1, rs[0].sharing().Ghosts)
		w.recount()
		require.InDelta(t, 450, w.sendsIn(10*time.Second), 25)
		require.InDelta(t, 150, w.sentBy(2), 10)
	})
}

func TestAHopelessDeadlineIsRefusedByWhatTheOthersLeave(t *testing.T) {
	inWorld(t, budget.DefaultPlan(), 2, func(t *testing.T, w *world, _ *budgettest.Ledger, rs []*replica) {
		for _, r := range rs {
			r.work(100, 0, budget.Interactive)
		}
		pause(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked := time.Now()
		_, err := rs[0].budget.Acquire(budget.WithClient(ctx, "0"), budget.Interactive)
		var e *budget.ExhaustedError
		require.ErrorAs(t, err, &e)
		require.Zero(t, time.Since(asked))
	})
}

func TestTermsThatContradictThemselvesAreRefused(t *testing.T) {
	for _, n := range []int{1, 3, 100} {
		require.NoError(t, budget.DefaultTerms(n).Validate())
	}
	for name, change := range map[string]func(*budget.LeaseTerms){
		"no replicas":                     func(l *budget.LeaseTerms) { l.Replicas = 0 },
		"leases end before their renewal": func(l *budget.LeaseTerms) { l.Life = l.Renew },
		"no grace":                        func(l *budget.LeaseTerms) { l.Grace = 0 },
		"too soon a fallback":             func(l *budget.LeaseTerms) { l.Fallback = l.Detect + l.Life },
		"forgotten while pouring":         func(l *budget.LeaseTerms) { l.Forget = l.Stop },
		"detected between renewals":       func(l *budget.LeaseTerms) { l.Detect = l.Renew },
	} {
		t.Run(name, func(t *testing.T) {
			terms := budget.DefaultTerms(3)
			change(&terms)
			require.Error(t, terms.Validate())
			_, err := budget.New(budget.Options{Lessor: budgettest.New(terms, time.Now)})
			require.Error(t, err)
		})
	}
}
