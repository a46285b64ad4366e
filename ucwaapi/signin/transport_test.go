package signin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// grantOver asks the token service over a connection of the given peer.
func grantOver(a *Authenticator, remote, body string, headers ...string) *httptest.ResponseRecorder {
	r := from(remote, headers...)
	post := httptest.NewRequest(http.MethodPost, "/WebTicket/oauthtoken", strings.NewReader(body))
	post.Header, post.RemoteAddr = r.Header, remote
	post.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	a.Handler(a.TokenService(gatewayBase)).ServeHTTP(w, post)
	return w
}

func ticketOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	require.Equal(t, http.StatusOK, w.Code, "%v", w.Header())
	var answer tokenResponse
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	return answer.AccessToken
}

const windowsForm = "grant_type=urn%3Amicrosoft.rtc%3Awindows"

func TestAnUnmodifiedClientSignsInBehindAProxy(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	const proxy = "10.1.2.3:1"
	user := []string{"X-Forwarded-User", "ana"}

	// With a stale ticket it is challenged, and told of the grant for it.
	r := from(proxy, append(user, "Authorization", "Bearer cwt=AAEBstale")...)
	w := httptest.NewRecorder()
	a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := a.Authenticate(r)
		require.ErrorAs(t, err, new(ErrInvalidToken))
		a.Challenge(w, r, gatewayBase(r), DiagnosticsFor(err))
	})).ServeHTTP(w, r)
	require.Contains(t, verbatim(w, challengeHeader)[0], `grant_type="urn:microsoft.rtc:windows"`)

	for name, form := range map[string]string{
		"the windows grant":                               windowsForm,
		"the passive grant":                               "grant_type=urn:microsoft.rtc:passive",
		"the password grant without a name":               "grant_type=password",
		"the password grant with a bare name":             "grant_type=password&username=whoever&password=x",
		"the password grant with the connection's user":   "grant_type=password&username=sip:Ana@contoso.test&password=x",
		"the windows grant with a scope and empty fields": windowsForm + "&scope=all&username=&password=",
	} {
		ticket := ticketOf(t, grantOver(a, proxy, form, user...))
		id, _, err := through(a, from(proxy, append(user, "Authorization", "Bearer "+ticket)...))
		require.NoError(t, err, name)
		require.Equal(t, "ana@contoso.test", id.Address, name)
		require.Equal(t, MethodProxy, id.Method, name)
	}
}

func TestGrantsOverAConnectionThatAreRefused(t *testing.T) {
	alone := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	both := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}, Passwords: testPasswords(t, "contoso.test")})
	refusing := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}, MaySignIn: func(Identity) error { return errors.New("no") }})
	const proxy, stranger = "10.1.2.3:1", "192.0.2.66:1"
	ana := []string{"X-Forwarded-User", "ana"}
	for _, c := range []struct {
		name, remote, form string
		a                  *Authenticator
		headers            []string
		code, reason       string
	}{
		{"a stranger's header brings no ticket", stranger, windowsForm, alone, ana, "unsupported_grant_type", "28029;"},
		{"a stranger's password brings none where none are checked", stranger, "grant_type=password&username=ana&password=x", alone, ana, "unsupported_grant_type", "28029;"},
		{"a proxy that states nobody", proxy, windowsForm, alone, nil, "invalid_grant", "No valid security token"},
		{"a password for another user than the connection's", proxy, "grant_type=password&username=bo@contoso.test&password=x", alone, ana, "invalid_grant", "another user than the one named"},
		{"a right password for another user than the connection's", proxy, "grant_type=password&username=bo&password=b", both, ana, "invalid_grant", "another user than the connection"},
		{"a wrong password where passwords are checked", proxy, "grant_type=password&username=ana&password=x", both, ana, "invalid_grant", "password is wrong"},
		{"a name with the windows grant", proxy, windowsForm + "&username=ana", alone, ana, "invalid_request", "not legal"},
		{"joining a meeting", proxy, "grant_type=urn:microsoft.rtc:anonmeeting&password=x", alone, ana, "unsupported_grant_type", "urn:microsoft.rtc:windows"},
		{"no grant type", proxy, "", alone, ana, "invalid_request", "grant_type is missing"},
		{"a scope that is none", proxy, windowsForm + "&scope=x", alone, ana, "invalid_scope", "scope"},
		{"a user who may not sign in", proxy, windowsForm, refusing, ana, "invalid_grant", "not allowed to sign in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := grantOver(c.a, c.remote, c.form, c.headers...)
			require.Equal(t, http.StatusBadRequest, w.Code)
			require.JSONEq(t, `{"error":"`+c.code+`"}`, w.Body.String())
			require.Contains(t, verbatim(w, diagnosticsHeader)[0], c.reason)
		})
	}
	require.NotEmpty(t, ticketOf(t, grantOver(both, proxy, windowsForm, ana...)))
	require.NotEmpty(t, ticketOf(t, grantOver(both, proxy, "grant_type=password&username=bo&password=b", "X-Forwarded-User", "bo")))
}

func TestTheChallengeNamesTheGrantsOfTheConnection(t *testing.T) {
	both := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}, Passwords: testPasswords(t)})
	alone := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	for _, c := range []struct {
		name, remote string
		a            *Authenticator
		want         string
	}{
		{"through the proxy, with passwords", "10.1.2.3:1", both, "urn:microsoft.rtc:windows,password"},
		{"past the proxy, with passwords", "192.0.2.1:1", both, "password"},
		{"through the proxy", "10.1.2.3:1", alone, "urn:microsoft.rtc:windows"},
		{"past the proxy", "192.0.2.1:1", alone, "urn:microsoft.rtc:passive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := c.a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.a.Challenge(w, r, gatewayBase(r), nil) }))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, from(c.remote))
			require.Contains(t, verbatim(w, challengeHeader)[0], `,grant_type="`+c.want+`"`)
		})
	}
}

func TestATicketAndAConnection(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	o := Options{
		Transports: []Transport{newForwarded(t, nil)}, Entra: i.entra(t, clk, nil), Passwords: testPasswords(t), Tickets: newTickets(t, 0, testKey(1)),
		Photos: newTickets(t, 0, testKey(2)),
	}
	bound := newAuthenticator(t, o)
	o.PortableTickets = true
	portable := newAuthenticator(t, o)
	byPassword, _ := bound.tickets.Issue(Identity{Address: "ana@contoso.test", Method: MethodPassword})
	byProxy, _ := bound.tickets.Issue(Identity{Address: "ana@contoso.test", Method: MethodProxy})
	access := sign(t, 0, i.claims(clk.Now(), nil))
	const proxy, elsewhere = "10.1.2.3:1", "192.0.2.1:1"
	for _, c := range []struct {
		name, remote, user, token string
		a                         *Authenticator
		want                      string // the method; empty: refused
		err                       any
	}{
		{"a ticket of the connection's user counts", proxy, "ana", byPassword, bound, MethodPassword, nil},
		{"a ticket of another user is refused", proxy, "bo", byPassword, bound, "", new(ErrForbidden)},
		{"an access token of the connection's user counts", proxy, "ana", access, bound, MethodEntra, nil},
		{"an access token of another user is refused", proxy, "bo", access, bound, "", new(ErrForbidden)},
		{"a ticket given for a password is good anywhere", elsewhere, "", byPassword, bound, MethodPassword, nil},
		{"a ticket given for a connection is good on one of its user", proxy, "ana", byProxy, bound, MethodProxy, nil},
		{"a ticket given for a connection is no good elsewhere", elsewhere, "", byProxy, bound, "", new(ErrInvalidToken)},
		{"nor with a spoofed header", elsewhere, "ana", byProxy, bound, "", new(ErrInvalidToken)},
		{"nor through the proxy without a user", proxy, "", byProxy, bound, "", new(ErrInvalidToken)},
		{"nor on the connection of another user", proxy, "bo", byProxy, bound, "", new(ErrForbidden)},
		{"unless tickets are portable", elsewhere, "", byProxy, portable, MethodProxy, nil},
		{"a bad ticket is challenged even on a good connection", proxy, "ana", "cwt=AAEB", bound, "", new(ErrInvalidToken)},
		{"a token of no accepted kind too", proxy, "ana", "nonsense", bound, "", new(ErrInvalidToken)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := from(c.remote, "Authorization", "Bearer "+c.token)
			if c.user != "" {
				r.Header.Set("X-Forwarded-User", c.user)
			}
			id, _, err := through(c.a, r)
			if c.err != nil {
				require.ErrorAs(t, err, c.err)
				require.Zero(t, id)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "ana@contoso.test", id.Address)
			require.Equal(t, c.want, id.Method)
		})
	}
	id, _, err := through(bound, from(proxy, "X-Forwarded-User", "ana", "Authorization", "Basic YTpi"))
	require.NoError(t, err, "another scheme is no token")
	require.Equal(t, MethodProxy, id.Method)

	require.Empty(t, bound.PhotoCookie(id), "the connection serves for photos")
	cookie := portable.PhotoCookie(id)
	require.NotEmpty(t, cookie)
	_, err = bound.AuthenticatePhoto(cookie)
	require.ErrorIs(t, err, ErrInvalid)
	who, err := portable.AuthenticatePhoto(cookie)
	require.NoError(t, err)
	require.Equal(t, "ana@contoso.test", who.Address)
}

func TestUsersAreTheSameByIDWhereBothHaveOne(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b Identity
		want bool
	}{
		{"one address", Identity{Address: "a@x"}, Identity{Address: "a@x", ObjectID: "1"}, true},
		{"two addresses", Identity{Address: "a@x"}, Identity{Address: "b@x"}, false},
		{"two addresses of one id", Identity{Address: "a@x", ObjectID: "1", TenantID: "t"}, Identity{Address: "b@x", ObjectID: "1", TenantID: "t"}, true},
		{"one address that went to another person", Identity{Address: "a@x", ObjectID: "1"}, Identity{Address: "a@x", ObjectID: "2"}, false},
		{"one id in two tenants", Identity{Address: "a@x", ObjectID: "1", TenantID: "t"}, Identity{Address: "a@x", ObjectID: "1", TenantID: "u"}, false},
		{"nobody and nobody", Identity{}, Identity{}, false},
	} {
		require.Equal(t, c.want, sameUser(c.a, c.b), c.name)
		require.Equal(t, c.want, sameUser(c.b, c.a), c.name)
	}
}

// saying is a transport that always says the same.
type saying testimony

func (saying) method() string                           { return MethodFixed }
func (s saying) identify(*http.Request, Peer) testimony { return testimony(s) }

func TestSeveralTransports(t *testing.T) {
	ana := saying{id: Identity{Address: "ana@contoso.test", Name: "first", Method: MethodFixed}, offered: true}
	anaToo := saying{id: Identity{Address: "ana@contoso.test", Name: "second", Method: MethodFixed}}
	bo := saying{id: Identity{Address: "bo@contoso.test", Method: MethodFixed}}
	none := saying{}
	expired := saying{err: ErrInvalidToken{Diagnostics{1, "expired"}, ResultExpired}}
	unknown := saying{err: ErrInvalidToken{Diagnostics{1, "unknown"}, ResultUnknownUser}}
	refused := saying{err: forbidden(ResultMalformed, "refused")}
	for _, c := range []struct {
		name       string
		transports []Transport
		want       string // display name; empty: an error with the reason
		reason     string
	}{
		{"the first that knows decides", []Transport{none, ana, anaToo}, "first", ""},
		{"one that cannot tell does not stop the next", []Transport{expired, ana}, "first", ""},
		{"one behind that cannot tell changes nothing", []Transport{ana, expired}, "first", ""},
		{"two users on one connection are refused", []Transport{ana, bo}, "", "two different users"},
		{"a third does not heal it", []Transport{ana, bo, anaToo}, "", "two different users"},
		{"a refusal is final in front", []Transport{refused, ana}, "", "refused"},
		{"a refusal is final behind", []Transport{ana, refused}, "", "refused"},
		{"the first reason is told", []Transport{expired, unknown}, "", "expired"},
		{"nobody says anything", []Transport{none, none}, "", "No valid security token."},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, _, err := through(newAuthenticator(t, Options{Transports: c.transports}), requestWith())
			if c.want != "" {
				require.NoError(t, err)
				require.Equal(t, c.want, id.Name)
				return
			}
			require.Zero(t, id)
			require.Contains(t, DiagnosticsFor(err).Reason, c.reason)
		})
	}
}

func TestMaySignInIsAskedOnEveryRequest(t *testing.T) {
	allowed := true
	a := newAuthenticator(t, Options{
		Transports: []Transport{newForwarded(t, nil)}, Photos: newTickets(t, 0, testKey(2)),
		MaySignIn: func(id Identity) error {
			if allowed && id.Address == "ana@contoso.test" {
				return nil
			}
			return errors.New("no")
		},
	})
	good := Identity{Address: "ana@contoso.test", Method: MethodPassword}
	ticket, _ := a.tickets.Issue(good)
	cookie := a.PhotoCookie(good)
	byTicket := func() error { _, err := a.Authenticate(requestWith("Bearer " + ticket)); return err }
	byProxy := func() error { _, _, err := through(a, from("10.1.2.3:1", "X-Forwarded-User", "ana")); return err }
	byCookie := func() error { _, err := a.AuthenticatePhoto(cookie); return err }
	require.NoError(t, byTicket())
	require.NoError(t, byProxy())
	require.NoError(t, byCookie())
	allowed = false
	for _, err := range []error{byTicket(), byProxy()} {
		var refused ErrForbidden
		require.ErrorAs(t, err, &refused)
		require.Equal(t, ResultNotAllowed, refused.Result)
		require.Equal(t, "sign-in refused: The user is not allowed to sign in.", refused.Error())
	}
	require.ErrorIs(t, byCookie(), ErrInvalid)
}

func BenchmarkAuthenticateBehindAProxy(b *testing.B) {
	a := newAuthenticator(b, Options{Transports: []Transport{newForwarded(b, nil)}})
	h := a.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}))
	r := from("10.1.2.3:1", "Accept", "application/json", "User-Agent", "x", "Accept-Encoding", "gzip", "X-Request-Id", "1")
	value := []string{"ana@contoso.test"}
	b.ReportAllocs()
	for b.Loop() {
		r.Header["X-Forwarded-User"] = value
		h.ServeHTTP(nil, r)
	}
}
