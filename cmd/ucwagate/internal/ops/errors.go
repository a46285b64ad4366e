package ops

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// maxProblems is how many different problems are remembered; of more, those that
// have not been seen for longest are forgotten.
const maxProblems = 20

// Errors remembers which problems there were, how often, and when first and
// last. It is safe for concurrent use, and a nil *Errors remembers nothing.
type Errors struct {
	clk clock.Clock

	mu    sync.Mutex
	known map[Problem]*list.Element
	order *list.List // of *seen, the last seen in front
}

type seen struct {
	Problem
	count       uint64
	first, last time.Time
}

// NewErrors returns an empty memory; a nil clock is the system's.
func NewErrors(clk clock.Clock) *Errors {
	if clk == nil {
		clk = clock.System()
	}
	return &Errors{clk: clk, known: make(map[Problem]*list.Element), order: list.New()}
}

// Record notes a problem. An unknown cause is CauseInternal, an unknown area
// none, so that nothing but the words of the tables is ever shown.
func (e *Errors) Record(p Problem) {
	if e == nil {
		return
	}
	if _, ok := advices[p.Cause]; !ok {
		p.Cause = CauseInternal
	}
	if _, ok := permissions[p.Area]; !ok {
		p.Area = ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clk.Now()
	if at := e.known[p]; at != nil {
		one := at.Value.(*seen)
		one.count++
		one.last = now
		e.order.MoveToFront(at)
		return
	}
	e.known[p] = e.order.PushFront(&seen{p, 1, now, now})
	if e.order.Len() > maxProblems {
		delete(e.known, e.order.Remove(e.order.Back()).(*seen).Problem)
	}
}

// RecordError notes what an error says, if it is anybody's problem: that a
// person is not there is none, nor that a caller has left.
func (e *Errors) RecordError(tenant string, err error) {
	if p, ok := problemOf(err); ok {
		p.Tenant = tenant
		e.Record(p)
	}
}

// list returns what is remembered, the last seen first.
func (e *Errors) list() []seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]seen, 0, e.order.Len())
	for at := e.order.Front(); at != nil; at = at.Next() {
		all = append(all, *at.Value.(*seen))
	}
	return all
}

func problemOf(err error) (Problem, bool) {
	var graph *graphsrc.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return Problem{}, false
	case !errors.As(err, &graph):
		return Problem{Cause: causeOfNetwork(err)}, true
	}
	switch graph.Kind {
	case graphsrc.KindNotFound, graphsrc.KindGone:
		return Problem{}, false
	case graphsrc.KindForbidden:
		return Problem{Cause: CausePermission}, true
	case graphsrc.KindUnauthorized:
		return Problem{Cause: CauseCredential}, true
	case graphsrc.KindThrottled:
		if graph.Status == 0 {
			return Problem{Cause: CauseBudget}, true
		}
		return Problem{Cause: CauseThrottled}, true
	case graphsrc.KindTimeout:
		return Problem{Cause: CauseTimeout}, true
	case graphsrc.KindMalformed:
		return Problem{Cause: CauseMalformed}, true
	case graphsrc.KindInvalid:
		return Problem{Cause: CauseRequest}, true
	case graphsrc.KindUnavailable:
		if graph.Status == 0 && graph.Err != nil {
			return Problem{Cause: causeOfNetwork(graph.Err)}, true
		}
		return Problem{Cause: CauseGraph}, true
	}
	return Problem{Cause: CauseInternal}, true
}

// causeOfNetwork tells apart why nothing was answered.
func causeOfNetwork(err error) Cause {
	var (
		name     *net.DNSError
		verify   *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		wire     net.Error
	)
	switch {
	case errors.As(err, &name):
		return CauseName
	case errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid):
		return CauseCertificate
	case errors.Is(err, context.DeadlineExceeded):
		return CauseTimeout
	case errors.As(err, &wire):
		if wire.Timeout() {
			return CauseTimeout
		}
		return CauseNetwork
	}
	return CauseNetwork
}

// Transport notes the problems of what is physically sent to Graph for a tenant,
// whose name is shown.
func (e *Errors) Transport(tenant string, next http.RoundTripper) http.RoundTripper {
	if e == nil {
		return next
	}
	return &transport{errors: e, tenant: tenant, next: next}
}

type transport struct {
	errors *Errors
	tenant string
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := t.next.RoundTrip(r)
	var cause Cause
	switch {
	case err != nil && errors.Is(err, context.Canceled):
	case err != nil:
		cause = causeOfNetwork(err)
	default:
		cause = causeOfStatus(a.StatusCode)
	}
	if cause != "" {
		t.errors.Record(Problem{Tenant: t.tenant, Cause: cause, Area: areaOf(r.Method, r.URL.Path)})
	}
	return a, err
}

// causeOfStatus is empty where nothing is wrong: people without a photo or a
// manager are usual (404), and a delta that is too old begins anew (410).
func causeOfStatus(status int) Cause {
	switch status {
	case http.StatusUnauthorized:
		return CauseCredential
	case http.StatusForbidden:
		return CausePermission
	case http.StatusProxyAuthRequired:
		return CauseProxy
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return CauseTimeout
	case http.StatusTooManyRequests:
		return CauseThrottled
	case http.StatusNotFound, http.StatusGone:
		return ""
	}
	switch {
	case status >= 500:
		return CauseGraph
	case status >= 400:
		return CauseRequest
	case status >= 300 && status != http.StatusNotModified && status != http.StatusFound:
		return CauseMalformed
	}
	return ""
}

// areaWords tells areas by a segment of the path; the first row that fits counts.
var areaWords = []struct {
	word, method string // an empty method is any
	area         Area
}{
	{"subscriptions", "", AreaSubscriptions},
	{"getpresencesbyuserid", "", AreaPresence},
	{"presence", http.MethodPost, AreaPublishing},
	{"presence", "", AreaPresence},
	{"photo", "", AreaPhotos},
	{"photos", "", AreaPhotos},
	{"contactfolders", "", AreaContacts},
	{"contacts", "", AreaContacts},
	{"people", "", AreaPeople},
	{"members", "", AreaMembers},
	{"transitivemembers", "", AreaMembers},
	{"memberof", "", AreaMemberships},
	{"transitivememberof", "", AreaMemberships},
	{"groups", "", AreaGroups},
	{"users", "", AreaUsers},
}

// areaOf tells the area of a request. Of the path only known words matter.
func areaOf(method, path string) Area {
	segments := strings.Split(strings.ToLower(path), "/")
	for _, row := range areaWords {
		if row.method != "" && row.method != method {
			continue
		}
		for _, s := range segments {
			word, _, _ := strings.Cut(s, "(") // OData's form of keys and functions
			if word == row.word {
				return row.area
			}
		}
	}
	return ""
}
