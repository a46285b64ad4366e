package budget

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// scenario is a stretch of life of one app registration: what rapid draws and
// shrinks. Everything finer follows from the seed.
type scenario struct {
	plan     Plan
	seed     uint64
	latency  time.Duration // spread of the way to the server, up to LatencyMargin
	throttle int           // of 1,000 arrivals, how many are throttled
	fault    int           // of 1,000 arrivals, how many are redirected, fail or break
	phases   []phase
	restarts []time.Duration // when the process is replaced, after the start
	steps    []clockStep     // when somebody sets the clock
	clients  int             // how many the callers are
	// monotonic is false for a clock that has no such reading; it is only set back.
	monotonic bool
}

// clockStep is one setting of the clock.
type clockStep struct{ at, by time.Duration }

type phase struct {
	length   time.Duration
	clients  int           // callers at once; each comes back as soon as it is done
	thinking time.Duration // at most, before it comes back
	hold     time.Duration // at most, between a permit and its send
	cancel   int           // of 100 calls, how many are cancelled at some moment
	deadline int           // of 100 calls, how many have one
}

var plans = []Plan{
	DefaultPlan(),
	{Limit: 1500, Window: 30 * time.Second, Capacity: 50, Rate: 40},
	{Limit: 1500, Window: 30 * time.Second, Capacity: 105, Rate: 45},
	{Limit: 1500, Window: 30 * time.Second, OtherPrograms: 500, Capacity: 1, Rate: 32.2},
	{Limit: 1500, Window: 30 * time.Second, Capacity: 1000, Rate: 16.129},
}

func drawScenario(t *rapid.T) scenario {
	upTo := func(label string, most time.Duration) time.Duration {
		return time.Duration(rapid.IntRange(0, int(most/time.Millisecond)).Draw(t, label)) * time.Millisecond
	}
	s := scenario{
		plan:     rapid.SampledFrom(plans).Draw(t, "plan"),
		seed:     rapid.Uint64().Draw(t, "seed"),
		latency:  upTo("latency", LatencyMargin),
		throttle: rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 20)).Draw(t, "throttle"),
		fault:    rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 300)).Draw(t, "fault"),
	}
	for range rapid.IntRange(1, 4).Draw(t, "phases") {
		s.phases = append(s.phases, phase{
			length:   rapid.SampledFrom([]time.Duration{5 * time.Second, 12 * time.Second, 35 * time.Second}).Draw(t, "length"),
			clients:  rapid.SampledFrom([]int{200, 60, 4, 0}).Draw(t, "clients"),
			thinking: rapid.SampledFrom([]time.Duration{0, 100 * time.Millisecond, 3 * time.Second}).Draw(t, "thinking"),
			hold:     rapid.SampledFrom([]time.Duration{0, 2 * time.Second, 7 * time.Second}).Draw(t, "hold"),
			cancel:   rapid.IntRange(0, 30).Draw(t, "cancel"),
			deadline: rapid.IntRange(0, 100).Draw(t, "deadline"),
		})
	}
	for range rapid.IntRange(0, 6).Draw(t, "restarts") {
		s.restarts = append(s.restarts, upTo("restart", 60*time.Second))
	}
	slices.Sort(s.restarts)
	s.clients = rapid.SampledFrom([]int{1, 3, 50}).Draw(t, "clients of the callers")
	s.monotonic = rapid.IntRange(0, 3).Draw(t, "monotonic") > 0
	for range rapid.IntRange(0, 5).Draw(t, "steps") {
		by := rapid.OneOf(rapid.IntRange(-40, 0), rapid.Just(-86_400)).Draw(t, "step")
		if s.monotonic {
			by = rapid.OneOf(rapid.IntRange(-40, 40), rapid.SampledFrom([]int{-86_400, 86_400})).Draw(t, "step")
		}
		s.steps = append(s.steps, clockStep{upTo("step at", 60*time.Second), time.Duration(by) * time.Second})
	}
	slices.SortFunc(s.steps, func(a, b clockStep) int { return cmp.Compare(a.at, b.at) })
	return s
}

// service is the server's side: it outlives restarts and remembers everything.
type service struct {
	scenario scenario
	clock    steppedClock
	mu       sync.Mutex
	rnd      *rand.Rand
	sends    []time.Duration // when requests were written, since the start
	arrivals []time.Duration // when they arrived
	start    time.Time
	early    error // a send within a pause the same process was told of
	illegal  error // an answer of the budget that contradicts its contract
}

func (s *service) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n)
}

func (s *service) drawUpTo(most time.Duration) time.Duration {
	return time.Duration(s.draw(int(most/time.Microsecond)+1)) * time.Microsecond
}

// process is one life of the gateway: a budget and what it was told.
type process struct {
	service *service
	budget  *Budget
	client  *http.Client
	mu      sync.Mutex
	shut    time.Time // no send before
	since   time.Time // unless it is not after
}

func newProcess(s *service) (*process, error) {
	b, err := New(Options{Plan: s.scenario.plan, Clock: &s.clock, Jitter: func() float64 { return float64(s.draw(1000)) / 1000 }})
	p := &process{service: s, budget: b}
	if err == nil {
		p.client = &http.Client{Transport: b.Transport(p)}
	}
	return p, err
}

var errBroken = errors.New("connection reset")

// RoundTrip is the way to the server and back.
func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	s := p.service
	now := time.Now()
	p.mu.Lock()
	early := now.After(p.since) && now.Before(p.shut)
	p.mu.Unlock()
	s.mu.Lock()
	s.sends = append(s.sends, now.Sub(s.start))
	if early {
		s.early = fmt.Errorf("a send at %s, in a pause until %s", now.Sub(s.start), p.shut.Sub(s.start))
	}
	s.mu.Unlock()

	wait(s.drawUpTo(s.scenario.latency))
	s.mu.Lock()
	s.arrivals = append(s.arrivals, time.Since(s.start))
	s.mu.Unlock()
	dice := s.draw(1000)
	wait(s.drawUpTo(300 * time.Millisecond))
	switch {
	case dice < s.scenario.throttle:
		return p.throttle(req), nil
	case dice >= s.scenario.throttle+s.scenario.fault:
		return answer(req, http.StatusOK), nil
	}
	switch dice % 3 {
	case 0:
		return answer(req, http.StatusTemporaryRedirect, "Location", "/elsewhere"), nil
	case 1:
		return answer(req, http.StatusServiceUnavailable), nil
	}
	return nil, errBroken
}

// throttle answers with every form of Retry-After, and notes how long the
// process must then be silent at least.
func (p *process) throttle(req *http.Request) *http.Response {
	now := time.Now()
	resp := answer(req, http.StatusTooManyRequests)
	silence := p.service.scenario.plan.Window / 2
	set := func(value string, d time.Duration) { resp.Header.Set("Retry-After", value); silence = d }
	switch p.service.draw(7) {
	case 0:
		set("3", 3*time.Second)
	case 1:
		set("1.9", 1900*time.Millisecond)
	case 2:
		set("0", time.Second)
	case 3: // a date has whole seconds; in a bubble now may have a fraction
		date := now.Add(4 * time.Second).Truncate(time.Second)
		set(date.UTC().Format(http.TimeFormat), date.Sub(now))
		if len(p.service.scenario.steps) > 0 { // else our clock is right, and as good
			resp.Header.Set("Date", now.UTC().Format(http.TimeFormat))
		}
	case 4:
		resp.Header.Set("Retry-After", "Mon, 01 Jan 1990 00:00:00 GMT")
	case 5:
		resp.StatusCode = http.StatusServiceUnavailable
		set("2.128", 2128*time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := now.Add(silence); until.After(p.shut) {
		p.shut = until
	}
	p.since = now
	return resp
}

// call is one logical request with up to three attempts, some of them with a
// permit taken beforehand.
func (p *process) call(ctx context.Context, ph phase) {
	s := p.service
	lane := Lane(s.draw(LaneCount))
	ctx, cancel := context.WithCancel(WithClient(WithLane(ctx, lane), fmt.Sprint(s.draw(max(s.scenario.clients, 1)))))
	defer cancel()
	if s.draw(100) < ph.cancel {
		defer time.AfterFunc(s.drawUpTo(2*time.Second)+time.Microsecond, cancel).Stop()
	}
	if s.draw(100) < ph.deadline {
		ctx, cancel = context.WithTimeout(ctx, s.drawUpTo(5*time.Second)+time.Microsecond)
		defer cancel()
	}
	plain := ctx
	ctx = stampedContext{plain, &s.clock}
	if s.draw(3) == 0 {
		asked := time.Now()
		permit, err := p.budget.Acquire(ctx, lane)
		if err != nil {
			p.judge(plain, err, asked)
			return
		}
		defer permit.Return()
		wait(s.drawUpTo(ph.hold))
		if s.draw(4) == 0 {
			return // not needed after all
		}
		ctx = WithPermit(ctx, permit)
	}
	for range 3 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://graph.test/v1.0/x", nil)
		if err != nil {
			return
		}
		resp, err := p.client.Do(req)
		if err != nil && !errors.Is(err, errBroken) {
			return
		}
		if err == nil && resp.StatusCode == http.StatusOK {
			return
		}
	}
}

// judge checks that Acquire failed for a reason it may fail for.
func (p *process) judge(ctx context.Context, err error, asked time.Time) {
	var exhausted *ExhaustedError
	deadline, limited := ctx.Deadline()
	switch {
	case errors.As(err, &exhausted) && limited && !asked.Add(exhausted.RetryAfter).Before(deadline.Add(-time.Millisecond)):
	case errors.As(err, &exhausted) && limited && time.Since(asked) > 0: // a pause came
	case errors.Is(err, ErrClosed):
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
	default:
		p.service.mu.Lock()
		defer p.service.mu.Unlock()
		p.service.illegal = fmt.Errorf("acquire failed with %w (deadline %v %v)", err, limited, time.Until(deadline))
	}
}

// live plays the scenario in the bubble of the caller.
func (s *service) live() error {
	current, err := newProcess(s)
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards current
	var all sync.WaitGroup
	process := func() *process { mu.Lock(); defer mu.Unlock(); return current }
	all.Go(func() {
		for _, at := range s.scenario.restarts {
			wait(time.Until(s.start.Add(at)))
			mu.Lock()
			current.budget.Close()
			current, err = newProcess(s)
			mu.Unlock()
		}
	})
	all.Go(func() {
		for _, one := range s.scenario.steps {
			wait(time.Until(s.start.Add(one.at)))
			s.clock.offset.Add(int64(one.by))
		}
	})
	for _, ph := range s.scenario.phases {
		ctx, cancel := context.WithTimeout(context.Background(), ph.length)
		for range ph.clients {
			all.Go(func() {
				for ctx.Err() == nil {
					process().call(context.WithoutCancel(ctx), ph)
					// A call that is refused at once must not spin in a time that stands.
					wait(s.drawUpTo(ph.thinking) + 50*time.Millisecond)
				}
			})
		}
		<-ctx.Done()
		cancel()
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select { // who still waits in a queue or a pause is let go
	case <-done:
	case <-time.After(2 * time.Minute):
		process().budget.Close()
		<-done
	}
	process().budget.Close()
	return err
}

// worst returns the most times in any closed window of the given length.
func worst(times []time.Duration, window time.Duration) int {
	slices.Sort(times)
	most, first := 0, 0
	for i, at := range times {
		for at-times[first] > window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func TestNoWindowEverHoldsMoreThanThePlan(t *testing.T) {
	outer := t
	sends, fullest := 0, 0.0
	rapid.Check(t, func(t *rapid.T) {
		s := &service{scenario: drawScenario(t)}
		s.rnd = rand.New(rand.NewPCG(s.scenario.seed, 1))
		s.clock.monotonic = s.scenario.monotonic
		var err error
		synctest.Test(outer, func(*testing.T) {
			s.start = time.Now()
			s.clock.start = s.start
			err = s.live()
		})
		if err = errors.Join(err, s.early, s.illegal); err != nil {
			t.Fatal(err)
		}
		plan := s.scenario.plan
		bound := float64(plan.Capacity) + plan.Rate*plan.Window.Seconds()
		late := bound + plan.Rate*s.scenario.latency.Seconds()
		share := plan.Limit - plan.OtherPrograms
		if n := worst(s.sends, plan.Window); n > share || float64(n) > bound {
			t.Fatalf("%d sends in a window, the plan allows %.1f", n, bound)
		}
		if n := worst(s.arrivals, plan.Window); n > share || float64(n) > late {
			t.Fatalf("%d arrivals in a window, the plan allows %.1f", n, late)
		}
		fullest = max(fullest, float64(worst(s.sends, plan.Window))/bound)
		sends += len(s.sends)
	})
	// A property about sends that hardly sees one would prove nothing.
	t.Logf("%d sends, fullest window at %.1f %% of its bound", sends, 100*fullest)
	if fullest < 0.8 {
		t.Error("no case came near the bound")
	}
}

func TestUnlimitedDemandUsesThePlan(t *testing.T) {
	const horizon = 3 * time.Minute
	for _, plan := range plans {
		for _, latency := range []time.Duration{0, LatencyMargin} {
			t.Run(fmt.Sprintf("capacity %d, rate %v, latency %s", plan.Capacity, plan.Rate, latency), func(t *testing.T) {
				s := &service{scenario: scenario{plan: plan, latency: latency}, rnd: rand.New(rand.NewPCG(1, 2))}
				synctest.Test(t, func(t *testing.T) { s.beAskedFor(t, horizon) })
				got, want := len(s.sends), plan.Rate*horizon.Seconds()
				if float64(got) < 0.95*want {
					t.Errorf("%d sends in %s, %.1f %% of the plan", got, horizon, 100*float64(got)/want)
				}
				if n := worst(s.sends, plan.Window); float64(n) > float64(plan.Capacity)+plan.Rate*30 {
					t.Errorf("%d sends in a window", n)
				}
			})
		}
	}
}

// beAskedFor has 100 clients, in all lanes, send one request after the other.
func (s *service) beAskedFor(t *testing.T, horizon time.Duration) {
	s.start = time.Now()
	p, err := newProcess(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), horizon)
	defer cancel()
	var all sync.WaitGroup
	for i := range 100 {
		req, err := http.NewRequestWithContext(WithLane(ctx, Lane(i%LaneCount)), http.MethodGet, "http://graph.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := p.client.Transport.RoundTrip(req); err != nil {
					return // the end is too near for another
				}
			}
		})
	}
	all.Wait()
	p.budget.Close()
}
