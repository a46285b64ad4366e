package graphsim

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/graphsim/limit"
)

// Subscription is a subscription to changes of presence, as POST
// /v1.0/subscriptions made it.
type Subscription struct {
	ID string `json:"id"`
	// Resource is as the client wrote it; Users is how many people it covers.
	Resource string `json:"resource"`
	Users    int    `json:"users"`
	// NotificationURL gets the changes, LifecycleURL (if any) the lifecycle
	// events.
	NotificationURL string `json:"notificationUrl"`
	LifecycleURL    string `json:"lifecycleNotificationUrl,omitempty"`
	// ClientID and UserID are the app and the signed-in user it belongs to.
	ClientID string `json:"clientId"`
	UserID   string `json:"userId"`
	// Rich means that notifications carry encrypted presence.
	Rich    bool      `json:"rich"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// AuthorizedUntil is when the access token expires that made, renewed or
	// reauthorized the subscription last.
	AuthorizedUntil time.Time `json:"authorizedUntil"`
}

// The rules of presence subscriptions.
//
// Sources: https://learn.microsoft.com/en-us/graph/changenotifications-for-presence
// (650 users, one hour), https://learn.microsoft.com/en-us/graph/api/resources/subscription
// (45 minutes at least, 128 characters), and
// https://learn.microsoft.com/en-us/graph/throttling-limits (writes)
const (
	maxSubscribed         = 650
	longestSubscription   = 60 * time.Minute
	shortestSubscription  = 45 * time.Minute
	longestClientState    = 128
	longestCertificateID  = 128
	subscriptionsResource = "communications/presences"
)

var subscriptionWrites = Limit{Requests: 1000, Window: 20 * time.Second, Model: Sliding}

// challengeLead is how long before a token or a subscription ends a
// reauthorizationRequired event is sent, and how often from then on. Graph
// documents that there is such an event and a sketch in which fifteen minutes
// appear, and asks not to rely on it.
//
// pauseGrace is how long notifications go on after the token has expired.
// Graph documents that they do for a while, pause then, and that what happens
// in the pause is lost.
//
// Source: https://learn.microsoft.com/en-us/graph/change-notifications-lifecycle-events
const (
	challengeLead = 15 * time.Minute
	challengeRest = time.Minute // at least, after an authorization
	pauseGrace    = 15 * time.Minute
)

// subscription is a Subscription with what only the sender needs.
type subscription struct {
	Subscription
	number        int // in the order of creation
	clientState   string
	certificate   *x509.Certificate // nil: nothing is encrypted
	certificateID string
	sights        []sight
	challenge     time.Time // when the next reauthorizationRequired is due
	gone          bool
}

// authorize takes over the life of a token and plans the next
// reauthorizationRequired.
func (s *subscription) authorize(until, now time.Time) {
	s.AuthorizedUntil = until
	ends := s.Expires
	if until.Before(ends) {
		ends = until
	}
	s.challenge = ends.Add(-challengeLead)
	if soonest := now.Add(challengeRest); s.challenge.Before(soonest) {
		s.challenge = soonest
	}
}

// sender keeps the subscriptions of a tenant and notifies of changes. It does
// nothing, and costs nothing, while there is no subscription.
type sender struct {
	tenant  *Tenant
	clock   clock.Clock
	latency time.Duration
	client  *http.Client
	// idle closes the connections of a client of our own.
	idle   func()
	forger func() (*signingKey, error) // of a key that is not the tenant's

	ctx    context.Context // ends with the tenant
	cancel context.CancelFunc
	wait   sync.WaitGroup // of deliveries

	mu        sync.Mutex
	closed    bool
	timer     clock.Timer // nil while nothing is to be done
	byID      map[string]*subscription
	numbers   int
	endpoints map[string]*endpoint
	gates     map[string]*limit.Gate // of writes, by app
	counts    NotificationStats
}

func newSender(t *Tenant) *sender {
	s := &sender{
		tenant: t, clock: t.clock, latency: t.cfg.NotificationLatency,
		forger: sync.OnceValues(newSigningKey),
		byID:   make(map[string]*subscription), endpoints: make(map[string]*endpoint), gates: make(map[string]*limit.Gate),
	}
	s.client, s.idle = notificationClient(t.cfg)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// stop ends all deliveries and waits for them.
func (s *sender) stop() {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.mu.Unlock()
	s.wait.Wait()
	s.idle()
}

// admit counts a write of an app.
func (s *sender) admit(app string) (admitted bool, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := s.gates[app]
	if gate == nil {
		gate = limit.NewGate(subscriptionWrites)
		s.gates[app] = gate
	}
	return gate.Pass(s.clock.Now())
}

// add keeps a subscription unless the app has one for the user already. What
// changes from now on is told.
func (s *sender) add(sub *subscription) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	s.expire(now)
	for _, other := range s.byID {
		if other.ClientID == sub.ClientID && other.UserID == sub.UserID {
			return errConflict
		}
	}
	if s.closed {
		return &graphError{status: http.StatusServiceUnavailable, code: "ServiceUnavailable", message: "The service is shutting down."}
	}
	s.numbers++
	sub.number, sub.Created = s.numbers, now
	s.tenant.presences.sweep(sub.sights)
	s.byID[sub.ID] = sub
	s.arm()
	return nil
}

// errConflict is what Graph answers to a second presence subscription of one
// user and app. That there may be one is documented ("Set up change
// notifications that include resource data"); status, code and text are as
// users report them.
//
// Source: https://github.com/microsoftgraph/msgraph-beta-sdk-dotnet/issues/174
var errConflict = &graphError{
	status: http.StatusConflict, code: "ExtensionError",
	message: "Operation: Create; Exception: [Status Code: Conflict; Reason: A subscripton already exists. It must be deleted before a another can be made.]",
}

// with runs do on the subscription of an id that belongs to the caller.
func (s *sender) with(id string, p principal, do func(*subscription) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.clock.Now())
	sub := s.byID[strings.ToLower(id)]
	if sub == nil || sub.ClientID != p.appID || sub.UserID != p.userID {
		return &graphError{status: http.StatusNotFound, code: "ResourceNotFound", message: "The object was not found."}
	}
	return do(sub)
}

// remove forgets a subscription. It runs with the lock held.
func (s *sender) remove(sub *subscription) {
	sub.gone = true
	delete(s.byID, sub.ID)
}

// expire forgets what has expired. It runs with the lock held.
func (s *sender) expire(now time.Time) {
	for _, sub := range s.byID {
		if !now.Before(sub.Expires) {
			s.remove(sub)
		}
	}
}

// sorted lists the subscriptions in the order of creation. It runs with the
// lock held.
func (s *sender) sorted() []*subscription {
	all := make([]*subscription, 0, len(s.byID))
	for _, sub := range s.byID {
		all = append(all, sub)
	}
	slices.SortFunc(all, func(a, b *subscription) int { return cmp.Compare(a.number, b.number) })
	return all
}

// Subscriptions lists the subscriptions that are alive, oldest first.
func (t *Tenant) Subscriptions() []Subscription {
	s := t.sender
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.clock.Now())
	all := make([]Subscription, 0, len(s.byID))
	for _, sub := range s.sorted() {
		all = append(all, sub.Subscription)
	}
	return all
}

// sight is what a subscription was told last of a user.
type sight struct {
	index  int
	change uint32 // value of presences.changed
	words  words
}

// sweep brings sights up to date and returns the positions of those whose
// words differ. It costs a comparison for each user who did not change.
func (p *presences) sweep(sights []sight) (changed []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	for i := range sights {
		s := &sights[i]
		o := p.overlays[s.index]
		if o == nil && p.changed[s.index] == s.change && s.words != (words{}) {
			continue
		}
		told := states.word[p.states[s.index]]
		if o != nil {
			told = p.refresh(s.index, o, now) // sessions and preferences end by time
		}
		s.change = p.changed[s.index]
		if told != s.words {
			s.words = told
			changed = append(changed, i)
		}
	}
	return changed
}
