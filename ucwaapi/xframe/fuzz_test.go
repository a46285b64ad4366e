package xframe

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"ucwagate/ucwaapi/xframe/browsertest"
)

// FuzzMessages posts arbitrary texts, and what they parse to, to the page in a
// browser. Whatever comes: the script does not throw, nothing leaves for
// another host, requests to the gateway name the true origin, every answer has
// the shape of one, and the document stays as it is. {own} and {foreign} in a
// text stand for the origins of the two servers.
func FuzzMessages(f *testing.F) {
	for _, text := range []string{
		`{"type":"GET","url":"/a?b=c","messageId":1,"headers":{"Accept":"application/json"}}`,
		`{"request":{"type":"post","url":"{own}/a","data":{"a":[1,{"b":null}]},"contentType":"application/x-www-form-urlencoded","processData":true}}`,
		`{"type":"PUT","url":"a","data":"text","contentType":"text/plain; charset=x","accepts":["a/b","c/d"],"cache":false,"xhrFields":{"timeout":1,"withCredentials":true}}`,
		`{"type":"DELETE","url":"/a","headers":{"X-Ms-Origin":"{foreign}","x_ms_origin":"{foreign}","X-Requested-With":"no"},"messageId":{"a":[null]}}`,
		`{"type":"GET","url":"{foreign}/target","messageId":"x"}`,
		`{"type":"POST","url":"//{foreign}/target","data":"<script>alert(1)</script>","messageId":2}`,
		`{"type":"GET","url":"\\\\{foreign}\\target"}`,
		`{"type":"GET","url":"{own}@{foreign}/"}`,
		`{"type":"GET","url":"blob:{own}/x","messageId":3}`,
		`{"type":"GET","url":"javascript:document.write(1)","messageId":4}`,
		`{"type":"GET","url":"/a","data":{"__proto__":{"url":"{foreign}"},"constructor":1},"headers":{"__proto__":"x","constructor":"y"}}`,
		`{"__proto__":{"type":"GET","url":"/a"},"messageId":"<img src=x onerror=alert(1)>"}`,
		`{"type":"HEAD","url":"/\u0000\ud800","messageId":"\udfff\u2028"}`,
		`{"type":"OPTIONS","url":"/a","headers":{"":"","a b":"c","d":"e\r\nf: g","é":"ü","Cookie":"x","X":"\ud83d"}}`,
		`{"type":"GET","url":"/a","headers":"Accept: x","accepts":{"a":1},"contentType":5,"xhrFields":[],"data":0}`,
		`{"type":"GET","url":"http://[::1","messageId":-0}`,
		`{"messageId":12345678901234567890}`,
		`{"request":null,"type":"GET","url":"?"}`,
		`{"request":{"request":{"type":"GET","url":"/"}}}`,
		`{"messageId":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
		`{"type":"POST","url":"/","data":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000) + `}`,
		"null", "0", `""`, "[]", "{}", "", "{", "\xff\x00", "type=GET&url=/", `"{\"type\":\"GET\",\"url\":\"/\"}"`,
	} {
		f.Add(text)
	}
	// What coverage sees is the Go side of the browser, which differs from run
	// to run. With the default of one minute each, nearly all the time would go
	// into making such inputs smaller.
	if minimize := flag.Lookup("test.fuzzminimizetime"); minimize != nil && minimize.Value.String() == minimize.DefValue {
		require.NoError(f, minimize.Value.Set("10x"))
	}
	lab := &fuzzLab{}
	f.Cleanup(lab.end)
	f.Fuzz(func(t *testing.T, text string) {
		lab.start(t)
		lab.feed(t, text)
	})
}

// fuzzLab is one browser and two servers for all inputs that a process gets.
// It starts with the first input: with -fuzz, the process that hands out the
// inputs runs none itself.
type fuzzLab struct {
	gateway, foreign *httptest.Server
	tab              context.Context
	stop             func() error

	mu       sync.Mutex
	problems []string
}

func (l *fuzzLab) start(t *testing.T) {
	if l.tab != nil {
		return
	}
	l.foreign = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		l.report("the foreign host got %s %s", r.Method, r.RequestURI)
	}))
	mux := http.NewServeMux()
	mux.Handle(framePath, newHandler(t, Options{}))
	mux.Handle("/parent.html", parentPage())
	mux.HandleFunc("/", l.backend)
	l.gateway = httptest.NewServer(mux)

	tab, stop, err := browsertest.Launch()
	require.NoError(t, err)
	l.tab, l.stop = tab, stop
	require.NoError(t, chromedp.Listen(tab, l.watchNetwork))
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(pageOf(l.gateway.URL, l.gateway.URL+framePath))))
	js[bool](t, tab, "() => watch().then(() => true)")
}

func (l *fuzzLab) end() {
	if l.stop != nil {
		_ = l.stop() // the inputs have been judged by now
	}
	for _, server := range []*httptest.Server{l.gateway, l.foreign} {
		if server != nil {
			server.Close()
		}
	}
}

func (l *fuzzLab) feed(t *testing.T, text string) {
	text = strings.ReplaceAll(text, "{own}", l.gateway.URL)
	text = strings.ReplaceAll(text, "{foreign}", l.foreign.URL)
	require.Empty(t, js[[]string](t, l.tab, "feed", text))
	l.mu.Lock()
	defer l.mu.Unlock()
	problems := l.problems
	l.problems = nil
	require.Empty(t, problems)
}

func (l *fuzzLab) report(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// watchNetwork sees requests before they reach any network, those that the
// policy of the page stops as well.
func (l *fuzzLab) watchNetwork(event any) {
	sent, ok := event.(*network.EventRequestWillBeSent)
	if !ok {
		return
	}
	if !strings.HasPrefix(sent.Request.URL, l.gateway.URL+"/") {
		l.report("the browser asked for %s", sent.Request.URL)
	}
}

// backend checks what scripts send; browsers ask for icons by themselves.
func (l *fuzzLab) backend(_ http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Sec-Fetch-Dest") != "empty" {
		return
	}
	if got := r.Header["X-Ms-Origin"]; len(got) != 1 || got[0] != l.gateway.URL {
		l.report("%s %s came with the origins %q", r.Method, r.RequestURI, got)
	}
	if got := r.Header["X-Requested-With"]; len(got) != 1 || got[0] != "XMLHttpRequest" {
		l.report("%s %s came with X-Requested-With %q", r.Method, r.RequestURI, got)
	}
	_, _ = io.Copy(io.Discard, r.Body)
}
