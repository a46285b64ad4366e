package xframe

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"ucwagate/ucwaapi/xframe/browsertest"
)

// TestWhoMayUseTheFrame loads the frame from pages that may and may not.
func TestWhoMayUseTheFrame(t *testing.T) {
	s := newSite(t)
	browser := browsertest.Start(t)
	for _, group := range []struct {
		name string
		run  func(*testing.T, *site, context.Context)
	}{
		{"a person who opens the page sees a sentence", testOpenedByHand},
		{"a page of the gateway may use it with an empty list", testOwnPage},
		{"a page that is not on the list cannot embed it", testForeignEmbedding},
		{"a foreign page that opens it as a window is not heard", testForeignWindow},
		{"a sandboxed frame is not heard", testSandboxedFrame},
	} {
		t.Run(group.name, func(t *testing.T) {
			s.backend.took()
			group.run(t, s, browser)
		})
	}
}

func testOpenedByHand(t *testing.T, s *site, browser context.Context) {
	tab := open(t, browser, s.gateway+framePath)
	text := js[string](t, tab, "() => document.body.innerText")
	require.Contains(t, text, "There is nothing to see")
	require.Empty(t, s.backend.took(), "loading the page sends nothing")
}

func testOwnPage(t *testing.T, s *site, browser context.Context) {
	tab := open(t, browser, pageOf(s.gateway, s.gateway+ownPath))
	got := s.ask(t, tab, object{"type": "GET", "url": "/echo/own", "messageId": 1}).backend(t)
	require.Equal(t, []string{s.gateway}, got.Header["X-Ms-Origin"])
}

// The browser shows an error page in place of the frame, and nobody answers.
func testForeignEmbedding(t *testing.T, s *site, browser context.Context) {
	for _, pages := range [][2]string{
		{s.foreign, framePath},
		{s.foreign, ownPath},
		{s.app, ownPath},
	} {
		tab := open(t, browser, pageOf(pages[0], s.gateway+pages[1]))
		tree, err := chromedp.Call(tab, page.GetFrameTree, cdp.Empty{})
		require.NoError(t, err)
		for _, child := range tree.FrameTree.ChildFrames {
			require.Equal(t, s.gateway+pages[1], child.Frame.UnreachableURL)
		}
		n := js[int](t, tab, `async () => {
			await loaded;
			frame.contentWindow.postMessage('{"type":"GET","url":"/echo/foreign","messageId":1}', "*");
			await new Promise((resolve) => setTimeout(resolve, 300));
			return replies.length;
		}`)
		require.Zero(t, n)
		require.Empty(t, s.backend.took())
	}
}

// frame-ancestors says nothing about windows: there the page itself has to
// refuse.
func testForeignWindow(t *testing.T, s *site, browser context.Context) {
	tab := open(t, browser, s.foreign+"/parent.html")
	url := s.gateway + framePath
	opened := chromedp.WaitNewTarget(tab, func(info *target.Info) bool { return strings.HasPrefix(info.URL, url) })
	_, err := chromedp.Run(tab, chromedp.Evaluate[bool](
		`window.heard = []; addEventListener("message", (event) => heard.push(event.data)); window.popup = open("`+url+`"); popup !== null`,
		func(p *runtime.EvaluateParams) { p.UserGesture = ptr(true) }))
	require.NoError(t, err)
	var id target.ID
	select {
	case id = <-opened:
	case <-time.After(time.Minute):
		t.Fatal("the window did not open")
	}
	popup, closePopup := chromedp.NewContext(browser, chromedp.WithTargetID(id))
	t.Cleanup(closePopup)
	// A new window has an empty document until its page arrives.
	require.Eventually(t, func() bool {
		at, err := chromedp.Run(popup, chromedp.Evaluate[string](`document.readyState + " " + location.href`))
		return err == nil && at == "complete "+url
	}, time.Minute, 20*time.Millisecond)
	js[bool](t, popup, `() => {
		window.seen = [];
		addEventListener("message", (event) => seen.push(event.origin));
		return true;
	}`)
	js[bool](t, tab, `() => {
		popup.postMessage('{"type":"GET","url":"/echo/foreign","messageId":1}', "*");
		popup.postMessage({ request: { type: "POST", url: "/echo/foreign", messageId: 1, headers: { "X-Ms-Origin": "`+s.app+`" } } }, "*");
		return true;
	}`)
	seen := js[[]string](t, popup, `async () => {
		while (seen.length < 2) { await new Promise((resolve) => setTimeout(resolve, 5)); }
		return seen;
	}`)
	require.Equal(t, []string{s.foreign, s.foreign}, seen, "the messages did arrive")
	heard := js[int](t, tab, `async () => { await new Promise((resolve) => setTimeout(resolve, 300)); return heard.length; }`)
	require.Zero(t, heard)
	require.Empty(t, s.backend.took())
}

// A sandboxed frame beside the gateway's frame posts to it. Its origin is
// "null", and no list can allow that.
func testSandboxedFrame(t *testing.T, s *site, browser context.Context) {
	tab := open(t, browser, pageOf(s.gateway, s.gateway+framePath))
	heard := js[[]string](t, tab, `async () => {
		await loaded;
		const seen = [], heard = [];
		frame.contentWindow.addEventListener("message", (event) => seen.push(event.origin));
		addEventListener("message", (event) => { if (event.source === box.contentWindow) { heard.push(event.data); } });
		const box = document.createElement("iframe");
		box.sandbox = "allow-scripts";
		box.srcdoc = "<script>onmessage = (event) => parent.postMessage(event.data, '*');" +
			"parent.frames[0].postMessage(JSON.stringify({ type: 'GET', url: '/echo/sandboxed', messageId: 1 }), '*');<" + "/script>";
		document.body.append(box);
		while (!seen.includes("null")) { await new Promise((resolve) => setTimeout(resolve, 5)); }
		await until("no request");
		await new Promise((resolve) => setTimeout(resolve, 100));
		return heard;
	}`)
	require.Empty(t, heard)
	require.Equal(t, []string{"GET /echo/last"}, s.backend.took())
}

func ptr[T any](v T) *T { return &v }
