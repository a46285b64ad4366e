package units

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

func TestAMailboxIsAskedByFourAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := map[string]int{}, map[string]int{}
		s := &fakeGraph{}
		u := started(t, Small)
		rt := u.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
			box := CostOf(r.Method, r.URL).Mailbox
			mu.Lock()
			now[box]++
			most[box] = max(most[box], now[box])
			mu.Unlock()
			<-time.After(time.Second)
			return s.RoundTrip(r)
		}))
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://graph.test/v1.0/users/%d/photo/$value", i%3), nil)
				require.NoError(t, err)
				resp, err := rt.RoundTrip(req)
				require.NoError(t, err)
				<-time.After(time.Second) // it is read slowly
				mu.Lock()
				now[CostOf(req.Method, req.URL).Mailbox]--
				mu.Unlock()
				if i%2 == 0 {
					_, err = io.ReadAll(resp.Body)
					require.NoError(t, err)
				}
				require.NoError(t, resp.Body.Close())
				require.NoError(t, resp.Body.Close())
			})
		}
		wg.Wait()
		require.Equal(t, map[string]int{"0": 4, "1": 4, "2": 4}, most)
		require.Zero(t, u.Stats().Requests, "no units are spent")
		require.Equal(t, 3, u.Stats().Mailboxes)
		wait(time.Minute)
		require.NoError(t, send(t, t.Context(), rt, getPhoto))
		require.Equal(t, 1, u.Stats().Mailboxes, "the others are forgotten")
	})
}

func TestAMailboxIsNotAskedMoreThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		u := started(t, Small)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		begun := time.Now()
		require.NoError(t, send(t, ctx, u.Transport(s), getPhoto))
		require.Zero(t, time.Since(begun), "a first photo need not wait")
		wait(time.Minute)
		greedy(t, ctx, u.Transport(s), 20, getPhoto).Wait()
		list, from, worst := s.seen(), 0, 0
		for i, a := range list {
			for a.at.Sub(list[from].at) > 10*time.Minute {
				from++
			}
			worst = max(worst, i-from+1)
		}
		require.LessOrEqual(t, worst, 10_000)
		require.Greater(t, worst, 9_500)
	})
}

func TestAThrottledMailboxIsLeftAloneAndTheOthersAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeGraph{}
		s.say(429, map[string]string{"Retry-After": "20"})
		u := started(t, Small)
		rt := u.Transport(s)
		require.NoError(t, send(t, t.Context(), rt, getPhoto))
		s.say(200, nil)
		require.EqualValues(t, 1, u.Stats().MailboxesThrottled)
		require.Zero(t, u.Stats().PausedFor)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begun := time.Now()
		var spent *budget.ExhaustedError
		require.ErrorAs(t, send(t, ctx, rt, getPhoto), &spent)
		require.Equal(t, 20*time.Second, spent.RetryAfter)
		require.NoError(t, send(t, ctx, rt, "/v1.0/users/b/photo/$value"))
		require.Zero(t, time.Since(begun))
		left, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { require.ErrorIs(t, send(t, left, rt, getPhoto), context.Canceled) })
		synctest.Wait()
		require.Equal(t, 1, u.Stats().MailboxWaiting)
		cancel()
		wg.Wait()
		require.NoError(t, send(t, t.Context(), rt, getPhoto))
		require.Equal(t, 20*time.Second, time.Since(begun))
	})
}
