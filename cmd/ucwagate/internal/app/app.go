// Package app wires a configuration into a running gateway and takes it down
// again. The commands start from it, and so do tests: New builds, Start opens
// the listener (port 0 picks one), URL tells where, Stop drains.
//
// It must never know the protocol: no path, no status, no translation.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/listen"
	"ucwagate/cmd/ucwagate/internal/metrics"
	"ucwagate/cmd/ucwagate/internal/observe"
	"ucwagate/cmd/ucwagate/internal/ops"
	"ucwagate/cmd/ucwagate/internal/redisconn"
	"ucwagate/cmd/ucwagate/internal/ticketkey"
	"ucwagate/gateway"
	"ucwagate/gateway/contactfile"
	"ucwagate/gateway/redisclock"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
	"ucwagate/mapping"
	"ucwagate/ucwaapi"
	"ucwagate/ucwaapi/signin"
	"ucwagate/ucwaapi/signin/policy"
)

// App is a gateway, built but not necessarily running.
type App struct {
	cfg     config.Config
	log     *slog.Logger
	clock   clock.Clock
	tenants []*Tenant
	domain  *gateway.Gateway
	handler http.Handler
	server  *http.Server
	addr    net.Addr
	served  chan error

	authenticator *signin.Authenticator
	clientAddress func(*http.Request) string

	tracing   *observe.Tracing  // nil without traces
	requests  *observe.Requests // nil where nothing is recorded of them
	graceEnds time.Time         // zero until the listener is stopped

	redis        *redisconn.Client // nil: no Redis
	commonClock  *redisclock.Clock // of the replicas; nil: no Redis
	ticketKey    *ticketkey.Keeper // nil: the key is configured, or of this process
	metrics      *metrics.Metrics
	problems     *ops.Errors
	policy       *policy.Policy
	tls          *tls.Config // nil: plain HTTP
	ops          *ops.Server
	internalAddr net.Addr // nil without an internal listener
	redirectAddr net.Addr // nil without a redirecting listener
	// cleanups run last in, first out.
	cleanups []cleanup
}

type cleanup struct {
	name string
	run  func(context.Context) error
}

// New builds everything a valid configuration asks for and contacts nobody but
// Redis, which it does not wait for.
func New(cfg config.Config, log *slog.Logger) (_ *App, err error) {
	a := &App{cfg: cfg, log: log, clock: clock.System(), served: make(chan error, 2)}
	a.metrics = metrics.New(metrics.Options{
		Build: build(), SignInMethods: signin.Methods(), SignInResults: signInResults(), LimitReasons: limitReasons(),
		RedisOperations: redisconn.Operations(), RedisResults: redisconn.Results(), Logger: log, Clock: a.clock,
	})
	a.problems = ops.NewErrors(a.clock)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(context.Background()))
		}
	}()
	if err = a.openTracing(); err != nil {
		return nil, err
	}
	if err = a.openRedis(); err != nil {
		return nil, err
	}
	a.clientAddress = ucwaapi.ClientAddress(cfg.Server.TrustedProxies, cfg.Server.TrustedSocket)
	a.openRequests()
	if a.policy, err = accessPolicy(cfg); err != nil {
		return nil, err
	}
	if a.authenticator, err = a.signIn(); err != nil {
		return nil, err
	}
	if a.domain, err = a.gateway(); err != nil {
		return nil, err
	}
	server, err := ucwaapi.New(ucwaapi.Options{
		Gateway: a.domain, NextWithResync: cfg.Subscriptions.NextWithResync, SignIn: a.authenticator, Logger: log, Domain: cfg.Tenants[0].Domains[0],
		PublicURL: cfg.Server.PublicURL, TrustedProxies: cfg.Server.TrustedProxies, TrustedSockets: cfg.Server.TrustedSocket,
		AllowedOrigins: cfg.Server.AllowedOrigins, ServerName: cfg.Server.ServerName, MaxBody: int64(cfg.Server.MaxBody),
		OnBatch: a.metrics.Batch, OnChange: a.changed,
		Limits: a.limits(),
	})
	if err != nil {
		return nil, fmt.Errorf("building the UCWA server: %w", err)
	}
	if err = a.openTLS(); err != nil {
		return nil, err
	}
	a.handler = a.observed(server, hooks(a.tenants, a.authenticator.Handler(server)))
	if err = a.internal(); err != nil {
		return nil, err
	}
	return a, nil
}

// Start opens the listener and serves in the background. Background work stops
// with Stop, not with ctx.
func (a *App) Start(ctx context.Context) error {
	if err := a.listenInternal(ctx); err != nil {
		return err
	}
	for _, t := range a.tenants {
		if err := t.Start(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("tenant %s: %w", t.Name, err)
		}
	}
	a.domain.Start(context.WithoutCancel(ctx))
	a.onStop("gateway", func(context.Context) error { a.domain.Close(); return nil })
	opened, err := listen.Open(ctx, a.cfg.Server.Listen)
	if err != nil {
		return fmt.Errorf("opening the listener: %w", err)
	}
	a.addr = opened.Addr()
	var l net.Listener
	connections := a.connections()
	a.server, l = a.guarded(a.handler, opened, connections)
	a.server.ConnContext = signin.ConnContext(a.peer())
	a.server.TLSConfig = a.tls
	if err := a.redirect(ctx, min(connections, redirectConnections)); err != nil {
		return errors.Join(err, l.Close())
	}
	a.onStop("listener", func(ctx context.Context) error {
		// Whoever distributes requests sees first that there shall be no new ones.
		a.log.InfoContext(ctx, "stopping: not ready any more", "drain_delay", a.cfg.Server.DrainDelay.String(), "drain_time", a.cfg.Server.DrainTime.String())
		a.ops.Drain()
		a.drainDelay(ctx)
		// Waiting P-GETs are released while the listener closes: each gets an
		// answer and comes back, to another replica.
		a.domain.Drain(a.cfg.Server.DrainTime)
		grace := a.cfg.Server.DrainTime + a.cfg.Server.ShutdownGrace
		a.graceEnds = a.clock.Now().Add(grace)
		ctx, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		if err := a.server.Shutdown(ctx); err != nil {
			// Also where a client opened a connection and never used it.
			a.log.WarnContext(ctx, "connections were still open at the end of the grace and are closed", "error", err)
			return a.server.Close()
		}
		return nil
	})
	go func() {
		if a.tls != nil {
			a.served <- a.server.ServeTLS(l, "", "")
		} else {
			a.served <- a.server.Serve(l)
		}
	}()
	a.ops.Started()
	a.log.InfoContext(ctx, "listening", "address", a.addr.String())
	return nil
}

// Handler returns the HTTP handler, for those who bring their own listener.
func (a *App) Handler() http.Handler { return a.handler }

// URL returns where Start listens, as a client on this machine writes it.
func (a *App) URL() string {
	if a.tls != nil {
		return "https" + strings.TrimPrefix(urlOf(a.addr), "http")
	}
	return urlOf(a.addr)
}

// InternalURL is URL for the internal listener; empty if there is none.
func (a *App) InternalURL() string {
	if a.internalAddr == nil {
		return ""
	}
	return urlOf(a.internalAddr)
}

func urlOf(addr net.Addr) string {
	if addr.Network() == "unix" {
		return listen.UnixPrefix + addr.String()
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Tenants returns what New built for each configured tenant, in order.
func (a *App) Tenants() []*Tenant { return a.tenants }

// Wait returns when ctx ends or the listener fails.
func (a *App) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.served:
		return fmt.Errorf("serving: %w", err)
	}
}

// Stop takes everything down, last in, first out. It may be called after a New
// or Start that failed, and more than once.
func (a *App) Stop(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(a.cleanups) {
		if err := c.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stopping the %s: %w", c.name, err))
		}
	}
	a.cleanups = nil
	return errors.Join(errs...)
}

func (a *App) onStop(name string, run func(context.Context) error) {
	a.cleanups = append(a.cleanups, cleanup{name, run})
}

func (a *App) gateway() (*gateway.Gateway, error) {
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	o := gateway.Options{
		Store: store, Clock: a.storeClock(), SourceClock: a.clock, Logger: a.log,
		Translation: mapping.Options{
			UnknownAsNone:           a.cfg.Presence.UnknownAs == config.UnknownNone,
			OmitOutOfOfficeActivity: !a.cfg.Presence.OutOfOfficeActivity,
		},
		Contacts: gateway.ContactOptions{
			Organization: a.cfg.Contacts.Organization, Groups: a.cfg.Contacts.Groups,
			ContactFolders: a.cfg.Contacts.ContactFolders,
			Default:        gateway.DefaultGroupSource(a.cfg.Contacts.DefaultGroup),
		},
		Limits: gateway.Limits{
			ApplicationsPerUser: a.cfg.Applications.PerUser, Contacts: a.cfg.Contacts.MaxContacts, Session: a.sessionLimits(),
			PGets: a.cfg.Limits.PGets, PGetsPerUser: a.cfg.Limits.PGetsPerUser,
		},
		ReadOnly: !a.cfg.Presence.Publish, NoPhotos: !a.cfg.Photos.Enabled,
		RosterInterval: a.cfg.Contacts.TTL, OnWake: a.metrics.Wake,
	}
	if a.cfg.Access.Restricts() {
		o.Access = access{a.policy}
	}
	if a.cfg.Contacts.ListFile != "" {
		o.Contacts.File, err = contactfile.Open(a.cfg.Contacts.ListFile, contactfile.Options{
			Writable: a.cfg.Contacts.ListWritable, MaxContacts: a.cfg.Contacts.MaxContacts, MaxGroups: a.cfg.Contacts.MaxGroups,
			Clock: a.clock, Logger: a.log,
		})
		if err != nil {
			return nil, err
		}
	}
	if a.cfg.Contacts.PinnedFile != "" {
		pinned, err := readPinned(a.cfg.Contacts.PinnedFile)
		if err != nil {
			return nil, err
		}
		o.Contacts.Pinned = pinned.of
	}
	for _, tc := range a.cfg.Tenants {
		log := a.log.With("tenant", tc.Name)
		common, err := a.common(tc, log)
		if err != nil {
			return nil, fmt.Errorf("tenant %s: %w", tc.Name, err)
		}
		t, err := NewTenant(a.cfg, tc, a.clock, log, a.observe(tc.Name), common)
		if err != nil {
			return nil, fmt.Errorf("tenant %s: %w", tc.Name, err)
		}
		a.noteNotifications(t)
		a.onStop("tenant "+t.Name, func(context.Context) error { t.Close(); return nil })
		a.tenants = append(a.tenants, t)
		o.Tenants = append(o.Tenants, gateway.Tenant{Name: t.Name, ID: tc.TenantID, Domains: tc.Domains, Source: t.Source})
	}
	return gateway.New(o)
}

// observe is around every physical request to Graph of a tenant.
func (a *App) observe(tenant string) Observe {
	return func(next http.RoundTripper) http.RoundTripper {
		return a.problems.Transport(tenant, a.metrics.GraphTransport(tenant, a.tracing.GraphTransport(tenant, next)))
	}
}

func (a *App) sessionLimits() session.Limits {
	c := a.cfg.Subscriptions
	return session.Limits{
		Subscriptions: c.PerApplication, Members: c.Members, Events: c.QueuedEvents, Channels: c.Instances,
		SoftReset: c.SoftReset, Expiry: c.Expiry, Activity: a.cfg.Applications.Activity,
	}
}
