package redisstore

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"ucwagate/gateway"
	"ucwagate/gateway/parking"
	"ucwagate/graphsrc/clock"
)

// places are the P-GETs that wait in this replica.
type places struct {
	mu      sync.RWMutex
	byID    map[string][]*parked
	doubted map[string]struct{} // applications whose P-GETs may have missed a wake
	asking  bool                // Redis is being asked for them
}

// parked is one of them.
type parked struct {
	parking.Waiter
	store        *Store
	id, instance string
}

// Park implements gateway.Store. The other replicas are told of it with the
// Update that lets the session know: before, nothing can have happened to it.
func (s *Store) Park(id, instance string) gateway.Parked {
	p := &parked{Waiter: parking.New(s.clock), store: s, id: id, instance: instance}
	s.places.mu.Lock()
	s.places.byID[id] = append(s.places.byID[id], p)
	s.places.mu.Unlock()
	if e := s.entries.get(id); e == nil || !s.trusts(e, s.clock.Now()) {
		s.begin(func() {
			_, err := s.touch(s.ctx, id, s.clock.Now(), false)
			var ended *gateway.EndedError
			if errors.As(err, &ended) {
				p.Signal()
			}
		})
	}
	return p
}

// Close implements gateway.Parked.
func (p *parked) Close() {
	if !p.Stop() {
		return
	}
	s := p.store
	if e := s.entries.get(p.id); e != nil {
		e.use(s.clock.Now())
	}
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	here := s.places.byID[p.id]
	if i := slices.Index(here, p); i >= 0 {
		here = slices.Delete(here, i, i+1)
	}
	if len(here) == 0 {
		delete(s.places.byID, p.id)
		delete(s.places.doubted, p.id)
		return
	}
	s.places.byID[p.id] = here
}

// count is how many wait for what happens to an application.
func (l *places) count(id string) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.byID[id])
}

// ids are the applications for which any waits.
func (l *places) ids() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	ids := make([]string, 0, len(l.byID))
	for id := range l.byID {
		ids = append(ids, id)
	}
	return ids
}

// signal lets all of an application look again.
func (l *places) signal(id string) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.byID[id] {
		p.Signal()
	}
}

// by lets those of a channel look at t at the latest.
func (l *places) by(id, instance string, t, now time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.byID[id] {
		if p.instance == instance {
			p.By(t, now)
		}
	}
}

// doubt notes that the P-GETs of applications may have missed a wake: the answer
// that would have said so was lost. They look again once Redis answers, and not
// before: while it does not, those of one application would only wake each other.
func (s *Store) doubt(ids ...string) {
	if s.places.doubt(ids) {
		s.begin(s.ascertain)
	}
}

// doubt notes those for which any waits, and says whether nobody asks for them yet.
func (l *places) doubt(ids []string) (ask bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if len(l.byID[id]) > 0 {
			l.doubted[id] = struct{}{}
		}
	}
	ask = len(l.doubted) > 0 && !l.asking
	l.asking = l.asking || ask
	return ask
}

// doubtful are those that are still to be asked for. Without any, the asking is over.
func (l *places) doubtful() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking = len(l.doubted) > 0
	return slices.Collect(maps.Keys(l.doubted))
}

// assure is told that Redis has answered for an application.
func (l *places) assure(id string) {
	l.mu.RLock()
	_, doubted := l.doubted[id]
	l.mu.RUnlock()
	if !doubted {
		return
	}
	l.mu.Lock()
	delete(l.doubted, id)
	l.mu.Unlock()
	l.signal(id)
}

// ascertain asks Redis for applications whose P-GETs may have missed a wake, until
// it has answered for all.
func (s *Store) ascertain() {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if !s.pause(pause/2 + rand.N(pause)) { //nolint:gosec // no secret
			return
		}
		ids := s.places.doubtful()
		if len(ids) == 0 {
			return
		}
		for part := range slices.Chunk(ids, atOnce) {
			if err := s.noteSome(s.ctx, part, s.clock.Now()); err != nil && s.ctx.Err() == nil {
				s.log.DebugContext(s.ctx, "whether P-GETs have missed a wake is asked again", "error", err)
			}
		}
	}
}

// Many who look again at once are spread over so much time.
const (
	many   = 200
	spread = 3 * time.Second
)

// wakeAll lets everybody look again.
func (l *places) wakeAll(now time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	crowd := len(l.byID) > many
	for _, here := range l.byID {
		at := now
		if crowd {
			at = now.Add(rand.N(spread)) //nolint:gosec // no secret
		}
		for _, p := range here {
			p.By(at, now)
		}
	}
}

// A wake is a line "<when> <application> <instance>", the last escaped. Ids of
// applications hold no spaces.

func wakeLine(id, instance string, at time.Time) string {
	return micros(at) + " " + id + " " + url.QueryEscape(instance) + "\n"
}

// woken takes in lines of wakes.
func (s *Store) woken(lines string) {
	now := s.clock.Now()
	for line := range strings.Lines(lines) {
		words := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(words) < 3 {
			continue
		}
		if instance, err := url.QueryUnescape(words[2]); err == nil {
			s.places.by(words[1], instance, instant(words[0]), now)
		}
	}
}

// begin runs f besides, unless the store is closed.
func (s *Store) begin(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(f)
	}
}

// later runs f after a while of real time, unless the store is closed before.
func (s *Store) later(d time.Duration, f func()) {
	s.begin(func() {
		if s.pause(d) {
			f()
		}
	})
}

// pause waits in real time and reports whether it has passed before the store was
// closed.
func (s *Store) pause(d time.Duration) bool { return clock.Wait(s.ctx, clock.System(), d) }
