package scale

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/graphsim/limit"
)

// DocumentedWindow and DocumentedRequests are the limit that Graph publishes
// for presence, per application and tenant.
//
// Source: https://learn.microsoft.com/en-us/graph/api/presence-get
const (
	DocumentedRequests = 1500
	DocumentedWindow   = 30 * time.Second
)

// Rules are the ways in which Graph may count; it does not say which is its own.
func Rules() []limit.Rule {
	var rules []limit.Rule
	for _, m := range []limit.Model{limit.Sliding, limit.Fixed, limit.Bucket} {
		rules = append(rules, limit.Rule{Requests: DocumentedRequests, Window: DocumentedWindow, Model: m})
	}
	return rules
}

// Latency is how long requests and answers travel. A request takes at least
// Least and at most Least+Spread to arrive; of a number uniform in 0..1 to the
// power Skew, that is the share of Spread it takes, so a Skew of 1 spreads
// evenly and a larger one makes slow requests rare. The answer takes 20 to 80
// ms, and a tenth of a millisecond for each person.
type Latency struct {
	Least, Spread time.Duration
	Skew          float64
}

// Counts are what a Service has seen.
type Counts struct {
	Sends     int // requests that left a process
	Throttled int // answers with 429 because of the limit, not of a fault
	// WorstSends and WorstArrivals are the most requests that left, and arrived,
	// in any window of 30 s, both its ends included.
	WorstSends, WorstArrivals int
	// Early is how many requests left a process in a pause it had been told of.
	Early int
	// Faults is how often each fault was played.
	Faults map[Fault]int
}

// Service is the far side: the network, and Graph behind it. It outlives the
// processes that speak to it. Safe for concurrent use.
type Service struct {
	tenant  *Tenant
	latency Latency

	mu       sync.Mutex
	rnd      *rand.Rand
	gates    []*limit.Gate
	sends    *limit.Meter
	arrivals *limit.Meter
	counts   Counts
	faults   Mix
	heard    func(ids []string) // of each send
	under    sync.WaitGroup     // requests on their way
}

// NewService puts a tenant behind a network and limits; a request that any of
// the rules refuses is answered with 429. Chance follows from seed.
func NewService(t *Tenant, l Latency, rules []limit.Rule, seed uint64) *Service {
	s := &Service{
		tenant: t, latency: l, rnd: rand.New(rand.NewPCG(seed, 2)),
		// The nanosecond makes both ends belong to a window.
		sends: limit.NewMeter(DocumentedWindow + 1), arrivals: limit.NewMeter(DocumentedWindow + 1),
		counts: Counts{Faults: make(map[Fault]int)},
	}
	for _, r := range rules {
		s.gates = append(s.gates, limit.NewGate(r))
	}
	return s
}

// Break plays faults from now on; an empty mix heals.
func (s *Service) Break(m Mix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = m
}

// listen makes heard know what each request asks for as it leaves.
func (s *Service) listen(heard func(ids []string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = heard
}

// Counts returns what was seen so far.
func (s *Service) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.WorstSends, c.WorstArrivals = s.sends.Worst(), s.arrivals.Worst()
	c.Faults = make(map[Fault]int, len(s.counts.Faults))
	for f, n := range s.counts.Faults {
		c.Faults[f] = n
	}
	return c
}

// Drain waits until no request is on its way any more, whoever still waits for
// its answer.
func (s *Service) Drain() { s.under.Wait() }

// question is a request's content, and what becomes of it.
type question struct {
	ids  []string
	done chan struct{} // closed when the answer is here

	status     int
	retryAfter string
	body       string
	malformed  bool
	broken     error
	answer     []graphsrc.Presence
	said       time.Time // when Graph made the answer
}

type questionKey struct{}

var errReset = errors.New("connection reset by peer")

// line is one process's connection to the service. It is the innermost
// RoundTripper: what passes it is a physical send.
type line struct {
	service *Service
	mu      sync.Mutex
	since   time.Time // told of a pause at this moment,
	shut    time.Time // which lasts until then
}

// RoundTrip implements http.RoundTripper for requests made by Client.
func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	q, ok := req.Context().Value(questionKey{}).(*question)
	if !ok {
		return nil, errors.New("the model answers the requests of its own client only")
	}
	now := time.Now()
	l.mu.Lock()
	early := now.After(l.since) && now.Before(l.shut)
	l.mu.Unlock()
	l.service.take(q, early)
	select {
	case <-q.done:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if q.broken != nil {
		return nil, q.broken
	}
	resp := &http.Response{StatusCode: q.status, Header: http.Header{}, Body: http.NoBody, Request: req}
	if q.retryAfter != "" {
		resp.Header.Set("Retry-After", q.retryAfter)
	}
	l.heed(resp)
	return resp, nil
}

// heed notes the pause that an answer imposes on this process: what it states,
// or half a window for a 429 that states nothing.
func (l *line) heed(resp *http.Response) {
	stated := resp.Header.Get("Retry-After") != ""
	if resp.StatusCode != http.StatusTooManyRequests && (resp.StatusCode != http.StatusServiceUnavailable || !stated) {
		return
	}
	pause := DocumentedWindow / 2
	if stated {
		pause = statedPause
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Now()
	if until := l.since.Add(pause); until.After(l.shut) {
		l.shut = until
	}
}

// take sends a question on its way; it arrives whatever becomes of the sender.
func (s *Service) take(q *question, early bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends.Add(time.Now())
	s.counts.Sends++
	if early {
		s.counts.Early++
	}
	if s.heard != nil {
		s.heard(q.ids)
	}
	out := s.latency.Least + time.Duration(float64(s.latency.Spread)*math.Pow(s.rnd.Float64(), s.latency.Skew))
	back := 20*time.Millisecond + time.Duration(s.rnd.IntN(60_000))*time.Microsecond + time.Duration(len(q.ids))*100*time.Microsecond
	s.under.Add(1)
	time.AfterFunc(out, func() {
		if hangs := s.arrive(q); hangs {
			s.under.Done()
			return
		}
		time.AfterFunc(back, func() {
			close(q.done)
			s.under.Done()
		})
	})
}

// arrive is what the service makes of a question. It reports whether the sender
// will wait in vain.
func (s *Service) arrive(q *question) (hangs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.arrivals.Add(now)
	refused := false
	for _, g := range s.gates {
		if admitted, _ := g.Pass(now); !admitted {
			refused = true
		}
	}
	q.said, q.status = now, http.StatusOK
	if refused {
		s.counts.Throttled++
		q.status = http.StatusTooManyRequests
		return false
	}
	q.answer = s.tenant.answer(q.ids)
	fault := s.faults.draw(s.rnd)
	if fault == "" || !fault.bend(q, s.rnd) {
		return false
	}
	s.counts.Faults[fault]++
	return fault == Hang
}

// wait lets time pass, or returns earlier with ctx's error.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
