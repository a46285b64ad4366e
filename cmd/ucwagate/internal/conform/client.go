package conform

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 32 << 20
	// maxHead bounds the header lines that are read as raw bytes.
	maxHead = 64 << 10
	// answerTime bounds a request that is not held.
	answerTime = 30 * time.Second
)

// The media types of UCWA.
const (
	typeJSON       = "application/json"
	typeXML        = "application/xml"
	vendorTypeJSON = "application/vnd.microsoft.com.ucwa+json"
	vendorTypeXML  = "application/vnd.microsoft.com.ucwa+xml"
	typeForm       = "application/x-www-form-urlencoded"
)

// newHTTPClient returns a client that shows answers as they are: HTTP/1.1 like
// the clients of the protocol, nothing decompressed, no redirect followed.
func newHTTPClient(t *http.Transport) *http.Client {
	if t == nil {
		t = http.DefaultTransport.(*http.Transport)
	}
	t = t.Clone()
	t.DisableCompression, t.ForceAttemptHTTP2 = true, false
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// request is what is sent.
type request struct {
	method, href string
	body         []byte
	contentType  string
	// accept is the media type asked for; empty: that of the walk. none: no
	// Accept at all.
	accept    string
	anonymous bool // without the token
	header    map[string]string
	held      bool // a P-GET, bounded by the context alone
	// subject is what the report calls the request; empty: its method and the
	// resource.
	subject string
}

const none = "none"

// answer is what came back. Its status is 0 if nothing did.
type answer struct {
	request
	status  int
	headers http.Header
	raw     []byte // as transferred
	body    []byte // decompressed
	chunked bool
	length  int64
	err     error
}

func (a *answer) String() string {
	if a.err != nil {
		return fmt.Sprintf("%s %s: %v", a.method, a.href, a.err)
	}
	return fmt.Sprintf("%s %s: %d %s", a.method, a.href, a.status, excerpt(a.body))
}

// excerpt shortens a body for a line.
func excerpt(body []byte) string {
	const most = 160
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "?")), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func (a *answer) mediaType() string {
	t, _, _ := strings.Cut(a.headers.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// isXML says whether the answer is XML of some kind.
func (a *answer) isXML() bool { return strings.HasSuffix(a.mediaType(), "xml") }

// accept returns the media type of the walk.
func (w *walk) accept() string {
	if w.format == XML {
		return typeXML
	}
	return typeJSON
}

// send sends a request and looks at nothing.
func (w *walk) send(ctx context.Context, q request) *answer {
	if !q.held {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerTime)
		defer cancel()
	}
	a := &answer{request: q, headers: http.Header{}}
	req, err := w.build(ctx, q)
	if err != nil {
		a.err = err
		return a
	}
	res, err := w.http.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer res.Body.Close()
	a.status, a.headers, a.length, a.chunked = res.StatusCode, res.Header, res.ContentLength, len(res.TransferEncoding) > 0
	if a.raw, a.err = io.ReadAll(io.LimitReader(res.Body, maxAnswer)); a.err != nil {
		a.status = 0
		return a
	}
	a.body = a.raw
	if a.headers.Get("Content-Encoding") == "gzip" {
		if plain, err := unzip(a.raw); err == nil {
			a.body = plain
		}
	}
	return a
}

func unzip(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxAnswer))
}

// build makes the request that q describes.
func (w *walk) build(ctx context.Context, q request) (*http.Request, error) {
	at, err := w.resolve(q.href)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, q.method, "", bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = at, at.Host
	switch q.accept {
	case "":
		req.Header.Set("Accept", w.accept())
	case none:
	default:
		req.Header.Set("Accept", q.accept)
	}
	if q.contentType != "" {
		req.Header.Set("Content-Type", q.contentType)
	}
	if w.base.Scheme == "https" && at.Scheme != "https" {
		return nil, fmt.Errorf("%s is not asked in clear text", at.Redacted())
	}
	if w.token != "" && !q.anonymous && w.home(at.Host) {
		req.Header.Set("Authorization", w.token)
	}
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	return req, nil
}

// home says whether a host may see the token: the one that discovery began at,
// or that it named.
func (w *walk) home(host string) bool {
	if strings.EqualFold(host, w.base.Host) {
		return true
	}
	if w.root == nil {
		return false
	}
	u, err := url.Parse(w.root.link("user"))
	return err == nil && strings.EqualFold(host, u.Host)
}

// resolve makes a URL of an href. A doubled slash in front is part of the path
// and not a host.
func (w *walk) resolve(href string) (*url.URL, error) {
	at := *w.base
	if w.user != nil { // the server that the user is at home on
		if u, err := url.Parse(w.user.href); err == nil && u.Host != "" {
			at = *u
		}
	}
	if strings.HasPrefix(href, "//") {
		path, query, _ := strings.Cut(href, "?")
		return &url.URL{Scheme: at.Scheme, Host: at.Host, Path: path, RawQuery: query}, nil
	}
	u, err := at.Parse(href)
	if err != nil {
		return nil, fmt.Errorf("reading the link %q: %w", href, err)
	}
	return u, nil
}

// do sends a request and checks what every answer must be like.
func (w *walk) do(ctx context.Context, q request) *answer {
	a := w.send(ctx, q)
	w.inspectHeaders(a)
	return a
}

// appended returns an href with a query parameter appended, as clients do.
func appended(href, name, value string) string {
	separator := "?"
	if strings.Contains(href, "?") {
		separator = "&"
	}
	return href + separator + name + "=" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

// head sends a GET on a connection of its own and returns the header lines of
// the answer as they came, which net/http would write anew.
func (w *walk) head(ctx context.Context, href string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	q := request{method: http.MethodGet, href: href, anonymous: true, header: map[string]string{"Connection": "close"}}
	req, err := w.build(ctx, q)
	if err != nil {
		return nil, err
	}
	conn, err := w.dial(ctx, req.URL)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("sending: %w", err)
	}
	var lines []string
	for s := bufio.NewScanner(io.LimitReader(conn, maxHead)); s.Scan() && s.Text() != ""; {
		lines = append(lines, s.Text())
	}
	return lines, nil
}

func (w *walk) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	address := u.Host
	if u.Port() == "" {
		port := "80"
		if u.Scheme == "https" {
			port = "443"
		}
		address = net.JoinHostPort(u.Hostname(), port)
	}
	if u.Scheme != "https" {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	config := &tls.Config{}
	if t, ok := w.http.Transport.(*http.Transport); ok && t.TLSClientConfig != nil {
		config = t.TLSClientConfig.Clone()
	}
	config.NextProtos = []string{"http/1.1"}
	d := tls.Dialer{Config: config}
	return d.DialContext(ctx, "tcp", address)
}
