package signin

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var proxyNetwork = netip.MustParsePrefix("10.1.0.0/16")

func newForwarded(t testing.TB, change func(*ForwardedOptions)) *ForwardedIdentity {
	t.Helper()
	o := ForwardedOptions{
		Headers: []string{"X-Forwarded-User", "X-Auth-Email"}, NameHeader: "X-Auth-Name",
		Trusted: []netip.Prefix{proxyNetwork, netip.MustParsePrefix("2001:db8::7/128")}, TrustedSockets: true,
		Names: Names{DefaultDomain: "contoso.test", Domains: map[string]string{"CONTOSO": "contoso.test", "corp.local": "Contoso.test"}},
	}
	if change != nil {
		change(&o)
	}
	f, err := NewForwardedIdentity(o)
	require.NoError(t, err)
	return f
}

// through sends a request the way that a server does and returns what
// Authenticate says behind Handler, and the request as it arrives there.
func through(a *Authenticator, r *http.Request) (id Identity, seen *http.Request, err error) {
	a.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = r
		id, err = a.Authenticate(r)
	})).ServeHTTP(httptest.NewRecorder(), r)
	return id, seen, err
}

// from returns a request of a peer with headers, name and value in turn, under
// the very names given.
func from(remote string, headers ...string) *http.Request {
	r := requestWith()
	r.RemoteAddr = remote
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	return r
}

// over returns r as of a connection of p.
func over(p Peer, r *http.Request) *http.Request { return r.WithContext(WithPeer(r.Context(), p)) }

func TestForwardedIdentityOfATrustedProxy(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	const proxy = "10.1.2.3:40000"
	for _, c := range []struct {
		name string
		r    *http.Request
		want string
	}{
		{"an address is taken", from(proxy, "X-Forwarded-User", "ana@contoso.test"), "ana@contoso.test"},
		{"an address is made lower case and its scheme dropped", from(proxy, "X-Forwarded-User", " SIP:Ana@Contoso.TEST "), "ana@contoso.test"},
		{"a bare name gets the default domain", from(proxy, "X-Forwarded-User", "Ana"), "ana@contoso.test"},
		{"a Windows name gets the domain of the table", from(proxy, "X-Forwarded-User", `contoso\Ana`), "ana@contoso.test"},
		{"an internal domain becomes that of the table", from(proxy, "X-Forwarded-User", "ana@CORP.local"), "ana@contoso.test"},
		{"a domain that is not in the table stays", from(proxy, "X-Forwarded-User", "ana@fabrikam.test"), "ana@fabrikam.test"},
		{"the second header serves without the first", from(proxy, "X-Auth-Email", "ana@contoso.test"), "ana@contoso.test"},
		{"two headers of one user agree", from(proxy, "X-Forwarded-User", "ana", "X-Auth-Email", "ana@contoso.test"), "ana@contoso.test"},
		{"an IPv4 peer inside IPv6 is the IPv4 peer", from("[::ffff:10.1.2.3]:1", "X-Forwarded-User", "ana"), "ana@contoso.test"},
		{"an IPv6 peer is known", from("[2001:db8::7]:1", "X-Forwarded-User", "ana"), "ana@contoso.test"},
		{"a trusted unix socket is believed", over(Peer{Unix: true, Trusted: true}, from("@", "X-Forwarded-User", "ana")), "ana@contoso.test"},
		{"the listener's word on the address comes before RemoteAddr", over(Peer{Addr: netip.MustParseAddr("10.1.0.1")}, from("192.0.2.1:1", "X-Forwarded-User", "ana")), "ana@contoso.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, seen, err := through(a, c.r)
			require.NoError(t, err)
			require.Equal(t, Identity{Address: c.want, Method: MethodProxy}, id)
			require.Empty(t, seen.Header)
		})
	}
	id, _, err := through(a, from(proxy, "X-Forwarded-User", "ana", "X-Auth-Name", "Ana R."))
	require.NoError(t, err)
	require.Equal(t, "Ana R.", id.Name)
	id, _, err = through(a, from(proxy, "X-Forwarded-User", "ana", "X-Auth-Name", "Ana\x00R."))
	require.NoError(t, err)
	require.Empty(t, id.Name)
}

func TestForwardedIdentityRefuses(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	const proxy = "10.1.2.3:40000"
	for _, c := range []struct {
		name   string
		r      *http.Request
		reason string // empty: no identity, but no refusal either
	}{
		{"the header of a stranger counts for nothing", from("192.0.2.1:1", "X-Forwarded-User", "ana"), ""},
		{"the header over an unmarked unix socket counts for nothing", over(Peer{Unix: true}, from("@", "X-Forwarded-User", "ana")), ""},
		{"a TCP peer is not trusted by the mark of sockets", over(Peer{Trusted: true, Addr: netip.MustParseAddr("192.0.2.1")}, from("10.1.2.3:1", "X-Forwarded-User", "ana")), ""},
		{"a peer without an address is nobody", from("", "X-Forwarded-User", "ana"), ""},
		{"a trusted proxy that states nobody", from(proxy), ""},
		{"an empty value is nobody", from(proxy, "X-Forwarded-User", " "), ""},
		{"a display name alone is nobody", from(proxy, "X-Auth-Name", "ana"), ""},
		{"two values, even the same", from(proxy, "X-Forwarded-User", "ana", "X-Forwarded-User", "ana"), "came twice"},
		{"two values, one of them empty", from(proxy, "X-Forwarded-User", "ana", "X-Forwarded-User", ""), "came twice"},
		{"two display names", from(proxy, "X-Forwarded-User", "ana", "X-Auth-Name", "A", "X-Auth-Name", "B"), "came twice"},
		{"two values that a proxy has joined", from(proxy, "X-Forwarded-User", "ana@contoso.test, bo@contoso.test"), "no address"},
		{"two headers of different users", from(proxy, "X-Forwarded-User", "ana", "X-Auth-Email", "bo@contoso.test"), "different users"},
		{"a control character", from(proxy, "X-Forwarded-User", "ana@contoso.test\x00"), "no address"},
		{"a tab in front", from(proxy, "X-Forwarded-User", "\tana"), "no address"},
		{"a line break", from(proxy, "X-Forwarded-User", "ana\r\nX-Auth-Email: bo"), "no address"},
		{"a letter outside ASCII that looks like one", from(proxy, "X-Forwarded-User", "b\u043e@contoso.test"), "no address"},
		{"a letter whose small form is an ASCII letter", from(proxy, "X-Forwarded-User", "\u212aim@contoso.test"), "no address"},
		{"a Windows domain that is not in the table", from(proxy, "X-Forwarded-User", `EVIL\ana`), "no address"},
		{"a Windows domain and an address", from(proxy, "X-Forwarded-User", `CONTOSO\ana@fabrikam.test`), "no address"},
		{"two backslashes", from(proxy, "X-Forwarded-User", `CONTOSO\x\ana`), "no address"},
		{"an overlong name", from(proxy, "X-Forwarded-User", strings.Repeat("a", 600)), "no address"},
		{"a header named in Connection", from(proxy, "X-Forwarded-User", "ana", "Connection", "close, x-forwarded-user"), "Connection"},
		{"a variant of it named in Connection", from(proxy, "X-Forwarded-User", "ana", "Connection", "X_Forwarded_User"), "Connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, seen, err := through(a, c.r)
			require.Zero(t, id)
			for name := range seen.Header {
				require.Equal(t, "Connection", name, "all else is stripped")
			}
			if c.reason == "" {
				require.ErrorIs(t, err, ErrNoCredentials)
				require.Equal(t, DiagnosticsFor(ErrNoCredentials), DiagnosticsFor(err), "who spoofs learns nothing")
				return
			}
			var refused ErrForbidden
			require.ErrorAs(t, err, &refused)
			require.Contains(t, refused.Diagnostics.Reason, c.reason)
		})
	}
}

func TestARefusedConnectionIsRefusedWhateverItCarries(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}, Passwords: testPasswords(t)})
	ticket, _ := a.tickets.Issue(ana)
	r := from("10.1.2.3:1", "X-Forwarded-User", "ana", "X-Forwarded-User", "ana", "Authorization", "Bearer "+ticket)
	_, _, err := through(a, r)
	require.ErrorAs(t, err, new(ErrForbidden))
	w := grantOver(a, "10.1.2.3:1", "grant_type=password&username=bo%40contoso.test&password=b", "X-Forwarded-User", "a", "X-Forwarded-User", "b")
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, verbatim(w, diagnosticsHeader)[0], "came twice")
}

func TestWhatIsInsideARequestHasNoIdentityOfItsOwn(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	a.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		// As a part of a batch: headers that the client wrote, on the
		// connection and in the context of the whole.
		part := from(r.RemoteAddr, "X-Forwarded-User", "bo@contoso.test").WithContext(r.Context())
		id, err := a.Authenticate(part)
		require.NoError(t, err)
		require.Equal(t, "ana@contoso.test", id.Address)
	})).ServeHTTP(httptest.NewRecorder(), from("10.1.2.3:1", "X-Forwarded-User", "ana@contoso.test"))
}

func TestWithoutHandlerThereAreNoTransports(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	_, err := a.Authenticate(from("10.1.2.3:1", "X-Forwarded-User", "ana@contoso.test"))
	require.Equal(t, ErrNoCredentials, err)
	next := http.NotFoundHandler()
	require.NotPanics(t, func() { newAuthenticator(t, Options{}).Handler(next).ServeHTTP(httptest.NewRecorder(), requestWith()) })
}

func TestNewForwardedIdentityRefuses(t *testing.T) {
	trusted := []netip.Prefix{proxyNetwork}
	for _, c := range []struct {
		name string
		o    ForwardedOptions
		want string
	}{
		{"no header", ForwardedOptions{Trusted: trusted}, "no header is named"},
		{"an empty trust list", ForwardedOptions{Headers: []string{"X-User"}}, "list of trusted proxies is empty"},
		{"everybody in IPv4", ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}, "everybody"},
		{"everybody in IPv6", ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{netip.MustParsePrefix("::/0")}}, "everybody"},
		{"all of IPv4 inside IPv6", ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{netip.MustParsePrefix("::ffff:0.0.0.0/96")}}, "everybody"},
		{"half of IPv4", ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}}, "name the proxies"},
		{"more than a private network", ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/7")}}, "name the proxies"},
		{"more of IPv6 than is private", ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{netip.MustParsePrefix("fc00::/6")}}, "name the proxies"},
		{"no network", ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{{}}}, "not a network"},
		{"an address inside a network", ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/16")}}, "10.1.0.0/16 or 10.1.2.3/32 is meant"},
		{"a header with an underscore", ForwardedOptions{Headers: []string{"X_User"}, Trusted: trusted}, "not a name of letters"},
		{"an empty header name", ForwardedOptions{Headers: []string{""}, Trusted: trusted}, "not a name of letters"},
		{"a header of HTTP", ForwardedOptions{Headers: []string{"authorization"}, Trusted: trusted}, "another meaning"},
		{"a header twice", ForwardedOptions{Headers: []string{"X-User", "x-user"}, Trusted: trusted}, "named twice"},
		{"a name header that is one of the others", ForwardedOptions{Headers: []string{"X-User"}, NameHeader: "X-USER", Trusted: trusted}, "named twice"},
		{"a default domain that is none", ForwardedOptions{Headers: []string{"X-User"}, Trusted: trusted, Names: Names{DefaultDomain: "a b"}}, "default domain"},
		{"a table with an address", ForwardedOptions{Headers: []string{"X-User"}, Trusted: trusted, Names: Names{Domains: map[string]string{"a@b": "c"}}}, "not the name of a Windows domain"},
		{"a table with a target that is no domain", ForwardedOptions{Headers: []string{"X-User"}, Trusted: trusted, Names: Names{Domains: map[string]string{"A": "c d"}}}, "not a domain name"},
		{"a table with a domain twice", ForwardedOptions{Headers: []string{"X-User"}, Trusted: trusted, Names: Names{Domains: map[string]string{"A": "c", "a": "d"}}}, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewForwardedIdentity(c.o)
			require.ErrorContains(t, err, c.want)
		})
	}
	f, err := NewForwardedIdentity(ForwardedOptions{Headers: []string{"X-User"}, Trusted: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("fc00::/7")}})
	require.NoError(t, err)
	require.True(t, f.trusts(Peer{Addr: netip.MustParseAddr("10.9.9.9")}))

	_, err = New(Options{Transports: []Transport{f}})
	require.ErrorContains(t, err, "need web tickets")
	_, err = New(Options{Tickets: newTickets(t, 0), Transports: []Transport{nil}})
	require.ErrorContains(t, err, "is nil")
}

// The classes of published advisories about proxies that forward identities,
// each with what an attacker sends.

func TestAdvisoryASpoofedForwardedHeaderNamesNobody(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	for _, claim := range [][]string{
		{"X-Forwarded-For", "10.1.2.3"},
		{"X-Real-Ip", "10.1.2.3"},
		{"Forwarded", "for=10.1.2.3;by=10.1.2.3"},
		{"X-Forwarded-For", "10.1.2.3, 10.1.2.3", "X-Forwarded-Host", "gw.contoso.test", "X-Forwarded-Proto", "https"},
		{"X-Original-Url", "/livez", "X-Forwarded-Uri", "/livez"},
	} {
		_, seen, err := through(a, from("192.0.2.66:1", append(claim, "X-Forwarded-User", "ana@contoso.test", "X-Auth-Email", "ana@contoso.test")...))
		require.ErrorIs(t, err, ErrNoCredentials)
		require.Len(t, seen.Header, len(claim)/2)
	}
	// A proxy that appends: its user came first, the client's own is refused
	// together with it.
	_, _, err := through(a, from("10.1.2.3:1", "X-Forwarded-User", "mallory", "X-Forwarded-User", "ana"))
	require.ErrorAs(t, err, new(ErrForbidden))
}

func TestAdvisoryAHeaderInVariantSpellingIsStrippedAndNeverTaken(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}})
	for _, name := range []string{
		"X_Forwarded_User", "X-Forwarded_User", "x_forwarded-user", "x-forwarded-user", "X-FORWARDED-USER", "X-Forwarded-User ", " X-Forwarded-User",
		"X-Forwarded-User\t", "X.Forwarded.User", "X Forwarded User", "X-Forwarded-User_", "-X-Forwarded-User", "X_Auth_Email", "x_auth_name", "X_auth-Name ",
	} {
		id, seen, err := through(a, from("10.1.2.3:1", name, "bo@contoso.test"))
		require.ErrorIs(t, err, ErrNoCredentials, name)
		require.Empty(t, seen.Header, name)
		require.Zero(t, id)

		id, seen, err = through(a, from("10.1.2.3:1", name, "bo@contoso.test", "X-Forwarded-User", "ana@contoso.test"))
		require.NoError(t, err, name)
		require.Equal(t, "ana@contoso.test", id.Address, name)
		require.Empty(t, seen.Header, name)

		r := from("192.0.2.66:1", name, "bo@contoso.test")
		r.Trailer = http.Header{name: {"bo"}}
		_, seen, err = through(a, r)
		require.ErrorIs(t, err, ErrNoCredentials, name)
		require.Empty(t, seen.Header, name)
		require.Empty(t, seen.Trailer, name)
	}
	for _, name := range []string{"X-Forwarded-Users", "X-Forwarded", "X--Forwarded-User", "Xa-Forwarded-User", "X-Forwarded-For"} {
		_, seen, _ := through(a, from("192.0.2.66:1", name, "x"))
		require.Contains(t, seen.Header, name, "another header is left alone")
	}
}

func TestAdvisoryAHealthCheckIsNotSignedIn(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}, Passwords: testPasswords(t)})
	for _, agent := range []string{"kube-probe/1.31", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Envoy/HC", "oauth2-proxy"} {
		for _, path := range []string{"/livez", "/readyz", "/ping", "/ucwa/oauth/v1/applications?/livez", "/ucwa/oauth/v1/applications#/livez", "/ucwa/oauth/v1/applications;/livez"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path, r.RemoteAddr = path, "10.1.2.3:1"
			r.Header.Set("User-Agent", agent)
			r.Header.Set("X-Health-Check", "true")
			_, _, err := through(a, r)
			require.ErrorIs(t, err, ErrNoCredentials)
		}
	}
}

func TestAdvisoryAnAmbiguousAddressIsNotTrusted(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, func(o *ForwardedOptions) {
		o.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.8/32"), netip.MustParsePrefix("fe80::1/128")}
	})}})
	for _, remote := range []string{
		"10.0.0.010:1", "012.0.0.8:1", "10.8:1", "167772168:1", "0x0a.0.0.8:1", "10.0.0.8", "10.0.0.8:x", "10.0.0.8 :1", "[::10.0.0.8]:1", "[64:ff9b::a00:8]:1",
		"10.0.0.8,192.0.2.1:1", "localhost:1", "unix", "@",
	} {
		_, _, err := through(a, from(remote, "X-Forwarded-User", "ana"))
		require.ErrorIs(t, err, ErrNoCredentials, remote)
	}
	for _, remote := range []string{"10.0.0.8:1", "[::ffff:10.0.0.8]:1", "[fe80::1%eth0]:1"} {
		_, _, err := through(a, from(remote, "X-Forwarded-User", "ana"))
		require.NoError(t, err, remote)
	}
	for _, user := range []string{
		"ana@evil.test@contoso.test", `"ana@contoso.test"@evil.test`, "ana@contoso.test\x00@evil.test", "ana@contoso.test <bo@evil.test>", "ana%40contoso.test@evil.test",
		"@contoso.test", "ana@", "ana@.contoso.test", "ana@contoso..test", "=?utf-8?q?ana?=@contoso.test",
	} {
		_, _, err := through(a, from("10.0.0.8:1", "X-Forwarded-User", user))
		require.ErrorAs(t, err, new(ErrForbidden), user)
	}
}

func FuzzForwardedHeader(f *testing.F) {
	for _, seed := range [][2]string{
		{"X-Forwarded-User", "ana@contoso.test"},
		{"x_forwarded_user", `CONTOSO\ana`},
		{"X-Auth-Email ", "sip:ana"},
		{"Connection", "X-Forwarded-User"},
		{"X-Auth-Name", "Ana\x00"},
		{"", ""},
		{"\xff-Forwarded-User", "\u212aim"},
	} {
		f.Add(seed[0], seed[1])
	}
	form := newForwarded(f, nil)
	a := newAuthenticator(f, Options{Transports: []Transport{form}})
	f.Fuzz(func(t *testing.T, name, value string) {
		_, seen, err := through(a, from("192.0.2.66:1", name, value))
		require.Error(t, err, "a stranger is nobody")
		for key := range seen.Header {
			require.Negative(t, form.spelled(key))
		}
		id, _, err := through(a, from("10.1.2.3:1", name, value))
		if err != nil {
			require.Zero(t, id)
			return
		}
		require.Contains(t, form.headers[:form.users], name, "no other spelling is taken")
		again, err := parseAddress(id.Address)
		require.NoError(t, err)
		require.Equal(t, again, id.Address)
		require.NotRegexp(t, `[^ -~]`, id.Address)
	})
}

func TestANameThatIsAnAddressStaysTheSame(t *testing.T) {
	n, err := newNames(Names{DefaultDomain: "contoso.test", Domains: map[string]string{"CONTOSO": "contoso.test"}})
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		user := rapid.StringMatching(`[a-zA-Z0-9._-]{1,20}`).Draw(t, "user")
		want := strings.ToLower(user) + "@contoso.test"
		for _, spelled := range []string{user, `Contoso\` + user, user + "@CONTOSO.test", " sip:" + user + "@contoso.test", want} {
			got, err := n.address(spelled)
			if err != nil || got != want {
				t.Fatalf("%q: %q, %v", spelled, got, err)
			}
			if n.account(spelled) != want {
				t.Fatalf("%q is another account", spelled)
			}
		}
	})
}
