package session_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/gateway/session"
)

// reference is an event channel as slow and plain as can be: a list of events
// and three numbers.
type reference struct {
	queue []*session.Event
	next  int64
	sent  int64 // 0: none
	last  string
	limit int
}

func (r *reference) add(e *session.Event) {
	for i := len(r.queue) - 1; i >= 0; i-- {
		old := r.queue[i]
		if old.Kind != e.Kind || old.Key != e.Key || old.In != e.In || old.Group != e.Group {
			continue
		}
		without := slices.Delete(slices.Clone(r.queue), i, i+1)
		switch [2]session.Type{old.Type, e.Type} {
		case [2]session.Type{session.Added, session.Deleted}:
			r.queue = without
			return
		case [2]session.Type{session.Updated, session.Updated}, [2]session.Type{session.Updated, session.Deleted}:
			r.queue = append(without, e)
			return
		case [2]session.Type{session.Updated, session.Added}:
			r.queue = append(without, old)
			return
		case [2]session.Type{session.Deleted, session.Added}:
			r.queue = append(r.queue, e)
			r.bound()
			return
		}
		return // the older one says it
	}
	r.queue = append(r.queue, e)
	r.bound()
}

func (r *reference) bound() {
	if len(r.queue) > r.limit {
		r.queue = nil
		r.next++
	}
}

// client is a client of one channel that does what the documentation asks of
// it: it repeats what got no answer and follows the links of what did.
type client struct {
	instance string
	ack      int64
	ticket   uint64
	priority int
	arrived  time.Time
	until    time.Time
	ref      reference
	// dead says that its parked P-GET is held by nobody any more, which the
	// session was not told; waited is for how long it was parked.
	dead   bool
	waited time.Duration
}

type channelMachine struct {
	s       *session.Session
	now     time.Time
	clients []*client
	marks   int
	backs   int // how often the clock was set back
}

const eventLimit = 40

func TestChannelsDeliverEveryEventOnceInOrderWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &channelMachine{now: start}
		m.s = session.New(m.now, session.Limits{Events: eventLimit, SoftReset: 7 * time.Minute, Expiry: 1e6 * time.Hour})
		for _, name := range []string{"a", "b"} {
			created, err := m.s.OpenChannel(name, m.now)
			require.NoError(t, err)
			require.True(t, created)
			m.clients = append(m.clients, &client{instance: name, ack: 1, ref: reference{next: 1, limit: eventLimit}})
		}
		t.Repeat(map[string]func(*rapid.T){
			"":                m.check,
			"events":          m.events,
			"P-GET":           m.arrive,
			"wrong ack":       m.wrong,
			"connection lost": m.leave,
			"process killed":  m.kill,
			"time passes":     m.pass,
			"clock set back":  m.back,
			"stored and read": m.store,
			"failed change":   m.fail,
			"drain":           m.drain,
		})
		m.finish(t)
	})
}

func (m *channelMachine) pick(t *rapid.T) *client {
	return rapid.SampledFrom(m.clients).Draw(t, "client")
}

func (m *channelMachine) events(t *rapid.T) {
	batch := make([]*session.Event, rapid.IntRange(1, 12).Draw(t, "events"))
	for i := range batch {
		m.marks++
		batch[i] = &session.Event{
			Kind: session.Contact, In: session.In(rapid.IntRange(0, 1).Draw(t, "in")),
			Type:  session.Type(rapid.IntRange(1, 3).Draw(t, "type")),
			Class: session.Class(rapid.IntRange(1, 3).Draw(t, "class")),
			Key:   fmt.Sprint(rapid.IntRange(0, 30).Draw(t, "key")), GroupRel: fmt.Sprint(m.marks),
		}
		for _, c := range m.clients {
			c.ref.add(batch[i])
		}
	}
	m.s.Enqueue(m.now, batch...)
	for _, w := range m.s.TakeWakes(m.now) {
		require.False(t, w.At.Before(m.now))
		for _, c := range m.clients {
			if c.instance == w.Instance && w.At.Before(c.until) {
				c.until = w.At
			}
		}
	}
}

func (m *channelMachine) arrive(t *rapid.T) {
	c := m.pick(t)
	poll := session.Poll{Ack: c.ack, Priority: rapid.IntRange(0, 2).Draw(t, "priority"), Medium: time.Duration(rapid.IntRange(0, 60).Draw(t, "medium")) * time.Second}
	parked := c.ticket
	v, err := m.s.Arrive(c.instance, poll, m.now)
	require.NoError(t, err)
	if c.dead && v.Replaced {
		require.Less(t, poll.Priority, c.priority)
		still := time.Duration(m.backs) * 5 * time.Second // the session's time stood
		require.Less(t, c.waited, session.DefaultTimeout+time.Minute+still, "who is dead keeps nobody out for long")
		return
	}
	if parked != 0 && c.ack == c.ref.next {
		if poll.Priority < c.priority {
			require.Equal(t, session.Verdict{Replaced: true}, v)
			return
		}
		require.Equal(t, session.Verdict{Replaced: true}, m.s.Look(c.instance, parked, m.now))
		c.ticket = 0
	}
	if v.Ticket != 0 {
		c.ticket, c.priority, c.arrived, c.until = v.Ticket, poll.Priority, m.now, v.Until
		c.dead, c.waited = false, 0
	}
	m.answer(t, c, poll.Ack, v)
}

// answer checks a verdict on a P-GET for ack and lets the client have it, or
// lets it be lost.
func (m *channelMachine) answer(t *rapid.T, c *client, ack int64, v session.Verdict) {
	r := &c.ref
	if r.sent != 0 && ack == r.sent+1 {
		r.sent = 0
	}
	p := v.Package
	if p == nil {
		require.Equal(t, r.next, ack, "only the next package is waited for")
		require.False(t, v.Replaced)
		require.Zero(t, r.sent)
		return
	}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	switch {
	case r.sent != 0 && ack == r.sent:
		require.Equal(t, r.last, string(text), "the same package again")
	case ack != r.next:
		first := r.next
		if r.sent != 0 {
			first = r.sent
		}
		require.Equal(t, session.Resync, p.Rel)
		require.Equal(t, first, p.NextAck)
		require.Empty(t, p.Events)
	default:
		require.Contains(t, []session.LinkRel{session.Next, session.Resume}, p.Rel)
		require.Equal(t, []int64{ack, ack + 1}, []int64{p.Ack, p.NextAck})
		require.Equal(t, marks(r.queue), marks(p.Events))
		r.queue, r.sent, r.last = nil, r.next, string(text)
		r.next++
	}
	if rapid.Bool().Draw(t, "answer arrives") {
		c.ack = p.NextAck
	}
}

func (m *channelMachine) wrong(t *rapid.T) {
	c := m.pick(t)
	ack := rapid.SampledFrom([]int64{-1, 0, c.ack - 2, c.ack + 2, c.ack + 100}).Draw(t, "ack")
	if ack == c.ref.next || c.ref.sent != 0 && (ack == c.ref.sent || ack == c.ref.sent+1) {
		return
	}
	v, err := m.s.Arrive(c.instance, session.Poll{Ack: ack}, m.now)
	require.NoError(t, err)
	require.NotNil(t, v.Package)
	require.Equal(t, session.Resync, v.Package.Rel)
	require.Equal(t, m.s.Position(c.instance), v.Package.NextAck)
}

func (m *channelMachine) leave(t *rapid.T) {
	if c := m.pick(t); c.ticket != 0 {
		m.s.Leave(c.instance, c.ticket, m.now)
		c.ticket = 0
	}
}

// back sets the clock back; timers run for as long as they would have.
func (m *channelMachine) back(t *rapid.T) {
	by := -time.Duration(rapid.IntRange(0, 4000).Draw(t, "back")) * time.Second
	m.now = m.now.Add(by)
	m.backs++
	for _, c := range m.clients {
		c.until = c.until.Add(by)
	}
}

// kill lets the process end that holds a P-GET.
func (m *channelMachine) kill(t *rapid.T) {
	if c := m.pick(t); c.ticket != 0 {
		c.ticket, c.dead = 0, true
	}
}

func (m *channelMachine) drain(t *rapid.T) {
	if c := m.pick(t); c.ticket != 0 {
		ack := c.ack
		v := m.s.Release(c.instance, c.ticket, m.now)
		require.NotNil(t, v.Package)
		c.ticket = 0
		m.answer(t, c, ack, v)
	}
}

// pass lets time go by from wake to wake.
func (m *channelMachine) pass(t *rapid.T) {
	d := time.Duration(rapid.IntRange(0, 600).Draw(t, "seconds")) * time.Second
	end := m.now.Add(d)
	m.s.Tick(m.now) // as happens every second: a clock that was set back is noticed
	for _, c := range m.clients {
		c.waited += d
	}
	for {
		var first *client
		for _, c := range m.clients {
			if c.ticket != 0 && !c.until.After(end) && (first == nil || c.until.Before(first.until)) {
				first = c
			}
		}
		if first == nil {
			break
		}
		if first.until.After(m.now) {
			m.now = first.until
		}
		m.look(t, first)
	}
	m.now = end
	m.s.Tick(m.now)
}

func (m *channelMachine) look(t *rapid.T, c *client) {
	ack := c.ack
	v := m.s.Look(c.instance, c.ticket, m.now)
	if v.Package == nil {
		require.False(t, v.Replaced)
		require.True(t, v.Until.After(m.now), "a wake that changes nothing comes again later")
		c.until = v.Until
		return
	}
	c.ticket = 0
	m.answer(t, c, ack, v)
}

func (m *channelMachine) store(t *rapid.T) {
	m.s = stored(t, m.s)
}

func (m *channelMachine) fail(t *rapid.T) {
	wanted := errors.New("wanted")
	err := m.s.Try(func(s *session.Session) error {
		s.Enqueue(m.now, event(session.Contact, session.Added, session.High, "0"), event(session.Contact, session.Deleted, session.Low, "1"))
		for _, c := range m.clients {
			_, _ = s.Arrive(c.instance, session.Poll{Ack: c.ack, Low: time.Hour}, m.now)
			s.Release(c.instance, c.ticket, m.now)
		}
		_, _ = s.Subscribe("x", []string{"ana@contoso.com"}, time.Hour, m.now)
		s.CloseChannel("a", m.now)
		return wanted
	})
	require.ErrorIs(t, err, wanted)
	entered, left := m.s.TakeInterest()
	require.Empty(t, entered)
	require.Empty(t, left)
}

func (m *channelMachine) check(t *rapid.T) {
	for _, c := range m.clients {
		first := c.ref.next
		if c.ref.sent != 0 {
			first = c.ref.sent
		}
		require.Equal(t, first, m.s.Position(c.instance))
		if c.ticket != 0 {
			require.False(t, c.until.After(maxTime(m.now, c.arrived).Add(session.DefaultTimeout+10*time.Second)), "nobody waits longer than asked")
		}
	}
}

// finish lets every client catch up: what was queued must come.
func (m *channelMachine) finish(t *rapid.T) {
	m.s.Tick(m.now)
	m.now = m.now.Add(5 * time.Minute) // nobody makes way for the dead any more
	for _, c := range m.clients {
		for range 5 {
			if c.ticket == 0 {
				v, err := m.s.Arrive(c.instance, session.Poll{Ack: c.ack}, m.now)
				require.NoError(t, err)
				if c.ticket = v.Ticket; c.ticket == 0 {
					m.answer(t, c, c.ack, v)
					c.ack = v.Package.NextAck
					continue
				}
			}
			v := m.s.Release(c.instance, c.ticket, m.now)
			c.ticket = 0
			m.answer(t, c, c.ack, v)
			c.ack = v.Package.NextAck
		}
		require.Empty(t, c.ref.queue)
	}
}

func marks(events []*session.Event) []string {
	list := []string{}
	for _, e := range events {
		list = append(list, e.GroupRel+" "+e.Type.String()+" "+e.Key)
	}
	return list
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
