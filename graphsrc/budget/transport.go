package budget

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
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
	send, sentAt, err := b.pay(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close() // a RoundTripper closes the body even if it fails
		}
		return nil, err
	}
	resp, err := t.base.RoundTrip(b.watched(req, send))
	if err != nil {
		b.observe(send.Lane, 0, err)
		return nil, err
	}
	resp.Request = req
	b.heed(resp, sentAt)
	b.observe(send.Lane, resp.StatusCode, nil)
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
func (b *Budget) pay(ctx context.Context) (send Send, sentAt int64, err error) {
	for p := permitOf(ctx); ; {
		if p != nil && ctx.Err() == nil {
			if at, ok := b.spend(p); ok {
				return Send{p.lane, time.Duration(p.granted - p.asked)}, at, nil
			}
		}
		if p, err = b.Acquire(ctx, LaneOf(ctx)); err != nil {
			return Send{}, 0, err
		}
	}
}

// watched returns req with a trace that charges every connection after the
// first that net/http uses for it: each means that it sends the request again.
func (b *Budget) watched(req *http.Request, send Send) *http.Request {
	var attempts atomic.Int32
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if attempts.Add(1) > 1 {
			b.charge(send.Lane)
		}
	}}
	ctx := context.WithValue(req.Context(), sendKey{}, send)
	return req.WithContext(httptrace.WithClientTrace(ctx, trace))
}

// Send is what a request has been charged as.
type Send struct {
	Lane Lane
	// Waited is how long its permit was waited for, wherever that was.
	Waited time.Duration
}

type sendKey struct{}

// SendOf returns what the request of ctx has been charged as; false above
// Transport. It is for whoever observes requests below it.
func SendOf(ctx context.Context) (Send, bool) {
	send, ok := ctx.Value(sendKey{}).(Send)
	return send, ok
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
