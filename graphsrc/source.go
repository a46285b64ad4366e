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
	// BatchWindow is how long a busy lane collects ids before a request
	// leaves. Default 5 ms.
	BatchWindow time.Duration
	// Timeout bounds one request, and the wait of a caller without a nearer
	// deadline. Default 10 s.
	Timeout time.Duration

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
	// Domains are the SIP domains of the tenant; an address outside them is
	// refused without asking. None allows every domain.
	Domains []string

	// ContactsTTL is how long managers, groups and contacts are remembered.
	// Default 10 min.
	ContactsTTL time.Duration
	// MaxContacts and MaxGroups bound one list. Defaults 250 and 64.
	MaxContacts, MaxGroups int
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
	duration("BatchWindow", &o.BatchWindow, 5*time.Millisecond)
	duration("Timeout", &o.Timeout, 10*time.Second)
	duration("UserTTL", &o.UserTTL, time.Hour)
	duration("NegativeTTL", &o.NegativeTTL, 5*time.Minute)
	duration("SyncInterval", &o.SyncInterval, 5*time.Minute)
	duration("ContactsTTL", &o.ContactsTTL, 10*time.Minute)
	count("CacheSize", &o.CacheSize, 100_000)
	count("DirectorySize", &o.DirectorySize, 200_000)
	count("MaxContacts", &o.MaxContacts, 250)
	count("MaxGroups", &o.MaxGroups, 64)
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
	life      *lifetime
	cache     *cache
	coalescer *coalescer
	grants    grants
	directory *directory
	contacts  *contacts
	sync      *syncer // nil unless switched on
	started   atomic.Bool
	counters  counters
}

// New checks o and builds a source. Nothing is asked before the first call.
func New(o Options) (*Source, error) {
	if err := o.setDefaults(); err != nil {
		return nil, fmt.Errorf("building the source: %w", err)
	}
	s := &Source{graph: o.Graph, clk: o.Clock, stale: o.Stale, life: newLifetime(), grants: newGrants(o.Clock, o.Logger)}
	s.cache = newCache(o.CacheSize, o.Fresh, o.Clock.Now(), &s.counters)
	s.cache.stale = o.Stale
	s.coalescer = &coalescer{
		graph: o.Graph, permits: o.Budget, clk: o.Clock, life: s.life, log: o.Logger, cache: s.cache,
		grant: s.grants.presence, stats: &s.counters, window: o.BatchWindow, timeout: o.Timeout,
	}
	s.coalescer.init()
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
	return s, nil
}

// Start begins what runs in the background, the synchronization of the
// directory if it is switched on. It ends with ctx or with Close; a second call
// does nothing.
func (s *Source) Start(ctx context.Context) {
	if s.sync == nil || !s.started.CompareAndSwap(false, true) || !s.life.enter() {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(s.life.ctx, cancel)
	go func() {
		defer s.life.leave()
		defer cancel()
		defer unlink()
		s.sync.run(ctx)
	}()
}

// Close ends everything that runs and waits for it. Whoever still waits for an
// answer gets an error of KindUnavailable.
func (s *Source) Close() { s.life.end() }

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
		return Reading{}, invalidID(id)
	}
	id = strings.ToLower(id)
	now := s.clk.Now()
	rec, known := s.cache.get(k)
	if known && s.cache.isFresh(&rec, now) {
		s.counters.hits.Add(1)
		return s.shown(id, &rec)
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
	out := make([]Result, len(ids))
	now := s.clk.Now()
	var keys []userKey
	at := make(map[userKey]int) // index in keys
	wait := make([]int, len(ids))
	for i, id := range ids {
		wait[i] = -1
		k, ok := parseKey(id)
		if !ok {
			out[i].Err = invalidID(id)
			continue
		}
		if rec, ok := s.cache.get(k); ok && s.cache.isFresh(&rec, now) {
			s.counters.hits.Add(1)
			out[i].Reading, out[i].Err = s.shown(strings.ToLower(id), &rec)
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

// conclude shows the outcome of asking to a caller; after a failure, what is
// known if it is not too old.
func (s *Source) conclude(k userKey, id string, got outcome) (Reading, error) {
	if got.err == nil {
		return s.shown(id, &got.rec)
	}
	err := asError("get presence", got.err)
	// A caller who has left is told so; anyone else may get what is known.
	if !errors.Is(err, context.Canceled) {
		if rec, ok := s.cache.get(k); ok && s.cache.age(&rec, s.clk.Now()) < s.stale {
			s.counters.stale.Add(1)
			return s.cache.reading(id, &rec, true), nil
		}
	}
	return Reading{}, err
}

// staleWait is how long a caller waits for Graph who could have a reading that
// is no longer fresh, but not stale either.
const staleWait = 2 * time.Second

// shown is the outcome for a caller of a record that need not be asked for.
func (s *Source) shown(id string, rec *record) (Reading, error) {
	if rec.absent {
		return Reading{}, &Error{Op: "get presence", Kind: KindNotFound, Message: "Graph knows no presence of this person"}
	}
	return s.cache.reading(id, rec, false), nil
}

func invalidID(id string) error {
	return &Error{Op: "get presence", Kind: KindInvalid, Code: CodeInvalidID, Message: fmt.Sprintf("%.64q is not an object id", id)}
}

// Stats counts what has happened since New.
type Stats struct {
	Hits        uint64 // readings answered from memory
	Misses      uint64 // readings asked for
	StaleServed uint64 // readings served although Graph failed
	Requests    uint64 // presence requests, failed ones included
	Failures    uint64 // presence requests that failed
	IDs         uint64 // ids in those requests
	Refused     uint64 // ids turned away because the budget could not serve them in time
	Changes     uint64 // readings that differed from the one before
	Regressions uint64 // readings not believed for their sequence number
	Held        uint64 // unknown readings held back
	Missing     uint64 // ids asked for that an answer left out
	Foreign     uint64 // entries of answers that nobody asked for
	Bisections  uint64 // batches halved after a refusal
	Quarantined uint64 // refusals of a single id
	Known       int    // people whose presence is remembered
}

type counters struct {
	hits, misses, stale, requests, failures, ids, refused, changes, regressions,
	held, missing, foreign, bisections, quarantined atomic.Uint64
}

// Stats returns the counts; each is exact, together they are not one moment.
func (s *Source) Stats() Stats {
	c := &s.counters
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), StaleServed: c.stale.Load(), Requests: c.requests.Load(),
		Failures: c.failures.Load(), IDs: c.ids.Load(), Refused: c.refused.Load(), Changes: c.changes.Load(),
		Regressions: c.regressions.Load(), Held: c.held.Load(), Missing: c.missing.Load(), Foreign: c.foreign.Load(),
		Bisections: c.bisections.Load(), Quarantined: c.quarantined.Load(), Known: s.cache.size(),
	}
}
