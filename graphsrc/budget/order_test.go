package budget

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSharesOfAnyFortyGrants(t *testing.T) {
	const I, P, F, R = 1000, 1000, 1000, 1000 // somebody waits throughout
	for name, c := range map[string]struct{ waiting, want [LaneCount]int }{
		"interactive alone gets all":                      {[4]int{I, 0, 0, 0}, [4]int{40, 0, 0, 0}},
		"refresh alone gets all":                          {[4]int{0, 0, 0, R}, [4]int{0, 0, 0, 40}},
		"refresh below interactive gets 5 %":              {[4]int{I, 0, 0, R}, [4]int{38, 0, 0, 2}},
		"publish below interactive gets 5 %":              {[4]int{I, P, 0, 0}, [4]int{38, 2, 0, 0}},
		"first look below interactive gets 5 %":           {[4]int{I, 0, F, 0}, [4]int{38, 0, 2, 0}},
		"first look below publish gets 5 %":               {[4]int{0, P, F, 0}, [4]int{0, 38, 2, 0}},
		"refresh below first look gets 5 %":               {[4]int{0, 0, F, R}, [4]int{0, 0, 38, 2}},
		"publish and first look share":                    {[4]int{I, P, F, 0}, [4]int{38, 1, 1, 0}},
		"all wait: interactive keeps 90 %, refresh 5 %":   {[4]int{I, P, F, R}, [4]int{36, 1, 1, 2}},
		"publish leads two others: each of these has 5 %": {[4]int{0, P, F, R}, [4]int{0, 36, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			for slot := range wheelSize {
				o := order{waiting: c.waiting, slot: slot}
				var got [LaneCount]int
				for range wheelSize {
					lane, _ := o.take()
					got[lane]++
				}
				require.Equal(t, c.want, got, "from slot %d", slot)
			}
		})
	}
}

func TestForecastEqualsPlayingTheQueueThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := order{slot: rapid.IntRange(0, wheelSize-1).Draw(t, "slot")}
		for lane := range o.waiting {
			o.waiting[lane] = rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 5), rapid.IntRange(0, 3000)).Draw(t, Lane(lane).String())
		}
		lane := Lane(rapid.IntRange(0, LaneCount-1).Draw(t, "lane"))
		o.waiting[lane]++

		played, grants := o, 0
		for {
			l, byShare := played.take()
			grants++
			if l == lane && played.waiting[l] == 0 {
				gotGrants, gotShare := o.grantsUntil(lane)
				if gotGrants != grants || gotShare != byShare {
					t.Fatalf("forecast %d, %v; played through %d, %v", gotGrants, gotShare, grants, byShare)
				}
				return
			}
		}
	})
}

func TestLaneNames(t *testing.T) {
	require.Equal(t, "interactive publish first-look refresh lane 7",
		Interactive.String()+" "+Publish.String()+" "+FirstLook.String()+" "+Refresh.String()+" "+Lane(7).String())
}

func TestLaneOfAContext(t *testing.T) {
	ctx := context.Background()
	require.Equal(t, Interactive, LaneOf(ctx), "nothing said")
	require.Equal(t, FirstLook, LaneOf(WithLane(ctx, FirstLook)), "said")
	permitted := WithPermit(ctx, &Permit{lane: Refresh})
	require.Equal(t, Refresh, LaneOf(permitted), "the permit's")
	require.Equal(t, Publish, LaneOf(WithLane(permitted, Publish)), "said, and a permit")
	require.Equal(t, Interactive, LaneOf(WithPermit(ctx, nil)), "no permit")
}
