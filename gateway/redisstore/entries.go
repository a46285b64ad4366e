package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

// entries are the applications that this replica has had to do with.
type entries struct {
	mu   sync.RWMutex
	byID map[string]*entry
}

// entry is one of them.
type entry struct {
	id       string
	app      gateway.Application
	used     atomic.Int64  // Unix nanoseconds of the last use here
	noted    atomic.Int64  // of the last use that Redis was told of
	verified atomic.Int64  // when Redis last said that it is live
	heard    atomic.Uint64 // the generation of the link then
	taken    atomic.Bool   // Due returned it, and nobody has updated it since

	turn chan struct{} // whoever has put a value in may touch what follows
	// session is what Redis held as state when it was asked last; nil: not
	// known. version is the number in that, stored its stored form.
	session *session.Session
	version int64
	state   string
	stored  []byte
	at      atomic.Int64 // when the session was used last
	// strays are addresses that were entered in the index, perhaps in vain, with
	// versions up to strayed.
	strays  []string
	strayed int64
}

func (s *entries) get(id string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byID[id]
}

// put returns the entry of a, which is made if there is none.
func (s *entries) put(a gateway.Application) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[a.ID]
	if e == nil {
		e = &entry{id: a.ID, app: a, turn: make(chan struct{}, 1)}
		s.byID[a.ID] = e
	}
	return e
}

func (s *entries) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

func (s *entries) all() []*entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.byID))
}

func (e *entry) use(now time.Time) { atLeast(&e.used, now.UnixNano()) }

func atLeast(v *atomic.Int64, n int64) {
	for old := v.Load(); old < n && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}

// trusts says whether e is live as far as this replica knows: it would have
// heard otherwise, or cannot hear, but has heard not long ago.
func (s *Store) trusts(e *entry, now time.Time) bool {
	if now.UnixNano()-e.used.Load() >= int64(s.idle) && s.places.count(e.id) == 0 {
		return false // another replica may know better
	}
	return s.link.trusts(e, now, s.trust)
}

// What the first number of a reply says.
const (
	gone  = 0
	live  = 1
	other = 2
)

// touch asks Redis for an application and, if use, notes that it is used.
func (s *Store) touch(ctx context.Context, id string, now time.Time, use bool) (*entry, error) {
	for {
		mark := s.link.mark()
		c := s.touchCall(id, now, use)
		m, err := s.run(ctx, "reading an application", c)
		if err != nil {
			return nil, err
		}
		reply := list(m)
		switch number(reply, 0) {
		case gone:
			s.lose(id)
			return nil, buried(text(reply, 1), s.clock.Now())
		case live:
			app, err := decodeApplication(text(reply, 1))
			if err != nil {
				return nil, err
			}
			e := s.entries.put(app)
			s.touched(e, reply, c, mark, now)
			return e, nil
		}
		if err := s.end(ctx, id, ending{why: gateway.EndedIdle, idle: true}); err != nil {
			return nil, err
		}
		now = s.clock.Now() // at which it was in use: by the time that was given it is idle for ever
	}
}

// touched takes in the reply to a touchCall that found e.
func (s *Store) touched(e *entry, reply []message, c call, mark mark, now time.Time) {
	used := instant(c.args[7]).UnixNano()
	atLeast(&e.used, used)
	atLeast(&e.noted, used)
	s.link.verified(e, mark, now)
	if number(reply, 2) == 0 {
		s.places.signal(e.id) // nobody could wake them meanwhile
	}
	s.places.assure(e.id)
}

// touchCall asks whether an application is live and tells how it is used here.
func (s *Store) touchCall(id string, now time.Time, use bool) call {
	var used int64
	if e := s.entries.get(id); e != nil {
		used = e.used.Load()
	}
	replica, latest := "", used
	if use {
		latest = max(used, now.UnixNano())
	}
	if s.places.count(id) > 0 {
		replica, latest = s.replica, max(used, now.UnixNano())
		used = latest
	}
	return call{
		script: touchScript,
		keys:   []string{s.keyOf("app", id), s.key(shardOf(id), "idle"), s.keyOf("dead", id), s.keyOf("wait", id), s.keyOf("in", id), s.keyOf("rev", id)},
		args: []string{
			id, micros(now), strconv.FormatInt(s.idle.Microseconds(), 10), strconv.FormatInt(used/1000, 10),
			replica, micros(s.waitsUntil(now)), millis(s.life), strconv.FormatInt(latest/1000, 10),
		},
	}
}

// waitsUntil is how long a replica is told of what happens to an application
// unless it says again that P-GETs wait there.
func (s *Store) waitsUntil(now time.Time) time.Time { return now.Add(4 * s.every) }

// ending is how an application ends. Without a reason it leaves no trace.
type ending struct {
	why   gateway.Ended
	idle  bool   // only if it is idle
	state string // only if that is still its state; empty: whatever that is
}

// end ends an application and returns what is said of it from now on: always an
// *gateway.EndedError, unless it is not as it was to be, or Redis fails.
func (s *Store) end(ctx context.Context, id string, how ending) error {
	now := s.clock.Now()
	idle, used, tomb := "0", int64(0), ""
	if how.idle {
		idle = strconv.FormatInt(s.idle.Microseconds(), 10)
	}
	if e := s.entries.get(id); e != nil {
		used = e.used.Load()
	}
	if s.places.count(id) > 0 {
		used = now.UnixNano()
	}
	owner := ""
	if how.why != gateway.EndedUnknown {
		var err error
		if owner, err = s.ownerOf(ctx, id); err != nil {
			return err
		}
		tomb = fmt.Sprintf("%d %s %s", how.why, micros(now.Add(s.tombstone)), owner)
	}
	shard := shardOf(id)
	m, err := s.run(ctx, "ending an application", call{
		script: endScript,
		keys: []string{
			s.keyOf("app", id), s.keyOf("in", id), s.keyOf("rev", id), s.keyOf("wait", id), s.keyOf("dead", id),
			s.key(shard, "due"), s.key(shard, "idle"), s.key(shard, "subs"),
		},
		args: []string{id, micros(now), idle, strconv.FormatInt(used/1000, 10), tomb, millis(4*s.tombstone + time.Hour), s.ended, how.state},
	})
	if err != nil {
		return err
	}
	reply := list(m)
	switch number(reply, 0) {
	case other:
		return nil
	case gone:
		s.lose(id)
		return buried(text(reply, 1), now)
	}
	s.lose(id)
	s.release(context.WithoutCancel(ctx), id, text(reply, 1), text(reply, 2))
	return &gateway.EndedError{Why: how.why, Owner: owner}
}

// ownerOf returns the owner of a live application, or nothing.
func (s *Store) ownerOf(ctx context.Context, id string) (string, error) {
	if e := s.entries.get(id); e != nil {
		return e.app.Owner, nil
	}
	replies, err := s.askAll(ctx, "reading an application", []command{s.client.B().Hget().Key(s.keyOf("app", id)).Field("rec").Build()})
	if err != nil || text(replies, 0) == "" {
		return "", err
	}
	app, err := decodeApplication(text(replies, 0))
	return app.Owner, err
}

// lose forgets an application that has ended, and tells its P-GETs.
func (s *Store) lose(id string) {
	s.entries.drop(id)
	s.places.signal(id)
}

// release takes what an application that has ended held out of the indexes. What
// fails here is made good by whoever meets it.
func (s *Store) release(ctx context.Context, id, record, stored string) {
	app, err := decodeApplication(record)
	if err == nil {
		s.forget(ctx, app.Owner, id)
		var sess session.Session
		if err = sess.UnmarshalBinary([]byte(stored)); err == nil {
			err = s.leave(ctx, s.watched, id, forever, sess.Watched())
			if err == nil && sess.Available() {
				err = s.leave(ctx, s.present, id, forever, []string{app.Owner})
			}
		}
	}
	if err != nil {
		s.log.WarnContext(ctx, "what an application held could not be released at once", "application", id, "error", err)
	}
}

// forget takes applications off the list of their owner.
func (s *Store) forget(ctx context.Context, owner string, ids ...string) {
	_, err := s.run(ctx, "forgetting an application", call{
		script: forgetScript, keys: []string{s.keyOf("own", owner)}, args: append([]string{millis(s.life)}, ids...),
	})
	if err != nil {
		s.log.WarnContext(ctx, "an application could not be taken off its owner's list", "error", err)
	}
}

// buried returns what a tombstone says at now; an empty one: nothing is known.
func buried(tomb string, now time.Time) error {
	words := strings.SplitN(tomb, " ", 3)
	if len(words) < 3 || !now.Before(instant(words[1])) {
		return &gateway.EndedError{Why: gateway.EndedUnknown}
	}
	why, _ := strconv.Atoi(words[0])
	return &gateway.EndedError{Why: gateway.Ended(why), Owner: words[2]}
}

func decodeApplication(record string) (a gateway.Application, err error) {
	if err := json.Unmarshal([]byte(record), &a); err != nil {
		return a, fmt.Errorf("reading the record of an application: %w", err)
	}
	return a, nil
}
