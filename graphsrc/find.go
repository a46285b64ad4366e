package graphsrc

import (
	"context"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

const (
	// maxExpressions is how many values an "in" takes, and how many comparisons
	// a filter may hold, without advanced query.
	maxExpressions = 15
	// comparisons is how many of them filterFor makes for one address.
	comparisons = 7
	// maxUPN is the longest user principal name; maxCompared the most
	// characters "eq" compares. A longer address is only found in the
	// synchronized index.
	maxUPN      = 113
	maxCompared = 120
	// maxFinding is how many searches may be under way.
	maxFinding = 4
	// maxClaimants is how many users with the same address are looked at for
	// each address of a search.
	maxClaimants = 5
)

// finder asks Graph who has an address. A lone address is read as a user
// principal name, which it nearly always is; several that wait at once are
// searched for in one request. Those nobody has as principal name are then
// searched for in the other properties, two to a request.
//
// Those who wait are served in turns over the clients, an address of each.
type finder struct {
	graph   DirectoryReader
	clk     clock.Clock
	life    *lifetime
	window  time.Duration
	timeout time.Duration
	shared  *sharedLookups // may be nil

	mu      sync.Mutex
	waiting fair[*search]
	running int
}

type search struct {
	address string
	lane    budget.Lane
	client  string
	since   time.Time // zero unless look-ups are shared
	seat    seat[*search]
	done    chan struct{}
	user    User
	err     error // nil and no user yet: still sought
	found   bool
	until   time.Time // when another source's outcome ends; zero: it is Graph's
}

func (s *search) settle(u User, err error) {
	s.user, s.err, s.found = u, err, true
	close(s.done)
}

// errNobody is the outcome of looking for an address that nobody has.
var errNobody = &Error{Op: "find user", Kind: KindNotFound, Message: "nobody has the address"}

// find returns the user who has a normalized address; nobody is KindNotFound. What
// another source has found meanwhile holds until a given time.
func (f *finder) find(ctx context.Context, address string) (User, time.Time, error) {
	s := &search{address: address, lane: budget.LaneOf(ctx), client: budget.ClientOf(ctx), done: make(chan struct{})}
	if f.shared != nil {
		s.since = f.clk.Now()
	}
	f.mu.Lock()
	f.waiting.push(s.client, &s.seat, s)
	if f.running < maxFinding {
		f.running++
		// The caller is announced work and waits below, so this is too.
		f.life.fork()
		go f.run(f.running > 1)
	}
	f.mu.Unlock()
	select {
	case <-s.done:
		return s.user, s.until, s.err
	case <-ctx.Done():
		f.withdraw(s)
		return User{}, time.Time{}, ctx.Err()
	}
}

func (f *finder) withdraw(s *search) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting.leave(&s.seat)
}

// run searches for what waits until nothing does. If other searches are under way
// when it begins it first lets addresses gather; after that they have gathered
// while it was searching.
func (f *finder) run(busy bool) {
	defer f.life.leave()
	if busy {
		clock.Wait(f.life.ctx, f.clk, f.window)
	}
	for batch := f.take(); len(batch) > 0; batch = f.take() {
		f.search(batch)
	}
}

// take returns what to search for next; after nothing, the caller has ended.
func (f *finder) take() []*search {
	f.mu.Lock()
	defer f.mu.Unlock()
	var batch []*search
	for len(batch) < maxExpressions && !f.waiting.empty() {
		s := f.waiting.turn()
		f.waiting.leave(&s.seat)
		batch = append(batch, s)
	}
	if len(batch) == 0 {
		f.running--
	}
	return batch
}

// search settles every search of a batch. It is made in the name of whose turn it
// was, and in the lane of who is in the greatest hurry.
func (f *finder) search(batch []*search) {
	lane := batch[0].lane
	for _, s := range batch {
		lane = min(lane, s.lane)
	}
	ctx := budget.WithClient(budget.WithLane(f.life.ctx, lane), batch[0].client)
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if f.shared != nil {
		f.shared.settle(batch)
	}
	f.byPrincipalName(ctx, batch)
	rest := sought(batch, func(s *search) bool { return len(s.address)+len("smtp:") <= maxCompared })
	const pair = maxExpressions / comparisons
	for len(rest) > 0 {
		n := min(pair, len(rest))
		f.byAnyAddress(ctx, rest[:n])
		rest = rest[n:]
	}
	for _, s := range sought(batch, func(*search) bool { return true }) {
		s.settle(User{}, errNobody)
	}
}

func sought(batch []*search, and func(*search) bool) []*search {
	var out []*search
	for _, s := range batch {
		if !s.found && and(s) {
			out = append(out, s)
		}
	}
	return out
}

// byPrincipalName settles the searches for principal names. What Graph says is
// no principal name at all stays sought.
func (f *finder) byPrincipalName(ctx context.Context, batch []*search) {
	names := sought(batch, func(s *search) bool { return len(s.address) <= maxUPN })
	if len(names) == 0 {
		return
	}
	// A name that begins with '$' would need another spelling of the path.
	if len(names) == 1 && names[0].address[0] != '$' {
		u, err := f.graph.User(ctx, names[0].address)
		switch e := errorOf(err); {
		case e == nil:
			names[0].settle(u, nil)
		case !blamesID(e):
			names[0].settle(User{}, err)
		}
		return
	}
	quoted := make([]string, len(names))
	for i, s := range names {
		quoted[i] = quote(s.address)
	}
	users, err := f.graph.FindUsers(ctx, "userPrincipalName in ("+strings.Join(quoted, ",")+")", len(names))
	e := listError(err)
	switch {
	case e == nil:
		for i := range users {
			for _, s := range names {
				if !s.found && rankOf(&users[i], s.address) == rankUPN {
					s.settle(users[i], nil)
				}
			}
		}
	case !blamesID(e):
		for _, s := range names {
			s.settle(User{}, e)
		}
	case len(names) > 1:
		for _, s := range names {
			f.byPrincipalName(ctx, []*search{s})
		}
	}
}

// byAnyAddress settles searches among the other properties.
func (f *finder) byAnyAddress(ctx context.Context, batch []*search) {
	filters := make([]string, len(batch))
	for i, s := range batch {
		filters[i] = filterFor(s.address)
	}
	users, err := f.graph.FindUsers(ctx, strings.Join(filters, " or "), maxClaimants*len(batch))
	if e := listError(err); e != nil {
		switch {
		case !blamesID(e):
			for _, s := range batch {
				s.settle(User{}, e)
			}
		case len(batch) > 1:
			for _, s := range batch {
				f.byAnyAddress(ctx, []*search{s})
			}
		}
		return
	}
	for _, s := range batch {
		best, rank := -1, noRank
		for i := range users {
			if r := rankOf(&users[i], s.address); r < rank {
				best, rank = i, r
			}
		}
		if best >= 0 {
			s.settle(users[best], nil)
		}
	}
}

// listError is errorOf for a search. A list that is empty is no error, so a 404
// there says nothing about who has an address: something between us and Graph
// made it.
func listError(err error) *Error {
	e := errorOf(err)
	if e != nil && e.Kind == KindNotFound {
		odd := *e
		odd.Kind = KindUnavailable
		return &odd
	}
	return e
}

// filterFor selects the users who have an address in any property but the
// principal name. proxyAddresses are compared in the spellings that occur:
// Graph does not say whether its comparison minds the case.
func filterFor(address string) string {
	a, sip := quote(address), quote("sip:"+address)
	return "mail eq " + a +
		" or imAddresses/any(i:i eq " + a + ")" +
		" or imAddresses/any(i:i eq " + sip + ")" +
		" or proxyAddresses/any(p:p eq " + quote("SIP:"+address) + ")" +
		" or proxyAddresses/any(p:p eq " + sip + ")" +
		" or proxyAddresses/any(p:p eq " + quote("SMTP:"+address) + ")" +
		" or proxyAddresses/any(p:p eq " + quote("smtp:"+address) + ")"
}

// quote writes an OData string literal.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func errorOf(err error) *Error {
	if err == nil {
		return nil
	}
	return asError("find user", err)
}
