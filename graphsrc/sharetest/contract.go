package sharetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// Join makes a Shared for one more source of the same tenant. Its lease should be
// a second or less.
type Join func(tb testing.TB) graphsrc.Shared

// Run tests what any graphsrc.Shared must do. Open begins with nothing known.
func Run(t *testing.T, open func(tb testing.TB) Join) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, w *world){
		"one leads, and another when it ends":                           oneLeads,
		"a change is delivered once and heard by all others":            changeOnce,
		"of two who tell the same change it is one":                     sameChange,
		"what is known comes back whole":                                wholeRecord,
		"an unchanged reading is heard, and renews the record":          unchanged,
		"an older reading is refused":                                   refusedOlder,
		"a change that is not delivered comes again before later ones":  deliveredAgain,
		"whoever leads next begins where the one before was heard last": nextLeader,
		"somebody can be reported again":                                again,
	} {
		t.Run(name, func(t *testing.T) { test(t, &world{join: open(t)}) })
	}
}

// world is several members.
type world struct {
	join    Join
	members []*member
}

type member struct {
	graphsrc.Shared
	Recorder
	end func()
}

// add lets one more take part.
func (w *world) add(t *testing.T) *member {
	t.Helper()
	m := &member{Shared: w.join(t)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { m.Run(ctx, &m.Recorder) })
	m.end = func() { cancel(); wg.Wait() }
	t.Cleanup(m.end)
	w.members = append(w.members, m)
	eventually(t, func() bool { return m.Resyncs() > 0 }, "it takes part")
	return m
}

// leader waits until one of several leads.
func leader(t *testing.T, members ...*member) *member {
	t.Helper()
	var found *member
	eventually(t, func() bool {
		found = nil
		for _, m := range members {
			if m.Role() == graphsrc.Leading {
				require.Nil(t, found, "two lead")
				found = m
			}
		}
		return found != nil
	}, "somebody leads")
	return found
}

func eventually(t *testing.T, is func() bool, what string) {
	t.Helper()
	require.Eventually(t, is, 10*time.Second, 2*time.Millisecond, what)
}

func person(n byte) uuid.UUID { return uuid.UUID{0: 0xab, 15: n} }

func told(n byte, availability string, before string, age time.Duration) graphsrc.Told {
	r := graphsrc.Told{SharedReading: graphsrc.SharedReading{
		ID: person(n), Words: mapping.Presence{Availability: availability, Activity: availability}, ReadAt: time.Now().Add(-age),
	}, Changed: availability != before}
	if before != "" {
		r.Before = &mapping.Presence{Availability: before, Activity: before}
	}
	return r
}

func tell(t *testing.T, m *member, readings ...graphsrc.Told) []graphsrc.SharedReading {
	t.Helper()
	refused, err := m.Tell(t.Context(), readings)
	require.NoError(t, err)
	return refused
}

func delivered(t *testing.T, m *member, n int) []graphsrc.SharedChange {
	t.Helper()
	eventually(t, func() bool { return len(m.Delivered()) >= n }, fmt.Sprint(n, " changes"))
	require.Len(t, m.Delivered(), n)
	return m.Delivered()
}

func newer(t *testing.T, a, b string) bool {
	t.Helper()
	split := func(s string) (uint64, uint64) {
		first, second, ok := strings.Cut(s, "-")
		require.True(t, ok, s)
		x, err := strconv.ParseUint(first, 10, 64)
		require.NoError(t, err)
		y, err := strconv.ParseUint(second, 10, 64)
		require.NoError(t, err)
		return x, y
	}
	a1, a2 := split(a)
	b1, b2 := split(b)
	return a1 > b1 || a1 == b1 && a2 > b2
}

func oneLeads(t *testing.T, w *world) {
	a, b, c := w.add(t), w.add(t), w.add(t)
	first := leader(t, a, b, c)
	for range 20 {
		require.Same(t, first, leader(t, a, b, c))
	}
	var rest []*member
	for _, m := range w.members {
		if m != first {
			rest = append(rest, m)
		}
	}
	first.end()
	leader(t, rest...)
}

func changeOnce(t *testing.T, w *world) {
	a := w.add(t)
	leader(t, a)
	b, c := w.add(t), w.add(t)
	tell(t, b, told(1, "Available", "", 2*time.Second))
	tell(t, b, told(1, "Busy", "Available", time.Second))
	tell(t, a, told(1, "Away", "Busy", 0))
	got := delivered(t, a, 3)
	require.True(t, got[0].First)
	require.False(t, got[1].First)
	require.Equal(t, "Available", got[1].Before.Availability)
	require.Equal(t, "Busy", got[1].After.Words.Availability)
	require.Equal(t, "Busy", got[2].Before.Availability)
	require.Equal(t, "Away", got[2].After.Words.Availability)
	require.True(t, newer(t, got[1].Revision, got[0].Revision) && newer(t, got[2].Revision, got[1].Revision))
	eventually(t, func() bool { return len(c.Heard()) == 3 && len(b.Heard()) == 1 && len(a.Heard()) == 2 }, "all hear of it")
	heard := c.Heard()
	for i, h := range heard {
		require.True(t, h.Changed)
		require.Equal(t, got[i].Revision, h.Revision)
		require.Equal(t, got[i].After.Words, h.Words)
	}
	require.Empty(t, b.Delivered())
	require.Empty(t, c.Delivered())
}

func sameChange(t *testing.T, w *world) {
	a, b := w.add(t), w.add(t)
	tell(t, a, told(1, "Available", "", 3*time.Second))
	var wg sync.WaitGroup
	for _, m := range []*member{a, b} {
		for range 5 {
			wg.Go(func() { _, _ = m.Tell(t.Context(), []graphsrc.Told{told(1, "Busy", "Available", 0)}) })
		}
	}
	wg.Wait()
	tell(t, b, told(2, "Available", "", 0))
	l := leader(t, a, b)
	got := delivered(t, l, 3)
	require.Equal(t, "Busy", got[1].After.Words.Availability)
	require.Equal(t, person(2), got[2].After.ID)
}

func wholeRecord(t *testing.T, w *world) {
	a, b := w.add(t), w.add(t)
	one := told(1, "Available", "", time.Second)
	one.Words = mapping.Presence{
		Availability: "Busy", Activity: "InAMeeting", OutOfOffice: true, OutOfOfficeMessage: strings.Repeat("fort ", 300),
		StatusMessage: "ünïcode\x00\xff", WorkLocation: "office",
	}
	one.Sequence, one.Refusals, one.LastActive = "A0042", 3, time.Now().Add(-time.Hour)
	gone := told(2, "PresenceUnknown", "", time.Second)
	gone.Absent, gone.Refusals = true, 1
	tell(t, a, one, gone)
	got, err := b.Recall(t.Context(), []uuid.UUID{person(1), person(2), person(3)})
	require.NoError(t, err)
	require.Len(t, got, 2)
	for i, want := range []graphsrc.Told{one, gone} {
		require.Equal(t, want.Words, got[i].Words)
		require.Equal(t, want.Sequence, got[i].Sequence)
		require.Equal(t, want.Refusals, got[i].Refusals)
		require.Equal(t, want.Absent, got[i].Absent)
		require.Equal(t, want.Digest(), got[i].Digest())
		require.WithinDuration(t, want.ReadAt, got[i].ReadAt, 200*time.Millisecond)
	}
	require.WithinDuration(t, one.LastActive, got[0].LastActive, 200*time.Millisecond)
	require.Zero(t, got[1].LastActive)
	require.NotEmpty(t, got[0].Revision)
}

func unchanged(t *testing.T, w *world) {
	a, b := w.add(t), w.add(t)
	tell(t, a, told(1, "Available", "", 10*time.Second))
	again := told(1, "Available", "Available", time.Second)
	unheardOf := told(2, "Busy", "Busy", time.Second)
	other := told(3, "Away", "Available", time.Second)
	tell(t, a, again, unheardOf, other)
	eventually(t, func() bool { return len(b.Heard()) == 4 }, "all are heard")
	for _, h := range b.Heard()[1:] {
		switch h.ID {
		case person(1):
			require.False(t, h.Changed)
			require.WithinDuration(t, again.ReadAt, h.ReadAt, 200*time.Millisecond)
			if h.Same {
				require.Equal(t, again.Digest(), h.Digest)
			}
		case person(2):
			require.False(t, h.Same)
			require.False(t, h.Changed, "whoever told knew it before")
			require.Equal(t, "Busy", h.Words.Availability)
		case person(3):
			require.True(t, h.Changed)
		}
	}
	got, err := b.Recall(t.Context(), []uuid.UUID{person(1)})
	require.NoError(t, err)
	require.WithinDuration(t, again.ReadAt, got[0].ReadAt, 200*time.Millisecond)
	require.Len(t, delivered(t, leader(t, a, b), 2), 2)
}

func refusedOlder(t *testing.T, w *world) {
	a, b := w.add(t), w.add(t)
	first := told(1, "Available", "", time.Second)
	first.Sequence = "0005"
	require.Empty(t, tell(t, a, first))
	got := tell(t, b, told(1, "Busy", "Available", 5*time.Second))
	require.Len(t, got, 1)
	require.Equal(t, "Available", got[0].Words.Availability)
	lower := told(1, "Busy", "Available", 0)
	lower.Sequence = "0004"
	require.Len(t, tell(t, b, lower), 1)
	lower.Insist = true
	require.Empty(t, tell(t, b, lower))
	require.Empty(t, tell(t, b, told(1, "Busy", "Busy", 9*time.Second)), "the same words are no contradiction")
	l := leader(t, a, b)
	require.Equal(t, "Busy", delivered(t, l, 2)[1].After.Words.Availability)
}

func deliveredAgain(t *testing.T, w *world) {
	a := w.add(t)
	leader(t, a)
	a.Fail(errors.New("the engine is away"))
	tell(t, a, told(1, "Available", "", time.Second))
	tell(t, a, told(1, "Busy", "Available", 0))
	eventually(t, func() bool { return a.Tried() >= 3 }, "it is tried again")
	require.Empty(t, a.Delivered())
	a.Fail(nil)
	got := delivered(t, a, 2)
	require.Equal(t, "Available", got[0].After.Words.Availability)
	require.Equal(t, "Busy", got[1].After.Words.Availability)
}

func nextLeader(t *testing.T, w *world) {
	a := w.add(t)
	leader(t, a)
	b := w.add(t)
	tell(t, b, told(1, "Available", "", 2*time.Second))
	delivered(t, a, 1)
	a.Fail(errors.New("the engine is away"))
	tell(t, b, told(1, "Busy", "Available", time.Second))
	eventually(t, func() bool { return a.Tried() >= 2 }, "it is tried")
	a.end()
	leader(t, b)
	eventually(t, func() bool { return len(b.Delivered()) > 0 }, "the next one delivers")
	all := b.Delivered()
	last := all[len(all)-1]
	require.Equal(t, "Busy", last.After.Words.Availability)
	if len(all) == 2 { // the mark may not have been moved
		require.Equal(t, a.Delivered()[0].Revision, all[0].Revision)
	}
	require.LessOrEqual(t, len(all), 2)
}

func again(t *testing.T, w *world) {
	a, b := w.add(t), w.add(t)
	tell(t, a, told(1, "Available", "", time.Second))
	once := told(1, "Available", "Available", 0)
	once.Shown = []graphsrc.Shown{{By: "app1", At: time.Now().Add(-time.Minute)}, {At: time.Now().Add(-time.Hour)}}
	tell(t, b, once)
	got := delivered(t, leader(t, a, b), 2)
	require.True(t, got[1].Unsure)
	require.Empty(t, got[0].Shown)
	require.Len(t, got[1].Shown, 2)
	for i, want := range once.Shown {
		require.Equal(t, want.By, got[1].Shown[i].By)
		require.WithinDuration(t, want.At, got[1].Shown[i].At, time.Second)
	}
	require.True(t, newer(t, got[1].Revision, got[0].Revision))
	require.Equal(t, "Available", got[1].After.Words.Availability)
}
