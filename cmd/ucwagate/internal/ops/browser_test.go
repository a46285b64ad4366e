package ops

import (
	"context"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"ucwagate/ucwaapi/xframe/browsertest"
)

// busy is a gateway that has run for more than the time of the plot.
func busy(t *testing.T) (*Server, *handClock, *fakeTenant) {
	t.Helper()
	clk := newHandClock(time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC))
	first, second := contoso(), contoso()
	second.budget = Budget{Used: 96, Limit: 1350, Rate: 22.5, PlanRate: 45, Throttled: 41}
	second.presence = Presence{
		Interval: 20 * time.Second, Sweep: 21 * time.Second, Oldest: 22 * time.Second, Mean: 9 * time.Second, Bound: 41 * time.Second,
		Tiers: []Tier{{"hot", 12, 20 * time.Second}, {"normal", 320, 20 * time.Second}, {"quiet", 88, 20 * time.Second}, {"pushed", 0, 5 * time.Minute}},
	}
	problems := NewErrors(clk)
	s := newServer(t, func(o *Options) {
		o.Clock, o.Errors = clk, problems
		o.Tenants = []NamedTenant{{"contoso", first}, {"fabrikam-europe", second}}
	})
	s.Start(t.Context())
	s.Started()
	for i := range int(plotSpan/time.Second) + 30 {
		x := float64(i)
		first.use(int(520 + 260*math.Sin(x/31) + 90*math.Sin(x/5.3)))
		second.use(int(140 + 60*math.Sin(x/47)))
		switch i {
		case 40:
			problems.Record(Problem{"fabrikam-europe", CausePermission, AreaPhotos})
		case 200, 230, 260:
			problems.Record(Problem{"fabrikam-europe", CauseThrottled, AreaPresence})
		case 290:
			problems.Record(Problem{"contoso", CauseTimeout, AreaUsers})
		}
		pass(clk)
	}
	return s, clk, first
}

// pass lets a second pass once the sampler waits for it, and waits for its
// sample: then its next timer is armed.
func pass(clk *handClock) {
	<-clk.armed
	clk.advance(time.Second)
}

func TestThePageInABrowser(t *testing.T) {
	s, clk, tenant := busy(t)
	site := httptest.NewServer(s)
	t.Cleanup(site.Close)
	browser := browsertest.Start(t)
	for _, c := range []struct {
		name          string
		width, height int64
		scheme        string
		picture       string // suffix of the file
	}{
		{"a phone by day", 390, 844, "light", "-phone"},
		{"a phone by night", 390, 844, "dark", "-phone-dark"},
		{"a desk by day", 1280, 800, "light", ""},
		{"a desk by night", 1280, 800, "dark", "-dark"},
		{"a small phone", 320, 568, "light", "-small"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := open(t, browser)
			require.NoError(t, chromedp.Do(tab, chromedp.EmulateViewport(c.width, c.height), prefer(c.scheme)))
			require.NoError(t, chromedp.Do(tab, chromedp.Navigate(site.URL)))
			require.True(t, ask[bool](t, tab, `document.documentElement.scrollWidth <= document.documentElement.clientWidth`), "something overflows the window")
			require.Empty(t, ask[[]string](t, tab, overflowing), "something overflows its box")
			require.NotEqual(t, "0px", ask[string](t, tab, `getComputedStyle(document.querySelector(".card")).borderRadius`), "the style is missing")
			require.Equal(t, c.scheme == "dark", ask[bool](t, tab, `matchMedia("(prefers-color-scheme: dark)").matches`))
			if name := os.Getenv("STATUS_SCREENSHOT"); name != "" {
				picture(t, tab, name, c.picture)
			}
		})
	}

	t.Run("the plot moves and numbers follow", func(t *testing.T) {
		tab := open(t, browser)
		require.NoError(t, chromedp.Do(tab, chromedp.Navigate(site.URL)))
		before := ask[string](t, tab, lineOf)
		require.Contains(t, before, "M0.0 ")
		tenant.use(1234)
		pass(clk)
		pass(clk)
		s.errors.Record(Problem{"contoso", CauseCredential, ""})
		pass(clk)
		// Every poll writes the line, at last one that knows of the problem.
		after := ask[string](t, tab, `new Promise((done) => new MutationObserver(() => {
			const first = document.querySelector("#errors li").textContent;
			if (first.includes("own sign-in to Entra ID")) done(`+lineOf+`);
		}).observe(document.getElementById("errors"), {childList: true}))`)
		require.NotEqual(t, before, after)
		require.Contains(t, ask[string](t, tab, `document.querySelector(".used strong").textContent`), "1,234")
		require.True(t, ask[bool](t, tab, `document.getElementById("lost").hidden`))
	})

	t.Run("a gateway that has gone is noticed", func(t *testing.T) {
		tab := open(t, browser)
		require.NoError(t, chromedp.Do(tab, chromedp.Navigate(site.URL)))
		site.CloseClientConnections()
		require.NoError(t, site.Listener.Close())
		require.False(t, ask[bool](t, tab, `new Promise((done) => new MutationObserver(() => done(document.getElementById("lost").hidden))
			.observe(document.getElementById("lost"), {attributes: true}))`))
	})
}

// TestThePageWithoutScript needs nothing but the page itself.
func TestThePageWithoutScript(t *testing.T) {
	s, _, _ := busy(t)
	site := httptest.NewServer(s)
	t.Cleanup(site.Close)
	tab := open(t, browsertest.Start(t))
	require.NoError(t, chromedp.Do(tab, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})))
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(site.URL)))
	require.Contains(t, ask[string](t, tab, lineOf), "M0.0 ")
	require.Contains(t, ask[string](t, tab, `document.body.textContent`), "12,045")
	require.Equal(t, "5", ask[string](t, tab, `document.querySelector("meta[http-equiv=refresh]").content`))
}

// open opens a tab of the browser that ends with the test, or after two minutes.
func open(t *testing.T, browser context.Context) context.Context {
	t.Helper()
	tab, closeTab := chromedp.NewContext(browser)
	t.Cleanup(closeTab)
	require.NoError(t, chromedp.Do(tab)) // before there is a deadline, which is for actions only
	tab, cancel := context.WithTimeout(tab, 2*time.Minute)
	t.Cleanup(cancel)
	return tab
}

// prefer sets the colours that a page is asked for, and has scroll bars lie over
// the page, as phones have them.
func prefer(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

const (
	lineOf = `document.querySelector("path.line").getAttribute("d")`
	// overflowing names elements whose content is wider than they are.
	overflowing = `[...document.querySelectorAll("body *:not(svg *)")].filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth + 1)
		.map((e) => e.tagName + ": " + e.textContent.slice(0, 80))`
)

func ask[T any](t *testing.T, tab context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(t, err, expression)
	return v
}

// picture keeps what the tab shows in the file name, with the suffix before its
// extension.
func picture(t *testing.T, tab context.Context, name, suffix string) {
	t.Helper()
	png, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	require.NoError(t, err)
	extension := filepath.Ext(name)
	require.NoError(t, os.WriteFile(strings.TrimSuffix(name, extension)+suffix+extension, png, 0o644))
}
