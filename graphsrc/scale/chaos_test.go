package scale_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/scale"
	"ucwagate/mapping"
)

// mirror is what a listener to changes believes.
type mirror struct {
	mu    sync.Mutex
	words map[string]mapping.Presence
	wrong []string
}

func (m *mirror) hear(c graphsrc.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.words[c.ID]
	if ok == c.First || (ok && known != c.Before.Presence.Words) {
		m.wrong = append(m.wrong, c.ID)
	}
	m.words[c.ID] = c.After.Presence.Words
}

func (m *mirror) copied() map[string]mapping.Presence {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.words)
}

func newMirror() *mirror { return &mirror{words: make(map[string]mapping.Presence)} }

// pass lets time of a bubble pass.
func pass(d time.Duration) { <-time.After(d) }

// churn makes people change state until the function returned is called.
func churn(tenant *scale.Tenant, people int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				tenant.Change(people)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); all.Wait() }
}

func truth(tenant *scale.Tenant) map[string]mapping.Presence {
	all := make(map[string]mapping.Presence, tenant.Len())
	for i := range tenant.Len() {
		all[scale.ID(i)] = tenant.Words(i)
	}
	return all
}

func TestAfterEveryFaultTheCacheIsTheTenant(t *testing.T) {
	const people = 10_000
	synctest.Test(t, func(t *testing.T) {
		tenant := scale.NewTenant(people, 5)
		service := scale.NewService(tenant, scale.Latency{Least: 10 * time.Millisecond, Spread: time.Second, Skew: 4}, scale.Rules(), 5)
		heard := newMirror()
		p, err := scale.StartProcess(t.Context(), service, graphsrc.Options{OnChange: heard.hear})
		require.NoError(t, err)
		p.Source.Watch(tenant.IDs()...)
		stop := churn(tenant, 50)
		pass(45 * time.Second)
		require.Len(t, heard.copied(), people)

		// Each fault alone, first now and then, then always; and all together.
		together := scale.Mix{}
		for _, f := range scale.Faults() {
			for _, share := range []float64{0.4, 1} {
				service.Break(scale.Mix{f: share})
				ask(t, p.Source, 30*time.Second)
			}
			together[f] = 0.9 / float64(len(scale.Faults()))
			service.Break(nil)
			pass(15 * time.Second)
		}
		service.Break(together)
		ask(t, p.Source, 3*time.Minute)

		stop()
		service.Break(nil)
		pass(2 * time.Minute)
		want := truth(tenant)
		require.Empty(t, wrong(want, heard.copied()), "changes reported")
		require.Empty(t, heard.wrong, "changes from what was not known")
		known := make(map[string]mapping.Presence, people)
		ids := tenant.IDs()
		for i, r := range p.Source.Presences(t.Context(), ids) {
			require.NoError(t, r.Err)
			require.False(t, r.Reading.Stale)
			known[ids[i]] = r.Reading.Presence.Words
		}
		require.Empty(t, wrong(want, known), "presence cached")
		require.LessOrEqual(t, p.Source.Stats().OldestAge, 30*time.Second)
		p.Close()
		service.Drain()

		counts := service.Counts()
		for _, f := range scale.Faults() {
			require.Positive(t, counts.Faults[f], "%s was never played", f)
		}
		require.LessOrEqual(t, counts.WorstSends, 1450)
		require.LessOrEqual(t, counts.WorstArrivals, scale.DocumentedRequests)
		require.Zero(t, counts.Throttled)
		require.Zero(t, counts.Early)
		t.Logf("%d sends, worst window %d, faults %v", counts.Sends, counts.WorstSends, counts.Faults)
	})
}

// ask lets time pass, with some questions a second about anybody.
func ask(t *testing.T, s *graphsrc.Source, d time.Duration) {
	var all sync.WaitGroup
	for end := time.Now().Add(d); time.Now().Before(end); pass(211 * time.Millisecond) {
		n := int(time.Until(end) / time.Millisecond)
		all.Go(func() {
			// In a storm any outcome will do, as long as there is one.
			_, _ = s.Presence(t.Context(), scale.ID(n%20_000))
		})
	}
	all.Wait()
}

// wrong lists a few of those whose words differ.
func wrong(want, got map[string]mapping.Presence) (ids []string) {
	for id, words := range want {
		if got[id] != words && len(ids) < 10 {
			ids = append(ids, id)
		}
	}
	return ids
}
