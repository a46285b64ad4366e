package observe

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/units"
)

// Attributes of spans. Those with a dot after the name of the program are its
// own; the others are OpenTelemetry's.
const (
	attrMethod    = "http.request.method"
	attrStatus    = "http.response.status_code"
	attrRoute     = "http.route"
	attrError     = "error.type"
	attrTenant    = "ucwagate.tenant"
	attrParts     = "ucwagate.batch.parts"
	attrHeld      = "ucwagate.pget.held_seconds"
	attrGraphKind = "ucwagate.graph.kind"
	attrLane      = "ucwagate.graph.lane"
	attrWaited    = "ucwagate.graph.waited_seconds"
)

// GraphTransport records a span for each request physically sent to Graph for a
// tenant, from then until its answer begins. It belongs below the budget.
//
// What many ask for is one request, and nobody's child: its span is a trace of
// its own.
func (t *Tracing) GraphTransport(tenant string, next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return &graphTransport{tracer: t.tracer, tenant: tenant, next: next}
}

type graphTransport struct {
	tracer trace.Tracer
	tenant string
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *graphTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := units.CostOf(r.Method, r.URL).Kind
	_, span := t.tracer.Start(r.Context(), "Graph "+kind, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	answer, err := t.next.RoundTrip(r)
	if !span.IsRecording() {
		return answer, err
	}
	span.SetAttributes(attribute.String(attrMethod, known(r.Method)), attribute.String(attrTenant, t.tenant), attribute.String(attrGraphKind, kind))
	if send, ok := budget.SendOf(r.Context()); ok {
		span.SetAttributes(attribute.String(attrLane, send.Lane.String()), attribute.Float64(attrWaited, send.Waited.Seconds()))
	}
	if err != nil {
		// Not the error itself, which quotes the URL.
		span.SetAttributes(attribute.String(attrError, errorType(err)))
		span.SetStatus(codes.Error, "")
		return answer, err
	}
	span.SetAttributes(attribute.Int(attrStatus, answer.StatusCode))
	if answer.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "")
	}
	return answer, nil
}

func errorType(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "network"
}
