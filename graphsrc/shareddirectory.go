package graphsrc

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

// DirectoryBatch is the most addresses of one SharedDirectory.Recall or Keep.
const DirectoryBatch = 1_000

// SharedDirectory keeps what the sources of one tenant, in other processes too,
// have looked up, for whichever of them looks for it next. Nobody is told of it.
// What is lost is looked up again. It is safe for concurrent use.
type SharedDirectory interface {
	// Recall returns what is kept of at most DirectoryBatch addresses, in any order.
	Recall(ctx context.Context, addresses []string) ([]LookedUp, error)
	// Keep keeps at most DirectoryBatch outcomes, each until its time. What was
	// kept of the same address goes. After an error some may be kept.
	Keep(ctx context.Context, outcomes []LookedUp) error
}

// LookedUp is the outcome of looking an address up.
type LookedUp struct {
	Address string    // normalized, see ParseAddress
	User    *User     // nil: the address is nobody's
	Until   time.Time // when it ends, by the source's clock
}

const (
	// directoryRest is how long the shared directory is left alone after it has
	// failed.
	directoryRest = time.Second
	// The pauses between two looks at what the leader has found: doubling.
	minLook, maxLook = 100 * time.Millisecond, 800 * time.Millisecond
	// recheck is after what time in the queue for Graph an address is looked for
	// in the shared directory once more.
	recheck = 250 * time.Millisecond
)

// sharedLookups is a source's part in a SharedDirectory.
//
//	look-up ──▶ recall ── kept ───────────────────────────────▶ outcome
//	              │ not kept          ▲                            ▲
//	              ├─ a client waits ──┼─────────────────▶ Graph ───┴▶ keep
//	              └─ only watched: another source leads, and is about to ask
//
// Whatever waits to be recalled while a trip is under way goes with the next one,
// and so does what is to be kept.
type sharedLookups struct {
	shared SharedDirectory
	role   func() Role
	clk    clock.Clock
	log    *slog.Logger
	life   *lifetime

	mu        sync.Mutex
	asked     []*inquiry
	asking    bool
	found     []LookedUp
	keeping   bool
	restUntil time.Time
	urgent    map[string]*urgency
}

// inquiry is an address that somebody looks for in the shared directory.
type inquiry struct {
	address string
	done    chan struct{}
	outcome LookedUp
	kept    bool
}

// urgency is an address for which clients wait, or somebody who would give way to
// them.
type urgency struct {
	clients, others int
	hurry           chan struct{} // closed when there are clients
}

func newSharedLookups(o *Options, life *lifetime) *sharedLookups {
	s := &sharedLookups{
		shared: o.SharedDirectory, role: func() Role { return Leading }, clk: o.Clock, log: o.Logger, life: life,
		urgent: make(map[string]*urgency),
	}
	if o.Shared != nil {
		s.role = o.Shared.Role
	}
	return s
}

// find looks for an address among what is kept; if it is not urgent and another
// source leads, until that one has found it, for a while. Not ok: Graph is to be
// asked, in the lane of the context returned.
func (s *sharedLookups) find(ctx context.Context, address string) (asking context.Context, out LookedUp, ok bool) {
	lane := budget.LaneOf(ctx)
	if out, ok = s.recall(ctx, address); ok || lane <= budget.Publish {
		return ctx, out, ok
	}
	u := s.enter(address, false)
	defer s.leave(address, u, false)
	timeout, cancel := context.WithTimeout(ctx, leaderWait+rand.N(leaderWait/3))
	defer cancel()
	for look := minLook; s.role() == Following; look = min(2*look, maxLook) {
		waiting, stop := context.WithCancel(timeout)
		hurried := s.pause(waiting, look, u)
		stop()
		if hurried {
			return budget.WithLane(ctx, budget.Interactive), out, false
		}
		if timeout.Err() != nil {
			break
		}
		if out, ok = s.recall(ctx, address); ok {
			break
		}
	}
	return ctx, out, ok
}

// pause waits for d, or until ctx ends or a client waits, which it reports.
func (s *sharedLookups) pause(ctx context.Context, d time.Duration, u *urgency) (hurried bool) {
	passed := make(chan struct{})
	t := s.clk.AfterFunc(d, func() { close(passed) })
	defer t.Stop()
	s.mu.Lock()
	hurry := u.hurry
	s.mu.Unlock()
	select {
	case <-hurry:
		return true
	case <-passed:
	case <-ctx.Done():
	}
	return false
}

// enter says that somebody looks an address up; if it is for a client, whoever
// waits for the leader to find it does not any longer. It is paired with leave.
func (s *sharedLookups) enter(address string, client bool) *urgency {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.urgent[address]
	if u == nil {
		u = &urgency{hurry: make(chan struct{})}
		s.urgent[address] = u
	}
	if !client {
		u.others++
		return u
	}
	if u.clients++; u.clients == 1 {
		close(u.hurry)
	}
	return u
}

func (s *sharedLookups) leave(address string, u *urgency, client bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if client {
		if u.clients--; u.clients == 0 {
			u.hurry = make(chan struct{})
		}
	} else {
		u.others--
	}
	if u.clients+u.others == 0 {
		delete(s.urgent, address)
	}
}

// recall looks for one address, together with others.
func (s *sharedLookups) recall(ctx context.Context, address string) (LookedUp, bool) {
	q := &inquiry{address: address, done: make(chan struct{})}
	if !s.ask(q) {
		return LookedUp{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, recallWait)
	defer cancel()
	select {
	case <-q.done:
		return q.outcome, q.kept
	case <-ctx.Done():
		return LookedUp{}, false
	}
}

// ask has inquiries answered; false if nothing is asked at the moment.
func (s *sharedLookups) ask(inquiries ...*inquiry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clk.Now().Before(s.restUntil) {
		return false
	}
	if !s.asking {
		if !s.life.enter() {
			return false
		}
		s.asking = true
		go s.answer()
	}
	s.asked = append(s.asked, inquiries...)
	return true
}

// answer answers inquiries until there are none.
func (s *sharedLookups) answer() {
	defer s.life.leave()
	for {
		s.mu.Lock()
		n := min(len(s.asked), DirectoryBatch)
		batch := s.asked[:n:n]
		if s.asked = s.asked[n:]; n == 0 {
			s.asked, s.asking = nil, false
		}
		s.mu.Unlock()
		if n == 0 {
			return
		}
		s.answerBatch(batch)
	}
}

func (s *sharedLookups) answerBatch(batch []*inquiry) {
	by := make(map[string][]*inquiry, len(batch))
	addresses := make([]string, 0, len(batch))
	for _, q := range batch {
		if by[q.address] == nil {
			addresses = append(addresses, q.address)
		}
		by[q.address] = append(by[q.address], q)
	}
	ctx, cancel := context.WithTimeout(s.life.ctx, recallWait)
	defer cancel()
	outcomes, err := s.shared.Recall(ctx, addresses)
	if err != nil {
		s.failed("the shared directory could not be asked", err)
	}
	now := s.clk.Now()
	for i := range outcomes {
		out := &outcomes[i]
		if !now.Before(out.Until) {
			continue
		}
		if out.User != nil {
			if _, ok := parseKey(out.User.ID); !ok {
				continue
			}
		}
		for _, q := range by[out.Address] {
			q.outcome, q.kept = *out, true
		}
	}
	for _, q := range batch {
		close(q.done)
	}
}

func (s *sharedLookups) failed(what string, err error) {
	s.log.Debug(what, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restUntil = s.clk.Now().Add(directoryRest)
}

// keep has outcomes kept, soon. It does not block.
func (s *sharedLookups) keep(outcomes ...LookedUp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clk.Now().Before(s.restUntil) || len(outcomes) == 0 {
		return
	}
	if !s.keeping {
		if !s.life.enter() {
			return
		}
		s.keeping = true
		go s.store()
	}
	s.found = append(s.found, outcomes...)
}

// store keeps outcomes until there are none.
func (s *sharedLookups) store() {
	defer s.life.leave()
	for {
		s.mu.Lock()
		n := min(len(s.found), DirectoryBatch)
		batch := s.found[:n:n]
		if s.found = s.found[n:]; n == 0 {
			s.found, s.keeping = nil, false
		}
		s.mu.Unlock()
		if n == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(s.life.ctx, recallWait)
		err := s.shared.Keep(ctx, batch)
		cancel()
		if err != nil {
			s.failed("look-ups could not be shared", err)
		}
	}
}

// settle settles those searches that another source has made while they waited
// for their turn to be sent to Graph.
func (s *sharedLookups) settle(batch []*search) {
	now := s.clk.Now()
	var inquiries []*inquiry
	for _, one := range batch {
		if now.Sub(one.since) >= recheck {
			inquiries = append(inquiries, &inquiry{address: one.address, done: make(chan struct{})})
		}
	}
	if len(inquiries) == 0 || !s.ask(inquiries...) {
		return
	}
	kept := make(map[string]LookedUp, len(inquiries))
	for _, q := range inquiries {
		<-q.done // within recallWait for each trip
		if q.kept {
			kept[q.address] = q.outcome
		}
	}
	for _, one := range batch {
		out, ok := kept[one.address]
		if !ok {
			continue
		}
		one.until = out.Until
		if out.User == nil {
			one.settle(User{}, errNobody)
		} else {
			one.settle(*out.User, nil)
		}
	}
}
