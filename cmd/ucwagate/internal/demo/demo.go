// Package demo runs a simulated tenant and a gateway in one process: for
// people who try the product, for tests and for benchmarks. The gateway is the
// real one, wired like in production from a configuration that points at the
// simulated tenant.
//
// It must never reach into the gateway: what it shows it has from the outside.
package demo

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"ucwagate/cmd/ucwagate/internal/app"
	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/graphsrc/graphsim"
	"ucwagate/mapping"
)

// Options describe a demonstration. Zero fields take the defaults.
type Options struct {
	Listen  string        // of the gateway; default a free port of the loopback interface
	Users   int           // people of the tenant
	Seed    uint64        // the same seed gives the same people
	Domain  string        // SIP domain
	Still   bool          // nobody moves by themselves
	Roles   []string      // application permissions of the gateway; default all it can use
	Refresh time.Duration // age up to which a presence is answered from memory; default 2 s
	// Helpers is how many helper accounts subscribe to change notifications, for
	// 650 people each; default none.
	Helpers int
	Logger  *slog.Logger
	// Adjust changes the configuration before the gateway is built.
	Adjust func(*config.Config)
}

// Contact is one of the people a demonstration shows.
type Contact struct {
	URI          string `json:"uri"`
	Name         string `json:"name"`
	Availability string `json:"availability"`
}

// Info is what a client needs to use a demonstration.
type Info struct {
	BaseURL      string    `json:"baseURL"`
	Username     string    `json:"username"`
	Password     string    `json:"password"`
	Domain       string    `json:"domain"`
	Contacts     []Contact `json:"contacts"`
	SimulatorURL string    `json:"simulatorURL"`
	StatusURL    string    `json:"statusURL"` // metrics, health and the status page
}

// Demo is a running demonstration.
type Demo struct {
	Info
	Tenant *graphsim.Tenant
	App    *app.App

	simulator *graphsim.Server
	handler   atomic.Pointer[http.Handler] // of the gateway, once it is there
	dir       string
}

// shownContacts is how many people are listed.
const shownContacts = 8

// Start starts a demonstration; Close ends it.
func Start(ctx context.Context, o Options) (_ *Demo, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Demo{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close(context.WithoutCancel(ctx)))
		}
	}()
	trusted := x509.NewCertPool()
	d.Tenant, err = graphsim.New(graphsim.Config{
		Domain: o.Domain, Users: o.Users, Seed: o.Seed, Still: o.Still, Roles: o.Roles,
		NotificationRootCAs: trusted, Logger: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("building the simulated tenant: %w", err)
	}
	if d.simulator, err = d.Tenant.Serve(graphsim.ServeOptions{}); err != nil {
		return nil, fmt.Errorf("serving the simulated tenant: %w", err)
	}
	trusted.AppendCertsFromPEM(d.simulator.CertificatePEM)
	d.Tenant.Start(context.WithoutCancel(ctx))
	password, err := randomPassword()
	if err != nil {
		return nil, err
	}
	cfg, err := d.configure(ctx, o, password)
	if err != nil {
		return nil, err
	}
	if d.App, err = app.New(cfg, o.Logger); err != nil {
		return nil, err
	}
	handler := d.App.Handler()
	d.handler.Store(&handler)
	if err := d.App.Start(ctx); err != nil {
		return nil, err
	}
	d.Info = Info{
		BaseURL: d.App.URL(), Username: d.Tenant.Organizer().Address(), Password: password,
		Domain: d.Tenant.Domain(), Contacts: d.contacts(), SimulatorURL: d.simulator.URL, StatusURL: d.App.InternalURL(),
	}
	return d, nil
}

// Close ends the gateway, then the tenant, and removes the files.
func (d *Demo) Close(ctx context.Context) error {
	var errs []error
	if d.App != nil {
		errs = append(errs, d.App.Stop(ctx))
	}
	if d.Tenant != nil {
		d.Tenant.Close()
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// AuthorityURL is the HTTPS root of the tenant's Entra ID.
func (d *Demo) AuthorityURL() string { return d.simulator.TLSURL }

// configure writes the files a production gateway would be given and returns
// the configuration that names them.
func (d *Demo) configure(ctx context.Context, o Options, password string) (config.Config, error) {
	cfg := config.Default()
	var err error
	if d.dir, err = os.MkdirTemp("", "ucwagate-demo-"); err != nil {
		return cfg, fmt.Errorf("making a folder for the demonstration: %w", err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return cfg, fmt.Errorf("hashing the password: %w", err)
	}
	var passwords strings.Builder
	for _, u := range append(d.people(), d.Tenant.Organizer()) {
		fmt.Fprintf(&passwords, "%s:%s\n", u.Address(), hash)
	}
	cfg.SignIn.Htpasswd = filepath.Join(d.dir, "htpasswd")
	roots := filepath.Join(d.dir, "simulator.pem")
	err = errors.Join(
		os.WriteFile(cfg.SignIn.Htpasswd, []byte(passwords.String()), 0o600),
		os.WriteFile(roots, d.simulator.CertificatePEM, 0o600),
	)
	if err != nil {
		return cfg, fmt.Errorf("writing the files of the demonstration: %w", err)
	}

	cfg.Server.Listen = o.Listen
	if cfg.Server.Listen == "" {
		cfg.Server.Listen = "127.0.0.1:0"
	}
	cfg.Internal.Listen = "127.0.0.1:0"
	cfg.Server.ShutdownGrace, cfg.Server.DrainTime = 2*time.Second, 0
	cfg.SignIn.AttemptsPerMinute = 1000
	cfg.Server.AllowedOrigins = []string{"http://localhost"} // the page of the documentation's samples
	cfg.Contacts.ContactFolders = true
	cfg.Presence.Refresh = o.Refresh
	if o.Refresh == 0 {
		cfg.Presence.Refresh = 2 * time.Second
	}
	cfg.Presence.Staleness = max(cfg.Presence.Staleness, cfg.Presence.Refresh)
	cfg.Presence.RefreshCeiling = max(cfg.Presence.RefreshCeiling, cfg.Presence.Refresh)
	t := config.DefaultTenant()
	t.Name, t.Domains = "simulated", []string{d.Tenant.Domain()}
	t.Cloud, t.GraphURL, t.Authority, t.CAFile = config.CloudCustom, d.simulator.URL, d.simulator.TLSURL, roots
	var secret string
	t.TenantID, t.Credential.ClientID, secret = d.Tenant.Credentials()
	t.Credential.Kind, t.Credential.Secret = config.CredentialSecret, config.Secret(secret)
	if o.Helpers > 0 {
		if err := d.notified(ctx, &t, o.Helpers, o.Logger); err != nil {
			return cfg, err
		}
	}
	cfg.Tenants = []config.Tenant{t}
	if o.Adjust != nil {
		o.Adjust(&cfg)
	}
	return cfg, nil
}

// people are those a demonstration lists: the colleagues of its user, then
// others.
func (d *Demo) people() []graphsim.User {
	me := d.Tenant.Organizer()
	var list []graphsim.User
	seen := map[string]bool{me.ID: true}
	add := func(u graphsim.User) {
		// Guests come from another domain, which the demonstration does not serve.
		if !seen[u.ID] && len(list) < shownContacts && strings.HasSuffix(u.Address(), "@"+d.Tenant.Domain()) {
			seen[u.ID] = true
			list = append(list, u)
		}
	}
	if manager, ok := d.Tenant.Manager(me); ok {
		add(manager)
	}
	for _, u := range d.Tenant.Reports(me) {
		add(u)
	}
	for i := range min(d.Tenant.Len(), 4*shownContacts) {
		add(d.Tenant.User(i))
	}
	return list
}

func (d *Demo) contacts() []Contact {
	var list []Contact
	for _, u := range d.people() {
		c := Contact{URI: "sip:" + u.Address(), Name: u.DisplayName}
		if p, err := d.Tenant.Presence(u.ID); err == nil {
			c.Availability = string(mapping.Translate(mapping.Presence{Availability: p.Availability, Activity: p.Activity}, mapping.Options{}).Availability)
		}
		list = append(list, c)
	}
	return list
}

func randomPassword() (string, error) {
	var b [10]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("drawing a password: %w", err)
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), nil
}
