package budgettest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

// desk puts asks to a Ledger in the names of replicas that know what they hold.
type desk struct {
	*testing.T
	*Ledger
	now   time.Time
	plan  budget.Share
	state map[string]*budget.Ask
}

// newDesk has the named replicas join, and waits until the bucket is no longer young.
func newDesk(t *testing.T, replicas int, names ...string) *desk {
	d := &desk{
		T: t, now: time.Unix(1_800_000_000, 0), state: make(map[string]*budget.Ask),
		plan: budget.Share{
			Capacity: 90, Rate: 45_000, OwnCapacity: 90 / int64(replicas), OwnRate: 45_000 / int64(replicas), Window: 30 * time.Second,
		},
	}
	d.Ledger = New(budget.DefaultTerms(replicas), func() time.Time { return d.now })
	d.alive(11*time.Minute, names...)
	return d
}

// alive lets time pass in which those named do nothing but renew.
func (d *desk) alive(span time.Duration, names ...string) {
	for range span / time.Second {
		for _, name := range names {
			d.ask(name, func(a *budget.Ask) {})
		}
		d.now = d.now.Add(time.Second)
	}
}

// unheard is an ask of which the answer is lost.
func (d *desk) unheard(name string, change func(*budget.Ask)) budget.Grant {
	d.Helper()
	a := d.state[name]
	if a == nil {
		a = &budget.Ask{Member: name, Share: d.plan}
		d.state[name] = a
	}
	a.Seq++
	ask := *a
	change(&ask)
	g, err := d.Lease(d.Context(), ask)
	require.NoError(d, err)
	return g
}

func (d *desk) ask(name string, change func(*budget.Ask)) budget.Grant {
	d.Helper()
	g := d.unheard(name, func(a *budget.Ask) { change(a); d.state[name].Holding = a.Holding })
	a := d.state[name]
	a.Heard = a.Seq
	if a.Holding += g.Tokens; g.Recalled {
		a.Holding = 0
	}
	return g
}

func want(n int64) func(*budget.Ask) { return func(a *budget.Ask) { a.Want = n } }

func TestWhatIsLeasedLeavesNoRoomInTheBucket(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	require.EqualValues(t, 90, d.ask("a", want(200)).Tokens)
	d.alive(4*time.Second, "a", "b")
	require.Zero(t, d.ask("b", want(1)).Tokens, "all is held, and renewed")
	d.now = d.now.Add(time.Second)
	d.ask("a", func(a *budget.Ask) { a.Holding = 80 })
	d.now = d.now.Add(time.Second)
	require.EqualValues(t, 10, d.ask("b", want(20)).Tokens, "what was sent makes room")
}

func TestALeaseThatIsNotRenewedIsForgottenAfterItsLifeAndGrace(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	require.EqualValues(t, 90, d.ask("a", want(90)).Tokens)
	d.now = d.now.Add(3*time.Second - time.Microsecond)
	require.Zero(t, d.ask("b", want(1)).Tokens)
	d.now = d.now.Add(time.Microsecond)
	d.ask("b", want(1))
	d.now = d.now.Add(500 * time.Millisecond)
	require.EqualValues(t, 22, d.ask("b", want(60)).Tokens, "poured anew, not given back")
	require.True(t, d.ask("a", want(1)).Recalled, "what it still claims is void")
	d.now = d.now.Add(time.Second)
	require.EqualValues(t, 1, d.ask("a", want(1)).Tokens)
}

func TestAnAnswerThatWasNotHeardLeasesNothing(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	require.EqualValues(t, 90, d.unheard("a", want(90)).Tokens)
	d.ask("a", want(0))
	_, leased := d.Outstanding()
	require.Zero(t, leased)
}

func TestWhatIsSetAsideIsRecalledIfItIsLeased(t *testing.T) {
	d := newDesk(t, 3, "a", "b", "c")
	require.EqualValues(t, 80, d.ask("a", want(80)).Tokens)
	for d.ask("b", want(0)).Ghosts == 0 { // c is silent
		d.now = d.now.Add(time.Second)
		require.False(t, d.now.After(time.Unix(1_800_000_000, 0).Add(12*time.Minute)))
		if d.ask("a", want(1)).Recalled {
			break
		}
	}
	require.Equal(t, 1, d.ask("b", want(0)).Ghosts)
	require.Zero(t, d.state["a"].Holding, "a share of 30 is set aside, and only 60 are left")
	require.False(t, d.ask("a", want(1)).Recalled)
	d.alive(4*time.Second, "a", "b")
	level, leased := d.Outstanding()
	require.Equal(t, 60.0, level+float64(leased))
}

func TestOneThatHearsNoAnswersIsCutOffHoweverOftenItAsks(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	for range 7 {
		d.alive(time.Second, "b")
		d.unheard("a", want(1))
	}
	require.Equal(t, 1, d.ask("b", want(0)).Ghosts)
	require.EqualValues(t, 22_500, d.ask("b", want(0)).Flow)

	g := d.ask("a", want(1))
	require.True(t, g.Again)
	require.Zero(t, g.Tokens)
	require.Equal(t, 1, d.ask("b", want(0)).Ghosts, "it may be pouring until it has heard this answer")
	require.EqualValues(t, 1, d.ask("a", want(1)).Tokens)
	require.Zero(t, d.ask("b", want(0)).Ghosts)
}

func TestOneThatIsCutOffIsForgottenCountingFromItsLastAsk(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	d.alive(9*time.Minute, "b")
	d.unheard("a", want(0)) // it may have been heard, and then its fallback has begun anew
	d.alive(10*time.Minute-time.Second, "b")
	require.Equal(t, 1, d.ask("b", want(0)).Ghosts)
	d.alive(2*time.Second, "b")
	require.Zero(t, d.ask("b", want(0)).Ghosts)
}

func TestASuccessorDoesNotVouchForTheCutOffBeforeItsPredecessorIsMissed(t *testing.T) {
	d := newDesk(t, 3, "a", "b", "c")
	d.alive(8*time.Second, "a", "b") // c is cut off and will pour by itself
	require.Equal(t, 1, d.ask("b", want(0)).Ghosts)
	for range 20 { // a has been killed, and its successor is there at once
		d.alive(time.Second, "b", "a2")
		require.Positive(t, d.ask("b", want(0)).Ghosts)
	}
	require.Equal(t, 1, d.ask("b", want(0)).Ghosts)
}

func TestNoMoreIsSetAsideThanCanBeAlive(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	for _, name := range []string{"b2", "b3", "b4", "b5"} { // a replica that is killed again and again
		d.alive(8*time.Second, "a", name)
	}
	d.alive(6*time.Second, "a", "b5")
	require.Zero(t, d.ask("a", want(0)).Ghosts)
	require.EqualValues(t, 45_000, d.ask("a", want(0)).Flow)
}

func TestTheSmallestPlanHoldsForAll(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	d.ask("b", func(a *budget.Ask) {
		a.Share = budget.Share{Capacity: 10, Rate: 2000, OwnCapacity: 5, OwnRate: 1000, Window: 30 * time.Second}
		d.state["b"].Share = a.Share
	})
	d.now = d.now.Add(time.Second)
	g := d.ask("a", want(90))
	require.EqualValues(t, 10, g.Tokens)
	require.EqualValues(t, 2000, g.Flow)
	d.ask("b", func(a *budget.Ask) { a.Leave = true })
	d.alive(time.Hour, "a")
	require.EqualValues(t, 45_000, d.ask("a", want(0)).Flow)
}

func TestAClockThatIsSetBackPoursNothing(t *testing.T) {
	d := newDesk(t, 1, "a")
	d.ask("a", want(90))
	d.ask("a", func(a *budget.Ask) { a.Holding = 0 })
	d.now = d.now.Add(-time.Hour)
	require.Zero(t, d.ask("a", want(1)).Tokens)
	d.now = d.now.Add(time.Second)
	require.EqualValues(t, 45, d.ask("a", want(90)).Tokens)
}

func TestABucketThatWentBackIsEmptiedOnceSomebodyKnowsMore(t *testing.T) {
	d := newDesk(t, 2, "a", "b")
	restore := d.Save()
	require.EqualValues(t, 80, d.ask("a", want(80)).Tokens)
	restore()
	require.True(t, d.ask("a", want(1)).Recalled)
	require.True(t, d.ask("b", want(90)).Again, "it may have fallen back since what is known of it")
	d.now = d.now.Add(3 * time.Second)
	require.Zero(t, d.ask("b", want(90)).Tokens, "all that was leased is void before anything flows")
	d.now = d.now.Add(500 * time.Millisecond)
	require.Positive(t, d.ask("b", want(90)).Tokens)
}
