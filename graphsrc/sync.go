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
	// maxSyncPages ends a round whose pages never do. Graph sends a hundred or
	// more users on a page, but may send empty pages too.
	maxSyncPages = 100_000
)

// SyncState keeps what the synchronization of the directory has reached over a
// restart: without it a restart reads everybody again. What is kept names
// people, so it must be stored where only the gateway can read it.
type SyncState interface {
	// Load returns what was saved last; nothing and no error if there is nothing.
	Load(ctx context.Context) ([]byte, error)
	// Save replaces it, as a whole or not at all. It must not keep the bytes.
	Save(ctx context.Context, state []byte) error
}

// syncer keeps an index of the whole directory by /users/delta.
//
// A round follows nextLinks to a deltaLink, with which the next round begins.
// Whatever fails, the round goes on from the link it had: pages may be applied
// twice. When Graph no longer knows the link, a new index is built from the
// beginning beside the old one, which serves until the new one is complete; so
// users who went away unseen are gone with it.
//
//	        ┌───────────── nextLink ◀──┐
//	""  ────┴▶ page ─▶ building.apply ─┤
//	                                   └─ deltaLink ─▶ building becomes live ─▶ state
//	        ┌───────────── nextLink ◀──┐                                          │
//	state ──┴▶ page ─▶ live.apply ─────┤                                       restart
//	  ▲                                ├─ deltaLink ─▶ interval ─▶ again          │
//	  └────────────────────────────────┴─ no longer known ─▶ ""                   ▼
type syncer struct {
	graph    DirectoryReader
	clk      clock.Clock
	log      *slog.Logger
	grant    *grant
	interval time.Duration
	timeout  time.Duration
	limit    int
	domains  domains

	// The following belong to run alone.
	link     string
	building *index // nil while live is being updated
	progress progress
	keeper   keeper

	mu        sync.RWMutex
	live      *index // nil until there is a whole directory
	completed time.Time
}

func newSyncer(o *Options, users *grant) *syncer {
	s := &syncer{
		graph: o.Graph, clk: o.Clock, log: o.Logger, grant: users,
		interval: o.SyncInterval, timeout: o.Timeout, limit: o.DirectorySize, domains: newDomains(o.Domains),
		progress: progress{clk: o.Clock, log: o.Logger},
		keeper:   keeper{store: o.SyncState, owner: o.SyncOwner, clk: o.Clock, log: o.Logger},
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

// holds says whether a user is in the index, whatever its age.
func (s *syncer) holds(k userKey) bool {
	x, _ := s.current()
	return x != nil && x.has(k)
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

// run synchronizes until ctx ends, beginning with what was kept.
func (s *syncer) run(ctx context.Context) {
	ctx = budget.WithLane(ctx, budget.Refresh)
	s.restore(ctx)
	defer s.keep(context.WithoutCancel(ctx), keepAtEnd)
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
		clock.Wait(ctx, s.clk, wait)
	}
}

func (s *syncer) backOff(err *Error, failures int) time.Duration {
	wait := min(minSyncPause<<min(failures-1, 10), maxSyncPause)
	if err.Kind == KindForbidden {
		wait = max(wait, hideFor)
	}
	return max(wait, err.RetryAfter) + rand.N(wait/2)
}

// lost says that a link is of no use any more. Graph says so itself
// (KindGone), or refuses what it once made, which no repetition mends.
func lost(err *Error) bool {
	return err.Kind == KindGone || err.Kind == KindInvalid || err.Kind == KindNotFound
}

// round reads pages until there is a delta link. It begins anew once if the
// link is lost; a second time within one round is an error like any other, so
// that a Graph that loses every link is asked with pauses.
func (s *syncer) round(ctx context.Context) *Error {
	anew := false
	for range maxSyncPages {
		page, err := s.page(ctx)
		if err != nil {
			if s.link == "" || !lost(err) {
				return err
			}
			s.log.Info("the directory's link is no longer known; reading it from the beginning",
				"code", err.Code, "request_id", err.RequestID)
			s.restart()
			if anew {
				return err
			}
			anew = true
			continue
		}
		s.keeper.changes += s.target().apply(page.Users)
		if page.Next == "" {
			s.complete(ctx, page.Delta)
			return nil
		}
		s.link = page.Next
		s.keeper.moved = true
		if s.building != nil {
			s.progress.page(s.building)
		}
		s.keep(ctx, keepNowAndThen)
	}
	s.restart()
	return &Error{Op: "synchronize directory", Kind: KindMalformed, Message: "the pages do not end"}
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

// restart begins from the beginning. What a 410 names as Location is the same
// request as this one without the selection of properties, so it is not needed.
func (s *syncer) restart() {
	s.link = ""
	s.building = newIndex(s.limit, s.domains)
	s.progress.restart()
}

// target is the index that pages go to.
func (s *syncer) target() *index {
	if s.building != nil {
		return s.building
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live
}

func (s *syncer) complete(ctx context.Context, delta string) {
	s.link = delta
	s.keeper.moved = true
	first := s.building != nil
	if first {
		s.building.trim()
	}
	s.mu.Lock()
	if first {
		s.live, s.building = s.building, nil
	}
	s.completed = s.clk.Now()
	x := s.live
	s.mu.Unlock()
	if !first {
		s.keep(ctx, keepNowAndThen)
		return
	}
	if _, partial := x.size(); partial {
		s.log.Warn("the directory is larger than the limit; users beyond it are looked up one by one", "limit", s.limit)
	}
	s.progress.done(x)
	s.keep(ctx, keepAtOnce)
}

// restore begins with what was kept. Who is in it is found at once; that
// somebody is not in the directory is only believed after the first round.
func (s *syncer) restore(ctx context.Context) {
	kept, ok := s.keeper.load(ctx, newIndex(s.limit, s.domains))
	if !ok {
		return
	}
	s.link = kept.link
	n, _ := kept.users.size()
	if !kept.whole {
		s.building = kept.users
		s.log.Info("the reading of the directory goes on where it was left", "users", n, "left", kept.at)
		return
	}
	kept.users.trim()
	s.mu.Lock()
	s.live, s.building = kept.users, nil
	s.mu.Unlock()
	s.log.Info("the directory was kept; reading what has changed since", "users", n, "since", kept.at)
}

// keep saves what has been reached, if it is time for it. An index that is built
// beside another is not saved before it is complete: the other one serves better.
func (s *syncer) keep(ctx context.Context, when keepWhen) {
	s.mu.RLock()
	x, at := s.live, s.completed
	s.mu.RUnlock()
	if s.building != nil {
		if x != nil || s.link == "" {
			return
		}
		x, at = s.building, s.clk.Now()
	}
	if x == nil || at.IsZero() {
		return
	}
	if _, partial := x.size(); partial {
		return // with more room a restart finds more users
	}
	s.keeper.keep(ctx, when, &kept{link: s.link, at: at, whole: s.building == nil, users: x})
}
