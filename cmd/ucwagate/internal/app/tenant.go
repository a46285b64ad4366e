package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/cover"
	"ucwagate/graphsrc/msgraph"
	"ucwagate/graphsrc/notify"
	"ucwagate/graphsrc/syncfile"
	"ucwagate/graphsrc/units"
)

// Tenant is what speaks to Graph for one tenant.
type Tenant struct {
	Name   string
	Budget *budget.Budget
	Units  *units.Units
	Graph  *msgraph.Client
	Source *graphsrc.Source

	notifications *notifications // nil without helper accounts
}

// Observe puts something around the physical requests to Graph.
type Observe func(next http.RoundTripper) http.RoundTripper

// NewTenant builds the budget, the resource units, the client and the source of
// a tenant. It contacts nobody, except for what the budget has in common with
// other replicas. observe may be nil.
func NewTenant(cfg config.Config, t config.Tenant, clk clock.Clock, log *slog.Logger, observe Observe, common Common) (*Tenant, error) {
	if observe == nil {
		observe = func(next http.RoundTripper) http.RoundTripper { return next }
	}
	b, err := budget.New(budget.Options{
		Plan: budget.Plan{
			Limit: t.Budget.Limit, Window: t.Budget.Window, OtherPrograms: t.Budget.OtherPrograms,
			Capacity: t.Budget.Capacity, Rate: t.Budget.Rate,
		},
		Clock: clk, Logger: log, Lessor: common.Lessor,
	})
	if err != nil {
		return nil, fmt.Errorf("building the budget: %w", err)
	}
	// Without a size the units are those of the smallest tenant, which is more
	// than the budget lets through.
	u := units.New(units.Options{Clock: clk, Logger: log})
	credential, err := credentialOf(t.Credential)
	if err != nil {
		u.Close()
		b.Close()
		return nil, err
	}
	roots, err := t.RootCAs()
	if err != nil {
		u.Close()
		b.Close()
		return nil, err
	}
	where := msgraph.Config{
		TenantID: t.TenantID, ClientID: t.Credential.ClientID, Cloud: string(t.Cloud),
		GraphURL: t.GraphURL, Authority: t.Authority, Credential: credential, RootCAs: roots,
	}
	graph, err := msgraph.New(where, func(next http.RoundTripper) http.RoundTripper { return u.Transport(b.Transport(observe(next))) }, log)
	if err != nil {
		u.Close()
		b.Close()
		return nil, fmt.Errorf("building the Graph client: %w", err)
	}
	var kept graphsrc.SyncState // none, unless a file is configured
	if cfg.Directory.StateFile != "" {
		kept = syncfile.New(cfg.Directory.StateFile + "." + t.Name)
	}
	source, err := graphsrc.New(graphsrc.Options{
		Graph: graph, Budget: b, Clock: clk, Logger: log, Shared: common.Shared, SharedDirectory: common.Directory,
		RefreshRate: t.Budget.Rate * cfg.Presence.RefreshShare, WatchCeiling: cfg.Presence.RefreshCeiling,
		Fresh: cfg.Presence.Refresh, Stale: cfg.Presence.Staleness, CacheSize: cfg.Presence.CacheSize,
		SafetyNet:   max(t.Notifications.SafetyNet, cfg.Presence.Refresh),
		BatchWindow: max(cfg.Presence.BatchWindow, time.Nanosecond), // zero would mean the default there
		UserTTL:     cfg.Directory.TTL, NegativeTTL: cfg.Directory.NegativeTTL, DirectorySize: cfg.Directory.CacheSize,
		DirectorySync: cfg.Directory.Sync, SyncInterval: cfg.Directory.SyncInterval, SyncOwner: t.TenantID, SyncState: kept, Domains: t.Domains,
		ContactsTTL: cfg.Contacts.TTL, MaxContacts: cfg.Contacts.MaxContacts + 1, // one more tells that a group is too large
		MaxGroups:       cfg.Contacts.MaxGroups,
		PhotoCacheBytes: int(cfg.Photos.CacheSize), PhotoTTL: cfg.Photos.TTL, PhotoNegativeTTL: cfg.Photos.NegativeTTL,
	})
	if err != nil {
		graph.Close()
		u.Close()
		b.Close()
		return nil, fmt.Errorf("building the source: %w", err)
	}
	tenant := &Tenant{Name: t.Name, Budget: b, Units: u, Graph: graph, Source: source}
	if tenant.notifications, err = newNotifications(cfg, t, where, source, common, clk, log, observe); err != nil {
		tenant.Close()
		return nil, err
	}
	return tenant, nil
}

// Start begins the tenant's background work, which ends with Close.
func (t *Tenant) Start(ctx context.Context) error {
	t.Source.Start(ctx)
	if t.notifications == nil {
		return nil
	}
	return t.notifications.start()
}

// Notifications tells of the subscriptions to changes and of what was received;
// false if there are none.
func (t *Tenant) Notifications() (cover.Stats, notify.Stats, bool) {
	if t.notifications == nil {
		return cover.Stats{}, notify.Stats{}, false
	}
	r := t.notifications.running.Load()
	if r == nil {
		return cover.Stats{}, notify.Stats{}, false
	}
	return r.manager.Stats(), r.receiver.Stats(), true
}

// Close ends the tenant's background work.
func (t *Tenant) Close() {
	if t.notifications != nil {
		t.notifications.close()
	}
	t.Source.Close()
	t.Graph.Close()
	t.Units.Close()
	t.Budget.Close()
}

func credentialOf(c config.Credential) (msgraph.Credential, error) {
	out := msgraph.Credential{Kind: string(c.Kind), SendChain: c.SendChain, TokenFile: c.TokenFile}
	var err error
	switch c.Kind {
	case config.CredentialSecret:
		out.Secret, err = c.ClientSecret()
	case config.CredentialCertificate:
		var password []byte
		out.Certificate, password, err = c.Certificate()
		out.CertificatePassword = string(password)
	}
	return out, err
}

func authorityOf(t config.Tenant) string {
	if t.Cloud == config.CloudCustom {
		return t.Authority
	}
	return msgraph.Authority(string(t.Cloud))
}
