package redisbudget

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/redistest"
)

// narrow is a plan of which a second is many windows.
var narrow = budget.Plan{Limit: 300, Window: 500 * time.Millisecond, Capacity: 60, Rate: 150}

// recorder notes when whoever sends does so.
type recorder struct {
	mu    sync.Mutex
	times []time.Time
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, time.Now())
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.times)
}

// judge checks every window, allowing for the time between the budget's decision
// and the recorder's.
func (r *recorder) judge(t *testing.T, plan budget.Plan) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.times, time.Time.Compare)
	for _, window := range []time.Duration{plan.Window, 2 * time.Second} {
		bound := float64(plan.Capacity) + plan.Rate*(window+budget.LatencyMargin/5).Seconds()
		most, first := 0, 0
		for i, at := range r.times {
			for at.Sub(r.times[first]) > window {
				first++
			}
			most = max(most, i-first+1)
		}
		require.LessOrEqual(t, float64(most), bound, "in %s", window)
	}
}

// replica is a budget with callers who always have something to send.
type replica struct {
	*budget.Budget
	end func()
}

func (r *recorder) start(t *testing.T, lessor budget.Lessor) replica {
	t.Helper()
	b, err := budget.New(budget.Options{Plan: narrow, Lessor: lessor, Jitter: func() float64 { return 0 }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	transport := b.Transport(r)
	var all sync.WaitGroup
	for i := range 20 {
		ctx := budget.WithLane(ctx, budget.Lane(i%budget.LaneCount))
		all.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://graph.test/", nil)
			for {
				if _, err := transport.RoundTrip(req); err != nil {
					return
				}
			}
		})
	}
	end := sync.OnceFunc(func() { cancel(); all.Wait(); b.Close() })
	t.Cleanup(end)
	return replica{b, end}
}

// eventually polls until all replicas are as they should be.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 15*time.Second, 5*time.Millisecond, what)
}

func in(state budget.SharingState, replicas ...replica) func() bool {
	return func() bool {
		for _, r := range replicas {
			if s := r.Stats().Sharing; s.State != state {
				return false
			}
		}
		return true
	}
}

// flowing waits until a second of real time brings what the plan pours.
func (r *recorder) flowing(t *testing.T, rate float64) {
	t.Helper()
	eventually(t, "the plan is used", func() bool {
		before, start := r.count(), time.Now()
		for time.Since(start) < time.Second {
			<-time.After(10 * time.Millisecond)
		}
		return float64(r.count()-before) > 0.85*rate*time.Since(start).Seconds()
	})
}

func TestReplicasShareThePlanOnARealRedis(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	lessor := quick(t, client, "t", 3)
	var rec recorder
	replicas := []replica{rec.start(t, lessor), rec.start(t, lessor), rec.start(t, lessor)}
	eventually(t, "all are members", func() bool { return replicas[0].Stats().Sharing.Members == 3 })
	rec.flowing(t, narrow.Rate)
	replicas[2].end()
	rec.flowing(t, narrow.Rate)
	require.Zero(t, replicas[0].Stats().Sharing.Ghosts)
	require.Equal(t, 2, replicas[0].Stats().Sharing.Members)
	rec.judge(t, narrow)
}

func TestAFrozenRedisMakesReplicasFallBackAndReturn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	lessor := quick(t, server.Client(t), "t", 2)
	var rec recorder
	a, b := rec.start(t, lessor), rec.start(t, lessor)
	rec.flowing(t, narrow.Rate)
	server.Freeze()
	eventually(t, "nothing is sent without a lease", in(budget.Waiting, a, b))
	eventually(t, "both pour their shares", in(budget.Fallback, a, b))
	rec.flowing(t, narrow.Rate)
	require.Positive(t, a.Stats().Sharing.Failed)
	server.Thaw()
	eventually(t, "both are back", in(budget.Shared, a, b))
	rec.flowing(t, narrow.Rate)
	rec.judge(t, narrow)
}

func TestARedisThatLostItsDataIsBornEmpty(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	lessor := quick(t, server.Client(t), "t", 2)
	var rec recorder
	a, b := rec.start(t, lessor), rec.start(t, lessor)
	rec.flowing(t, narrow.Rate)
	server.Kill()
	eventually(t, "both pour their shares", in(budget.Fallback, a, b))
	server.Restart()
	eventually(t, "both are back", in(budget.Shared, a, b))
	rec.flowing(t, narrow.Rate)
	require.Equal(t, 2, a.Stats().Sharing.Members)
	rec.judge(t, narrow)
}

func TestScriptsThatRedisHasForgottenAreSentAgain(t *testing.T) {
	client := redistest.Start(t).Client(t)
	lessor := quick(t, client, "t", 1)
	for seq := range uint64(3) {
		require.NoError(t, client.Do(t.Context(), client.B().ScriptFlush().Build()).Error())
		_, err := lessor.Lease(t.Context(), budget.Ask{Member: "a", Seq: seq + 1, Share: shareOf(10, 1000, 1)})
		require.NoError(t, err)
	}
}

func TestAThrottledReplicaMakesAllPauseOnARealRedis(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	lessor := quick(t, client, "t", 2)
	var rec recorder
	a, b := rec.start(t, lessor), rec.start(t, lessor)
	rec.flowing(t, narrow.Rate)
	a.Throttled(2*time.Second, true)
	eventually(t, "the other has heard", func() bool { return b.Stats().PausedFor > 0 })
	before := rec.count()
	for b.Stats().PausedFor > 50*time.Millisecond {
		require.Equal(t, before, rec.count())
		<-time.After(5 * time.Millisecond)
	}
	eventually(t, "and goes on at half the rate, or more after some quiet", func() bool { return rec.count() > before+20 })
	rec.judge(t, narrow)
}

func TestAClusterSharesABucketOfEachTenant(t *testing.T) {
	t.Parallel()
	client := redistest.StartCluster(t).Client(t)
	var one, other recorder
	first, second := quick(t, client, "one", 2), quick(t, client, "other", 1)
	one.start(t, first)
	one.start(t, first)
	other.start(t, second)
	one.flowing(t, narrow.Rate)
	other.flowing(t, narrow.Rate)
	one.judge(t, narrow)
	other.judge(t, narrow)
}

func TestNothingIsLeftBehind(t *testing.T) {
	client := redistest.Start(t).Client(t)
	lessor, err := New(Options{Client: client, Prefix: "ucwagate", Tenant: "contoso", Replicas: 3})
	require.NoError(t, err)
	_, err = lessor.Lease(t.Context(), budget.Ask{Member: "a", Seq: 1, Share: shareOf(100, 45_000, 3)})
	require.NoError(t, err)
	keys, err := client.Do(t.Context(), client.B().Keys().Pattern("*").Build()).AsStrSlice()
	require.NoError(t, err)
	require.Equal(t, []string{"ucwagate:{contoso:budget}:bucket"}, keys)
	ttl, err := client.Do(t.Context(), client.B().Pttl().Key(keys[0]).Build()).AsInt64()
	require.NoError(t, err)
	require.InDelta(t, (20*time.Minute + 330*time.Second).Milliseconds(), ttl, 5000)

	_, err = lessor.Lease(t.Context(), budget.Ask{Member: "a", Seq: 2, Heard: 1, Leave: true, Share: shareOf(100, 45_000, 3)})
	require.NoError(t, err)
	fields, err := client.Do(t.Context(), client.B().Hkeys().Key(keys[0]).Build()).AsStrSlice()
	require.NoError(t, err)
	require.Equal(t, []string{"bucket"}, fields, "who has said goodbye is forgotten")
}

func TestAnAskThatIsOvertakenIsVoid(t *testing.T) {
	client := redistest.Start(t).Client(t)
	lessor := quick(t, client, "t", 1)
	_, err := lessor.Lease(t.Context(), budget.Ask{Member: "a", Seq: 2, Share: shareOf(10, 1000, 1)})
	require.NoError(t, err)
	_, err = lessor.Lease(t.Context(), budget.Ask{Member: "a", Seq: 1, Share: shareOf(10, 1000, 1)})
	require.ErrorIs(t, err, ErrOvertaken)
}

func TestAnAskToAFrozenRedisEndsWithItsContext(t *testing.T) {
	server := redistest.Start(t)
	lessor := quick(t, server.Client(t), "t", 1)
	server.Freeze()
	defer server.Thaw()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := lessor.Lease(ctx, budget.Ask{Member: "a", Seq: 1, Share: shareOf(10, 1000, 1)})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAForeignKeyIsAnError(t *testing.T) {
	client := redistest.Start(t).Client(t)
	lessor := quick(t, client, "t", 1)
	require.NoError(t, client.Do(t.Context(), client.B().Set().Key("test:{t:budget}:bucket").Value("x").Build()).Error())
	_, err := lessor.Lease(t.Context(), budget.Ask{Member: "a", Seq: 1, Share: shareOf(10, 1000, 1)})
	require.ErrorContains(t, err, "leasing tokens from Redis")
	var redisErr *rueidis.RedisError
	require.True(t, errors.As(err, &redisErr))
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	client := redistest.Start(t).Client(t)
	for name, o := range map[string]Options{
		"no client":          {Prefix: "p", Tenant: "t", Replicas: 1},
		"no prefix":          {Client: client, Tenant: "t", Replicas: 1},
		"no tenant":          {Client: client, Prefix: "p", Replicas: 1},
		"braces in a tenant": {Client: client, Prefix: "p", Tenant: "{t}", Replicas: 1},
		"no replicas":        {Client: client, Prefix: "p", Tenant: "t"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(o)
			require.Error(t, err)
		})
	}
}

// link is the way of one replica to Redis, which can be cut.
type link struct {
	budget.Lessor
	cut atomic.Bool
}

func (l *link) Lease(ctx context.Context, ask budget.Ask) (budget.Grant, error) {
	if l.cut.Load() {
		<-ctx.Done()
		return budget.Grant{}, ctx.Err()
	}
	return l.Lessor.Lease(ctx, ask)
}

func TestAReplicaCutOffFromARealRedisKeepsToItsShare(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	way := &link{Lessor: quick(t, client, "t", 3)}
	var rec, alone recorder
	a, b := rec.start(t, way.Lessor), rec.start(t, way.Lessor)
	c := alone.start(t, way)
	eventually(t, "all are members", func() bool { return a.Stats().Sharing.Members == 3 })
	rec.flowing(t, narrow.Rate*2/3)
	way.cut.Store(true)
	eventually(t, "it pours its share", in(budget.Fallback, c))
	require.Equal(t, 1, a.Stats().Sharing.Ghosts)
	alone.flowing(t, narrow.Rate/3)
	rec.flowing(t, narrow.Rate*2/3)
	way.cut.Store(false)
	eventually(t, "it is back", in(budget.Shared, a, b, c))
	eventually(t, "its share is no longer set aside", func() bool { return b.Stats().Sharing.Ghosts == 0 })
	a.end()
	b.end()
	c.end()
	rec.times = append(rec.times, alone.times[:alone.count()]...)
	rec.judge(t, narrow)
}
