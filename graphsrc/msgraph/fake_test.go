package msgraph

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testTenant = "11111111-2222-3333-4444-555555555555"
	testClient = "66666666-7777-8888-9999-000000000000"
	testSecret = "s3cr3t-value"
	idAna      = "aaaaaaaa-0000-0000-0000-000000000001"
	idBen      = "bbbbbbbb-0000-0000-0000-000000000002"
)

// fake is the least of Entra ID and Graph: one TLS server that issues numbered
// tokens and accepts the newest of them.
type fake struct {
	server *httptest.Server
	graph  http.HandlerFunc // answers a request whose token was accepted
	tokens func(http.ResponseWriter, url.Values) bool

	mu       sync.Mutex
	requests []seen
	asked    []url.Values // forms of token requests
}

// seen is one request that reached Graph.
type seen struct {
	method, uri, body, proto string
	header                   http.Header
	length                   int64
	chunked                  bool
}

func newFake(t testing.TB, graph http.HandlerFunc) *fake {
	f := &fake{graph: graph}
	f.server = httptest.NewUnstartedServer(f)
	f.server.EnableHTTP2 = true
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0) // broken-off handshakes are meant
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1.0/"):
		f.serveGraph(w, r)
	case r.URL.Path == "/"+testTenant+"/v2.0/.well-known/openid-configuration":
		root := f.server.URL + "/" + testTenant
		reply(w, 200, fmt.Sprintf(`{"token_endpoint":"%[1]s/oauth2/v2.0/token","authorization_endpoint":"%[1]s/authorize","issuer":"%[1]s/v2.0"}`, root))
	case r.URL.Path == "/"+testTenant+"/oauth2/v2.0/token":
		f.serveToken(w, r)
	default:
		reply(w, 404, `{}`)
	}
}

func (f *fake) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.ParseForm() != nil {
		reply(w, 400, `{}`)
		return
	}
	f.mu.Lock()
	f.asked = append(f.asked, r.PostForm)
	number, hook := len(f.asked), f.tokens
	f.mu.Unlock()
	if hook != nil && hook(w, r.PostForm) {
		return
	}
	reply(w, 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":3600,"access_token":"%s"}`, testToken(number)))
}

func testToken(number int) string {
	payload := fmt.Sprintf(`{"n":%d,"roles":["Presence.Read.All","User.Read.All"]}`, number)
	return tokenOf(payload)
}

func tokenOf(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func (f *fake) serveGraph(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.requests = append(f.requests, seen{
		r.Method, r.RequestURI, string(body), r.Proto, r.Header.Clone(), r.ContentLength, len(r.TransferEncoding) > 0,
	})
	newest := "Bearer " + testToken(len(f.asked))
	f.mu.Unlock()
	w.Header().Set("request-id", "rid")
	if r.Header.Get("Authorization") != newest {
		reply(w, 401, `{"error":{"code":"InvalidAuthenticationToken","message":"m"}}`)
		return
	}
	f.graph(w, r)
}

func (f *fake) sent() []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]seen(nil), f.requests...)
}

func (f *fake) tokenRequests() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]url.Values(nil), f.asked...)
}

// onToken sets what answers token requests instead of the fake; it returns
// false to leave one to the fake.
func (f *fake) onToken(hook func(http.ResponseWriter, url.Values) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens = hook
}

func (f *fake) config() Config {
	roots := x509.NewCertPool()
	roots.AddCert(f.server.Certificate())
	return Config{
		TenantID: testTenant, ClientID: testClient, Cloud: CloudCustom,
		GraphURL: f.server.URL, Authority: f.server.URL, RootCAs: roots,
		Credential: Credential{Kind: CredentialSecret, Secret: testSecret},
	}
}

// meter counts physical sends as the budget would, and shows each to look.
type meter struct {
	sends atomic.Int64
	look  func(*http.Request) error
	next  http.RoundTripper
}

func (m *meter) wrap(next http.RoundTripper) http.RoundTripper {
	m.next = next
	return m
}

func (m *meter) RoundTrip(req *http.Request) (*http.Response, error) {
	m.sends.Add(1)
	if m.look != nil {
		if err := m.look(req); err != nil {
			return nil, err
		}
	}
	return m.next.RoundTrip(req)
}

// handClock is a clock that a test moves.
type handClock struct {
	clock.Clock
	ahead atomic.Int64
}

func (c *handClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *handClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func start(t testing.TB, cfg Config) (*Client, *meter, *handClock) {
	m, clk := &meter{}, &handClock{Clock: clock.System()}
	c, err := newClient(cfg, m.wrap, nil, clk)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, m, clk
}

// serve returns a client of a fake whose Graph is handler.
func serve(t testing.TB, handler http.HandlerFunc) (*Client, *fake, *meter) {
	f := newFake(t, handler)
	c, m, _ := start(t, f.config())
	return c, f, m
}

// countNew counts the connections a server accepts.
func countNew(n *atomic.Int64) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.Add(1)
		}
	}
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func always(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		reply(w, status, body)
	}
}

func asError(t testing.TB, err error) *graphsrc.Error {
	var e *graphsrc.Error
	require.ErrorAs(t, err, &e)
	return e
}

func requireKind(t testing.TB, kind graphsrc.Kind, err error) *graphsrc.Error {
	e := asError(t, err)
	require.Equal(t, kind.String(), e.Kind.String(), "%v", e)
	require.NotEmpty(t, e.Op)
	return e
}
