package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ucwagate/gateway/session"
)

// delivery is an entry of an inbox: events of an address. Without an address it
// says that more came than an inbox holds.
type delivery struct {
	Address string           `json:"a,omitempty"`
	Events  []*session.Event `json:"e,omitempty"`
}

// overflow is the entry that takes the place of too many.
const overflow = `{}`

// together is how many applications one run of a script serves, so that it does
// not keep Redis from others for long.
const together = 100

// Publish implements gateway.Store: two trips, however many applications watch.
// Events with a Revision that is not newer than the last of their address are
// known to the application; they only wake once more whoever waits for them.
// After an error those have the events whose part of Redis answered.
func (s *Store) Publish(ctx context.Context, address string, events ...*session.Event) error {
	if len(events) == 0 {
		return nil
	}
	replies, err := s.askAll(ctx, "reading who watches", []command{s.client.B().Hkeys().Key(s.keyOf("w", address)).Build()})
	if err != nil {
		return err
	}
	ids := texts(replies, 0)
	if len(ids) == 0 {
		return nil
	}
	calls, err := s.push(address, events, ids)
	if err != nil {
		return err
	}
	answered := make([]bool, len(calls))
	err = s.runEach(ctx, "publishing", calls, func(i int, m message) {
		answered[i] = true
		reply := list(m)
		for _, id := range texts(reply, 0) {
			s.leaveLater(ctx, id, address)
		}
		for _, lines := range texts(reply, 1) {
			s.woken(lines)
		}
	})
	for i, ok := range answered {
		if !ok {
			s.doubt(calls[i].args[beforeIDs:]...)
		}
	}
	return err
}

// beforeIDs is how many arguments of pushScript come before those that are ids.
const beforeIDs = 14

// push are the calls that leave events in the inboxes of applications.
func (s *Store) push(address string, events []*session.Event, ids []string) ([]call, error) {
	what := pushed{address: address, now: s.clock.Now()}
	var err error
	if what.since, what.entry, what.ms, what.seq, err = s.prepare(address, events, what.now); err != nil {
		return nil, err
	}
	return s.pushCalls(what, ids), nil
}

// pushed is an entry for inboxes; without an address it is for all of them.
type pushed struct {
	entry, address, ms, seq string
	since                   [session.Low + 1]string
	now                     time.Time
}

// pushCalls run pushScript for applications.
func (s *Store) pushCalls(p pushed, ids []string) []call {
	fixed := [beforeIDs]string{
		p.entry, p.address, p.ms, p.seq, micros(p.now), p.since[session.High], p.since[session.Medium], p.since[session.Low],
		strconv.Itoa(s.fold), strconv.Itoa(s.most), overflow, millis(s.life), s.replica, s.wakes,
	}
	var byShard [shards]*call
	var calls []call
	for _, id := range ids {
		shard := shardOf(id)
		c := byShard[shard]
		if c == nil {
			c = &call{script: pushScript, keys: []string{s.key(shard, "due")}, args: slices.Clone(fixed[:])}
			byShard[shard] = c
		}
		c.keys = append(c.keys, s.keyOf("app", id), s.keyOf("in", id), s.keyOf("rev", id), s.keyOf("wait", id))
		c.args = append(c.args, id)
		if len(c.args) == beforeIDs+together {
			calls, byShard[shard] = append(calls, *c), nil
		}
	}
	for _, c := range byShard {
		if c != nil {
			calls = append(calls, *c)
		}
	}
	return calls
}

// prepare returns the entry for events, since when those of each class are
// known, and the newest revision.
func (s *Store) prepare(address string, events []*session.Event, now time.Time) (since [session.Low + 1]string, entry, ms, seq string, err error) {
	d := delivery{Address: address, Events: make([]*session.Event, len(events))}
	var oldest [session.Low + 1]int64
	var newest [2]uint64
	for i, e := range events {
		known := e.Since
		if known == 0 || known > now.UnixNano() {
			known = now.UnixNano()
		}
		if e.Class <= session.Low && (oldest[e.Class] == 0 || known < oldest[e.Class]) {
			oldest[e.Class] = known
		}
		d.Events[i] = &session.Event{
			Kind: e.Kind, Type: e.Type, Class: e.Class, In: e.In, Key: e.Key, Group: e.Group, GroupRel: e.GroupRel,
			Since: known, Communication: e.Communication,
		}
		if r, ok := parseRevision(e.Revision); ok && (r[0] > newest[0] || r[0] == newest[0] && r[1] >= newest[1]) {
			newest, ms, seq = r, strconv.FormatUint(r[0], 10), strconv.FormatUint(r[1], 10)
		}
	}
	for class, t := range oldest {
		if t != 0 {
			since[class] = microsUp(time.Unix(0, t))
		}
	}
	b, err := json.Marshal(d)
	if err != nil {
		return since, "", "", "", fmt.Errorf("publishing: %w", err)
	}
	return since, string(b), ms, seq, nil
}

// parseRevision reads a revision of the form <number>-<number>. Any other orders
// nothing.
func parseRevision(text string) (r [2]uint64, ok bool) {
	a, b, found := strings.Cut(text, "-")
	var err, failed error
	r[0], err = strconv.ParseUint(a, 10, 64)
	r[1], failed = strconv.ParseUint(b, 10, 64)
	return r, found && err == nil && failed == nil
}

// leaveLater takes an application that has ended out of the index.
func (s *Store) leaveLater(ctx context.Context, id, address string) {
	ctx = context.WithoutCancel(ctx)
	s.begin(func() {
		if err := s.leave(ctx, s.watched, id, forever, []string{address}); err != nil {
			s.log.WarnContext(ctx, "an application that has ended could not be taken out of the index", "error", err)
		}
	})
}

// queue puts an entry of an inbox into the session's queues.
func (s *Store) queue(sess *session.Session, raw string, now time.Time) {
	d := s.events.decode(raw)
	if d.Address == "" {
		sess.Overflow(now)
		return
	}
	sess.Notify(now, d.Address, d.Events...)
}

// decodedEvents are entries that were decoded not long ago. The same stands in
// the inboxes of many, whose events are then the same as well, and encoded once.
type decodedEvents struct {
	mu    sync.Mutex
	byRaw map[string]delivery
}

const maxDecodedEvents = 1024

func (c *decodedEvents) decode(raw string) delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.byRaw[raw]; ok {
		return d
	}
	var d delivery
	if err := json.Unmarshal([]byte(raw), &d); err != nil {
		d = delivery{} // whatever it was, it is lost: the client is to look anew
	}
	if c.byRaw == nil || len(c.byRaw) >= maxDecodedEvents {
		c.byRaw = make(map[string]delivery)
	}
	c.byRaw[raw] = d
	return d
}
