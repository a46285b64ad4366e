package msgraph

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"ucwagate/graphsrc"
)

const (
	userAgent = "ucwagate"
	// maxRequestBody bounds what is sent: 650 ids take 25 kB.
	maxRequestBody = 1 << 20
	// idlePerHost is the number of idle connections kept for a peer without
	// HTTP/2 (a simulator, a proxy); net/http would keep 2 and open a new
	// connection for most concurrent requests.
	idlePerHost = 64
)

// newTransport returns the transport at the bottom of everything.
func newTransport(roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		// A connection that died silently is noticed by pings, not by the
		// time-outs of all requests multiplexed on it.
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConns:        2 * idlePerHost,
		MaxIdleConnsPerHost: idlePerHost,
		IdleConnTimeout:     90 * time.Second,
	}
}

// authTransport sets the Authorization header, and fails closed: no request
// leaves it without a token, or for another host than Graph's. A request that
// Graph answers with 401 is sent once more with a renewed token.
type authTransport struct {
	base   *url.URL
	tokens *tokens
	next   http.RoundTripper
	logger *slog.Logger
}

// RoundTrip implements http.RoundTripper. Its errors about the token are
// *graphsrc.Error.
func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := takeBody(req)
	if err != nil {
		return nil, err
	}
	if !sameOrigin(req.URL, t.base) {
		return nil, &graphsrc.Error{Kind: graphsrc.KindInvalid, Message: "refusing to send a token to a foreign host"}
	}
	token, err := t.tokens.get(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := t.next.RoundTrip(dress(req, body, token.Token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	challenge := claimsOf(resp.Header)
	// The adapter above re-sends on its own when it sees a challenge.
	resp.Header.Del("WWW-Authenticate")
	fresh, err := t.tokens.renew(req.Context(), token, challenge)
	if err != nil {
		t.logger.DebugContext(req.Context(), "token refused and not renewed", "challenge", challenge != "", "error", err)
		return resp, nil // the 401 is the answer
	}
	discard(resp.Body)
	resp, err = t.next.RoundTrip(dress(req, body, fresh.Token))
	if err == nil {
		resp.Header.Del("WWW-Authenticate")
	}
	return resp, err
}

// takeBody reads the whole body and closes it, so that each send has a
// length and can be repeated below.
func takeBody(req *http.Request) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	defer req.Body.Close()
	body, err := io.ReadAll(io.LimitReader(req.Body, maxRequestBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the request body: %w", err)
	}
	if len(body) > maxRequestBody {
		return nil, &graphsrc.Error{Kind: graphsrc.KindInvalid, Message: "the request body is too large"}
	}
	return body, nil
}

// dress returns a copy of req as it goes out.
func dress(req *http.Request, body []byte, token string) *http.Request {
	out := req.Clone(req.Context())
	out.Header.Set("Authorization", "Bearer "+token)
	out.Header.Set("User-Agent", userAgent)
	out.Body, out.GetBody, out.ContentLength = nil, nil, 0
	if len(body) > 0 {
		out.ContentLength = int64(len(body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
	}
	return out
}

var claimsParameter = regexp.MustCompile(`(?i)\bclaims\s*=\s*"([^"]+)"`)

// claimsOf returns the claims that a 401 demands of the next token, as JSON,
// or "" if it demands none that can be read.
//
// Source: https://learn.microsoft.com/en-us/entra/identity-platform/claims-challenge
func claimsOf(h http.Header) string {
	for _, value := range h.Values("WWW-Authenticate") {
		found := claimsParameter.FindStringSubmatch(value)
		if found == nil {
			continue
		}
		text := strings.TrimRight(found[1], "=")
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			claims, err := encoding.DecodeString(text)
			var object map[string]any
			if err == nil && json.Unmarshal(claims, &object) == nil && object != nil {
				return string(claims)
			}
		}
	}
	return ""
}

// maxDrain is how much of an unread rest is read so that the connection can be
// used again; beyond it a new connection is cheaper.
const maxDrain = 64 << 10

func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDrain) // the rest is of no interest
	_ = body.Close()
}

// withDeadline gives ctx a deadline if it has none. The adapter above keeps
// memory for a call that has none.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultTimeout)
}

// isTransport reports whether err came from sending, not from building a request.
func isTransport(err error) bool {
	var sent *url.Error
	return errors.As(err, &sent) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
