package cover

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"ucwagate/graphsrc"
)

const (
	ourURL     = "https://gate.contoso.com/notify"
	ourLife    = "https://gate.contoso.com/lifecycle"
	foreignURL = "https://other.contoso.com/notify"
)

// tenant is a model of Graph's subscriptions to presence, in the bubble's time.
type tenant struct {
	mu       sync.Mutex
	receiver *Manager
	presence map[string]int // how often a person has changed
	helpers  []*helper
	ids      int
	peak     int      // most subscriptions any account has had
	broken   []string // rules that were broken
}

func newTenant(accounts int) *tenant {
	n := &tenant{presence: make(map[string]int)}
	for i := range accounts {
		n.helpers = append(n.helpers, &helper{
			tenant: n, name: fmt.Sprintf("helper%d", i+1), subs: make(map[string]*modelSub),
			faults: make(map[string][]fault), latency: 2 * time.Second, validation: time.Second,
		})
	}
	return n
}

func (n *tenant) accounts() []Account {
	all := make([]Account, 0, len(n.helpers))
	for _, h := range n.helpers {
		all = append(all, Account{Name: h.name, Graph: h})
	}
	return all
}

// change changes people's presence, and notifies.
func (n *tenant) change(people ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range people {
		n.presence[id]++
	}
	for _, h := range n.helpers {
		for _, s := range h.live() {
			var changes []graphsrc.PresenceChange
			for _, id := range people {
				if s.people[id] && !s.silent && !s.muffled[id] {
					changes = append(changes, graphsrc.PresenceChange{
						ID: id, Availability: word(n.presence[id]), Activity: "x", SubscriptionID: s.ID,
					})
				}
			}
			if len(changes) > 0 {
				time.AfterFunc(h.latency, func() { n.deliver(s, changes) })
			}
		}
	}
}

func word(version int) string { return fmt.Sprintf("v%d", version) }

func (n *tenant) deliver(s *modelSub, changes []graphsrc.PresenceChange) {
	n.mu.Lock()
	m := n.receiver
	n.mu.Unlock()
	if m != nil && m.Knows(s.ID, s.secret) {
		m.Changed(changes)
	}
}

// lifecycle sends a lifecycle notification.
func (n *tenant) lifecycle(s *modelSub, e Event) {
	if n.receiver.Knows(s.ID, s.secret) {
		n.receiver.Lifecycle(s.ID, e)
	}
}

// modelSub is a subscription in the model.
type modelSub struct {
	graphsrc.Subscription
	people  map[string]bool
	muffled map[string]bool // people it does not deliver about
	secret  string
	keyID   string
	silent  bool
}

// fault is what happens to a call. lost: it takes effect and the answer is
// replaced by the error.
type fault struct {
	err  error
	lost bool
}

// helper is a helper account.
type helper struct {
	tenant              *tenant
	name                string
	subs                map[string]*modelSub
	faults              map[string][]fault
	latency, validation time.Duration
	answer              time.Duration              // between the creation and its answer
	deaf                bool                       // new subscriptions deliver nothing
	down                error                      // of every call
	hangs               bool                       // every call
	refuses             func(map[string]bool) bool // what create finds invalid
	calls               []string
	creates             []time.Time // that were accepted
}

func graphError(kind graphsrc.Kind, status int) *graphsrc.Error {
	return &graphsrc.Error{Op: "test", Kind: kind, Status: status}
}

// live returns what has not expired. The caller holds the tenant's lock.
func (h *helper) live() []*modelSub {
	maps.DeleteFunc(h.subs, func(_ string, s *modelSub) bool { return !time.Now().Before(s.Expires) })
	return slices.Collect(maps.Values(h.subs))
}

func (h *helper) begin(ctx context.Context, op string) (fault, error) {
	h.tenant.mu.Lock()
	h.calls = append(h.calls, op)
	var f fault
	if q := h.faults[op]; len(q) > 0 {
		f, h.faults[op] = q[0], q[1:]
	}
	if f.err == nil && h.down != nil {
		f.err = h.down
	}
	pause := 50 * time.Millisecond
	if h.hangs {
		pause = 24 * time.Hour
	}
	h.tenant.mu.Unlock()
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return f, graphError(graphsrc.KindTimeout, 0)
	}
	if f.err != nil && !f.lost {
		return f, f.err
	}
	return f, nil
}

func (h *helper) Subscribe(ctx context.Context, r graphsrc.SubscriptionRequest) (graphsrc.Subscription, error) {
	f, err := h.begin(ctx, "create")
	if err != nil {
		return graphsrc.Subscription{}, err
	}
	select {
	case <-time.After(h.validation):
	case <-ctx.Done():
		return graphsrc.Subscription{}, graphError(graphsrc.KindTimeout, 0)
	}
	s, err := h.add(r)
	if err != nil {
		return graphsrc.Subscription{}, err
	}
	h.tenant.mu.Lock()
	answer := h.answer
	h.tenant.mu.Unlock()
	select {
	case <-time.After(answer):
	case <-ctx.Done():
		return graphsrc.Subscription{}, graphError(graphsrc.KindTimeout, 0)
	}
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	return s.Subscription, f.err
}

func (h *helper) add(r graphsrc.SubscriptionRequest) (*modelSub, error) {
	n := h.tenant
	n.mu.Lock()
	defer n.mu.Unlock()
	now, life := time.Now(), time.Until(r.Expires)
	if len(r.People) == 0 || len(r.People) > graphsrc.SubscriptionSize || life > time.Hour || r.ClientState == "" || len(r.ClientState) > 128 {
		n.broken = append(n.broken, fmt.Sprintf("an invalid create: %d people for %v", len(r.People), life))
		return nil, graphError(graphsrc.KindInvalid, http.StatusBadRequest)
	}
	if len(h.live()) > 0 {
		return nil, graphError(graphsrc.KindInvalid, http.StatusConflict)
	}
	people := make(map[string]bool)
	for _, id := range r.People {
		people[id] = true
	}
	if h.refuses != nil && h.refuses(people) {
		return nil, graphError(graphsrc.KindInvalid, http.StatusBadRequest)
	}
	n.ids++
	s := &modelSub{
		Subscription: graphsrc.Subscription{
			ID: fmt.Sprintf("sub-%d", n.ids), NotificationURL: r.NotificationURL,
			Resource: "/communications/presences?$filter=id in (...)",
			Expires:  now.Add(max(life, 45*time.Minute)),
		},
		people: people, muffled: make(map[string]bool), secret: r.ClientState, keyID: r.CertificateID, silent: h.deaf,
	}
	h.subs[s.ID] = s
	h.creates = append(h.creates, now)
	n.peak = max(n.peak, len(h.subs))
	return s, nil
}

func (h *helper) Renew(ctx context.Context, id string, expires time.Time) (graphsrc.Subscription, error) {
	f, err := h.begin(ctx, "renew")
	if err != nil {
		return graphsrc.Subscription{}, err
	}
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	h.live()
	s := h.subs[id]
	if s == nil {
		return graphsrc.Subscription{}, graphError(graphsrc.KindNotFound, http.StatusNotFound)
	}
	s.Expires = time.Now().Add(max(time.Until(expires), 45*time.Minute))
	return s.Subscription, f.err
}

func (h *helper) Unsubscribe(ctx context.Context, id string) error {
	f, err := h.begin(ctx, "delete")
	if err != nil {
		return err
	}
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	if h.live(); h.subs[id] == nil {
		return graphError(graphsrc.KindNotFound, http.StatusNotFound)
	}
	delete(h.subs, id)
	return f.err
}

func (h *helper) Subscriptions(ctx context.Context) ([]graphsrc.Subscription, error) {
	f, err := h.begin(ctx, "list")
	if err != nil {
		return nil, err
	}
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	var all []graphsrc.Subscription
	for _, s := range h.live() {
		all = append(all, s.Subscription)
	}
	return all, f.err
}

// put puts a subscription there that the manager has not made.
func (h *helper) put(url string) *modelSub {
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	if len(h.live()) > 0 {
		return nil
	}
	h.tenant.ids++
	s := &modelSub{Subscription: graphsrc.Subscription{
		ID: fmt.Sprintf("sub-%d", h.tenant.ids), NotificationURL: url,
		Resource: "/communications/presences/x", Expires: time.Now().Add(time.Hour),
	}, people: map[string]bool{}, muffled: map[string]bool{}, secret: "foreign"}
	h.subs[s.ID] = s
	return s
}

// drop removes the subscription as Graph may, and returns it.
func (h *helper) drop() *modelSub {
	s := h.only()
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	if s != nil {
		delete(h.subs, s.ID)
	}
	return s
}

// only returns the account's subscription, nil without one.
func (h *helper) only() *modelSub {
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	if all := h.live(); len(all) > 0 {
		return all[0]
	}
	return nil
}

// set changes the helper's behaviour.
func (h *helper) set(do func(*helper)) {
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	do(h)
}

func (h *helper) count(op string) int {
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	n := 0
	for _, c := range h.calls {
		if c == op {
			n++
		}
	}
	return n
}

func (h *helper) created() []time.Time {
	h.tenant.mu.Lock()
	defer h.tenant.mu.Unlock()
	return slices.Clone(h.creates)
}
