package budget_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/budget/budgettest"
	"ucwagate/graphsrc/clock"
)

// world is several replicas, the shared bucket and the ways between them, in a
// bubble. Everything that goes wrong is done to it.
type world struct {
	plan   budget.Plan
	terms  budget.LeaseTerms
	lessor budget.Lessor // the bucket itself
	bucket gate          // closed while Redis is frozen
	start  time.Time
	hold   time.Duration // how long a permit is kept before its send, at most

	mu    sync.Mutex
	rnd   *rand.Rand
	sends []time.Duration
	by    map[int]int // sends by place
	all   sync.WaitGroup
	wires sync.WaitGroup // what is under way to the bucket
}

func newWorld(plan budget.Plan, terms budget.LeaseTerms, seed uint64) *world {
	return &world{plan: plan, terms: terms, start: time.Now(), rnd: rand.New(rand.NewPCG(seed, 7)), by: make(map[int]int)}
}

func (w *world) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(n)
}

func (w *world) drawUpTo(most time.Duration) time.Duration {
	return time.Duration(w.draw(int(most/time.Microsecond)+1)) * time.Microsecond
}

// gate stops whoever passes while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // nil: open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = make(chan struct{})
	}
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		close(g.open)
		g.open = nil
	}
}

func (g *gate) pass() {
	for {
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		if open == nil {
			return
		}
		<-open
	}
}

// replica is one life of a gateway. Its clock and its way to the bucket pass a
// gate that is shut while the process is frozen.
type replica struct {
	world  *world
	place  int
	frozen gate
	budget *budget.Budget
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	moved budget.Lessor // the bucket it asks in place of the world's
	delay time.Duration // at most, each way
	cut   bool          // nothing arrives
	deaf  bool          // no answer arrives
}

func (w *world) newReplica(place int) *replica {
	r := &replica{world: w, place: place, delay: 2 * time.Millisecond}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	b, err := budget.New(budget.Options{Plan: w.plan, Clock: r, Lessor: r, Jitter: func() float64 { return 0.5 }})
	if err != nil {
		panic(err)
	}
	r.budget = b
	return r
}

func (r *replica) Now() time.Time { return time.Now() }

func (r *replica) AfterFunc(d time.Duration, f func()) clock.Timer {
	return time.AfterFunc(d, func() { r.frozen.pass(); f() })
}

func (r *replica) Terms() budget.LeaseTerms { return r.world.terms }

func (r *replica) set(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }

// Lease sends the ask over a way that may lose it, lose the answer, or take so
// long that a later ask overtakes it. What has left arrives, whoever waits.
func (r *replica) Lease(ctx context.Context, ask budget.Ask) (budget.Grant, error) {
	defer r.frozen.pass()
	w := r.world
	r.mu.Lock()
	cut, deaf, delay, lessor := r.cut, r.deaf, r.delay, w.lessor
	if r.moved != nil {
		lessor = r.moved
	}
	r.mu.Unlock()
	type answer struct {
		g   budget.Grant
		err error
	}
	answers := make(chan answer, 1)
	if !cut {
		w.wires.Go(func() {
			pause(w.drawUpTo(delay))
			w.bucket.pass()
			g, err := lessor.Lease(context.Background(), ask)
			pause(w.drawUpTo(delay))
			if !deaf {
				answers <- answer{g, err}
			}
		})
	}
	select {
	case a := <-answers:
		return a.g, a.err
	case <-ctx.Done():
		return budget.Grant{}, ctx.Err()
	}
}

// RoundTrip is the send.
func (r *replica) RoundTrip(req *http.Request) (*http.Response, error) {
	w := r.world
	w.mu.Lock()
	w.sends = append(w.sends, time.Since(w.start))
	w.by[r.place]++
	w.mu.Unlock()
	pause(w.drawUpTo(20 * time.Millisecond))
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

// work has so many callers send one request after the other until the replica
// ends.
func (r *replica) work(callers int, thinking time.Duration, lanes ...budget.Lane) {
	w := r.world
	transport := r.budget.Transport(r)
	for range callers {
		w.all.Go(func() {
			for r.ctx.Err() == nil {
				lane := lanes[w.draw(len(lanes))]
				ctx := budget.WithClient(budget.WithLane(r.ctx, lane), fmt.Sprint(w.draw(3)))
				if w.hold > 0 && w.draw(3) == 0 { // a permit kept for a while before its send
					p, err := r.budget.Acquire(ctx, lane)
					if err != nil {
						return
					}
					pause(w.drawUpTo(w.hold))
					ctx = budget.WithPermit(ctx, p)
					if w.draw(10) == 0 {
						p.Return()
					}
				}
				r.frozen.pass()
				if sendOne(ctx, transport) != nil {
					return
				}
				pause(w.drawUpTo(thinking))
			}
		})
	}
}

func sendOne(ctx context.Context, transport http.RoundTripper) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://graph.test/", nil)
	if err != nil {
		return err
	}
	_, err = transport.RoundTrip(req)
	return err
}

// end stops the replica; a killed one says no goodbye.
func (r *replica) end(kill bool) {
	if kill {
		r.set(func() { r.cut = true })
	}
	r.cancel()
	r.frozen.lift()
	r.budget.Close()
}

// finish ends the replicas, and waits for all that goes on.
func (w *world) finish(replicas ...*replica) {
	w.bucket.lift()
	for _, r := range replicas {
		r.end(false)
	}
	w.all.Wait()
	w.wires.Wait()
}

// pause lets fake time pass; it sets no timer that is due at once.
func pause(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// judge says whether any window holds more sends than the plan allows, by a clock
// that may go wrong by a part.
func (w *world) judge(drift float64) error {
	slices.Sort(w.sends)
	for _, window := range []time.Duration{w.plan.Window, time.Second, 100 * time.Millisecond, 2 * time.Minute} {
		bound := float64(w.plan.Capacity) + w.plan.Rate*window.Seconds()*drift
		if n, at := fullest(w.sends, window); float64(n) > bound+1e-6 {
			return fmt.Errorf("%d sends in %s from %s on, the plan allows %.1f", n, window, at, bound)
		}
	}
	return nil
}

// fullest returns the most times in any closed window, and where it begins.
func fullest(times []time.Duration, window time.Duration) (most int, from time.Duration) {
	first := 0
	for i, at := range times {
		for at-times[first] > window {
			first++
		}
		if i-first+1 > most {
			most, from = i-first+1, times[first]
		}
	}
	return most, from
}

// potential is what could be sent at once: what is in the bucket, what is leased,
// and what those have poured who fell back.
func (w *world) potential(l *budgettest.Ledger, replicas []*replica) float64 {
	potential, _ := l.Outstanding()
	potential = max(potential, 0)
	for _, r := range replicas {
		switch st := r.budget.Stats(); st.Sharing.State {
		case budget.Shared:
			potential += float64(st.Sharing.Stock)
		case budget.Fallback:
			potential += max(st.Tokens, 0) + float64(st.Held)
		}
	}
	return potential
}

// mishap is something that goes wrong for a while.
type mishap struct {
	at, length time.Duration
	what       string
	place      int
}

type story struct {
	plan    budget.Plan
	terms   budget.LeaseTerms
	drift   float64 // of the bucket's clock
	seed    uint64
	callers int
	mishaps []mishap
	length  time.Duration
}

// hasty are terms of which everything happens within a few minutes.
func hasty(replicas int) budget.LeaseTerms {
	t := budget.DefaultTerms(replicas)
	t.Stop, t.Forget = 40*time.Second, 43*time.Second
	return t
}

func drawStory(t *rapid.T) story {
	n := rapid.IntRange(1, 4).Draw(t, "replicas")
	s := story{
		plan: rapid.SampledFrom([]budget.Plan{
			budget.DefaultPlan(),
			{Limit: 1500, Window: 30 * time.Second, Capacity: 400, Rate: 30},
			{Limit: 1500, Window: 30 * time.Second, Capacity: 7, Rate: 45},
			{Limit: 1500, Window: 30 * time.Second, Capacity: 1000, Rate: 16},
		}).Draw(t, "plan"),
		terms:   hasty(n),
		drift:   rapid.SampledFrom([]float64{1, 0.97, 1.03}).Draw(t, "drift"),
		seed:    rapid.Uint64().Draw(t, "seed"),
		callers: rapid.SampledFrom([]int{40, 5, 1, 0}).Draw(t, "callers"),
		length:  rapid.SampledFrom([]time.Duration{time.Minute, 3 * time.Minute}).Draw(t, "length"),
	}
	for range rapid.IntRange(0, 12).Draw(t, "mishaps") {
		s.mishaps = append(s.mishaps, mishap{
			at:     time.Duration(rapid.IntRange(0, int(s.length/time.Millisecond)).Draw(t, "at")) * time.Millisecond,
			length: time.Duration(rapid.SampledFrom([]int{300, 1500, 4000, 8000, 13_000, 20_000, 60_000}).Draw(t, "for")) * time.Millisecond,
			what: rapid.SampledFrom([]string{
				"cut", "cut", "deaf", "slow", "very slow", "freeze", "kill", "restart", "loss", "takeover", "redis frozen", "all cut", "throttle",
			}).Draw(t, "what"),
			place: rapid.IntRange(0, n-1).Draw(t, "place"),
		})
	}
	slices.SortFunc(s.mishaps, func(a, b mishap) int { return int(a.at - b.at) })
	return s
}

// play lives a story, and returns how often a replica was seen in its fallback.
func (s story) play(w *world, l *budgettest.Ledger) (fallbacks int, err error) {
	replicas := make([]*replica, s.terms.Replicas)
	begin := func(place int) {
		replicas[place] = w.newReplica(place)
		replicas[place].work(s.callers, 50*time.Millisecond, budget.Interactive, budget.FirstLook, budget.Refresh)
	}
	for i := range replicas {
		begin(i)
	}
	until := func(at time.Duration) {
		for end := w.start.Add(at); time.Now().Before(end); pause(min(time.Until(end), 200*time.Millisecond)) {
			if p := w.potential(l, replicas); p > float64(s.plan.Capacity)+1e-6 && err == nil {
				err = fmt.Errorf("at %s a potential of %.3f, above the capacity %d", time.Since(w.start), p, s.plan.Capacity)
			}
		}
	}
	earlier := l.Save()
	for i, m := range s.mishaps {
		until(m.at)
		saved := earlier
		earlier = l.Save()
		r := replicas[m.place]
		during := func(on, off func()) {
			on()
			w.all.Go(func() { pause(m.length); off() })
		}
		link := func(r *replica, on, off func()) { during(func() { r.set(on) }, func() { r.set(off) }) }
		switch m.what {
		case "cut":
			link(r, func() { r.cut = true }, func() { r.cut = r.ctx.Err() != nil })
		case "deaf":
			link(r, func() { r.deaf = true }, func() { r.deaf = false })
		case "slow":
			link(r, func() { r.delay = 600 * time.Millisecond }, func() { r.delay = time.Millisecond })
		case "very slow":
			link(r, func() { r.delay = 5 * time.Second }, func() { r.delay = time.Millisecond })
		case "freeze":
			during(r.frozen.shut, r.frozen.lift)
		case "redis frozen":
			during(w.bucket.shut, w.bucket.lift)
		case "all cut":
			for _, r := range replicas {
				link(r, func() { r.cut = true }, func() { r.cut = r.ctx.Err() != nil })
			}
		case "loss":
			l.Wipe()
		case "takeover": // with the data of any earlier time
			saved()
			l.Serve(int64(i+2), 0)
		case "throttle":
			r.budget.Throttled(min(m.length, 5*time.Second), true)
		case "kill", "restart":
			w.all.Go(func() { r.end(m.what == "kill") })
			pause(time.Millisecond)
			begin(m.place)
		}
		for _, r := range replicas {
			if r.budget.Stats().Sharing.State == budget.Fallback {
				fallbacks++
			}
		}
	}
	until(s.length)
	w.finish(replicas...)
	return fallbacks, err
}

func TestNoWindowOfAllReplicasHoldsMoreThanThePlan(t *testing.T) {
	outer := t
	sends, closest, fallbacks := 0, 0.0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawStory(t)
		var err error
		synctest.Test(outer, func(*testing.T) {
			w := newWorld(s.plan, s.terms, s.seed)
			w.hold = time.Second
			ledger := budgettest.New(s.terms, func() time.Time {
				return w.start.Add(time.Duration(float64(time.Since(w.start)) * s.drift))
			})
			w.lessor = ledger
			var fell int
			fell, err = s.play(w, ledger)
			fallbacks += fell
			err = errors.Join(err, w.judge(max(s.drift, 1)))
			sends += len(w.sends)
			n, _ := fullest(w.sends, s.plan.Window)
			closest = max(closest, float64(n)/(float64(s.plan.Capacity)+s.plan.Rate*s.plan.Window.Seconds()))
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d sends, the fullest window at %.1f %% of its bound, %d times a replica was seen in its fallback", sends, 100*closest, fallbacks)
	if closest < 0.8 {
		t.Error("no case came near the bound")
	}
	if fallbacks == 0 {
		t.Error("no replica ever fell back")
	}
}
