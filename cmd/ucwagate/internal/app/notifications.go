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
	relay    *hookrelay.Relay // to the one that leads; nil: there is none
	running  atomic.Pointer[runningNotifications]
	stop     context.CancelFunc // of following; nil if there is nobody to follow
	done     sync.WaitGroup
	cleanups []func()
}

type runningNotifications struct {
	receiver *notify.Receiver
	manager  *cover.Manager
	ended    context.Context // ends with it
	end      context.CancelFunc
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
	n.done.Go(func() { n.serveOthers(ctx) })
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
		n.pause(ctx)
	}
}

// serveOthers answers what other replicas receive, while this one has subscribed.
func (n *notifications) serveOthers(ctx context.Context) {
	for ctx.Err() == nil {
		if r := n.running.Load(); r != nil {
			serving, stop := context.WithCancel(ctx)
			ended := context.AfterFunc(r.ended, stop)
			n.relay.Serve(serving, r.receiver)
			ended()
			stop()
		}
		n.pause(ctx)
	}
}

func (n *notifications) pause(ctx context.Context) {
	over := make(chan struct{})
	t := n.clock.AfterFunc(time.Second, func() { close(over) })
	defer t.Stop()
	select {
	case <-over:
	case <-ctx.Done():
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
	ended, end := context.WithCancel(context.Background())
	n.running.Store(&runningNotifications{r, m, ended, end})
	return nil
}

// end ends the subscriptions, and then what received their notifications.
func (n *notifications) end() {
	if r := n.running.Load(); r != nil {
		n.source.OnMissed(func(string) {})
		r.end()
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

// Validations is how often Graph has asked whether the address is ours.
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
	running := n.running.Load()
	if running == nil && n.relay == nil {
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
	if running == nil {
		n.relay.ServeHTTP(w, r)
		return
	}
	running.receiver.ServeHTTP(w, r)
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
