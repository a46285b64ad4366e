package observe

import (
	"context"
	"log/slog"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"ucwagate/graphsrc/clock"
)

// complainEvery is how often failures to send spans are logged at most.
const complainEvery = time.Minute

// exporter logs what it cannot send: OpenTelemetry would write each failure to
// standard error by itself.
type exporter struct {
	sdktrace.SpanExporter
	log *slog.Logger
	clk clock.Clock

	mu    sync.Mutex
	quiet time.Time // nothing is logged before
	lost  int       // spans since the last line
}

func newExporter(next sdktrace.SpanExporter, log *slog.Logger, clk clock.Clock) *exporter {
	return &exporter{SpanExporter: next, log: log, clk: clk}
}

// ExportSpans implements sdktrace.SpanExporter. It never fails.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += len(spans)
	now := e.clk.Now()
	if now.Before(e.quiet) {
		return nil
	}
	e.log.WarnContext(ctx, "traces could not be sent", "spans", e.lost, "error", shortened(err.Error()))
	e.quiet, e.lost = now.Add(complainEvery), 0
	return nil
}

// maxError bounds what is logged of an error, in bytes: it quotes the answer of
// the collector.
const maxError = 300

func shortened(text string) string {
	if len(text) > maxError {
		return text[:maxError] + "…"
	}
	return text
}
