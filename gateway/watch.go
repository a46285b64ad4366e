package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/mapping"
)

const (
	// parallelResolves bounds the look-ups of newly watched addresses that are
	// under way at once; the source combines them into few requests.
	parallelResolves = 64
	// retryLookup is the first pause before an address that could not be looked
	// up is tried again; it doubles up to retryStranger, which is also how often
	// an address that nobody has is tried.
	retryLookup   = 10 * time.Second
	retryStranger = 5 * time.Minute
)

// watch turns the store's interest in addresses into the sources' watching of
// people, and the sources' changes into events.
type watch struct {
	gateway *Gateway

	mu      sync.Mutex
	targets map[string]*target     // by address
	people  map[personID][]*target // by person: one person may have several addresses
	queue   []*target              // to be looked up
	newest  bool                   // whose turn it is: the newest's or the oldest's
	again   []*target              // to be looked up once more, when queue is empty
	some    chan struct{}          // receives when both were empty
	waiting atomic.Int64           // targets that are not looked up yet
}

type personID struct {
	tenant *Tenant
	id     string
}

// target is an address that somebody watches.
type target struct {
	address string
	since   time.Time // when somebody began to watch it
	person  personID  // id is empty until the address is looked up
	tries   int
	retry   clock.Timer // nil unless a retry is pending
	gone    bool
}

func newWatch(g *Gateway) *watch {
	return &watch{
		gateway: g, targets: make(map[string]*target), people: make(map[personID][]*target), some: make(chan struct{}, 1),
	}
}

// interest is the store's hook.
func (w *watch) interest(address string, watched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.targets[address]
	switch {
	case watched && t == nil:
		tenant := w.gateway.tenantOf(address)
		t = &target{address: address, since: w.gateway.clock.Now(), person: personID{tenant: tenant}}
		w.targets[address] = t
		if tenant == nil { // nobody can be found in a domain that is not served
			return
		}
		w.waiting.Add(1)
		if u, ok := tenant.Source.Known(address); ok {
			w.found(t, u)
			return
		}
		w.queue = append(w.queue, t)
		w.rouse()
	case !watched && t != nil:
		delete(w.targets, address)
		w.drop(t)
	}
}

// learned is told of a person who was looked up for somebody who waits; an
// address of theirs that is still in the queue need not be looked up again.
func (w *watch) learned(ctx context.Context, address string, u graphsrc.User) {
	if w.waiting.Load() == 0 { // mostly; then it costs nothing
		return
	}
	w.mu.Lock()
	t := w.targets[address]
	waits := t != nil && t.person.id == "" && t.person.tenant != nil
	if waits {
		w.found(t, u)
	}
	w.mu.Unlock()
	if waits {
		w.lookAgain(context.WithoutCancel(ctx), t)
	}
}

// found begins to watch a person. The lock is held, so that the source's Watch
// cannot overtake its Unwatch.
func (w *watch) found(t *target, u graphsrc.User) {
	w.waiting.Add(-1)
	if t.retry != nil {
		t.retry.Stop()
		t.retry = nil
	}
	t.person.id = u.ID
	watchers := w.people[t.person]
	w.people[t.person] = append(watchers, t)
	if watchers == nil {
		t.person.tenant.Source.Watch(u.ID)
	}
}

// rouse and drop are called with the lock held.
func (w *watch) rouse() {
	select {
	case w.some <- struct{}{}:
	default:
	}
}

func (w *watch) drop(t *target) {
	t.gone = true
	if t.retry != nil {
		t.retry.Stop()
	}
	if t.person.id == "" {
		if t.person.tenant != nil {
			w.waiting.Add(-1)
		}
		return
	}
	rest := w.people[t.person]
	for i, other := range rest {
		if other == t {
			rest = append(rest[:i:i], rest[i+1:]...)
			break
		}
	}
	if len(rest) > 0 {
		w.people[t.person] = rest
		return
	}
	delete(w.people, t.person)
	t.person.tenant.Source.Unwatch(t.person.id)
}

// run looks queued addresses up until ctx ends.
func (w *watch) run(ctx context.Context) {
	ctx = budget.WithLane(ctx, budget.FirstLook)
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, parallelResolves)
	for {
		t := w.next(ctx)
		if t == nil {
			return
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			w.resolve(ctx, t)
		})
	}
}

// next waits for a queued address; nil means that ctx has ended.
func (w *watch) next(ctx context.Context) *target {
	for {
		w.mu.Lock()
		t := w.take()
		w.mu.Unlock()
		if t != nil {
			return t
		}
		select {
		case <-w.some:
		case <-ctx.Done():
			return nil
		}
	}
}

// take removes the next target from the queues; nil if there is none. The
// oldest and the newest are served in turns, so that a crowd of addresses
// cannot keep out whoever comes after it. The lock is held.
func (w *watch) take() *target {
	var t *target
	switch {
	case len(w.queue) > 0 && w.newest:
		last := len(w.queue) - 1
		t, w.queue[last] = w.queue[last], nil
		w.queue = w.queue[:last]
	case len(w.queue) > 0:
		t, w.queue[0] = w.queue[0], nil
		w.queue = w.queue[1:]
	case len(w.again) > 0:
		t, w.again[0] = w.again[0], nil
		w.again = w.again[1:]
	default:
		w.queue, w.again = nil, nil // gives the memory of a burst back
	}
	w.newest = !w.newest
	return t
}

func (w *watch) resolve(ctx context.Context, t *target) {
	w.mu.Lock()
	done, tenant := t.gone || t.person.id != "", t.person.tenant
	w.mu.Unlock()
	if done {
		return
	}
	u, err := tenant.Source.Lookup(ctx, t.address)
	if w.settle(ctx, t, u, err) {
		w.lookAgain(ctx, t)
	}
}

// lookAgain raises the events for a person who is watched from now on. A source
// that recounts has no need of it, and a replica that starts again would tell
// everybody who has long been watched by others.
func (w *watch) lookAgain(ctx context.Context, t *target) {
	if t.person.tenant.Source.Recounts() {
		return
	}
	// Whoever read the person before they were watched may have missed a change
	// in between: they are told to look again. Mostly the look-up takes no time,
	// and this is one with the event of the subscription itself.
	kinds, now := []session.Kind{session.ContactPresence}, w.gateway.clock.Now()
	if now.Sub(t.since) > promptLookup {
		kinds = append(kinds, session.ContactNote, session.ContactLocation, session.ContactSupportedModalities)
	}
	if err := w.publish(ctx, t.address, now, kinds, ""); err != nil {
		w.gateway.log.ErrorContext(ctx, "a change could not be published", "error", err)
	}
}

// promptLookup is how long after a subscription its people may be watched
// without anybody having had the time to read more than their presence.
const promptLookup = time.Second

// settle takes the outcome of a look-up and reports whether the person is
// watched from now on.
func (w *watch) settle(ctx context.Context, t *target, u graphsrc.User, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.gone || ctx.Err() != nil {
		return false
	}
	if t.person.id != "" { // somebody else found them meanwhile
		return true
	}
	if err != nil {
		w.later(t, err)
		return false
	}
	w.found(t, u)
	return true
}

// later tries an address again after a pause. The lock is held.
func (w *watch) later(t *target, err error) {
	pause := min(retryLookup<<min(t.tries, 10), retryStranger)
	t.tries++
	var e *graphsrc.Error
	if errors.As(err, &e) {
		if e.Kind == graphsrc.KindNotFound {
			pause = retryStranger
		}
		pause = max(pause, e.RetryAfter)
	}
	t.retry = w.gateway.clock.AfterFunc(pause, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !t.gone {
			t.retry = nil
			w.again = append(w.again, t)
			w.rouse()
		}
	})
}

// close stops pending retries.
func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.targets {
		t.gone = true
		if t.retry != nil {
			t.retry.Stop()
		}
	}
}

// changed is what a source reports: it becomes events for every application
// that watches the person, under each address they watch. After an error some
// of them may have theirs.
func (w *watch) changed(ctx context.Context, tenant *Tenant, c graphsrc.Change) error {
	known := w.gateway.clock.Now()
	if !c.Known.IsZero() { // the time until it is reported does not hold it up
		known = known.Add(-max(0, w.gateway.sourceClock.Now().Sub(c.Known)))
	}
	kinds := w.gateway.differences(tenant, c)
	if len(kinds) == 0 {
		return nil
	}
	w.mu.Lock()
	targets := w.people[personID{tenant, c.ID}]
	addresses := make([]string, len(targets))
	for i, t := range targets {
		addresses[i] = t.address
	}
	w.mu.Unlock()
	var failed error
	for _, address := range addresses {
		var err error
		if c.To == nil {
			err = w.publish(ctx, address, known, kinds, c.Revision)
		} else {
			err = w.publishTo(ctx, c.To, address, known, kinds)
		}
		if err != nil {
			failed = err
			w.gateway.log.ErrorContext(ctx, "a change could not be published", "error", err)
		}
	}
	return failed
}

// publish raises the events that parts of a contact have changed, as is known
// since then. Of several with a revision, only what is newer than the last counts.
func (w *watch) publish(ctx context.Context, address string, since time.Time, kinds []session.Kind, revision string) error {
	return w.gateway.store.Publish(ctx, address, updates(address, since, kinds, revision)...)
}

// publishTo raises them for some applications, as far as they live and watch.
func (w *watch) publishTo(ctx context.Context, applications []string, address string, since time.Time, kinds []session.Kind) error {
	g := w.gateway
	var failed error
	for _, id := range applications {
		err := g.store.Update(ctx, id, func(s *session.Session) error {
			s.Notify(g.clock.Now(), address, updates(address, since, kinds, "")...)
			return nil
		})
		if ended := (*EndedError)(nil); err != nil && !errors.As(err, &ended) {
			failed = err
		}
	}
	return failed
}

func updates(address string, since time.Time, kinds []session.Kind, revision string) []*session.Event {
	events := make([]*session.Event, len(kinds))
	for i, kind := range kinds {
		events[i] = &session.Event{Kind: kind, Type: session.Updated, Class: session.Medium, Key: address, Since: since.UnixNano(), Revision: revision}
	}
	return events
}

// differences tells which parts of a contact a change concerns.
func (g *Gateway) differences(tenant *Tenant, c graphsrc.Change) []session.Kind {
	before := mapping.Translate(c.Before.Presence.Words, g.translation)
	after := mapping.Translate(c.After.Presence.Words, g.translation)
	g.report(after, tenant.Name)
	if c.Unsure {
		return []session.Kind{session.ContactPresence, session.ContactNote, session.ContactLocation, session.ContactSupportedModalities}
	}
	if c.First {
		before = mapping.Contact{NoteType: mapping.Personal}
	}
	var kinds []session.Kind
	if before.Availability != after.Availability || before.Activity != after.Activity {
		kinds = append(kinds, session.ContactPresence)
	}
	if before.Note != after.Note || before.NoteType != after.NoteType {
		kinds = append(kinds, session.ContactNote)
	}
	if before.Location != after.Location {
		kinds = append(kinds, session.ContactLocation)
	}
	if !c.First && before.Reachable() != after.Reachable() {
		kinds = append(kinds, session.ContactSupportedModalities)
	}
	return kinds
}
