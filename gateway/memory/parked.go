package memory

import (
	"slices"
	"time"

	"ucwagate/gateway"
	"ucwagate/gateway/parking"
	"ucwagate/gateway/session"
)

// parked is a P-GET that waits.
type parked struct {
	parking.Waiter
	store    *Store
	entry    *entry // nil if the application was not there
	instance string
}

// Park implements gateway.Store.
func (s *Store) Park(id, instance string) gateway.Parked {
	p := &parked{Waiter: parking.New(s.clock), store: s, instance: instance}
	s.mu.RLock()
	e, err := s.find(id, s.clock.Now())
	s.mu.RUnlock()
	if err != nil {
		p.Signal()
		return p
	}
	p.entry = e
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting.Add(1)
	e.parked = append(e.parked, p)
	if e.session == nil {
		p.Signal()
	}
	return p
}

// Close implements gateway.Parked.
func (p *parked) Close() {
	e := p.entry
	if !p.Stop() || e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.Index(e.parked, p); i >= 0 {
		e.parked = slices.Delete(e.parked, i, i+1)
	}
	if len(e.parked) == 0 {
		e.parked = nil
	}
	e.used.Store(p.store.clock.Now().UnixNano())
	e.waiting.Add(-1)
}

// wake passes on what the session said. The caller holds e.mu.
func (e *entry) wake(wakes []session.Wake, now time.Time) {
	for _, w := range wakes {
		for _, p := range e.parked {
			if p.instance == w.Instance {
				p.By(w.At, now)
			}
		}
	}
}
