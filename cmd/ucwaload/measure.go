package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// bench is one measurement.
type bench struct {
	*runCommand
	dir string
	// accounts is how many users sign in; 0: one for each perUser applications.
	accounts int
	cost     int    // of bcrypt
	sync     bool   // keep the whole directory
	limits   object // section limits of the configuration; nil: the defaults
	redis    object // section redis; nil: none
}

// withoutLimits is for measurements in which one machine and a few accounts
// stand for many.
var withoutLimits = object{"connections": 0, "connections_per_address": 0, "pgets": 0, "pgets_per_user": 0, "requests_per_minute": 0, "anonymous_per_minute": 0}

// users is how many accounts sign in.
func (b *bench) users() int {
	if b.accounts > 0 {
		return b.accounts
	}
	return (b.N + perUser - 1) / perUser
}

// result is what was measured of one of the two servers.
type result struct {
	// empty is without applications (gateway only); before and after are around
	// parking, woken is when nearly all have been woken and have parked again.
	empty, before, after, woken footprint
	wakes                       [3][]round // of each audience
	answerBytes                 int        // size of an answer that wakes
	// path and token are those of a request, so that others can be as long.
	path, token string
	sweeps      sweeps
}

// round are the wake latencies of one change, sorted. The first client has 0
// in fromFirst.
type round struct{ fromFirst, fromDue []time.Duration }

// sweeps is what reading everybody again costs.
type sweeps struct {
	count             float64
	cpu, took         time.Duration
	requests, watched int // requests for presence; people
	worstWindow       int // most requests of any kind in 30 s since the start
}

const (
	// workers prepare applications at once.
	workers = 16
	// mediumTimer is how long a change of presence waits for others.
	mediumTimer = 5 * time.Second
	// timeout is the longest a P-GET may be held, in seconds.
	timeout = 1800
)

// calm is for how long nothing must move before a measurement.
func (b *bench) calm() time.Duration { return max(2*time.Second, b.Refresh+b.Refresh/5) }

func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers, MaxConnsPerHost: workers}, Timeout: time.Minute}
}

// measureGateway measures the gateway.
func (b *bench) measureGateway(ctx context.Context) (*result, error) {
	s := &system{http: newHTTPClient()}
	defer s.stop()
	if err := b.startSystem(ctx, s); err != nil {
		return nil, err
	}
	if err := s.directoryRead(ctx); err != nil {
		return nil, err
	}
	r, p := &result{}, newPlan(b.N, b.People, b.Watch)
	var err error
	if r.empty, err = s.gateway.settled(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	b.say("opening %d applications, each watching %d of %d people", b.N, b.Watch, b.People)
	members, err := b.openAll(ctx, s, p)
	if err = cmp.Or(err, s.relay.failed()); err != nil {
		return nil, err
	}
	if r.before, err = s.gateway.settled(ctx, b.calm()); err != nil {
		return nil, err
	}
	b.say("parking")
	host := strings.TrimPrefix(s.base, "http://")
	f, err := park(ctx, host, members, func(_ *parking, body []byte) (string, error) { return nextPath(body) })
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := s.gateway.holds(ctx, b.N); err != nil {
		return nil, err
	}
	if err := b.watchParked(ctx, s, f, r, p.watched()); err != nil {
		return nil, err
	}
	err = b.wakeAll(p, r, func(a audience) (round, error) { return b.wakeGateway(ctx, s, f, a) })
	if err != nil {
		return nil, err
	}
	if r.woken, err = s.gateway.settled(ctx, b.calm()); err != nil {
		return nil, err
	}
	r.answerBytes, r.path, r.token = members[0].size, members[0].path, members[0].token
	return r, s.relay.failed()
}

// watchParked measures the gateway while nothing happens but its sweeps.
func (b *bench) watchParked(ctx context.Context, s *system, f *fleet, r *result, watched int) error {
	if err := f.quiet(ctx, 2*time.Second); err != nil {
		return err
	}
	b.say("measuring memory and sweeps")
	group, within := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		r.after, err = s.gateway.settled(within, b.calm())
		return err
	})
	group.Go(func() (err error) {
		r.sweeps, err = b.sweep(within, s, watched)
		return err
	})
	if err := group.Wait(); err != nil || b.Hold == 0 {
		return err
	}
	b.say("parked at %s, process %d, for %s", s.base, s.gateway.cmd.Process.Pid, b.Hold)
	return pause(ctx, b.Hold)
}

// wakeAll wakes each audience as often as there are rounds.
func (b *bench) wakeAll(p plan, r *result, wake func(audience) (round, error)) error {
	for i, a := range p.audiences {
		b.say("waking %d", a.n)
		for range b.Rounds {
			one, err := wake(a)
			if err != nil {
				return err
			}
			r.wakes[i] = append(r.wakes[i], one)
		}
	}
	return nil
}

// openAll opens all applications and fetches their first events.
func (b *bench) openAll(ctx context.Context, s *system, p plan) ([]*parking, error) {
	members := make([]*parking, b.N)
	accounts := make([]*account, 0, b.N/perUser+1)
	for _, u := range s.persons[b.People : b.People+b.users()] {
		a, err := signIn(ctx, s.http, s.base, strings.TrimPrefix(u.URI, "sip:"), s.password)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, a)
	}
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range members {
		group.Go(func() error {
			var uris []string
			for _, number := range p.watchedBy(i) {
				uris = append(uris, s.persons[number].URI)
			}
			a := accounts[i/perUser]
			path, err := a.open(within, fmt.Sprintf("load-%d", i), uris)
			members[i] = &parking{index: i, path: fmt.Sprintf("%s&timeout=%d", path, timeout), token: a.token}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	// Once everybody was read and the timer of the first presences is over,
	// the first package holds all there is to tell.
	if err := pause(ctx, mediumTimer+b.Refresh+time.Second); err != nil {
		return nil, err
	}
	host := strings.TrimPrefix(s.base, "http://")
	group, within = errgroup.WithContext(ctx)
	group.SetLimit(4 * workers)
	for _, m := range members {
		group.Go(func() (err error) {
			m.path, err = accounts[m.index/perUser].drain(within, host, m.path)
			return err
		})
	}
	return members, group.Wait()
}

// sweep measures several sweeps in which nothing changes.
func (b *bench) sweep(ctx context.Context, s *system, watched int) (sweeps, error) {
	r := sweeps{watched: watched}
	cpu, err := s.gateway.cpu()
	if err != nil {
		return r, err
	}
	people, requests, different := s.relay.read()
	if different != watched {
		return r, fmt.Errorf("the gateway reads %d people, %d are watched", different, watched)
	}
	began, limit := time.Now(), time.Duration(b.Sweeps+3)*b.Refresh+time.Minute
	for {
		nowPeople, nowRequests, _ := s.relay.read()
		r.requests, r.took = nowRequests-requests, time.Since(began)
		r.count = float64(nowPeople-people) / float64(watched)
		if r.count >= float64(b.Sweeps) {
			break
		}
		if r.took > limit {
			return r, fmt.Errorf("only %.1f sweeps in %s", r.count, limit)
		}
		if err := cmp.Or(s.relay.failed(), pause(ctx, 2*time.Millisecond)); err != nil {
			return r, err
		}
	}
	later, err := s.gateway.cpu()
	if err != nil {
		return r, err
	}
	r.cpu = later - cpu
	var all stats
	if err := s.read(ctx, "/sim/stats", &all); err != nil {
		return r, err
	}
	if all.Throttled > 0 {
		return r, fmt.Errorf("the simulator has throttled %d requests", all.Throttled)
	}
	r.worstWindow = all.WorstWindow
	return r, nil
}

// wakeGateway changes a presence and notes when its audience is told.
func (b *bench) wakeGateway(ctx context.Context, s *system, f *fleet, a audience) (round, error) {
	if err := f.quiet(ctx, 500*time.Millisecond); err != nil {
		return round{}, err
	}
	handed, err := s.change(ctx, a.person)
	if err != nil {
		return round{}, err
	}
	address := strings.TrimPrefix(s.persons[a.person].URI, "sip:")
	times, err := f.collect(ctx, a, 3*b.Refresh+30*time.Second, address)
	if err != nil {
		return round{}, err
	}
	select {
	case at := <-handed:
		return newRound(times, at.Add(mediumTimer)), nil
	default:
		return round{}, errors.New("clients were told of a change that the gateway had not read")
	}
}

// newRound makes latencies of the moments at which clients were told.
func newRound(times []time.Time, due time.Time) round {
	var r round
	slices.SortFunc(times, time.Time.Compare)
	for _, t := range times {
		r.fromDue = append(r.fromDue, t.Sub(due))
		r.fromFirst = append(r.fromFirst, t.Sub(times[0]))
	}
	return r
}

// bareHead is what net/http writes before the body of a bare answer, in bytes.
const bareHead = 108

// barePath returns the path of a client's request, as long as length if it can.
func barePath(client, length int) string {
	path := fmt.Sprintf("/park?id=%d&pad=", client)
	return path + strings.Repeat("x", max(0, length-len(path)))
}

// measureBare measures the bare handler with requests and answers as long as
// those of the gateway.
func (b *bench) measureBare(ctx context.Context, like *result) (*result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	bare, err := start(ctx, "bare", b.Verbose, b.environment(), self, "bare")
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	base, err := bare.await(ctx, func(line string) (string, bool) { return line, strings.HasPrefix(line, "http://") })
	if err != nil {
		return nil, err
	}
	b.say("parking in the bare handler")
	r, p := &result{}, newPlan(b.N, b.People, b.Watch)
	if r.before, err = bare.settled(ctx, time.Second); err != nil {
		return nil, err
	}
	members := make([]*parking, b.N)
	for i := range members {
		members[i] = &parking{index: i, path: barePath(i, len(like.path)), token: like.token}
	}
	f, err := park(ctx, strings.TrimPrefix(base, "http://"), members, func(p *parking, _ []byte) (string, error) { return p.path, nil })
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := bare.holds(ctx, b.N); err != nil {
		return nil, err
	}
	if r.after, err = bare.settled(ctx, b.calm()); err != nil {
		return nil, err
	}
	hc := newHTTPClient()
	defer hc.CloseIdleConnections()
	err = b.wakeAll(p, r, func(a audience) (round, error) {
		to := fmt.Sprintf("%s/wake?from=%d&n=%d&bytes=%d", base, a.from, a.n, max(0, like.answerBytes-bareHead))
		return wakeBare(ctx, hc, to, f, a)
	})
	if err != nil {
		return nil, err
	}
	if r.woken, err = bare.settled(ctx, b.calm()); err != nil {
		return nil, err
	}
	r.answerBytes = members[0].size
	return r, nil
}

// wakeBare wakes an audience by one request and notes when it is told.
func wakeBare(ctx context.Context, hc *http.Client, to string, f *fleet, a audience) (round, error) {
	if err := f.quiet(ctx, 500*time.Millisecond); err != nil {
		return round{}, err
	}
	due := time.Now()
	if err := post(ctx, hc, to, nil); err != nil {
		return round{}, err
	}
	times, err := f.collect(ctx, a, 30*time.Second, "")
	if err != nil {
		return round{}, err
	}
	return newRound(times, due), nil
}
