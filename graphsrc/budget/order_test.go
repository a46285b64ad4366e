package budget

import (
	"context"
	"slices"
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
				for range wheelSize {
					o.take() // who came first has no lead
				}
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
		for lane := range o.served {
			o.served[lane] = rapid.Bool().Draw(t, "served")
		}
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

// TestALaneThatWaitsGetsItsShareWhateverOthersDo lets the other lanes run empty
// at chosen slots of the wheel, which is the worst they can do.
func TestALaneThatWaitsGetsItsShareWhateverOthersDo(t *testing.T) {
	least := [LaneCount]int{Interactive: 36, Publish: 1, FirstLook: 1, Refresh: 2}
	rapid.Check(t, func(t *rapid.T) {
		lane := Lane(rapid.IntRange(0, LaneCount-1).Draw(t, "lane"))
		o := order{slot: rapid.IntRange(0, wheelSize-1).Draw(t, "slot")}
		for l := range o.served {
			o.served[l] = rapid.Bool().Draw(t, "served")
		}
		var absent [LaneCount][]int
		for l := range absent {
			slot := rapid.OneOf(rapid.SampledFrom([]int{9, 19, 29, 39}), rapid.IntRange(0, wheelSize-1))
			absent[l] = rapid.SliceOfN(slot, 0, 5).Draw(t, "slots at which nobody waits in the "+Lane(l).String()+" lane")
		}
		var grants []Lane
		for range 5 * wheelSize {
			for l := range o.waiting {
				o.waiting[l] = 1
				if Lane(l) != lane && slices.Contains(absent[l], o.slot) {
					o.waiting[l] = 0
				}
			}
			l, _ := o.take()
			grants = append(grants, l)
		}
		for from := wheelSize; from+wheelSize <= len(grants); from++ {
			got := 0
			for _, l := range grants[from : from+wheelSize] {
				if l == lane {
					got++
				}
			}
			if got < least[lane] {
				t.Fatalf("%s got %d of %v", lane, got, grants[from:from+wheelSize])
			}
		}
	})
}
