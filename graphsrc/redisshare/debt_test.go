package redisshare_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redisshare"
	"ucwagate/graphsrc/redistest"
	"ucwagate/graphsrc/sharetest"
	"ucwagate/mapping"
)

// choosy is a member that cannot report the changes of some people.
type choosy struct {
	sharetest.Recorder
	mu    sync.Mutex
	not   []uuid.UUID
	tried map[uuid.UUID]int // how often it could not
}

func unableTo(not ...uuid.UUID) *choosy { return &choosy{not: not, tried: make(map[uuid.UUID]int)} }

func (c *choosy) choose(not ...uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.not = not
}

func (c *choosy) attempts(id uuid.UUID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tried[id]
}

func (c *choosy) Deliver(ctx context.Context, changes []graphsrc.SharedChange) (failed []graphsrc.SharedChange, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range changes {
		if slices.Contains(c.not, one.After.ID) {
			c.tried[one.After.ID]++
			failed, err = append(failed, one), errors.New("it is stored elsewhere")
		} else if _, err := c.Recorder.Deliver(ctx, []graphsrc.SharedChange{one}); err != nil {
			return changes, err
		}
	}
	return failed, err
}

// of is what was reported of a person.
func (c *choosy) of(id uuid.UUID) (words []string) {
	for _, d := range c.Delivered() {
		if d.After.ID == id {
			words = append(words, d.After.Words.Availability)
		}
	}
	return words
}

func tellAs(t *testing.T, s *redisshare.Share, availability string, people ...uuid.UUID) {
	t.Helper()
	var readings []graphsrc.Told
	for _, id := range people {
		readings = append(readings, graphsrc.Told{Changed: true, SharedReading: graphsrc.SharedReading{
			ID: id, ReadAt: time.Now(), Words: mapping.Presence{Availability: availability, Activity: availability},
		}})
	}
	_, err := s.Tell(t.Context(), readings)
	require.NoError(t, err)
}

func run(t *testing.T, s *redisshare.Share, m graphsrc.Member) (end func()) {
	t.Helper()
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() { s.Run(ctx, m) })
	end = func() { cancel(); wg.Wait() }
	t.Cleanup(end)
	return end
}

func TestWhoCannotBeReportedKeepsNobodyElseWaiting(t *testing.T) {
	stuck, free := uuid.UUID{1}, uuid.UUID{2}
	for name, then := range map[string]func(t *testing.T, server *redistest.Server, end func(), m *choosy) *choosy{
		"until they can be": func(_ *testing.T, _ *redistest.Server, _ func(), m *choosy) *choosy {
			m.choose()
			return m
		},
		"until somebody else leads": func(t *testing.T, server *redistest.Server, end func(), _ *choosy) *choosy {
			next := unableTo()
			run(t, share(t, server.Option(), "contoso", nil), next)
			end()
			return next
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			s, m := share(t, server.Option(), "contoso", nil), unableTo(stuck)
			end := run(t, s, m)
			eventually(t, func() bool { return s.Role() == graphsrc.Leading }, "it leads")
			var all []string
			for i := range 12 {
				all = append(all, fmt.Sprint("Word", i))
				tellAs(t, s, all[i], stuck, free)
			}
			eventually(t, func() bool { return len(m.of(free)) == len(all) }, "the other one is reported")
			require.Equal(t, all, m.of(free))
			require.Empty(t, m.of(stuck))
			m = then(t, server, end, m)
			eventually(t, func() bool { return slices.Contains(m.of(stuck), all[len(all)-1]) }, "this one is reported, too")
			got := m.of(stuck)
			require.Equal(t, all[:7], got[:7], "in order")
			require.Equal(t, all[len(all)-1], got[len(got)-1])
			revisions := make(map[string]bool)
			for _, c := range m.Delivered() {
				key := c.After.ID.String() + c.Revision
				require.False(t, revisions[key], "once")
				revisions[key] = true
			}
		})
	}
}

// hasty is a clock whose pauses are short.
type hasty struct{ clock.Clock }

func (c hasty) AfterFunc(d time.Duration, f func()) clock.Timer {
	return c.Clock.AfterFunc(min(d, 20*time.Millisecond), f)
}

func TestWhoAloneHasChangedAndCannotBeReportedKeepsOthersWaitingForAWhileOnly(t *testing.T) {
	server := redistest.Start(t)
	s, m := share(t, server.Option(), "contoso", func(o *redisshare.Options) { o.Clock = hasty{clock.System()} }), unableTo(uuid.UUID{1}, uuid.UUID{3})
	run(t, s, m)
	eventually(t, func() bool { return s.Role() == graphsrc.Leading }, "it leads")
	tellAs(t, s, "Busy", uuid.UUID{1})
	tellAs(t, s, "Busy", uuid.UUID{2})
	eventually(t, func() bool { return len(m.of(uuid.UUID{2})) == 1 }, "the other one is reported")
	require.Empty(t, m.of(uuid.UUID{1}))
	tellAs(t, s, "Busy", uuid.UUID{3})
	tellAs(t, s, "Away", uuid.UUID{2})
	eventually(t, func() bool { return len(m.of(uuid.UUID{2})) == 2 }, "the other one is reported again")
	require.LessOrEqual(t, m.attempts(uuid.UUID{3}), 2, "it is known that not everybody can be reported")
}
