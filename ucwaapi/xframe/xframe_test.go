package xframe

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func get(t *testing.T, h http.Handler, method string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "https://gw.example.com/Autodiscover/XFrame/XFrame.html", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func newHandler(t *testing.T, o Options) http.Handler {
	t.Helper()
	h, err := New(o)
	require.NoError(t, err)
	return h
}

func TestPageAnswers(t *testing.T) {
	h := newHandler(t, Options{AllowedOrigins: []string{"https://app.example.com"}})
	etag := get(t, h, http.MethodGet).Header().Get("ETag")
	tests := []struct {
		name, method string
		header       []string
		status       int
		body, allow  bool
	}{
		{"GET gets the page", http.MethodGet, nil, 200, true, false},
		{"HEAD gets its headers", http.MethodHead, nil, 200, false, false},
		{"a known page is not sent again", http.MethodGet, []string{"If-None-Match", etag}, 304, false, false},
		{"a compressing proxy may weaken the tag", http.MethodGet, []string{"If-None-Match", "W/" + etag}, 304, false, false},
		{"an old page is replaced", http.MethodGet, []string{"If-None-Match", `"old"`}, 200, true, false},
		{"a client that wants HTML gets it", http.MethodGet, []string{"Accept", "text/html"}, 200, true, false},
		{"POST is not a method of the page", http.MethodPost, nil, 405, true, true},
		{"OPTIONS is not a method of the page", http.MethodOptions, nil, 405, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := get(t, h, tt.method, tt.header...)
			require.Equal(t, tt.status, w.Code)
			require.Equal(t, tt.body, w.Body.Len() > 0)
			require.Equal(t, tt.allow, w.Header().Get("Allow") == "GET, HEAD")
			if tt.status == 405 {
				return
			}
			require.Equal(t, etag, w.Header().Get("ETag"))
			require.Equal(t, "private, no-cache", w.Header().Get("Cache-Control"))
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
			require.NotEmpty(t, w.Header().Get("Content-Security-Policy"))
			require.Empty(t, w.Header().Values("X-Frame-Options"))
			if tt.status == 200 {
				require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
				length, err := strconv.Atoi(w.Header().Get("Content-Length"))
				require.NoError(t, err)
				require.Greater(t, length, 1000)
				if tt.body {
					require.Equal(t, w.Body.Len(), length)
				}
			}
		})
	}
}

func TestPolicyNamesTheScriptAndTheOrigins(t *testing.T) {
	own := func(r *http.Request) string { return r.Header.Get("Test-Own") }
	tests := []struct {
		name      string
		allowed   []string
		own       string
		ancestors string
		meta      string
	}{
		{"an empty list leaves the gateway's own pages", nil, "", "'self'", ""},
		{
			"origins are normalised, sorted and listed once",
			[]string{" HTTPS://B.Example.com:443/", "https://b.example.com", "http://a.example.com:8080"},
			"", "'self' http://a.example.com:8080 https://b.example.com", "http://a.example.com:8080 https://b.example.com",
		},
		{
			"the gateway's own origin joins the list",
			[]string{"https://b.example.com"},
			"https://A.example.com:443", "'self' https://a.example.com https://b.example.com", "https://a.example.com https://b.example.com",
		},
		{
			"an own origin that is on the list is not listed twice",
			[]string{"https://b.example.com"},
			"https://b.example.com", "'self' https://b.example.com", "https://b.example.com",
		},
		{
			"an own origin that could write directives is left out",
			[]string{"https://b.example.com"},
			"https://x;script-src *", "'self' https://b.example.com", "https://b.example.com",
		},
		{
			"an own origin that could write markup is left out",
			nil, `https://"><script>alert(1)</script>`, "'self'", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := get(t, newHandler(t, Options{AllowedOrigins: tt.allowed, Own: own}), http.MethodGet, "Test-Own", tt.own)
			body := w.Body.String()
			script := body[strings.Index(body, scriptStart)+len(scriptStart) : strings.Index(body, scriptEnd)]
			sum := sha256.Sum256([]byte(script))
			require.Equal(t, "default-src 'none'; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
				"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "+tt.ancestors,
				w.Header().Get("Content-Security-Policy"))
			require.Contains(t, body, `<meta name="allowed-origins" content="`+tt.meta+`">`)
			require.Equal(t, 1, strings.Count(body, "<script"))
		})
	}
}

func TestEachListHasItsOwnETag(t *testing.T) {
	etag := func(origins ...string) string {
		return get(t, newHandler(t, Options{AllowedOrigins: origins}), http.MethodGet).Header().Get("ETag")
	}
	require.Equal(t, etag("https://a.example", "https://b.example"), etag("https://B.example:443", "https://a.example"))
	require.NotEqual(t, etag("https://a.example"), etag("https://b.example"))
	require.NotEqual(t, etag("https://a.example"), etag())
}

// With and without an own origin, one handler must not hand out the page of
// another request.
func TestOwnOriginOfOneRequestDoesNotStay(t *testing.T) {
	h := newHandler(t, Options{
		AllowedOrigins: []string{"https://z.example"},
		Own:            func(r *http.Request) string { return r.Header.Get("Test-Own") },
	})
	plain := get(t, h, http.MethodGet).Body.String()
	with := get(t, h, http.MethodGet, "Test-Own", "https://a.example").Body.String()
	require.Contains(t, with, "https://a.example")
	require.Equal(t, plain, get(t, h, http.MethodGet).Body.String())
	require.NotContains(t, plain, "https://a.example")
}

func TestNewNamesEveryUnusableOrigin(t *testing.T) {
	tests := []struct{ name, origin, want string }{
		{"a pattern for everybody", "*", "patterns are not supported"},
		{"a pattern for a domain", "https://*.example.com", "patterns are not supported"},
		{"the origin of sandboxed frames", "null", "scheme"},
		{"nothing", "", "scheme"},
		{"a host alone", "app.example.com", "scheme"},
		{"a keyword of the policy", "'unsafe-inline'", "scheme"},
		{"another scheme", "ftp://app.example.com", "scheme"},
		{"a scheme without a host", "https://", "host is missing"},
		{"a port without a host", "https://:8443", "host is missing"},
		{"a path", "https://app.example.com/app", "nothing more"},
		{"a query", "https://app.example.com?x", "nothing more"},
		{"an empty query", "https://app.example.com/?", "nothing more"},
		{"a fragment", "https://app.example.com#x", "nothing more"},
		{"a user name", "https://user@app.example.com", "nothing more"},
		{"no slashes", "https:app.example.com", "nothing more"},
		{"a directive", "https://app.example.com;script-src", "host may have"},
		{"two origins in one", "https://a.example,https://b.example", "nothing more"},
		{"a space inside", "https://a.example b.example", "not a URL"},
		{"a line break inside", "https://a.example\r\nX: y", "not a URL"},
		{"an IPv6 address", "http://[::1]:8080", "IPv6"},
		{"an underscore", "http://my_app:3000", "host may have"},
		{"another script", "https://bücher.example", "host may have"},
		{"a dot at the end", "https://app.example.com.", "empty part"},
		{"two dots", "https://app..example.com", "empty part"},
		{"a host that is too long", "https://" + strings.Repeat("a.", 127) + "b", "too long"},
		{"a port of no number", "https://app.example.com:https", "not a URL"},
		{"port 0", "https://app.example.com:0", "port"},
		{"a port beyond 65535", "https://app.example.com:65536", "port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(Options{AllowedOrigins: []string{"https://good.example", tt.origin}})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, strconv.Quote(tt.origin))
		})
	}
	_, err := New(Options{AllowedOrigins: []string{"one", "two"}})
	require.ErrorContains(t, err, `"one"`)
	require.ErrorContains(t, err, `"two"`)
}

func TestNormalizeOrigin(t *testing.T) {
	for given, want := range map[string]string{
		"https://App.Example.com":          "https://app.example.com",
		" https://app.example.com/ ":       "https://app.example.com",
		"https://app.example.com:443":      "https://app.example.com",
		"http://app.example.com:80":        "http://app.example.com",
		"http://app.example.com:443":       "http://app.example.com:443",
		"https://app.example.com:":         "https://app.example.com",
		"https://app.example.com:08443":    "https://app.example.com:8443",
		"http://localhost:3000":            "http://localhost:3000",
		"http://127.0.0.1:3000":            "http://127.0.0.1:3000",
		"https://xn--bcher-kva.example":    "https://xn--bcher-kva.example",
		"https://xn--bcher-kva.example:99": "https://xn--bcher-kva.example:99",
	} {
		got, err := normalizeOrigin(given)
		require.NoError(t, err, given)
		require.Equal(t, want, got)
	}
}

// Whatever is accepted is harmless in a header and in an attribute, and is
// accepted again as it is.
func TestNormalizedOriginsAreSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`(https?|ftp)://[a-zA-Z0-9.:@/?#;'" *_\[\]-]{0,20}(:[0-9]{0,6})?/?`),
		).Draw(t, "origin")
		origin, err := normalizeOrigin(text)
		if err != nil {
			return
		}
		require.Regexp(t, `^https?://[a-z0-9-]+(\.[a-z0-9-]+)*(:[1-9][0-9]{0,4})?$`, origin)
		again, err := normalizeOrigin(origin)
		require.NoError(t, err)
		require.Equal(t, origin, again)
	})
}

func TestParseRefusesAPageItCannotServe(t *testing.T) {
	for page, want := range map[string]string{
		"<script>x</script>":                         "no place for the allowed origins",
		"{{allowed-origins}}":                        "no script",
		"<script>x</script>{{allowed-origins}}":      "no script",
		"{{allowed-origins}}<script>x":               "no end",
		"{{allowed-origins}}<script src=x></script>": "no script",
	} {
		_, _, _, err := parse(page)
		require.ErrorContains(t, err, want, page)
	}
	_, _, unix, err := parse("{{allowed-origins}}<script>a\nb</script>")
	require.NoError(t, err)
	_, _, dos, err := parse("{{allowed-origins}}<script>a\r\nb</script>")
	require.NoError(t, err)
	require.Equal(t, unix, dos, "browsers hash the script with line feeds")
}
