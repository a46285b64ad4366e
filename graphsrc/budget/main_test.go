package budget

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

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

// steppedClock is the system's clock as it is when somebody sets it: the time of
// day jumps, the monotonic reading does not. Times in a bubble have no such
// reading, so it makes them.
type steppedClock struct {
	start     time.Time    // when the monotonic reading was zero
	offset    atomic.Int64 // nanoseconds
	monotonic bool         // false: without that reading, like jumpyClock
}

func (c *steppedClock) Now() time.Time { return c.stamp(time.Now()) }

// stamp returns a time of the bubble as this clock shows it.
func (c *steppedClock) stamp(at time.Time) time.Time {
	shown := at.Add(time.Duration(c.offset.Load())).Round(0)
	if !c.monotonic {
		return shown
	}
	// There is no function for this. A Time with a monotonic reading is a bit
	// that says so, 33 of seconds since 1885 and 30 of nanoseconds, then the
	// reading in nanoseconds, then the location.
	seconds := shown.Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	return *(*time.Time)(unsafe.Pointer(&struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}{1<<63 | uint64(seconds)<<30 | uint64(shown.Nanosecond()), int64(at.Sub(c.start)) + 1, nil}))
}

func (c *steppedClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	return clock.System().AfterFunc(d, f)
}

// stampedContext has a deadline with a monotonic reading, as outside of a bubble.
type stampedContext struct {
	context.Context
	clock *steppedClock
}

func (c stampedContext) Deadline() (time.Time, bool) {
	at, ok := c.Context.Deadline()
	if ok {
		at = c.clock.stamp(at)
	}
	return at, ok
}

func TestASteppedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, step := range []time.Duration{-time.Hour, 0, 7 * time.Second, 1e9 + 1, 24 * time.Hour} {
			c := &steppedClock{start: time.Now(), monotonic: true}
			before := c.Now()
			c.offset.Store(int64(step))
			wait(time.Second)
			after := c.Now()
			require.Equal(t, time.Second, after.Sub(before), "by the monotonic reading")
			require.Equal(t, step+time.Second, after.Round(0).Sub(before.Round(0)), "by the time of day")
			require.Equal(t, time.Second, after.Add(time.Second).Sub(after))
		}
	})
}

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
