package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/mapping"
)

const (
	// parallelPublishing bounds the people who are published at once.
	parallelPublishing = 32
	// keepAliveClaim is how long a keep-alive holds for all applications of a
	// user on all replicas; a little less than the time to the next.
	keepAliveClaim = session.KeepAlive - 2*time.Second
	// retryPublish is the first pause before something that could not be
	// published is tried again; it doubles up to retryPublishMost.
	retryPublish     = 5 * time.Second
	retryPublishMost = 2 * time.Minute
	// endTries is how often the end of a session is tried; it ends by itself too.
	endTries = 6
	// endMargin is how much longer than its application a session lasts that
	// nobody ended.
	endMargin = 5 * time.Minute
	// longestSession is the most that setPresence takes.
	//
	// Source: https://learn.microsoft.com/en-us/graph/api/presence-setpresence
	longestSession = 4 * time.Hour
)

// publisher says to the source that people are there: once for a person,
// however many applications they have. A session at the source is kept alive
// while somebody reports activity, then fades by itself, and is ended with the
// last application.
//
// What one person's presence consists of is published one thing after the
// other, so that nothing overtakes.
type publisher struct {
	gateway *Gateway
	ctx     context.Context
	stop    context.CancelFunc
	slots   chan struct{}
	work    sync.WaitGroup

	mu     sync.Mutex
	people map[string]*publishing // by address, while there is something to do or to know
	closed bool
}

// publishing is what is to be published of one person.
type publishing struct {
	owner     string
	principal Principal     // as known from whoever made them available
	turn      chan struct{} // holds a value while somebody publishes

	// What follows is publisher.mu's.
	available bool
	running   bool // a worker looks after it
	users     int  // who wait for turn

	ends   bool                 // the session is to be ended
	keep   []string             // applications that ask for a keep-alive
	prefer *mapping.GraphAction // signInAs
	tries  int
	retry  clock.Timer
	// retries counts the timers, to tell the latest from one stopped too late.
	retries int
}

func newPublisher(g *Gateway) *publisher {
	p := &publisher{gateway: g, slots: make(chan struct{}, parallelPublishing), people: make(map[string]*publishing)}
	p.ctx, p.stop = context.WithCancel(budget.WithLane(context.Background(), budget.Publish))
	return p
}

// available is the store's hook.
func (p *publisher) available(owner string, available bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entry(owner)
	e.available, e.ends = available, !available
	if !available {
		e.keep, e.prefer = nil, nil
		p.resume(e)
	}
}

// begin publishes that somebody is there, and what they prefer to be (nil:
// nothing besides).
func (p *publisher) begin(who Principal, app string, prefer *mapping.GraphAction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entry(who.Address)
	e.principal = who
	e.keep = append(e.keep, app)
	if prefer != nil {
		e.prefer = prefer
	}
	p.resume(e)
}

// keepAlive publishes that somebody is still there.
func (p *publisher) keepAlive(owner, app string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entry(owner)
	if e.ends {
		return // the application has just ended
	}
	e.keep = append(e.keep, app)
	p.resume(e)
}

// entry and resume are called with the lock held.
func (p *publisher) entry(owner string) *publishing {
	e := p.people[owner]
	if e == nil {
		e = &publishing{owner: owner, principal: Principal{Address: owner}, turn: make(chan struct{}, 1)}
		p.people[owner] = e
	}
	return e
}

// resume sees to it that a worker does what is to be done, now and not after
// the pause of a retry.
func (p *publisher) resume(e *publishing) {
	if e.retry != nil {
		e.retry.Stop()
		e.retry = nil
		e.retries++
	}
	e.tries = 0
	p.start(e)
}

func (p *publisher) start(e *publishing) {
	if p.closed || e.running {
		return
	}
	e.running = true
	p.work.Go(func() { p.run(e) })
}

// run works for one person until there is nothing to do.
func (p *publisher) run(e *publishing) {
	for {
		p.mu.Lock()
		job, some := e.next()
		if !some || p.ctx.Err() != nil {
			e.running = false
			p.drop(e)
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		p.slots <- struct{}{}
		err := p.in(p.ctx, e, job.do)
		<-p.slots
		if err != nil {
			p.later(e, job, err)
		}
	}
}

// job is one thing to publish.
type job struct {
	do   func(ctx context.Context, p *publisher, e *publishing) error
	undo func(e *publishing) // puts it back, unless what came meanwhile replaces it
}

// next takes what is to be done first. The lock is held.
func (e *publishing) next() (job, bool) {
	switch {
	case e.retry != nil: // it waits
		return job{}, false
	case e.ends:
		e.ends = false
		return job{end, func(e *publishing) { e.ends = !e.available && e.tries < endTries }}, true
	case len(e.keep) > 0:
		apps := e.keep
		e.keep = nil
		again := func(e *publishing) {
			if e.available && len(e.keep) == 0 {
				e.keep = apps
			}
		}
		return job{func(ctx context.Context, p *publisher, e *publishing) error { return p.alive(ctx, e, apps) }, again}, true
	case e.prefer != nil:
		action := *e.prefer
		e.prefer = nil
		again := func(e *publishing) {
			if e.available && e.prefer == nil {
				e.prefer = &action
			}
		}
		return job{func(ctx context.Context, p *publisher, e *publishing) error { return p.say(ctx, e, action, 0) }, again}, true
	}
	return job{}, false
}

// drop forgets a person of whom nothing is to be known. The lock is held.
func (p *publisher) drop(e *publishing) {
	if !e.available && !e.running && e.retry == nil && e.users == 0 && !e.ends {
		delete(p.people, e.owner)
	}
}

// objectOf is what a person is called in the log: the object id, if it is known.
func (p *publisher) objectOf(e *publishing) string {
	_, id := p.gateway.Whose(e.owner)
	return id
}

// later takes a failure: what may pass is tried again, the rest is logged.
func (p *publisher) later(e *publishing, j job, err error) {
	var g *graphsrc.Error
	if !errors.As(err, &g) || p.ctx.Err() != nil {
		return
	}
	switch g.Kind {
	case graphsrc.KindThrottled, graphsrc.KindUnavailable, graphsrc.KindUnauthorized, graphsrc.KindMalformed, graphsrc.KindTimeout:
	case graphsrc.KindForbidden: // the source says so, once
		return
	default:
		p.gateway.log.WarnContext(p.ctx, "a presence was not published", "object", p.objectOf(e), "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	pause := max(min(retryPublish<<min(e.tries, 10), retryPublishMost), g.RetryAfter)
	e.tries++
	if e.tries == endTries && !e.available {
		p.gateway.log.WarnContext(p.ctx, "the end of a presence session could not be published; it fades", "object", p.objectOf(e), "error", err)
	}
	j.undo(e)
	e.retries++
	turn := e.retries
	e.retry = p.gateway.clock.AfterFunc(pause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if e.retries == turn { // else it was stopped too late
			e.retry = nil
			p.start(e)
		}
	})
}

// in runs f while nobody else publishes of the same person.
func (p *publisher) in(ctx context.Context, e *publishing, f func(context.Context, *publisher, *publishing) error) error {
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-e.turn }()
	return f(ctx, p, e)
}

// now publishes something for somebody who waits. With needsSession
// set it sees first to it that there is a session at the source.
func (p *publisher) now(ctx context.Context, who Principal, action mapping.GraphAction, needsSession bool) error {
	p.mu.Lock()
	e := p.entry(who.Address)
	e.principal = who
	e.users++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		e.users--
		p.drop(e)
	}()
	return p.in(budget.WithLane(ctx, budget.Publish), e, func(ctx context.Context, p *publisher, e *publishing) error {
		if needsSession {
			if err := p.alive(ctx, e, nil); err != nil {
				return err
			}
		}
		return p.say(ctx, e, action, 0)
	})
}

// errEnded says that nobody makes the person available any more.
var errEnded = &Error{Reason: ApplicationNotFound, Message: "The application has ended."}

// alive publishes that somebody is there, unless that was done a moment ago;
// the applications then wait with the next time.
func (p *publisher) alive(ctx context.Context, e *publishing, apps []string) error {
	g := p.gateway
	p.mu.Lock()
	available := e.available
	p.mu.Unlock()
	if !available { // the last application has ended meanwhile
		return errEnded
	}
	until, taken, err := g.store.Claim(ctx, claimOf(e.owner), keepAliveClaim)
	if err != nil {
		return &graphsrc.Error{Op: "claim a keep-alive", Kind: graphsrc.KindUnavailable, Err: err}
	}
	if taken {
		lasts := min(g.limits.Session.Activity+endMargin, longestSession)
		if err := p.say(ctx, e, mapping.MakeAvailable(), lasts); err != nil {
			p.release(ctx, e.owner)
			return err
		}
		return nil
	}
	for _, app := range apps {
		err := g.store.Update(ctx, app, func(s *session.Session) error {
			s.DelayKeepAlive(until, g.clock.Now())
			return nil
		})
		var ended *EndedError
		if err != nil && !errors.As(err, &ended) {
			g.log.WarnContext(ctx, "a session could not be updated", "application", app, "error", err)
		}
	}
	return nil
}

// end takes back that somebody is there.
func end(ctx context.Context, p *publisher, e *publishing) error {
	if err := p.say(ctx, e, mapping.EndSession(), 0); err != nil {
		return err
	}
	p.release(ctx, e.owner)
	return nil
}

func (p *publisher) release(ctx context.Context, owner string) {
	if err := p.gateway.store.Release(context.WithoutCancel(ctx), claimOf(owner)); err != nil {
		p.gateway.log.WarnContext(ctx, "a claim could not be released", "error", err)
	}
}

func claimOf(owner string) string { return "keep-alive " + owner }

// say publishes one thing.
func (p *publisher) say(ctx context.Context, e *publishing, action mapping.GraphAction, lasts time.Duration) error {
	p.mu.Lock()
	who := e.principal
	p.mu.Unlock()
	t, id, err := p.gateway.publishes(ctx, who)
	if err != nil {
		return err
	}
	if !p.gateway.mayPublish(who) {
		return &graphsrc.Error{Op: action.Method, Kind: graphsrc.KindForbidden, Message: "needs " + graphsrc.PublishPermission}
	}
	return t.Source.Publish(WithClient(ctx, who), id, action, lasts)
}

// close ends what is under way. What was said to the source stays: whoever
// comes back after a restart is not Offline in between, and what nobody comes
// back for fades.
func (p *publisher) close() {
	p.mu.Lock()
	p.closed = true
	for _, e := range p.people {
		if e.retry != nil {
			e.retry.Stop()
		}
	}
	p.mu.Unlock()
	p.stop()
	p.work.Wait()
}
