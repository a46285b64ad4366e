package signin

import (
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ucwagate/graphsrc/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shiftedClock is the system's clock moved by hand. It serves where a real
// network is involved, in whose company a synctest bubble's clock stands still.
type shiftedClock struct {
	clock.Clock
	shift atomic.Int64
}

func newShiftedClock() *shiftedClock { return &shiftedClock{Clock: clock.System()} }

func (c *shiftedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.shift.Load())) }

func (c *shiftedClock) advance(d time.Duration) { c.shift.Add(int64(d)) }
