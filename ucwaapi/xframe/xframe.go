// Package xframe serves the page that web clients load in a hidden iframe to
// reach the gateway from another domain. The client posts its request to the
// frame, the frame performs it on its own host, and posts the answer back:
//
//	web page (app.example.com)            frame (gateway)             gateway
//	    │ postMessage {type,url,…} ──────────▶│                          │
//	    │                       origin known? │ XHR + X-Ms-Origin ──────▶│
//	    │                                     │◀──────────── the answer  │
//	    │◀── {status,responseText,headers,…}  │                          │
//
// Two guards stand before a request: the browser shows the page in frames of
// allow-listed origins only (frame-ancestors), and the page ignores messages
// whose origin, as the browser reports it, is not on the list that the server
// wrote into it. The third, the check of X-Ms-Origin, is the API's own.
//
// The package owns the page, its script and its headers. It must never know
// the router, applications, or how clients sign in: to the frame a request is
// a verb, a URL and headers.
package xframe

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed xframe.html
var source string

const (
	placeholder = "{{allowed-origins}}"
	scriptStart = "<script>"
	scriptEnd   = "</script>"
)

// Options say who may use the frame.
type Options struct {
	// AllowedOrigins are the origins of the web pages that may embed the frame
	// and post to it: http or https, a host, and a port unless it is the
	// default one, such as https://app.example.com. Letter case, a slash at the
	// end and a default port make no difference. There are no patterns: neither
	// "*" nor "https://*.example.com" is accepted. An empty list leaves the
	// gateway's own pages.
	AllowedOrigins []string

	// Own returns the origin of the gateway as this client reaches it, or "".
	// Pages of that origin are allowed. It may be nil: the page allows the
	// origin it was loaded from in any case, so Own matters only where the
	// gateway has several names and a page of one loads the frame of another.
	Own func(*http.Request) string
}

// New returns the handler of the page. It answers GET and HEAD whatever the
// path is, so that it can be mounted at every documented URL. The error names
// every origin that is unusable.
func New(o Options) (http.Handler, error) {
	var origins []string
	var problems []error
	for _, text := range o.AllowedOrigins {
		origin, err := normalizeOrigin(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("allowed origin %q: %w", text, err))
			continue
		}
		origins = append(origins, origin)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	before, after, hash, err := parse(source)
	if err != nil {
		return nil, fmt.Errorf("reading the embedded page: %w", err)
	}
	h := &handler{own: o.Own, before: before, after: after, scriptHash: hash}
	h.fixed = h.render(origins)
	return h, nil
}

// parse cuts the page at the place of the origins and returns the hash of its
// script as Content-Security-Policy names it. Line ends are made those that
// the browser hashes, in case a checkout changed them.
func parse(page string) (before, after, scriptHash string, err error) {
	page = strings.ReplaceAll(page, "\r\n", "\n")
	before, after, found := strings.Cut(page, placeholder)
	if !found {
		return "", "", "", errors.New("it has no place for the allowed origins")
	}
	_, rest, found := strings.Cut(after, scriptStart)
	if !found {
		return "", "", "", errors.New("it has no script after the allowed origins")
	}
	script, _, found := strings.Cut(rest, scriptEnd)
	if !found {
		return "", "", "", errors.New("its script has no end")
	}
	sum := sha256.Sum256([]byte(script))
	return before, after, "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", nil
}

type handler struct {
	own           func(*http.Request) string
	before, after string // the page around the list of origins
	scriptHash    string
	fixed         rendering // for requests under no name of its own
}

// rendering is the page for one list of origins.
type rendering struct {
	origins []string // sorted
	page    []byte
	etag    string
	policy  string
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	page := h.pageFor(r)
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	// The URL never changes, since clients load a new frame for a new one. So
	// browsers ask each time whether the page is still right (mostly 304): a
	// changed allow list is in force at once. "private": the page may depend on
	// the name under which the gateway was reached.
	header.Set("Cache-Control", "private, no-cache")
	header.Set("ETag", page.etag)
	header.Set("X-Content-Type-Options", "nosniff")
	// The API has no use for the address of the frame, nor has anybody else.
	header.Set("Referrer-Policy", "no-referrer")
	// There is no X-Frame-Options: it cannot name several origins, and the
	// page lives in frames. frame-ancestors takes its place.
	header.Set("Content-Security-Policy", page.policy)
	// ServeContent adds Content-Length and answers HEAD and If-None-Match.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(page.page))
}

// pageFor returns the page whose list has the gateway's own origin on it. An
// own origin that cannot be written into a policy is left out; the page knows
// where it was loaded from without it.
func (h *handler) pageFor(r *http.Request) rendering {
	if h.own == nil {
		return h.fixed
	}
	own, err := normalizeOrigin(h.own(r))
	if err != nil || slices.Contains(h.fixed.origins, own) {
		return h.fixed
	}
	return h.render(append(slices.Clone(h.fixed.origins), own))
}

// render sorts the origins first, so that every replica sends the same ETag
// for the same list.
func (h *handler) render(origins []string) rendering {
	slices.Sort(origins)
	origins = slices.Compact(origins)
	// The ETag covers the policy as well: a 304 renews headers, but a cache
	// that does not renew them must not keep an old policy.
	policy := h.policy(origins)
	page := []byte(h.before + html.EscapeString(strings.Join(origins, " ")) + h.after)
	sum := sha256.Sum256(append([]byte(policy+"\n"), page...))
	return rendering{origins: origins, page: page, etag: `"` + hex.EncodeToString(sum[:12]) + `"`, policy: policy}
}

// policy is the Content-Security-Policy of the page. It allows what the page
// does and nothing else: its one script by hash (a nonce would make every
// answer a different one, and defeat the ETag), requests to its own host (this
// also stops a redirect that leads elsewhere), and frames of allowed origins.
// 'self' is always among the latter: pages of the gateway's own origin need no
// entry in the list.
func (h *handler) policy(origins []string) string {
	ancestors := "frame-ancestors 'self'"
	for _, origin := range origins {
		ancestors += " " + origin
	}
	return strings.Join([]string{
		"default-src 'none'",
		"script-src " + h.scriptHash,
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		ancestors,
	}, "; ")
}
