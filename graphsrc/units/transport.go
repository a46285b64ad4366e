package units

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"

	"ucwagate/graphsrc/budget"
)

// Transport wraps the RoundTripper through which a budget's requests leave, or
// any other; nil means http.DefaultTransport. A request waits for its units, or
// for its turn at a mailbox, in the budget lane of its context, and then goes to
// next. It fails with an *ExhaustedError as soon as it is certain that it cannot
// leave before the deadline of its context, with the context's error if that
// ends first, and with ErrClosed after Close. Answers are passed on untouched.
//
// Requests to the identity service carry the priority that fits their lane,
// which says whom to throttle first.
func (u *Units) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{units: u, next: next}
}

type transport struct {
	units *Units
	next  http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	cost := CostOf(req.Method, req.URL)
	switch {
	case cost.Units > 0:
		return t.identity(req, cost)
	case cost.Mailbox != "":
		return t.mailbox(req, cost)
	default:
		return t.next.RoundTrip(req)
	}
}

// CloseIdleConnections makes http.Client.CloseIdleConnections reach the base.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *transport) identity(req *http.Request, cost Cost) (*http.Response, error) {
	units, err := t.units.acquire(req.Context(), cost)
	if err != nil {
		return nil, refuse(req, err)
	}
	d := &departure{units: t.units, cost: units}
	resp, err := t.next.RoundTrip(d.watch(req))
	leftAt := d.over(err == nil)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	t.units.heed(resp, cost, units, leftAt)
	return resp, nil
}

// departure follows a request from the grant of its units to the moment it
// leaves: until then they are held, so that however long it waits below, what
// leaves in any window is bounded.
type departure struct {
	units *Units
	cost  int64

	mu      sync.Mutex
	times   int  // that it has left, as the trace tells
	counted bool // it has been counted
	ended   bool
	leftAt  int64
}

// watch returns req with its priority, and with a trace that tells when it leaves.
func (d *departure) watch(req *http.Request) *http.Request {
	trace := &httptrace.ClientTrace{WroteHeaders: d.left}
	out := req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	if priority := priorities[budget.LaneOf(req.Context())]; priority != "" {
		out.Header = req.Header.Clone()
		if out.Header == nil {
			out.Header = make(http.Header)
		}
		out.Header.Set(headerPriority, priority)
	}
	return out
}

// priorities are what lanes are called by the identity service, whose default
// is "normal".
//
// Source: https://learn.microsoft.com/en-us/graph/throttling-limits#request-headers
var priorities = [budget.LaneCount]string{budget.Interactive: "high", budget.Refresh: "low"}

// left is what the trace calls. With HTTP/2 that may be after the answer.
func (d *departure) left() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times++
	switch {
	case d.times > 1, d.ended && !d.counted: // once more, or after it had been given up
		d.counted = true
		d.units.repeated(d.cost)
	case !d.counted:
		d.counted = true
		d.leftAt = d.units.leave(d.cost)
	}
}

// over ends the departure. A request that was answered has left, whether the
// trace has told of it or not.
func (d *departure) over(answered bool) (leftAt int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	switch {
	case d.counted:
	case answered:
		d.counted = true
		d.leftAt = d.units.leave(d.cost)
	default:
		d.units.putBack(d.cost)
	}
	return d.leftAt
}

func (t *transport) mailbox(req *http.Request, cost Cost) (*http.Response, error) {
	boxes := t.units.mailboxes
	box, err := boxes.enter(req.Context(), cost)
	if err != nil {
		return nil, refuse(req, err)
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		boxes.leave(box)
		return nil, err
	}
	if pause, throttled := pauseOf(resp, t.units.clk.Now(), mailboxPause); throttled {
		boxes.shut(box, pause)
	}
	// The turn lasts until the answer has been read.
	resp.Body = &turn{ReadCloser: resp.Body, end: func() { boxes.leave(box) }}
	return resp, nil
}

// turn is a body whose end, or whose closing, ends the turn at a mailbox.
type turn struct {
	io.ReadCloser
	once sync.Once
	end  func()
}

func (t *turn) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.once.Do(t.end)
	}
	return n, err
}

func (t *turn) Close() error {
	t.once.Do(t.end)
	return t.ReadCloser.Close()
}

// refuse closes the body, as a RoundTripper must that does not send it.
func refuse(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}
