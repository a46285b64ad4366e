package redisshare_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/redisshare"
	"ucwagate/graphsrc/redistest"
	"ucwagate/mapping"
)

// graph is the presence of one tenant; the rest of it is not asked.
type graph struct {
	graphsrc.Graph
	mu    sync.Mutex
	words map[string]string
}

func (g *graph) put(id, availability string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.words[id] = availability
}

func (g *graph) Presences(_ context.Context, ids []string) ([]graphsrc.Presence, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]graphsrc.Presence, len(ids))
	for i, id := range ids {
		w := g.words[id]
		if w == "" {
			w = "Available"
		}
		out[i] = graphsrc.Presence{ID: id, Words: mapping.Presence{Availability: w, Activity: w}}
	}
	return out, nil
}

func (g *graph) Presence(ctx context.Context, id string) (graphsrc.Presence, error) {
	list, err := g.Presences(ctx, []string{id})
	return list[0], err
}

func (g *graph) Permissions(context.Context) ([]string, error) { return nil, nil }

type freeBudget struct{}

func (freeBudget) Acquire(context.Context, budget.Lane) (*budget.Permit, error) { return nil, nil }

// diary is what all sources reported, each change once, but for those that somebody
// who heard late wants reported again.
type diary struct {
	mu   sync.Mutex
	seen map[string]bool
	list []graphsrc.Change
}

func (d *diary) note(c graphsrc.Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if key := c.ID + c.Revision; !d.seen[key] && !c.Unsure {
		d.seen[key] = true
		d.list = append(d.list, c)
	}
	return nil
}

func (d *diary) of(id string) (words []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.list {
		if c.ID == id {
			words = append(words, c.After.Presence.Words.Availability)
		}
	}
	return words
}

func (d *diary) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.list)
}

func source(tb testing.TB, g *graph, d *diary, o rueidis.ClientOption, floor time.Duration) *graphsrc.Source {
	tb.Helper()
	s, err := graphsrc.New(graphsrc.Options{
		Graph: g, Budget: freeBudget{}, Fresh: floor, WatchFloor: floor,
		Shared: share(tb, o, "contoso", func(o *redisshare.Options) { o.Delay = 50 * time.Millisecond }),
	})
	require.NoError(tb, err)
	s.Notify(d.note)
	tb.Cleanup(s.Close)
	s.Start(context.Background())
	return s
}

func crowd(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("00000000-0000-0000-0000-%012x", i)
	}
	return ids
}

func words(t *testing.T, s *graphsrc.Source, id string) string {
	t.Helper()
	r, err := s.Presence(t.Context(), id)
	require.NoError(t, err)
	return r.Presence.Words.Availability
}

func eventually(t *testing.T, is func() bool, what string) {
	t.Helper()
	require.Eventually(t, is, 20*time.Second, 5*time.Millisecond, what)
}

// three starts three sources that watch a crowd, and waits until all know it.
func three(t *testing.T, server *redistest.Server, ids []string) (*graph, *diary, []*graphsrc.Source) {
	t.Helper()
	g, d := &graph{words: make(map[string]string)}, &diary{seen: make(map[string]bool)}
	var sources []*graphsrc.Source
	for range 3 {
		sources = append(sources, source(t, g, d, server.Option(), time.Second))
	}
	eventually(t, func() bool { return slices.ContainsFunc(sources, (*graphsrc.Source).Leads) }, "one leads")
	for _, s := range sources {
		s.Watch(ids...)
	}
	eventually(t, func() bool {
		return d.count() == len(ids) && !slices.ContainsFunc(sources, func(s *graphsrc.Source) bool { return s.Stats().Known < len(ids) })
	}, "all are known")
	return g, d, sources
}

func everywhere(t *testing.T, sources []*graphsrc.Source, id, availability string) {
	t.Helper()
	eventually(t, func() bool {
		return !slices.ContainsFunc(sources, func(s *graphsrc.Source) bool { return words(t, s, id) != availability })
	}, availability+" everywhere")
}

func TestAChangeIsReportedOnceAndKnownEverywhere(t *testing.T) {
	ids := crowd(1500)
	g, d, sources := three(t, redistest.Start(t), ids)
	g.put(ids[3], "Busy")
	everywhere(t, sources, ids[3], "Busy")
	eventually(t, func() bool { return len(d.of(ids[3])) == 2 }, "it is reported")
	require.Equal(t, len(ids)+1, d.count())
}

func TestRedisStartedAgainWithoutItsDataCostsNoChange(t *testing.T) {
	ids := crowd(700)
	server := redistest.Start(t)
	g, d, sources := three(t, server, ids)
	server.Kill()
	g.put(ids[3], "Busy")
	g.put(ids[4], "Away")
	everywhere(t, sources, ids[3], "Busy") // each by itself
	server.Restart()
	eventually(t, func() bool {
		return slices.Equal(d.of(ids[3]), []string{"Available", "Busy"}) && len(d.of(ids[4])) == 2
	}, "they are reported")
	g.put(ids[5], "Busy")
	everywhere(t, sources, ids[5], "Busy")
	eventually(t, func() bool { return len(d.of(ids[5])) == 2 }, "it is reported")
	require.Equal(t, len(ids)+3, d.count())
}

func TestAFrozenRedisWithItsDataCostsNoChange(t *testing.T) {
	ids := crowd(700)
	server := redistest.Start(t)
	g, d, sources := three(t, server, ids)
	server.Freeze()
	g.put(ids[3], "Busy")
	everywhere(t, sources, ids[3], "Busy")
	server.Thaw()
	eventually(t, func() bool { return len(d.of(ids[3])) == 2 }, "it is reported")
	g.put(ids[5], "Busy")
	everywhere(t, sources, ids[5], "Busy")
	eventually(t, func() bool { return len(d.of(ids[5])) == 2 }, "it is reported")
	require.Equal(t, len(ids)+2, d.count())
}

func TestWhenTheLeaderOnRedisEndsAnotherGoesOn(t *testing.T) {
	ids := crowd(100)
	g, d, sources := three(t, redistest.Start(t), ids)
	i := slices.IndexFunc(sources, (*graphsrc.Source).Leads)
	sources[i].Close()
	sources = slices.Delete(sources, i, i+1)
	g.put(ids[3], "Busy")
	everywhere(t, sources, ids[3], "Busy")
	eventually(t, func() bool { return len(d.of(ids[3])) == 2 }, "it is reported")
	require.Equal(t, len(ids)+1, d.count())
}
