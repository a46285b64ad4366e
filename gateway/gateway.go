package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/mapping"
)

// Source tells the truth about one tenant. Addresses are user@domain; ids are
// object ids. Errors are *graphsrc.Error.
type Source interface {
	// Lookup finds a person by any of their addresses.
	Lookup(ctx context.Context, address string) (graphsrc.User, error)
	// Known is Lookup without asking: it finds whom the source remembers.
	Known(address string) (graphsrc.User, bool)
	// User reads a person by object id.
	User(ctx context.Context, id string) (graphsrc.User, error)
	// Presence returns the last reading of a person, read anew if it is no
	// longer fresh.
	Presence(ctx context.Context, id string) (graphsrc.Reading, error)
	// Watch reads people again and again and reports every change of what
	// Presence returns to the function given to Notify; Unwatch ends it. Each
	// Watch is paired with one Unwatch.
	Watch(ids ...string)
	Unwatch(ids ...string)
	// Notify is called once, before the first Watch. Where several replicas share
	// what they read, a change comes again after an error.
	Notify(func(graphsrc.Change) error)
	// Recounts says whether a change since somebody was last read is reported even
	// if nobody watched them then.
	Recounts() bool
	ContactSource
	PublishSource
	DirectorySource
}

// DirectorySource shows the directory beyond single people.
type DirectorySource interface {
	// Search looks for people and groups.
	Search(ctx context.Context, q graphsrc.SearchQuery) (graphsrc.SearchResult, error)
	// Group reads one group by object id.
	Group(ctx context.Context, id string) (graphsrc.Group, error)
	// Photo returns a photo whose edge is the largest offered of at most px
	// pixels; no photo is KindNotFound.
	Photo(ctx context.Context, id string, px int) (graphsrc.Photo, error)
}

// PublishSource says something about a person's presence.
type PublishSource interface {
	// Publish performs one action; lasts is the expiration of what it sets,
	// zero leaves it to the source. What changes by it is read and reported
	// soon after.
	Publish(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) error
	// MayPublish says whether that is permitted, as far as is known.
	MayPublish() bool
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
	// PGets is how many channels may have a P-GET waiting, PGetsPerUser how many
	// of one user; zero is no bound.
	PGets, PGetsPerUser int
	// Session bounds subscriptions, members, queued events and silence.
	Session session.Limits
}

// Options are what New needs.
type Options struct {
	Tenants []Tenant
	Store   Store
	// Clock times what the store keeps: where replicas share it, they share the
	// time as well.
	Clock clock.Clock
	// SourceClock is the one by which sources say when something became known;
	// nil is Clock.
	SourceClock clock.Clock
	Logger      *slog.Logger // nil logs nothing
	Translation mapping.Options
	Contacts    ContactOptions
	// Access decides who may do what; nil lets everybody.
	Access Access
	// ReadOnly keeps users from publishing their presence even where that is
	// permitted.
	ReadOnly bool
	// NoPhotos refuses photos.
	NoPhotos bool
	Limits   Limits // zero fields take the defaults
	// RosterInterval is how often groups that somebody subscribed to are read
	// again (default 5 min).
	RosterInterval time.Duration
	// OnWake is told how long ago the events were due with which a P-GET that
	// waited is answered: since they became known, without the time for which
	// its client wants them held back. It must not block. Nil is for nobody.
	OnWake func(late time.Duration)
}

// Gateway answers for all tenants.
type Gateway struct {
	tenants     []*Tenant
	byDomain    map[string]*Tenant
	store       Store
	clock       clock.Clock
	sourceClock clock.Clock
	log         *slog.Logger
	translation mapping.Options
	contacts    ContactOptions
	access      Access // nil: everybody may do everything
	readOnly    bool
	noPhotos    bool
	limits      Limits
	unknown     unknownWords
	parked      atomic.Int64 // P-GETs that wait
	parking     parking      // the channels whose P-GETs they are
	groupIDs    groupIDs
	watch       *watch
	rosters     *rosters
	drain       *drain
	publisher   *publisher
	rosterEvery time.Duration
	onWake      func(late time.Duration) // may be nil

	stop context.CancelFunc // nil until Start
	work sync.WaitGroup
}

// New checks o and builds a gateway.
func New(o Options) (*Gateway, error) {
	if o.Store == nil || o.Clock == nil {
		return nil, errors.New("a gateway needs a store and a clock")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SourceClock == nil {
		o.SourceClock = o.Clock
	}
	if o.Limits.ApplicationsPerUser <= 0 {
		o.Limits.ApplicationsPerUser = 40
	}
	if o.Limits.Contacts <= 0 {
		o.Limits.Contacts = 250
	}
	// The store enforces these; errors name them.
	o.Limits.Session = o.Limits.Session.WithDefaults()
	if o.RosterInterval <= 0 {
		o.RosterInterval = 5 * time.Minute
	}
	g := &Gateway{
		byDomain: make(map[string]*Tenant), store: o.Store, clock: o.Clock, sourceClock: o.SourceClock, log: o.Logger,
		translation: o.Translation, contacts: o.Contacts, access: o.Access, readOnly: o.ReadOnly, noPhotos: o.NoPhotos, limits: o.Limits, rosterEvery: o.RosterInterval, onWake: o.OnWake,
		drain: newDrain(),
	}
	g.parking.all, g.parking.perUser = o.Limits.PGets, o.Limits.PGetsPerUser
	g.watch, g.rosters, g.publisher = newWatch(g), newRosters(g), newPublisher(g)
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
	g.store.Open(Hooks{Interest: g.watch.interest, Available: g.publisher.available})
	return g, nil
}

// Start begins the work in the background; it ends with Close.
func (g *Gateway) Start(ctx context.Context) {
	ctx, g.stop = context.WithCancel(ctx)
	for _, t := range g.tenants {
		t.Source.Notify(func(c graphsrc.Change) error { return g.watch.changed(ctx, t, c) })
	}
	g.work.Go(func() { g.watch.run(ctx) })
	t := &ticker{gateway: g}
	g.work.Go(func() { g.every(ctx, tickEvery, t.tick) })
	// What is read again in the background does not compete with those who wait.
	background := budget.WithLane(ctx, budget.Refresh)
	g.work.Go(func() { g.every(background, g.rosterEvery, g.rosters.refresh) })
}

// Close ends what Start began. It releases parked P-GETs at once; Drain before
// it spreads them.
func (g *Gateway) Close() {
	g.Drain(0)
	g.drain.finish()
	if g.stop != nil {
		g.stop()
	}
	g.work.Wait()
	g.watch.close()
	g.publisher.close()
}

// every calls f again and again until ctx ends, with a pause of d.
func (g *Gateway) every(ctx context.Context, d time.Duration, f func(context.Context)) {
	due := make(chan struct{}, 1)
	for {
		timer := g.clock.AfterFunc(d, func() { due <- struct{}{} })
		select {
		case <-due:
			f(ctx)
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// tenantOf returns the tenant whose domain an address has, or nil.
func (g *Gateway) tenantOf(address string) *Tenant {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return nil
	}
	return g.byDomain[address[at+1:]]
}
