package metrics

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"ucwagate/graphsrc/units"
)

// GraphTransport counts and times what is physically sent to Graph for a tenant,
// whose name becomes a label. It belongs below the budget, whose waiting would be
// taken for Graph's.
func (m *Metrics) GraphTransport(tenant string, next http.RoundTripper) http.RoundTripper {
	if m == nil {
		return next
	}
	return &graphTransport{m: m, tenant: tenant, next: next}
}

type graphTransport struct {
	m      *Metrics
	tenant string
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *graphTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	began := t.m.clk.Now()
	answer, err := t.next.RoundTrip(r)
	t.m.events.answerTime.WithLabelValues(t.tenant).Observe(t.m.clk.Now().Sub(began).Seconds())
	t.m.events.answers.WithLabelValues(t.tenant, units.CostOf(r.Method, r.URL).Kind, resultOf(answer, err)).Inc()
	return answer, err
}

// resultOf tells those statuses apart that ask for something to be done.
func resultOf(answer *http.Response, err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case err != nil:
		return "network"
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		return strconv.Itoa(answer.StatusCode)
	}
	return statusClass(answer.StatusCode)
}
