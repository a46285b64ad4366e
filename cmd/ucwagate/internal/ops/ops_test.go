package ops

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPaths(t *testing.T) {
	s := newServer(t, nil)
	s.Started()
	for _, c := range []struct {
		name, method, path string
		status             int
		contentType, body  string
	}{
		{"the page", "GET", "/", 200, "text/html; charset=utf-8", "<h2>contoso</h2>"},
		{"its numbers", "GET", "/status.json", 200, "application/json; charset=utf-8", `"name":"contoso"`},
		{"its style", "GET", "/status.css", 200, "text/css; charset=utf-8", "color-scheme"},
		{"its script", "GET", "/status.js", 200, "text/javascript; charset=utf-8", "/status.json"},
		{"its icon", "GET", "/icon.svg", 200, "image/svg+xml", "<svg"},
		{"metrics", "GET", "/metrics", 200, "text/plain; charset=utf-8", "metrics\n"},
		{"liveness", "GET", "/livez", 200, "text/plain; charset=utf-8", "ok\n"},
		{"liveness by HEAD", "HEAD", "/livez", 200, "text/plain; charset=utf-8", ""},
		{"readiness", "GET", "/readyz?verbose", 200, "text/plain; charset=utf-8", "ready\n"},
		{"start-up", "GET", "/startupz", 200, "text/plain; charset=utf-8", "ok\n"},
		{"an unknown path", "GET", "/nothing", 404, "text/plain; charset=utf-8", "not found"},
		{"a path below a page", "GET", "/livez/", 404, "text/plain; charset=utf-8", "not found"},
		{"another spelling", "GET", "//livez", 404, "text/plain; charset=utf-8", "not found"},
		{"profiles that are off", "GET", "/debug/pprof/", 404, "text/plain; charset=utf-8", "not found"},
		{"a POST", "POST", "/", 405, "text/plain; charset=utf-8", "only GET"},
		{"a DELETE of metrics", "DELETE", "/metrics", 405, "text/plain; charset=utf-8", "only GET"},
		{"an OPTIONS", "OPTIONS", "/status.json", 405, "text/plain; charset=utf-8", "only GET"},
		{"a POST to nowhere", "POST", "/nothing", 404, "text/plain; charset=utf-8", "not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := do(s, c.method, c.path)
			require.Equal(t, c.status, w.Code)
			require.Equal(t, c.contentType, w.Header().Get("Content-Type"))
			if c.method != http.MethodHead {
				require.Contains(t, w.Body.String(), c.body)
			}
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			policy := w.Header().Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'none'; script-src 'self';")
			require.NotContains(t, policy, "unsafe")
			require.NotContains(t, policy, "http")
			if c.status == http.StatusMethodNotAllowed {
				require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
			}
		})
	}
}

func TestAHEADHasNoBody(t *testing.T) {
	server := httptest.NewServer(newServer(t, nil))
	defer server.Close()
	for _, path := range []string{"/", "/livez", "/readyz", "/status.json"} {
		answer, err := server.Client().Head(server.URL + path)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Positive(t, answer.ContentLength, path)
	}
	server.Client().CloseIdleConnections()
}

func TestProfilesAreThereWhenSwitchedOn(t *testing.T) {
	s := newServer(t, func(o *Options) { o.Profiling = true })
	require.Contains(t, do(s, "GET", "/debug/pprof/").Body.String(), "heap")
	require.Contains(t, do(s, "GET", "/debug/pprof/goroutine?debug=1").Body.String(), "goroutine profile")
	require.Equal(t, http.StatusOK, do(s, "GET", "/debug/pprof/cmdline").Code)
	require.Equal(t, http.StatusMethodNotAllowed, do(s, "POST", "/debug/pprof/symbol").Code)
	require.Equal(t, http.StatusNotFound, do(s, "GET", "/debug/pprof/nothing").Code)
	require.Equal(t, http.StatusNotFound, do(s, "GET", "/debug/vars").Code)
}

func TestMetricsMayBeAbsent(t *testing.T) {
	require.Equal(t, http.StatusNotFound, do(newServer(t, func(o *Options) { o.Metrics = nil }), "GET", "/metrics").Code)
}

func TestThePageLoadsNothingFromElsewhereAndHasNoInlineCode(t *testing.T) {
	page := do(newServer(t, nil), "GET", "/").Body.String()
	for _, file := range []string{page, string(styleSheet), string(script)} {
		require.NotContains(t, strings.ReplaceAll(file, `xmlns="http://www.w3.org/2000/svg"`, ""), "://")
	}
	require.NotContains(t, page, "style=")
	require.NotContains(t, page, "<style")
	require.NotRegexp(t, `<script>|\son[a-z]+=`, page)
	require.Contains(t, page, `name="viewport"`)
}

func TestTextsAreEscaped(t *testing.T) {
	s := newServer(t, func(o *Options) { o.Tenants = []NamedTenant{{`<script>"`, contoso()}} })
	page := do(s, "GET", "/").Body.String()
	require.NotContains(t, page, "<script>")
	require.Contains(t, page, "&lt;script&gt;")
}

func TestNewRefusesWhatCannotBeShown(t *testing.T) {
	for name, o := range map[string]Options{
		"a tenant without a name":   {Tenants: []NamedTenant{{"", contoso()}}},
		"a tenant that is not here": {Tenants: []NamedTenant{{"a", nil}}},
		"two tenants of one name":   {Tenants: []NamedTenant{{"a", contoso()}, {"a", contoso()}}},
		"a component without check": {Components: []Component{{Name: "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(o)
			require.Error(t, err)
		})
	}
}
