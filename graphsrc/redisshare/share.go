package redisshare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// Options configure a Share. Zero fields take the defaults given.
type Options struct {
	// Client is required and stays the caller's. It is used for two blocking
	// commands at a time.
	Client rueidis.Client
	// Prefix begins all keys. Default ucwagate.
	Prefix string
	// Tenant is whose presence it is; required, without braces.
	Tenant string
	// Stale is graphsrc.Options.Stale. Records are kept for twice as long, and for
	// an hour at least. Default 5 min.
	Stale  time.Duration
	Clock  clock.Clock  // default: the system's
	Logger *slog.Logger // nil logs nothing

	// Lease is how long nobody else leads after the leader was last heard of, and
	// how long Redis may be silent before a source is on its own. Default 5 s.
	Lease time.Duration
	// Delay is how long after a change was told it is reported, so that all know
	// of it before anybody asks; a quarter of it is the pause in which each says
	// that it still hears. Default 250 ms.
	Delay time.Duration
	// Keep is about how long the stream holds what was told, and longer what was
	// not reported yet. Default 1 min.
	Keep time.Duration
	// MaxEntries is about how many entries the stream holds at most, of up to 15 KB
	// each. Default 2,000.
	MaxEntries int
	// Timeout bounds a command. Default 1 s.
	Timeout time.Duration
}

func (o *Options) setDefaults() error {
	if o.Client == nil || o.Tenant == "" {
		return errors.New("a client and a tenant are needed")
	}
	if o.Prefix == "" {
		o.Prefix = "ucwagate"
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		of        *time.Duration
		byDefault time.Duration
	}{{&o.Stale, 5 * time.Minute}, {&o.Lease, 5 * time.Second}, {&o.Delay, 250 * time.Millisecond}, {&o.Timeout, time.Second}, {&o.Keep, time.Minute}} {
		if *d.of == 0 {
			*d.of = d.byDefault
		}
		if *d.of < 0 {
			return errors.New("a duration is less than 0")
		}
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 2_000
	}
	if o.MaxEntries < 1 {
		return errors.New("the most entries are less than 1")
	}
	return nil
}

const (
	// blockSlack is how much later than it should the answer to a read of the
	// stream may come before the connection is taken for dead.
	blockSlack = 2 * time.Second
	// readCount is how many entries are read at once.
	readCount = 64
	// errorPause is the pause after an error.
	errorPause = 200 * time.Millisecond
	// minKept is how long records are kept at least.
	minKept = time.Hour
)

// Share is graphsrc.Shared on Redis.
type Share struct {
	o       Options
	who     string
	keys    []string // see scripts
	period  string   // milliseconds
	ttl     string   // milliseconds
	started time.Time
	block   time.Duration // how long a read of the stream waits

	answered   atomic.Int64 // when Redis last answered a heartbeat; nanoseconds since started
	silent     atomic.Bool  // it did not answer the last one
	leadsUntil atomic.Int64 // nanoseconds since started; 0: does not lead
	term       atomic.Int64 // the own one, as far as is known; 0: somebody else's
	tenure     atomic.Int64 // how often this one has begun to lead
	offset     atomic.Int64 // Redis' clock minus time since started; milliseconds
	standing   atomic.Pointer[standing]
	followed   atomic.Int64 // the number of the last entry heard
	heard      atomic.Int64 // before then nothing was told that was not heard; nanoseconds since started; 0: never

	led chan standing // a term has begun
}

// standing is how things stood at a heartbeat.
type standing struct {
	leads  bool
	term   int64
	tenure int64
	epoch  string
	end    position // of the stream
	lost   bool     // it has fewer entries than were heard
	mark   string
}

var _ graphsrc.Shared = (*Share)(nil)

// New makes a Share. Nothing is asked before Run.
func New(o Options) (*Share, error) {
	if err := o.setDefaults(); err != nil {
		return nil, fmt.Errorf("sharing presence: %w", err)
	}
	base := o.Prefix + ":{" + o.Tenant + ":presence}:"
	kept := max(minKept, 2*o.Stale)
	s := &Share{
		o: o, who: uuid.NewString(), started: o.Clock.Now(), block: max(o.Delay/4, time.Millisecond), led: make(chan standing, 1),
		keys:   []string{base + "leader", base + "meta", base + "stream", base + "records:0", base + "records:1"},
		period: strconv.FormatInt(kept.Milliseconds(), 10),
		ttl:    strconv.FormatInt(2*kept.Milliseconds(), 10),
	}
	s.offset.Store(s.started.UnixMilli()) // until Redis has told its time
	return s, nil
}

// Run implements graphsrc.Shared. At its end it gives the lead up.
func (s *Share) Run(ctx context.Context, m graphsrc.Member) {
	var wg sync.WaitGroup
	wg.Go(func() { s.beat(ctx, m) })
	wg.Go(func() { s.follow(ctx, m) })
	wg.Go(func() { s.lead(ctx, m) })
	wg.Wait()
	s.resign()
}

// Role implements graphsrc.Shared. Whoever led last and cannot know whether they
// still do is Alone: nobody else may lead, and who follows reads nothing.
func (s *Share) Role() graphsrc.Role {
	now := s.elapsed()
	switch {
	case now < s.leadsUntil.Load():
		return graphsrc.Leading
	case s.term.Load() != 0 || now >= s.answered.Load()+int64(s.o.Lease):
		return graphsrc.Alone
	}
	return graphsrc.Following
}

// elapsed is the own time, by a clock that nobody sets.
func (s *Share) elapsed() int64 { return int64(s.o.Clock.Now().Sub(s.started)) }

// local is the own time of a time of Redis.
func (s *Share) local(ms int64) time.Time {
	return s.started.Add(time.Duration(ms-s.offset.Load()) * time.Millisecond)
}

// theirs is the time of Redis, as far as is known.
func (s *Share) theirs() int64 { return s.offset.Load() + s.elapsed()/int64(time.Millisecond) }

// pause waits for d and reports whether it passed before ctx ended.
func (s *Share) pause(ctx context.Context, d time.Duration) bool {
	return clock.Wait(ctx, s.o.Clock, d)
}

// beat asks how things stand, again and again, and keeps the lead or takes it.
func (s *Share) beat(ctx context.Context, m graphsrc.Member) {
	role, tenure := s.Role(), s.tenure.Load()
	// A third, so that one answer may be lost.
	every := s.o.Lease * 3 / 10
	for ctx.Err() == nil {
		begun := s.elapsed()
		if err := s.beatOnce(ctx, every); err != nil && ctx.Err() == nil {
			// Whoever was stopped meanwhile has not waited for an answer.
			s.silent.Store(s.elapsed()-begun < 2*int64(every))
			s.o.Logger.Debug("Redis did not answer a heartbeat", "tenant", s.o.Tenant, "error", err)
		}
		// Between two beats it may have been another one.
		if now, n := s.Role(), s.tenure.Load(); now != role || n != tenure {
			role, tenure = now, n
			m.Shift(role)
		}
		wait := every - time.Duration(s.elapsed()-begun)
		if role == graphsrc.Alone {
			wait = min(wait, s.o.Lease/10)
		}
		s.pause(ctx, max(wait, s.o.Lease/50))
	}
}

func (s *Share) beatOnce(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, min(within, s.o.Timeout))
	defer cancel()
	sent := s.elapsed()
	term, followed := s.term.Load(), s.followed.Load()
	answer, err := beatScript.Exec(ctx, s.o.Client, s.keys[:3], []string{
		s.who, ms(s.o.Lease), uuid.NewString(), s.ttl, strconv.FormatInt(term, 10),
	}).ToArray()
	if err != nil {
		return err
	}
	if len(answer) != 7 {
		return errMalformed
	}
	now := s.elapsed()
	leads, err1 := answer[0].AsInt64()
	newTerm, err2 := answer[1].AsInt64()
	time, err3 := answer[2].AsInt64()
	n, err4 := answer[4].AsInt64()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	st := standing{leads: leads > 0, term: newTerm, end: position{n: n}}
	st.epoch, _ = answer[3].ToString()
	st.end.id, _ = answer[5].ToString()
	st.mark, _ = answer[6].ToString()
	st.lost = n < followed
	// The clock of Redis was read between the two.
	s.offset.Store(time - (sent+now)/2/int64(1e6))
	s.answered.Store(sent)
	s.silent.Store(false)
	s.standing.Store(&st)
	if !st.leads {
		s.term.Store(0)
		s.leadsUntil.Store(0)
		return nil
	}
	// Whoever led may have found that nobody knew who does, shortly before we knew.
	lapsed := now >= s.leadsUntil.Load()-int64(s.o.Lease)/10
	begins := leads == 2 || newTerm != term || lapsed
	if begins {
		st.tenure = s.tenure.Add(1)
	}
	s.term.Store(newTerm)
	// Redis began to count later than we do; a tenth is for clocks that run apart.
	s.leadsUntil.Store(sent + int64(s.o.Lease)*9/10)
	if begins {
		select {
		case <-s.led: // an earlier term that nobody has begun to act in
		default:
		}
		s.led <- st
	}
	return nil
}

// resign gives the lead up at once, so that nobody has to wait for the lease.
func (s *Share) resign() {
	if s.leadsUntil.Swap(0) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Timeout)
	defer cancel()
	if err := resignScript.Exec(ctx, s.o.Client, s.keys[:1], []string{s.who}).Error(); err != nil {
		s.o.Logger.Debug("the lead could not be given up", "tenant", s.o.Tenant, "error", err)
	}
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
