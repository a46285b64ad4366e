// Package observe is what operators can follow of single requests: a span and a
// line of the access log for each request of a client, and a span for each
// request to Graph.
//
//	client ──▶ Requests ──▶ server        span by route template, line when it ends
//	gateway ──▶ budget ──▶ GraphTransport ──▶ Graph   span for each physical send
//
// The spans are made here and not by the instrumentation of net/http, which
// writes the URL into them: paths of UCWA and of Graph hold addresses and ids of
// people. For the same reason the tracer provider is nobody else's: what the
// Graph SDK and azidentity would trace goes to OpenTelemetry's global provider,
// which is never set.
//
// A P-GET has no span while it waits, which can take half an hour and says
// nothing: its span begins when the wait is over and says how long it was held.
//
// The package must never know what a request means, and never writes a query, a
// body, a header or a path. Addresses are written into the access log only where
// it is told to.
package observe
