package gateway

import (
	"context"
	"sync"

	"ucwagate/gateway/session"
)

// roster reads all groups of p with their members.
func (g *Gateway) roster(ctx context.Context, p Principal) (session.Roster, error) {
	groups, err := g.Groups(ctx, p)
	if err != nil {
		return session.Roster{}, err
	}
	var r session.Roster
	for _, group := range groups {
		members, err := g.memberAddresses(ctx, p, group)
		if err != nil && !hasReason(err, TooManyContacts) {
			return session.Roster{}, err
		}
		// A group that is too large to be shown is there all the same.
		r.Groups = append(r.Groups, session.RosterGroup{
			ID: group.ID, Rel: string(group.Kind), Name: group.Name,
			List: group.Kind != DistributionGroup, Members: members, Unread: err != nil,
		})
	}
	return r, nil
}

func (g *Gateway) memberAddresses(ctx context.Context, p Principal, group Group) ([]string, error) {
	members, err := g.GroupContacts(ctx, p, group)
	if err != nil {
		return nil, err
	}
	addresses := make([]string, len(members))
	for i, m := range members {
		addresses[i] = m.Address
	}
	return addresses, nil
}

// rosters brings applications up to date whose subscriptions follow groups:
// every so often their groups are read again, from the source's memory mostly.
type rosters struct {
	gateway *Gateway

	mu       sync.Mutex
	followed map[string]*follower // by application id
}

type follower struct {
	app       Application
	principal Principal
}

func newRosters(g *Gateway) *rosters {
	return &rosters{gateway: g, followed: make(map[string]*follower)}
}

// follow adds an application; it is dropped when nothing of it follows groups
// any more.
func (r *rosters) follow(app Application, p Principal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.followed[app.ID] = &follower{app, p}
}

// refresh reads everything that is followed once.
func (r *rosters) refresh(ctx context.Context) {
	r.mu.Lock()
	list := make([]*follower, 0, len(r.followed))
	for _, f := range r.followed {
		list = append(list, f)
	}
	r.mu.Unlock()
	for _, f := range list {
		if ctx.Err() != nil {
			return
		}
		if !r.update(ctx, f) {
			r.mu.Lock()
			if r.followed[f.app.ID] == f { // else it began to follow again meanwhile
				delete(r.followed, f.app.ID)
			}
			r.mu.Unlock()
		}
	}
}

// changed tells the applications of p that follow their groups what p has just
// changed in them.
func (r *rosters) changed(ctx context.Context, p Principal) {
	r.mu.Lock()
	var list []*follower
	for _, f := range r.followed {
		if f.principal.Address == p.Address {
			list = append(list, f)
		}
	}
	r.mu.Unlock()
	for _, f := range list {
		r.update(ctx, f)
	}
}

// update brings one application up to date and reports whether it is to be
// followed on.
func (r *rosters) update(ctx context.Context, f *follower) bool {
	g := r.gateway
	type needs struct {
		groups []string
		lists  bool
	}
	n, err := update(ctx, g, f.app, func(s *session.Session) (n needs, _ error) {
		_, n.lists = s.ContactsAndGroups(g.clock.Now())
		for _, sub := range s.Subscriptions(g.clock.Now()) {
			if sub.Group != "" {
				n.groups = append(n.groups, sub.Group)
			}
		}
		return n, nil
	})
	if err != nil || !n.lists && len(n.groups) == 0 {
		return err != nil && !isGone(err)
	}
	latest, err := g.roster(ctx, f.principal)
	if err != nil {
		// What is known stays: a group does not empty because Graph is down.
		g.log.WarnContext(ctx, "groups could not be read again", "application", f.app.ID, "error", err)
		return true
	}
	members, large := make(map[string][]string, len(latest.Groups)), make(map[string]bool)
	for _, group := range latest.Groups {
		members[group.ID] = group.Members
		if group.Unread {
			large[group.ID] = true
		}
	}
	_, err = update(ctx, g, f.app, func(s *session.Session) (struct{}, error) {
		now := g.clock.Now()
		for _, id := range n.groups {
			if !large[id] { // one that grew too large keeps the members it had
				s.SetGroupMembers(id, members[id], now)
			}
		}
		s.SetRoster(latest, now)
		return struct{}{}, nil
	})
	return err == nil || !isGone(err)
}

// isGone says that an application is not there any more.
func isGone(err error) bool {
	return hasReason(err, ApplicationNotFound, InactiveApplicationExpired, TooManyApplications)
}
