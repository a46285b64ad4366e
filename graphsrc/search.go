package graphsrc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ucwagate/graphsrc/budget"
)

// searchMemory bounds what is remembered of searches, in users and in groups.
const searchMemory = 50_000

// Search looks for users, and for groups with a mail address.
//
//   - Text that is an address finds the user who has it, by Lookup, and nothing
//     else if there is one.
//   - Text of at least three digits, and otherwise only what phone numbers are
//     written with, finds users by their numbers.
//   - Other text finds those in whose name each of its words begins a word, and
//     those who have an address that begins with it. Case and diacritics do not
//     count where this is decided here; where Graph decides, its rules hold.
//   - Mail finds those who have a mail address that begins with it. If both are
//     set, both must fit.
//
// Users are found without asking while the synchronized directory is complete,
// else by asking; groups always by asking, unless the permission is missing,
// which leaves them out. Users without an address in Options.Domains are left
// out. The best come first: whose name or address is the text, whose name or
// address begins with it, then all others, each by name. Answers are
// remembered for Options.SearchTTL. At most 500 entries are returned. A query
// in which there is nothing to look for finds nobody. Errors are *Error. Lists
// of users are shared and must not be changed.
func (s *Source) Search(ctx context.Context, q SearchQuery) (SearchResult, error) {
	p, ok := parseQuery(q)
	if !ok {
		return SearchResult{}, nil
	}
	ctx, cancel := context.WithTimeout(budget.WithLane(ctx, budget.Interactive), s.timeout)
	defer cancel()
	if p.address != "" {
		u, err := s.directory.lookup(ctx, p.address)
		e := errorOf(err)
		switch {
		case e == nil && s.directory.domains.show(&u):
			return SearchResult{Users: []User{u}}, nil
		case e != nil && e.Kind != KindNotFound:
			return SearchResult{}, e
		}
	}
	return s.searcher.search(ctx, p)
}

// searcher finds users in the synchronized directory or by asking Graph, and
// groups by asking.
type searcher struct {
	graph     Searcher
	directory *directory
	users     *memo[hits[User]]
	groups    *memo[hits[Group]]
}

// maxNumbers is how many users are read to find those with a phone number; the
// most that Graph returns at once.
const maxNumbers = 999

// hits are what a search found.
type hits[E any] struct {
	list []E
	more bool // there are others
}

func (h hits[E]) weight() int { return 1 + len(h.list) }

func newSearcher(o *Options, life *lifetime, g *grants, d *directory) (*searcher, error) {
	s := &searcher{graph: o.Graph, directory: d}
	var errs [2]error
	s.users, errs[0] = newMemo(searchMemo[hits[User]](o, life, "search users", g.search), searchMemory, hits[User].weight)
	s.groups, errs[1] = newMemo(searchMemo[hits[Group]](o, life, "search groups", g.groups), searchMemory, hits[Group].weight)
	return s, errors.Join(errs[:]...)
}

func searchMemo[V any](o *Options, life *lifetime, op string, g *grant) *memo[V] {
	return &memo[V]{
		op: op, life: life, clk: o.Clock, timeout: o.Timeout,
		ttl: o.SearchTTL, negative: o.SearchTTL, grant: g,
	}
}

func (s *searcher) search(ctx context.Context, p *query) (SearchResult, error) {
	var (
		groups   hits[Group]
		noGroups error
		both     sync.WaitGroup
	)
	if expression := p.groupSearch(); expression != "" {
		both.Go(func() { groups, noGroups = s.askGroups(ctx, p, expression) })
	}
	users, err := s.findUsers(ctx, p)
	both.Wait()
	if err != nil {
		return SearchResult{}, err
	}
	// Without groups the users that were found are still an answer; that
	// nothing was found would not be true.
	if e := errorOf(noGroups); e != nil && e.Kind != KindForbidden && len(users.list) == 0 {
		return SearchResult{}, e
	}
	// A crowd of users does not keep out every group: a quarter of the room is
	// for them.
	forUsers := min(len(users.list), p.limit-min(len(groups.list), p.limit/4))
	forGroups := min(len(groups.list), p.limit-forUsers)
	return SearchResult{
		Users:  users.list[:forUsers],
		Groups: groups.list[:forGroups],
		More:   users.more || groups.more || forUsers < len(users.list) || forGroups < len(groups.list),
	}, nil
}

// findUsers returns at most as many users as are wanted, the best first.
func (s *searcher) findUsers(ctx context.Context, p *query) (hits[User], error) {
	if s.directory.sync != nil {
		if x, complete := s.directory.sync.current(); complete {
			return x.search(p), nil
		}
	}
	top := p.limit
	if len(s.directory.domains) > 0 {
		top = min(2*top+20, 2*maxFound) // some of them will be left out
	}
	if p.digits != "" {
		top = maxNumbers
	}
	expression, filter := p.userSearch()
	key := strconv.Itoa(top) + " " + expression
	found, err := s.users.get(ctx, key, func(ctx context.Context) (hits[User], error) {
		ask := s.graph.SearchUsers
		if filter {
			ask = s.graph.FilterUsers
		}
		users, more, err := ask(ctx, expression, top)
		if e := listError(err); e != nil {
			return hits[User]{}, e
		}
		users = tidyAll(users)
		s.directory.learn(users)
		return hits[User]{users, more}, nil
	})
	if err != nil {
		return hits[User]{}, err
	}
	shown := slices.DeleteFunc(slices.Clone(found.list), func(u User) bool { return !s.directory.domains.show(&u) })
	return best(p, hits[User]{shown, found.more}, userText, func(u *User) string { return u.ID }), nil
}

// askGroups returns the groups that match, the best first.
func (s *searcher) askGroups(ctx context.Context, p *query, expression string) (hits[Group], error) {
	key := strconv.Itoa(p.limit) + " " + expression
	found, err := s.groups.get(ctx, key, func(ctx context.Context) (hits[Group], error) {
		groups, more, err := s.graph.SearchGroups(ctx, expression, p.limit)
		if e := listError(err); e != nil {
			return hits[Group]{}, e
		}
		for i := range groups {
			groups[i].ID = strings.ToLower(groups[i].ID)
		}
		return hits[Group]{groups, more}, nil
	})
	if err != nil {
		return hits[Group]{}, err
	}
	return best(p, found, groupText, func(g *Group) string { return g.ID }), nil
}

// best puts what Graph found in order, in a list of its own, and cuts it to the
// limit.
func best[E any](p *query, found hits[E], text, id func(*E) string) hits[E] {
	type ranked struct {
		entry    E
		rank     int
		text, id string
	}
	all := make([]ranked, 0, len(found.list))
	for i := range found.list {
		e := &found.list[i]
		one := ranked{entry: *e, text: text(e), id: id(e)}
		if one.rank = p.rank(one.text); one.rank < rankGraphs || !p.strict {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(a.rank-b.rank, strings.Compare(a.text, b.text), strings.Compare(a.id, b.id))
	})
	out := hits[E]{make([]E, min(len(all), p.limit)), found.more || len(all) > p.limit}
	for i := range out.list {
		out.list[i] = all[i].entry
	}
	return out
}
