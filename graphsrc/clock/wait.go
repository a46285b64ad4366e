package clock

import (
	"context"
	"time"
)

// Wait waits for d by c and reports whether it passed before ctx ended.
func Wait(ctx context.Context, c Clock, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	passed := make(chan struct{})
	t := c.AfterFunc(d, func() { close(passed) })
	defer t.Stop()
	select {
	case <-passed:
		return true
	case <-ctx.Done():
		return false
	}
}
