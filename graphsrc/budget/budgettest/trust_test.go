package budgettest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

func TestWhatAnotherServerServesIsEmptiedBeforeAnybodyKnowsMore(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	restore := d.Save()
	require.EqualValues(t, 90, d.ask("a", want(90)).Tokens)
	restore()
	d.Serve(2, 0)
	g := d.ask("b", want(90)) // it has heard nothing that was lost
	require.Zero(t, g.Tokens)
	require.Zero(t, g.Level)
	d.now = d.now.Add(3*time.Second - time.Microsecond)
	require.Zero(t, d.ask("b", want(90)).Tokens, "what a holds is void before anything flows")
	d.ask("a", want(0))
	d.alive(4*time.Second, "a", "b")
	require.EqualValues(t, 45_000, d.ask("b", want(0)).Flow, "both are known again")
	require.Zero(t, d.ask("b", want(0)).Ghosts)
}

// Whatever the age of a snapshot, and whether or not the server says that it has
// been restarted.
func TestASnapshotForgetsNobodyWhoIsCutOff(t *testing.T) {
	for _, age := range []time.Duration{time.Minute, 5 * time.Minute, 9 * time.Minute, 15 * time.Minute, time.Hour} {
		for history := range int64(2) {
			t.Run(fmt.Sprint(age, history), func(t *testing.T) {
				d := newDesk(t, 3, "a", "b", "c")
				d.Serve(history, 0)
				d.alive(time.Second, "a", "b", "c")
				restore := d.Save()
				d.alive(age, "a", "b", "c")
				d.alive(20*time.Second, "a", "b") // c has begun to pour by itself
				require.EqualValues(t, 30_000, d.ask("a", want(0)).Flow)
				restore()
				d.Serve(2*history, 0)
				poured := int64(0)
				for range budget.DefaultTerms(3).Stop / time.Second {
					for _, name := range []string{"a", "b"} {
						g := d.ask(name, want(90))
						d.state[name].Holding = 0
						require.LessOrEqual(t, g.Flow, int64(30_000))
						poured += g.Tokens
					}
					require.LessOrEqual(t, poured, 60+30*int64(d.now.Sub(time.Unix(1_800_000_000, 0))/time.Second))
					d.now = d.now.Add(time.Second)
				}
				require.Greater(t, poured, int64(9*60*24), "and it is poured")
				d.alive(31*time.Second, "a", "b")
				require.EqualValues(t, 45_000, d.ask("a", want(0)).Flow)
			})
		}
	}
}

func TestOneWhoJoinedWhenNothingIsKnownOfShowsThatDataWentBack(t *testing.T) {
	d := newDesk(t, 2, "a")
	d.Serve(0, 0) // it does not say so itself
	d.alive(time.Second, "a")
	restore := d.Save()
	d.alive(time.Second, "a", "b")
	require.EqualValues(t, 90, d.ask("b", want(90)).Tokens)
	restore()
	require.True(t, d.ask("b", func(a *budget.Ask) { a.Want, a.Holding = 90, 0 }).Again)
	require.Zero(t, d.ask("b", want(90)).Tokens, "all that was leased is void before anything flows")
	d.alive(4*time.Second, "a", "b")
	require.Positive(t, d.ask("b", want(90)).Tokens)
}

func TestOneWhoIsUnknownAfterAnHourEmptiesNothing(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	d.alive(time.Hour, "a")
	level, _ := d.Outstanding()
	require.Equal(t, 90.0, level)
	require.True(t, d.ask("b", want(1)).Again)
	level, _ = d.Outstanding()
	require.Equal(t, 45.0, level, "but for its share")
	require.EqualValues(t, 22_500, d.ask("a", want(0)).Flow)
	d.ask("b", want(0))
	require.EqualValues(t, 45_000, d.ask("a", want(0)).Flow)
}

func TestAServerThatMissesACopyPoursOnlyForThoseItHears(t *testing.T) {
	d := newDesk(t, 6, "a", "b", "c")
	d.Serve(1, 1)
	d.alive(11*time.Minute, "a", "b", "c")
	require.EqualValues(t, 45_000, d.ask("a", want(0)).Flow, "nobody is missed")
	d.Serve(1, 0)
	require.EqualValues(t, 22_500, d.ask("a", want(0)).Flow, "three of six")
	d.alive(time.Hour, "a")
	require.EqualValues(t, 7_500, d.ask("a", want(0)).Flow, "however long the others are silent")
	d.Serve(1, 1)
	d.alive(9*time.Minute, "a")
	require.EqualValues(t, 7_500, d.ask("a", want(0)).Flow, "one who was with the other server may be pouring")
	d.alive(2*time.Minute, "a")
	require.EqualValues(t, 45_000, d.ask("a", want(0)).Flow)
	d.Serve(1, 0)
	d.alive(25*time.Hour, "a")
	require.EqualValues(t, 45_000, d.ask("a", want(0)).Flow, "the copy was taken away for good")
}

func TestNothingFlowsWhereSomebodyComesFromAnotherServer(t *testing.T) {
	d := newDesk(t, 3, "a", "b")
	d.Serve(1, 1)
	d.alive(time.Second, "a", "b")
	d.Serve(2, 0)
	d.alive(12*time.Second, "a")
	require.Zero(t, d.ask("a", want(1)).Tokens, "the other one may not have missed a yet")
	d.alive(3*time.Second, "a")
	require.EqualValues(t, 30, d.ask("a", want(90)).Tokens)
	d.state["c"] = &budget.Ask{Member: "c", Seq: 7, Heard: 7, Share: d.plan} // it joined at the other one
	d.ask("c", want(0))
	d.ask("a", func(a *budget.Ask) { a.Holding = 0 })
	d.alive(11*time.Second, "a", "c")
	require.Zero(t, d.ask("a", want(1)).Tokens, "nor c")
	d.alive(3*time.Second, "a", "c")
	require.EqualValues(t, 60, d.ask("a", want(90)).Tokens)
}

func TestAServerThatStoodStillMayHaveBeenReplaced(t *testing.T) {
	d := newDesk(t, 3, "a", "b")
	d.Serve(1, 1)
	d.alive(11*time.Minute, "a", "b")
	d.ask("b", want(0))
	require.Zero(t, d.ask("a", want(0)).Ghosts)
	d.now = d.now.Add(3500 * time.Millisecond)
	require.Equal(t, 1, d.ask("a", want(0)).Ghosts)
}

func TestAClockThatLeapsForgetsNobodyWhoIsCutOff(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	d.alive(20*time.Second, "a")
	require.EqualValues(t, 22_500, d.ask("a", want(0)).Flow)
	d.now = d.now.Add(24 * time.Hour)
	require.Zero(t, d.ask("a", want(0)).Flow, "this one may have been cut off, too")
	d.ask("a", want(0))
	require.EqualValues(t, 22_500, d.ask("a", want(0)).Flow)
}

func TestAPauseThatWasLostIsLearnedFromWhoeverKnowsIt(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	d.ask("a", func(a *budget.Ask) { a.Throttled, a.Pause = true, time.Minute })
	require.Equal(t, time.Minute, d.ask("b", want(0)).PausedFor)
	d.Wipe()
	delete(d.state, "c")
	require.Zero(t, d.ask("c", want(1)).PausedFor)
	g := d.ask("b", func(a *budget.Ask) { a.Paused, a.Slowed = time.Minute, 22_500 })
	require.Equal(t, time.Minute, g.PausedFor)
	require.EqualValues(t, 22_500, g.Rate)
	require.Equal(t, time.Minute, d.ask("c", want(1)).PausedFor)
	d.alive(59*time.Second, "b", "c")
	g = d.ask("b", func(a *budget.Ask) { a.Paused, a.Slowed = time.Minute, 11_000 })
	require.Equal(t, time.Second, g.PausedFor, "known is known: it does not grow by being repeated")
	require.EqualValues(t, 22_500, g.Rate)
}
