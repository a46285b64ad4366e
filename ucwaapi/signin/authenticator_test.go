package signin

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/clock"
)

func newAuthenticator(t testing.TB, opts Options) *Authenticator {
	t.Helper()
	if opts.Tickets == nil {
		opts.Tickets = newTickets(t, 0, testKey(1))
	}
	a, err := New(opts)
	require.NoError(t, err)
	return a
}

func requestWith(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://gw.contoso.test/Autodiscover/AutodiscoverService.svc/root/oauth/user", nil)
	if len(headers) > 0 {
		r.Header["Authorization"] = headers
	}
	return r
}

func TestAuthenticate(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	a := newAuthenticator(t, Options{Entra: i.entra(t, clk, nil)})
	withoutEntra := newAuthenticator(t, Options{})
	ticket, _ := a.tickets.Issue(ana)
	foreign, _ := newTickets(t, 0).Issue(ana)
	access := sign(t, 0, i.claims(clk.Now(), nil))

	for _, c := range []struct {
		name    string
		a       *Authenticator
		headers []string
		want    error // nil: ana
	}{
		{"a ticket", a, []string{"Bearer " + ticket}, nil},
		{"the scheme in small letters", a, []string{"bearer " + ticket}, nil},
		{"the scheme in capitals", a, []string{"BEARER " + ticket}, nil},
		{"two spaces", a, []string{"Bearer  " + ticket}, nil},
		{"a tab and spaces around", a, []string{" Bearer \t" + ticket + " "}, nil},
		{"an access token", a, []string{"Bearer " + access}, nil},
		{"no header", a, nil, ErrNoCredentials},
		{"an empty header", a, []string{""}, ErrNoCredentials},
		{"the scheme alone", a, []string{"Bearer"}, ErrNoCredentials},
		{"the scheme and a space", a, []string{"Bearer "}, ErrNoCredentials},
		{"another scheme", a, []string{"Basic YW5hOmI="}, ErrNoCredentials},
		{"a ticket under another scheme", a, []string{"MsRtcOAuth " + ticket}, ErrNoCredentials},
		{"a ticket without a scheme", a, []string{ticket}, ErrNoCredentials},
		{"no space behind the scheme", a, []string{"Bearer" + ticket}, ErrNoCredentials},
		{"two headers", a, []string{"Bearer " + ticket, "Bearer " + ticket}, ErrInvalidToken{Diagnostics{28020, "More than one Authorization header."}, ResultMalformed}},
		{"a foreign ticket", a, []string{"Bearer " + foreign}, ErrInvalidToken{Diagnostics{28032, "The web ticket is invalid."}, ResultBadSignature}},
		{"two tickets", a, []string{"Bearer " + ticket + " " + ticket}, ErrInvalidToken{Diagnostics{28032, "The web ticket is invalid."}, ResultBadSignature}},
		{"nonsense", a, []string{"Bearer x"}, ErrInvalidToken{Diagnostics{28055, "The token is of no accepted kind."}, ResultMalformed}},
		{"an access token of nobody", a, []string{"Bearer a.b.c"}, ErrInvalidToken{Diagnostics{28055, "The token is malformed."}, ResultMalformed}},
		{"an access token where none is accepted", withoutEntra, []string{"Bearer " + access}, ErrInvalidToken{Diagnostics{28055, "The token is of no accepted kind."}, ResultMalformed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := c.a.Authenticate(requestWith(c.headers...))
			if c.want != nil {
				require.Equal(t, c.want, err)
				require.Zero(t, id)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "ana@contoso.test", id.Address)
		})
	}
}

func TestAuthenticateTellsAnExpiredTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthenticator(t, Options{})
		ticket, expiresIn := a.tickets.Issue(ana)
		<-time.After(expiresIn)
		_, err := a.Authenticate(requestWith("Bearer " + ticket))
		require.Equal(t, ErrInvalidToken{Diagnostics{28033, "The web ticket has expired."}, ResultExpired}, err)
	})
}

func TestATicketIsRefusedWhereNoneAreGiven(t *testing.T) {
	a, err := New(Options{})
	require.NoError(t, err)
	ticket, _ := newTickets(t, 0).Issue(ana)
	_, err = a.Authenticate(requestWith("Bearer " + ticket))
	requireInvalid(t, err, "no accepted kind")

	_, err = New(Options{Passwords: testPasswords(t)})
	require.ErrorContains(t, err, "needs web tickets")
}

func TestAnOutageIsNoInvalidTokenAndIsLoggedOnce(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	var log bytes.Buffer
	a := newAuthenticator(t, Options{Entra: i.entra(t, clk, nil), Clock: clk, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	i.fail(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	token := sign(t, 0, i.claims(clk.Now(), nil))
	for range 3 {
		_, err := a.Authenticate(requestWith("Bearer " + token))
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorContains(t, err, "502 Bad Gateway")
	}
	require.Equal(t, 1, strings.Count(log.String(), "access tokens cannot be verified"))
	clk.advance(time.Minute)
	_, err := a.Authenticate(requestWith("Bearer " + token))
	require.ErrorIs(t, err, ErrUnavailable)
	require.Equal(t, 2, strings.Count(log.String(), "access tokens cannot be verified"))
	require.NotContains(t, log.String(), token[:20])
	require.Positive(t, UnavailableRetryAfter)
}

func FuzzAuthorizationHeader(f *testing.F) {
	tickets := newTickets(f, 0, testKey(1))
	e, err := NewEntra(EntraConfig{
		TenantIDs: []string{tenantA}, Audiences: []string{clientID},
		HTTPClient: &http.Client{Transport: refusingTransport{}},
	})
	require.NoError(f, err)
	a := newAuthenticator(f, Options{Tickets: tickets, Entra: e, Clock: clock.System()})
	ticket, _ := tickets.Issue(ana)
	for _, seed := range []string{
		"", "Bearer", "Bearer ", "Bearer " + ticket, "bearer\t" + ticket, "Basic x", "Bearer a.b.c", "Bearer cwt=",
		"Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.AA", "Bearer ..",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		id, err := a.Authenticate(requestWith(header))
		if err == nil {
			require.Regexp(t, `(?i)^[ \t]*bearer[ \t]+cwt=[A-Za-z0-9_-]+[ \t]*$`, header)
			require.Equal(t, ana.Address, id.Address) // nobody else was given a ticket
			return
		}
		require.Zero(t, id)
		require.NotEmpty(t, DiagnosticsFor(err).Reason)
	})
}

// refusingTransport stands for a network that is not there.
type refusingTransport struct{}

func (refusingTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, http.ErrServerClosed
}

func BenchmarkAuthenticateTicket(b *testing.B) {
	a := newAuthenticator(b, Options{})
	ticket, _ := a.tickets.Issue(ana)
	r := requestWith("Bearer " + ticket)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthenticateTicketParallel(b *testing.B) {
	a := newAuthenticator(b, Options{})
	ticket, _ := a.tickets.Issue(ana)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := requestWith("Bearer " + ticket)
		for pb.Next() {
			if _, err := a.Authenticate(r); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkAuthenticateAccessToken(b *testing.B) {
	i, clk := startIssuer(b), newShiftedClock()
	a := newAuthenticator(b, Options{Entra: i.entra(b, clk, nil)})
	r := requestWith("Bearer " + sign(b, 0, i.claims(clk.Now(), nil)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}
