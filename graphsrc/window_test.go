package graphsrc

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

// load is what a source did under a steady stream of lone questions.
type load struct {
	perRequest float64       // ids
	rate       float64       // requests a second
	mean, most time.Duration // wait until the answer, beyond what Graph takes
	others     time.Duration // mean wait of other requests for a token, ten a second in the publish lane
	tokens     float64       // in the bucket at the end
}

// underLoad asks for another person every 1/perSecond on average, for half a minute.
func underLoad(t *testing.T, plan budget.Plan, perSecond float64) load {
	const (
		latency = 120 * time.Millisecond
		horizon = 30 * time.Second
	)
	b, err := budget.New(budget.Options{Plan: plan})
	require.NoError(t, err)
	defer b.Close()
	g := &fakeGraph{latency: latency}
	s, err := New(Options{Graph: g, Budget: prepaid{b}})
	require.NoError(t, err)
	defer s.Close()
	wait(20 * time.Second) // the bucket starts empty

	var l load
	var mu sync.Mutex
	var wg sync.WaitGroup
	var total, others time.Duration
	began, asked, acquired := time.Now(), 0, 0
	wg.Go(func() {
		for time.Since(began) < horizon {
			wait(100 * time.Millisecond)
			at := time.Now()
			p, err := prepaid{b}.Acquire(context.Background(), budget.Publish)
			require.NoError(t, err)
			p.Return()
			others += time.Since(at)
			acquired++
		}
	})
	rnd := rand.New(rand.NewPCG(1, 2))
	for time.Since(began) < horizon {
		n := asked
		asked++
		wg.Go(func() {
			at := time.Now()
			_, err := s.Presence(context.Background(), id(n))
			require.NoError(t, err)
			took := time.Since(at) - latency
			mu.Lock()
			defer mu.Unlock()
			total += took
			l.most = max(l.most, took)
		})
		wait(time.Duration(rnd.ExpFloat64() / perSecond * float64(time.Second)))
	}
	l.tokens = b.Stats().Tokens
	wg.Wait()
	l.mean, l.others = total/time.Duration(asked), others/time.Duration(acquired)
	l.perRequest = float64(asked) / float64(len(g.requests()))
	l.rate = float64(len(g.requests())) / horizon.Seconds()
	return l
}

// TestRequestsFillAsTokensGetScarce fixes what a load costs in requests and in
// time. The numbers of the window alone (a busy lane collects for 5 ms), measured
// with the same questions, stand beside each case.
func TestRequestsFillAsTokensGetScarce(t *testing.T) {
	scarce := budget.Plan{Limit: 1500, Window: 30 * time.Second, Capacity: 100, Rate: 5}
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		plan         budget.Plan
		perSecond    float64
		least, most  float64       // ids in a request
		mean, others time.Duration // at most
		tokens       float64       // left in the bucket, at least
	}{
		// 1.00 ids, 1 ms, others 0 ms, 100 tokens
		"two a second leave at once": {budget.DefaultPlan(), 2, 1, 1.01, ms / 10, 0, 99},
		// 1.07 ids, 4.5 ms, others 0 ms, 99 tokens
		"twenty a second leave at once, although others are under way": {budget.DefaultPlan(), 20, 1, 1.01, ms / 2, 0, 95},
		// 1.53 ids, 8.2 ms, others 15 ms, 2 tokens
		"a load above the rate of tokens leaves some in the bucket": {budget.DefaultPlan(), 60, 1.5, 2, 12 * ms, 0, 15},
		// 2.39 ids, 11.1 ms, others 57 ms, 0 tokens
		"twice the rate of tokens, too": {budget.DefaultPlan(), 100, 2.5, 3, 15 * ms, 0, 15},
		// 8.73 ids, 11.9 ms, others 295 ms, 0 tokens
		"ten times the rate fills requests": {budget.DefaultPlan(), 400, 10, 12, 16 * ms, 0, 15},
		// 43.5 ids, 12.0 ms, others 295 ms, 0 tokens
		"fifty times the rate": {budget.DefaultPlan(), 2000, 50, 60, 16 * ms, 0, 15},
		// 13.0 ids, 104 ms, others 1.41 s, 0 tokens
		"where others want more than there is, they get half": {scarce, 100, 20, 25, 200 * ms, 200 * ms, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := underLoad(t, c.plan, c.perSecond)
				t.Logf("%.2f ids in a request, %.1f requests a second, wait %s on average and %s at most, others %s, %.0f tokens left",
					l.perRequest, l.rate, l.mean.Round(time.Microsecond), l.most.Round(time.Microsecond), l.others.Round(time.Microsecond), l.tokens)
				require.GreaterOrEqual(t, l.perRequest, c.least)
				require.LessOrEqual(t, l.perRequest, c.most)
				require.LessOrEqual(t, l.mean, c.mean)
				require.LessOrEqual(t, l.others, c.others)
				require.GreaterOrEqual(t, l.tokens, c.tokens)
			})
		})
	}
}

func TestPace(t *testing.T) {
	const token = 20 * time.Millisecond
	for name, c := range map[string]struct {
		filled   float64
		perToken time.Duration
		want     pace
	}{
		"a full bucket keeps the window":       {1, token, pace{spacing: 5 * time.Millisecond}},
		"half a bucket keeps the window":       {0.5, token, pace{spacing: 5 * time.Millisecond}},
		"a little less, too":                   {0.45, token, pace{5 * time.Millisecond, 8 * time.Millisecond}},
		"a quarter is a token's time":          {0.25, token, pace{token, 2 * token}},
		"an empty bucket is twice as much":     {0, token, pace{2 * token, 4 * token}},
		"very slow tokens do not hold up more": {0, time.Minute, pace{maxSpacing, maxSpacing}},
		"a slow trickle with much left":        {0.5, time.Minute, pace{spacing: 5 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &coalescer{permits: &fixedGauge{filled: c.filled, perToken: c.perToken}, window: 5 * time.Millisecond}
			got := s.pace()
			require.InDelta(t, c.want.spacing, got.spacing, 1)
			require.InDelta(t, c.want.patience, got.patience, 2)
		})
	}
	s := &coalescer{permits: &fakeBudget{}, window: 5 * time.Millisecond}
	require.Equal(t, pace{spacing: 5 * time.Millisecond}, s.pace(), "a budget that does not tell")
}

func TestRefreshingWaitsForSomebodyWhoTakesItAlong(t *testing.T) {
	const token = 20 * time.Millisecond
	begin := func(t *testing.T, filled float64) (*fakeGraph, *Source) {
		g := &fakeGraph{}
		s := start(t, g, &fixedGauge{filled: filled, perToken: token}, nil)
		require.Nil(t, s.coalescer.renew(t.Context(), budget.Refresh, []userKey{mustKey(t, id(1))}, time.Minute))
		wait(time.Minute)
		return g, s
	}
	keys := func(ns ...int) []userKey {
		var keys []userKey
		for _, n := range ns {
			k, _ := parseKey(id(n))
			keys = append(keys, k)
		}
		return keys
	}
	renew := func(s *Source, ids ...int) {
		_ = s.coalescer.renew(context.Background(), budget.Refresh, keys(ids...), time.Minute)
	}
	t.Run("where tokens are scarce", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t, 0)
			began := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { renew(s, 2, 3) })
			wait(4*token - time.Millisecond)
			_, err := s.Presence(t.Context(), id(4))
			require.NoError(t, err)
			wg.Wait()
			require.ElementsMatch(t, []string{id(2), id(3), id(4)}, g.requests()[1])
			require.Less(t, time.Since(began), 4*token)
		})
	})
	t.Run("but no longer than four tokens take", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t, 0)
			began := time.Now()
			renew(s, 2, 3)
			require.Equal(t, 4*token, time.Since(began))
			require.ElementsMatch(t, []string{id(2), id(3)}, g.requests()[1])
		})
	})
	t.Run("and not at all where tokens are plenty", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, s := begin(t, 1)
			began := time.Now()
			renew(s, 2, 3)
			require.Zero(t, time.Since(began))
		})
	})
	t.Run("nor when two batches wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t, 0)
			began := time.Now()
			var ids []int
			for n := range 2 * maxBatch {
				ids = append(ids, n+2)
			}
			renew(s, ids...)
			require.Len(t, g.requests()[1], maxBatch)
			require.Less(t, time.Since(began), 5*token, "the second waits its time")
		})
	})
}

type fixedGauge struct {
	fakeBudget
	filled   float64
	perToken time.Duration
}

func (g *fixedGauge) Spare() (float64, time.Duration) { return g.filled, g.perToken }

func TestGatheringEndsEarly(t *testing.T) {
	hour := func(o *Options) { o.BatchWindow, o.Timeout = time.Hour, 3*time.Hour }
	begin := func(t *testing.T) (*fakeGraph, *Source) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, hour)
		_, err := s.Presence(t.Context(), id(0)) // from now on an hour is to pass
		require.NoError(t, err)
		return g, s
	}
	t.Run("when a whole batch is there", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t)
			began := time.Now()
			var wg sync.WaitGroup
			for n := range maxBatch {
				wg.Go(func() { _, _ = s.Presence(context.Background(), id(n+1)) })
				wait(time.Millisecond)
			}
			wg.Wait()
			require.Equal(t, maxBatch*time.Millisecond, time.Since(began))
			require.Len(t, g.requests()[1], maxBatch)
		})
	})
	t.Run("when somebody is in a hurry", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t)
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = s.Presence(context.Background(), id(2)) })
			wait(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			_, err := s.Presence(ctx, id(1))
			require.NoError(t, err)
			require.Equal(t, time.Second/hurry, time.Since(began))
			wg.Wait()
			require.Equal(t, []string{id(2), id(1)}, g.requests()[1], "together")
		})
	})
	t.Run("when nobody waits any more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := s.Presence(ctx, id(1))
			require.ErrorIs(t, err, context.Canceled)
			synctest.Wait()
			s.coalescer.mu.Lock()
			require.False(t, s.coalescer.lanes[budget.Interactive].running)
			s.coalescer.mu.Unlock()
			require.Len(t, g.requests(), 1)
		})
	})
}

// prepaid spends each permit at once, as Transport does.
type prepaid struct{ budget *budget.Budget }

func (s prepaid) Acquire(ctx context.Context, lane budget.Lane) (*budget.Permit, error) {
	p, err := s.budget.Acquire(ctx, lane)
	if err != nil {
		return nil, err
	}
	spendOn(s.budget, p)
	return p, nil
}

func (s prepaid) Spare() (float64, time.Duration) { return s.budget.Spare() }

// spendOn spends a permit on a request that reaches nobody.
func spendOn(b *budget.Budget, p *budget.Permit) {
	req, err := http.NewRequestWithContext(budget.WithPermit(context.Background(), p), http.MethodGet, "http://graph.test/", http.NoBody)
	if err != nil {
		panic(err)
	}
	if _, err = b.Transport(nowhere{}).RoundTrip(req); err != nil {
		panic(err)
	}
}

type nowhere struct{}

func (nowhere) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: req}, nil
}
