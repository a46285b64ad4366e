// Package memory is the engine of gateway.Store that keeps everything in the
// memory of one process. What it cannot do: share state with another replica,
// or survive a restart.
//
// Locks, in the order in which one goroutine may take them:
//
//	Store.mu        who is there; held for look-ups only
//	entry.mu        one session; held while a function of Update runs
//	shard.mu        who watches an address; held while Hooks.Interest is told
//	deadlines.mu    when sessions have something to do
//	claims.mu       what one of several has taken upon itself
//	parking.Waiter  one waiting P-GET
//
// It must never know what an application means to the protocol, only who owns
// it and when it was last used; what its session means is the session's.
package memory

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

// Options are what New needs. Zero durations and sizes take the defaults.
type Options struct {
	Clock clock.Clock
	// Idle is how long an application lives without being used (default 1 h).
	// One that has a parked P-GET is in use.
	Idle time.Duration
	// Tombstone is how long the store remembers why an application ended
	// (default 1 h), so that its client is told.
	Tombstone time.Duration
	// Max is the most applications kept at once (default 100,000). Tombstones
	// are bounded by the same number.
	Max int
	// Session bounds the session of each application.
	Session session.Limits
}

// Store is the engine. It is safe for concurrent use.
type Store struct {
	clock     clock.Clock
	idle      time.Duration
	tombstone time.Duration
	max       int
	limits    session.Limits

	mu     sync.RWMutex
	live   map[string]*entry
	owners map[string]*list.List // owner → live entries, oldest in front
	dead   map[string]tombstone
	graves []grave // ids in dead, in the order of their ends
	timer  clock.Timer
	closed bool

	subscriptions atomic.Int64 // of all sessions

	interest  interest // in addresses
	available interest // of owners: which applications make them available
	deadlines deadlines
	claims    claims
}

type entry struct {
	app     gateway.Application
	used    atomic.Int64 // Unix nanoseconds of the last use
	waiting atomic.Int32 // parked P-GETs
	elem    *list.Element

	mu        sync.Mutex
	session   *session.Session // nil once the application has ended
	parked    []*parked
	available bool // it is in Store.available
	// subscriptions is what it adds to Store.subscriptions.
	subscriptions int

	due  int64 // deadlines.mu: when it falls due, Unix nanoseconds
	slot int   // deadlines.mu: place in the heap; -1: none
}

type tombstone struct {
	why   gateway.Ended
	owner string
	until time.Time
}

type grave struct {
	id    string
	until time.Time
}

var _ gateway.Store = (*Store)(nil)

// New returns an empty store. It forgets idle applications by itself until it
// is closed.
func New(o Options) (*Store, error) {
	if o.Clock == nil {
		return nil, errors.New("a memory store needs a clock")
	}
	s := &Store{
		clock: o.Clock, idle: o.Idle, tombstone: o.Tombstone, max: o.Max, limits: o.Session,
		live: make(map[string]*entry), owners: make(map[string]*list.List), dead: make(map[string]tombstone),
	}
	if s.idle <= 0 {
		s.idle = time.Hour
	}
	if s.tombstone <= 0 {
		s.tombstone = time.Hour
	}
	if s.max <= 0 {
		s.max = 100_000
	}
	s.interest.init()
	s.available.init()
	s.timer = s.clock.AfterFunc(s.sweepEvery(), s.sweep)
	return s, nil
}

// Open implements gateway.Store.
func (s *Store) Open(h gateway.Hooks) { s.interest.tell, s.available.tell = h.Interest, h.Available }

// Close stops the store's own work.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
}

// Create implements gateway.Store.
func (s *Store) Create(_ context.Context, a gateway.Application, limit int) (gateway.Application, bool, error) {
	var ended []*entry
	defer func() { s.retire(ended) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if same := s.sameEndpoint(a); same != nil {
		switch {
		case s.expired(same, now):
			s.end(same, gateway.EndedIdle, now)
		case same.app.Culture == a.Culture && same.app.UserAgent == a.UserAgent && same.app.Type == a.Type:
			same.used.Store(now.UnixNano())
			return same.app, false, nil
		default:
			s.remove(same)
		}
		ended = append(ended, same)
	}
	mine := s.owners[a.Owner]
	for mine != nil && limit > 0 && mine.Len() >= limit {
		oldest := mine.Front().Value.(*entry)
		s.end(oldest, gateway.EndedTooMany, now)
		ended = append(ended, oldest)
	}
	if len(s.live) >= s.max {
		return gateway.Application{}, false, gateway.ErrFull
	}
	// The list may have been dropped when its last entry went.
	mine = s.owners[a.Owner]
	if mine == nil {
		mine = list.New()
		s.owners[a.Owner] = mine
	}
	e := &entry{app: a, session: session.New(now, s.limits), slot: -1}
	e.used.Store(now.UnixNano())
	e.elem = mine.PushBack(e)
	s.live[a.ID] = e
	return a, true, nil
}

// Use implements gateway.Store. It takes the lock for reading only: this is
// what every request of every client does.
func (s *Store) Use(_ context.Context, id string) (gateway.Application, error) {
	now := s.clock.Now()
	s.mu.RLock()
	e, err := s.find(id, now)
	s.mu.RUnlock()
	if err != nil {
		return gateway.Application{}, err
	}
	e.used.Store(now.UnixNano())
	return e.app, nil
}

// find returns the live application id, or *gateway.EndedError. The caller
// holds mu.
func (s *Store) find(id string, now time.Time) (*entry, error) {
	e, ok := s.live[id]
	switch t, buried := s.dead[id]; {
	case ok && !s.expired(e, now):
		return e, nil
	case ok:
		return nil, &gateway.EndedError{Why: gateway.EndedIdle, Owner: e.app.Owner}
	case buried && now.Before(t.until):
		return nil, &gateway.EndedError{Why: t.why, Owner: t.owner}
	}
	return nil, &gateway.EndedError{Why: gateway.EndedUnknown}
}

// Delete implements gateway.Store.
func (s *Store) Delete(_ context.Context, id string) error {
	s.mu.Lock()
	e, ok := s.live[id]
	if ok {
		s.remove(e)
	}
	s.mu.Unlock()
	if ok {
		s.retire([]*entry{e})
	}
	return nil
}

// Owned implements gateway.Store.
func (s *Store) Owned(_ context.Context, owner string) ([]gateway.Application, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	mine := s.owners[owner]
	if mine == nil {
		return nil, nil
	}
	now := s.clock.Now()
	apps := make([]gateway.Application, 0, mine.Len())
	for el := mine.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*entry); !s.expired(e, now) {
			apps = append(apps, e.app)
		}
	}
	return apps, nil
}

// Count implements gateway.Store.
func (s *Store) Count(context.Context) (applications, subscriptions int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.live), int(s.subscriptions.Load()), nil
}

func (s *Store) sameEndpoint(a gateway.Application) *entry {
	mine := s.owners[a.Owner]
	if mine == nil {
		return nil
	}
	for el := mine.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*entry); e.app.EndpointID == a.EndpointID {
			return e
		}
	}
	return nil
}

func (s *Store) expired(e *entry, now time.Time) bool {
	return e.waiting.Load() == 0 && now.UnixNano()-e.used.Load() >= int64(s.idle)
}

// end removes e and remembers why. The caller holds mu, and retires e once it
// has let go of it.
func (s *Store) end(e *entry, why gateway.Ended, now time.Time) {
	s.remove(e)
	until := now.Add(s.tombstone)
	if len(s.graves) >= s.max {
		delete(s.dead, s.graves[0].id)
		s.graves = s.graves[1:]
	}
	s.dead[e.app.ID] = tombstone{why: why, owner: e.app.Owner, until: until}
	s.graves = append(s.graves, grave{id: e.app.ID, until: until})
}

func (s *Store) remove(e *entry) {
	delete(s.live, e.app.ID)
	mine := s.owners[e.app.Owner]
	mine.Remove(e.elem)
	if mine.Len() == 0 {
		delete(s.owners, e.app.Owner)
	}
}

// sweepEvery is how often idle applications and old tombstones are cleared
// away. Expiry itself does not wait for it: Use looks at the time.
func (s *Store) sweepEvery() time.Duration { return max(min(s.idle, s.tombstone)/10, time.Second) }

func (s *Store) sweep() {
	var ended []*entry
	defer func() { s.retire(ended) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := s.clock.Now()
	for _, e := range s.live {
		if s.expired(e, now) {
			s.end(e, gateway.EndedIdle, now)
			ended = append(ended, e)
		}
	}
	for len(s.graves) > 0 && !now.Before(s.graves[0].until) {
		delete(s.dead, s.graves[0].id)
		s.graves = s.graves[1:]
	}
	s.timer = s.clock.AfterFunc(s.sweepEvery(), s.sweep)
}
