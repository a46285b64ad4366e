package signin

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc/clock"
)

// Options are the parts of an Authenticator. What is nil is not offered.
type Options struct {
	// Tickets issues and verifies web tickets; required with Passwords and
	// with Transports.
	Tickets *Tickets
	// Photos issues and verifies the cookies for photos.
	Photos *Tickets
	// Passwords checks the passwords sent to the token service: a *Passwords,
	// *Htpasswd, *PasswordCommand, *PasswordCallback, or several by
	// ChainPasswords. Do not set it to a nil pointer of such a type.
	Passwords PasswordSource
	// Entra verifies access tokens of Entra ID.
	Entra *Entra
	// Transports are the forms in which the connection is the proof, in the
	// order in which they count. They need Handler around the server.
	Transports []Transport
	// PortableTickets makes web tickets that were given for the identity of a
	// connection good without it too. It is for a reverse proxy that states
	// its user to the token service only. Without it such a ticket is good only
	// over connections of the same user, so a stolen one is of no use and what
	// the proxy or the certificate allows no longer ends at once.
	PortableTickets bool
	// MaySignIn is asked for each identity that was proven, on every request,
	// so it must be fast; an error refuses it. Nil means everybody may.
	MaySignIn func(Identity) error
	// Attempts limits wrong passwords; nil means a limiter with
	// DefaultAttemptsPerMinute.
	Attempts *Attempts
	// OnSignIn is told of attempts to sign in, for an audit log and metrics.
	// It runs within the request and must not block. Nil is for none.
	OnSignIn func(context.Context, SignIn)
	// PseudonymKey makes the pseudonyms in SignIn.Account the same over
	// restarts and replicas; empty means a random key.
	PseudonymKey []byte
	// NameUsers puts addresses into SignIn.Address.
	NameUsers bool
	// Clock is nil for the system's.
	Clock clock.Clock
	// Logger is nil for none. Passwords, tickets and tokens never reach it.
	Logger *slog.Logger
	// ClientAddress returns the IP address of the client, with or without a
	// port. It is the place to trust a reverse proxy's header or not; nil
	// means the connection's peer. It serves the limiter of attempts and
	// OnSignIn; whom to believe an identity never depends on it.
	ClientAddress func(*http.Request) string
}

// Authenticator finds out who sends a request. Safe for use by several
// goroutines.
type Authenticator struct {
	tickets       *Tickets
	photos        *Tickets
	passwords     PasswordSource
	entra         *Entra
	transports    []Transport
	portable      bool
	maySignIn     func(Identity) error
	attempts      *Attempts
	events        *reporter // nil: nobody is told
	clk           clock.Clock
	log           *slog.Logger
	clientAddress func(*http.Request) string
	// checks bounds how many passwords are checked at a time.
	checks *turns
	// outageLogged is when an outage was last logged, in Unix seconds.
	outageLogged atomic.Int64
}

// New returns an Authenticator made of the parts given.
func New(opts Options) (*Authenticator, error) {
	if opts.Tickets == nil && opts.Passwords != nil {
		return nil, errors.New("a password source needs web tickets to give out")
	}
	if opts.Tickets == nil && len(opts.Transports) > 0 {
		return nil, errors.New("identities of connections need web tickets to give out")
	}
	if slices.Contains(opts.Transports, nil) {
		return nil, errors.New("a transport is nil")
	}
	a := &Authenticator{
		tickets: opts.Tickets, photos: opts.Photos, passwords: opts.Passwords, entra: opts.Entra, attempts: opts.Attempts,
		transports: slices.Clone(opts.Transports), portable: opts.PortableTickets, maySignIn: opts.MaySignIn,
		clk: opts.Clock, log: opts.Logger, clientAddress: opts.ClientAddress,
	}
	if a.passwords != nil {
		a.checks = newTurns(a.passwords.Concurrency())
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
	if opts.OnSignIn != nil {
		a.events = &reporter{
			hook: opts.OnSignIn, nameUsers: opts.NameUsers, key: slices.Clone(opts.PseudonymKey),
			peer: a.clientAddress, now: a.clk.Now, told: map[string]time.Time{},
		}
		if len(a.events.key) == 0 {
			a.events.key = make([]byte, minKeyLen)
			rand.Read(a.events.key) // never fails: the runtime ends the process instead
		}
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

// Authenticate returns who sends r: by its Authorization header if it has one,
// else by its connection; the package comment has the rules for both. The error
// is ErrNoCredentials or an ErrInvalidToken, both answered by Challenge, or an
// ErrForbidden, or wraps ErrUnavailable. A web ticket is checked at once; an
// Entra ID token not seen before may have to wait for the authority's keys, as
// long as r's context allows.
func (a *Authenticator) Authenticate(r *http.Request) (Identity, error) {
	t := a.testimonyOf(r)
	if refused := t.refused(); refused != nil {
		return Identity{}, refused // Handler has told of it
	}
	token, err := authorization(r.Header["Authorization"])
	if err == nil && token == "" {
		err = t.noCredentials()
		if t.id.Address != "" {
			err = a.permit(t.id)
		}
		a.events.tellRequest(r, t.id.Method, false, t.id, err)
		if err != nil {
			return Identity{}, err
		}
		return t.id, nil
	}
	var id Identity
	method, first := MethodTicket, false
	if err == nil {
		id, method, first, err = a.verify(r, token)
	}
	if err == nil {
		err = a.agree(t, id)
	}
	if err == nil {
		err = a.permit(id)
	}
	a.events.tellRequest(r, method, first, id, err)
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

// authorization returns the bearer token, empty where there is none.
func authorization(headers []string) (string, error) {
	switch len(headers) {
	case 0:
		return "", nil
	case 1:
		if token, ok := bearerToken(headers[0]); ok {
			return token, nil
		}
		return "", nil
	default:
		// Which of them a proxy in front has looked at cannot be known.
		return "", ErrInvalidToken{Diagnostics{codeNoToken, "More than one Authorization header."}, ResultMalformed}
	}
}

// verify returns whose token it is and of which method a SignIn event about it
// is; first says that the token was not seen before.
func (a *Authenticator) verify(r *http.Request, token string) (id Identity, method string, first bool, err error) {
	if strings.HasPrefix(token, ticketPrefix) {
		id, err = a.verifyTicket(token)
		return id, MethodTicket, false, err
	}
	if a.entra == nil || !strings.Contains(token, ".") {
		return Identity{}, MethodTicket, false, invalidToken(ResultMalformed, "The token is of no accepted kind.")
	}
	id, first, err = a.entra.verify(r.Context(), token)
	if err != nil {
		a.logToken(r.Context(), err)
	}
	return id, MethodEntra, first, err
}

// permit asks whether somebody who is known may sign in.
func (a *Authenticator) permit(id Identity) error {
	if a.maySignIn == nil || a.maySignIn(id) == nil {
		return nil
	}
	return forbidden(ResultNotAllowed, "The user is not allowed to sign in.")
}

// PhotoCookie returns the value of a cookie that stands for the token of id in
// requests for photos, as long as that token lives; empty: there is none, as for
// those whose connection is the proof.
func (a *Authenticator) PhotoCookie(id Identity) string {
	if a.photos == nil || a.bound(id) {
		return ""
	}
	ticket, _ := a.photos.Issue(id)
	return strings.TrimPrefix(ticket, ticketPrefix)
}

// AuthenticatePhoto returns who was given the value of a cookie. The error is
// ErrInvalid or ErrExpired, or wraps ErrUnavailable.
func (a *Authenticator) AuthenticatePhoto(value string) (Identity, error) {
	if a.photos == nil {
		return Identity{}, ErrInvalid
	}
	id, err := a.photos.Verify(ticketPrefix + value)
	if err != nil {
		return Identity{}, err
	}
	if a.bound(id) || a.permit(id) != nil {
		return Identity{}, ErrInvalid
	}
	return id, nil
}

// bound says whether what was given for id is good on its connections only.
func (a *Authenticator) bound(id Identity) bool {
	return !a.portable && slices.Contains(transportMethods, id.Method)
}

func (a *Authenticator) verifyTicket(ticket string) (Identity, error) {
	if a.tickets == nil {
		return Identity{}, invalidToken(ResultMalformed, "The token is of no accepted kind.")
	}
	id, err := a.tickets.Verify(ticket)
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, ErrUnavailable):
		return Identity{}, err
	case errors.Is(err, ErrExpired):
		return Identity{}, ErrInvalidToken{Diagnostics{codeExpiredTicket, "The web ticket has expired."}, ResultExpired}
	default:
		return Identity{}, ErrInvalidToken{Diagnostics{codeInvalidTicket, "The web ticket is invalid."}, ResultBadSignature}
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

// logToken logs an outage of the authority, and a refused token for who looks
// for the reason.
func (a *Authenticator) logToken(ctx context.Context, err error) {
	if errors.Is(err, ErrUnavailable) {
		a.logOutage(ctx, "access tokens cannot be verified", err)
		return
	}
	a.log.DebugContext(ctx, "access token refused", "reason", DiagnosticsFor(err).Reason)
}

// logOutage logs an outage once a minute at most.
func (a *Authenticator) logOutage(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return // the client went away: this says nothing of what it waited for
	}
	now, last := a.clk.Now().Unix(), a.outageLogged.Load()
	if now-last >= int64(time.Minute/time.Second) && a.outageLogged.CompareAndSwap(last, now) {
		a.log.WarnContext(ctx, what, "error", err)
	}
}
