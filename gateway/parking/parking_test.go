package parking_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway/parking"
	"ucwagate/gateway/storetest"
)

func woken(w *parking.Waiter) bool {
	select {
	case <-w.Wake():
		return true
	default:
		return false
	}
}

func TestAWaiterIsWokenAtTheSoonerOfWhatWasAskedAndSaid(t *testing.T) {
	clk := storetest.NewClock()
	w := parking.New(clk)
	w.Until(clk.Now().Add(20 * time.Second))
	w.By(clk.Now().Add(5*time.Second), clk.Now())
	w.Until(clk.Now().Add(30 * time.Second)) // computed before that was said
	clk.Advance(4 * time.Second)
	require.False(t, woken(&w))
	clk.Advance(time.Second)
	require.True(t, woken(&w))

	w.Until(clk.Now().Add(10 * time.Second))
	w.By(clk.Now().Add(15*time.Second), clk.Now())
	clk.Advance(10 * time.Second)
	require.True(t, woken(&w))
}

func TestAWakeThatIsDueIsOneWake(t *testing.T) {
	clk := storetest.NewClock()
	w := parking.New(clk)
	w.By(clk.Now(), clk.Now())
	w.Until(clk.Now().Add(-time.Second))
	w.Signal()
	require.True(t, woken(&w))
	require.False(t, woken(&w))
}

func TestAWaiterThatWasStoppedSleeps(t *testing.T) {
	clk := storetest.NewClock()
	w := parking.New(clk)
	w.Until(clk.Now().Add(time.Second))
	require.True(t, w.Stop())
	require.False(t, w.Stop())
	w.Until(clk.Now().Add(time.Second))
	w.By(clk.Now().Add(time.Second), clk.Now())
	clk.Advance(time.Minute)
	require.False(t, woken(&w))
}
