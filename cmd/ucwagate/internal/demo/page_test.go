package demo_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/ucwaapi/xframe/browsertest"
)

// inPage runs a script in a page and waits for what it promises.
func inPage[T any](t *testing.T, browser context.Context, page, script string) T {
	t.Helper()
	tab, closeTab := chromedp.NewContext(browser)
	defer closeTab()
	ctx, cancel := context.WithTimeout(tab, time.Minute)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(page)))
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	return got
}

// TestAWebApplicationOfAnotherOrigin runs a page in a real browser that walks
// from discovery to events and back, through the frame and by itself; the same
// page of an origin that is not allowed gets nowhere.
func TestAWebApplicationOfAnotherOrigin(t *testing.T) {
	pages := http.FileServer(http.Dir("testdata/pages"))
	allowed, foreign := httptest.NewServer(pages), httptest.NewServer(pages)
	t.Cleanup(allowed.Close)
	t.Cleanup(foreign.Close)
	// Another site than the gateway's: the browser keeps them apart.
	origin := strings.Replace(allowed.URL, "127.0.0.1", "localhost", 1)
	d := start(t, func(c *config.Config) { c.Server.AllowedOrigins = []string{origin} })
	setPresence(t, d, d.Contacts[0].URI, "Busy", "Busy")
	browser := browsertest.Start(t)
	page := func(origin string) string { return origin + "/walk.html?gateway=" + url.QueryEscape(d.BaseURL) }

	for name, direct := range map[string]bool{"through the frame": false, "by itself": true} {
		t.Run("an allowed page does it all "+name, func(t *testing.T) {
			got := inPage[[]string](t, browser, page(origin), fmt.Sprintf("walk(%q, %q, %t)", d.Username, d.Password, direct))
			require.Len(t, got, 2)
			require.NotEmpty(t, got[0])
			require.Equal(t, "Through the page", got[1])
		})
		t.Run("a foreign page gets nowhere "+name, func(t *testing.T) {
			got := inPage[string](t, browser, page(foreign.URL), fmt.Sprintf("refusedWalk(%t)", direct))
			if direct {
				require.Contains(t, got, "failed")
			} else {
				require.Equal(t, "no answer", got)
			}
		})
	}
}

// TestCrossOriginRequests looks at what a browser is told.
func TestCrossOriginRequests(t *testing.T) {
	const page = "https://intranet.example.com"
	d := start(t, func(c *config.Config) { c.Server.AllowedOrigins = []string{page} })
	c := newClient(t, d, asJSON)
	app := c.application(d)
	from := func(origin string, more ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Origin", origin)
			for i := 0; i < len(more); i += 2 {
				r.Header.Set(more[i], more[i+1])
			}
		}
	}
	preflight := []string{"Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization,x-ms-origin"}
	anonymous := newClient(t, d, asJSON)
	res := anonymous.do(http.MethodOptions, app.href, "", "", from(page, preflight...))
	require.Equal(t, http.StatusNoContent, res.status)
	require.Equal(t, page, res.header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, res.header.Get("Access-Control-Allow-Methods"), "DELETE")
	require.Equal(t, "authorization,x-ms-origin", res.header.Get("Access-Control-Allow-Headers"))
	for _, foreign := range []string{"https://evil.example.com", "null", "http://intranet.example.com"} {
		res = anonymous.do(http.MethodOptions, app.href, "", "", from(foreign, preflight...))
		require.Empty(t, res.header.Get("Access-Control-Allow-Origin"), foreign)
		res = c.do(http.MethodGet, app.href, "", "", from(foreign))
		requireReason(t, res, http.StatusForbidden, "Forbidden", "")
		require.Contains(t, res.header["X-Ms-Diagnostics"][0], "Cross-domain requests from this origin are not allowed")
		require.Empty(t, res.header.Get("Access-Control-Allow-Origin"))
	}
	res = c.do(http.MethodGet, app.href, "", "", from(page))
	require.Equal(t, http.StatusOK, res.status)
	require.Equal(t, page, res.header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, res.header.Get("Access-Control-Expose-Headers"), "X-Ms-diagnostics")
	require.Equal(t, []string{"Origin", "Accept-Encoding"}, res.header.Values("Vary"))
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, app.href, "", "", from(d.BaseURL)).status, "the frame's own requests")
	require.Empty(t, c.do(http.MethodGet, app.href, "", "").header.Get("Access-Control-Allow-Origin"))
}

func TestTheFrameIsServedWhereClientsLookForIt(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Server.AllowedOrigins = []string{"https://intranet.example.com"} })
	c := newClient(t, d, asJSON)
	c.signIn("/WebTicket/oauthtoken", d.Username, d.Password)
	root := c.get("/")
	frame := root.link(t, "xframe")
	require.Equal(t, frame, c.get(root.link(t, "user")).link(t, "xframe"), "a different one would make clients load it anew")
	c.token = ""
	for _, href := range []string{frame, d.BaseURL + "/xframe", strings.ToLower(frame), d.BaseURL + "/Autodiscover/AutodiscoverService.svc/root/xframe"} {
		res := c.do(http.MethodGet, href, "", "", func(r *http.Request) { r.Header.Set("Accept", "text/html") })
		require.Equal(t, http.StatusOK, res.status, href)
		require.True(t, strings.HasPrefix(res.header.Get("Content-Type"), "text/html"))
		require.Empty(t, res.header.Get("X-Frame-Options"))
		require.Contains(t, res.header.Get("Content-Security-Policy"), "frame-ancestors 'self' "+d.BaseURL+" https://intranet.example.com")
		require.Contains(t, res.header.Get("Content-Security-Policy"), "default-src 'none'")
	}
}
