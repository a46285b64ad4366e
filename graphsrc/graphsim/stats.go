package graphsim

import (
	"maps"
	"sync"
	"time"

	"ucwagate/graphsrc/graphsim/limit"
)

// Stats are counters since the tenant was made or they were reset.
type Stats struct {
	// Requests counts every request to Graph, whatever became of it.
	Requests int `json:"requests"`
	// Throttled counts the answers with status 429.
	Throttled int `json:"throttled"`
	// WorstWindow is the most requests to Graph of one app in any 30 seconds.
	WorstWindow int `json:"worstWindow"`
	// IdentityUnits counts the resource units charged for directory requests,
	// and WorstUnits is the most of one app in any 10 seconds.
	IdentityUnits int `json:"identityUnits"`
	WorstUnits    int `json:"worstUnits"`
	// ByRoute splits Requests; what is no route is counted as "other".
	ByRoute map[string]int `json:"byRoute"`
	// IDsPerBatch is the mean number of ids of getPresencesByUserId.
	IDsPerBatch float64 `json:"idsPerBatch"`
	// Tokens counts the access tokens issued.
	Tokens int `json:"tokens"`
	// Subscriptions is the number that are alive now.
	Subscriptions int `json:"subscriptions"`
	// Notifications counts what was sent to their URLs.
	Notifications NotificationStats `json:"notifications"`
}

// Entry is a request to Graph in the log.
type Entry struct {
	Time time.Time
	// Method and Route name the route; Route is as in Stats.ByRoute.
	Method, Route string
	// URL is the request's path and query.
	URL string
	// Status is what was answered, 0 for a dropped connection.
	Status int
	// IDs is the number of ids of a bulk read.
	IDs int
	// ClientID is the app's, empty without a token that verifies.
	ClientID string
	// RequestID is the request-id header of the answer.
	RequestID string
}

// Stats returns the counters.
func (t *Tenant) Stats() Stats {
	s := t.stats.snapshot()
	s.WorstWindow = t.limits.worst()
	s.IdentityUnits, s.WorstUnits = t.identity.totals()
	t.entra.mu.Lock()
	s.Tokens = t.entra.tokens
	t.entra.mu.Unlock()
	s.Subscriptions = len(t.Subscriptions())
	t.sender.mu.Lock()
	s.Notifications = t.sender.counts
	t.sender.mu.Unlock()
	return s
}

// ResetStats sets all counters to zero and forgets the log. The request limit
// itself is not affected.
func (t *Tenant) ResetStats() {
	t.stats.reset()
	t.limits.resetMeters()
	t.identity.resetTotals()
	t.entra.mu.Lock()
	t.entra.tokens = 0
	t.entra.mu.Unlock()
	t.sender.mu.Lock()
	t.sender.counts = NotificationStats{}
	t.sender.mu.Unlock()
}

// Log returns the latest requests to Graph, oldest first.
func (t *Tenant) Log() []Entry { return t.stats.entries() }

// recorder counts and logs requests.
type recorder struct {
	mu           sync.Mutex
	requests     int
	throttled    int
	batches, ids int
	byRoute      map[string]int
	size         int
	log          []Entry // a ring once it has grown to size
	next         int
}

func newRecorder(size int) *recorder { return &recorder{size: size, byRoute: make(map[string]int)} }

func (s *recorder) add(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.byRoute[e.Route]++
	if e.Status == 429 {
		s.throttled++
	}
	if e.IDs > 0 {
		s.batches++
		s.ids += e.IDs
	}
	if len(s.log) < s.size {
		s.log = append(s.log, e)
		return
	}
	s.log[s.next] = e
	s.next = (s.next + 1) % s.size
}

func (s *recorder) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Requests: s.requests, Throttled: s.throttled, ByRoute: maps.Clone(s.byRoute)}
	if s.batches > 0 {
		stats.IDsPerBatch = float64(s.ids) / float64(s.batches)
	}
	return stats
}

func (s *recorder) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.throttled, s.batches, s.ids = 0, 0, 0, 0
	s.byRoute, s.log, s.next = make(map[string]int), nil, 0
}

func (s *recorder) entries() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(append([]Entry(nil), s.log[s.next:]...), s.log[:s.next]...)
}

// meterSpan is the window of Stats.WorstWindow, which is the documented one
// whatever limit is configured.
const meterSpan = 30 * time.Second

// limiter keeps the gate and the meter of every app.
type limiter struct {
	rule Limit

	mu     sync.Mutex
	gates  map[string]*limit.Gate
	meters map[string]*limit.Meter
}

func newLimiter(rule Limit) *limiter {
	return &limiter{rule: rule, gates: make(map[string]*limit.Gate), meters: make(map[string]*limit.Meter)}
}

// pass meters a request of an app and, if it is one for presence, takes it
// through the app's gate. now is read under the lock, so that it never goes
// back from one request to the next.
func (l *limiter) pass(app string, presence bool, now func() time.Time) (admitted bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := now()
	meter := l.meters[app]
	if meter == nil {
		meter = limit.NewMeter(meterSpan)
		l.meters[app] = meter
	}
	meter.Add(at)
	if !presence {
		return true, 0
	}
	gate := l.gates[app]
	if gate == nil {
		gate = limit.NewGate(l.rule)
		l.gates[app] = gate
	}
	return gate.Pass(at)
}

func (l *limiter) worst() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	worst := 0
	for _, meter := range l.meters {
		worst = max(worst, meter.Worst())
	}
	return worst
}

func (l *limiter) resetMeters() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.meters)
}
