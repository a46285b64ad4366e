package graphsrc

import (
	"fmt"
	"testing"
	"time"

	"ucwagate/graphsrc/budget"
)

// BenchmarkDrain measures 50,000 queued people on their way into requests: how
// long they take to join, and how long to be drained.
func BenchmarkDrain(b *testing.B) {
	const people = 50_000
	for _, clients := range []int{1, 1000} {
		b.Run(fmt.Sprintf("of %d clients", clients), func(b *testing.B) {
			c := start(b, &fakeGraph{}, &fakeBudget{}, nil).coalescer
			c.lanes[budget.Interactive].running = true // nobody else drains
			keys := make([]userKey, people)
			for i := range keys {
				keys[i], _ = parseKey(id(i))
			}
			var joining, draining time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				for i := range clients {
					w := waiterOf(fmt.Sprintf("8f1a5c1e-0000-4000-8000-%012d", i))
					if _, err := c.join(w, budget.Interactive, keys[i*people/clients:(i+1)*people/clients]); err != nil {
						b.Fatal(err)
					}
				}
				joined := time.Now()
				joining += joined.Sub(began)
				drained := 0
				var batches [][]*call
				for batch := c.drain(budget.Interactive); batch != nil; batch = c.drain(budget.Interactive) {
					drained += len(batch)
					batches = append(batches, batch)
				}
				draining += time.Since(joined)
				if drained != people {
					b.Fatalf("%d drained", drained)
				}
				for _, batch := range batches {
					c.finish(batch, nil)
				}
			}
			b.ReportMetric(float64(joining.Nanoseconds())/float64(b.N)/people, "ns/join")
			b.ReportMetric(float64(draining.Nanoseconds())/float64(b.N)/people, "ns/drain")
		})
	}
}

// waiterOf is somebody who waits long enough for a benchmark.
func waiterOf(client string) *waiter {
	return &waiter{done: make(chan struct{}), deadline: time.Now().Add(time.Hour), client: client}
}
