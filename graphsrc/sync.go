package graphsrc

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

const (
	// The pauses between attempts after failures: doubling, with up to half
	// as much again at random.
	minSyncPause = 5 * time.Second
	maxSyncPause = 5 * time.Minute
	// progressEvery is how many users of the first synchronization make a log line.
	progressEvery = 10_000
)

// syncer keeps an index of the whole directory by /users/delta.
//
// A round follows nextLinks to a deltaLink, with which the next round begins.
// Whatever fails, the round goes on from the link it had: pages may be applied
// twice. When Graph no longer knows the link, a new index is built from the
// beginning beside the old one, which serves until the new one is complete; so
// users who went away unseen are gone with it.
type syncer struct {
	graph    DirectoryReader
	clk      clock.Clock
	log      *slog.Logger
	grant    *grant
	interval time.Duration
	timeout  time.Duration
	limit    int
	domains  domains

	// link and building belong to run alone.
	link     string
	building *index // nil while live is being updated

	mu        sync.RWMutex
	live      *index // nil until the first round is complete
	completed time.Time
}

func newSyncer(o *Options, users *grant) *syncer {
	s := &syncer{
		graph: o.Graph, clk: o.Clock, log: o.Logger, grant: users,
		interval: o.SyncInterval, timeout: o.Timeout, limit: o.DirectorySize, domains: newDomains(o.Domains),
	}
	s.building = newIndex(s.limit, s.domains)
	return s
}

// find looks an address up. complete says that somebody who is not found is
// not in the directory: the index holds everybody and is not long overdue.
func (s *syncer) find(address string) (u User, found, complete bool) {
	x, complete := s.current()
	if x == nil {
		return User{}, false, false
	}
	u, found = x.find(address)
	return u, found, complete
}

func (s *syncer) get(k userKey) (u User, found, complete bool) {
	x, complete := s.current()
	if x == nil {
		return User{}, false, false
	}
	u, found = x.get(k)
	return u, found, complete
}

func (s *syncer) current() (x *index, complete bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.live == nil {
		return nil, false
	}
	_, partial := s.live.size()
	return s.live, !partial && s.clk.Now().Sub(s.completed) < 2*s.interval+time.Minute
}

// run synchronizes until ctx ends.
func (s *syncer) run(ctx context.Context) {
	ctx = budget.WithLane(ctx, budget.Refresh)
	failures := 0
	for ctx.Err() == nil {
		wait := s.interval
		if err := s.round(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			failures++
			wait = s.backOff(err, failures)
			s.log.Warn("directory synchronization failed", "error", err, "retry_in", wait)
		} else {
			failures = 0
		}
		pause(ctx, s.clk, wait)
	}
}

func (s *syncer) backOff(err *Error, failures int) time.Duration {
	wait := min(minSyncPause<<min(failures-1, 10), maxSyncPause)
	if err.Kind == KindForbidden {
		wait = max(wait, hideFor)
	}
	return max(wait, err.RetryAfter) + rand.N(wait/2)
}

// round reads pages until there is a delta link.
func (s *syncer) round(ctx context.Context) *Error {
	logged := 0
	for {
		page, err := s.page(ctx)
		switch {
		case err == nil:
		case err.Kind == KindGone && s.link != "":
			s.log.Info("the directory's delta link has expired; reading it from the beginning", "request_id", err.RequestID)
			s.restart()
			continue
		default:
			return err
		}
		target := s.target()
		target.apply(page.Users)
		if s.building != nil {
			if n, _ := target.size(); n >= logged+progressEvery {
				logged = n
				s.log.Info("reading the directory", "users", n)
			}
		}
		if page.Next == "" {
			s.complete(page.Delta)
			return nil
		}
		s.link = page.Next
	}
}

func (s *syncer) page(ctx context.Context) (UsersPage, *Error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	page, err := s.graph.UsersDelta(ctx, s.link)
	if err != nil {
		e := asError("synchronize directory", err)
		s.grant.observe(e)
		return UsersPage{}, e
	}
	s.grant.observe(nil)
	if page.Next == "" && page.Delta == "" || page.Next != "" && page.Next == s.link {
		// Either would end the synchronization unseen, or never. What the
		// link leads to is not to be trusted, so the next try starts over.
		s.restart()
		return UsersPage{}, &Error{
			Op: "synchronize directory", Kind: KindMalformed,
			Message: fmt.Sprintf("a page of %d users leads nowhere", len(page.Users)),
		}
	}
	return page, nil
}

func (s *syncer) restart() {
	s.link = ""
	s.building = newIndex(s.limit, s.domains)
}

func (s *syncer) target() *index {
	if s.building != nil {
		return s.building
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live
}

func (s *syncer) complete(delta string) {
	s.link = delta
	first := s.building != nil
	s.mu.Lock()
	if first {
		s.live, s.building = s.building, nil
	}
	s.completed = s.clk.Now()
	x := s.live
	s.mu.Unlock()
	if !first {
		return
	}
	n, partial := x.size()
	if partial {
		s.log.Warn("the directory is larger than the limit; users beyond it are looked up one by one", "limit", s.limit)
	}
	s.log.Info("the directory is synchronized", "users", n)
}
