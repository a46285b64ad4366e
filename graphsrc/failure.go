package graphsrc

import (
	"context"
	"errors"
	"time"

	"ucwagate/graphsrc/budget"
)

// Codes of errors that are made here and not by Graph.
const (
	// CodeForeignDomain marks a KindNotFound for an address outside
	// Options.Domains: nobody was asked.
	CodeForeignDomain = "ForeignDomain"
	// CodeInvalidAddress marks a KindInvalid for what is no address.
	CodeInvalidAddress = "InvalidAddress"
	// CodeInvalidID marks a KindInvalid for what is no object id.
	CodeInvalidID = "InvalidId"
	// CodeBudget marks a KindThrottled by our own budget, not by Graph.
	CodeBudget = "BudgetExhausted"
)

// ErrHidden is the cause of a KindForbidden that was answered without asking,
// because Graph refused the same kind of question a short while ago.
var ErrHidden = errors.New("not asked: the permission was missing a short while ago")

var errClosed = errors.New("the source is closed")

// asError makes an *Error of whatever came back: the budget's refusal is
// KindThrottled wherever in the chain it stands, a context's end KindTimeout
// (its cause stays visible to errors.Is), anything else unknown KindUnavailable.
func asError(op string, err error) *Error {
	var spent *budget.ExhaustedError
	if errors.As(err, &spent) {
		return &Error{Op: op, Kind: KindThrottled, Code: CodeBudget, RetryAfter: spent.RetryAfter, Err: err}
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &Error{Op: op, Kind: KindTimeout, Err: err}
	}
	return &Error{Op: op, Kind: KindUnavailable, Err: err}
}

// transient says that the same question may be answered a moment later: what
// is already known may be served meanwhile.
func (k Kind) transient() bool {
	switch k {
	case KindThrottled, KindUnavailable, KindTimeout, KindMalformed, KindUnauthorized:
		return true
	}
	return false
}

const (
	// outageAfter is how many requests in a row must fail before Graph counts
	// as down: a few failures among successes must not stop everybody.
	outageAfter = 3
	// outagePause is how long nobody asks once it does.
	outagePause = time.Second
	// maxOutagePause bounds the Retry-After of a 503 that is honoured here.
	maxOutagePause = 30 * time.Second
)

// outage remembers that Graph is down, so that a dead Graph costs a few sends
// a second however many ask. It is guarded by the coalescer's lock.
type outage struct {
	failures int
	until    time.Time
	last     *Error
}

// observe takes the outcome of one request.
func (o *outage) observe(err *Error, now time.Time) {
	if err == nil || (err.Kind != KindUnavailable && err.Kind != KindUnauthorized) {
		// Any other answer proves that somebody is there.
		if err == nil || err.Kind != KindTimeout {
			*o = outage{}
		}
		return
	}
	o.failures++
	if o.failures >= outageAfter {
		o.last = err
		o.until = now.Add(max(outagePause, min(err.RetryAfter, maxOutagePause)))
	}
}

// err is the error to answer with instead of asking, or nil.
func (o *outage) err(now time.Time) error {
	if o.last == nil || !now.Before(o.until) {
		return nil
	}
	e := *o.last
	e.RetryAfter = o.until.Sub(now)
	return &e
}
