package budget

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/graphsrc/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jumpyClock is the system's clock (in a bubble, the bubble's) without its
// monotonic reading, and with an offset that a test may change.
type jumpyClock struct{ offset atomic.Int64 }

func (c *jumpyClock) Now() time.Time {
	return time.Now().Add(time.Duration(c.offset.Load())).Round(0)
}

func (c *jumpyClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	return clock.System().AfterFunc(d, f)
}

func (c *jumpyClock) jump(d time.Duration) { c.offset.Add(int64(d)) }

// newBudget returns a budget without jitter that the test closes.
func newBudget(t testing.TB, o Options) *Budget {
	t.Helper()
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	b, err := New(o)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

// wait lets fake time pass. It sets no timer that is due at once: in a bubble
// such a timer runs on the goroutine that sets it, but in the bubble's only race
// context, and two of them at the same moment crash the race detector of Go 1.26.
func wait(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// caller is an Acquire on its own goroutine.
type caller struct {
	cancel context.CancelFunc
	done   chan struct{}
	permit *Permit
	err    error
	took   time.Duration
}

func acquireAsync(ctx context.Context, b *Budget, lane Lane) *caller {
	ctx, cancel := context.WithCancel(ctx)
	c := &caller{cancel: cancel, done: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(c.done)
		c.permit, c.err = b.Acquire(ctx, lane)
		c.took = time.Since(start)
	}()
	synctest.Wait()
	return c
}

func (c *caller) finished() bool {
	synctest.Wait()
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// mustSpend acquires and spends one token.
func mustSpend(t testing.TB, b *Budget, lane Lane) {
	t.Helper()
	p, err := b.Acquire(t.Context(), lane)
	require.NoError(t, err)
	_, ok := b.spend(p)
	require.True(t, ok)
}
