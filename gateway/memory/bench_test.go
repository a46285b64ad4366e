package memory_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/memory"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

// members are 50 of 20,000 people, the first of them watched by all.
func members(i int) []string {
	list := []string{"chief@contoso.com"}
	for n := range 49 {
		list = append(list, fmt.Sprintf("person%d@contoso.com", (i*7+n*397)%20000))
	}
	return list
}

type waiter struct {
	id     string
	parked gateway.Parked
	ticket uint64
}

// wait lets n applications subscribe to 50 people each and park a P-GET.
func wait(tb testing.TB, s *memory.Store, n int) []waiter {
	now := time.Now()
	waiters := make([]waiter, n)
	for i := range waiters {
		w := &waiters[i]
		w.id = fmt.Sprintf("%015d", i)
		_, _, err := s.Create(tb.Context(), gateway.Application{ID: w.id, Owner: fmt.Sprintf("p%d@contoso.com", i), EndpointID: "e"}, 40)
		require.NoError(tb, err)
		w.parked = s.Park(w.id, "")
		require.NoError(tb, s.Update(tb.Context(), w.id, func(sess *session.Session) error {
			if _, err := sess.Subscribe("s", members(i), 30*time.Minute, now); err != nil {
				return err
			}
			v, err := sess.Arrive("", session.Poll{Ack: 1}, now)
			sess.Release("", v.Ticket, now)
			if err == nil {
				v, err = sess.Arrive("", session.Poll{Ack: 2}, now)
			}
			w.ticket = v.Ticket
			w.parked.Until(v.Until)
			return err
		}))
	}
	return waiters
}

func newStore(tb testing.TB) *memory.Store {
	s, err := memory.New(memory.Options{Clock: clock.System()})
	require.NoError(tb, err)
	s.Open(gateway.Hooks{})
	tb.Cleanup(s.Close)
	return s
}

// BenchmarkPublish is one change of a person whom 9,000 parked P-GETs wait
// for: until all are woken, or have a timer set.
func BenchmarkPublish(b *testing.B) {
	for name, class := range map[string]session.Class{"high": session.High, "medium": session.Medium} {
		b.Run(name, func(b *testing.B) {
			s := newStore(b)
			waiters := wait(b, s, 9000)
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, s.Publish(b.Context(), "chief@contoso.com", &session.Event{
					Kind: session.ContactPresence, Type: session.Updated, Class: class, Key: "chief@contoso.com",
				}))
				b.StopTimer()
				for i := range waiters {
					again(b, s, &waiters[i])
				}
				b.StartTimer()
			}
			for _, w := range waiters {
				w.parked.Close()
			}
		})
	}
}

// again takes the package and parks anew.
func again(b *testing.B, s *memory.Store, w *waiter) {
	w.parked.Close()
	w.parked = s.Park(w.id, "")
	require.NoError(b, s.Update(b.Context(), w.id, func(sess *session.Session) error {
		now := time.Now()
		p := sess.Release("", w.ticket, now).Package
		v, err := sess.Arrive("", session.Poll{Ack: p.NextAck}, now)
		w.ticket = v.Ticket
		w.parked.Until(v.Until)
		return err
	}))
}

// BenchmarkMemory is what an application with 50 members and a parked P-GET
// costs: its session alone, and with all that the store keeps for it.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	used := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		before := used()
		sessions := make([]*session.Session, n)
		for i := range sessions {
			sessions[i] = session.New(time.Now(), session.Limits{})
			_, err := sessions[i].Subscribe("s", members(i), 30*time.Minute, time.Now())
			require.NoError(b, err)
			v, err := sessions[i].Arrive("", session.Poll{Ack: 1}, time.Now())
			require.NoError(b, err)
			sessions[i].Release("", v.Ticket, time.Now())
			_, err = sessions[i].Arrive("", session.Poll{Ack: 2}, time.Now())
			require.NoError(b, err)
			sessions[i].TakeInterest()
			sessions[i].TakeWakes(time.Now())
		}
		b.ReportMetric((used()-before)/n, "B/session")
		runtime.KeepAlive(sessions)
		before = used()
		s := newStore(b)
		waiters := wait(b, s, n)
		b.ReportMetric((used()-before)/n, "B/application")
		for _, w := range waiters {
			w.parked.Close()
		}
	}
}
