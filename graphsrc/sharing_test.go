package graphsrc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/sharetest"
	"ucwagate/mapping"
)

// graph is the presence of one tenant; it counts what is asked.
type graph struct {
	graphsrc.Graph // the rest is not asked
	mu             sync.Mutex
	words          map[string]string
	requests       int
	asked          int
	latency        time.Duration
	down           bool
}

func newGraph() *graph {
	return &graph{words: make(map[string]string), latency: 100 * time.Millisecond}
}

func (g *graph) put(id, availability string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.words[id] = availability
}

// count returns the requests and ids asked since the last time.
func (g *graph) count() (requests, ids int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	requests, ids = g.requests, g.asked
	g.requests, g.asked = 0, 0
	return requests, ids
}

func (g *graph) Presences(_ context.Context, ids []string) ([]graphsrc.Presence, error) {
	g.mu.Lock()
	g.requests++
	g.asked += len(ids)
	if g.down {
		g.mu.Unlock()
		return nil, &graphsrc.Error{Op: "get presence", Kind: graphsrc.KindUnavailable}
	}
	out := make([]graphsrc.Presence, 0, len(ids))
	for _, id := range ids {
		w := g.words[id]
		if w == "" {
			w = "Available"
		}
		out = append(out, graphsrc.Presence{ID: id, Words: mapping.Presence{Availability: w, Activity: w}})
	}
	latency := g.latency
	g.mu.Unlock()
	time.Sleep(latency)
	return out, nil
}

func (g *graph) Presence(ctx context.Context, id string) (graphsrc.Presence, error) {
	list, err := g.Presences(ctx, []string{id})
	if err != nil {
		return graphsrc.Presence{}, err
	}
	return list[0], nil
}

func (g *graph) Permissions(context.Context) ([]string, error) {
	return []string{graphsrc.PublishPermission}, nil
}

func (g *graph) Publish(_ context.Context, id string, a mapping.GraphAction, _ time.Duration) error {
	g.put(id, "DoNotDisturb")
	return nil
}

type freeBudget struct{}

func (freeBudget) Acquire(context.Context, budget.Lane) (*budget.Permit, error) { return nil, nil }

// replica is one process: a source, what it reported, and its part in the hub.
type replica struct {
	*graphsrc.Source
	part *sharetest.Part

	mu      sync.Mutex
	changes []graphsrc.Change
	fail    error
}

func (r *replica) note(c graphsrc.Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	r.changes = append(r.changes, c)
	return nil
}

func (r *replica) failing(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// tear returns what was reported since the last time.
func (r *replica) tear() []graphsrc.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.changes
	r.changes = nil
	return out
}

func (r *replica) availability(t *testing.T, id string) string {
	t.Helper()
	got, err := r.Presence(t.Context(), id)
	require.NoError(t, err)
	return got.Presence.Words.Availability
}

type tenancy struct {
	*graph
	hub      *sharetest.Hub
	replicas []*replica
}

// shared starts n replicas; the first leads.
func shared(t *testing.T, n int) *tenancy {
	t.Helper()
	w := &tenancy{graph: newGraph(), hub: sharetest.NewHub()}
	for range n {
		w.add(t)
	}
	require.True(t, w.replicas[0].Leads())
	return w
}

func (w *tenancy) add(t *testing.T) *replica {
	t.Helper()
	r := &replica{part: w.hub.Join()}
	s, err := graphsrc.New(graphsrc.Options{Graph: w.graph, Budget: freeBudget{}, Shared: r.part})
	require.NoError(t, err)
	s.Notify(r.note)
	r.Source = s
	t.Cleanup(s.Close)
	s.Start(context.Background())
	synctest.Wait()
	w.replicas = append(w.replicas, r)
	return r
}

func (w *tenancy) watch(ids ...string) {
	for _, r := range w.replicas {
		r.Watch(ids...)
	}
}

// agree checks that all know the truth of everybody, without asking Graph.
func (w *tenancy) agree(t *testing.T, ids []string) {
	t.Helper()
	w.count()
	for i, r := range w.replicas {
		for _, id := range ids {
			want := w.words[id]
			if want == "" {
				want = "Available"
			}
			require.Equal(t, want, r.availability(t, id), "replica %d, %s", i, id)
		}
	}
	requests, _ := w.count()
	require.Zero(t, requests)
}

func somebody(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012x", n) }

func crowd(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = somebody(i)
	}
	return ids
}

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestOneSourceOfThreeSweepsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 3)
		ids := crowd(3000)
		w.watch(ids...)
		pass(3900 * time.Millisecond)
		requests, asked := w.count()
		require.Equal(t, 5, requests, "one looks first, too")
		require.Equal(t, 3000, asked)
		require.Len(t, w.replicas[0].tear(), 3000)

		w.put(ids[7], "Busy")
		pass(20 * time.Second)
		w.count()
		const sweeps = 10
		pass(sweeps * 20 * time.Second)
		requests, asked = w.count()
		require.Equal(t, sweeps*5, requests)
		require.Equal(t, sweeps*3000, asked)
		w.agree(t, ids)
		got := w.replicas[0].tear()
		require.Len(t, got, 1)
		require.Equal(t, ids[7], got[0].ID)
		require.Equal(t, "Available", got[0].Before.Presence.Words.Availability)
		require.Equal(t, "Busy", got[0].After.Presence.Words.Availability)
		require.NotEmpty(t, got[0].Revision)
		require.Empty(t, w.replicas[1].tear())
		require.Empty(t, w.replicas[2].tear())
		for _, r := range w.replicas {
			require.Less(t, r.Stats().OldestAge, 21*time.Second)
		}
	})
}

func TestAChangeThatAFollowerReadsIsReportedOnceByTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 3)
		// The others do not refresh, so that nobody but the follower can find it.
		for _, r := range w.replicas {
			r.Watch(somebody(1))
		}
		pass(time.Second)
		require.Len(t, w.replicas[0].tear(), 1)
		w.put(somebody(1), "Busy")
		require.NoError(t, w.replicas[2].Publish(t.Context(), somebody(1), mapping.GraphAction{}, 0))
		require.Equal(t, "DoNotDisturb", w.replicas[2].availability(t, somebody(1)), "what was published is read at once")
		pass(time.Second)
		got := w.replicas[0].tear()
		require.Len(t, got, 1)
		require.Equal(t, "DoNotDisturb", got[0].After.Presence.Words.Availability)
		w.agree(t, []string{somebody(1)})
		pass(time.Minute)
		for _, r := range w.replicas {
			require.Empty(t, r.tear())
		}
	})
}

func TestAMissIsAnsweredFromWhatAnotherSourceHasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 2)
		require.Equal(t, "Available", w.replicas[0].availability(t, somebody(1)))
		pass(time.Second)
		w.count()
		require.Equal(t, "Available", w.replicas[1].availability(t, somebody(1)))
		results := w.replicas[1].Presences(t.Context(), []string{somebody(1), "nonsense", somebody(2)})
		require.NoError(t, results[0].Err)
		require.Error(t, results[1].Err)
		require.NoError(t, results[2].Err)
		requests, asked := w.count()
		require.Equal(t, 1, requests)
		require.Equal(t, 1, asked)
	})
}

func TestASourceThatStartsLateKnowsEverybodyWithoutAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 2)
		ids := crowd(2000)
		w.watch(ids...)
		pass(30 * time.Second)
		late := w.add(t)
		w.count()
		late.Watch(ids...)
		pass(100 * time.Millisecond)
		requests, _ := w.count()
		require.LessOrEqual(t, requests, 1, "but for the sweep")
		w.agree(t, ids)
	})
}

func TestWhenTheLeaderEndsAnotherGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 2)
		ids := crowd(1000)
		w.watch(ids...)
		pass(30 * time.Second)
		first, second := w.replicas[0], w.replicas[1]
		require.Len(t, first.tear(), 1000)
		// It reads a change, and is killed before that is published.
		first.failing(errors.New("the engine is away"))
		w.put(ids[3], "Busy")
		pass(25 * time.Second)
		require.Empty(t, second.tear())
		first.part.Cut(true)
		first.Close()
		w.replicas = w.replicas[1:]
		pass(10 * time.Second)
		require.True(t, second.Leads())
		got := second.tear()
		require.Len(t, got, 1)
		require.Equal(t, ids[3], got[0].ID)
		require.Equal(t, "Busy", got[0].After.Presence.Words.Availability)
		w.count()
		pass(200 * time.Second)
		requests, _ := w.count()
		require.InDelta(t, 20, requests, 1)
		require.Less(t, second.Stats().OldestAge, 21*time.Second)
		w.agree(t, ids)
	})
}

func TestSourcesThatAreCutOffReadForThemselvesAndTellLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 3)
		ids := crowd(1300)
		w.watch(ids...)
		pass(30 * time.Second)
		require.Len(t, w.replicas[0].tear(), 1300)
		for _, r := range w.replicas {
			r.part.Cut(true)
		}
		pass(10 * time.Second)
		for _, r := range w.replicas {
			require.False(t, r.Leads())
		}
		w.put(ids[1], "Busy")
		w.put(ids[2], "Away")
		w.count()
		pass(5 * time.Minute)
		requests, _ := w.count()
		require.InDelta(t, 3*2*15, requests, 6, "each sweeps")
		w.agree(t, ids)
		for _, r := range w.replicas {
			require.Empty(t, r.tear(), "nobody knows who is to report")
		}
		w.put(ids[2], "Available") // who asked has seen that it was different
		w.put(ids[3], "Away")      // and of this nobody has to hear
		pass(21 * time.Second)
		w.put(ids[3], "Available")
		pass(21 * time.Second)
		for _, r := range w.replicas {
			r.part.Cut(false)
		}
		pass(30 * time.Second)
		var got []graphsrc.Change
		for _, r := range w.replicas {
			got = append(got, r.tear()...)
		}
		var of []string
		for _, c := range got {
			of = append(of, c.ID)
		}
		require.ElementsMatch(t, []string{ids[1], ids[2]}, of)
		w.agree(t, ids)
		w.count()
		pass(200 * time.Second)
		requests, _ = w.count()
		require.Equal(t, 20, requests, "one sweeps again")
	})
}

func TestASourceThatMissedSomethingReadsTheRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 2)
		w.hub.Keep = 3
		ids := crowd(1300)
		w.watch(ids...)
		pass(30 * time.Second)
		follower := w.replicas[1]
		follower.part.Cut(true)
		for i := range 10 {
			w.put(ids[i], "Busy")
		}
		pass(2 * time.Minute)
		w.replicas[0].tear()
		follower.part.Cut(false)
		pass(2 * time.Second)
		w.agree(t, ids)
	})
}

func TestAllIsForgottenAndKnownAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 3)
		ids := crowd(700)
		w.watch(ids...)
		pass(30 * time.Second)
		w.replicas[0].tear()
		w.hub.Forget()
		w.put(ids[5], "Busy")
		pass(60 * time.Second)
		w.agree(t, ids)
		var got []graphsrc.Change
		for _, r := range w.replicas {
			got = append(got, r.tear()...)
		}
		require.Len(t, got, 1)
		require.Equal(t, "Available", got[0].Before.Presence.Words.Availability)
		late := w.add(t)
		late.Watch(ids...)
		w.count()
		pass(100 * time.Millisecond)
		w.agree(t, ids)
	})
}

func TestAChangeFromBeforeTheLeaderKnewOfTheWatchingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 2)
		leader, follower := w.replicas[0], w.replicas[1]
		follower.Watch(somebody(1))
		require.Equal(t, "Available", follower.availability(t, somebody(1)))
		pass(30 * time.Second)
		w.put(somebody(1), "Busy")
		require.Equal(t, "Busy", follower.availability(t, somebody(1)))
		pass(time.Second)
		require.Empty(t, leader.tear())
		leader.Watch(somebody(1))
		pass(time.Second)
		got := leader.tear()
		require.Len(t, got, 1)
		require.Equal(t, "Busy", got[0].After.Presence.Words.Availability)
		require.Equal(t, "Busy", leader.availability(t, somebody(1)))
	})
}

func TestWhileGraphFailsNobodyAsksMoreThanAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 3)
		ids := crowd(1300)
		w.watch(ids...)
		pass(30 * time.Second)
		w.replicas[0].tear()
		w.graph.mu.Lock()
		w.graph.down = true
		w.graph.mu.Unlock()
		w.count()
		pass(4 * time.Minute)
		requests, _ := w.count()
		require.Less(t, requests, 240)
		w.put(ids[1], "Busy")
		w.graph.mu.Lock()
		w.graph.down = false
		w.graph.mu.Unlock()
		pass(time.Minute)
		got := w.replicas[0].tear()
		require.Len(t, got, 1)
		require.Equal(t, ids[1], got[0].ID)
		w.agree(t, ids)
	})
}

func TestChangesComeAgainUntilTheyArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := shared(t, 1)
		ids := crowd(20)
		w.watch(ids...)
		pass(time.Second)
		leader := w.replicas[0]
		leader.tear()
		leader.failing(errors.New("the engine is away"))
		for _, id := range ids {
			w.put(id, "Busy")
		}
		pass(time.Minute)
		leader.failing(nil)
		pass(10 * time.Second)
		got := leader.tear()
		require.Len(t, got, 20)
		slices.SortFunc(got, func(a, b graphsrc.Change) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
		for i, c := range got {
			require.Equal(t, ids[i], c.ID)
		}
	})
}
