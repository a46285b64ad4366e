package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

// Options are what New needs. Zero durations and sizes take the defaults.
type Options struct {
	// Client reaches Redis. The store does not close it.
	Client rueidis.Client
	// Prefix begins every key and channel (default "ucwagate"). Replicas of one
	// gateway share it. It holds no braces.
	Prefix string
	// Clock times what is kept. Those of all replicas tell the same, as package
	// redisclock's do.
	Clock  clock.Clock
	Logger *slog.Logger // nil logs nothing
	// Idle is how long an application lives without being used (default 1 h).
	// One that has a parked P-GET is in use.
	Idle time.Duration
	// Tombstone is how long it is remembered why an application ended
	// (default 1 h).
	Tombstone time.Duration
	// Max is the most applications of all replicas at once (default 100,000).
	Max int
	// Session bounds the session of each application.
	Session session.Limits
	// Trust is how long after it was verified last an application is answered
	// for while Redis cannot be reached (default 5 min).
	Trust time.Duration
	// Timeout is the longest that one trip to Redis may take, in real time
	// (default 2 s).
	Timeout time.Duration
	// Decoded is how many sessions are kept decoded, to save the work
	// (default 20,000).
	Decoded int
}

// Store is the engine. It is safe for concurrent use.
type Store struct {
	client                         rueidis.Client
	clock                          clock.Clock
	log                            *slog.Logger
	idle, tombstone, trust         time.Duration
	timeout                        time.Duration
	max, decoded                   int
	fold, most                     int // entries of an inbox: from when they are to be queued; beyond which they are dropped
	limits                         session.Limits
	life                           time.Duration // what Redis gives keys
	every                          time.Duration // between two sweeps
	base                           [shards]string
	replica                        string // a name that no other has
	wakes, ended, interest, myWake string // channels

	entries entries
	places  places
	events  decodedEvents
	link    link
	watched *index // of addresses
	present *index // of owners
	owed    owed
	mending chan struct{}       // receives when a shard of an index is broken
	anew    map[string]struct{} // applications that are to look anew; the work of mendWhenAsked
	seen    dueClock
	away    away

	mu       sync.Mutex
	timer    clock.Timer
	closed   bool
	ctx      context.Context // of the store's own work
	stop     context.CancelFunc
	work     sync.WaitGroup
	sweeping sync.Mutex
	extended time.Time         // when the life of keys was extended last; sweeping
	reached  [shards]time.Time // since when each sweep has reached a shard; sweeping
}

var _ gateway.Store = (*Store)(nil)

// New returns a store. It asks Redis nothing yet, which need not be up. Its own
// work begins with Open and ends with Close.
func New(o Options) (*Store, error) {
	if o.Client == nil || o.Clock == nil {
		return nil, errors.New("a store in redis needs a client and a clock")
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return nil, errors.New("the prefix of a store in redis must not hold braces")
	}
	o.setDefaults()
	s := &Store{
		client: o.Client, clock: o.Clock, log: o.Logger, idle: o.Idle, tombstone: o.Tombstone, trust: o.Trust, timeout: o.Timeout,
		max: o.Max, decoded: o.Decoded, limits: o.Session, replica: newReplica(),
		life: 4*max(o.Idle, o.Tombstone) + 4*time.Hour, every: max(min(o.Idle/20, time.Minute), time.Second),
		wakes: o.Prefix + ":wake:", ended: o.Prefix + ":ended", interest: o.Prefix + ":interest",
	}
	s.myWake = s.wakes + s.replica
	events := o.Session.WithDefaults().Events
	s.fold, s.most = max(events/8, 1), 2*events
	for i := range s.base {
		s.base[i] = o.Prefix + ":{" + strconv.Itoa(i) + "}:"
	}
	s.entries.byID = make(map[string]*entry)
	s.places.byID, s.places.doubted = make(map[string][]*parked), make(map[string]struct{})
	s.watched, s.present = newIndex("w"), newIndex("o")
	s.mending, s.anew = make(chan struct{}, 1), make(map[string]struct{})
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

func (o *Options) setDefaults() {
	duration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	duration(&o.Idle, time.Hour)
	duration(&o.Tombstone, time.Hour)
	duration(&o.Trust, 5*time.Minute)
	duration(&o.Timeout, 2*time.Second)
	if o.Max <= 0 {
		o.Max = 100_000
	}
	if o.Decoded <= 0 {
		o.Decoded = 20_000
	}
	if o.Prefix == "" {
		o.Prefix = "ucwagate"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	duration(&o.Session.Behind, 24*time.Hour) // a machine that stood still, until it knows: the common time is not set back
}

func newReplica() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}

// Open implements gateway.Store. Redis need not be up: what it knows is told to
// the hooks once it is.
func (s *Store) Open(h gateway.Hooks) {
	s.watched.tell, s.present.tell = h.Interest, h.Available
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.work.Go(s.listen)
	s.work.Go(s.compareWhenAsked)
	s.work.Go(s.mendWhenAsked)
	s.timer = s.clock.AfterFunc(s.every, s.sweep)
}

// Close stops the store's own work, after what was used last has been noted. What
// Redis holds stays, for the other replicas.
func (s *Store) Close() {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	if was {
		return
	}
	if s.link.isUp() {
		s.noteUse(s.ctx, s.clock.Now())
	}
	s.stop()
	s.work.Wait()
}

// Use implements gateway.Store. This is what every request of every client does:
// mostly it asks nobody.
func (s *Store) Use(ctx context.Context, id string) (gateway.Application, error) {
	now := s.clock.Now()
	if e := s.entries.get(id); e != nil && s.trusts(e, now) {
		e.use(now)
		return e.app, nil
	}
	e, err := s.touch(ctx, id, now, true)
	if err != nil {
		return gateway.Application{}, err
	}
	return e.app, nil
}

// Delete implements gateway.Store.
func (s *Store) Delete(ctx context.Context, id string) error {
	var ended *gateway.EndedError
	if err := s.end(ctx, id, ending{}); err != nil && !errors.As(err, &ended) {
		return err
	}
	return nil
}

// Owned implements gateway.Store.
func (s *Store) Owned(ctx context.Context, owner string) ([]gateway.Application, error) {
	m, err := s.run(ctx, "listing the applications of a user", call{script: ownedScript, keys: []string{s.keyOf("own", owner)}})
	if err != nil {
		return nil, err
	}
	ids, _ := m.AsStrSlice()
	now := s.clock.Now()
	calls := make([]call, len(ids))
	for i, id := range ids {
		calls[i] = s.touchCall(id, now, false)
	}
	replies, err := s.runAll(ctx, "reading the applications of a user", calls)
	if err != nil {
		return nil, err
	}
	var apps []gateway.Application
	for i, m := range replies {
		if reply := list(m); number(reply, 0) == live {
			app, err := decodeApplication(text(reply, 1))
			if err != nil {
				return nil, err
			}
			apps = append(apps, app)
		} else if number(reply, 0) == gone {
			s.forget(ctx, owner, ids[i]) // it ended halfway
		}
	}
	return apps, nil
}

// Count implements gateway.Store.
func (s *Store) Count(ctx context.Context) (applications, subscriptions int, err error) {
	commands := make([]command, 0, 2*shards)
	for shard := range shards {
		commands = append(commands,
			s.client.B().Zcard().Key(s.key(shard, "idle")).Build(), s.client.B().Get().Key(s.key(shard, "subs")).Build())
	}
	replies, err := s.askAll(ctx, "counting applications", commands)
	for i := 0; i+1 < len(replies); i += 2 {
		applications += int(number(replies, i))
		subscriptions += int(number(replies, i+1))
	}
	return applications, subscriptions, err
}
