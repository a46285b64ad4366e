package redisbudget

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/redistest"
)

// fast is a plan of a rate at which trips would show.
var fast = budget.Plan{Limit: 70_000, Window: 30 * time.Second, Capacity: 2000, Rate: 2000}

type okay struct{}

func (okay) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: req}, nil
}

// hammer has 50 callers of each budget send until ctx ends, and returns how many
// sends that were.
func hammer(ctx context.Context, budgets []*budget.Budget, lanes ...budget.Lane) int64 {
	var sends atomic.Int64
	var all sync.WaitGroup
	for _, b := range budgets {
		transport := b.Transport(okay{})
		for i := range 50 {
			ctx := budget.WithLane(ctx, lanes[i%len(lanes)])
			all.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://graph.test/", nil)
				for {
					if _, err := transport.RoundTrip(req); err != nil {
						return
					}
					sends.Add(1)
				}
			})
		}
	}
	all.Wait()
	return sends.Load()
}

// BenchmarkPermits measures permits a second, and trips to Redis for 1,000 of
// them, of replicas that all have more to send than the plan allows. Run it with
// -benchtime 1x: each run takes five seconds.
func BenchmarkPermits(b *testing.B) {
	for _, replicas := range []int{0, 1, 3} {
		name := fmt.Sprintf("%d replicas", replicas)
		if replicas == 0 {
			name = "unshared"
		}
		b.Run(name, func(b *testing.B) {
			var lessor budget.Lessor
			if replicas > 0 {
				lessor = quick(b, redistest.Start(b).Client(b), "bench", replicas)
			}
			for b.Loop() {
				measure(b, lessor, max(replicas, 1))
			}
		})
	}
}

func measure(b *testing.B, lessor budget.Lessor, replicas int) {
	budgets := make([]*budget.Budget, replicas)
	for i := range budgets {
		one, err := budget.New(budget.Options{Plan: fast, Lessor: lessor})
		if err != nil {
			b.Fatal(err)
		}
		defer one.Close()
		budgets[i] = one
	}
	trips := func() (n uint64) {
		for _, one := range budgets {
			n += one.Stats().Sharing.Trips
		}
		return n
	}
	warm, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	hammer(warm, budgets, budget.Interactive) // the bucket's burst, and in Redis its youth
	cancel()
	before := trips()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	start := time.Now()
	sends := hammer(ctx, budgets, budget.Interactive, budget.Publish, budget.Refresh)
	b.ReportMetric(float64(sends)/time.Since(start).Seconds(), "permits/s")
	b.ReportMetric(float64(trips()-before)/float64(sends)*1000, "trips/1000")
	b.ReportMetric(0, "ns/op")
}

// quick are terms under which everything happens within seconds of real time.
func quick(tb testing.TB, client rueidis.Client, tenant string, replicas int) *Lessor {
	tb.Helper()
	l, err := New(Options{Client: client, Prefix: "test", Tenant: tenant, Replicas: replicas, Terms: budget.LeaseTerms{
		Timeout: 150 * time.Millisecond, Renew: 150 * time.Millisecond,
		Life: 300 * time.Millisecond, Grace: 100 * time.Millisecond,
		Detect: 500 * time.Millisecond, Fallback: 1200 * time.Millisecond, Stop: 5 * time.Second, Forget: 6 * time.Second,
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}
