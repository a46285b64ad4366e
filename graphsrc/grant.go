package graphsrc

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

const (
	// hideFor is how long a kind of question is not asked after Graph said
	// that the permission is missing; an administrator's consent shows after
	// at most this long.
	hideFor = 2 * time.Minute
	// denialsToHide is how many refusals in a row hide a kind of question
	// that used to be answered. One alone may be about one mailbox that a
	// policy of the tenant closes to applications.
	denialsToHide = 3
)

// grant follows whether Graph lets the application ask one kind of question.
type grant struct {
	what       string // for the log, for example "contact folders"
	permission string // the least application permission that allows it
	clk        clock.Clock
	log        *slog.Logger

	mu          sync.Mutex
	answered    bool // Graph has answered it at least once
	denied      int  // refusals in a row
	logged      bool
	hiddenUntil time.Time
	missing     bool
	lacking     bool // the token in use does not carry the permission
}

// check returns an error instead of asking while the question is hidden.
func (g *grant) check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hidden() {
		return &Error{Op: g.what, Kind: KindForbidden, Message: "needs " + g.permission, Err: ErrHidden}
	}
	return nil
}

// open says that the question may be asked, as far as is known.
func (g *grant) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.lacking && !g.hidden()
}

// hiddenFor is how long check returns errors.
func (g *grant) hiddenFor() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.hidden() {
		return 0
	}
	return g.hiddenUntil.Sub(g.clk.Now())
}

// hidden says that the question is not asked. The caller holds mu.
func (g *grant) hidden() bool { return g.missing && g.clk.Now().Before(g.hiddenUntil) }

// carried takes what a token says of the permission, before anything is asked.
// That it carries the permission does not undo a refusal by Graph.
func (g *grant) carried(has bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !has:
		g.lacking, g.missing = true, true
		g.hiddenUntil = g.clk.Now().Add(hideFor)
		if !g.logged {
			g.logged = true
			g.log.Info("the token does not carry a Graph permission; what needs it is hidden",
				"for", g.what, "permission", g.permission)
		}
	case g.lacking:
		g.arrived()
	}
}

// arrived ends the hiding. The caller holds mu.
func (g *grant) arrived() {
	if g.missing {
		g.log.Info("Graph permission has arrived", "for", g.what, "permission", g.permission)
	}
	g.missing, g.lacking, g.logged, g.denied = false, false, false, 0
}

// observe takes Graph's answer; err is nil or *Error.
func (g *grant) observe(err *Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil || err.Kind == KindNotFound:
		g.answered = true
		g.arrived()
	case err.Kind == KindForbidden:
		g.denied++
		if g.answered && g.denied < denialsToHide {
			return
		}
		g.missing = true
		g.hiddenUntil = g.clk.Now().Add(hideFor)
		if !g.logged {
			g.logged = true
			g.log.Warn("Graph permission is missing; what needs it is hidden", "for", g.what,
				"permission", g.permission, "code", err.Code, "request_id", err.RequestID)
		}
	}
}

// grants are the permissions the source can do with, each followed by itself.
type grants struct {
	presence, users, manager, reports, memberOf, members, people, contacts,
	publish, photos, search, groups *grant
}

func newGrants(clk clock.Clock, log *slog.Logger) grants {
	g := func(what, permission string) *grant {
		return &grant{what: what, permission: permission, clk: clk, log: log}
	}
	return grants{
		presence: g("presence", "Presence.Read.All"),
		users:    g("users", "User.Read.All"),
		manager:  g("managers", "User.Read.All"),
		reports:  g("direct reports", "User.Read.All"),
		memberOf: g("groups of a user", "Directory.Read.All"),
		members:  g("members of a group", "GroupMember.Read.All"),
		people:   g("people", "People.Read.All"),
		contacts: g("personal contacts", "Contacts.Read"),
		publish:  g("presence publishing", PublishPermission),
		photos:   g("photos", "ProfilePhoto.Read.All"),
		search:   g("search for users", "User.Read.All"),
		groups:   g("groups", "Group.Read.All"),
	}
}

// missing lists the permissions found missing, sorted, each once.
func (g *grants) missing() []string {
	var out []string
	for _, one := range []*grant{
		g.presence, g.users, g.manager, g.reports, g.memberOf, g.members, g.people, g.contacts,
		g.publish, g.photos, g.search, g.groups,
	} {
		one.mu.Lock()
		if one.missing {
			out = append(out, one.permission)
		}
		one.mu.Unlock()
	}
	slices.Sort(out)
	return slices.Compact(out)
}
