package exampletest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// What may happen to a P-GET on its way.
const (
	asleep   = "the gateway is away for a moment"
	cut      = "the connection breaks"
	stranger = "the ticket is not good any more"
	behind   = "the client has missed events"
	resumed  = "the client was silent for long, and its subscriptions are about to expire"
)

// middle stands between a client and the gateway. Each P-GET meets one of the
// troubles, in their order, until there are none left.
type middle struct {
	*httptest.Server

	mu       sync.Mutex
	troubles []string
	asked    []string // what the gateway has answered with a success: method and kind of path
}

func newMiddle(t *testing.T, gateway string, troubles ...string) *middle {
	t.Helper()
	to, err := url.Parse(gateway)
	require.NoError(t, err)
	transport := &http.Transport{}
	m := &middle{troubles: troubles}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host                 // the gateway's links lead back here
			r.Out.Header.Del("Accept-Encoding")    // answers are read here
			r.Out.URL.RawQuery = r.In.URL.RawQuery // as it is
		},
		ModifyResponse: m.note,
		// Who ends while a P-GET is held is no trouble.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {},
	}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isPGet(r) {
			proxy.ServeHTTP(w, r)
			return
		}
		switch trouble := m.next(); trouble {
		case asleep:
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "<html>a page of a proxy</html>")
		case cut:
			panic(http.ErrAbortHandler)
		case stranger:
			r.Header.Del("Authorization")
			proxy.ServeHTTP(w, r)
		case behind:
			r.URL.RawQuery = "ack=0"
			proxy.ServeHTTP(w, r)
		case resumed:
			r.Header.Set(resumedHeader, "1")
			proxy.ServeHTTP(w, r)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		m.CloseClientConnections()
		m.Close()
		transport.CloseIdleConnections()
	})
	return m
}

// resumedHeader marks the request whose answer becomes that of a resumed
// client; the gateway does not know it.
const resumedHeader = "X-Resumed"

func isPGet(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/events") }

func (m *middle) next() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.troubles) == 0 {
		return ""
	}
	trouble := m.troubles[0]
	m.troubles = m.troubles[1:]
	return trouble
}

var (
	applicationPath = regexp.MustCompile(`/applications/[0-9]+$`)
	subscription    = regexp.MustCompile(`/presenceSubscriptions/[0-9a-f]+$`)
	subscriptionNew = regexp.MustCompile(`(/presenceSubscriptions/[0-9a-f]+"},"type":)"added"`)
)

// note keeps what succeeded, and makes the answer of a resumed client.
func (m *middle) note(res *http.Response) error {
	if res.Request.Header.Get(resumedHeader) != "" {
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		body = bytes.Replace(body, []byte(`"next":`), []byte(`"resume":`), 1)
		body = subscriptionNew.ReplaceAll(body, []byte(`${1}"updated"`))
		res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := res.Request
	switch path := r.URL.Path; {
	case r.Method == http.MethodPost && subscription.MatchString(path) && r.URL.Query().Get("duration") == "30":
		m.asked = append(m.asked, "extend")
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/presenceSubscriptions"):
		m.asked = append(m.asked, "subscribe")
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/applications"):
		m.asked = append(m.asked, "create")
	case r.Method == http.MethodDelete && applicationPath.MatchString(path):
		m.asked = append(m.asked, "delete")
	}
	return nil
}

// seen returns what succeeded, in its order.
func (m *middle) seen() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}
