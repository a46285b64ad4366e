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
	once    sync.Once
	started chan struct{}
	spread  time.Duration // set before started is closed
}

func newDrain() *drain { return &drain{started: make(chan struct{})} }

func (d *drain) start(spread time.Duration) {
	d.once.Do(func() {
		d.spread = spread
		close(d.started)
	})
}

// turn waits for a caller's turn within the spread, drawn at random.
func (d *drain) turn(ctx context.Context, clk clock.Clock) error {
	if d.spread <= 0 {
		return nil
	}
	now := make(chan struct{})
	t := clk.AfterFunc(rand.N(d.spread)+1, func() { close(now) })
	defer t.Stop()
	select {
	case <-now:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
