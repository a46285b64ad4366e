package units

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

// greedy sends as fast as it may, from so many goroutines, until ctx ends.
func greedy(t *testing.T, ctx context.Context, rt http.RoundTripper, workers int, paths ...string) *sync.WaitGroup {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; ctx.Err() == nil; i++ {
				if send(t, ctx, rt, paths[i%len(paths)]) != nil {
					<-ctx.Done() // there is nothing left before the end
				}
			}
		})
	}
	return &wg
}

func TestNoWindowHoldsMoreThanTheLimit(t *testing.T) {
	const transitive = "/v1.0/groups/g/transitiveMembers"
	for _, size := range []Size{Small, Medium, Large} {
		for name, latency := range map[string]func() time.Duration{
			"at once":          func() time.Duration { return time.Microsecond },
			"within a second":  func() time.Duration { return rand.N(time.Second) },
			"late in the line": func() time.Duration { return time.Second },
		} {
			t.Run(fmt.Sprint(size.Limit(), " units, ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &fakeGraph{latency: latency}
					for range 4 { // restarts, after which a quiet time
						u := New(Options{Size: size})
						ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
						greedy(t, ctx, u.Transport(s), 1000, getMembers, getUser, transitive).Wait()
						cancel()
						u.Close()
					}
					u := started(t, size)
					wait(time.Minute)
					ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
					defer cancel()
					greedy(t, ctx, u.Transport(s), 1000, transitive, getUser, getMembers).Wait()
					require.LessOrEqual(t, s.worst(), size.Limit())
					require.Greater(t, s.worst(), size.Limit()*7/10, "and is used")
					require.LessOrEqual(t, u.Stats().WorstWindow, size.Limit())
				})
			})
		}
	}
}

func TestNewUnitsAreEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		u := started(t, Small)
		begun := time.Now()
		require.NoError(t, send(t, t.Context(), u.Transport(s), getMembers))
		require.Greater(t, time.Since(begun), 5*time.Millisecond)
		require.Less(t, time.Since(begun), 20*time.Millisecond)
		wait(time.Minute)
		require.Equal(t, 350.0, u.Stats().Level)
	})
}

func TestPresenceCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		u := started(t, Small)
		begun := time.Now()
		for range 1_000 {
			require.NoError(t, send(t, t.Context(), u.Transport(s), "/v1.0/users/a/presence"))
		}
		require.Zero(t, time.Since(begun))
		require.Zero(t, u.Stats().Requests)
		require.NotContains(t, s.headers[0], "X-Ms-Throttle-Priority")
	})
}

func TestWhoCannotBeServedInTimeIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		u := started(t, Small)
		rt := u.Transport(s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		begun := time.Now()
		err := send(t, ctx, rt, getMembers)
		require.Zero(t, time.Since(begun))
		var spent *budget.ExhaustedError
		require.ErrorAs(t, err, &spent, "who knows the budget's refusal knows this one")
		require.Greater(t, spent.RetryAfter, 5*time.Millisecond)
		require.ErrorContains(t, err, "group members")
		require.Empty(t, s.seen())

		// Some wait, and a pause puts their deadline out of reach.
		wait(time.Minute)
		s.say(429, map[string]string{"Retry-After": "30"})
		require.NoError(t, send(t, t.Context(), rt, getUser))
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorAs(t, send(t, ctx, rt, getUser), &spent)
		require.Equal(t, 30*time.Second, spent.RetryAfter.Round(time.Second))
	})
}

func TestAPauseRefusesThoseWhoWaitInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := started(t, Small)
		slow := &fakeGraph{latency: func() time.Duration { return 100 * time.Millisecond }}
		slow.say(429, map[string]string{"Retry-After": "20"})
		wait(time.Minute)
		rt := u.Transport(slow)
		var wg sync.WaitGroup
		var refused, sent int
		var mu sync.Mutex
		begun := time.Now()
		for range 500 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				err := send(t, ctx, rt, getMembers)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					sent++
					return
				}
				var spent *budget.ExhaustedError
				require.ErrorAs(t, err, &spent)
				refused++
			})
		}
		wg.Wait()
		require.Less(t, time.Since(begun), time.Second)
		require.Equal(t, 500, refused+sent)
		require.Greater(t, refused, 300)
	})
}

func TestHigherLanesGoFirstAndLowerOnesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		u := started(t, Small)
		rt := u.Transport(s)
		var wg sync.WaitGroup
		lane := func(lane budget.Lane, n int, path string) {
			for range n {
				wg.Go(func() { require.NoError(t, send(t, inLane(context.Background(), lane), rt, path)) })
			}
			synctest.Wait()
		}
		lane(budget.Refresh, 300, "/v1.0/groups/refresh/members")
		lane(budget.Interactive, 300, "/v1.0/groups/interactive/members")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		greedy(t, inLane(ctx, budget.Interactive), rt, 100, "/v1.0/groups/crowd/members").Wait()
		wg.Wait()
		last := map[string]int{}
		for i, a := range s.seen() {
			last[a.path] = i
		}
		require.Less(t, last["/v1.0/groups/interactive/members"], 310)
		require.Less(t, last["/v1.0/groups/refresh/members"], 1_500, "6 s after they came, at 92 a second")
	})
}

func TestTheLaneSaysWhomToThrottleFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		u := started(t, Small)
		for _, lane := range []budget.Lane{budget.Interactive, budget.Publish, budget.FirstLook, budget.Refresh} {
			require.NoError(t, send(t, inLane(t.Context(), lane), u.Transport(s), getUser))
		}
		var got []string
		for _, h := range s.headers {
			got = append(got, h.Get("x-ms-throttle-priority"))
		}
		require.Equal(t, []string{"high", "", "", "low"}, got)
	})
}

func TestWhatGraphChargesMoreIsPaidAndRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &fakeGraph{}
		u := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Jitter: func() float64 { return 0 }})
		defer u.Close()
		rt := u.Transport(s)
		wait(time.Minute)
		s.say(200, map[string]string{"x-ms-resource-unit": "7"})
		require.NoError(t, send(t, t.Context(), rt, getMembers))
		require.Equal(t, 350.0-7, u.Stats().Level)
		require.EqualValues(t, 4, u.Stats().Undercharged)
		require.NoError(t, send(t, t.Context(), rt, getMembers))
		require.Equal(t, 350.0-14, u.Stats().Level)
		require.EqualValues(t, 4, u.Stats().Undercharged, "known by now")
		s.say(200, map[string]string{"x-ms-resource-unit": "9"})
		require.NoError(t, send(t, t.Context(), rt, getMembers))
		require.Equal(t, 350.0-23, u.Stats().Level)
		s.say(200, map[string]string{"x-ms-resource-unit": "1"})
		require.NoError(t, send(t, t.Context(), rt, getMembers))
		require.Equal(t, 350.0-32, u.Stats().Level, "nothing is given back")
		require.Equal(t, 32, u.Stats().InWindow)
		require.NoError(t, send(t, t.Context(), rt, getUser))
		require.Equal(t, 350.0-33, u.Stats().Level, "other kinds are not touched")
		require.Equal(t, 1, strings.Count(log.String(), "costs more"))
	})
}

func TestNearTheLimitItSlowsDownAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		u := started(t, Small)
		rt := u.Transport(s)
		run := func(d time.Duration) int {
			before := len(s.seen())
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			greedy(t, ctx, rt, 50, getUser).Wait()
			return len(s.seen()) - before
		}
		full := run(20 * time.Second)
		s.say(200, map[string]string{"x-ms-throttle-limit-percentage": "0.8"})
		run(100 * time.Millisecond)
		s.say(200, nil)
		st := u.Stats()
		require.Equal(t, 0.8, st.Share)
		require.EqualValues(t, 1, st.Slowed, "many answers of one window are one warning")
		require.InDelta(t, st.PlanRate/2, st.Rate, st.PlanRate/20)
		require.InDelta(t, full/4, run(9*time.Second), float64(full)/10)

		s.say(200, map[string]string{"x-ms-throttle-limit-percentage": "1.8"})
		run(100 * time.Millisecond)
		s.say(200, nil)
		require.InDelta(t, st.PlanRate/10, u.Stats().Rate, 1, "the floor")
		wait(95 * time.Second)
		require.Equal(t, st.PlanRate, u.Stats().Rate)

		s.say(200, map[string]string{"x-ms-throttle-limit-percentage": "0.79"})
		run(time.Second)
		require.Equal(t, st.PlanRate, u.Stats().Rate)
	})
}

func TestA429ClosesTheBucketAndHalvesTheRateOnce(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		after  string
		pause  time.Duration
	}{
		"stated":             {429, "7", 7 * time.Second},
		"stated, fractional": {429, "2.128", 3 * time.Second},
		"not stated":         {429, "", 5 * time.Second},
		"nonsense":           {429, "soon", 5 * time.Second},
		"zero":               {429, "0", time.Second},
		"503, stated":        {503, "4", 4 * time.Second},
		"503, not stated":    {503, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := &fakeGraph{latency: func() time.Duration { return 10 * time.Millisecond }}
				u := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Jitter: func() float64 { return 0 }})
				defer u.Close()
				rt := u.Transport(s)
				wait(time.Minute)
				s.say(c.status, map[string]string{
					"Retry-After": c.after, "x-ms-throttle-scope": "Tenant_Application/ReadWrite/app/tenant",
					"x-ms-throttle-information": "ResourceUnitLimitExceeded",
				})
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() { require.NoError(t, send(t, context.Background(), rt, getUser)) })
				}
				wg.Wait()
				s.say(200, nil)
				st := u.Stats()
				if c.pause == 0 {
					require.Zero(t, st.Throttled)
					return
				}
				require.EqualValues(t, 20, st.Throttled)
				require.InDelta(t, st.PlanRate/2, st.Rate, 0.01)
				require.Equal(t, c.pause, st.PausedFor)
				begun := time.Now()
				require.NoError(t, send(t, t.Context(), rt, getUser))
				require.InDelta(t, c.pause.Seconds(), time.Since(begun).Seconds(), 0.1)
				require.Equal(t, 1, strings.Count(log.String(), "throttled"))
				require.Contains(t, log.String(), "scope=Tenant_Application limit=ReadWrite reason=ResourceUnitLimitExceeded")
				wait(time.Minute)
				require.Equal(t, st.PlanRate, u.Stats().Rate)
			})
		})
	}
}

func TestARequestThatDoesNotLeaveGivesItsUnitsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("no connection")
		s := &fakeGraph{fail: down}
		u := started(t, Small)
		wait(time.Minute)
		for range 1_000 {
			require.ErrorIs(t, send(t, t.Context(), u.Transport(s), getMembers), down)
		}
		require.Equal(t, 350.0, u.Stats().Level)
		require.Zero(t, u.Stats().Held)
		require.Zero(t, u.Stats().InWindow)
	})
}

// Units are held until the request leaves, which may be long after: a request
// that waits below does not let others leave in its place.
func TestUnitsAreHeldUntilARequestLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		s := &fakeGraph{}
		u := started(t, Small)
		wait(time.Minute)
		rt := u.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
			<-open
			return s.RoundTrip(r)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		wg := greedy(t, ctx, rt, 400, getUser)
		wait(30 * time.Second)
		require.Equal(t, 350, u.Stats().Held)
		require.Equal(t, 50, u.Stats().Waiting)
		close(open)
		wg.Wait()
		require.LessOrEqual(t, s.worst(), Small.Limit())
		require.Zero(t, u.Stats().Held)
	})
}

// net/http may send a request twice on its own, and may tell of a departure
// only after the answer, or after the request was given up.
func TestDeparturesAreCountedOnceEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := started(t, Small)
		wait(time.Minute)
		down := errors.New("down")
		for name, c := range map[string]struct {
			before, after int // departures the trace tells of, before and after the answer
			err           error
			spent         int
		}{
			"without a trace": {0, 0, nil, 3}, "before the answer": {1, 0, nil, 3}, "after the answer": {0, 1, nil, 3},
			"twice": {2, 0, nil, 6}, "once again after the answer": {1, 1, nil, 6}, "not at all": {0, 0, down, 0},
			"without an answer": {1, 0, down, 3}, "after it was given up": {0, 1, down, 3},
		} {
			before := u.Stats()
			var left func()
			err := send(t, t.Context(), u.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
				left = httptrace.ContextClientTrace(r.Context()).WroteHeaders
				for range c.before {
					left()
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, c.err
			})), getMembers)
			require.Equal(t, c.err, err, name)
			for range c.after {
				left()
			}
			st := u.Stats()
			require.EqualValues(t, c.spent, st.Spent-before.Spent, name)
			require.Equal(t, c.spent, st.InWindow-before.InWindow, name)
			require.Equal(t, float64(c.spent), before.Level-st.Level, name)
			require.Zero(t, st.Held, name)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCallersWhoLeaveAndAClosedUnitsLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		u := New(Options{})
		rt := u.Transport(s)
		ctx, cancel := context.WithCancel(t.Context())
		wg := greedy(t, ctx, rt, 100, getMembers)
		wait(time.Millisecond)
		cancel()
		wg.Wait()
		require.Zero(t, u.Stats().Waiting)
		require.ErrorIs(t, send(t, ctx, rt, getMembers), context.Canceled)

		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				if err := send(t, context.Background(), rt, "/v1.0/groups/g/transitiveMembers"); err != nil {
					require.ErrorIs(t, err, ErrClosed)
				}
			})
		}
		wait(10 * time.Millisecond)
		u.Close()
		u.Close()
		waiting.Wait()
		require.ErrorIs(t, send(t, t.Context(), rt, getUser), ErrClosed)
		require.ErrorIs(t, send(t, t.Context(), rt, getPhoto), ErrClosed)
		require.NoError(t, send(t, t.Context(), rt, "/v1.0/me/presence"))
	})
}

func TestARequestOverANetworkIsCountedWhenItLeaves(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-ms-resource-unit", "2")
	}))
	defer server.Close()
	base := &http.Transport{}
	u := New(Options{})
	defer u.Close()
	client := &http.Client{Transport: u.Transport(base)}
	defer client.CloseIdleConnections()
	for range 3 {
		resp, err := client.Get(server.URL + "/v1.0/users")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	st := u.Stats()
	require.EqualValues(t, 3, st.Requests)
	require.EqualValues(t, 6, st.Spent)
	require.Equal(t, 6, st.InWindow)
	require.Zero(t, st.Held)
}
