package graphsim

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inProcess carries requests to a handler without a socket, for tests in a
// bubble of fake time.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Host = r.URL.Host
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// caller is a client of a tenant.
type caller struct {
	t      *testing.T
	tenant *Tenant
	http   *http.Client
	root   string // without version
	token  string
	header http.Header
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func newTenant(t *testing.T, cfg Config) *Tenant {
	t.Helper()
	tenant, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(tenant.Close)
	return tenant
}

// inside is a caller with a token that needs no socket.
func inside(t *testing.T, cfg Config) *caller {
	t.Helper()
	tenant := newTenant(t, cfg)
	c := &caller{t: t, tenant: tenant, root: "http://graph.test", http: &http.Client{Transport: inProcess{tenant.Handler()}}, header: http.Header{}}
	c.token = c.fetchToken(nil)
	return c
}

// outside is a caller with a token over real HTTP.
func outside(t *testing.T, cfg Config) (*caller, *Server) {
	t.Helper()
	tenant := newTenant(t, cfg)
	server, err := tenant.Serve(ServeOptions{})
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	c := &caller{t: t, tenant: tenant, root: server.URL, http: &http.Client{Transport: transport}, header: http.Header{}}
	c.token = c.fetchToken(nil)
	return c, server
}

// with is a copy of the caller that sends another header.
func (c *caller) with(name, value string) *caller {
	other := *c
	other.header = c.header.Clone()
	other.header.Set(name, value)
	return &other
}

func (c *caller) as(token string) *caller {
	other := *c
	other.token = token
	return &other
}

// requestToken posts to the token endpoint; overrides replace the form of the
// client secret, and an empty value removes a parameter.
func (c *caller) requestToken(overrides url.Values) answer {
	tenantID, clientID, secret := c.tenant.Credentials()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret},
		"scope": {"https://graph.microsoft.com/.default"},
	}
	for name, values := range overrides {
		form[name] = values
		if values[0] == "" {
			form.Del(name)
		}
	}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.root+"/"+tenantID+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	require.NoError(c.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.send(r)
}

func (c *caller) fetchToken(overrides url.Values) string {
	got := c.requestToken(overrides)
	require.Equal(c.t, http.StatusOK, got.status, string(got.body))
	token, _ := got.json(c.t)["access_token"].(string)
	require.NotEmpty(c.t, token)
	return token
}

func (c *caller) send(r *http.Request) answer {
	response, err := c.http.Do(r)
	require.NoError(c.t, err)
	defer func() { require.NoError(c.t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return answer{response.StatusCode, response.Header, body}
}

// do sends a request to Graph (paths without version) or to a full URL.
func (c *caller) do(method, target string, body any) answer {
	c.t.Helper()
	return c.send(c.request(method, target, body))
}

func (c *caller) request(method, target string, body any) *http.Request {
	c.t.Helper()
	if !strings.HasPrefix(target, "http") && !strings.HasPrefix(target, "/sim/") {
		target = "/v1.0" + target
	}
	if !strings.HasPrefix(target, "http") {
		target = c.root + target
	}
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		require.NoError(c.t, err)
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, target, reader)
	require.NoError(c.t, err)
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	return r
}

func (c *caller) get(target string) answer {
	c.t.Helper()
	return c.do(http.MethodGet, target, nil)
}

func (c *caller) post(target string, body any) answer {
	c.t.Helper()
	return c.do(http.MethodPost, target, body)
}

// good reads JSON from a target that must answer 200.
func (c *caller) good(target string) map[string]any {
	c.t.Helper()
	got := c.get(target)
	require.Equal(c.t, http.StatusOK, got.status, string(got.body))
	return got.json(c.t)
}

// values is the list of a page.
func (c *caller) values(target string) []map[string]any {
	c.t.Helper()
	return list(c.t, c.good(target))
}

func list(t *testing.T, page map[string]any) []map[string]any {
	t.Helper()
	items, ok := page["value"].([]any)
	require.True(t, ok, "no list: %v", page)
	var all []map[string]any
	for _, item := range items {
		all = append(all, item.(map[string]any))
	}
	return all
}

// all follows the nextLinks of a list.
func (c *caller) all(target string) []map[string]any {
	c.t.Helper()
	var everything []map[string]any
	for target != "" {
		page := c.good(target)
		everything = append(everything, list(c.t, page)...)
		target, _ = page["@odata.nextLink"].(string)
	}
	return everything
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal(a.body, &out), string(a.body))
	return out
}

// code is the code of an OData error.
func (a answer) code(t *testing.T) string {
	t.Helper()
	e, ok := a.json(t)["error"].(map[string]any)
	require.True(t, ok, string(a.body))
	code, _ := e["code"].(string)
	return code
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func ids(t *testing.T, tenant *Tenant, from, count int) []string {
	t.Helper()
	var all []string
	for i := range count {
		all = append(all, tenant.User(from+i).ID)
	}
	return all
}

func tlsConfig(pool *x509.CertPool) *tls.Config { return &tls.Config{RootCAs: pool} }
