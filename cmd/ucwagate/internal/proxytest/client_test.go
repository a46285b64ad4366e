package proxytest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// browser is an HTTP client for which the proxy is the whole internet.
func (p *proxy) browser(t testing.TB, http2 bool, from string) *http.Client {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			to := map[string]string{"80": p.http, "443": p.https}[port]
			return dialer.DialContext(ctx, network, p.address+":"+to)
		},
		TLSClientConfig:    &tls.Config{RootCAs: p.roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:  http2,
		DisableCompression: true,
		MaxIdleConns:       100, MaxIdleConnsPerHost: 100,
		// Who says that it waits for a go-ahead does.
		ExpectContinueTimeout: patience,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// client is a UCWA client behind a proxy.
type client struct {
	t     testing.TB
	http  *http.Client
	token string
	base  string // of relative hrefs
	apps  string // href of applications
	app   resource
	jar   string // the cookie for photos
}

type answer struct {
	status int
	header http.Header
	body   []byte
	major  int // of the HTTP version
}

// resource is a JSON resource.
type resource map[string]any

// href returns the link of a rel: links of an embedded resource have its rel in
// front, with a slash.
func (r resource) href(t testing.TB, rel string) string {
	t.Helper()
	m := map[string]any(r)
	if embedded, link, ok := strings.Cut(rel, "/"); ok {
		all, _ := m["_embedded"].(map[string]any)
		m, _ = all[embedded].(map[string]any)
		rel = link
	}
	links, _ := m["_links"].(map[string]any)
	link, _ := links[rel].(map[string]any)
	href, _ := link["href"].(string)
	require.NotEmpty(t, href, "there is a link %s in %v", rel, r)
	return href
}

func newClient(t testing.TB, hc *http.Client) *client {
	return &client{t: t, http: hc, base: "https://" + publicName}
}

// try sends a request; header fields are name, value, name, value.
func (c *client) try(method, href, body string, header ...string) (answer, error) {
	if strings.HasPrefix(href, "/") {
		href = c.base + href
	}
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, href, from)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/json")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = []string{header[i+1]}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, read, res.ProtoMajor}, err
}

func (c *client) do(method, href, body string, header ...string) answer {
	c.t.Helper()
	a, err := c.try(method, href, body, header...)
	require.NoError(c.t, err, "%s %s", method, href)
	return a
}

func (c *client) get(href string) resource {
	c.t.Helper()
	a := c.do(http.MethodGet, href, "")
	require.Equal(c.t, http.StatusOK, a.status, "GET %s: %s", href, a.body)
	return parse(c.t, a.body)
}

func parse(t testing.TB, body []byte) resource {
	t.Helper()
	var r resource
	require.NoError(t, json.Unmarshal(body, &r), "%s", body)
	return r
}

var tokenService = regexp.MustCompile(`MsRtcOAuth href="([^"]+)"`)

// signIn goes from a discovery URL to the applications resource.
func (c *client) signIn(discovery, user, password string) {
	c.t.Helper()
	c.token = ""
	link := c.get(discovery).href(c.t, "user")
	challenge := c.do(http.MethodGet, link, "")
	require.Equal(c.t, http.StatusUnauthorized, challenge.status)
	service := tokenService.FindStringSubmatch(strings.Join(challenge.header.Values("WWW-Authenticate"), "\n"))
	require.Len(c.t, service, 2, "%v", challenge.header)
	require.True(c.t, strings.HasPrefix(service[1], "https://"+publicName+"/"), service[1])
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	a := c.do(http.MethodPost, service[1], form.Encode(), "Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	require.Equal(c.t, http.StatusOK, a.status, "%s", a.body)
	c.token, _ = parse(c.t, a.body)["access_token"].(string)
	require.NotEmpty(c.t, c.token)
	c.apps = c.get(link).href(c.t, "applications")
}

// create creates an application.
func (c *client) create() {
	c.t.Helper()
	a := c.do(http.MethodPost, c.apps, `{"userAgent":"proxytest","endpointId":"1","culture":"en-US"}`)
	require.Equal(c.t, http.StatusCreated, a.status, "%s", a.body)
	c.app = parse(c.t, a.body)
	require.Equal(c.t, c.app.href(c.t, "self"), a.header.Get("Location"))
	require.Contains(c.t, a.header.Get("Set-Cookie"), "; secure; SameSite=None; Partitioned")
	c.jar, _, _ = strings.Cut(a.header.Get("Set-Cookie"), ";")
}

// enter signs in and creates an application.
func (c *client) enter(w *world) {
	c.t.Helper()
	c.signIn("https://"+discover+"/", w.Username, w.Password)
	c.create()
}
