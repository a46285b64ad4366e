package signin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"ucwagate/graphsrc/clock"
)

// CallbackFormat is how PasswordCallback hands over a name and a password.
type CallbackFormat string

// The formats.
const (
	// CallbackJSON is {"user":"ana@contoso.com","password":"…"}.
	CallbackJSON CallbackFormat = "json"
	// CallbackForm is the fields user and password of a form.
	CallbackForm CallbackFormat = "form"
)

// CallbackOptions name a web service that checks passwords. It is sent a POST
// for each check. A status of 2xx says that the password is right, 401 or 403
// that it is wrong; with any other, and with none, it cannot be checked.
// Redirects are not followed: the password is for this service only.
type CallbackOptions struct {
	// URL is the service's: https, or http on a loopback address, without a
	// user, a query or a fragment.
	URL string
	// Format is CallbackJSON where empty.
	Format CallbackFormat
	// Header is sent with each request, such as an Authorization with which
	// the gateway proves who it is. It is never logged.
	Header http.Header
	// TimeLimit is how long a check may take, at most MaxCheckTime; zero means
	// DefaultCheckTime.
	TimeLimit time.Duration
	// Concurrency is how many are outstanding at a time, at most 256; zero
	// means DefaultChecks.
	Concurrency int
	// Names says how the name that a client sends becomes the address.
	Names Names
	// Remember is how long a right password is not asked for again, at most
	// MaxRemember; zero means not at all.
	Remember time.Duration
	// TLS is for further roots or a certificate of the gateway; nil means the
	// system's. A version below 1.2 is never spoken.
	TLS *tls.Config
	// Clock is nil for the system's.
	Clock clock.Clock
}

// PasswordCallback is a PasswordSource that asks a web service.
type PasswordCallback struct {
	url         string
	format      CallbackFormat
	header      http.Header
	client      *http.Client
	limit       time.Duration
	concurrency int
	names       names
	memory      *remembered
	clk         clock.Clock
}

var _ PasswordSource = (*PasswordCallback)(nil)

// NewPasswordCallback checks the options. It does not use the network.
func NewPasswordCallback(o CallbackOptions) (*PasswordCallback, error) {
	if err := checkCallbackURL(o.URL); err != nil {
		return nil, fmt.Errorf("password callback: %w", err)
	}
	c := &PasswordCallback{url: o.URL, format: o.Format, header: o.Header.Clone(), clk: o.Clock}
	if c.clk == nil {
		c.clk = clock.System()
	}
	if c.format == "" {
		c.format = CallbackJSON
	}
	if c.format != CallbackJSON && c.format != CallbackForm {
		return nil, fmt.Errorf("password callback: format %q: not one of json and form", o.Format)
	}
	if c.header == nil {
		c.header = http.Header{}
	}
	var err error
	if c.limit, c.concurrency, err = checkBounds(o.TimeLimit, o.Concurrency); err != nil {
		return nil, fmt.Errorf("password callback: %w", err)
	}
	if c.names, err = newNames(o.Names); err != nil {
		return nil, fmt.Errorf("password callback: %w", err)
	}
	if c.memory, err = newRemembered(o.Remember, c.clk); err != nil {
		return nil, fmt.Errorf("password callback: %w", err)
	}
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	c.client = &http.Client{
		// People sign in once in hours: kept connections would mostly be found
		// closed. No proxy of the environment gets to see a password.
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func checkCallbackURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return errors.New("not a URL") // whose text may have a secret in it
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return errors.New("a URL with a user, a query or a fragment; what is secret belongs into a header")
	}
	if u.Scheme == "https" {
		return nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	loopback := err == nil && plain(addr).IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
	if u.Scheme != "http" || !loopback {
		return fmt.Errorf("URL with scheme %q and host %q: https is needed, or http on a loopback address", u.Scheme, u.Hostname())
	}
	return nil
}

// Account implements PasswordSource.
func (c *PasswordCallback) Account(user string) string { return c.names.account(user) }

// Concurrency implements PasswordSource.
func (c *PasswordCallback) Concurrency() int { return c.concurrency }

// CheckPassword implements PasswordSource. A name that is no address is
// unknown, and the service is not asked.
func (c *PasswordCallback) CheckPassword(ctx context.Context, user, password string) (Identity, error) {
	address, err := c.names.address(user)
	if err != nil {
		return Identity{}, ErrUnknownUser
	}
	if password == "" || len(password) > longestPassword {
		return Identity{}, ErrWrongPassword
	}
	return c.memory.check(address, password, func() error { return c.ask(ctx, address, password) })
}

func (c *PasswordCallback) ask(ctx context.Context, address, password string) error {
	ctx, release := withLimit(ctx, c.clk, c.limit)
	defer release()
	contentType, body, ok := c.body(address, password)
	if !ok {
		return ErrWrongPassword
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: password callback: %w", ErrUnavailable, err)
	}
	req.Header = c.header.Clone()
	req.Header.Set("Content-Type", contentType)
	resp, err := c.client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("%w: password callback: %w", ErrUnavailable, err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxTokenBody) // the status has said all
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return ErrWrongPassword
	default:
		return fmt.Errorf("%w: password callback: the answer is %d", ErrUnavailable, resp.StatusCode)
	}
}

// body returns what is sent; false for a password that cannot be anybody's.
func (c *PasswordCallback) body(address, password string) (contentType, body string, ok bool) {
	if c.format == CallbackForm {
		return "application/x-www-form-urlencoded", url.Values{"user": {address}, "password": {password}}.Encode(), true
	}
	body, ok = credentialsJSON(address, password)
	return "application/json", body, ok
}
