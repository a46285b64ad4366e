package graphsrc

import (
	"context"
	"slices"
	"strings"
	"time"

	"ucwagate/graphsrc/budget"
)

// directory finds users by address and by id: in the synchronized index if
// there is one, else in what was looked up before, else by asking.
type directory struct {
	graph     DirectoryReader
	domains   domains
	byAddress *memo[*User]
	byID      *memo[*User]
	finder    *finder
	sync      *syncer        // may be nil
	shared    *sharedLookups // may be nil
}

func newDirectory(o *Options, life *lifetime, users *grant, sync *syncer) (*directory, error) {
	d := &directory{graph: o.Graph, domains: newDomains(o.Domains), sync: sync}
	d.finder = &finder{graph: o.Graph, clk: o.Clock, life: life, window: o.BatchWindow, timeout: o.Timeout}
	if o.SharedDirectory != nil && sync == nil { // what is synchronized is not looked up
		d.shared = newSharedLookups(o, life)
		d.finder.shared = d.shared
	}
	memory := func(op string) (*memo[*User], error) {
		return newMemo(&memo[*User]{
			op: op, life: life, clk: o.Clock, timeout: o.Timeout, ttl: o.UserTTL, negative: o.NegativeTTL, grant: users,
		}, o.DirectorySize, func(*User) int { return 1 })
	}
	var err error
	if d.byAddress, err = memory("find user"); err != nil {
		return nil, err
	}
	d.byID, err = memory("get user")
	return d, err
}

// domains are the SIP domains of the tenant; none means all.
type domains map[string]struct{}

func newDomains(names []string) domains {
	d := make(domains, len(names))
	for _, name := range names {
		d[strings.ToLower(strings.TrimSuffix(name, "."))] = struct{}{}
	}
	return d
}

// hold says whether a normalized address is in one of the domains.
func (d domains) hold(address string) bool {
	_, ours := d[domainOf(address)]
	return ours || len(d) == 0
}

// show says whether a user has an address that can be shown.
func (d domains) show(u *User) bool {
	a := Address(*u)
	return a != "" && d.hold(a)
}

// Lookup finds a user by an address: user@domain in any case, with or without
// "sip:". Nobody is KindNotFound, as is, without asking and with
// CodeForeignDomain, an address outside Options.Domains; what is no address is
// KindInvalid. The user's lists are shared and must not be changed.
func (s *Source) Lookup(ctx context.Context, address string) (User, error) {
	address, err := ParseAddress(address)
	if err != nil {
		return User{}, err
	}
	return s.directory.lookup(ctx, address)
}

// Known is Lookup without asking: it finds a user whom the source remembers, by
// a normalized address.
func (s *Source) Known(address string) (User, bool) {
	u, found, _ := s.directory.known(address)
	return u, found
}

// User reads a user by object id. Nobody is KindNotFound. The user's lists are
// shared and must not be changed.
func (s *Source) User(ctx context.Context, id string) (User, error) {
	k, ok := parseKey(id)
	if !ok {
		return User{}, invalidID("get user", id)
	}
	return s.directory.user(ctx, k)
}

func (d *directory) lookup(ctx context.Context, address string) (User, error) {
	if !d.domains.hold(address) {
		return User{}, &Error{Op: "find user", Kind: KindNotFound, Code: CodeForeignDomain, Message: "the domain is not one of this tenant"}
	}
	known, found, nobody := d.known(address)
	switch {
	case found:
		return known, nil
	case nobody:
		return User{}, &Error{Op: "find user", Kind: KindNotFound, Message: "nobody in the synchronized directory has the address"}
	}
	if d.shared != nil && budget.LaneOf(ctx) <= budget.Publish {
		defer d.shared.leave(address, d.shared.enter(address, true), true)
	}
	u, err := d.byAddress.getUntil(ctx, address, func(ctx context.Context) (*User, time.Time, error) {
		if d.shared != nil {
			return d.recallOrAsk(ctx, address)
		}
		return d.ask(ctx, address)
	})
	if err != nil {
		return User{}, err
	}
	return *u, nil
}

// ask asks Graph who has an address.
func (d *directory) ask(ctx context.Context, address string) (*User, time.Time, error) {
	u, until, err := d.finder.find(ctx, address)
	if err != nil {
		return nil, until, err
	}
	u = tidy(u)
	d.remember(&u, until)
	return &u, until, nil
}

// recallOrAsk asks Graph unless another source has, and lets others know.
func (d *directory) recallOrAsk(ctx context.Context, address string) (*User, time.Time, error) {
	ctx, out, ok := d.shared.find(ctx, address)
	switch {
	case ok && out.User == nil:
		return nil, out.Until, errNobody
	case ok:
		u := tidy(*out.User)
		d.remember(&u, out.Until)
		return &u, out.Until, nil
	}
	u, until, err := d.ask(ctx, address)
	if until.IsZero() {
		switch now := d.byAddress.clk.Now(); {
		case err == nil:
			d.shared.keep(LookedUp{address, u, now.Add(d.byAddress.ttl)})
		case errorOf(err).Kind == KindNotFound:
			d.shared.keep(LookedUp{address, nil, now.Add(d.byAddress.negative)})
		}
	}
	return u, until, err
}

// remember remembers a user by id, whom somebody else looked up if until is set.
func (d *directory) remember(u *User, until time.Time) {
	if until.IsZero() {
		d.byID.put(u.ID, u)
	} else if last, ok := d.byID.recall(u.ID); !ok || last.until.Before(until) {
		d.byID.putUntil(u.ID, u, until)
	}
}

// known looks an address up in memory. nobody says that there is no need to ask.
func (d *directory) known(address string) (u User, found, nobody bool) {
	if d.sync != nil {
		if u, found, complete := d.sync.find(address); found || complete {
			return u, found, !found
		}
	}
	if r, ok := d.byAddress.recall(address); ok && r.err == nil {
		return *r.value, true, false
	}
	return User{}, false, false
}

func (d *directory) user(ctx context.Context, k userKey) (User, error) {
	if d.sync != nil {
		if u, found, _ := d.sync.get(k); found {
			return u, nil
		}
		// An id that the index does not hold is asked for all the same: ids
		// come from Graph, perhaps a moment ago.
	}
	id := k.String()
	u, err := d.byID.get(ctx, id, func(ctx context.Context) (*User, error) {
		u, err := d.graph.User(ctx, id)
		if err != nil {
			return nil, err
		}
		u = tidy(u)
		d.learn([]User{u})
		return &u, nil
	})
	if err != nil {
		return User{}, err
	}
	return *u, nil
}

// learn remembers users that came with another answer, by id and by the one
// address under which they are shown: a client asks for it next. Their other
// addresses might be a better match for somebody else. Who is in the
// synchronized index is not remembered twice.
func (d *directory) learn(users []User) {
	var outcomes []LookedUp
	for i := range users {
		u := users[i]
		k, ok := parseKey(u.ID)
		if !ok || d.sync != nil && d.sync.holds(k) {
			continue
		}
		d.byID.put(u.ID, &u)
		if a := Address(u); a != "" {
			d.byAddress.put(a, &u)
			if d.shared != nil {
				outcomes = append(outcomes, LookedUp{a, &u, d.byAddress.clk.Now().Add(d.byAddress.ttl)})
			}
		}
	}
	if d.shared != nil {
		d.shared.keep(outcomes...)
	}
}

// tidy gives a user's id its one spelling, and keeps callers who append to the
// shared lists from writing into them.
func tidy(u User) User {
	u.ID = strings.ToLower(u.ID)
	u.IMAddresses = slices.Clip(u.IMAddresses)
	u.ProxyAddresses = slices.Clip(u.ProxyAddresses)
	u.OtherMails = slices.Clip(u.OtherMails)
	u.BusinessPhones = slices.Clip(u.BusinessPhones)
	return u
}

func tidyAll(users []User) []User {
	for i := range users {
		users[i] = tidy(users[i])
	}
	return slices.Clip(users)
}
