package graphsrc

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc/budget"
)

func TestAfterAnOutageExactlyTheDifferencesAreReported(t *testing.T) {
	const watched = 2000
	for name, c := range map[string]struct {
		sicken   func(n *tenant)
		requests int // at most, in ten minutes
	}{
		"Graph answers 503": {func(n *tenant) { n.fail(&Error{Op: "get presence", Kind: KindUnavailable, Status: 503}) }, 600},
		"Graph answers 429": {func(n *tenant) { n.fail(&Error{Op: "get presence", Kind: KindThrottled, Status: 429}) }, 260},
		"Graph hangs": {func(n *tenant) {
			n.delay(time.Hour)
		}, 130},
		"the permission is gone": {func(n *tenant) { n.fail(&Error{Op: "get presence", Kind: KindForbidden, Status: 403}) }, 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTenant()
				s, d := watching(t, n, &fakeBudget{}, nil)
				s.Watch(people(0, watched)...)
				wait(45 * time.Second)
				require.Len(t, d.tear(), watched)

				c.sicken(n)
				before := len(n.requests())
				want := make(map[string]string)
				for range 300 {
					wait(2 * time.Second)
					one := id(rand.N(watched))
					want[one] = []string{"Busy", "Away", "Offline"}[rand.N(3)]
					n.put(one, want[one])
				}
				require.Empty(t, d.tear())
				require.LessOrEqual(t, len(n.requests())-before, c.requests)
				stats := s.Stats()
				require.Equal(t, watched, stats.Known)
				require.InDelta(t, 600, stats.OldestAge.Seconds(), 25)
				require.InDelta(t, 600, stats.MeanAge.Seconds(), 25)
				require.Equal(t, 20*time.Second, stats.Interval)

				n.delay(0)
				n.heal()
				wait(hideFor + 45*time.Second)
				got := make(map[string]string)
				for _, one := range d.tear() {
					require.NotContains(t, got, one.ID)
					require.Equal(t, "Available", one.Before.Presence.Words.Availability)
					got[one.ID] = one.After.Presence.Words.Availability
				}
				require.Equal(t, want, got)
				require.LessOrEqual(t, s.Stats().OldestAge, 25*time.Second)
				wait(time.Second)
				n.forget()
				wait(20 * time.Second)
				require.Equal(t, batchesOf(watched), len(n.questions()), "and the pace is the old one")
			})
		})
	}
}

func TestWhileTheBudgetIsPausedNothingPilesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := budget.New(budget.Options{Jitter: func() float64 { return 0 }})
		require.NoError(t, err)
		n := newTenant()
		s, _ := watching(t, spending(n, b), b, nil)
		wait(5 * time.Second)
		s.Watch(people(0, 20_000)...)
		wait(60 * time.Second)
		n.forget()
		b.Throttled(5*time.Minute, true)
		wait(5 * time.Minute)
		require.LessOrEqual(t, b.Stats().Waiting[budget.Refresh], 1)
		require.Empty(t, n.questions())
		wait(2 * time.Minute)
		require.LessOrEqual(t, s.Stats().OldestAge, 30*time.Second)
		n.forget()
		wait(20 * time.Second)
		require.InDelta(t, batchesOf(20_000), len(n.questions()), 1)
		s.Close()
		b.Close()
	})
}

func TestARefusedPersonDoesNotSlowTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		bad := map[string]bool{id(17): true, id(1200): true}
		refuse := func(ids []string) ([]Presence, error) {
			out, err := n.reply(ids)
			for _, one := range ids {
				if bad[one] {
					return nil, &Error{Op: "get presences", Kind: KindInvalid, Status: 400}
				}
			}
			return out, err
		}
		n.set(refuse)
		s, d := watching(t, n, &fakeBudget{}, nil)
		s.Watch(people(0, 1300)...)
		wait(2 * time.Minute)
		require.Len(t, d.tear(), 1300)
		n.forget()
		wait(30 * time.Minute)
		var with, without int
		last := make(map[string]time.Time)
		for _, q := range n.questions() {
			if slices.ContainsFunc(q.ids, func(one string) bool { return bad[one] }) {
				require.Len(t, q.ids, 1, "alone")
				with++
				continue
			}
			without++
			for _, one := range q.ids {
				if at, ok := last[one]; ok {
					require.LessOrEqual(t, q.at.Sub(at), 21*time.Second)
				}
				last[one] = q.at
			}
		}
		require.Len(t, last, 1298)
		require.InDelta(t, 90*batchesOf(1300), without, 2)
		require.LessOrEqual(t, with, 2*7)
		require.LessOrEqual(t, s.Stats().OldestAge, 21*time.Second, "who is refused does not count")

		n.put(id(17), "Busy")
		n.heal()
		wait(maxQuarantine + time.Minute)
		got := d.tear()
		require.Len(t, got, 2)
		require.Equal(t, "PresenceUnknown", got[0].Before.Presence.Words.Availability)
	})
}

func TestAPersonWhoMakesGraphStumbleDoesNotStarveTheOthers(t *testing.T) {
	for _, c := range []struct{ people, late int }{{300, 30}, {2000, 10}} {
		t.Run(fmt.Sprintf("among %d", c.people), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTenant()
				s, _ := watching(t, n, &fakeBudget{}, nil)
				s.Watch(people(0, c.people)...)
				wait(30 * time.Second)
				n.set(func(ids []string) ([]Presence, error) {
					if slices.Contains(ids, id(123)) {
						return nil, &Error{Op: "get presences", Kind: KindMalformed, Status: 200}
					}
					return n.reply(ids)
				})
				wait(30 * time.Minute)
				now := time.Now()
				for i, one := range people(0, c.people) {
					rec, known := s.cache.get(mustKey(t, one))
					require.True(t, known)
					if i != 123 {
						require.Less(t, s.cache.age(&rec, now), time.Duration(c.late)*20*time.Second, one)
					}
				}
			})
		})
	}
}

func TestTheIntervalGrowsSoThatTheShareIsKept(t *testing.T) {
	for _, c := range []struct {
		people          int
		rate            float64
		floor, interval time.Duration
		latency         time.Duration // of Graph; answers that take long cost no share
		behind          bool
	}{
		{650, 1, 5 * time.Second, 5 * time.Second, 0, false},
		{20_000, 22.5, time.Second, 31 * time.Second * 2 / 45, 0, false},
		{65_000, 22.5, time.Second, 100 * time.Second * 2 / 45, 600 * time.Millisecond, false},
		{20_000, 2, 5 * time.Second, 15500 * time.Millisecond, 0, false},
		{20_000, 0.5, 5 * time.Second, 62 * time.Second, 0, true},
	} {
		t.Run(fmt.Sprintf("%d people at %v a second after %v", c.people, c.rate, c.latency), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				n := newTenant()
				n.latency = c.latency
				s, _ := watching(t, n, &fakeBudget{}, func(o *Options) {
					o.Logger = slog.New(slog.NewTextHandler(&log, nil))
					o.RefreshRate, o.WatchFloor, o.WatchCeiling = c.rate, c.floor, time.Minute
				})
				s.Watch(people(0, c.people)...)
				wait(10 * time.Second)
				before := s.Stats().SweepRequests
				wait(10 * c.interval)
				stats := s.Stats()
				require.InDelta(t, c.interval, stats.Interval, float64(time.Microsecond))
				require.InDelta(t, 10*batchesOf(c.people), stats.SweepRequests-before, 1)
				require.LessOrEqual(t, float64(stats.SweepRequests-before), c.rate*10*c.interval.Seconds()+1)
				require.Equal(t, c.behind, stats.BehindCeiling)
				if c.interval >= 2*c.floor {
					// The loop may see some of the people before the others are there.
					logged := strings.Count(log.String(), "another interval")
					require.Positive(t, logged)
					require.LessOrEqual(t, 1<<(logged-1), int(c.interval/c.floor), "at each doubling")
				}
				require.Equal(t, c.behind, strings.Contains(log.String(), "level=WARN"))
				s.Unwatch(people(1, c.people)...)
				synctest.Wait()
				stats = s.Stats()
				require.Equal(t, max(c.floor, time.Duration(float64(time.Second)/c.rate)), stats.Interval)
				require.False(t, stats.BehindCeiling)
				require.Equal(t, c.behind, strings.Count(log.String(), "level=WARN") == 1, "warned once")
			})
		})
	}
}

func TestBisectionsAndRepetitionsAreChargedToTheShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _ := watching(t, n, &fakeBudget{}, func(o *Options) { o.RefreshRate = 2 })
		s.Watch(people(0, 20_000)...)
		wait(45 * time.Second)
		var sent []time.Time
		n.set(func(ids []string) ([]Presence, error) {
			n.mu.Lock()
			sent = append(sent, time.Now())
			n.mu.Unlock()
			for _, one := range ids {
				if strings.HasSuffix(one, "00") {
					return nil, &Error{Op: "get presences", Kind: KindInvalid, Status: 400}
				}
			}
			return n.reply(ids)
		})
		wait(20 * time.Minute)
		n.mu.Lock()
		defer n.mu.Unlock()
		// A batch may cost maxSends at once, and is paid for before the next.
		require.LessOrEqual(t, len(sent), 2*1200+maxSends)
		require.Greater(t, len(sent), 2*1200/2, "and the share is used")
	})
}

func TestTheRealBudgetIsKeptUnderRefreshAndQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := budget.New(budget.Options{})
		require.NoError(t, err)
		n := newTenant()
		n.latency = 300 * time.Millisecond
		s, _ := watching(t, spending(n, b), b, func(o *Options) { o.WatchFloor = time.Second })
		wait(5 * time.Second)
		s.Watch(people(0, 20_000)...)
		for q := range 1500 {
			wait(40 * time.Millisecond)
			go func() { _, _ = s.Presence(t.Context(), id(50_000+q)) }()
		}
		wait(15 * time.Second)
		stats := b.Stats()
		require.LessOrEqual(t, stats.WorstWindow, 1450)
		require.LessOrEqual(t, float64(stats.Sent[budget.Refresh]), 22.5*75+1)
		require.LessOrEqual(t, s.Stats().OldestAge, 3*time.Second)
		s.Close()
		b.Close()
	})
}

// The picture of a client that watches and then takes its snapshot follows
// every change, whatever happens in between.
func TestNoChangeIsLostBetweenSnapshotAndSubscription(t *testing.T) {
	words := []string{"Available", "Busy", "Away", "Offline"}
	rapid.Check(t, func(rt *rapid.T) {
		type act struct{ kind, who, pause int }
		acts := make([]act, rapid.IntRange(1, 60).Draw(rt, "acts"))
		for i := range acts {
			acts[i] = act{
				rapid.IntRange(0, 5).Draw(rt, "kind"), rapid.IntRange(0, 2).Draw(rt, "who"),
				rapid.SampledFrom([]int{0, 1, 50, 100, 900, 7000, 21_000}).Draw(rt, "pause"),
			}
		}
		latency := time.Duration(rapid.SampledFrom([]int{0, 1, 100, 3000}).Draw(rt, "latency")) * time.Millisecond
		size := rapid.SampledFrom([]int{1, 10}).Draw(rt, "cache size")
		var wrong string
		synctest.Test(t, func(t *testing.T) {
			n := newTenant()
			n.latency = latency
			s, d := watching(t, n, &fakeBudget{}, func(o *Options) { o.CacheSize = size })
			picture := make(map[string]string)
			watchers := make(map[string]int)
			follow := func() {
				for _, c := range d.tear() {
					if had, ok := picture[c.ID]; ok && !c.First && had != c.Before.Presence.Words.Availability &&
						had != c.After.Presence.Words.Availability {
						wrong = fmt.Sprintf("%s: from %s, known was %s", c.ID, c.Before.Presence.Words.Availability, had)
					}
					if watchers[c.ID] > 0 {
						picture[c.ID] = c.After.Presence.Words.Availability
					}
				}
			}
			for i, a := range acts {
				one := id(a.who)
				switch a.kind {
				case 0, 1:
					n.put(one, words[(i+a.who)%len(words)])
				case 2:
					go func() { _, _ = s.Presence(t.Context(), one) }()
				case 3:
					s.Unwatch(one)
					watchers[one] = max(watchers[one]-1, 0)
					if watchers[one] == 0 {
						delete(picture, one)
					}
				default:
					s.Watch(one)
					watchers[one]++
					// What is known now; if nothing is, a first change comes.
					if rec, known := s.cache.get(mustKey(t, one)); known {
						picture[one] = rec.words.availability.Value()
					}
				}
				wait(time.Duration(a.pause) * time.Millisecond)
				synctest.Wait()
				follow()
			}
			wait(45 * time.Second)
			follow()
			for one, n1 := range watchers {
				if n1 == 0 {
					continue
				}
				n.mu.Lock()
				want := "Available"
				if p, ok := n.truth[one]; ok {
					want = p.Words.Availability
				}
				n.mu.Unlock()
				if picture[one] != want {
					wrong = fmt.Sprintf("%s is %s, the picture says %q", one, want, picture[one])
				}
			}
			s.Close()
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// spender pays for each request at the budget's own door.
type spender struct {
	*tenant
	door http.RoundTripper
}

func spending(n *tenant, b *budget.Budget) *spender {
	return &spender{n, b.Transport(answering{})}
}

// answering answers every request at once.
type answering struct{}

func (answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func (s *spender) pay(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://graph.invalid/", http.NoBody)
	if err != nil {
		return err
	}
	_, err = s.door.RoundTrip(r)
	return err
}

func (s *spender) Presence(ctx context.Context, one string) (Presence, error) {
	if err := s.pay(ctx); err != nil {
		return Presence{}, err
	}
	return s.tenant.Presence(ctx, one)
}

func (s *spender) Presences(ctx context.Context, ids []string) ([]Presence, error) {
	if err := s.pay(ctx); err != nil {
		return nil, err
	}
	return s.tenant.Presences(ctx, ids)
}
