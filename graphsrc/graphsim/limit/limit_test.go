package limit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var start = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func TestSlidingWindowAgreesWithCounting(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rule := Rule{rapid.IntRange(1, 20).Draw(rt, "requests"), 10 * time.Second, Sliding}
		gate, meter := NewGate(rule), NewMeter(rule.Window)
		var sent []time.Time
		now, worst := start, 0
		for _, pause := range rapid.SliceOfN(rapid.IntRange(0, 4000), 1, 300).Draw(rt, "pauses") {
			now = now.Add(time.Duration(pause) * time.Millisecond)
			sent = append(sent, now)
			count := 0
			for _, at := range sent {
				if now.Sub(at) < rule.Window {
					count++
				}
			}
			worst = max(worst, count)
			meter.Add(now)
			admitted, retry := gate.Pass(now)
			require.Equal(rt, count <= rule.Requests, admitted)
			if !admitted {
				require.Positive(rt, retry)
				require.LessOrEqual(rt, retry, rule.Window)
			}
		}
		require.Equal(rt, worst, meter.Worst())
	})
}

func TestWaitingAsToldIsEnough(t *testing.T) {
	for _, model := range []Model{Sliding, Fixed, Bucket} {
		gate := NewGate(Rule{5, 30 * time.Second, model})
		now := start.Add(7 * time.Second)
		for range 5 {
			admitted, _ := gate.Pass(now)
			require.True(t, admitted, model)
			now = now.Add(time.Second)
		}
		admitted, retry := gate.Pass(now)
		for model == Bucket && admitted { // refilled while the five were sent
			admitted, retry = gate.Pass(now)
		}
		require.False(t, admitted, model)
		admitted, _ = gate.Pass(now.Add(retry))
		require.True(t, admitted, model)
	}
}

func TestFixedWindowForgetsAtItsEdge(t *testing.T) {
	gate := NewGate(Rule{2, 30 * time.Second, Fixed})
	edge := start.Truncate(30 * time.Second).Add(30 * time.Second)
	for range 2 {
		admitted, _ := gate.Pass(edge.Add(-time.Millisecond))
		require.True(t, admitted)
	}
	admitted, retry := gate.Pass(edge.Add(-time.Millisecond))
	require.False(t, admitted)
	require.Equal(t, time.Millisecond, retry)
	admitted, _ = gate.Pass(edge)
	require.True(t, admitted)
}

func TestBucketRefillsEvenly(t *testing.T) {
	gate := NewGate(Rule{1500, 30 * time.Second, Bucket})
	admitted := 0
	for range 2000 {
		if ok, _ := gate.Pass(start); ok {
			admitted++
		}
	}
	require.Equal(t, 1500, admitted)
	for range 100 {
		if ok, _ := gate.Pass(start.Add(time.Second)); ok {
			admitted++
		}
	}
	require.Equal(t, 1550, admitted)
}

func TestRulesAreValidated(t *testing.T) {
	require.NoError(t, Rule{1, time.Second, Sliding}.Validate())
	for _, rule := range []Rule{{0, time.Second, Sliding}, {1, 0, Sliding}, {1, time.Second, "leaky"}} {
		require.Error(t, rule.Validate())
	}
}
