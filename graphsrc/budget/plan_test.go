package budget

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlanValidate(t *testing.T) {
	with := func(change func(*Plan)) Plan {
		p := DefaultPlan()
		change(&p)
		return p
	}
	for name, c := range map[string]struct {
		plan Plan
		want string // empty: valid
	}{
		"the default plan is valid":                 {DefaultPlan(), ""},
		"the cautious plan is valid":                {with(func(p *Plan) { p.Capacity, p.Rate = 50, 40 }), ""},
		"exactly the limit is valid":                {with(func(p *Plan) { p.Capacity = 105 }), ""},
		"one more than the limit is not":            {with(func(p *Plan) { p.Capacity = 106 }), "1501.0 requests arrive"},
		"the familiar 1500 at 50/s is refused":      {with(func(p *Plan) { p.Capacity, p.Rate = 1500, 50 }), "the capacity alone is too large"},
		"a window kept only without latency is not": {with(func(p *Plan) { p.Capacity = 150 }), "at most 43.548"},
		"other programs take their share":           {with(func(p *Plan) { p.OtherPrograms = 6 }), "only 1494 are ours"},
		"other programs may leave just enough":      {with(func(p *Plan) { p.OtherPrograms = 5 }), ""},
		"other programs cannot take all":            {with(func(p *Plan) { p.OtherPrograms = 1500 }), "share of other programs"},
		"a negative share is refused":               {with(func(p *Plan) { p.OtherPrograms = -1 }), "share of other programs"},
		"no limit is refused":                       {with(func(p *Plan) { p.Limit = 0 }), "limit 0"},
		"an absurd limit is refused":                {with(func(p *Plan) { p.Limit = math.MaxInt }), "limit"},
		"no window is refused":                      {with(func(p *Plan) { p.Window = 0 }), "window 0s"},
		"an absurd window is refused":               {with(func(p *Plan) { p.Window = 1000 * time.Hour }), "window"},
		"no capacity is refused":                    {with(func(p *Plan) { p.Capacity = 0 }), "capacity 0"},
		"no rate is refused":                        {with(func(p *Plan) { p.Rate = 0 }), "rate 0"},
		"a rate that is no number is refused":       {with(func(p *Plan) { p.Rate = math.NaN() }), "rate NaN"},
		"an infinite rate is refused":               {with(func(p *Plan) { p.Rate = math.Inf(1) }), "rate +Inf"},
		"all problems are named, the first":         {Plan{}, "limit 0"},
		"all problems are named, the last":          {Plan{}, "rate 0"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.plan.Validate()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			if c.plan != (Plan{}) {
				_, err = New(Options{Plan: c.plan})
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}
