package memory

import (
	"context"
	"sync"
	"time"
)

// claims are what one of several has taken upon itself for a while.
type claims struct {
	mu    sync.Mutex
	until map[string]time.Time
	sweep int // size from which claims that have ended are cleared away
}

// minSweep is the least number of claims that are worth a look at all of them.
const minSweep = 1024

// Claim implements gateway.Store.
func (s *Store) Claim(_ context.Context, key string, d time.Duration) (time.Time, bool, error) {
	now := s.clock.Now()
	c := &s.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	if until, ok := c.until[key]; ok && now.Before(until) {
		return until, false, nil
	}
	if c.until == nil {
		c.until = make(map[string]time.Time)
	}
	if len(c.until) >= max(c.sweep, minSweep) {
		for k, until := range c.until {
			if !now.Before(until) {
				delete(c.until, k)
			}
		}
		c.sweep = 2 * len(c.until)
	}
	until := now.Add(d)
	c.until[key] = until
	return until, true, nil
}

// Release implements gateway.Store.
func (s *Store) Release(_ context.Context, key string) error {
	s.claims.mu.Lock()
	defer s.claims.mu.Unlock()
	delete(s.claims.until, key)
	return nil
}
