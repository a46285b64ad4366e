package redisstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/memory"
	"ucwagate/gateway/session"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/redistest"
)

// TestTwoReplicasDoWhatOneProcessDoes lets two replicas, now this and now that,
// do what the engine in memory does, and compares what they say.
func TestTwoReplicasDoWhatOneProcessDoes(t *testing.T) {
	client := redistest.Start(t).Client(t)
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			clk := storetest.NewClock()
			prefix := newPrefix()
			model, err := memory.New(memory.Options{Clock: clk})
			require.NoError(t, err)
			defer model.Close()
			p := &pair{t: t, clk: clk, rand: rand.New(rand.NewPCG(seed, 7)), watched: [3]map[string]bool{{}, {}, {}}}
			p.stores = [3]gateway.Store{model, open(t, client, prefix, clk, limits), open(t, client, prefix, clk, limits)}
			for i, s := range p.stores {
				s.Open(gateway.Hooks{Interest: p.hook(i)})
				if i > 0 {
					eventually(t, "it is known that nobody is watched", func() bool { return whole(t, client, prefix) == 2*64 })
				}
			}
			for range 150 {
				p.step()
			}
			p.compareAtRest()
		})
	}
}

// pair are the model, two replicas, and what their hooks were told.
type pair struct {
	t      *testing.T
	clk    *storetest.Clock
	rand   *rand.Rand
	stores [3]gateway.Store
	ids    []string

	mu      sync.Mutex
	watched [3]map[string]bool
}

func (p *pair) hook(i int) func(string, bool) {
	return func(address string, watched bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if watched {
			p.watched[i][address] = true
		} else {
			delete(p.watched[i], address)
		}
	}
}

// both does something in the model and at one of the replicas, and demands that
// they say the same.
func (p *pair) both(what string, f func(gateway.Store) string) {
	p.t.Helper()
	require.Equal(p.t, f(p.stores[0]), f(p.stores[1+p.rand.IntN(2)]), what)
}

func (p *pair) id() string {
	if len(p.ids) == 0 || p.rand.IntN(20) == 0 {
		return "never"
	}
	return p.ids[p.rand.IntN(len(p.ids))]
}

func (p *pair) person() string { return fmt.Sprintf("p%d@contoso.com", p.rand.IntN(6)) }

func (p *pair) step() {
	switch p.rand.IntN(14) {
	case 0, 1:
		p.create()
	case 2:
		id := p.id()
		use := func(s gateway.Store) string { a, err := s.Use(p.t.Context(), id); return fmt.Sprint(a, reason(err)) }
		want, at := use(p.stores[0]), p.stores[1+p.rand.IntN(2)]
		eventually(p.t, "use "+id, func() bool { return use(at) == want }) // an end at the other replica is heard of a moment later
	case 3:
		if p.rand.IntN(3) == 0 {
			id := p.id()
			p.both("delete "+id, func(s gateway.Store) string { return reason(s.Delete(p.t.Context(), id)) })
		}
	case 4:
		owner := fmt.Sprint("owner", p.rand.IntN(3))
		p.both("list "+owner, func(s gateway.Store) string { l, err := s.Owned(p.t.Context(), owner); return fmt.Sprint(l, err) })
	case 5, 6:
		p.subscribe()
	case 7, 8, 9:
		p.poll()
	case 10, 11:
		p.publish()
	case 12:
		p.clk.Advance(time.Duration(p.rand.IntN(400)) * time.Second)
		p.tick()
	default:
		key, d := fmt.Sprint("k", p.rand.IntN(3)), time.Duration(1+p.rand.IntN(300))*time.Second
		p.both("claim", func(s gateway.Store) string {
			until, taken, err := s.Claim(p.t.Context(), key, d)
			return fmt.Sprint(until.Unix(), taken, err)
		})
	}
}

func (p *pair) create() {
	id := fmt.Sprint("1", len(p.ids))
	a := gateway.Application{
		ID: id, Owner: fmt.Sprint("owner", p.rand.IntN(3)), EndpointID: fmt.Sprint("e", p.rand.IntN(5)), Culture: fmt.Sprint("c", p.rand.IntN(4)/3),
	}
	p.both("create "+id, func(s gateway.Store) string {
		got, created, err := s.Create(p.t.Context(), a, 3)
		return fmt.Sprint(got, created, err)
	})
	p.ids = append(p.ids, id)
}

func (p *pair) subscribe() {
	id, members, d := p.id(), []string{p.person(), p.person()}, time.Duration(10+p.rand.IntN(20))*time.Minute
	name, what := fmt.Sprint("s", p.rand.IntN(2)), p.rand.IntN(3)
	p.update("subscribe "+id, id, func(sess *session.Session) (string, error) {
		now := p.clk.Now()
		switch what {
		case 0:
			return "", sess.Unsubscribe(name, now)
		case 1:
			added, err := sess.AddMembers(name, members, now)
			return fmt.Sprint(added), err
		}
		sub, err := sess.Subscribe(name, members, d, now)
		return fmt.Sprint(sub), err
	})
}

// poll lets a P-GET arrive, be looked at, or leave. Mostly nobody holds it any
// longer, as if its replica had ended.
func (p *pair) poll() {
	id, what, priority := p.id(), p.rand.IntN(5), p.rand.IntN(3)
	p.update("poll "+id, id, func(sess *session.Session) (string, error) {
		now := p.clk.Now()
		v, err := sess.Arrive("", session.Poll{Ack: sess.Position(""), Priority: priority}, now)
		if err == nil && v.Package != nil && what > 0 {
			v, err = sess.Arrive("", session.Poll{Ack: v.Package.NextAck, Priority: priority}, now)
		}
		if err == nil && v.Ticket != 0 && what == 4 {
			v = sess.Release("", v.Ticket, now)
		}
		if v.Ticket != 0 && what == 3 {
			sess.Leave("", v.Ticket, now)
		}
		return verdict(v), err
	})
}

func verdict(v session.Verdict) string {
	said := fmt.Sprint(v.Ticket, v.Until.Unix(), v.Replaced, v.Closed)
	if v.Package == nil {
		return said
	}
	said += fmt.Sprint(" package ", v.Package.Ack, v.Package.NextAck, v.Package.Rel)
	for _, e := range v.Package.Events {
		said += fmt.Sprintf(" %d/%d/%s", e.Kind, e.Type, e.Key)
	}
	return said
}

func (p *pair) publish() {
	address, class := p.person(), session.Class(1+p.rand.IntN(3))
	kind := session.ContactPresence + session.Kind(p.rand.IntN(2))
	p.both("publish", func(s gateway.Store) string {
		return reason(s.Publish(p.t.Context(), address, &session.Event{Kind: kind, Type: session.Updated, Class: class, Key: address}))
	})
}

func (p *pair) update(what, id string, f func(*session.Session) (string, error)) {
	p.both(what, func(s gateway.Store) string {
		var said string
		err := s.Update(p.t.Context(), id, func(sess *session.Session) (err error) {
			said, err = f(sess)
			return err
		})
		if err != nil {
			said = ""
		}
		return said + reason(err)
	})
}

// tick lets time pass in all sessions that have something to do.
func (p *pair) tick() {
	for i, s := range p.stores {
		ids, err := s.Due(p.t.Context(), p.clk.Now(), 100)
		require.NoError(p.t, err)
		for _, id := range ids {
			err := s.Update(p.t.Context(), id, func(sess *session.Session) error {
				if sess.Tick(p.clk.Now()) {
					return gateway.ErrExpired
				}
				return nil
			})
			var ended *gateway.EndedError
			require.True(p.t, err == nil || errors.As(err, &ended), "store %d: %v", i, err)
		}
	}
}

// compareAtRest compares what is left once everybody has noticed everything.
func (p *pair) compareAtRest() {
	p.clk.Advance(7 * time.Minute)
	p.tick()
	counts := make([]string, len(p.stores))
	for i, s := range p.stores {
		var live []string
		for _, id := range p.ids {
			if _, err := s.Use(p.t.Context(), id); err == nil {
				live = append(live, id)
			}
		}
		applications, subscriptions, err := s.Count(p.t.Context())
		if i > 0 { // the model counts who is idle until it sweeps
			require.Len(p.t, live, applications)
		}
		counts[i] = fmt.Sprint(live, subscriptions, err)
	}
	require.Equal(p.t, []string{counts[0], counts[0], counts[0]}, counts)
	list := func(i int) []string {
		p.mu.Lock()
		defer p.mu.Unlock()
		var all []string
		for address := range p.watched[i] {
			all = append(all, address)
		}
		slices.Sort(all)
		return all
	}
	for i := range 2 {
		eventually(p.t, "the replicas watch the same people", func() bool { return slices.Equal(list(0), list(1+i)) })
	}
}

// reason puts an error of a store into words.
func reason(err error) string {
	var ended *gateway.EndedError
	if errors.As(err, &ended) {
		return fmt.Sprint("ended ", ended.Why, ended.Owner)
	}
	return fmt.Sprint(err)
}
