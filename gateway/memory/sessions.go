package memory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

// Update implements gateway.Store.
func (s *Store) Update(_ context.Context, id string, f func(*session.Session) error) error {
	s.mu.RLock()
	e, err := s.find(id, s.clock.Now())
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	ended, err := s.run(e, f)
	switch {
	case ended:
		s.mu.RLock()
		defer s.mu.RUnlock()
		if _, err = s.find(id, s.clock.Now()); err == nil {
			err = &gateway.EndedError{Why: gateway.EndedUnknown}
		}
		return err
	case errors.Is(err, gateway.ErrExpired):
		s.mu.Lock()
		if s.live[id] == e {
			s.end(e, gateway.EndedIdle, s.clock.Now())
		}
		s.mu.Unlock()
		s.retire([]*entry{e})
		return fmt.Errorf("%w: %w", err, &gateway.EndedError{Why: gateway.EndedIdle, Owner: e.app.Owner})
	}
	return err
}

func (s *Store) run(e *entry, f func(*session.Session) error) (ended bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session == nil {
		return true, nil
	}
	if err := e.session.Try(f); err != nil {
		return false, err
	}
	s.follow(e)
	s.deadlines.set(e, e.session.Deadline())
	now := s.clock.Now()
	e.wake(e.session.TakeWakes(now), now)
	return false, nil
}

// follow brings the index up to date with what e's session subscribes to. The
// caller holds e.mu.
func (s *Store) follow(e *entry) {
	if n := e.session.Held(); n != e.subscriptions {
		s.subscriptions.Add(int64(n - e.subscriptions))
		e.subscriptions = n
	}
	entered, left := e.session.TakeInterest()
	for _, a := range left {
		s.interest.leave(a, e)
	}
	for _, a := range entered {
		s.interest.enter(a, e)
	}
	if e.session.Available() && !e.available {
		e.available = true
		s.available.enter(e.app.Owner, e)
	}
}

// Publish implements gateway.Store. It holds one session at a time; what
// subscribes or leaves meanwhile is seen or not, as if it came after or before.
func (s *Store) Publish(_ context.Context, address string, events ...*session.Event) error {
	for _, e := range s.interest.watching(address) {
		s.deliver(e, address, events)
	}
	return nil
}

func (s *Store) deliver(e *entry, address string, events []*session.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session == nil {
		return
	}
	now := s.clock.Now() // not before the lock: a session's time does not go back
	e.session.Notify(now, address, events...)
	e.wake(e.session.TakeWakes(now), now)
}

// retire releases what ended applications hold and wakes their P-GETs. The
// caller holds no lock.
func (s *Store) retire(ended []*entry) {
	for _, e := range ended {
		e.mu.Lock()
		if e.session != nil {
			for _, a := range e.session.Watched() {
				s.interest.leave(a, e)
			}
			if e.available {
				s.available.leave(e.app.Owner, e)
			}
			e.session = nil
			s.subscriptions.Add(-int64(e.subscriptions))
			s.deadlines.set(e, time.Time{})
			for _, p := range e.parked {
				p.Signal()
			}
		}
		e.mu.Unlock()
	}
}

// Due implements gateway.Store.
func (s *Store) Due(_ context.Context, now time.Time, limit int) ([]string, error) {
	var ids []string
	for _, e := range s.deadlines.take(now, limit) {
		if !s.expired(e, now) {
			ids = append(ids, e.app.ID)
		}
	}
	return ids, nil
}
