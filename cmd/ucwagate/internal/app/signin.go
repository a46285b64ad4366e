package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/gateway"
	"ucwagate/ucwaapi/signin"
	"ucwagate/ucwaapi/signin/policy"
)

// signIn builds every configured way to sign in.
func (a *App) signIn() (*signin.Authenticator, error) {
	c := a.cfg.SignIn
	keys, err := c.Keys()
	if err != nil {
		return nil, err
	}
	o := signin.Options{
		Clock: a.clock, Logger: a.log, ClientAddress: a.clientAddress,
		PortableTickets: c.PortableTickets, MaySignIn: a.policy.MaySignIn, OnSignIn: a.signedIn,
		NameUsers: a.cfg.Log.Names, Attempts: signin.NewAttempts(c.AttemptsPerMinute, a.clock),
	}
	if len(keys) > 0 {
		o.PseudonymKey = keys[0]
	}
	if o.Tickets, o.Photos, err = a.tickets(keys); err != nil {
		return nil, err
	}
	if o.Passwords, err = a.passwords(); err != nil {
		return nil, err
	}
	if len(c.Entra.Audiences) > 0 {
		if o.Entra, err = a.entra(); err != nil {
			return nil, err
		}
	}
	if o.Transports, err = a.transports(); err != nil {
		return nil, err
	}
	return signin.New(o)
}

func (a *App) names() signin.Names {
	return signin.Names{DefaultDomain: a.cfg.SignIn.DefaultDomain, Domains: config.Entries(a.cfg.SignIn.DomainTable)}
}

// domains are the SIP domains of all tenants.
func (a *App) domains() (all []string) {
	for _, t := range a.cfg.Tenants {
		all = append(all, t.Domains...)
	}
	return all
}

// passwords are the places where passwords are checked, in this order; nil if
// there is none.
func (a *App) passwords() (signin.PasswordSource, error) {
	c := a.cfg.SignIn
	var sources []signin.PasswordSource
	if c.Htpasswd != "" {
		s, err := signin.NewHtpasswd(signin.HtpasswdOptions{Path: c.Htpasswd, DefaultDomains: a.domains(), Clock: a.clock, Logger: a.log})
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	if len(c.Command.Argv) > 0 {
		s, err := signin.NewPasswordCommand(signin.CommandOptions{
			Argv: c.Command.Argv, Format: signin.CommandFormat(c.Command.Format), TimeLimit: c.Command.TimeLimit,
			Concurrency: c.Command.Concurrency, Names: a.names(), Remember: c.Command.Remember, Clock: a.clock,
		})
		if err != nil {
			return nil, fmt.Errorf("signin.command: %w", err)
		}
		sources = append(sources, s)
	}
	if c.Callback.URL != "" {
		header := make(http.Header)
		if c.Callback.AuthorizationFile != "" {
			secret, err := os.ReadFile(c.Callback.AuthorizationFile)
			if err != nil {
				return nil, fmt.Errorf("signin.callback.authorization_file: %w", err)
			}
			header.Set("Authorization", string(bytes.TrimSpace(secret)))
		}
		s, err := signin.NewPasswordCallback(signin.CallbackOptions{
			URL: c.Callback.URL, Format: signin.CallbackFormat(c.Callback.Format), Header: header, TimeLimit: c.Callback.TimeLimit,
			Concurrency: c.Callback.Concurrency, Names: a.names(), Remember: c.Callback.Remember, Clock: a.clock,
		})
		if err != nil {
			return nil, fmt.Errorf("signin.callback: %w", err)
		}
		sources = append(sources, s)
	}
	if len(sources) == 0 {
		return nil, nil
	}
	return signin.ChainPasswords(sources...)
}

// transports are the ways in which the connection is the proof, in the order in
// which they count.
func (a *App) transports() (all []signin.Transport, err error) {
	c := a.cfg.SignIn
	if len(c.Proxy.Headers) > 0 {
		t, err := signin.NewForwardedIdentity(signin.ForwardedOptions{
			Headers: c.Proxy.Headers, NameHeader: c.Proxy.NameHeader, Trusted: c.Proxy.Trusted,
			TrustedSockets: c.Proxy.TrustedSocket, Names: a.names(),
		})
		if err != nil {
			return nil, fmt.Errorf("signin.proxy: %w", err)
		}
		all = append(all, t)
	}
	if c.Certificates.CAFile != "" {
		o := signin.ClientCertificatesOptions{
			Fingerprints: config.Entries(c.Certificates.Fingerprints), Names: a.names(), Issuers: c.Certificates.Issuers, Clock: a.clock,
		}
		for _, field := range c.Certificates.Fields {
			o.Fields = append(o.Fields, signin.CertificateField(field))
		}
		t, err := signin.NewClientCertificates(o)
		if err != nil {
			return nil, fmt.Errorf("signin.certificates: %w", err)
		}
		all = append(all, t)
	}
	if c.Fixed.Address != "" {
		t, err := signin.NewFixedIdentity(signin.FixedOptions{Address: c.Fixed.Address, Name: c.Fixed.Name, Hosts: c.Fixed.Hosts})
		if err != nil {
			return nil, fmt.Errorf("signin.fixed: %w", err)
		}
		all = append(all, t)
	}
	return all, nil
}

// peer is what the listener says of those who connect.
func (a *App) peer() signin.Peer {
	return signin.Peer{Trusted: a.cfg.SignIn.Proxy.TrustedSocket, Fixed: a.cfg.SignIn.Fixed.Address != ""}
}

// signInResults are the results that are counted.
func signInResults() []string {
	var all []string
	for _, r := range signin.Results() {
		all = append(all, string(r))
	}
	return all
}

// accessPolicy reads the rules of who may do what.
func accessPolicy(cfg config.Config) (*policy.Policy, error) {
	c := cfg.Access
	o := policy.Options{
		SignIn:     policy.Access{Allow: c.SignInAllow, Deny: c.SignInDeny},
		Publish:    policy.Access{Allow: c.PublishAllow, Deny: c.PublishDeny},
		ReadNobody: c.ReadNobody, Groups: make(map[string][]string),
	}
	for _, t := range cfg.Tenants {
		o.Domains = append(o.Domains, t.Domains...)
	}
	for _, r := range c.ReadRules() {
		o.Read = append(o.Read, policy.Rule{Readers: r.Readers, People: r.People, Deny: r.Deny})
	}
	for name, path := range config.Entries(c.Groups) {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("access.groups: %w", err)
		}
		members, err := policy.ReadGroup(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("access.groups: %s: %w", path, err)
		}
		o.Groups[name] = members
	}
	p, err := policy.New(o)
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	return p, nil
}

// access is the policy as the gateway asks it.
type access struct{ *policy.Policy }

func (p access) MayPublish(who gateway.Principal) bool { return p.Policy.MayPublish(identityOf(who)) }

func (p access) MayRead(reader, address string) bool {
	return p.Policy.MayRead(signin.Identity{Address: reader}, address)
}

func identityOf(who gateway.Principal) signin.Identity {
	return signin.Identity{Address: who.Address, ObjectID: who.ObjectID, TenantID: who.TenantID, Name: who.Name}
}

// entra accepts access tokens of every configured tenant.
func (a *App) entra() (*signin.Entra, error) {
	c := a.cfg.SignIn.Entra
	o := signin.EntraConfig{
		Audiences: c.Audiences, Scopes: c.Scopes, Roles: c.Roles, Applications: config.Entries(c.Apps),
		// Zero would mean the default there; here it means none.
		ClockSkew: max(c.ClockSkew, time.Nanosecond), Clock: a.clock,
	}
	var authorities []signin.EntraAuthority
	for _, t := range a.cfg.Tenants {
		at := slices.IndexFunc(authorities, func(e signin.EntraAuthority) bool { return e.Authority == authorityOf(t) })
		if at < 0 {
			client, err := a.authorityClient(t)
			if err != nil {
				return nil, err
			}
			at = len(authorities)
			authorities = append(authorities, signin.EntraAuthority{Authority: authorityOf(t), HTTPClient: client})
		}
		if !slices.Contains(authorities[at].TenantIDs, t.TenantID) {
			authorities[at].TenantIDs = append(authorities[at].TenantIDs, t.TenantID)
		}
	}
	first := authorities[0]
	o.Authority, o.TenantIDs, o.HTTPClient, o.Others = first.Authority, first.TenantIDs, first.HTTPClient, authorities[1:]
	return signin.NewEntra(o)
}

// authorityClient reads documents of a tenant's authority.
func (a *App) authorityClient(t config.Tenant) (*http.Client, error) {
	roots, err := t.RootCAs()
	if err != nil {
		return nil, err
	}
	client := documentClient(roots)
	a.onStop("client of "+strings.TrimPrefix(authorityOf(t), "https://"), func(context.Context) error { client.CloseIdleConnections(); return nil })
	return client, nil
}

// documentClient fetches the documents of an authority; nil roots are the
// system's.
func documentClient(roots *x509.CertPool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if roots != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}
