package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

const (
	asJSON = "application/json"
	asXML  = "application/xml"
)

// start runs a demonstration in which nobody moves by themselves.
func start(t testing.TB, adjust func(*config.Config)) *demo.Demo {
	t.Helper()
	return startWith(t, demo.Options{Adjust: adjust})
}

func startWith(t testing.TB, o demo.Options) *demo.Demo {
	t.Helper()
	log := &logWriter{t: t}
	o.Still, o.Refresh = true, time.Second
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	d, err := demo.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, d.Close(context.WithoutCancel(t.Context())))
		log.end()
	})
	return d
}

// logWriter shows the log of a failed test.
type logWriter struct {
	mu   sync.Mutex
	t    testing.TB
	over bool
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.t.Logf("%s", p)
	}
	return len(p), nil
}

func (w *logWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// client is a UCWA client: it follows links and builds no path of its own.
type client struct {
	t      testing.TB
	base   string
	accept string
	token  string
	via    *http.Client // nil: the default one
}

type response struct {
	status int
	header http.Header
	body   []byte
}

func newClient(t testing.TB, d *demo.Demo, accept string) *client {
	return &client{t: t, base: d.BaseURL, accept: accept}
}

// do sends a request; href is absolute or relative to the gateway.
func (c *client) do(method, href, contentType, body string, change ...func(*http.Request)) response {
	c.t.Helper()
	if strings.HasPrefix(href, "/") {
		href = c.base + href
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, href, strings.NewReader(body))
	require.NoError(c.t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", c.accept)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for _, f := range change {
		f(req)
	}
	via := c.via
	if via == nil {
		via = http.DefaultClient
	}
	res, err := via.Do(req)
	require.NoError(c.t, err)
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	require.Empty(c.t, res.TransferEncoding, "answers are never chunked: %s %s", method, href)
	return response{res.StatusCode, res.Header, read}
}

func (c *client) get(href string) *node {
	c.t.Helper()
	res := c.do(http.MethodGet, href, "", "")
	require.Equal(c.t, http.StatusOK, res.status, "GET %s: %s", href, res.body)
	return c.parse(res)
}

// signIn asks the token service as the digest shows.
func (c *client) signIn(tokenURL, user, password string) {
	c.t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	res := c.do(http.MethodPost, tokenURL, "application/x-www-form-urlencoded;charset=UTF-8", form.Encode())
	require.Equal(c.t, http.StatusOK, res.status, "%s", res.body)
	var ticket struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	require.NoError(c.t, json.Unmarshal(res.body, &ticket))
	require.Equal(c.t, "Bearer", ticket.TokenType)
	require.Positive(c.t, ticket.ExpiresIn)
	require.True(c.t, strings.HasPrefix(ticket.AccessToken, "cwt="))
	c.token = ticket.AccessToken
}

// application signs in as the demonstration's user and creates an application
// by following links from discovery.
func (c *client) application(d *demo.Demo) *node {
	c.t.Helper()
	c.signIn("/WebTicket/oauthtoken", d.Username, d.Password)
	user := c.get(c.get("/").link(c.t, "user"))
	return c.create(user.link(c.t, "applications"), "endpoint")
}

func (c *client) create(href, endpoint string) *node {
	c.t.Helper()
	contentType, body := asJSON, fmt.Sprintf(`{"UserAgent":"walk","EndpointId":%q,"Culture":"en-US"}`, endpoint)
	if c.accept == asXML {
		contentType = asXML
		body = fmt.Sprintf(`<input xmlns="http://schemas.microsoft.com/rtc/2012/03/ucwa"><property name="culture">en-US</property>`+
			`<property name="endpointId">%s</property><property name="userAgent">walk</property></input>`, endpoint)
	}
	res := c.do(http.MethodPost, href, contentType, body)
	require.Equal(c.t, http.StatusCreated, res.status, "%s", res.body)
	app := c.parse(res)
	require.Equal(c.t, app.href, res.header.Get("Location"))
	return app
}

// node is a resource as a client sees it, whatever the representation.
type node struct {
	rel, href  string
	properties map[string]any // string, or []any of strings
	links      map[string][]string
	embedded   map[string][]*node
	// single tells which rels were objects, not arrays (JSON only).
	single map[string]bool
}

func (n *node) link(t testing.TB, rel string) string {
	t.Helper()
	require.Len(t, n.links[rel], 1, "%s has one link %s: %v", n.rel, rel, n.links)
	return n.links[rel][0]
}

func (n *node) child(t testing.TB, rel string) *node {
	t.Helper()
	require.Len(t, n.embedded[rel], 1, "%s embeds one %s", n.rel, rel)
	return n.embedded[rel][0]
}

func (n *node) text(name string) string {
	s, _ := n.properties[name].(string)
	return s
}

func (c *client) parse(res response) *node {
	c.t.Helper()
	if strings.HasPrefix(res.header.Get("Content-Type"), asXML) {
		return parseXML(c.t, res.body)
	}
	require.True(c.t, strings.HasPrefix(res.header.Get("Content-Type"), asJSON), res.header.Get("Content-Type"))
	return parseJSON(c.t, res.body)
}

func parseJSON(t testing.TB, body []byte) *node {
	t.Helper()
	require.NotContains(t, string(body), "null", "absent data is left out")
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var m map[string]any
	require.NoError(t, d.Decode(&m), "%s", body)
	return jsonNode(t, m)
}

func jsonNode(t testing.TB, m map[string]any) *node {
	t.Helper()
	n := &node{properties: map[string]any{}, links: map[string][]string{}, embedded: map[string][]*node{}, single: map[string]bool{}}
	links, ok := m["_links"].(map[string]any)
	require.True(t, ok, "every resource has _links: %v", m)
	for rel, v := range links {
		list, many := v.([]any)
		if !many {
			list = []any{v}
			n.single[rel] = true
		}
		n.links[rel] = []string{}
		for _, l := range list {
			n.links[rel] = append(n.links[rel], l.(map[string]any)["href"].(string))
		}
	}
	n.href = n.link(t, "self")
	delete(n.links, "self")
	if all, ok := m["_embedded"].(map[string]any); ok {
		for rel, v := range all {
			list, many := v.([]any)
			if !many {
				list = []any{v}
				n.single[rel] = true
			}
			for _, e := range list {
				n.embedded[rel] = append(n.embedded[rel], jsonNode(t, e.(map[string]any)))
			}
		}
	}
	for name, v := range m {
		switch value := v.(type) {
		case string:
			n.properties[name] = value
		case []any:
			if len(value) == 0 {
				value = nil
			}
			n.properties[name] = value
		default:
			if name != "_links" && name != "_embedded" {
				n.properties[name] = fmt.Sprint(value)
			}
		}
	}
	n.rel = n.text("rel")
	return n
}

type xmlResource struct {
	Rel   string `xml:"rel,attr"`
	Href  string `xml:"href,attr"`
	Links []struct {
		Rel  string `xml:"rel,attr"`
		Href string `xml:"href,attr"`
	} `xml:"link"`
	Properties []struct {
		Name  string `xml:"name,attr"`
		Value string `xml:",chardata"`
	} `xml:"property"`
	Lists []struct {
		Name  string   `xml:"name,attr"`
		Items []string `xml:"item"`
	} `xml:"propertyList"`
	Resources []xmlResource `xml:"resource"`
}

func parseXML(t testing.TB, body []byte) *node {
	t.Helper()
	var r struct {
		XMLName xml.Name
		xmlResource
	}
	require.NoError(t, xml.Unmarshal(body, &r), "%s", body)
	require.Equal(t, xml.Name{Space: "http://schemas.microsoft.com/rtc/2012/03/ucwa", Local: "resource"}, r.XMLName)
	return xmlNode(r.xmlResource)
}

func xmlNode(r xmlResource) *node {
	n := &node{rel: r.Rel, href: r.Href, properties: map[string]any{}, links: map[string][]string{}, embedded: map[string][]*node{}}
	for _, l := range r.Links {
		n.links[l.Rel] = append(n.links[l.Rel], l.Href)
	}
	for _, p := range r.Properties {
		n.properties[p.Name] = p.Value
	}
	for _, l := range r.Lists {
		var items []any
		for _, i := range l.Items {
			items = append(items, i)
		}
		n.properties[l.Name] = items
	}
	for _, child := range r.Resources {
		n.embedded[child.Rel] = append(n.embedded[child.Rel], xmlNode(child))
	}
	return n
}

// simulator calls a control endpoint of the simulated tenant.
func simulator(t testing.TB, d *demo.Demo, method, path, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.SimulatorURL+path, strings.NewReader(body))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Less(t, res.StatusCode, 300, "%s %s: %s", method, path, read)
	return read
}

// golden compares with a file, or writes it with -update.
func golden(t testing.TB, update bool, name string, got []byte) {
	t.Helper()
	path := "testdata/golden/" + name
	if update {
		require.NoError(t, os.MkdirAll("testdata/golden", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), name)
}

// brief sends a P-GET that is given up after a moment; nil if it was held.
func (c *client) brief(href string) *response {
	ctx, cancel := context.WithTimeout(c.t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+href, nil)
	if err != nil {
		return nil
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil
	}
	return &response{res.StatusCode, res.Header, body}
}
