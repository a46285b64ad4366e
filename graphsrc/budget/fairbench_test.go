package budget

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// crowd returns a paused budget in whose interactive lane so many wait, of so
// many clients, and the contexts of those clients.
func crowd(b *testing.B, waiting, clients int) (*Budget, []context.Context) {
	budget := newBudget(b, Options{})
	budget.Throttled(time.Hour, true)
	ctxs := make([]context.Context, clients)
	for i := range ctxs {
		ctxs[i] = WithClient(context.Background(), fmt.Sprintf("8f1a5c1e-0000-4000-8000-%012d", i))
	}
	budget.mu.Lock()
	defer budget.mu.Unlock()
	now := budget.settle()
	for i := range waiting {
		if err := budget.enqueue(ctxs[i%clients], &Permit{budget: budget, lane: Interactive}, now); err != nil {
			b.Fatal(err)
		}
	}
	return budget, ctxs
}

var crowds = []struct {
	name             string
	waiting, clients int
}{
	{"10,000 waiters of one client", 10_000, 1},
	{"10,000 waiters of 100 clients", 10_000, 100},
	{"10,000 waiters of 10,000 clients", 10_000, 10_000},
}

// BenchmarkAcquireBehindACrowd measures a caller with a deadline that joins a
// crowd and gives up: a forecast, a place in the queue, and leaving it.
func BenchmarkAcquireBehindACrowd(b *testing.B) {
	for _, c := range crowds {
		b.Run(c.name, func(b *testing.B) {
			budget, ctxs := crowd(b, c.waiting, c.clients)
			ctx, cancel := context.WithTimeout(ctxs[len(ctxs)/2], 24*time.Hour)
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				p := &Permit{budget: budget, lane: Interactive}
				budget.mu.Lock()
				err := budget.enqueue(ctx, p, budget.settle())
				budget.mu.Unlock()
				if err != nil {
					b.Fatal(err)
				}
				budget.abandon(p)
			}
		})
	}
}

// BenchmarkGrantOutOfACrowd measures a grant and a caller who takes the place.
func BenchmarkGrantOutOfACrowd(b *testing.B) {
	for _, c := range crowds {
		b.Run(c.name, func(b *testing.B) {
			budget, ctxs := crowd(b, c.waiting, c.clients)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				budget.mu.Lock()
				now := budget.settle()
				budget.bucket.level = unit
				budget.dispatch(now)
				budget.dropHeld()
				err := budget.enqueue(ctxs[i%c.clients], &Permit{budget: budget, lane: Interactive}, now)
				budget.mu.Unlock()
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
