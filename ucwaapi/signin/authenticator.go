package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc/clock"
)

// Options are the parts of an Authenticator. What is nil is not offered.
type Options struct {
	// Tickets issues and verifies web tickets; required with Passwords.
	Tickets *Tickets
	// Photos issues and verifies the cookies for photos.
	Photos *Tickets
	// Passwords checks the passwords sent to the token service.
	Passwords *Passwords
	// Entra verifies access tokens of Entra ID.
	Entra *Entra
	// Attempts limits wrong passwords; nil means a limiter with
	// DefaultAttemptsPerMinute.
	Attempts *Attempts
	// Clock is nil for the system's.
	Clock clock.Clock
	// Logger is nil for none. Passwords, tickets and tokens never reach it.
	Logger *slog.Logger
	// ClientAddress returns the IP address of the client, with or without a
	// port. It is the place to trust a reverse proxy's header or not; nil
	// means the connection's peer.
	ClientAddress func(*http.Request) string
}

// Authenticator finds out who sends a request. Safe for use by several
// goroutines.
type Authenticator struct {
	tickets       *Tickets
	photos        *Tickets
	passwords     *Passwords
	entra         *Entra
	attempts      *Attempts
	clk           clock.Clock
	log           *slog.Logger
	clientAddress func(*http.Request) string
	// checks bounds how many passwords are checked at a time: the hash is slow
	// by design, and half the processors stay with those who are signed in.
	checks chan struct{}
	// outageLogged is when an outage of the authority was last logged, in Unix
	// seconds.
	outageLogged atomic.Int64
}

// New returns an Authenticator made of the parts given.
func New(opts Options) (*Authenticator, error) {
	if opts.Passwords != nil && opts.Tickets == nil {
		return nil, errors.New("a password source needs web tickets to give out")
	}
	a := &Authenticator{
		tickets: opts.Tickets, photos: opts.Photos, passwords: opts.Passwords, entra: opts.Entra, attempts: opts.Attempts,
		clk: opts.Clock, log: opts.Logger, clientAddress: opts.ClientAddress,
		checks: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	if a.clk == nil {
		a.clk = clock.System()
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.attempts == nil {
		a.attempts = NewAttempts(0, a.clk)
	}
	if a.clientAddress == nil {
		a.clientAddress = peerAddress
	}
	return a, nil
}

func peerAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Authenticate returns who sends r, by its Authorization header. The error is
// ErrNoCredentials or an ErrInvalidToken, both answered by Challenge, or wraps
// ErrUnavailable. A web ticket is checked at once; an Entra ID token not seen
// before may have to wait for the authority's keys, as long as r's context allows.
func (a *Authenticator) Authenticate(r *http.Request) (Identity, error) {
	headers := r.Header["Authorization"]
	if len(headers) > 1 {
		// Which of them a proxy in front has looked at cannot be known.
		return Identity{}, ErrInvalidToken{Diagnostics{codeNoToken, "More than one Authorization header."}}
	}
	if len(headers) == 0 {
		return Identity{}, ErrNoCredentials
	}
	token, ok := bearerToken(headers[0])
	if !ok {
		return Identity{}, ErrNoCredentials
	}
	if strings.HasPrefix(token, ticketPrefix) {
		return a.verifyTicket(token)
	}
	if a.entra == nil || !strings.Contains(token, ".") {
		return Identity{}, invalidToken("The token is of no accepted kind.")
	}
	id, err := a.entra.Verify(r.Context(), token)
	if err != nil {
		a.logToken(r.Context(), err)
	}
	return id, err
}

// PhotoCookie returns the value of a cookie that stands for the token of id in
// requests for photos, as long as that token lives; empty: there is none.
func (a *Authenticator) PhotoCookie(id Identity) string {
	if a.photos == nil {
		return ""
	}
	ticket, _ := a.photos.Issue(id)
	return strings.TrimPrefix(ticket, ticketPrefix)
}

// AuthenticatePhoto returns who was given the value of a cookie. The error is
// ErrInvalid or ErrExpired.
func (a *Authenticator) AuthenticatePhoto(value string) (Identity, error) {
	if a.photos == nil {
		return Identity{}, ErrInvalid
	}
	return a.photos.Verify(ticketPrefix + value)
}

func (a *Authenticator) verifyTicket(ticket string) (Identity, error) {
	if a.tickets == nil {
		return Identity{}, invalidToken("The token is of no accepted kind.")
	}
	id, err := a.tickets.Verify(ticket)
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, ErrExpired):
		return Identity{}, ErrInvalidToken{Diagnostics{codeExpiredTicket, "The web ticket has expired."}}
	default:
		return Identity{}, ErrInvalidToken{Diagnostics{codeInvalidTicket, "The web ticket is invalid."}}
	}
}

// bearerToken returns the token of an Authorization header with the scheme
// Bearer, in any letter case and with any number of spaces. A header of
// another scheme, or without a token, has none.
func bearerToken(header string) (string, bool) {
	const scheme = "Bearer"
	header = strings.Trim(header, " \t")
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	rest := header[len(scheme):]
	token := strings.TrimLeft(rest, " \t")
	return token, len(token) < len(rest)
}

// logToken logs an outage of the authority, once a minute at most, and a
// refused token for who looks for the reason.
func (a *Authenticator) logToken(ctx context.Context, err error) {
	if !errors.Is(err, ErrUnavailable) {
		a.log.DebugContext(ctx, "access token refused", "reason", DiagnosticsFor(err).Reason)
		return
	}
	if ctx.Err() != nil {
		return // the client went away: this says nothing of the authority
	}
	now, last := a.clk.Now().Unix(), a.outageLogged.Load()
	if now-last >= int64(time.Minute/time.Second) && a.outageLogged.CompareAndSwap(last, now) {
		a.log.WarnContext(ctx, "access tokens cannot be verified", "error", err)
	}
}

// errBusy says that the client left before its password could be checked.
var errBusy = errors.New("the client left before its password was checked")

// checkPassword checks a password within the limits. With ok false and a
// retryAfter above zero the password was not looked at.
func (a *Authenticator) checkPassword(ctx context.Context, user, password, client string) (id Identity, retryAfter time.Duration, ok bool, err error) {
	account := a.passwords.Account(user)
	// Asked twice: now, so that a flood does not queue, and when it is this
	// one's turn, so that those in the queue count.
	if retryAfter, ok = a.attempts.Allow(account, client); !ok {
		return Identity{}, retryAfter, false, nil
	}
	select {
	case a.checks <- struct{}{}:
		defer func() { <-a.checks }()
	case <-ctx.Done():
		return Identity{}, 0, false, fmt.Errorf("%w: %w", errBusy, ctx.Err())
	}
	if retryAfter, ok = a.attempts.Allow(account, client); !ok {
		return Identity{}, retryAfter, false, nil
	}
	id, ok = a.passwords.Check(user, password)
	if ok {
		a.attempts.Succeeded(account, client)
	} else {
		a.attempts.Failed(account, client)
	}
	return id, 0, ok, nil
}
