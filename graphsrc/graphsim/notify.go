package graphsim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// NotificationStats counts change notifications and lifecycle events since the
// tenant was made or the counters were reset.
type NotificationStats struct {
	// Posts counts the requests that were answered with 2xx in time, Items the
	// notifications in them.
	Posts int `json:"posts"`
	Items int `json:"items"`
	// Refused counts the requests that were not.
	Refused int `json:"refused"`
	// Dropped counts the notifications nobody will get: those a fault
	// swallowed, those for an endpoint that is too slow, those that were
	// refused for four hours, and those of subscriptions that ended meanwhile
	// or wait for reauthorization.
	Dropped int `json:"dropped"`
}

// arm makes sure that the sender looks at its subscriptions again. It runs
// with the lock held.
func (s *sender) arm() {
	if s.timer == nil && !s.closed {
		s.timer = s.clock.AfterFunc(s.latency, s.tick)
	}
}

// tick notices what has changed since the last one, and all else that is due.
func (s *sender) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	if s.closed {
		return
	}
	now := s.clock.Now()
	s.expire(now)
	faults := s.tenant.faults.get()
	for _, sub := range s.sorted() {
		s.collect(sub, now, faults)
		if !now.Before(sub.challenge) {
			sub.challenge = now.Add(challengeLead)
			s.tell(sub, lifecycleReauthorize, now)
		}
	}
	for url, e := range s.endpoints {
		if e.empty() && !e.busy && e.health.forgotten(now) {
			delete(s.endpoints, url)
			continue
		}
		s.wake(e, now)
	}
	if len(s.byID)+len(s.endpoints) > 0 {
		s.arm()
	}
}

// collect queues a notification for each covered user who has changed.
func (s *sender) collect(sub *subscription, now time.Time, faults Faults) {
	changed := s.tenant.presences.sweep(sub.sights)
	if len(changed) == 0 {
		return
	}
	if faults.Notify.Silent || now.After(sub.AuthorizedUntil.Add(pauseGrace)) {
		s.counts.Dropped += len(changed)
		return
	}
	e := s.endpoint(sub.NotificationURL)
	for _, position := range changed {
		seen := sub.sights[position]
		if !s.tenant.dir.Present(seen.index) {
			continue
		}
		if s.tenant.faults.chance(faults.Notify.Drop) {
			s.counts.Dropped++
			continue
		}
		w := seen.words
		w.availability, w.activity = bendWords(faults.Presence, w.availability, w.activity)
		s.queue(e, itemKey{sub: sub, index: seen.index}, item{user: s.tenant.dir.Person(seen.index).ID(), words: w}, now, faults.Notify)
	}
}

// queue adds an item to what an endpoint is to get, as the endpoint's health
// and the faults allow.
func (s *sender) queue(e *endpoint, key itemKey, it item, now time.Time, fault NotifyFault) {
	verdict := e.health.verdict(now)
	switch held, waits := e.held[key]; {
	case verdict == tooSlow:
		s.counts.Dropped++
	case waits:
		delete(e.held, key)
		e.add(key, it)
		late := key
		late.serial = s.serial(e)
		e.add(late, held)
	case s.tenant.faults.chance(fault.Reorder):
		e.held[key] = it
	case verdict == slow:
		e.later(key, it, now.Add(slowDelay))
	case fault.DelayMs > 0:
		e.later(key, it, now.Add(time.Duration(fault.DelayMs)*time.Millisecond))
	default:
		e.add(key, it)
	}
}

func (s *sender) serial(e *endpoint) int {
	e.serials++
	return e.serials
}

// The lifecycle events there are.
const (
	lifecycleReauthorize = "reauthorizationRequired"
	lifecycleRemoved     = "subscriptionRemoved"
	lifecycleMissed      = "missed"
)

var lifecycleEvents = []string{lifecycleReauthorize, lifecycleRemoved, lifecycleMissed}

// tell queues a lifecycle event. It runs with the lock held.
func (s *sender) tell(sub *subscription, event string, now time.Time) {
	if sub.LifecycleURL == "" {
		return
	}
	e := s.endpoint(sub.LifecycleURL)
	e.add(itemKey{sub: sub, serial: s.serial(e)}, item{event: event})
	s.wake(e, now)
	s.arm()
}

func (s *sender) endpoint(url string) *endpoint {
	e := s.endpoints[url]
	if e == nil {
		e = &endpoint{url: url, fresh: make(map[itemKey]item), held: make(map[itemKey]item)}
		e.health.since = s.clock.Now()
		s.endpoints[url] = e
	}
	return e
}

// wake starts the delivery to an endpoint if something is due and none runs.
// It runs with the lock held.
func (s *sender) wake(e *endpoint, now time.Time) {
	if e.busy || s.closed || !e.due(now) {
		return
	}
	e.busy = true
	s.wait.Go(func() {
		for {
			b := s.next(e)
			if b == nil {
				return
			}
			s.deliver(e, b)
		}
	})
}

// next takes the next batch that is due, or ends the delivery.
func (s *sender) next(e *endpoint) *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		e.busy = false
		return nil
	}
	now := s.clock.Now()
	b := e.take(now)
	for b != nil && e.health.verdict(now) == tooSlow {
		s.counts.Dropped += len(b.items)
		b = e.take(now)
	}
	e.busy = b != nil
	return b
}

// deliver posts a batch and decides what follows from the answer.
func (s *sender) deliver(e *endpoint, b *batch) {
	body, items, err := s.compose(b)
	if err != nil {
		s.tenant.log.Error("simulator cannot write a notification", "error", err)
		return
	}
	if items == 0 {
		return
	}
	began := s.clock.Now()
	err = s.post(e.url, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	e.health.record(now, now.Sub(began) > slowAnswer)
	if err == nil {
		s.counts.Posts++
		s.counts.Items += items
		return
	}
	s.counts.Refused++
	s.tenant.log.Debug("simulated notification refused", "error", err)
	if b.first.IsZero() {
		b.first = began
	}
	pause := min(retryFirst<<min(b.tries, 10), retryMost)
	verdict := e.health.verdict(now)
	if verdict != healthy {
		pause = slowDelay
	}
	b.tries++
	b.due = now.Add(pause)
	if verdict == tooSlow || b.due.After(b.first.Add(retryFor)) {
		s.counts.Dropped += len(b.items)
		return
	}
	e.waiting = append(e.waiting, b)
}

// itemKey tells items apart. Of two items with one key the later takes the
// place of the earlier while neither was sent; a serial keeps them apart.
type itemKey struct {
	sub    *subscription
	index  int // of the user
	serial int
}

// item is a notification: of a user's presence or of a lifecycle event.
type item struct {
	user  string
	words words
	event string
}

// entry is an item in a batch.
type entry struct {
	sub *subscription
	item
}

// batch is what goes into one request.
type batch struct {
	items []entry
	due   time.Time
	first time.Time // attempt; zero before it
	tries int
}

// maxItems is the size of a batch. Graph documents that there may be many
// items in one request, not how many.
const maxItems = 100

// endpoint is a URL that gets notifications, possibly for many subscriptions.
type endpoint struct {
	url     string
	fresh   map[itemKey]item // to be sent at once, in the order of keys
	keys    []itemKey
	waiting []*batch         // to be sent when they are due
	held    map[itemKey]item // that fault Reorder keeps for after their successors
	serials int
	busy    bool
	health  health
}

func (e *endpoint) empty() bool { return len(e.keys)+len(e.waiting) == 0 }

// add queues an item to be sent at once.
func (e *endpoint) add(key itemKey, it item) {
	if _, ok := e.fresh[key]; !ok {
		e.keys = append(e.keys, key)
	}
	e.fresh[key] = it
}

// later queues an item to be sent in some time. Items of one time share a
// batch.
func (e *endpoint) later(key itemKey, it item, due time.Time) {
	if n := len(e.waiting); n > 0 {
		last := e.waiting[n-1]
		if last.tries == 0 && last.due.Equal(due) && len(last.items) < maxItems {
			last.items = append(last.items, entry{key.sub, it})
			return
		}
	}
	e.waiting = append(e.waiting, &batch{items: []entry{{key.sub, it}}, due: due})
}

func (e *endpoint) due(now time.Time) bool {
	return len(e.keys) > 0 || slices.ContainsFunc(e.waiting, func(b *batch) bool { return !now.Before(b.due) })
}

// take removes the next batch that is due; new items go before old ones.
func (e *endpoint) take(now time.Time) *batch {
	if n := min(len(e.keys), maxItems); n > 0 {
		b := &batch{items: make([]entry, 0, n)}
		for _, key := range e.keys[:n] {
			b.items = append(b.items, entry{key.sub, e.fresh[key]})
			delete(e.fresh, key)
		}
		e.keys = slices.Clone(e.keys[n:])
		return b
	}
	for i, b := range e.waiting {
		if !now.Before(b.due) {
			e.waiting = slices.Delete(e.waiting, i, i+1)
			return b
		}
	}
	return nil
}

// The rules of delivery. The first pause before an attempt is repeated, and
// how it grows, is not documented; the rest is.
//
// Source: https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks
const (
	answerWithin = 3 * time.Second
	slowAnswer   = 2900 * time.Millisecond
	retryFirst   = 10 * time.Second
	retryMost    = 10 * time.Minute
	retryFor     = 4 * time.Hour
	// An endpoint is judged from judgedFrom answers on, afresh every
	// healthWindow. Whether Graph counts requests or the items in them is not
	// documented; here it is requests.
	judgedFrom   = 100
	healthWindow = 10 * time.Minute
	slowShare    = 0.10
	tooSlowShare = 0.15
	slowDelay    = 10 * time.Minute
)

// verdict is what becomes of the notifications for an endpoint.
type verdict int

const (
	healthy verdict = iota
	slow            // delayed
	tooSlow         // dropped
)

// health counts the answers of an endpoint.
type health struct {
	since         time.Time
	answers, slow int
}

func (h *health) forgotten(now time.Time) bool { return now.Sub(h.since) >= healthWindow }

func (h *health) refresh(now time.Time) {
	if h.forgotten(now) {
		*h = health{since: now}
	}
}

func (h *health) record(now time.Time, late bool) {
	h.refresh(now)
	h.answers++
	if late {
		h.slow++
	}
}

func (h *health) verdict(now time.Time) verdict {
	h.refresh(now)
	if h.answers < judgedFrom {
		return healthy
	}
	switch share := float64(h.slow) / float64(h.answers); {
	case share >= tooSlowShare:
		return tooSlow
	case share >= slowShare:
		return slow
	}
	return healthy
}

// controlSubscriptions serves GET /sim/subscriptions.
func (t *Tenant) controlSubscriptions(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, t.Subscriptions())
}

// controlLifecycle serves POST /sim/subscriptions/{id}/lifecycle.
func (t *Tenant) controlLifecycle(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Event string `json:"event"`
	}
	if !readControl(w, r, &body) {
		return
	}
	if !slices.Contains(lifecycleEvents, body.Event) {
		controlError(w, http.StatusBadRequest, `"event" %q: allowed are %s`, body.Event, strings.Join(lifecycleEvents, ", "))
		return
	}
	s := t.sender
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	s.expire(now)
	sub := s.byID[strings.ToLower(r.PathValue("id"))]
	switch {
	case sub == nil:
		controlError(w, http.StatusNotFound, "no subscription %q", r.PathValue("id"))
		return
	case sub.LifecycleURL == "":
		controlError(w, http.StatusConflict, "the subscription has no lifecycleNotificationUrl")
		return
	}
	s.tell(sub, body.Event, now)
	if body.Event == lifecycleRemoved {
		s.remove(sub)
	}
	w.WriteHeader(http.StatusNoContent)
}
