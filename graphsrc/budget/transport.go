package budget

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// Transport wraps the innermost RoundTripper, the one that writes to the network;
// nil means http.DefaultTransport. Below it nothing may retry or redirect, above
// it everything may: each RoundTrip spends one token. It spends the permit of the
// request's context if that is good, and otherwise acquires one in the lane of the
// context, with the errors of Acquire.
//
// A 429, and a 503 with Retry-After, closes the tap before the answer is passed
// on untouched. What net/http itself repeats on a fresh connection, after a
// kept-alive one broke, is noticed and charged.
func (b *Budget) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{budget: b, base: base}
}

type transport struct {
	budget *Budget
	base   http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	b := t.budget
	lane, sentAt, err := b.pay(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close() // a RoundTripper closes the body even if it fails
		}
		return nil, err
	}
	resp, err := t.base.RoundTrip(b.watched(req, lane))
	if err != nil {
		b.observe(lane, 0, err)
		return nil, err
	}
	resp.Request = req
	b.heed(resp, sentAt)
	b.observe(lane, resp.StatusCode, nil)
	return resp, nil
}

// CloseIdleConnections makes http.Client.CloseIdleConnections reach the base.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// pay spends the permit of ctx or, as often as it takes, a new one: between a
// grant and the send a pause may make a permit void.
func (b *Budget) pay(ctx context.Context) (lane Lane, sentAt int64, err error) {
	for p := permitOf(ctx); ; {
		if p != nil && ctx.Err() == nil {
			if at, ok := b.spend(p); ok {
				return p.lane, at, nil
			}
		}
		if p, err = b.Acquire(ctx, LaneOf(ctx)); err != nil {
			return 0, 0, err
		}
	}
}

// watched returns req with a trace that charges every connection after the
// first that net/http uses for it: each means that it sends the request again.
func (b *Budget) watched(req *http.Request, lane Lane) *http.Request {
	var attempts atomic.Int32
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if attempts.Add(1) > 1 {
			b.charge(lane)
		}
	}}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
}

// heed closes the tap if the answer asks for it.
func (b *Budget) heed(resp *http.Response, sentAt int64) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	after, stated := ParseRetryAfter(resp.Header, b.clock.Now())
	if resp.StatusCode == http.StatusTooManyRequests || stated {
		b.throttle(after, stated, sentAt)
	}
}

func (b *Budget) observe(lane Lane, status int, err error) {
	if b.onSend != nil {
		b.onSend(lane, status, err)
	}
}
