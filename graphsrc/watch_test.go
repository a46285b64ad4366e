package graphsrc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
	"ucwagate/mapping"
)

// tenant is what a fakeGraph answers from: everybody is Available until told
// otherwise. It notes when it was asked for whom.
type tenant struct {
	*fakeGraph
	mu    sync.Mutex
	truth map[string]Presence
	asked []question
}

type question struct {
	at  time.Time
	ids []string
}

func newTenant() *tenant {
	n := &tenant{fakeGraph: &fakeGraph{}, truth: make(map[string]Presence)}
	n.heal()
	return n
}

func (n *tenant) heal() { n.set(n.reply) }

// delay makes answers slow from now on.
func (n *tenant) delay(d time.Duration) {
	n.fakeGraph.mu.Lock()
	defer n.fakeGraph.mu.Unlock()
	n.latency = d
}

func (n *tenant) reply(ids []string) ([]Presence, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, question{time.Now(), slices.Clone(ids)})
	out := make([]Presence, 0, len(ids))
	for _, one := range ids {
		p, ok := n.truth[one]
		if !ok {
			p = available(one)
		}
		out = append(out, p)
	}
	return out, nil
}

func (n *tenant) put(id, availability string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.truth[id] = Presence{ID: id, Words: mapping.Presence{Availability: availability, Activity: availability}}
}

func (n *tenant) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = nil
}

func (n *tenant) questions() []question {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.asked)
}

// diary notes changes.
type diary struct {
	mu   sync.Mutex
	list []Change
}

func (d *diary) note(c Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, c)
}

// tear returns what was noted since the last time.
func (d *diary) tear() []Change {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.list
	d.list = nil
	return list
}

// watching starts a source that refreshes and notes changes.
func watching(t testing.TB, g Graph, b Permits, change func(*Options)) (*Source, *diary) {
	t.Helper()
	d := &diary{}
	o := Options{Graph: g, Budget: b, OnChange: d.note}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.Start(t.Context())
	return s, d
}

func TestASweepIsTheFewestRequestsSpreadEvenly(t *testing.T) {
	for _, c := range []struct{ people, batches int }{{1, 1}, {650, 1}, {651, 2}, {1300, 2}, {20_000, 31}} {
		t.Run(fmt.Sprintf("%d people", c.people), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTenant()
				s, d := watching(t, n, &fakeBudget{}, nil)
				s.Watch(people(0, c.people)...)
				wait(41 * time.Second)
				require.Len(t, d.tear(), c.people)
				before := s.Stats()
				n.forget()
				const sweeps = 5
				wait(sweeps * 20 * time.Second)

				asked := n.questions()
				require.Equal(t, sweeps*c.batches, len(asked))
				perPerson := make(map[string]int)
				for i, q := range asked {
					require.Equal(t, (c.people+c.batches-1)/c.batches, len(q.ids))
					for _, one := range q.ids {
						perPerson[one]++
					}
					if i > 0 {
						require.InDelta(t, 20*time.Second/time.Duration(c.batches), q.at.Sub(asked[i-1].at), float64(20*time.Millisecond))
					}
				}
				require.Len(t, perPerson, c.people)
				for one, times := range perPerson {
					require.GreaterOrEqual(t, times, sweeps, one)
					require.LessOrEqual(t, times, sweeps+1, one)
				}
				after := s.Stats()
				require.EqualValues(t, sweeps, after.Sweeps-before.Sweeps)
				require.EqualValues(t, sweeps*c.batches, after.SweepRequests-before.SweepRequests)
				require.Equal(t, c.people, after.Watched)
				require.Equal(t, 20*time.Second, after.Interval)
				require.LessOrEqual(t, after.OldestAge, 20*time.Second)
				require.LessOrEqual(t, after.MeanAge, after.OldestAge)
				require.False(t, after.BehindCeiling)
				require.Empty(t, d.tear())
			})
		})
	}
}

func TestEveryKindOfDifferenceIsAChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, d := watching(t, n, &fakeBudget{}, nil)
		s.Watch(id(1), id(2))
		wait(time.Second)
		first := d.tear()
		require.Len(t, first, 2)
		require.True(t, first[0].First)
		require.Zero(t, first[0].Before)
		require.Equal(t, "Available", first[0].After.Presence.Words.Availability)

		known := available(id(1))
		say := func(sequence string, change func(*mapping.Presence)) []Change {
			next := known
			next.Sequence = sequence
			change(&next.Words)
			n.mu.Lock()
			n.truth[id(1)] = next
			n.mu.Unlock()
			wait(20 * time.Second)
			got := d.tear()
			for _, c := range got {
				require.Equal(t, id(1), c.ID)
				require.False(t, c.First)
				require.Equal(t, known.Words, c.Before.Presence.Words)
				require.Equal(t, next.Words, c.After.Presence.Words)
				r, err := s.Presence(t.Context(), id(1))
				require.NoError(t, err)
				require.Equal(t, c.After, r, "what is reported is what is known")
				known = next
			}
			wait(20 * time.Second)
			require.Empty(t, d.tear(), "once")
			return got
		}
		nothing := func(*mapping.Presence) {}
		require.Len(t, say("", func(p *mapping.Presence) { p.Availability = "Busy" }), 1)
		require.Len(t, say("", func(p *mapping.Presence) { p.Activity = "Presenting" }), 1)
		require.Len(t, say("", func(p *mapping.Presence) { p.StatusMessage = "back at two" }), 1)
		require.Len(t, say("", func(p *mapping.Presence) { p.OutOfOffice = true }), 1)
		require.Len(t, say("", func(p *mapping.Presence) { p.OutOfOfficeMessage = "on leave" }), 1)
		require.Len(t, say("", func(p *mapping.Presence) { p.WorkLocation = "remote" }), 1)
		require.Len(t, say("A5", func(p *mapping.Presence) { p.Availability = "Away" }), 1)
		require.Empty(t, say("A6", nothing), "a newer stamp of the same words")
		require.Len(t, say("A6", func(p *mapping.Presence) { p.StatusMessage = "" }), 1, "other words under the same stamp")
	})
}

func TestReadingsThatAreNotBelievedAreNoChanges(t *testing.T) {
	for _, interval := range []time.Duration{5 * time.Second, 20 * time.Second, time.Minute} {
		t.Run(fmt.Sprintf("interval %s", interval), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGraph{}
				g.say("Busy", "A9")
				s, d := watching(t, g, &fakeBudget{}, func(o *Options) { o.WatchFloor = interval })
				s.Watch(id(1))
				wait(interval / 2)
				require.Len(t, d.tear(), 1)
				g.say("Away", "A8")
				wait(2 * interval)
				require.Empty(t, d.tear(), "twice a lower stamp")
				wait(interval)
				require.Len(t, d.tear(), 1, "and a third time")
				g.say("PresenceUnknown", "")
				wait(interval)
				require.Empty(t, d.tear(), "one unknown answer")
				g.say("Away", "A8")
				wait(interval)
				require.Empty(t, d.tear())
				g.say("PresenceUnknown", "")
				wait(2 * interval)
				got := d.tear()
				require.Len(t, got, 1, "two unknown answers")
				require.Equal(t, "PresenceUnknown", got[0].After.Presence.Words.Availability)
			})
		})
	}
}

func TestAQuestionOfAClientReportsAChangeToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s := start(t, n.fakeGraph, &fakeBudget{}, nil) // nothing refreshes
		d := &diary{}
		s.Notify(func(c Change) error { d.note(c); return nil })
		s.Watch(id(1))
		wait(time.Second)
		require.True(t, d.tear()[0].First, "the first look needs no loop")
		n.put(id(1), "Busy")
		n.put(id(2), "Busy")
		wait(20 * time.Second)
		s.Presences(t.Context(), people(0, 3))
		got := d.tear()
		require.Len(t, got, 1, "only of who is watched")
		require.Equal(t, id(1), got[0].ID)
	})
}

func TestAWatchedReadingIsFreshWhileTheLoopIsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _ := watching(t, n, &fakeBudget{}, func(o *Options) { o.WatchFloor = time.Minute })
		s.Watch(id(1))
		wait(time.Second)
		ask := func() Reading {
			r, err := s.Presence(t.Context(), id(1))
			require.NoError(t, err)
			require.False(t, r.Stale)
			return r
		}
		for range 50 {
			wait(7 * time.Second)
			ask()
		}
		require.Len(t, n.questions(), 1+351/60)

		s.Unwatch(id(1))
		wait(time.Minute)
		n.forget()
		ask()
		require.Len(t, n.questions(), 1, "an ordinary person again")

		// Who is watched while the reading is half an interval old is next.
		wait(19 * time.Second)
		s.Watch(id(1))
		for range 10 {
			require.Less(t, time.Since(ask().ReadAt), 90*time.Second)
			wait(10 * time.Second)
		}
	})
}

func TestFirstLooksAreUrgentAndGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		n.latency = 100 * time.Millisecond
		b := &fakeBudget{}
		s, d := watching(t, n, b, nil)
		var wg sync.WaitGroup
		for c := range 1000 { // clients with five people each, half of them shared
			wg.Go(func() { s.Watch(people(5*(c/2), 5*(c/2)+5)...) })
		}
		wg.Wait()
		wait(time.Second)
		require.Len(t, d.tear(), 2500)
		looks := 0
		for _, lane := range b.lanes {
			if lane == budget.FirstLook {
				looks++
			}
		}
		require.LessOrEqual(t, looks, 2*maxInFlight)
		require.Equal(t, 2500, s.Stats().Watched)
	})
}

func TestAFirstLookThatFailsIsRepeatedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		n.fail(&Error{Op: "get presence", Kind: KindUnavailable, Status: 503})
		s, d := watching(t, n, &fakeBudget{}, func(o *Options) { o.WatchFloor = 5 * time.Minute })
		began := time.Now()
		s.Watch(people(0, 10)...)
		require.Zero(t, time.Since(began))
		wait(time.Second)
		n.heal()
		wait(5 * time.Second)
		require.Len(t, d.tear(), 10)
	})
}

func TestNobodyAsksForThoseWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, d := watching(t, n, &fakeBudget{}, nil)
		s.Watch(people(0, 2000)...)
		s.Watch(id(7), id(7), id(8), "nonsense")
		wait(31 * time.Second) // between two requests
		s.Unwatch(people(0, 2000)...)
		s.Unwatch(id(7), id(5000), "nonsense")
		require.Equal(t, 2, s.Stats().Watched)
		n.forget()
		d.tear()
		wait(61 * time.Second)
		asked := n.questions()
		require.Len(t, asked, 3)
		for _, q := range asked {
			require.ElementsMatch(t, []string{id(7), id(8)}, q.ids)
		}
		s.Unwatch(id(7), id(8))
		n.forget()
		n.put(id(7), "Busy")
		wait(time.Hour)
		require.Empty(t, n.questions())
		_, err := s.Presence(t.Context(), id(7))
		require.NoError(t, err)
		require.Empty(t, d.tear())

		// And again: what is fresh is not read at once, but in its turn.
		n.forget()
		s.Watch(id(7))
		s.Unwatch(id(7))
		s.Watch(id(7))
		wait(time.Second)
		require.Empty(t, n.questions())
		n.put(id(7), "Away")
		wait(30 * time.Second)
		require.Len(t, d.tear(), 1)
	})
}

func TestPeopleWatchedAgainWhileTheyAreLookedAtAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		n.latency = time.Second
		s, d := watching(t, n, &fakeBudget{}, nil)
		s.Watch(people(0, 5)...)
		wait(500 * time.Millisecond)
		s.Unwatch(people(0, 5)...)
		s.Watch(people(0, 5)...)
		wait(5 * time.Second)
		require.Len(t, n.questions(), 1)
		require.Len(t, d.tear(), 5)
		n.forget()
		wait(time.Minute)
		require.Len(t, n.questions(), 3)
	})
}

func TestCloseEndsTheLoopAndWatchAfterwardsIsHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		n.latency = time.Hour
		s, _ := watching(t, n, &fakeBudget{}, nil)
		s.Watch(people(0, 3000)...)
		wait(30 * time.Second)
		s.Close()
		s.Watch(people(0, 5000)...)
		s.Unwatch(people(0, 3000)...)
		require.Equal(t, 5000, s.Stats().Watched)
	})
}

func TestTheLoopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s := start(t, n.fakeGraph, &fakeBudget{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		s.Start(ctx)
		s.Watch(id(1))
		wait(50 * time.Second)
		require.Len(t, n.questions(), 3)
		cancel()
		wait(time.Minute)
		require.Len(t, n.questions(), 3)
		_, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err)
		require.Len(t, n.questions(), 4, "nothing is fresh for the loop's sake")
	})
}
