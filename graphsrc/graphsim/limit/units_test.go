package limit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestUnitsAgreeWithAddingUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 30).Draw(rt, "limit")
		gate := NewUnits(limit, 10*time.Second)
		type event struct {
			at   time.Time
			cost int
		}
		var sent []event
		now, worst := start, 0
		for range rapid.IntRange(1, 200).Draw(rt, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "pause")) * time.Millisecond)
			cost := rapid.IntRange(1, 8).Draw(rt, "cost")
			sent = append(sent, event{now, min(cost, limit)})
			sum := 0
			for _, e := range sent {
				if now.Sub(e.at) < 10*time.Second {
					sum += e.cost
				}
			}
			worst = max(worst, sum)
			admitted, retry, used := gate.Pass(now, cost)
			require.Equal(rt, sum <= limit, admitted)
			require.InDelta(rt, float64(sum)/float64(limit), used, 1e-9)
			if !admitted {
				require.Positive(rt, retry)
				again := *gate
				again.spent = append([]spending(nil), gate.spent...)
				enough, _, _ := again.Pass(now.Add(retry), cost)
				require.True(rt, enough, "waiting as told is enough")
			}
		}
		require.Equal(rt, worst, gate.Worst())
		gate.ResetWorst()
		require.Zero(rt, gate.Worst())
	})
}
