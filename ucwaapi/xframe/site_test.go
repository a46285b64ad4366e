package xframe

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

const (
	framePath = "/Autodiscover/XFrame/XFrame.html"
	ownPath   = "/own/XFrame.html" // the frame of a gateway with an empty list
)

// site is three servers on three origins: a gateway with the frame and an API
// that tells what it got, an allowed web application, and a foreign one. The
// application is on another site than the frame (localhost and 127.0.0.1), so
// that the browser keeps them in different processes.
type site struct {
	gateway, app, foreign string // origins
	backend, stranger     *recorder
	release               chan struct{} // closed: /hold answers
}

// recorder keeps the targets of the requests that scripts made. Those for
// pages, frames and icons are not among them.
type recorder struct {
	mu      sync.Mutex
	targets []string
}

func (r *recorder) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if dest := req.Header.Get("Sec-Fetch-Dest"); dest == "empty" || dest == "" {
			r.mu.Lock()
			r.targets = append(r.targets, req.Method+" "+req.RequestURI)
			r.mu.Unlock()
		}
		next.ServeHTTP(w, req)
	})
}

// took returns what came since the last call.
func (r *recorder) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	targets := r.targets
	r.targets = nil
	return targets
}

// newSite has to be called before the browser starts: the servers end after it.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{backend: &recorder{}, stranger: &recorder{}, release: make(chan struct{})}
	serve := func(h http.Handler) string {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		return server.URL
	}
	s.app = strings.Replace(serve(parentPage()), "127.0.0.1", "localhost", 1)
	s.foreign = serve(s.stranger.wrap(foreignPages()))

	mux := http.NewServeMux()
	mux.Handle(framePath, newHandler(t, Options{AllowedOrigins: []string{s.app}}))
	mux.Handle(ownPath, newHandler(t, Options{}))
	mux.Handle("/parent.html", parentPage())
	mux.HandleFunc("/echo/", echo)
	mux.HandleFunc("/answers/", answers)
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.foreign+"/target", http.StatusFound)
	})
	mux.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-s.release:
			echo(w, r)
		case <-r.Context().Done():
		}
	})
	s.gateway = serve(s.backend.wrap(mux))
	return s
}

func parentPage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "testdata/parent.html")
	})
}

// foreignPages has an API too, which is open to everybody: only the frame may
// keep a request from it.
func foreignPages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/parent.html", parentPage())
	mux.HandleFunc("/target", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "*")
		_, _ = io.WriteString(w, "foreign")
	})
	return mux
}

// echoed is what the backend got, as it tells the client.
type echoed struct {
	Method, URI, Host, Body string
	Header                  http.Header
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "reading the body: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(echoed{r.Method, r.RequestURI, r.Host, string(body), r.Header})
}

// answers are those of a UCWA server whose shape clients depend on.
func answers(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	switch strings.TrimPrefix(r.URL.Path, "/answers/") {
	case "unauthorized":
		h.Add("WWW-Authenticate", `Bearer trusted_issuers="", client_id="x"`)
		h.Add("WWW-Authenticate", `MsRtcOAuth href="https://gw.example.com/WebTicket/oauthtoken",grant_type="password"`)
		h.Set("X-Ms-diagnostics", `28000;source="gw";reason="No token"`)
		h.Set("X-MS-Server-Fqdn", "gw.example.com")
		h.Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "<p>no token</p>")
	case "created":
		h.Set("Content-Type", "application/json; charset=utf-8")
		h.Set("Location", "/ucwa/oauth/v1/applications/1")
		h.Set("ETag", `"7"`)
		h.Set("X-MS-UcwaVersion", "2.0")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"rel":"application"}`)
	case "nocontent":
		w.WriteHeader(http.StatusNoContent)
	case "conflict":
		h.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"code":"Conflict","subcode":"PGetReplaced"}`)
	case "unavailable":
		h.Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
	case "unchanged":
		h.Set("ETag", `"7"`)
		w.WriteHeader(http.StatusNotModified)
	default:
		http.NotFound(w, r)
	}
}

// pageOf is the page of an origin that embeds a frame.
func pageOf(origin, frame string) string {
	return origin + "/parent.html?frame=" + url.QueryEscape(frame)
}

// open opens a page in a new tab of the browser and waits until it is loaded,
// with its frames.
func open(t *testing.T, browser context.Context, page string) context.Context {
	t.Helper()
	tab, closeTab := chromedp.NewContext(browser)
	t.Cleanup(closeTab)
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(page)))
	return tab
}

// js calls a function of the page and waits for its promise.
func js[T any](t testing.TB, tab context.Context, function string, args ...any) T {
	t.Helper()
	texts := make([]string, len(args))
	for i, arg := range args {
		text, err := json.Marshal(arg)
		require.NoError(t, err)
		texts[i] = string(text)
	}
	ctx, cancel := context.WithTimeout(tab, time.Minute)
	defer cancel()
	expression := "(" + function + ")(" + strings.Join(texts, ",") + ")"
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(t, err, "in the browser: %.500s", expression)
	return v
}

// posted is a message that the frame sent, as the page saw it.
type posted struct{ Origin, Text string }

// answer is such a message as the protocol describes it.
type answer struct {
	Status       int             `json:"status"`
	StatusText   string          `json:"statusText"`
	ResponseText string          `json:"responseText"`
	Headers      string          `json:"headers"`
	MessageID    json.RawMessage `json:"messageId"`
}

// header returns the value of a header by its exact spelling.
func (a answer) header(name string) string {
	for line := range strings.SplitSeq(a.Headers, "\r\n") {
		if value, found := strings.CutPrefix(line, name+": "); found {
			return value
		}
	}
	return ""
}

// backend is what the API got of the request.
func (a answer) backend(t *testing.T) echoed {
	t.Helper()
	require.Equal(t, 200, a.Status, a.ResponseText)
	var e echoed
	require.NoError(t, json.Unmarshal([]byte(a.ResponseText), &e))
	return e
}

// decode checks that a message came from the frame and has the members of an
// answer and no others.
func (s *site) decode(t *testing.T, p posted) answer {
	t.Helper()
	require.Equal(t, s.gateway, p.Origin)
	var a answer
	d := json.NewDecoder(strings.NewReader(p.Text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&a), p.Text)
	return a
}

type object = map[string]any

// ask posts a request as JSON text, in the flat framing, and returns the answer.
func (s *site) ask(t *testing.T, tab context.Context, request object) answer {
	t.Helper()
	text, err := json.Marshal(request)
	require.NoError(t, err)
	args := []any{string(text)}
	if id, found := request["messageId"]; found {
		text, err := json.Marshal(id)
		require.NoError(t, err)
		args = append(args, string(text))
	}
	return s.decode(t, js[posted](t, tab, "ask", args...))
}
