package gateway

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

// drain lets parked P-GETs go, not all in one moment: their clients all come
// back at once, to other replicas.
type drain struct {
	begin, end sync.Once
	started    chan struct{}
	over       chan struct{} // nobody waits for a turn any more
	until      time.Time     // the last turn; set before started is closed
}

func newDrain() *drain {
	return &drain{started: make(chan struct{}), over: make(chan struct{})}
}

func (d *drain) start(until time.Time) {
	d.begin.Do(func() {
		d.until = until
		close(d.started)
	})
}

func (d *drain) finish() { d.end.Do(func() { close(d.over) }) }

// turn waits for a caller's turn, drawn at random from the time that is left:
// whoever comes late must be gone by then as well.
func (d *drain) turn(ctx context.Context, clk clock.Clock) error {
	left := d.until.Sub(clk.Now())
	if left <= 0 {
		return nil
	}
	now := make(chan struct{})
	t := clk.AfterFunc(rand.N(left)+1, func() { close(now) })
	defer t.Stop()
	select {
	case <-now:
		return nil
	case <-d.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
