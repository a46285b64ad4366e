package graphsrc_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

// settled is a tenancy in which two people are known to all replicas, of which the
// first leads.
func settled(t *testing.T, replicas int) *tenancy {
	t.Helper()
	w := shared(t, replicas)
	w.watch(somebody(1), somebody(2))
	pass(25 * time.Second)
	require.Len(t, w.replicas[0].tear(), 2)
	return w
}

func TestWhoWasShownWithoutHearingOfAChangeIsReportedOnceMore(t *testing.T) {
	for name, c := range map[string]struct{ before, after bool }{
		"somebody asked after the change was told": {after: true}, "somebody asked before": {before: true}, "nobody asked": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := settled(t, 2)
				w.replicas[1].part.Cut(true)
				if c.before {
					require.Equal(t, "Available", w.replicas[1].availability(t, somebody(1)))
					pass(100 * time.Millisecond)
				}
				w.put(somebody(1), "Busy")
				w.replicas[0].Reread([]string{somebody(1)})
				pass(2 * time.Second)
				require.Equal(t, "Busy", w.replicas[0].availability(t, somebody(1)))
				require.Len(t, w.replicas[0].tear(), 1)
				if c.after {
					require.Equal(t, "Available", w.replicas[1].availability(t, somebody(1)), "what was known, soon after")
					require.Equal(t, "Available", w.replicas[1].availability(t, somebody(2)))
				}
				pass(time.Second)
				w.replicas[1].part.Cut(false)
				pass(5 * time.Second)
				got := w.replicas[0].tear()
				if c.after {
					require.Len(t, got, 1)
					require.Equal(t, somebody(1), got[0].ID)
				} else {
					require.Empty(t, got)
				}
				w.agree(t, []string{somebody(1), somebody(2)})
				pass(time.Minute)
				require.Empty(t, w.replicas[0].tear())
			})
		})
	}
}

func TestOnlyThoseHearOfItOnceMoreWhoWereShownSomethingElseSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := settled(t, 2)
		ask := func(who string) {
			_, err := w.replicas[1].Presence(graphsrc.AskedBy(t.Context(), who), somebody(1))
			require.NoError(t, err)
		}
		w.replicas[1].part.Cut(true)
		ask("early")
		pass(time.Second)
		w.put(somebody(1), "Busy")
		w.replicas[0].Reread([]string{somebody(1)})
		pass(time.Second)
		ask("late")
		require.Len(t, w.replicas[0].tear(), 1)
		pass(time.Minute) // by now it has read the change itself
		ask("later")
		w.replicas[1].part.Cut(false)
		pass(10 * time.Second)
		got := w.replicas[0].tear()
		require.Len(t, got, 1)
		require.Equal(t, somebody(1), got[0].ID)
		require.Equal(t, []string{"late"}, got[0].To)
		require.True(t, got[0].Unsure)
	})
}

func TestWhoWasShownBeforeTheChangeWasReportedIsNotReportedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := settled(t, 3)
		w.replicas[0].part.Cut(true) // it led: until its lease is over, nobody reports
		w.replicas[1].part.Cut(true)
		w.put(somebody(1), "Busy")
		w.replicas[2].Reread([]string{somebody(1)})
		pass(2 * time.Second)
		require.Equal(t, "Busy", w.replicas[2].availability(t, somebody(1)))
		require.Equal(t, "Available", w.replicas[1].availability(t, somebody(1)), "what was known, after it was told")
		require.Empty(t, w.replicas[2].tear())
		pass(10 * time.Second)
		require.Len(t, w.replicas[2].tear(), 1, "whoever leads now reports it")
		w.replicas[0].part.Cut(false)
		w.replicas[1].part.Cut(false)
		pass(time.Minute)
		w.agree(t, []string{somebody(1), somebody(2)})
		for _, r := range w.replicas {
			require.Empty(t, r.tear())
		}
	})
}

func TestWhoWasShownIsReportedOnceMoreAlsoIfTheSourceReadTheChangeItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := settled(t, 2)
		w.replicas[1].part.Cut(true)
		w.put(somebody(1), "Busy")
		w.replicas[0].Reread([]string{somebody(1)})
		pass(2 * time.Second)
		require.Len(t, w.replicas[0].tear(), 1)
		require.Equal(t, "Available", w.replicas[1].availability(t, somebody(1)), "what was known, after it was reported")
		pass(time.Minute)
		require.Equal(t, "Busy", w.replicas[1].availability(t, somebody(1)), "what it has read by itself")
		w.replicas[1].part.Cut(false)
		pass(10 * time.Second)
		got := w.replicas[0].tear()
		require.Len(t, got, 1)
		require.Equal(t, somebody(1), got[0].ID)
		pass(time.Minute)
		require.Empty(t, w.replicas[0].tear())
	})
}

func TestAReportThatFailedAtFirstCountsFromItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := settled(t, 2)
		w.replicas[1].part.Cut(true)
		w.replicas[0].failing(errors.New("some have been told"))
		w.put(somebody(1), "Busy")
		w.replicas[0].Reread([]string{somebody(1)})
		pass(time.Second)
		require.Equal(t, "Available", w.replicas[1].availability(t, somebody(1)))
		pass(time.Second)
		w.replicas[0].failing(nil)
		pass(time.Second)
		require.Len(t, w.replicas[0].tear(), 1)
		w.replicas[1].part.Cut(false)
		pass(5 * time.Second)
		require.Len(t, w.replicas[0].tear(), 1, "whoever asked may have been told by the first attempt")
	})
}
