package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/mapping"
)

// Source tells the truth about one tenant. Addresses are user@domain; ids are
// object ids. Errors are *graphsrc.Error.
type Source interface {
	// Lookup finds a person by any of their addresses.
	Lookup(ctx context.Context, address string) (graphsrc.User, error)
	// User reads a person by object id.
	User(ctx context.Context, id string) (graphsrc.User, error)
	// Presence returns the last reading of a person, read anew if it is no
	// longer fresh.
	Presence(ctx context.Context, id string) (graphsrc.Reading, error)
	ContactSource
}

// ContactSource tells whom a person knows. A source that is not permitted
// answers with an error of kind forbidden; it then hides, and nothing else fails.
type ContactSource interface {
	Manager(ctx context.Context, id string) (graphsrc.User, error)
	DirectReports(ctx context.Context, id string) ([]graphsrc.User, error)
	MemberOf(ctx context.Context, id string) ([]graphsrc.Group, error)
	GroupMembers(ctx context.Context, groupID string) ([]graphsrc.User, error)
	People(ctx context.Context, id string) ([]graphsrc.MailboxContact, error)
	ContactFolders(ctx context.Context, id string) ([]graphsrc.ContactFolder, error)
	Contacts(ctx context.Context, id, folderID string) ([]graphsrc.MailboxContact, error)
}

// Tenant is one tenant that the gateway serves.
type Tenant struct {
	Name    string   // for the log
	ID      string   // Entra tenant id; an Entra token of another tenant is refused
	Domains []string // SIP domains
	Source  Source
}

// Limits bounds what one client can make the gateway hold.
type Limits struct {
	// ApplicationsPerUser is how many applications of a user live at once
	// before the oldest makes room; most clients never delete theirs.
	ApplicationsPerUser int
	// Contacts is the most contacts of one group that are shown.
	Contacts int
}

// Options are what New needs.
type Options struct {
	Tenants     []Tenant
	Store       Store
	Clock       clock.Clock
	Logger      *slog.Logger // nil logs nothing
	Translation mapping.Options
	Contacts    ContactOptions
	Limits      Limits // zero fields take the defaults
}

// Gateway answers for all tenants.
type Gateway struct {
	tenants     []*Tenant
	byDomain    map[string]*Tenant
	store       Store
	clock       clock.Clock
	log         *slog.Logger
	translation mapping.Options
	contacts    ContactOptions
	limits      Limits
	unknown     unknownWords
}

// New checks o and builds a gateway.
func New(o Options) (*Gateway, error) {
	if o.Store == nil || o.Clock == nil {
		return nil, errors.New("a gateway needs a store and a clock")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Limits.ApplicationsPerUser <= 0 {
		o.Limits.ApplicationsPerUser = 40
	}
	if o.Limits.Contacts <= 0 {
		o.Limits.Contacts = 250
	}
	g := &Gateway{
		byDomain: make(map[string]*Tenant), store: o.Store, clock: o.Clock, log: o.Logger,
		translation: o.Translation, contacts: o.Contacts, limits: o.Limits,
	}
	for i := range o.Tenants {
		t := &o.Tenants[i]
		if t.Source == nil {
			return nil, fmt.Errorf("tenant %q has no source", t.Name)
		}
		g.tenants = append(g.tenants, t)
		for _, d := range t.Domains {
			d = strings.ToLower(d)
			if other := g.byDomain[d]; other != nil {
				return nil, fmt.Errorf("domain %q belongs to the tenants %q and %q", d, other.Name, t.Name)
			}
			g.byDomain[d] = t
		}
	}
	if len(g.byDomain) == 0 {
		return nil, errors.New("a gateway needs a tenant with a domain")
	}
	return g, nil
}

// tenantOf returns the tenant whose domain an address has, or nil.
func (g *Gateway) tenantOf(address string) *Tenant {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return nil
	}
	return g.byDomain[address[at+1:]]
}
