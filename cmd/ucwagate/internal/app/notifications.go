package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/hookrelay"
	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/cover"
	"ucwagate/graphsrc/msgraph"
	"ucwagate/graphsrc/msgraph/delegated"
	"ucwagate/graphsrc/notify"
)

// notifications is what makes Graph tell a tenant's gateway of changes. It is
// built by newNotifications and contacts nobody before start.
//
//	Graph ──POST──▶ receiver ──▶ manager ──▶ source
//	  ▲                             │  ▲ Missed │
//	  └── /subscriptions ◀──────────┘  └────────┘
//
// With other replicas that is so at the one that leads. The others have a
// forwarder in the place of the receiver, and relay.Serve gives what they forward
// to the receiver.
type notifications struct {
	url      string
	source   *graphsrc.Source
	keys     *notify.Keyring
	tokens   *notify.Tokens
	tenantID string
	accounts []cover.Account
	clock    clock.Clock
	log      *slog.Logger

	signInNeeded, refused func() // are told; nil: nobody is

	shared   graphsrc.Shared  // nil: there are no other replicas
	relay    *hookrelay.Relay // to the one that leads; nil: there are no other replicas
	forward  *notify.Forwarder
	running  atomic.Pointer[runningNotifications]
	stop     context.CancelFunc // of following; nil if there is nobody to follow
	done     sync.WaitGroup
	cleanups []func()
}

type runningNotifications struct {
	receiver *notify.Receiver
	manager  *cover.Manager

	stop     context.CancelFunc // of relaying
	relaying sync.WaitGroup     // of what other replicas receive
}

// newNotifications returns nil if the tenant has no helper accounts. graph names
// tenant and cloud.
func newNotifications(cfg config.Config, t config.Tenant, graph msgraph.Config, source *graphsrc.Source, common Common, clk clock.Clock, log *slog.Logger, observe Observe) (_ *notifications, err error) {
	if len(t.Notifications.Helpers) == 0 {
		return nil, nil
	}
	n := &notifications{url: cfg.HookURL(t), source: source, shared: common.Shared, relay: common.Relay, tenantID: t.TenantID, clock: clk, log: log}
	defer func() {
		if err != nil {
			n.close()
			err = fmt.Errorf("building change notifications: %w", err)
		}
	}()
	graph.ClientID, graph.Credential = t.HelperClientID(), msgraph.Credential{}
	if n.keys, err = notify.NewKeyring(notify.KeyringConfig{Clock: clk, Logger: log}); err != nil {
		return nil, err
	}
	client := documentClient(graph.RootCAs)
	n.cleanups = append(n.cleanups, client.CloseIdleConnections)
	n.tokens, err = notify.NewTokens(notify.TokensConfig{
		Authority: authorityOf(t), TenantID: t.TenantID, ClientID: graph.ClientID,
		HTTPClient: client, Clock: clk,
	})
	if err != nil {
		return nil, err
	}
	if n.relay != nil {
		n.forward, err = notify.NewForwarder(notify.ForwarderConfig{
			TenantID: t.TenantID, Tokens: n.tokens, Relay: n.relay, Logger: log, Clock: clk,
			Refused: func() {
				if n.refused != nil { // set before anything is served
					n.refused()
				}
			},
		})
		if err != nil {
			return nil, err
		}
		n.cleanups = append(n.cleanups, n.forward.Close)
	}
	for _, file := range t.Notifications.Helpers {
		account, err := delegated.New(delegated.Options{Graph: graph, File: file, Clock: clk, Logger: log})
		if err != nil {
			return nil, err
		}
		n.cleanups = append(n.cleanups, account.Close)
		subscriber, err := msgraph.NewSubscriber(graph, account, observe, log)
		if err != nil {
			return nil, err
		}
		n.cleanups = append(n.cleanups, subscriber.Close)
		n.accounts = append(n.accounts, cover.Account{Name: accountName(n.accounts, file), Graph: subscriber})
	}
	return n, nil
}

// accountName is what logs and metrics call an account: the name of its file, the
// whole path where two files have one name.
func accountName(taken []cover.Account, file string) string {
	name := filepath.Base(file)
	for _, a := range taken {
		if a.Name == name {
			return file
		}
	}
	return name
}

// start subscribes in the background, with other replicas whenever this one leads.
// The listener may open a little later.
func (n *notifications) start() error {
	if n.shared == nil {
		return n.begin()
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	n.done.Go(func() { n.follow(ctx) })
	return nil
}

// follow lets the one who leads subscribe, and nobody else: an account has one
// subscription. While it is not known who leads everything stays as it is.
func (n *notifications) follow(ctx context.Context) {
	for ctx.Err() == nil {
		role, running := n.shared.Role(), n.running.Load() != nil
		switch {
		case role == graphsrc.Leading && !running:
			if err := n.begin(); err != nil {
				n.log.ErrorContext(ctx, "changes are not subscribed to", "error", err)
			}
		case role == graphsrc.Following && running:
			n.end()
		}
		clock.Wait(ctx, n.clock, time.Second)
	}
}

// begin subscribes.
func (n *notifications) begin() error {
	m, err := cover.New(cover.Options{
		People: n.source, Keys: currentKey{n.keys}, Accounts: n.accounts,
		NotificationURL: n.url, LifecycleURL: n.url, Endpoint: n, SignInNeeded: n.signInNeeded, Clock: n.clock, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("subscribing to changes: %w", err)
	}
	n.source.OnMissed(m.Missed)
	r, err := notify.NewReceiver(notify.Config{
		TenantID: n.tenantID, Subscriptions: m, Sink: sink{m}, Keys: n.keys, Tokens: n.tokens, Refused: n.refused,
		Logger: n.log, Clock: n.clock,
	})
	if err != nil {
		m.Close()
		return fmt.Errorf("receiving notifications: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	running := &runningNotifications{receiver: r, manager: m, stop: stop}
	if n.relay != nil {
		running.relaying.Go(func() { n.relay.Serve(ctx, n.leads, r) })
	}
	n.running.Store(running)
	return nil
}

// end ends the subscriptions, and then what received their notifications.
func (n *notifications) end() {
	if r := n.running.Load(); r != nil {
		n.source.OnMissed(func(string) {})
		r.stop()
		r.relaying.Wait()
		r.manager.Close()
		r.receiver.Close()
		n.running.Store(nil)
	}
}

func (n *notifications) close() {
	if n.stop != nil {
		n.stop()
		n.done.Wait()
	}
	n.end()
	// At once: an account waits for a rotation of its token under way.
	var all sync.WaitGroup
	for _, end := range n.cleanups {
		all.Go(end)
	}
	all.Wait()
	n.cleanups = nil
}

// leads reports whether no other replica can have subscribed.
func (n *notifications) leads() bool { return n.shared.Role() == graphsrc.Leading }

// Validations is how often Graph has asked whether the address is ours, at this
// replica or, since this one leads, at others.
func (n *notifications) Validations() uint64 {
	if r := n.running.Load(); r != nil {
		return r.receiver.Stats().Validations
	}
	return 0
}

// deliveryTime is how long Graph may take to send a delivery; it wants an answer
// within three seconds.
const deliveryTime = 3 * time.Second

// ServeHTTP is what Graph delivers to.
func (n *notifications) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler := n.hook()
	if handler == nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "not started yet", http.StatusServiceUnavailable)
		return
	}
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Now().Add(deliveryTime)); err == nil {
		defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	} else if !errors.Is(err, http.ErrNotSupported) {
		return
	}
	handler.ServeHTTP(w, r)
}

// hook is what answers Graph at this moment; nil before there is anything. A
// replica that has just lost the lead may still have subscriptions that it ends:
// but what comes is for another one's.
func (n *notifications) hook() http.Handler {
	running := n.running.Load()
	switch {
	case n.forward != nil && (running == nil || n.shared.Role() == graphsrc.Following):
		return n.forward
	case running != nil:
		return running.receiver
	}
	return nil
}

// hooks puts the receivers of the tenants before what is served otherwise.
func hooks(tenants []*Tenant, next http.Handler) http.Handler {
	byPath := make(map[string]http.Handler)
	for _, t := range tenants {
		if t.notifications != nil {
			byPath[config.HookPath(t.Name)] = t.notifications
		}
	}
	if len(byPath) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hook, ok := byPath[r.URL.Path]; ok {
			hook.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sink hands what the receiver hears to the manager.
type sink struct{ *cover.Manager }

func (s sink) Lifecycle(subscriptionID string, event notify.Event) {
	s.Manager.Lifecycle(subscriptionID, cover.Event(event))
}

// currentKey hands the receiver's key to the manager.
type currentKey struct{ keys *notify.Keyring }

func (k currentKey) Current() (certificateDER []byte, id string, err error) {
	certificateDER, id = k.keys.Current()
	return certificateDER, id, nil
}
