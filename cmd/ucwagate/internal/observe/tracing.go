package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"ucwagate/graphsrc/clock"
)

// TracingOptions are what NewTracing needs.
type TracingOptions struct {
	// Endpoint is the whole URL to which spans are sent by OTLP over HTTP.
	Endpoint string
	// Headers go with them; they may be a secret.
	Headers map[string]string
	// SampleRatio is the part of the traces begun here that is recorded, from 0
	// to 1.
	SampleRatio                 float64
	ServiceName, ServiceVersion string
	Logger                      *slog.Logger
	Clock                       clock.Clock
}

// Tracing records spans and sends them in the background. A nil *Tracing records
// none and costs nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
	exporter *exporter
	client   *http.Client
	tracer   trace.Tracer
}

const (
	// scopeName is who made the spans.
	scopeName = "ucwagate"
	// Spans beyond queued are dropped: a collector that cannot be reached must
	// cost neither memory nor time.
	queued      = 4096
	batched     = 512
	sendEvery   = 5 * time.Second
	sendTimeout = 10 * time.Second // one attempt
	sendRetries = 30 * time.Second // all of them
)

// NewTracing returns a Tracing that has contacted nobody. What the variables of
// OpenTelemetry's SDK (OTEL_…) say of any of this has no effect.
func NewTracing(o TracingOptions) (*Tracing, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{
		Transport: transport, Timeout: sendTimeout,
		// The headers may be a secret, which is for the endpoint alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	headers := o.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	otlp, err := otlptracehttp.New(context.Background(),
		otlptracehttp.WithEndpointURL(o.Endpoint), otlptracehttp.WithHeaders(headers), otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithTimeout(sendTimeout), otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: time.Second, MaxInterval: 10 * time.Second, MaxElapsedTime: sendRetries,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("building the exporter of traces: %w", err)
	}
	sent := newExporter(otlp, o.Logger, o.Clock)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(sent,
			sdktrace.WithMaxQueueSize(queued), sdktrace.WithMaxExportBatchSize(batched),
			sdktrace.WithBatchTimeout(sendEvery), sdktrace.WithExportTimeout(sendRetries)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.SampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", o.ServiceName), attribute.String("service.version", o.ServiceVersion),
		)),
	)
	return &Tracing{provider: provider, exporter: sent, client: client, tracer: provider.Tracer(scopeName)}, nil
}

// Stop sends what has not been sent, as long as ctx lets it, and gives up what
// is left then. No span is recorded afterwards.
func (t *Tracing) Stop(ctx context.Context) error {
	defer t.client.CloseIdleConnections()
	err := t.provider.Shutdown(ctx)
	if err == nil {
		return nil
	}
	// What is under way is cut off, and nothing else is sent.
	err = errors.Join(err, t.exporter.Shutdown(context.WithoutCancel(ctx)))
	return fmt.Errorf("sending the last traces: %w", err)
}

// incoming returns ctx with the trace that a request names, which is only ever
// read of those who are trusted: it decides whether spans are recorded.
func incoming(ctx context.Context, h http.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
}
