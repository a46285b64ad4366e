package scale

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
)

// Config is one run.
type Config struct {
	// People is how many are watched.
	People int
	// Reads is how many presences per second clients ask for of people whom
	// nobody watches: the most expensive kind, because nothing is known of them.
	Reads int
	// Single makes it the gateway to compare with: the same budget and lanes,
	// and one GET /users/{id}/presence for each person.
	Single bool
	// Seed decides all chance.
	Seed uint64
}

// Result is the outcome of a run, in the steady state if not said otherwise.
type Result struct {
	Config
	Refreshed float64 // presences of watched people read in 30 s
	// AgeP50 and AgeP99 are how long ago Graph said what is known of a watched
	// person. For a single run they are computed from Refreshed: with one person
	// read after the other, ages spread evenly over the time of one round.
	AgeP50, AgeP99 time.Duration
	// WaitP99 is how long a read waits until the request that carries it leaves:
	// for others to share it, and for the budget. Graph's own time comes on top.
	// Answered is the share of reads that did not have to wait longer than
	// Patience. Both are zero without reads.
	WaitP99  time.Duration
	Answered float64
	// Worst is the most physical sends in any 30 s of the whole run, and
	// Throttled the answers with 429.
	Worst, Throttled int
}

const (
	// changeShare is the share of people whose state changes each second: each
	// of them about every eight minutes.
	changeShare = 0.002
	changeStep  = 250 * time.Millisecond
	// measured is how long a run is watched in its steady state, singleWarmUp
	// how long a single one takes to get there.
	measured     = 90 * time.Second
	singleWarmUp = 60 * time.Second
	// Patience is how long a read waits at most.
	Patience = 10 * time.Second
	// maxWarmUp is when a run that has not read everybody once is given up.
	maxWarmUp = time.Hour
	// ageSamples is how often everybody's age is looked at, at random moments.
	ageSamples = 40
	// strangers is how many people there are whom nobody watches.
	strangers = 10_000_000
	// singleWorkers is enough to keep a budget of 45 per second busy.
	singleWorkers = 128
)

// usual is the network of a run: an answer takes 40 ms at best, some 110 ms
// usually, and one request in a hundred is almost a second late.
var usual = Latency{Least: 15 * time.Millisecond, Spread: budget.LatencyMargin, Skew: 16}

// Run plays a run in the bubble of the caller, under all Rules at once.
func Run(ctx context.Context, cfg Config) (Result, error) {
	t := NewTenant(cfg.People, cfg.Seed)
	s := NewService(t, usual, Rules(), cfg.Seed)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { live(ctx, t) })
	m := &meter{tenant: t, ages: histogram{width: 10 * time.Millisecond}, rnd: rand.New(rand.NewPCG(cfg.Seed, 4))}
	play := m.gateway
	if cfg.Single {
		play = m.single
	}
	r, err := play(ctx, s, cfg)
	cancel()
	all.Wait()
	s.Drain()
	if err != nil {
		return Result{}, fmt.Errorf("watching %d people: %w", cfg.People, err)
	}
	counts := s.Counts()
	r.Config, r.Worst, r.Throttled = cfg, counts.WorstSends, counts.Throttled
	return r, nil
}

// live makes people change state until ctx ends.
func live(ctx context.Context, t *Tenant) {
	due := 0.0
	for wait(ctx, changeStep) == nil {
		due += changeShare * changeStep.Seconds() * float64(t.Len())
		t.Change(int(due))
		due -= float64(int(due))
	}
}

// meter measures one run.
type meter struct {
	tenant *Tenant
	ages   histogram
	rnd    *rand.Rand
}

// gateway runs the gateway itself.
func (m *meter) gateway(ctx context.Context, s *Service, cfg Config) (Result, error) {
	p, err := StartProcess(ctx, s, graphsrc.Options{})
	if err != nil {
		return Result{}, err
	}
	defer p.Close()
	readers := startReaders(ctx, s, cfg, func(ctx context.Context, id string) error {
		ctx, cancel := context.WithTimeout(ctx, Patience)
		defer cancel()
		_, err := p.Source.Presence(ctx, id)
		return err
	})
	defer readers.stop()
	p.Source.Watch(m.tenant.IDs()...)
	for begin := time.Now(); ; {
		if _, unread := m.tenant.readings(); unread == 0 {
			break
		}
		if time.Since(begin) > maxWarmUp {
			return Result{}, errors.New("some have not been read within an hour")
		}
		if err := wait(ctx, time.Second); err != nil {
			return Result{}, err
		}
	}
	if err := wait(ctx, p.Source.Stats().Interval); err != nil {
		return Result{}, err
	}
	return m.measure(ctx, readers)
}

// measure takes the numbers of the steady state.
func (m *meter) measure(ctx context.Context, readers *readers) (r Result, err error) {
	before, _ := m.tenant.readings()
	readers.measure(true)
	const each = measured / ageSamples
	for range ageSamples {
		// At one pace with the refreshing, every sample would show the same.
		early := time.Duration(m.rnd.Int64N(int64(each)))
		if err := wait(ctx, early); err != nil {
			return r, err
		}
		m.tenant.ages(&m.ages)
		if err := wait(ctx, each-early); err != nil {
			return r, err
		}
	}
	readers.measure(false)
	after, _ := m.tenant.readings()
	r.Refreshed = float64(after-before) * float64(DocumentedWindow) / float64(measured)
	r.AgeP50, r.AgeP99 = m.ages.quantile(0.50), m.ages.quantile(0.99)
	readers.stop()
	r.WaitP99, r.Answered = readers.outcome()
	return r, nil
}

// single runs what the gateway is compared with: workers that walk over all
// people, each with a request for every person.
func (m *meter) single(ctx context.Context, s *Service, cfg Config) (Result, error) {
	b, err := budget.New(budget.Options{})
	if err != nil {
		return Result{}, err
	}
	defer b.Close()
	client := NewClient(s, b)
	readers := startReaders(ctx, s, cfg, func(ctx context.Context, id string) error {
		patient, cancel := context.WithTimeout(ctx, Patience)
		defer cancel()
		permit, err := b.Acquire(patient, budget.Interactive)
		if err != nil {
			return err
		}
		defer permit.Return()
		// Whoever got so far also gets the answer, however long it travels.
		_, err = client.Presence(budget.WithPermit(ctx, permit), id)
		return err
	})
	defer readers.stop()
	var next atomic.Int64
	var workers sync.WaitGroup
	defer workers.Wait()
	refreshing, cancel := context.WithCancel(budget.WithLane(ctx, budget.Refresh))
	defer cancel()
	for range singleWorkers {
		workers.Go(func() {
			for refreshing.Err() == nil {
				person := int(next.Add(1)-1) % cfg.People
				_, _ = client.Presence(refreshing, ID(person)) // whoever fails is read in the next round
			}
		})
	}
	if err := wait(ctx, singleWarmUp); err != nil {
		return Result{}, err
	}
	r, err := m.measure(ctx, readers)
	round := float64(cfg.People) / r.Refreshed * float64(DocumentedWindow)
	r.AgeP50, r.AgeP99 = time.Duration(0.50*round), time.Duration(0.99*round)
	return r, err
}

// readers are clients that ask for people whom nobody watches, at random
// moments, whether the ones before have their answers or not.
type readers struct {
	ask    func(ctx context.Context, id string) error
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu        sync.Mutex
	measuring bool
	waiting   map[string]time.Time // ids not sent yet, and since when
	waits     histogram
	asked     int
	answered  int
}

func startReaders(ctx context.Context, s *Service, cfg Config, ask func(context.Context, string) error) *readers {
	asking, cancel := context.WithCancel(ctx)
	r := &readers{ask: ask, cancel: cancel, waiting: make(map[string]time.Time), waits: histogram{width: time.Millisecond}}
	if cfg.Reads == 0 {
		return r
	}
	s.listen(r.sent)
	rnd := rand.New(rand.NewPCG(cfg.Seed, 3))
	r.all.Go(func() {
		for wait(asking, time.Duration(rnd.ExpFloat64()/float64(cfg.Reads)*float64(time.Second))) == nil {
			id := ID(cfg.People + rnd.IntN(strangers))
			r.all.Go(func() { r.read(ctx, id) })
		}
	})
	return r
}

func (r *readers) read(ctx context.Context, id string) {
	r.mu.Lock()
	measured := r.measuring
	if measured {
		r.waiting[id] = time.Now()
	}
	r.mu.Unlock()
	err := r.ask(ctx, id)
	if !measured {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, id)
	r.asked++
	if err == nil {
		r.answered++
	}
}

// sent hears that a request asking for ids has left.
func (r *readers) sent(ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return
	}
	for _, id := range ids {
		if since, ok := r.waiting[id]; ok {
			delete(r.waiting, id)
			r.waits.add(time.Since(since))
		}
	}
}

// measure says whether reads that begin now are counted.
func (r *readers) measure(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measuring = on
}

// stop ends asking and waits for the answers.
func (r *readers) stop() {
	r.cancel()
	r.all.Wait()
}

func (r *readers) outcome() (p99 time.Duration, answered float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == 0 {
		return 0, 0
	}
	return r.waits.quantile(0.99), float64(r.answered) / float64(r.asked)
}
