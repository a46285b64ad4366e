package graphsrc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

// Options configure a Source. Zero fields take the defaults given.
type Options struct {
	Graph  Graph        // required
	Budget Permits      // required
	Clock  clock.Clock  // default: the system's
	Logger *slog.Logger // nil logs nothing

	// Fresh is the refresh interval: a reading younger than this is answered
	// from memory. Default 20 s.
	Fresh time.Duration
	// Stale is how old a reading may be that is served while Graph fails; not
	// less than Fresh. Default 5 min.
	Stale time.Duration
	// CacheSize is the most people whose presence is remembered. Default 100,000.
	CacheSize int
	// SafetyNet is how often people are read whose changes are notified (see
	// Cover); not less than WatchFloor. Default 5 min.
	SafetyNet time.Duration
	// BatchWindow is how far apart the requests of a lane are at least: what is
	// asked for meanwhile leaves as one. They are further apart where the budget
	// is scarce. Default 5 ms.
	BatchWindow time.Duration
	// Timeout bounds one request, and the wait of a caller without a nearer
	// deadline. Default 10 s.
	Timeout time.Duration

	// Shared is what this source has in common with others of the same tenant, in
	// other processes; nil: there are none. See sharing.go.
	Shared Shared
	// SharedDirectory is where it finds what others of the same tenant have looked
	// up; nil: it looks everybody up itself. It is not used with DirectorySync.
	SharedDirectory SharedDirectory

	// OnChange hears of every difference in what is known of a watched person;
	// see Watch. Notify sets it later.
	OnChange func(Change)
	// WatchFloor is the shortest interval at which a watched person is read.
	// Default Fresh.
	WatchFloor time.Duration
	// WatchCeiling is the longest interval for somebody who is read less often
	// so that others can be read more often. When even equal intervals are above
	// it there are too many people for the budget, which still wins: it is logged
	// and shows in Stats. Not less than WatchFloor. Default 5 min.
	WatchCeiling time.Duration
	// RefreshRate is how many requests per second refreshing may make, more
	// than 0. Default 22.5, half the rate of the default budget.
	RefreshRate float64

	// UserTTL is how long a user of the directory is remembered, NegativeTTL
	// how long it is remembered that an address is nobody's. Defaults 1 h and 5 min.
	UserTTL, NegativeTTL time.Duration
	// DirectorySize is the most users remembered, whether looked up or
	// synchronized. Default 200,000.
	DirectorySize int
	// DirectorySync keeps the whole directory in memory by /users/delta, read
	// again every SyncInterval (default 5 min); lookups then ask nothing.
	DirectorySync bool
	SyncInterval  time.Duration
	// SyncState keeps the directory from one start to the next, so that it need
	// not be read whole again; nil keeps nothing. SyncOwner says whose directory
	// it is (the tenant id): what was kept for another owner is not used.
	SyncState SyncState
	SyncOwner string
	// Domains are the SIP domains of the tenant; an address outside them is
	// refused without asking. None allows every domain.
	Domains []string

	// ContactsTTL is how long managers, groups and contacts are remembered.
	// Default 10 min.
	ContactsTTL time.Duration
	// MaxContacts and MaxGroups bound one list. Defaults 250 and 64.
	MaxContacts, MaxGroups int

	// PhotoCacheBytes bounds the photos remembered, in bytes. Default 64 MiB.
	PhotoCacheBytes int
	// PhotoTTL is how long a photo is remembered before it is compared with
	// Graph's, PhotoNegativeTTL how long it is remembered that a user has none.
	// Defaults 1 h and 4 h.
	PhotoTTL, PhotoNegativeTTL time.Duration
	// SearchTTL is how long the answer to a search is remembered. Default 30 s.
	SearchTTL time.Duration
}

func (o *Options) setDefaults() error {
	if o.Graph == nil || o.Budget == nil {
		return errors.New("a source needs a Graph and a budget")
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var wrong []error
	duration := func(name string, d *time.Duration, byDefault time.Duration) {
		if *d == 0 {
			*d = byDefault
		} else if *d < 0 {
			wrong = append(wrong, fmt.Errorf("option %s is %s, must be more than 0", name, *d))
		}
	}
	count := func(name string, n *int, byDefault int) {
		if *n == 0 {
			*n = byDefault
		} else if *n < 0 {
			wrong = append(wrong, fmt.Errorf("option %s is %d, must be more than 0", name, *n))
		}
	}
	duration("Fresh", &o.Fresh, 20*time.Second)
	duration("Stale", &o.Stale, max(5*time.Minute, o.Fresh))
	duration("WatchFloor", &o.WatchFloor, o.Fresh)
	duration("WatchCeiling", &o.WatchCeiling, max(5*time.Minute, o.WatchFloor))
	duration("SafetyNet", &o.SafetyNet, max(5*time.Minute, o.WatchFloor))
	duration("BatchWindow", &o.BatchWindow, 5*time.Millisecond)
	duration("Timeout", &o.Timeout, 10*time.Second)
	duration("UserTTL", &o.UserTTL, time.Hour)
	duration("NegativeTTL", &o.NegativeTTL, 5*time.Minute)
	duration("SyncInterval", &o.SyncInterval, 5*time.Minute)
	duration("ContactsTTL", &o.ContactsTTL, 10*time.Minute)
	duration("PhotoTTL", &o.PhotoTTL, time.Hour)
	duration("PhotoNegativeTTL", &o.PhotoNegativeTTL, 4*time.Hour)
	duration("SearchTTL", &o.SearchTTL, 30*time.Second)
	count("PhotoCacheBytes", &o.PhotoCacheBytes, 64<<20)
	count("CacheSize", &o.CacheSize, 100_000)
	count("DirectorySize", &o.DirectorySize, 200_000)
	count("MaxContacts", &o.MaxContacts, 250)
	count("MaxGroups", &o.MaxGroups, 64)
	if o.RefreshRate == 0 {
		o.RefreshRate = 22.5
	}
	if !(o.RefreshRate >= minRefreshRate && o.RefreshRate <= maxRefreshRate) {
		wrong = append(wrong, fmt.Errorf("option RefreshRate is %v, must be from %v to %v requests per second",
			o.RefreshRate, minRefreshRate, maxRefreshRate))
	}
	if o.WatchCeiling < o.WatchFloor {
		wrong = append(wrong, fmt.Errorf("option WatchCeiling is %s, must not be less than WatchFloor (%s)", o.WatchCeiling, o.WatchFloor))
	}
	if o.SafetyNet < o.WatchFloor {
		wrong = append(wrong, fmt.Errorf("option SafetyNet is %s, must not be less than WatchFloor (%s)", o.SafetyNet, o.WatchFloor))
	}
	if o.Stale < o.Fresh {
		wrong = append(wrong, fmt.Errorf("option Stale is %s, must not be less than Fresh (%s)", o.Stale, o.Fresh))
	}
	return errors.Join(wrong...)
}

// Reading is one presence as last read.
type Reading struct {
	// Presence holds the id as it was asked for, lower case.
	Presence Presence
	// ReadAt is when Graph last said these words. It can be older than the
	// refresh interval where a newer answer was not believed.
	ReadAt time.Time
	// LastActive is when this process last saw the person Available, Busy or
	// DoNotDisturb and not idle; zero if it has not.
	LastActive time.Time
	// Stale is set if the reading should have been renewed and Graph failed.
	Stale bool
}

// Result is what became of one of several ids; Err is nil or an *Error.
type Result struct {
	Reading Reading
	Err     error
}

// Source answers for one tenant. It is safe for concurrent use. Close it.
type Source struct {
	graph     Graph
	clk       clock.Clock
	stale     time.Duration
	timeout   time.Duration
	life      *lifetime
	cache     *cache
	coalescer *coalescer
	grants    grants
	directory *directory
	contacts  *contacts
	publisher *publisher
	photos    *memo[Photo]
	searcher  *searcher
	sync      *syncer // nil unless switched on
	watch     *watchlist
	refresher *refresher
	looker    *looker
	share     *sharing // nil unless there are other sources
	onChange  atomic.Pointer[func(Change) error]
	onMissed  atomic.Pointer[func(id string)]
	started   atomic.Bool
	counters  counters
}

// New checks o and builds a source. Nothing is asked before the first call.
func New(o Options) (*Source, error) {
	if err := o.setDefaults(); err != nil {
		return nil, fmt.Errorf("building the source: %w", err)
	}
	s := &Source{graph: o.Graph, clk: o.Clock, stale: o.Stale, timeout: o.Timeout, life: newLifetime(), grants: newGrants(o.Clock, o.Logger)}
	s.cache = newCache(o.CacheSize, o.Fresh, o.Clock.Now(), &s.counters)
	s.cache.stale, s.cache.floor = o.Stale, o.WatchFloor
	s.watch = newWatchlist(s.cache)
	if o.OnChange != nil {
		s.Notify(func(c Change) error { o.OnChange(c); return nil })
	}
	s.coalescer = &coalescer{
		graph: o.Graph, permits: o.Budget, clk: o.Clock, life: s.life, log: o.Logger, cache: s.cache,
		grant: s.grants.presence, stats: &s.counters, window: o.BatchWindow, timeout: o.Timeout,
		watch: s.watch, tell: s.tell, miss: s.miss,
	}
	s.coalescer.init()
	s.refresher = newRefresher(&o, s.coalescer, s.watch)
	s.looker = &looker{
		coalescer: s.coalescer, list: s.watch, life: s.life, clk: o.Clock,
		within: max(o.Timeout, o.WatchFloor), slots: make(chan struct{}, maxInFlight),
	}
	if o.DirectorySync {
		s.sync = newSyncer(&o, s.grants.users)
	}
	var err error
	if s.directory, err = newDirectory(&o, s.life, s.grants.users, s.sync); err != nil {
		return nil, err
	}
	if s.contacts, err = newContacts(&o, s.life, &s.grants); err != nil {
		return nil, err
	}
	if s.photos, err = newPhotos(&o, s.life, s.grants.photos); err != nil {
		return nil, err
	}
	if s.searcher, err = newSearcher(&o, s.life, &s.grants, s.directory); err != nil {
		return nil, err
	}
	s.publisher = newPublisher(&o, s.life, s.grants.publish)
	if o.Shared != nil {
		s.share = newSharing(&o, s)
		s.coalescer.share, s.looker.share, s.refresher.share, s.cache.shares = s.share, s.share, s.share, true
	}
	return s, nil
}

// Start begins what runs in the background: the refreshing of people who are
// watched, finding out whether publishing is permitted and, if it is switched
// on, the synchronization of the directory. All end with ctx or with Close; a
// second call does nothing.
func (s *Source) Start(ctx context.Context) {
	if !s.started.CompareAndSwap(false, true) {
		return
	}
	s.background(ctx, s.refresher.run)
	s.background(ctx, s.publisher.run)
	if s.share != nil {
		s.background(ctx, s.share.run)
	}
	if s.sync != nil {
		s.background(ctx, s.sync.run)
	}
}

// background runs work until ctx ends or the source is closed.
func (s *Source) background(ctx context.Context, work func(context.Context)) {
	if !s.life.enter() {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(s.life.ctx, cancel)
	go func() {
		defer s.life.leave()
		defer cancel()
		defer unlink()
		work(ctx)
	}()
}

// Close ends everything that runs and waits for it. Whoever still waits for an
// answer gets an error of KindUnavailable.
func (s *Source) Close() { s.life.end() }

// Leads says that this source reads and reports for all of its tenant: always,
// unless there are others. It asks nobody.
func (s *Source) Leads() bool { return s.share == nil || s.share.shared.Role() == Leading }

// Recounts says whether a change of somebody is reported even if nobody watched
// them when it was read, once somebody does: whenever there are other sources, and
// the change is a few minutes old at most. See sharing.passed.
func (s *Source) Recounts() bool { return s.share != nil }

// Synchronized reports whether look-ups are answered from a whole directory in
// memory that is not overdue; always false while synchronization is off.
func (s *Source) Synchronized() bool {
	if s.sync == nil {
		return false
	}
	_, complete := s.sync.current()
	return complete
}

// Missing lists the application permissions that Graph has refused, sorted.
func (s *Source) Missing() []string { return s.grants.missing() }

// Presence returns what is known of a user, asking Graph if it is no longer
// fresh. id is an object id. While Graph fails, a reading younger than
// Options.Stale is returned, marked stale. A user whom Graph does not show reads
// as PresenceUnknown; one of whom it says 404 is an error of KindNotFound. Errors
// are *Error.
func (s *Source) Presence(ctx context.Context, id string) (Reading, error) {
	k, ok := parseKey(id)
	if !ok {
		return Reading{}, invalidID("get presence", id)
	}
	id = strings.ToLower(id)
	if s.share == nil {
		return s.presence(ctx, k, id)
	}
	blindly := s.share.fetch(ctx, id)
	r, err := s.presence(ctx, k, id)
	blindly.saw(&r, err)
	return r, err
}

func (s *Source) presence(ctx context.Context, k userKey, id string) (Reading, error) {
	now := s.clk.Now()
	rec, known := s.recall(ctx, k, now)
	if known && s.cache.isFresh(&rec, now) {
		s.counters.hits.Add(1)
		return s.shown(id, &rec, now)
	}
	s.counters.misses.Add(1)
	if known && s.cache.age(&rec, now) < s.stale {
		// Something can be served: do not keep the caller waiting for better.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, staleWait)
		defer cancel()
	}
	got := s.coalescer.ask(ctx, budget.LaneOf(ctx), []userKey{k})
	return s.conclude(k, id, got[0])
}

// Presences is Presence for several ids. Results are in the order of ids; what
// goes wrong with one does not touch the others.
func (s *Source) Presences(ctx context.Context, ids []string) []Result {
	if s.share == nil {
		return s.presences(ctx, ids)
	}
	blindly := s.share.fetch(ctx, ids...)
	out := s.presences(ctx, ids)
	for i := range out {
		blindly.saw(&out[i].Reading, out[i].Err)
	}
	return out
}

func (s *Source) presences(ctx context.Context, ids []string) []Result {
	out := make([]Result, len(ids))
	now := s.clk.Now()
	var keys []userKey
	at := make(map[userKey]int) // index in keys
	wait := make([]int, len(ids))
	for i, id := range ids {
		wait[i] = -1
		k, ok := parseKey(id)
		if !ok {
			out[i].Err = invalidID("get presence", id)
			continue
		}
		if rec, ok := s.recall(ctx, k, now); ok && s.cache.isFresh(&rec, now) {
			s.counters.hits.Add(1)
			out[i].Reading, out[i].Err = s.shown(strings.ToLower(id), &rec, now)
			continue
		}
		s.counters.misses.Add(1)
		n, seen := at[k]
		if !seen {
			n = len(keys)
			at[k] = n
			keys = append(keys, k)
		}
		wait[i] = n
	}
	if len(keys) == 0 {
		return out
	}
	got := s.coalescer.ask(ctx, budget.LaneOf(ctx), keys)
	for i, n := range wait {
		if n >= 0 {
			out[i].Reading, out[i].Err = s.conclude(keys[n], strings.ToLower(ids[i]), got[n])
		}
	}
	return out
}

// recall returns what is known of somebody a caller asks for. Who is asked for by
// a client is read more often from now on, if watched.
func (s *Source) recall(ctx context.Context, k userKey, now time.Time) (rec record, known bool) {
	if budget.LaneOf(ctx) != budget.Interactive {
		return s.cache.get(k)
	}
	rec, known, stir := s.cache.ask(k, now)
	if stir {
		s.watch.stir(k, now)
	}
	return rec, known
}

// conclude shows the outcome of asking to a caller; after a failure, what is
// known if it is not too old.
func (s *Source) conclude(k userKey, id string, got outcome) (Reading, error) {
	if got.err == nil {
		return s.shown(id, &got.rec, s.clk.Now())
	}
	err := asError("get presence", got.err)
	// A caller who has left is told so; anyone else may get what is known.
	if !errors.Is(err, context.Canceled) {
		now := s.clk.Now()
		if rec, ok := s.cache.get(k); ok && s.cache.age(&rec, now) < s.stale {
			s.counters.stale.Add(1)
			s.counters.served.add(s.cache.age(&rec, now))
			return s.cache.reading(id, &rec, true), nil
		}
	}
	return Reading{}, err
}

// staleWait is how long a caller waits for Graph who could have a reading that
// is no longer fresh, but not stale either.
const staleWait = 2 * time.Second

// shown is the outcome for a caller of a record that need not be asked for.
func (s *Source) shown(id string, rec *record, now time.Time) (Reading, error) {
	if rec.absent {
		return Reading{}, &Error{Op: "get presence", Kind: KindNotFound, Message: "Graph knows no presence of this person"}
	}
	s.counters.served.add(s.cache.age(rec, now))
	return s.cache.reading(id, rec, false), nil
}

func invalidID(op, id string) error {
	return &Error{Op: op, Kind: KindInvalid, Code: CodeInvalidID, Message: fmt.Sprintf("%.64q is not an object id", id)}
}
