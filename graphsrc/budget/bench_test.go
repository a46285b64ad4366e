package budget

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// full returns a budget whose bucket is full.
func full(tb testing.TB, p Plan) *Budget {
	b := newBudget(tb, Options{Plan: p})
	b.mu.Lock()
	b.bucket.level = b.bucket.capacity * unit
	b.mu.Unlock()
	return b
}

// wide admits more than any benchmark can ask for, so that nobody waits.
var wide = Plan{Limit: maxLimit, Window: minWindow, Capacity: maxLimit / 2, Rate: maxLimit / 4}

// BenchmarkAcquireUncontended measures Acquire alone: tokens are there and nobody
// waits.
func BenchmarkAcquireUncontended(b *testing.B) {
	budget := full(b, wide)
	ctx := context.Background()
	permits := make([]*Permit, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		p, err := budget.Acquire(ctx, Interactive)
		if err != nil {
			b.Fatal(err)
		}
		if permits = append(permits, p); len(permits) == cap(permits) {
			b.StopTimer()
			for _, p := range permits {
				p.Return()
			}
			permits = permits[:0]
			b.StartTimer()
		}
	}
}

func BenchmarkAcquireAndReturn(b *testing.B) {
	budget := full(b, wide)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		p, err := budget.Acquire(ctx, Interactive)
		if err != nil {
			b.Fatal(err)
		}
		p.Return()
	}
}

// BenchmarkAcquireContended has eight goroutines acquire and return; with four
// permits for eight takers, half of them wait in the queue at any time.
func BenchmarkAcquireContended(b *testing.B) {
	for name, plan := range map[string]Plan{
		"tokens for all": wide,
		"queueing":       {Limit: 1500, Window: 30 * time.Second, Capacity: 4, Rate: 45},
	} {
		b.Run(name, func(b *testing.B) {
			budget := full(b, plan)
			ctx := context.Background()
			b.ReportAllocs()
			b.SetParallelism(4) // times GOMAXPROCS, 2 on the reference machine
			b.RunParallel(func(pb *testing.PB) {
				for lane := Lane(0); pb.Next(); lane = (lane + 1) % Refresh {
					p, err := budget.Acquire(ctx, lane)
					if err != nil {
						b.Error(err)
						return
					}
					p.Return()
				}
			})
		})
	}
}

// BenchmarkRefusal measures the answer to a hopeless deadline behind a long queue.
func BenchmarkRefusal(b *testing.B) {
	budget := newBudget(b, Options{})
	budget.mu.Lock()
	budget.order.waiting = [LaneCount]int{20_000, 300, 4_000, 50_000}
	for range budget.order.waiting[FirstLook] {
		budget.queues[FirstLook].push(&Permit{}, "")
	}
	budget.mu.Unlock()
	defer func() {
		budget.mu.Lock()
		budget.order.waiting = [LaneCount]int{}
		budget.queues[FirstLook] = turns{}
		budget.mu.Unlock()
	}()
	deadline := budget.time.now() + int64(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		budget.mu.Lock()
		at := budget.forecast(FirstLook, "", deadline)
		budget.mu.Unlock()
		if at < deadline {
			b.Fatal("not hopeless")
		}
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(req *http.Request, status int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader("")), Request: req,
	}
}

// BenchmarkTransport measures what the budget adds to one round trip.
func BenchmarkTransport(b *testing.B) {
	budget := full(b, wide)
	var resp http.Response
	rt := budget.Transport(roundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp = http.Response{StatusCode: http.StatusOK, Request: req}
		return &resp, nil
	}))
	req, err := http.NewRequest(http.MethodGet, "http://graph.test/", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		budget.mu.Lock()
		budget.bucket.level = budget.bucket.capacity * unit
		budget.window.times, budget.window.head = budget.window.times[:0], 0
		budget.mu.Unlock()
		if _, err := rt.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
}
