package graphsrc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
	"ucwagate/mapping"
)

var busy, _ = mapping.Prefer(mapping.PreferBusy)

func TestAnActionIsSentOnceInThePublishLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		require.NoError(t, s.Publish(t.Context(), strings.ToUpper(id(0xab)), busy, time.Hour))
		require.Equal(t, []saying{{id(0xab), busy, time.Hour, budget.Publish, time.Now()}}, g.sayings())
		require.Equal(t, KindInvalid, errKind(s.Publish(t.Context(), "ana@contoso.com", busy, 0)))
		require.Len(t, g.sayings(), 1)
	})
}

func TestAFailedActionIsRepeatedOnceIfThatMayHelp(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   *Error
		sends int
	}{
		{"unavailable", &Error{Kind: KindUnavailable, Status: 503}, 2},
		{"unavailable for long", &Error{Kind: KindUnavailable, Status: 503, RetryAfter: time.Minute}, 1},
		{"nonsense", &Error{Kind: KindMalformed, Status: 200}, 2},
		{"throttled by Graph", &Error{Kind: KindThrottled, Status: 429}, 2},
		{"refused by the budget", &Error{Kind: KindThrottled, Code: CodeBudget}, 1},
		{"timed out", &Error{Kind: KindTimeout, Status: 504}, 1},
		{"invalid", &Error{Kind: KindInvalid, Status: 400}, 1},
		{"forbidden", &Error{Kind: KindForbidden, Status: 403}, 1},
		{"nobody", &Error{Kind: KindNotFound, Status: 404}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGraph{}
				g.replyWith(func(int) error { return c.err })
				s := start(t, g, &fakeBudget{}, nil)
				require.Equal(t, c.err.Kind, errKind(s.Publish(t.Context(), id(1), busy, 0)))
				require.Len(t, g.sayings(), c.sends)

				g = &fakeGraph{}
				g.replyWith(func(n int) error {
					if n == 1 {
						return c.err
					}
					return nil
				})
				s = start(t, g, &fakeBudget{}, nil)
				err := s.Publish(t.Context(), id(1), busy, 0)
				require.Equal(t, c.sends == 2, err == nil, "the repetition counts")
			})
		})
	}
}

func TestAnActionIsBoundedInTimeAndEndsWithTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.slow = time.Hour
		s := start(t, g, &fakeBudget{}, nil)
		began := time.Now()
		require.Equal(t, KindTimeout, errKind(s.Publish(t.Context(), id(1), busy, 0)))
		require.Equal(t, 10*time.Second, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.Publish(ctx, id(1), busy, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		var closed error
		var wg sync.WaitGroup
		wg.Go(func() { closed = s.Publish(context.Background(), id(1), busy, 0) })
		wait(time.Second)
		s.Close()
		wg.Wait()
		require.Equal(t, KindUnavailable, errKind(closed))
		require.Equal(t, KindUnavailable, errKind(s.Publish(t.Context(), id(1), busy, 0)))
	})
}

func TestPublishingToADeadGraphCostsFewSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.replyWith(func(int) error { return &Error{Kind: KindUnavailable, Status: 503} })
		s := start(t, g, &fakeBudget{}, nil)
		for n := range 1000 {
			go func() { _ = s.Publish(context.Background(), id(n), busy, 0) }()
			wait(10 * time.Millisecond)
		}
		require.Less(t, len(g.sayings()), 400)
		g.replyWith(nil)
		wait(2 * time.Second)
		require.NoError(t, s.Publish(t.Context(), id(1), busy, 0))
		_, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err)
	})
}

func TestARefusedActionHidesPublishingForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := &fakeGraph{}
		g.replyWith(func(int) error { return &Error{Kind: KindForbidden, Status: 403} })
		s := start(t, g, &fakeBudget{}, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		s.Start(t.Context())
		require.True(t, s.MayPublish())
		require.Equal(t, KindForbidden, errKind(s.Publish(t.Context(), id(1), busy, 0)))
		for range 5 {
			require.False(t, s.MayPublish())
			require.ErrorIs(t, s.Publish(t.Context(), id(2), busy, 0), ErrHidden)
		}
		require.Len(t, g.sayings(), 1)
		require.Equal(t, []string{PublishPermission}, s.Missing())
		_, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err, "reading is not touched")

		wait(hideFor)
		require.True(t, s.MayPublish(), "somebody has to try")
		require.Equal(t, KindForbidden, errKind(s.Publish(t.Context(), id(1), busy, 0)))
		require.False(t, s.MayPublish())
		require.Len(t, g.sayings(), 2)
		require.Equal(t, 1, strings.Count(log.String(), PublishPermission))

		g.replyWith(nil)
		wait(hideFor)
		require.NoError(t, s.Publish(t.Context(), id(1), busy, 0))
		require.True(t, s.MayPublish())
		require.Empty(t, s.Missing())
	})
}

func TestWhetherPublishingIsPermittedIsReadFromTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := &fakeGraph{}
		g.carry("Presence.Read.All", "User.Read.All")
		s := start(t, g, &fakeBudget{}, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		require.True(t, s.MayPublish(), "nothing is known")
		s.Start(t.Context())
		synctest.Wait()
		for range 100 { // at no moment does it look permitted
			require.False(t, s.MayPublish())
			wait(6 * time.Second)
		}
		wait(time.Second)
		require.ErrorIs(t, s.Publish(t.Context(), id(1), busy, 0), ErrHidden)
		require.Empty(t, g.sayings())
		require.Equal(t, []string{PublishPermission}, s.Missing())
		require.Equal(t, 1, strings.Count(log.String(), PublishPermission))

		g.carry("User.Read.All", PublishPermission)
		wait(hideFor + time.Second)
		require.True(t, s.MayPublish())
		require.Empty(t, s.Missing())
		looked := g.inspections()
		wait(time.Hour)
		require.Equal(t, looked, g.inspections(), "that was all")

		// Consent is withdrawn.
		g.carry("User.Read.All")
		g.replyWith(func(int) error { return &Error{Kind: KindForbidden, Status: 403} })
		require.Error(t, s.Publish(t.Context(), id(1), busy, 0))
		wait(hideFor + time.Second)
		require.False(t, s.MayPublish())
	})
}

func TestATokenThatTellsNothingLeavesItOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.carries = func() ([]string, error) {
			if g.inspected < 4 {
				return nil, errors.New("no token yet")
			}
			return nil, nil
		}
		s := start(t, g, &fakeBudget{}, nil)
		s.Start(t.Context())
		wait(time.Hour)
		require.True(t, s.MayPublish())
		require.Equal(t, 4, g.inspections(), "failures are repeated, with pauses")
		g.carry([]string{}...)
		s = start(t, g, &fakeBudget{}, nil)
		s.Start(t.Context())
		synctest.Wait()
		require.False(t, s.MayPublish(), "an empty list does tell")
	})
}

func TestAfterPublishingThePersonIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s := start(t, n, &fakeBudget{}, nil)
		read := func(want string) {
			r, err := s.Presence(t.Context(), id(1))
			require.NoError(t, err)
			require.Equal(t, want, r.Presence.Words.Availability)
		}
		read("Available")
		read("Available")
		require.Len(t, n.questions(), 1)
		n.put(id(1), "Busy")
		require.NoError(t, s.Publish(t.Context(), id(1), busy, 0))
		synctest.Wait()
		require.Len(t, n.questions(), 1, "nobody watches, nobody asks")
		read("Busy")
		read("Busy")
		require.Len(t, n.questions(), 2)

		n.replyWith(func(int) error { return &Error{Kind: KindInvalid, Status: 400} })
		require.Error(t, s.Publish(t.Context(), id(1), busy, 0))
		read("Busy")
		require.Len(t, n.questions(), 2, "nothing was said")
	})
}

func TestWatchersHearAtOnceAndManyPublishersAreFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		b := &fakeBudget{}
		s, d := watching(t, n, b, nil)
		s.Watch(people(0, 300)...)
		wait(45 * time.Second)
		require.Len(t, d.tear(), 300)
		n.forget()
		n.delay(100 * time.Millisecond)
		n.slow = 50 * time.Millisecond
		b.mu.Lock()
		b.lanes = nil
		b.mu.Unlock()
		var wg sync.WaitGroup
		for i := range 200 {
			n.put(id(i), "Busy")
			wg.Go(func() { require.NoError(t, s.Publish(context.Background(), id(i), busy, 0)) })
		}
		wg.Wait()
		wait(300 * time.Millisecond)
		require.Len(t, d.tear(), 200)
		require.LessOrEqual(t, len(n.questions()), 4)
		b.mu.Lock()
		require.Equal(t, budget.FirstLook, b.lanes[0])
		b.mu.Unlock()
		require.Empty(t, s.watch.check(watchersOf(s, 300)))
	})
}

func watchersOf(s *Source, n int) map[userKey]int {
	all := make(map[userKey]int)
	for i := range n {
		k, _ := parseKey(id(i))
		all[k] = 1
	}
	return all
}

// laggard is a tenant whose answers say what was so when they were asked for,
// and take their time.
type laggard struct {
	*tenant
	lag func() time.Duration
}

func (l *laggard) Presence(ctx context.Context, one string) (Presence, error) {
	list, err := l.Presences(ctx, []string{one})
	if err != nil {
		return Presence{}, err
	}
	return list[0], nil
}

func (l *laggard) Presences(ctx context.Context, ids []string) ([]Presence, error) {
	list, err := l.respond(context.Background(), ids, false)
	if late := linger(ctx, "get presence", l.lag()); late != nil {
		return nil, late
	}
	return list, err
}

func newLaggard(lag time.Duration) *laggard {
	return &laggard{newTenant(), func() time.Duration { return lag }}
}

func availability(t *testing.T, s *Source, one string) string {
	r, err := s.Presence(context.Background(), one)
	require.NoError(t, err)
	return r.Presence.Words.Availability
}

func TestAnAnswerToAQuestionBeforeThePublishingIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLaggard(time.Second)
		s := start(t, n, &fakeBudget{}, nil)
		var wg sync.WaitGroup
		wg.Go(func() { require.Equal(t, "Busy", availability(t, s, id(1)), "asked before, answered after") })
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			_, err := s.Presence(ctx, id(1))
			require.Equal(t, KindTimeout, errKind(err))
		})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
			defer cancel()
			_, err := s.Presence(ctx, id(1))
			require.Equal(t, KindTimeout, errKind(err), "one who leaves after the change of requests")
		})
		wait(500 * time.Millisecond)
		n.put(id(1), "Busy")
		require.NoError(t, s.Publish(t.Context(), id(1), busy, 0))
		wg.Go(func() { require.Equal(t, "Busy", availability(t, s, id(1))) })
		wait(600 * time.Millisecond) // the first answer has come and gone
		wg.Go(func() { require.Equal(t, "Busy", availability(t, s, id(1))) })
		wg.Wait()
		require.Equal(t, "Busy", availability(t, s, id(1)))
		require.Len(t, n.questions(), 2)
		require.Zero(t, s.Stats().Foreign)
		require.Zero(t, underWay(s))
	})
}

func TestOnlyThePublisherOfABatchIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLaggard(time.Second)
		s := start(t, n, &fakeBudget{}, nil)
		var wg sync.WaitGroup
		began := time.Now()
		wg.Go(func() {
			for i, r := range s.Presences(context.Background(), people(1, 10)) {
				require.NoError(t, r.Err)
				require.Equal(t, i == 4, r.Reading.Presence.Words.Availability == "Busy", i)
			}
			require.InDelta(t, 1500*time.Millisecond, time.Since(began), float64(10*time.Millisecond))
		})
		wait(500 * time.Millisecond)
		n.put(id(5), "Busy")
		require.NoError(t, s.Publish(t.Context(), id(5), busy, 0))
		wait(600 * time.Millisecond)
		require.Equal(t, "Available", availability(t, s, id(4)))
		wg.Wait()
		require.Len(t, n.questions(), 2)
		require.Equal(t, []string{id(5)}, n.questions()[1].ids)
		require.EqualValues(t, 9, s.Stats().Known)
	})
}

func TestAQuestionNobodyWaitsForAnyMoreIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLaggard(time.Second)
		s := start(t, n, &fakeBudget{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.Presence(ctx, id(1))
		require.Error(t, err)
		n.put(id(1), "Busy")
		require.NoError(t, s.Publish(t.Context(), id(1), busy, 0))
		wait(5 * time.Second)
		require.Len(t, n.questions(), 1)
		require.Zero(t, s.Stats().Known, "its answer was not taken")
		require.Equal(t, "Busy", availability(t, s, id(1)))
	})
}

func TestARefusalBeforeThePublishingIsNotBelievedEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLaggard(time.Second)
		n.set(func([]string) ([]Presence, error) { return nil, &Error{Kind: KindNotFound, Status: 404} })
		s := start(t, n, &fakeBudget{}, nil)
		var wg sync.WaitGroup
		wg.Go(func() { require.Equal(t, "Available", availability(t, s, id(1))) })
		wait(500 * time.Millisecond)
		n.heal()
		require.NoError(t, s.Publish(t.Context(), id(1), busy, 0))
		wg.Wait()
		require.Zero(t, s.Stats().Quarantined)
	})
}

func TestPublishingWaitsForAnAnswerThatIsJustBeingReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		d := &diary{}
		release := make(chan struct{})
		s := start(t, n, &fakeBudget{}, func(o *Options) {
			o.OnChange = func(c Change) {
				if c.First {
					<-release
				}
				d.note(c)
			}
		})
		s.Watch(id(1))
		synctest.Wait() // the first reading is in the cache, its report hangs
		n.put(id(1), "Busy")
		var published atomic.Bool
		go func() {
			require.NoError(t, s.Publish(context.Background(), id(1), busy, 0))
			published.Store(true)
		}()
		wait(time.Second)
		require.False(t, published.Load())
		close(release)
		synctest.Wait()
		require.True(t, published.Load())
		changes := d.tear()
		require.Len(t, changes, 2)
		require.True(t, changes[0].First)
		require.Equal(t, "Busy", changes[1].After.Presence.Words.Availability)
	})
}

// Whoever asks after a publishing has ended reads what was said or something
// newer, and what watchers hear never goes back.
func TestReadersNeverSeeWhatWasBeforeAPublishing(t *testing.T) {
	const persons, rounds = 6, 400
	synctest.Test(t, func(t *testing.T) {
		n := &laggard{newTenant(), func() time.Duration { return rand.N(300 * time.Millisecond) }}
		var truth [persons]atomic.Int64
		n.set(func(ids []string) ([]Presence, error) {
			if rand.N(20) == 0 {
				return nil, &Error{Kind: KindUnavailable, Status: 503}
			}
			var out []Presence
			for _, one := range ids {
				p := available(one)
				p.Words.StatusMessage = fmt.Sprint(truth[numberOf(one)].Load())
				out = append(out, p)
			}
			return out, nil
		})
		version := func(words mapping.Presence) (v int64) {
			_, err := fmt.Sscan(words.StatusMessage, &v)
			require.NoError(t, err)
			return v
		}
		var mu sync.Mutex
		heard := make(map[string]int64)
		s, _ := watching(t, n, &fakeBudget{}, func(o *Options) {
			o.OnChange = func(c Change) {
				mu.Lock()
				defer mu.Unlock()
				v := version(c.After.Presence.Words)
				require.GreaterOrEqual(t, v, heard[c.ID])
				heard[c.ID] = v
			}
		})
		s.Watch(people(0, persons/2)...)
		var published [persons]atomic.Int64
		var wg sync.WaitGroup
		for range rounds {
			who := rand.N(persons)
			switch rand.N(3) {
			case 0:
				wg.Go(func() {
					v := truth[who].Add(1)
					require.NoError(t, s.Publish(context.Background(), id(who), busy, 0))
					for old := published[who].Load(); old < v && !published[who].CompareAndSwap(old, v); {
						old = published[who].Load()
					}
				})
			default:
				wg.Go(func() {
					least := published[who].Load()
					r, err := s.Presence(context.Background(), id(who))
					if err == nil && !r.Stale {
						require.GreaterOrEqual(t, version(r.Presence.Words), least)
					}
				})
			}
			wait(rand.N(40 * time.Millisecond))
		}
		wg.Wait()
		wait(time.Minute)
		for i := range persons / 2 {
			require.Equal(t, truth[i].Load(), heard[id(i)], "the last word is heard")
		}
		require.Zero(t, underWay(s))
	})
}

// underWay counts the people who are being asked for.
func underWay(s *Source) int {
	s.coalescer.mu.Lock()
	defer s.coalescer.mu.Unlock()
	return len(s.coalescer.calls)
}

// numberOf is the inverse of id.
func numberOf(one string) (n int) {
	if _, err := fmt.Sscanf(one[len(one)-12:], "%x", &n); err != nil {
		panic(err)
	}
	return n
}
