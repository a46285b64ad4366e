package demo_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/ucwaapi"
)

func TestDiscoveryAnswersOnEverySpelling(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	for _, path := range []string{
		"/", "/?sipuri=sip:ana@contoso.test", "/root", "//", "/Autodiscover/AutodiscoverService.svc/root",
		"/autodiscover/autodiscoverservice.svc/root", "/AUTODISCOVER/AutodiscoverService.svc/Root/",
		"//Autodiscover/AutodiscoverService.svc/root?originalDomain=contoso.test", "/Autodiscover/AutodiscoverService.svc",
	} {
		root := c.get(path)
		require.Equal(t, "root", root.rel, path)
		require.Equal(t, d.BaseURL+"/Autodiscover/AutodiscoverService.svc/root/oauth/user?originalDomain=contoso.test", root.link(t, "user"), path)
	}
	for _, path := range []string{
		"/Autodiscover/AutodiscoverService.svc/root/oauth/user", "/autodiscover/autodiscoverservice.svc/root/user",
		"//Autodiscover/AutodiscoverService.svc/root/oauth/user?originalDomain=contoso.test",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res := c.do(method, path, "", "")
			require.Equal(t, http.StatusUnauthorized, res.status)
			require.Len(t, res.header["Www-Authenticate"], 2, "%s %s", method, path)
		}
	}
	for _, path := range []string{"/webticket/oauthtoken", "/WebTicket/oauthtoken", "//WebTicket/OAuthToken"} {
		c.signIn(path, d.Username, d.Password)
	}
}

func TestAbsoluteLinksNameTheHostTheClientUsed(t *testing.T) {
	hosts := func(change func(*http.Request), adjust func(*config.Config)) string {
		c := newClient(t, start(t, adjust), asJSON)
		res := c.do(http.MethodGet, "/", "", "", change)
		require.Equal(t, http.StatusOK, res.status)
		link := c.parse(res).link(t, "user")
		base, _, _ := strings.Cut(link, "/Autodiscover")
		return base
	}
	forwarded := func(r *http.Request) {
		r.Header.Set("X-Forwarded-Host", "UCWA.example.com:443")
		r.Header.Set("X-Forwarded-Proto", "https")
	}
	trusting := func(c *config.Config) { c.Server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

	require.Equal(t, "http://lyncdiscover.contoso.test", hosts(func(r *http.Request) { r.Host = "lyncdiscover.contoso.test:80" }, nil))
	require.Equal(t, "http://lyncdiscoverinternal.contoso.test:8080", hosts(func(r *http.Request) { r.Host = "lyncdiscoverinternal.contoso.test:8080" }, nil))
	require.Equal(t, "https://UCWA.example.com", hosts(forwarded, trusting))
	require.True(t, strings.HasPrefix(hosts(forwarded, nil), "http://127.0.0.1:"), "forwarded headers of anybody else are not believed")
	require.Equal(t, "https://public.example.com", hosts(forwarded, func(c *config.Config) {
		trusting(c)
		c.Server.PublicURL = "https://public.example.com"
	}))
	require.True(t, strings.HasPrefix(hosts(func(r *http.Request) {
		forwarded(r)
		r.Header.Set("X-Forwarded-Host", `evil.example.com"><script>`)
	}, trusting), "https://127.0.0.1:"), "a host that is none is passed over")
}

func TestTheDomainOfDiscoveryFollowsTheHostName(t *testing.T) {
	c := newClient(t, start(t, nil), asJSON)
	res := c.do(http.MethodGet, "/", "", "", func(r *http.Request) { r.Host = "lyncdiscover.fabrikam.test" })
	require.Contains(t, c.parse(res).link(t, "user"), "?originalDomain=fabrikam.test")
	res = c.do(http.MethodGet, "/?OriginalDomain=Tailspin.test", "", "")
	require.Contains(t, c.parse(res).link(t, "user"), "?originalDomain=tailspin.test")
}

// TestBothPathFamiliesAnswer asks for every GET resource under every path of
// the route table; the answer is the same, with the canonical hrefs.
func TestBothPathFamiliesAnswer(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	c.available(app, "")
	groups := c.get(app.child(t, "people").link(t, "myGroups"))
	member := c.get(app.child(t, "people").link(t, "myGroupMemberships")).embedded["myGroupMembership"][0].href
	group := groups.embedded["distributionGroup"][0]
	res := c.post(app.child(t, "people").link(t, "presenceSubscriptions"), "uris", []string{d.Contacts[0].URI}, 10)
	require.Equal(t, http.StatusCreated, res.status)
	sub := c.parse(res)
	replace := strings.NewReplacer(
		":subscription", sub.text("id"),
		":membership", sub.text("id")+","+strings.TrimPrefix(d.Contacts[0].URI, "sip:"),
		":application", app.href[strings.LastIndex(app.href, "/")+1:],
		":group", group.text("id"),
		":level", "Colleagues",
		":contact", strings.ToUpper(strings.TrimPrefix(d.Contacts[0].URI, "sip:")),
	)
	tested := 0
	for _, r := range ucwaapi.Routes() {
		if r.Method != http.MethodGet || len(r.Paths) < 2 || r.Rel == "events" || strings.Contains(r.Rel, "photo") {
			continue
		}
		for i, p := range r.Paths {
			switch r.Rel {
			case "groupMemberships": // a distribution group has none
				r.Paths[i] = strings.Replace(p, ":group", "default", 1)
			case "search":
				r.Paths[i] = p + "?query=e&limit=3"
			case "myGroupMembership":
				r.Paths[i] = strings.Replace(p, ":membership", member[strings.LastIndex(member, "/")+1:], 1)
			}
		}
		want := string(c.do(http.MethodGet, replace.Replace(r.Paths[0]), "", "").body)
		for _, p := range r.Paths {
			for _, spelling := range []string{replace.Replace(p), "/" + strings.ToUpper(replace.Replace(p))} {
				res := c.do(http.MethodGet, spelling, "", "")
				require.Equal(t, http.StatusOK, res.status, "%s: %s", spelling, res.body)
				// The reference form of memberships is about one subscription.
				if r.Rel != "root" && r.Rel != "user" && r.Rel != "xframe" && r.Rel != "search" && !strings.HasSuffix(p, "/memberships") {
					require.Equal(t, want, string(res.body), spelling)
				}
				tested++
			}
		}
	}
	require.Greater(t, tested, 50)
}

// TestTheHeadersHaveTheirExactSpelling reads the bytes of an answer: one known
// client's pattern is case-sensitive, and Go writes Www-Authenticate.
func TestTheHeadersHaveTheirExactSpelling(t *testing.T) {
	d := start(t, nil)
	head := func(request string) string {
		conn, err := net.Dial("tcp", strings.TrimPrefix(d.BaseURL, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\n\r\n", request)
		require.NoError(t, err)
		var lines strings.Builder
		for s := bufio.NewScanner(conn); s.Scan() && s.Text() != ""; {
			lines.WriteString(s.Text() + "\n")
		}
		return lines.String()
	}
	got := head("GET /Autodiscover/AutodiscoverService.svc/root/oauth/user")
	require.Contains(t, got, "HTTP/1.1 401 ")
	require.Contains(t, got, "\nWWW-Authenticate: MsRtcOAuth href=\"http://gateway.example/WebTicket/oauthtoken\",grant_type=\"")
	require.Contains(t, got, "\nWWW-Authenticate: Bearer trusted_issuers=\"")
	require.Contains(t, got, "\nX-Ms-diagnostics: ")
	require.Contains(t, got, "\nContent-Type: text/html")
	got = head("GET /")
	require.Contains(t, got, "HTTP/1.1 200 ")
	for _, line := range []string{
		"Cache-Control: no-cache", "Pragma: no-cache", "Expires: -1", "X-Content-Type-Options: nosniff", "X-MS-Server-Fqdn: ",
		"X-MS-UcwaVersion: 2.0", "Content-Type: application/json\n", "Content-Length: ",
	} {
		require.Contains(t, got, "\n"+line)
	}
}

func TestApplicationsAnswerConditionalRequests(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	for _, href := range []string{app.href, app.child(t, "people").href + "/" + strings.TrimPrefix(d.Contacts[0].URI, "sip:"), app.child(t, "communication").href} {
		res := c.do(http.MethodGet, href, "", "")
		tag := res.header.Get("ETag")
		require.NotEmpty(t, tag, href)
		require.Equal(t, strings.Trim(tag, `"`), c.parse(res).text("etag"), "header and body carry the same value")
		for _, spelling := range []string{tag, strings.Trim(tag, `"`), "W/" + tag, `"other", ` + tag, "*"} {
			res = c.do(http.MethodGet, href, "", "", func(r *http.Request) { r.Header.Set("If-None-Match", spelling) })
			require.Equal(t, http.StatusNotModified, res.status, spelling)
			require.Empty(t, res.body)
			require.Equal(t, tag, res.header.Get("ETag"))
		}
		res = c.do(http.MethodGet, href, "", "", func(r *http.Request) { r.Header.Set("If-None-Match", `"other"`) })
		require.Equal(t, http.StatusOK, res.status)
	}
}

func TestTheVendorTypesComeBack(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	for accept, want := range map[string]string{
		"application/vnd.microsoft.com.ucwa+json": "application/vnd.microsoft.com.ucwa+json; charset=utf-8",
		"application/vnd.microsoft.com.ucwa+xml":  "application/vnd.microsoft.com.ucwa+xml; charset=utf-8",
		"application/json":                        "application/json; charset=utf-8",
		"application/xml":                         "application/xml; charset=utf-8",
		"*/*":                                     "application/json; charset=utf-8",
		"":                                        "application/json; charset=utf-8",
	} {
		c.accept = accept
		require.Equal(t, want, c.do(http.MethodGet, app.href, "", "").header.Get("Content-Type"), accept)
	}
}

func TestTheActivityIsLocalizedToTheApplication(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	c.signIn("/WebTicket/oauthtoken", d.Username, d.Password)
	address := strings.TrimPrefix(d.Contacts[0].URI, "sip:")
	setPresence(t, d, address, "DoNotDisturb", "Focusing")
	said := map[string]bool{}
	for _, culture := range []string{"en-US", "de-AT", "fr-FR", "ja-JP"} {
		res := c.do(http.MethodPost, "/ucwa/oauth/v1/applications", asJSON, fmt.Sprintf(`{"culture":%q,"userAgent":"t","endpointId":%q}`, culture, culture))
		require.Equal(t, http.StatusCreated, res.status)
		p := c.get(c.parse(res).href + "/people/" + address + "/presence")
		require.Equal(t, "DoNotDisturb", p.text("availability"))
		require.NotEmpty(t, p.text("activity"))
		said[p.text("activity")] = true
	}
	require.Len(t, said, 4)
}

func TestOneEndpointHasOneApplication(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Applications.PerUser = 3 })
	c := newClient(t, d, asJSON)
	first := c.application(d)
	require.Equal(t, first.href, c.create("/ucwa/oauth/v1/applications", "endpoint").href, "the same endpoint gets the same application")
	for i := range 3 {
		c.create("/ucwa/oauth/v1/applications", fmt.Sprint("other", i))
	}
	requireReason(t, c.do(http.MethodGet, first.href, "", ""), http.StatusGone, "Gone", "TooManyApplications")
}

func TestTheDemonstrationDescribesItself(t *testing.T) {
	d := start(t, nil)
	raw, err := json.Marshal(d.Info)
	require.NoError(t, err)
	for _, member := range []string{"baseURL", "username", "password", "domain", "contacts", "simulatorURL", "uri", "name", "availability"} {
		require.Contains(t, string(raw), `"`+member+`":`)
	}
	c := newClient(t, d, asJSON)
	app := c.application(d)
	for _, contact := range d.Contacts {
		p := c.get(app.child(t, "people").href + "/" + strings.TrimPrefix(contact.URI, "sip:") + "/presence")
		require.Equal(t, contact.Availability, p.text("availability"), contact.URI)
	}
}

// TestAnswersAreCompressedForWhoAsks reads raw answers: the client library
// would decompress them unseen.
func TestAnswersAreCompressedForWhoAsks(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	for _, href := range []string{"/", app.href, app.href + "/events?ack=99", app.href + "/people/nobody@contoso.test"} {
		plain := c.do(http.MethodGet, href, "", "", func(r *http.Request) { r.Header.Set("Accept-Encoding", "identity") })
		require.Empty(t, plain.header.Get("Content-Encoding"))
		require.Equal(t, "Accept-Encoding", plain.header.Get("Vary"))
		for _, asks := range []string{"gzip", "gzip, deflate", "deflate, GZIP;q=0.5"} {
			packed := c.do(http.MethodGet, href, "", "", func(r *http.Request) { r.Header.Set("Accept-Encoding", asks) })
			require.Equal(t, plain.status, packed.status)
			require.Equal(t, "gzip", packed.header.Get("Content-Encoding"), asks)
			require.Equal(t, strconv.Itoa(len(packed.body)), packed.header.Get("Content-Length"))
			z, err := gzip.NewReader(bytes.NewReader(packed.body))
			require.NoError(t, err)
			body, err := io.ReadAll(z)
			require.NoError(t, err)
			require.Equal(t, string(plain.body), string(body))
		}
		require.Empty(t, c.do(http.MethodGet, href, "", "", func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip;q=0") }).header.Get("Content-Encoding"))
	}
}
