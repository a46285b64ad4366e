package memory

import (
	"slices"
	"sync"
	"time"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

// parked is a P-GET that waits: this struct, a channel and at most one pending
// timer.
type parked struct {
	store    *Store
	entry    *entry // nil if the application was not there
	instance string
	ready    chan struct{}

	mu    sync.Mutex
	timer clock.Timer
	turn  uint64 // of the pending timer
	// fires is when the pending timer wakes: the sooner of what Until asked for
	// and of what the session said since the last wake. The session's word must
	// outlive an Until that was computed before it was spoken.
	fires, said time.Time
	closed      bool
}

// Park implements gateway.Store.
func (s *Store) Park(id, instance string) gateway.Parked {
	p := &parked{store: s, instance: instance, ready: make(chan struct{}, 1)}
	s.mu.RLock()
	e, err := s.find(id, s.clock.Now())
	s.mu.RUnlock()
	if err != nil {
		p.signal()
		return p
	}
	p.entry = e
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting.Add(1)
	e.parked = append(e.parked, p)
	if e.session == nil {
		p.signal()
	}
	return p
}

// Wake implements gateway.Parked.
func (p *parked) Wake() <-chan struct{} { return p.ready }

// Until implements gateway.Parked.
func (p *parked) Until(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.said.IsZero() && p.said.Before(t) {
		t = p.said
	}
	p.arm(t)
}

// Close implements gateway.Parked.
func (p *parked) Close() {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.disarm()
	p.mu.Unlock()
	e := p.entry
	if again || e == nil {
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
				p.by(w.At, now)
			}
		}
	}
}

// by sees to a wake at t at the latest, besides the one asked for.
func (p *parked) by(t, now time.Time) {
	if !t.After(now) {
		p.signal()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said.IsZero() || t.Before(p.said) {
		p.said = t
	}
	if p.timer == nil || t.Before(p.fires) {
		p.arm(t)
	}
}

// signal leaves a wake in the channel, if there is none yet.
func (p *parked) signal() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// arm makes t the time of the one timer. The caller holds mu.
func (p *parked) arm(t time.Time) {
	if p.closed || p.timer != nil && p.fires.Equal(t) {
		return
	}
	p.disarm()
	wait := t.Sub(p.store.clock.Now())
	if wait <= 0 {
		p.said = time.Time{}
		p.signal()
		return
	}
	p.fires = t
	turn := p.turn
	p.timer = p.store.clock.AfterFunc(wait, func() { p.fire(turn) })
}

func (p *parked) disarm() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.turn++
}

func (p *parked) fire(turn uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if turn != p.turn {
		return // stopped too late: another timer took its place
	}
	p.timer, p.said = nil, time.Time{}
	p.signal()
}
