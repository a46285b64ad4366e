package delegated

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/graphsim"
	"ucwagate/graphsrc/msgraph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is a simulated tenant with a folder for sign-ins.
type place struct {
	tenant *graphsim.Tenant
	graph  msgraph.Config
	file   string
}

func newPlace(t *testing.T, cfg graphsim.Config) *place {
	cfg.Still = true
	tenant, err := graphsim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(tenant.Close)
	server, err := tenant.Serve(graphsim.ServeOptions{})
	require.NoError(t, err)
	tenantID, clientID, _ := tenant.Credentials()
	return &place{tenant: tenant, file: filepath.Join(t.TempDir(), "helper.json"), graph: msgraph.Config{
		TenantID: tenantID, ClientID: clientID, Cloud: msgraph.CloudCustom,
		GraphURL: server.TLSURL, Authority: server.TLSURL, RootCAs: server.CertPool,
	}}
}

// member is an account on a place's file, whose clock a test moves and whose
// token requests it sees.
type member struct {
	*Account
	clock *handClock
	wire  *wire
	log   *logText
}

// open is what a process does that uses the file.
func (p *place) open(t *testing.T) *member {
	m := &member{clock: &handClock{Clock: clock.System()}, log: &logText{}}
	a, err := New(Options{Graph: p.graph, File: p.file, Clock: m.clock, Logger: slog.New(slog.NewTextHandler(m.log, nil))})
	require.NoError(t, err)
	t.Cleanup(a.Close)
	m.Account, m.wire = a, &wire{next: a.platform.HTTP.Transport}
	a.platform.HTTP.Transport = m.wire
	return m
}

// signIn signs a user in, who is quick to enter the code.
func (p *place) signIn(t *testing.T, m *member, user string) {
	name, err := m.SignIn(t.Context(), func(_, _, code string, _ time.Time) {
		require.NoError(t, p.tenant.ApproveDevice(code, user))
	})
	require.NoError(t, err)
	require.Equal(t, user, name)
}

// ana and ben are two people of the tenant.
func (p *place) ana() graphsim.User { return p.tenant.User(0) }
func (p *place) ben() graphsim.User { return p.tenant.User(1) }

// hasty makes tokens end so early that each is replaced when it is asked for,
// and refuses a refresh token that is used twice.
func (p *place) hasty(t *testing.T) {
	require.NoError(t, p.tenant.SetFaults(graphsim.Faults{Auth: graphsim.AuthFault{TokenExpiry: 60, RefreshOnce: true}}))
}

func (m *member) token(t *testing.T) string {
	token, err := m.GetToken(t.Context(), policy.TokenRequestOptions{})
	require.NoError(t, err)
	return token.Token
}

func (m *member) refused(t *testing.T, kind graphsrc.Kind) *graphsrc.Error {
	_, err := m.GetToken(t.Context(), policy.TokenRequestOptions{})
	var e *graphsrc.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, kind.String(), e.Kind.String(), "%v", e)
	require.NotEmpty(t, e.Op)
	return e
}

// wire counts the requests to the token and device endpoints and lets a test
// answer them.
type wire struct {
	next   http.RoundTripper
	tokens atomic.Int64

	mu    sync.Mutex
	reply func(*http.Request) (*http.Response, error) // nil, nil: goes on
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		w.tokens.Add(1)
	}
	w.mu.Lock()
	reply := w.reply
	w.mu.Unlock()
	if reply != nil {
		if resp, err := reply(r); resp != nil || err != nil {
			return resp, err
		}
	}
	return w.next.RoundTrip(r)
}

func (w *wire) CloseIdleConnections() {
	if c, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// answer sets what answers requests from now on; nil is nobody.
func (w *wire) answer(reply func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reply = reply
}

// onToken answers token requests.
func (w *wire) onToken(status int, body string, header ...string) {
	w.answer(func(r *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/token") {
			return nil, nil
		}
		return made(r, status, body, header...), nil
	})
}

func made(r *http.Request, status int, body string, header ...string) *http.Response {
	resp := &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	for i := 0; i+1 < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// handClock is a clock that a test moves.
type handClock struct {
	clock.Clock
	ahead atomic.Int64
}

func (c *handClock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *handClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// logText is a log that may be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logText) count(part string) int { return strings.Count(l.String(), part) }

// on calls f with a context that ends soon.
func on(t *testing.T, lasts time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	f(ctx)
}
