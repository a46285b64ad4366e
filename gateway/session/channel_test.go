package session_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway/session"
)

func TestThePackagesOfAChannelAreNumberedAndAcknowledged(t *testing.T) {
	// sent1 is a channel that has sent package 1, which is not acknowledged.
	sent1 := func(t *testing.T) (*session.Session, *session.Package) {
		s := session.New(start, session.Limits{})
		v := arrive(t, s, 1, start)
		s.Enqueue(start, event(session.Contact, session.Added, session.High, "ana"))
		p := s.Look("", v.Ticket, start).Package
		require.Equal(t, []string{"contact ana added"}, words(p.Events))
		require.Equal(t, &session.Package{Ack: 1, Rel: session.Next, NextAck: 2, Events: p.Events}, p)
		return s, p
	}
	t.Run("the first legal number is that of the package not acknowledged", func(t *testing.T) {
		s, _ := sent1(t)
		require.EqualValues(t, 1, s.Position(""))
		arrive(t, s, 2, start)
		require.EqualValues(t, 2, s.Position(""))
		require.Zero(t, s.Position("no such channel"))
	})
	t.Run("a lost answer is given again unchanged, whatever came meanwhile", func(t *testing.T) {
		s, p := sent1(t)
		s.Enqueue(start, event(session.Contact, session.Added, session.High, "bo"))
		require.Equal(t, session.Verdict{Package: p}, arrive(t, s, 1, start))
		require.Equal(t, p, arrive(t, stored(t, s), 1, start).Package)
		require.Equal(t, []string{"contact bo added"}, words(arrive(t, s, 2, start).Package.Events))
	})
	t.Run("asking for the next package forgets the last", func(t *testing.T) {
		s, _ := sent1(t)
		v := arrive(t, s, 2, start)
		require.NotZero(t, v.Ticket)
		require.Equal(t, &session.Package{Ack: 1, Rel: session.Resync, NextAck: 2}, arrive(t, s, 1, start).Package)
		_, err := s.Arrive("", session.Poll{Ack: 9, Medium: time.Hour}, start)
		require.NoError(t, err)
		require.Equal(t, v, s.Look("", v.Ticket, start), "the one that waits is not disturbed")
		s.Enqueue(start, presence("ana"))
		require.Equal(t, at(5), s.Look("", v.Ticket, start).Until, "nor are its timers")
	})
	for name, ack := range map[string]int64{"from the past": 0, "from the future": 7, "that is none": -1} {
		t.Run("a number "+name+" answers resync and changes nothing", func(t *testing.T) {
			s, p := sent1(t)
			self := ack
			if ack < 0 {
				self = 1
			}
			require.Equal(t, &session.Package{Ack: self, Rel: session.Resync, NextAck: 1}, arrive(t, s, ack, start).Package)
			require.Equal(t, p, arrive(t, s, 1, start).Package)
			require.NotZero(t, arrive(t, s, 2, start).Ticket)
		})
	}
	t.Run("an empty answer consumes a number", func(t *testing.T) {
		s := session.New(start, session.Limits{})
		v := arrive(t, s, 1, start)
		require.Equal(t, at(180), v.Until)
		require.Nil(t, s.Look("", v.Ticket, at(179)).Package)
		require.Equal(t, &session.Package{Ack: 1, Rel: session.Next, NextAck: 2}, s.Look("", v.Ticket, at(180)).Package)
		require.NotZero(t, arrive(t, s, 2, at(180)).Ticket)
	})
	t.Run("a drained P-GET is answered at once, without events", func(t *testing.T) {
		s := session.New(start, session.Limits{})
		v := arrive(t, s, 1, start)
		require.Equal(t, &session.Package{Ack: 1, Rel: session.Next, NextAck: 2}, s.Release("", v.Ticket, at(1)).Package)
		require.True(t, s.Release("", v.Ticket, at(1)).Replaced)
	})
	t.Run("a P-GET whose connection is gone leaves nothing behind", func(t *testing.T) {
		s := session.New(start, session.Limits{})
		v := arrive(t, s, 1, start)
		s.Leave("", v.Ticket, at(1))
		s.Leave("", v.Ticket, at(1))
		require.NotZero(t, arrive(t, s, 1, at(2)).Ticket)
	})
}

func TestEventsReleaseAPGetByTheirClass(t *testing.T) {
	parked := func(t *testing.T, p session.Poll) (*session.Session, uint64) {
		s := session.New(start, session.Limits{})
		p.Ack = 1
		v, err := s.Arrive("", p, start)
		require.NoError(t, err)
		return s, v.Ticket
	}
	for _, c := range []struct {
		name  string
		poll  session.Poll
		class session.Class
		until float64
	}{
		{"high at once", session.Poll{}, session.High, 10},
		{"medium after 5 seconds", session.Poll{}, session.Medium, 15},
		{"low after 15 seconds", session.Poll{}, session.Low, 25},
		{"medium after what was asked", session.Poll{Medium: 20 * time.Second}, session.Medium, 30},
		{"low after what was asked", session.Poll{Low: 60 * time.Second}, session.Low, 70},
		{"what is asked is brought to the lower bound", session.Poll{Low: time.Second}, session.Low, 15},
		{"what is asked is brought to the upper bound", session.Poll{Low: time.Hour, Timeout: time.Hour}, session.Low, 1800},
		{"the time-out takes along what is not due", session.Poll{Medium: time.Hour}, session.Medium, 180},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ticket := parked(t, c.poll)
			s.Enqueue(at(10), event(session.Contact, session.Added, c.class, "ana"))
			s = stored(t, s)
			if wakes := s.TakeWakes(at(10)); c.until < 180 {
				require.Equal(t, []session.Wake{{At: at(c.until)}}, wakes)
			} else {
				require.Empty(t, wakes, "it is looked at then anyhow")
			}
			if c.until > 10 {
				require.Nil(t, s.Look("", ticket, at(c.until-1)).Package)
			}
			require.Equal(t, []string{"contact ana added"}, words(s.Look("", ticket, at(c.until)).Package.Events))
		})
	}
	t.Run("when one is due all leave, in order", func(t *testing.T) {
		s, ticket := parked(t, session.Poll{})
		s.Enqueue(at(1), event(session.Contact, session.Added, session.Low, "low"), event(session.Contact, session.Added, session.Medium, "medium"))
		require.Equal(t, []session.Wake{{At: at(6)}}, s.TakeWakes(at(1)))
		s.Enqueue(at(2), event(session.Contact, session.Added, session.Medium, "later"))
		require.Empty(t, s.TakeWakes(at(2)), "the second changes nothing")
		s.Enqueue(at(3), event(session.Contact, session.Added, session.High, "high"))
		require.Equal(t, []session.Wake{{At: at(3)}}, s.TakeWakes(at(3)))
		require.Equal(t, []string{"contact low added", "contact medium added", "contact later added", "contact high added"}, words(s.Look("", ticket, at(3)).Package.Events))
	})
	t.Run("events that wait for a P-GET age meanwhile", func(t *testing.T) {
		s := session.New(start, session.Limits{})
		s.Enqueue(start, presence("ana"))
		require.Equal(t, at(5), arrive(t, s, 1, at(2)).Until)
		s.Leave("", 1, at(2))
		require.NotNil(t, arrive(t, s, 1, at(5)).Package)
	})
	t.Run("a stream of changes of one contact is not put off for ever", func(t *testing.T) {
		s, ticket := parked(t, session.Poll{})
		for i := range 5 {
			s.Enqueue(at(float64(i)), presence("ana"))
			s = stored(t, s)
		}
		require.Equal(t, []string{"presence ana updated"}, words(s.Look("", ticket, at(5)).Package.Events))
	})
	t.Run("what vanishes no longer presses", func(t *testing.T) {
		s, ticket := parked(t, session.Poll{})
		s.Enqueue(at(0), event(session.Contact, session.Added, session.Medium, "ana"))
		s.Enqueue(at(3), event(session.Contact, session.Added, session.Medium, "bo"))
		s.Enqueue(at(4), event(session.Contact, session.Deleted, session.Medium, "ana"))
		require.Equal(t, at(8), s.Look("", ticket, at(5)).Until)
	})
	t.Run("timers are remembered until they are changed", func(t *testing.T) {
		s, ticket := parked(t, session.Poll{Medium: 20 * time.Second, Timeout: 300 * time.Second})
		s.Release("", ticket, start)
		require.Equal(t, at(300), arrive(t, s, 2, start).Until)
		s.Enqueue(start, presence("ana"))
		require.Equal(t, []session.Wake{{At: at(20)}}, s.TakeWakes(start))
	})
}

func TestAVerdictTellsHowLateAWokenPGetIs(t *testing.T) {
	since := func(class session.Class, known float64) *session.Event {
		e := event(session.Contact, session.Added, class, "ana")
		e.Since = at(known).UnixNano()
		return e
	}
	for _, c := range []struct {
		name   string
		events []*session.Event // queued at 10 s
		look   float64
		woken  bool
		late   float64
	}{
		{"at once for what is urgent", []*session.Event{event(session.Contact, session.Added, session.High, "ana")}, 10, true, 0},
		{"by what went by since", []*session.Event{event(session.Contact, session.Added, session.High, "ana")}, 10.5, true, 0.5},
		{"without the time that the client wants to wait", []*session.Event{presence("ana")}, 15.25, true, 0.25},
		{"from when the change was known, not from when its turn came", []*session.Event{since(session.High, 9)}, 10, true, 1},
		{"and the timer counts from there too", []*session.Event{since(session.Medium, 8)}, 13.5, true, 0.5},
		{"by the one that was due first", []*session.Event{since(session.Low, 1), presence("bo")}, 17, true, 2},
		{"not from a time to come: clocks differ", []*session.Event{since(session.High, 12)}, 11, true, 1},
		{"not where the time-out answers", nil, 180, false, 0},
		{"not where the time-out takes along what is not due", []*session.Event{since(session.Medium, 178)}, 180, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := session.New(start, session.Limits{})
			v := arrive(t, s, 1, start)
			queued := at(10)
			if c.look == 180 {
				queued = at(178)
			}
			s.Enqueue(queued, c.events...)
			s = stored(t, s)
			v = s.Look("", v.Ticket, at(c.look))
			require.NotNil(t, v.Package)
			require.Equal(t, c.woken, v.Woken)
			require.Equal(t, time.Duration(c.late*float64(time.Second)), v.Late)
			if c.woken {
				again, err := s.Arrive("", session.Poll{Ack: 1}, at(c.look))
				require.NoError(t, err)
				require.False(t, again.Woken, "a package that is sent once more wakes nobody")
			}
		})
	}
	t.Run("nobody waited for what was there already, nor for a drain", func(t *testing.T) {
		s := session.New(start, session.Limits{})
		s.Enqueue(start, event(session.Contact, session.Added, session.High, "ana"))
		v := arrive(t, s, 1, at(1))
		require.NotNil(t, v.Package)
		require.False(t, v.Woken)
		v = arrive(t, s, 2, at(2))
		s.Enqueue(at(2), presence("ana"))
		v = s.Release("", v.Ticket, at(3))
		require.Len(t, v.Package.Events, 1)
		require.False(t, v.Woken)
	})
}

func TestEventsAboutOneTargetCollapse(t *testing.T) {
	const a, u, d = session.Added, session.Updated, session.Deleted
	for _, c := range []struct {
		name  string
		types []session.Type
		want  []string // with "contact other" queued after the first
	}{
		{"added and updated is added, at its place", []session.Type{a, u}, []string{"contact x added", "contact other added"}},
		{"updated twice is once, at the later place", []session.Type{u, u}, []string{"contact other added", "contact x updated"}},
		{"added and deleted is nothing", []session.Type{a, d}, []string{"contact other added"}},
		{"deleted and added stay both", []session.Type{d, a}, []string{"contact x deleted", "contact other added", "contact x added"}},
		{"updated and deleted is deleted", []session.Type{u, d}, []string{"contact other added", "contact x deleted"}},
		{"deleted, added, deleted is deleted", []session.Type{d, a, d}, []string{"contact x deleted", "contact other added"}},
		{"deleted, added, deleted, added stay two", []session.Type{d, a, d, a}, []string{"contact x deleted", "contact other added", "contact x added"}},
		{"deleted, added, deleted twice is deleted", []session.Type{d, a, d, d}, []string{"contact x deleted", "contact other added"}},
		{"deleted, added, updated stay two", []session.Type{d, a, u}, []string{"contact x deleted", "contact other added", "contact x added"}},
		{"the same twice is once", []session.Type{d, d}, []string{"contact x deleted", "contact other added"}},
	} {
		for _, many := range []int{0, 40} {
			t.Run(fmt.Sprintf("%s, with %d others before", c.name, many), func(t *testing.T) {
				s := session.New(start, session.Limits{})
				var want []string
				for i := range many {
					s.Enqueue(start, event(session.Contact, a, session.Low, fmt.Sprint(i)))
					want = append(want, fmt.Sprintf("contact %d added", i))
				}
				for i, typ := range c.types {
					s.Enqueue(start, event(session.Contact, typ, session.Low, "x"))
					if i == 0 {
						s.Enqueue(start, event(session.Contact, a, session.Low, "other"))
					}
				}
				require.Equal(t, append(want, c.want...), drain(t, s, start))
			})
		}
	}
	t.Run("the lists and groups of a contact are targets of their own", func(t *testing.T) {
		s := session.New(start, session.Limits{})
		s.Enqueue(start,
			&session.Event{Kind: session.Contact, Type: a, Class: session.High, In: session.MyContacts, Key: "ana"},
			&session.Event{Kind: session.Contact, Type: a, Class: session.High, In: session.InGroup, Key: "ana", Group: "1", GroupRel: "group"},
			&session.Event{Kind: session.Contact, Type: d, Class: session.High, In: session.InGroup, Key: "ana", Group: "2", GroupRel: "group"},
		)
		require.Equal(t, []string{"contact ana added in myContacts", "contact ana added in group 1", "contact ana deleted in group 2"}, drain(t, s, start))
	})
}

func TestOfTwoPGetsForOnePackageOneStays(t *testing.T) {
	s := session.New(start, session.Limits{})
	poll := func(priority int) session.Verdict {
		v, err := s.Arrive("", session.Poll{Ack: 1, Priority: priority, Timeout: time.Duration(priority) * 100 * time.Second}, start)
		require.NoError(t, err)
		return v
	}
	first, second := poll(2), poll(2)
	require.Equal(t, []session.Wake{{At: start}}, s.TakeWakes(start), "the first has to learn it")
	require.Equal(t, session.Verdict{Replaced: true}, s.Look("", first.Ticket, start))
	require.Equal(t, session.Verdict{Replaced: true}, poll(1))
	require.Equal(t, second, s.Look("", second.Ticket, start), "a refused P-GET changes no timers")
	third := poll(3)
	require.Equal(t, at(300), third.Until)
	require.True(t, s.Look("", second.Ticket, start).Replaced)
	s.Leave("", second.Ticket, start)
	require.Equal(t, third, s.Look("", third.Ticket, start), "the connection of a replaced one does not matter")
}

func TestAQueueThatOutgrowsItsBoundAnswersResyncUntilTheClientKnows(t *testing.T) {
	flood := func(s *session.Session, n int) {
		for i := range n {
			s.Enqueue(start, event(session.Contact, session.Added, session.Low, fmt.Sprint(i)))
		}
	}
	t.Run("with a P-GET parked", func(t *testing.T) {
		s := session.New(start, session.Limits{Events: 3})
		v := arrive(t, s, 1, start)
		flood(s, 3)
		s.TakeWakes(start)
		require.Nil(t, s.Look("", v.Ticket, start).Package)
		flood(s, 3)
		require.Nil(t, s.Look("", v.Ticket, start).Package, "what collapses does not count")
		s.Enqueue(start, presence("ana"))
		require.Equal(t, []session.Wake{{At: start}}, s.TakeWakes(start))
		lost := &session.Package{Ack: 1, Rel: session.Resync, NextAck: 2, Overflow: true}
		require.Equal(t, lost, s.Look("", v.Ticket, start).Package)
		require.Equal(t, lost, arrive(t, stored(t, s), 1, start).Package, "again, if the answer was lost")
		require.NotZero(t, arrive(t, s, 2, start).Ticket)
	})
	t.Run("with a package not acknowledged", func(t *testing.T) {
		s := session.New(start, session.Limits{Events: 3})
		v := arrive(t, s, 1, start)
		p := s.Release("", v.Ticket, start).Package
		flood(s, 9)
		require.Equal(t, p, arrive(t, s, 1, start).Package)
		require.Equal(t, &session.Package{Ack: 2, Rel: session.Resync, NextAck: 4, Overflow: true}, arrive(t, s, 2, start).Package)
		require.EqualValues(t, 4, s.Position(""))
		s.Enqueue(start, event(session.Contact, session.Added, session.High, "ana"))
		require.Equal(t, "contact ana added", words(arrive(t, s, 4, start).Package.Events)[1])
	})
}

func TestEveryInstanceHasAChannelOfItsOwn(t *testing.T) {
	s := session.New(start, session.Limits{})
	for name, created := range map[string]bool{"a": true, "b": true} {
		got, err := s.OpenChannel(name, start)
		require.NoError(t, err)
		require.Equal(t, created, got)
	}
	_, err := s.Arrive("", session.Poll{Ack: 1}, start)
	require.ErrorIs(t, err, session.ErrNotFound, "the channel without a name makes room")
	created, err := s.OpenChannel("a", start)
	require.NoError(t, err)
	require.False(t, created)
	a, err := s.Arrive("a", session.Poll{Ack: 1, Medium: time.Minute}, start)
	require.NoError(t, err)
	b, err := s.Arrive("b", session.Poll{Ack: 1}, start)
	require.NoError(t, err)
	s.Enqueue(start, presence("ana"))
	require.Equal(t, []session.Wake{{Instance: "a", At: at(60)}, {Instance: "b", At: at(5)}}, sorted(s.TakeWakes(start)))
	require.Equal(t, []string{"presence ana updated"}, words(s.Look("b", b.Ticket, at(5)).Package.Events))
	require.Nil(t, s.Look("a", a.Ticket, at(5)).Package)

	require.Equal(t, 1, s.CloseChannel("a", at(6)))
	require.Equal(t, []session.Wake{{Instance: "a", At: at(6)}}, s.TakeWakes(at(6)))
	require.Equal(t, session.Verdict{Closed: true}, s.Look("a", a.Ticket, at(6)))
	require.Equal(t, 1, s.CloseChannel("a", at(6)))
	require.Equal(t, 0, s.CloseChannel("b", at(6)))
}

func TestTheChannelWithoutANameStaysIfItWasUsed(t *testing.T) {
	s := session.New(start, session.Limits{})
	s.Enqueue(start, presence("ana"))
	_, err := s.OpenChannel("a", start)
	require.NoError(t, err)
	require.Equal(t, []string{"presence ana updated"}, drain(t, s, start))
}

func sorted(wakes []session.Wake) []session.Wake {
	if len(wakes) == 2 && wakes[0].Instance > wakes[1].Instance {
		wakes[0], wakes[1] = wakes[1], wakes[0]
	}
	return wakes
}
