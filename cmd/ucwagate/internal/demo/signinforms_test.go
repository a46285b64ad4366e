package demo_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/graphsrc/graphsim"
)

// people are some of a demonstration's, known before it starts: its user, and
// one of those whom it lists.
func people(t *testing.T) (me, other graphsim.User) {
	t.Helper()
	tenant, err := graphsim.New(graphsim.Config{})
	require.NoError(t, err)
	defer tenant.Close()
	me = tenant.Organizer()
	return me, tenant.Reports(me)[0]
}

// local is an address without its domain.
func local(address string) string {
	user, _, _ := strings.Cut(address, "@")
	return user
}

// reach goes the way of a client that is signed in, from discovery to somebody's
// presence, and returns who it is.
func (c *client) reach(d *demo.Demo) *node {
	c.t.Helper()
	user := c.get(c.get("/").link(c.t, "user"))
	app := c.create(user.link(c.t, "applications"), "forms"+c.accept)
	contact := c.get(app.child(c.t, "people").href + "/" + strings.TrimPrefix(d.Contacts[1].URI, "sip:"))
	require.NotEmpty(c.t, c.get(contact.link(c.t, "contactPresence")).text("availability"))
	return app.child(c.t, "me")
}

var tokenService = regexp.MustCompile(`MsRtcOAuth href="([^"]+)",grant_type="([^"]*)"`)

// grants reads the challenge: where the token service is and what it takes.
func (c *client) grants() (tokenURL string, grants []string) {
	c.t.Helper()
	res := c.do(http.MethodGet, c.get("/").link(c.t, "user"), "", "", func(r *http.Request) { r.Header.Del("Authorization") })
	require.Equal(c.t, http.StatusUnauthorized, res.status, "%s", res.body)
	m := tokenService.FindStringSubmatch(strings.Join(res.header.Values("WWW-Authenticate"), ", "))
	require.NotNil(c.t, m)
	return m[1], strings.Split(m[2], ",")
}

// ask asks the token service for a ticket.
func (c *client) ask(tokenURL string, form url.Values, change ...func(*http.Request)) response {
	c.t.Helper()
	return c.do(http.MethodPost, tokenURL, "application/x-www-form-urlencoded;charset=UTF-8", form.Encode(), change...)
}

func (c *client) keep(res response) {
	c.t.Helper()
	require.Equal(c.t, http.StatusOK, res.status, "%s", res.body)
	var ticket struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(c.t, json.Unmarshal(res.body, &ticket))
	require.NotEmpty(c.t, ticket.AccessToken)
	c.token = ticket.AccessToken
}

// windows is the grant in which the connection is the proof.
var windows = url.Values{"grant_type": {"urn:microsoft.rtc:windows"}}

func byPassword(user, password string) url.Values {
	return url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
}

// attempt is an attempt with a password, and what becomes of it.
type attempt struct {
	user, password string
	as             string // the address of who is in; empty: nobody
	status         int    // of the answer to who is out
}

// attempts signs in by password in both representations.
func attempts(t *testing.T, d *demo.Demo, all map[string]attempt) {
	t.Helper()
	for name, a := range all {
		t.Run(name, func(t *testing.T) {
			for _, accept := range []string{asJSON, asXML} {
				c := newClient(t, d, accept)
				tokenURL, grants := c.grants()
				require.Equal(t, []string{"password"}, grants)
				res := c.ask(tokenURL, byPassword(a.user, a.password))
				if a.as != "" {
					c.keep(res)
					require.Equal(t, "sip:"+a.as, c.reach(d).text("uri"))
					continue
				}
				require.Equal(t, a.status, res.status, "%s", res.body)
				require.NotContains(t, string(res.body), "access_token")
				require.NotEmpty(t, res.header["X-Ms-Diagnostics"])
				require.Equal(t, a.status == http.StatusServiceUnavailable, res.header.Get("Retry-After") != "")
			}
		})
	}
}

const readsLines = `#!/bin/sh
IFS= read -r user && IFS= read -r password || exit 2
`

const readsJSON = `#!/bin/sh
IFS= read -r line || exit 2
user=${line#'{"user":"'} && user=${user%%'"'*}
password=${line##*'"password":"'} && password=${password%'"}'}
`

// judges is the end of a program that knows everybody's password: the word
// secret and the address.
const judges = `case "$password" in
temporary) exit 75 ;;
slow) exec sleep 30 ;;
killed) kill -9 $$ ;;
esac
[ "$password" = "secret $user" ]
`

func TestAProgramChecksPasswords(t *testing.T) {
	me, other := people(t)
	for format, begins := range map[string]string{"lines": readsLines, "json": readsJSON} {
		t.Run("that are handed over as "+format, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "check")
			require.NoError(t, os.WriteFile(program, []byte(begins+judges), 0o700))
			d := start(t, func(c *config.Config) {
				c.SignIn.Htpasswd = ""
				c.SignIn.DefaultDomain, c.SignIn.DomainTable = c.Tenants[0].Domains[0], []string{"CONTOSO=" + c.Tenants[0].Domains[0]}
				c.SignIn.Command.Argv, c.SignIn.Command.Format, c.SignIn.Command.TimeLimit = []string{program}, format, time.Second
			})
			right := "secret " + me.Address()
			attempts(t, d, map[string]attempt{
				"the right password signs in":                      {me.Address(), right, me.Address(), 0},
				"so it does with a SIP URI as the name":            {"sip:" + strings.ToUpper(me.Address()), right, me.Address(), 0},
				"so it does with a name that has no domain":        {local(me.Address()), right, me.Address(), 0},
				"so it does with a name of a Windows domain":       {`CONTOSO\` + local(me.Address()), right, me.Address(), 0},
				"another user has another password":                {other.Address(), right, "", 400},
				"a wrong password is refused":                      {me.Address(), "wrong", "", 400},
				"no password is refused":                           {me.Address(), "", "", 400},
				"a password with a line more is refused":           {me.Address(), "wrong\n" + right, "", 400},
				"a name of an unknown Windows domain is refused":   {`FABRIKAM\` + local(me.Address()), right, "", 400},
				"a name with a line in it is refused":              {me.Address() + "\n" + other.Address(), right, "", 400},
				"somebody of a domain that is not served is out":   {"ana@elsewhere.example", "secret ana@elsewhere.example", "", 400},
				"a program that cannot say for now is waited for":  {me.Address(), "temporary", "", 503},
				"a program that takes too long is waited for":      {me.Address(), "slow", "", 503},
				"a program that is killed has not said who is who": {me.Address(), "killed", "", 503},
			})
		})
	}
}

func TestAWebServiceChecksPasswords(t *testing.T) {
	me, other := people(t)
	for format, read := range map[string]func(r *http.Request) (user, password string){
		"json": func(r *http.Request) (string, string) {
			var in struct{ User, Password string }
			if json.NewDecoder(r.Body).Decode(&in) != nil {
				return "", ""
			}
			return in.User, in.Password
		},
		"form": func(r *http.Request) (string, string) { return r.PostFormValue("user"), r.PostFormValue("password") },
	} {
		t.Run("that are posted as "+format, func(t *testing.T) {
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				user, password := read(r)
				switch {
				case r.Header.Get("Authorization") != "Bearer of-the-gateway" || r.Method != http.MethodPost || r.URL.Path != "/check":
					w.WriteHeader(http.StatusTeapot)
				case password == "secret "+user:
					w.WriteHeader(http.StatusNoContent)
				case password == "down":
					w.WriteHeader(http.StatusInternalServerError)
				case password == "moved":
					http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
				case password == "slow":
					<-r.Context().Done()
				case password == "cut off":
					panic(http.ErrAbortHandler)
				case user == other.Address():
					w.WriteHeader(http.StatusForbidden)
				default:
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			defer service.Close()
			authorization := filepath.Join(t.TempDir(), "authorization")
			require.NoError(t, os.WriteFile(authorization, []byte("Bearer of-the-gateway\n"), 0o600))
			d := start(t, func(c *config.Config) {
				c.SignIn.Htpasswd, c.SignIn.DefaultDomain = "", c.Tenants[0].Domains[0]
				c.SignIn.Callback.URL, c.SignIn.Callback.Format = service.URL+"/check", format
				c.SignIn.Callback.AuthorizationFile, c.SignIn.Callback.TimeLimit = authorization, 500*time.Millisecond
			})
			attempts(t, d, map[string]attempt{
				"the right password signs in":                   {me.Address(), "secret " + me.Address(), me.Address(), 0},
				"so it does with a name that has no domain":     {local(me.Address()), "secret " + me.Address(), me.Address(), 0},
				"a password that the service does not know":     {me.Address(), "wrong", "", 400},
				"somebody whom the service forbids":             {other.Address(), "wrong", "", 400},
				"a service that fails is waited for":            {me.Address(), "down", "", 503},
				"a service that has moved is not followed":      {me.Address(), "moved", "", 503},
				"a service that takes too long is waited for":   {me.Address(), "slow", "", 503},
				"a service that ends the connection is no word": {me.Address(), "cut off", "", 503},
			})
			_, status := internal(t, d, "/status.json")
			require.Contains(t, status, "Passwords cannot be checked", "operators are told")
		})
	}
}

func TestOperatorsAreToldThatTokensCannotBeChecked(t *testing.T) {
	me, _ := people(t)
	const nobody = "https://127.0.0.1:1"
	var tenantID string
	d := start(t, func(c *config.Config) {
		c.SignIn.Entra.Audiences, c.Tenants[0].Authority = []string{"api://ucwagate"}, nobody
		tenantID = c.Tenants[0].TenantID
	})
	claims := fmt.Sprintf(`{"iss":%q,"tid":%q,"aud":"api://ucwagate","exp":%d,"upn":%q}`, nobody+"/"+tenantID+"/v2.0", tenantID, time.Now().Add(time.Hour).Unix(), me.Address())
	c := newClient(t, d, asJSON)
	c.token = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	require.Equal(t, http.StatusServiceUnavailable, c.do(http.MethodGet, "/Autodiscover/AutodiscoverService.svc/root/oauth/user", "", "").status)
	_, status := internal(t, d, "/status.json")
	require.Contains(t, status, "Entra ID's signing keys cannot be had")
}

func TestPasswordsAreLookedForInEveryPlace(t *testing.T) {
	me, _ := people(t)
	program := filepath.Join(t.TempDir(), "check")
	require.NoError(t, os.WriteFile(program, []byte(readsLines+judges), 0o700))
	d := start(t, func(c *config.Config) { c.SignIn.Command.Argv = []string{program} })
	attempts(t, d, map[string]attempt{
		"who is in the file":                   {d.Username, d.Password, me.Address(), 0},
		"who is not and the program knows":     {d.Tenant.User(20).Address(), "secret " + d.Tenant.User(20).Address(), d.Tenant.User(20).Address(), 0},
		"whom neither of them lets in":         {d.Tenant.User(20).Address(), "wrong", "", 400},
		"who has another one's file password":  {d.Tenant.User(20).Address(), d.Password, "", 400},
		"an account of the file that is wrong": {d.Username, "wrong", "", 400},
	})
}

// through returns a client whose every request passes change, as through a
// proxy.
func through(change func(*http.Request)) *http.Client {
	return &http.Client{Transport: passing(change)}
}

type passing func(*http.Request)

func (p passing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	p(r)
	return http.DefaultTransport.RoundTrip(r)
}

// proxied lets a proxy at address or network sign users in.
func proxied(network string, more ...func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		c.SignIn.Htpasswd = ""
		c.SignIn.Proxy.Headers, c.SignIn.Proxy.NameHeader = []string{"X-Forwarded-User", "X-Forwarded-Email"}, "X-Forwarded-Name"
		c.SignIn.Proxy.Trusted = []netip.Prefix{netip.MustParsePrefix(network)}
		for _, adjust := range more {
			adjust(c)
		}
	}
}

func TestATrustedProxyStatesWhoItsUserIs(t *testing.T) {
	me, other := people(t)
	d := start(t, proxied("127.0.0.1/32"))
	user, signIn := d.BaseURL+"/Autodiscover/AutodiscoverService.svc/root/oauth/user", "/WebTicket/oauthtoken"
	for name, e := range map[string]struct {
		header http.Header
		as     string
		status int // to who is not in
	}{
		"in the header":       {http.Header{"X-Forwarded-User": {me.Address()}}, me.Address(), 0},
		"in the other header": {http.Header{"X-Forwarded-Email": {me.Address()}}, me.Address(), 0},
		"in both alike":       {http.Header{"X-Forwarded-User": {me.Address()}, "X-Forwarded-Email": {"sip:" + me.Address()}}, me.Address(), 0},
		"with another spelling beside that is no one": {http.Header{"X-Forwarded-User": {me.Address()}, "X_Forwarded_User": {other.Address()}}, me.Address(), 0},
		"not in another spelling":                     {http.Header{"X_Forwarded_User": {me.Address()}}, "", 401},
		"not with a dot for a hyphen":                 {http.Header{"X.Forwarded.User": {me.Address()}}, "", 401},
		"not in a header that is not named":           {http.Header{"Remote-User": {me.Address()}}, "", 401},
		"not without a header":                        {nil, "", 401},
		"not in an empty one":                         {http.Header{"X-Forwarded-User": {""}}, "", 401},
		"not in a header that comes twice":            {http.Header{"X-Forwarded-User": {me.Address(), other.Address()}}, "", 403},
		"not even alike":                              {http.Header{"X-Forwarded-User": {me.Address(), me.Address()}}, "", 403},
		"not with two users in one header":            {http.Header{"X-Forwarded-User": {me.Address() + "," + other.Address()}}, "", 403},
		"not with different users in both headers":    {http.Header{"X-Forwarded-User": {me.Address()}, "X-Forwarded-Email": {other.Address()}}, "", 403},
		"not without a domain":                        {http.Header{"X-Forwarded-User": {local(me.Address())}}, "", 403},
		"not if the header is to be dropped":          {http.Header{"X-Forwarded-User": {me.Address()}, "Connection": {"X-Forwarded-User"}}, "", 403},
		"nobody of another domain":                    {http.Header{"X-Forwarded-User": {"ana@elsewhere.example"}}, "", 403},
	} {
		t.Run(name, func(t *testing.T) {
			for _, accept := range []string{asJSON, asXML} {
				c := newClient(t, d, accept)
				c.via = through(func(r *http.Request) {
					for key, values := range e.header {
						r.Header[key] = values
					}
				})
				if e.as != "" {
					require.Equal(t, "sip:"+e.as, c.reach(d).text("uri"), "the connection is enough")
					c.keep(c.ask(signIn, windows))
					require.Equal(t, "sip:"+e.as, c.reach(d).text("uri"), "and so is a ticket for it")
					c.keep(c.ask(signIn, byPassword(e.as, "whatever")))
					require.Equal(t, "sip:"+e.as, c.reach(d).text("uri"), "also for clients that know passwords only")
					require.Equal(t, http.StatusBadRequest, c.ask(signIn, byPassword(other.Address(), "x")).status)
					continue
				}
				res := c.do(http.MethodGet, user, "", "")
				if e.status == http.StatusForbidden {
					requireReason(t, res, http.StatusForbidden, "Forbidden", "")
					require.NotEmpty(t, res.header["X-Ms-Diagnostics"])
					require.Empty(t, res.header["Www-Authenticate"])
					require.Contains(t, []int{400, 403}, c.ask(signIn, windows).status)
					continue
				}
				_, grants := c.grants()
				require.Equal(t, []string{"urn:microsoft.rtc:windows"}, grants)
				require.Equal(t, http.StatusBadRequest, c.ask(signIn, windows).status)
			}
		})
	}
}

func TestTheProxyNamesItsUser(t *testing.T) {
	d := start(t, proxied("127.0.0.0/8"))
	c := newClient(t, d, asJSON)
	c.via = through(func(r *http.Request) {
		r.Header.Set("X-Forwarded-User", "nobody.yet@"+d.Domain)
		r.Header.Set("X-Forwarded-Name", "Nobody Yet")
	})
	require.Equal(t, "Nobody Yet", c.reach(d).text("name"), "the directory does not know the user")
}

func TestNobodyElseStatesWhoTheyAre(t *testing.T) {
	me, other := people(t)
	for name, network := range map[string]string{"another network is trusted": "192.0.2.0/24", "another address is trusted": "127.0.0.2/32", "the same address of the other family": "::1/128"} {
		t.Run(name, func(t *testing.T) {
			d := start(t, proxied(network, func(c *config.Config) { c.Server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }))
			for _, header := range []string{"X-Forwarded-User", "x-forwarded-user", "X_Forwarded_User", "X-Forwarded_Email"} {
				c := newClient(t, d, asJSON)
				c.via = through(func(r *http.Request) {
					r.Header[header] = []string{me.Address()}
					r.Header.Set("X-Forwarded-For", "192.0.2.1")
				})
				_, grants := c.grants()
				require.Equal(t, []string{"urn:microsoft.rtc:passive"}, grants, "nothing is said of a proxy")
				res := c.ask("/WebTicket/oauthtoken", windows)
				require.Equal(t, http.StatusBadRequest, res.status)
				require.JSONEq(t, `{"error":"unsupported_grant_type"}`, string(res.body))
			}
		})
	}
	t.Run("their own password counts whatever the header says", func(t *testing.T) {
		var htpasswd string
		d := start(t, func(c *config.Config) {
			htpasswd = c.SignIn.Htpasswd
			proxied("192.0.2.0/24")(c)
			c.SignIn.Htpasswd = htpasswd
		})
		c := newClient(t, d, asJSON)
		c.via = through(func(r *http.Request) { r.Header.Set("X-Forwarded-User", other.Address()) })
		tokenURL, grants := c.grants()
		require.Equal(t, []string{"password"}, grants)
		c.keep(c.ask(tokenURL, byPassword(d.Username, d.Password)))
		require.Equal(t, "sip:"+me.Address(), c.reach(d).text("uri"))
	})
}

func TestAPartOfABatchHasTheUserOfItsConnection(t *testing.T) {
	me, other := people(t)
	spoof := func(name string) string { return name + ": " + other.Address() + "\r\n" }
	d := start(t, proxied("127.0.0.1/32"))
	as := func(user string) *client {
		c := newClient(t, d, asJSON)
		c.via = through(func(r *http.Request) { r.Header.Set("X-Forwarded-User", user) })
		return c
	}
	c, o := as(me.Address()), as(other.Address())
	mine := c.create("/ucwa/oauth/v1/applications", "mine")
	theirs := o.create("/ucwa/oauth/v1/applications", "theirs")
	var statuses []int
	for _, a := range answers(t, c.batch(mine.link(t, "batch"),
		part("GET", mine.href, "", ""), part("GET", mine.href, spoof("X-Forwarded-User"), ""), part("GET", mine.href, spoof("X_Forwarded_User"), ""),
		part("GET", theirs.href, "", ""), part("GET", theirs.href, spoof("X-Forwarded-User"), ""), part("GET", theirs.href, spoof("X-Forwarded-Email"), ""),
	)) {
		statuses = append(statuses, a.status)
	}
	require.Equal(t, []int{200, 200, 200, 404, 404, 404}, statuses)
}

func TestATicketForAConnectionIsGoodOnConnectionsOfItsUser(t *testing.T) {
	me, other := people(t)
	ticket := func(t *testing.T, d *demo.Demo) *client {
		c := newClient(t, d, asJSON)
		// The proxy states its users to the token service alone.
		c.via = through(func(r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/WebTicket") {
				r.Header.Set("X-Forwarded-User", me.Address())
			}
		})
		tokenURL, grants := c.grants()
		require.Equal(t, []string{"urn:microsoft.rtc:windows"}, grants)
		c.keep(c.ask(tokenURL, windows))
		return c
	}
	const user = "/Autodiscover/AutodiscoverService.svc/root/oauth/user"
	t.Run("and on no other", func(t *testing.T) {
		c := ticket(t, start(t, proxied("127.0.0.1/32")))
		require.Equal(t, http.StatusUnauthorized, c.do(http.MethodGet, user, "", "").status)
		of := func(user string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set("X-Forwarded-User", user) }
		}
		require.Equal(t, http.StatusOK, c.do(http.MethodGet, user, "", "", of(me.Address())).status)
		for _, accept := range []string{asJSON, asXML} {
			c.accept = accept
			requireReason(t, c.do(http.MethodGet, user, "", "", of(other.Address())), http.StatusForbidden, "Forbidden", "")
		}
	})
	t.Run("and everywhere if tickets are portable", func(t *testing.T) {
		d := start(t, proxied("127.0.0.1/32", func(c *config.Config) { c.SignIn.PortableTickets = true }))
		c := ticket(t, d)
		require.Equal(t, "sip:"+me.Address(), c.reach(d).text("uri"))
	})
}

// socket returns the path of a socket, which has 107 bytes at most.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "s")
}

// overSocket is a client of a demonstration that listens on a socket.
func overSocket(t *testing.T, d *demo.Demo, path, accept string) *client {
	t.Helper()
	require.Equal(t, "unix:"+path, d.BaseURL)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, base: "http://localhost", accept: accept, via: &http.Client{Transport: transport}}
}

func TestTheProxyAtTheOtherEndOfASocketIsTrusted(t *testing.T) {
	me, _ := people(t)
	set := func(r *http.Request) { r.Header.Set("X-Forwarded-User", me.Address()) }
	for name, trusted := range map[string]bool{"if the configuration says so": true, "and nobody is if it does not": false} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			d := start(t, func(c *config.Config) {
				proxied("127.0.0.1/32")(c)
				c.Server.Listen, c.SignIn.Proxy.TrustedSocket = "unix:"+path, trusted
			})
			c := overSocket(t, d, path, asJSON)
			res := c.do(http.MethodGet, c.get("/").link(t, "user"), "", "", set)
			require.Equal(t, map[bool]int{true: 200, false: 401}[trusted], res.status)
		})
	}
}

// Behind a socket all clients have the proxy's address, which is none.
func TestWhoGuessesBehindASocketLocksNobodyElseOutIfTheProxyIsBelieved(t *testing.T) {
	const limit = 5
	for name, trusted := range map[string]bool{"if the configuration says so": true, "and they are one client if it does not": false} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			d := start(t, func(c *config.Config) {
				c.Server.Listen, c.Server.TrustedSocket, c.SignIn.AttemptsPerMinute = "unix:"+path, trusted, limit
			})
			c := overSocket(t, d, path, asJSON)
			from := func(address string) func(*http.Request) {
				return func(r *http.Request) { r.Header.Set("X-Forwarded-For", address) }
			}
			for n := range 2 * limit {
				res := c.ask("/WebTicket/oauthtoken", byPassword(fmt.Sprintf("user%d@%s", n, d.Domain), "guess"), from("203.0.113.7"))
				require.Equal(t, http.StatusBadRequest, res.status)
				require.Equal(t, n >= limit, res.header.Get("Retry-After") != "", "guess %d", n)
			}
			res := c.ask("/WebTicket/oauthtoken", byPassword(d.Username, d.Password), from("198.51.100.1"))
			require.Equal(t, map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[trusted], res.status, "%s", res.body)
			res = c.do(http.MethodGet, "/", "", "", func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "ucwa.example.com") })
			require.Equal(t, trusted, strings.Contains(string(res.body), "ucwa.example.com"), "links: %s", res.body)
		})
	}
}

func TestOneIdentityForEveryRequest(t *testing.T) {
	me, other := people(t)
	path := socket(t)
	for name, listen := range map[string]string{"on the loopback interface": "127.0.0.1:0", "on a socket": "unix:" + path} {
		t.Run(name, func(t *testing.T) {
			d := start(t, func(c *config.Config) {
				c.Server.Listen, c.SignIn.Htpasswd = listen, ""
				c.SignIn.Fixed.Address, c.SignIn.Fixed.Hosts = me.Address(), []string{"sidecar.example"}
			})
			fixedIdentity(t, me.Address(), other.Address(), d, func(t *testing.T, accept string) *client {
				if strings.HasPrefix(listen, "unix:") {
					return overSocket(t, d, path, accept)
				}
				return newClient(t, d, accept)
			})
		})
	}
}

func fixedIdentity(t *testing.T, me, other string, d *demo.Demo, connect func(t *testing.T, accept string) *client) {
	const user = "/Autodiscover/AutodiscoverService.svc/root/oauth/user"
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(key, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(key, value) }
	}
	for name, e := range map[string]struct {
		change func(*http.Request)
		in     bool
	}{
		"whoever connects is in":                  {func(*http.Request) {}, true},
		"so is who calls the machine localhost":   {host("localhost:1234"), true},
		"so is who uses a loopback address":       {host("[::1]:1234"), true},
		"so is who uses a name that is allowed":   {host("sidecar.example"), true},
		"another host name is refused":            {host("evil.example"), false},
		"another address is refused":              {host("192.0.2.1"), false},
		"a name that begins alike is refused":     {host("localhost.evil.example"), false},
		"a forwarded request is refused":          {header("X-Forwarded-For", "127.0.0.1"), false},
		"a page of another site is refused":       {header("Sec-Fetch-Site", "cross-site"), false},
		"a page of another origin is refused":     {header("Origin", "https://evil.example"), false},
		"an identity in a header is not believed": {header("X-Forwarded-User", other), true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, accept := range []string{asJSON, asXML} {
				c := connect(t, accept)
				res := c.do(http.MethodGet, user, "", "", e.change)
				ticket := c.ask("/WebTicket/oauthtoken", windows, e.change)
				if !e.in {
					requireReason(t, res, http.StatusForbidden, "Forbidden", "")
					require.Equal(t, http.StatusForbidden, ticket.status, "%s", ticket.body)
					continue
				}
				require.Equal(t, http.StatusOK, res.status, "%s", res.body)
				c.keep(ticket)
				require.Equal(t, "sip:"+me, c.reach(d).text("uri"))
			}
		})
	}
}

func TestAScopeMayBeNeededOfAnEntraToken(t *testing.T) {
	for name, e := range map[string]struct {
		scopes, roles []string
		in            bool
	}{
		"and the token has it":               {[]string{"access_as_user"}, nil, true},
		"and the token has one of several":   {[]string{"Presence.Use", "access_as_user"}, nil, true},
		"and the token has another":          {[]string{"Presence.Use"}, nil, false},
		"and letter case counts":             {[]string{"ACCESS_AS_USER"}, nil, false},
		"and a role that the token lacks":    {[]string{"access_as_user"}, []string{"Presence.User"}, false},
		"and where none is it is let in too": {nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, func(c *config.Config) {
				c.SignIn.Entra.Audiences, c.SignIn.Entra.Scopes, c.SignIn.Entra.Roles = []string{audience}, e.scopes, e.roles
			})
			for _, accept := range []string{asJSON, asXML} {
				c := newClient(t, d, accept)
				token, err := d.Tenant.IssueUserToken(d.Username, audience)
				require.NoError(t, err)
				c.token = token
				if e.in {
					require.Equal(t, "sip:"+d.Username, c.reach(d).text("uri"))
					continue
				}
				res := c.do(http.MethodGet, "/Autodiscover/AutodiscoverService.svc/root/oauth/user", "", "")
				requireReason(t, res, http.StatusForbidden, "Forbidden", "")
				require.Contains(t, res.header["X-Ms-Diagnostics"][0], "that are needed")
			}
		})
	}
}
