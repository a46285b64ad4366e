package redisstore_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/memory"
	"ucwagate/gateway/redisstore"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redistest"
)

func benchStores(b *testing.B, n int) []*redisstore.Store {
	client := redistest.Start(b).Client(b)
	stores := make([]*redisstore.Store, n)
	for i := range stores {
		s, err := redisstore.New(redisstore.Options{Client: client, Clock: clock.System()})
		require.NoError(b, err)
		b.Cleanup(s.Close)
		s.Open(gateway.Hooks{})
		stores[i] = s
	}
	return stores
}

func start(b *testing.B, s gateway.Store, id string, addresses ...string) {
	_, _, err := s.Create(b.Context(), gateway.Application{ID: id, Owner: "owner" + id + "@contoso.com", EndpointID: "e"}, 40)
	require.NoError(b, err)
	if len(addresses) == 0 {
		return
	}
	require.NoError(b, s.Update(b.Context(), id, func(sess *session.Session) error {
		_, err := sess.Subscribe("s", addresses, 30*time.Minute, time.Now())
		return err
	}))
}

// BenchmarkUse is what every request does, beside the same in memory.
func BenchmarkUse(b *testing.B) {
	inMemory, err := memory.New(memory.Options{Clock: clock.System()})
	require.NoError(b, err)
	defer inMemory.Close()
	inMemory.Open(gateway.Hooks{})
	shared := benchStores(b, 1)[0]
	for i := range 1000 {
		start(b, inMemory, fmt.Sprint(i))
		start(b, shared, fmt.Sprint(i))
	}
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	use := func(s gateway.Store, n int) time.Duration {
		began := time.Now()
		for i := range n {
			if _, err := s.Use(b.Context(), ids[i%len(ids)]); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	use(shared, 1000)
	var there, here time.Duration
	n := 0
	for b.Loop() {
		there += use(shared, 1000)
		here += use(inMemory, 1000)
		n += 1000
	}
	b.ReportMetric(float64(there)/float64(n), "ns/use")
	b.ReportMetric(float64(here)/float64(n), "ns/use-memory")
	b.ReportMetric(float64(there)/float64(here), "ratio")
}

func BenchmarkPublish(b *testing.B) {
	for _, watchers := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(watchers), func(b *testing.B) {
			s := benchStores(b, 1)[0]
			for i := range watchers {
				start(b, s, fmt.Sprint(i), ana)
			}
			n := 0
			for b.Loop() {
				if err := s.Publish(b.Context(), ana, event("")); err != nil {
					b.Fatal(err)
				}
				if n++; n%100 == 0 { // else the inboxes overflow
					b.StopTimer()
					for i := range watchers {
						require.NoError(b, s.Update(b.Context(), fmt.Sprint(i), func(*session.Session) error { return nil }))
					}
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkUpdate is an Update that changes something, and one that only looks,
// of a session with fifty people.
func BenchmarkUpdate(b *testing.B) {
	s := benchStores(b, 1)[0]
	members := make([]string, 50)
	for i := range members {
		members[i] = fmt.Sprintf("person%d@contoso.com", i)
	}
	start(b, s, "1", members...)
	for name, f := range map[string]func(*session.Session) error{
		"changing": func(sess *session.Session) error {
			v, err := sess.Arrive("", session.Poll{Ack: sess.Position("")}, time.Now())
			if err == nil && v.Package != nil {
				_, err = sess.Arrive("", session.Poll{Ack: v.Package.NextAck}, time.Now())
			}
			return err
		},
		"looking": func(sess *session.Session) error {
			sess.Subscriptions(time.Now())
			return nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Update(b.Context(), "1", f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLatency is the time from Publish at one replica until a P-GET that
// waits at another has its package.
func BenchmarkLatency(b *testing.B) {
	stores := benchStores(b, 2)
	start(b, stores[0], "1", ana)
	var took []time.Duration
	urgent := &session.Event{Kind: session.ContactPresence, Type: session.Updated, Class: session.High, Key: ana}
	var v session.Verdict
	arrive := func(sess *session.Session) (err error) {
		for {
			v, err = sess.Arrive("", session.Poll{Ack: sess.Position("")}, time.Now())
			if err == nil && v.Package != nil {
				v, err = sess.Arrive("", session.Poll{Ack: v.Package.NextAck}, time.Now())
			}
			if err != nil || v.Ticket == 0 || v.Until.After(time.Now().Add(time.Minute)) {
				return err
			}
			sess.Release("", v.Ticket, time.Now())
		}
	}
	for b.Loop() {
		p := stores[1].Park("1", "")
		require.NoError(b, stores[1].Update(b.Context(), "1", arrive))
		p.Until(v.Until)
		ticket := v.Ticket
		began := time.Now()
		require.NoError(b, stores[0].Publish(b.Context(), ana, urgent))
		for v.Package == nil {
			<-p.Wake()
			require.NoError(b, stores[1].Update(b.Context(), "1", func(sess *session.Session) error {
				v = sess.Look("", ticket, time.Now())
				return nil
			}))
		}
		took = append(took, time.Since(began))
		p.Close()
	}
	slices.SortFunc(took, cmp.Compare)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
