package demo_test

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// receiver is a collector of traces that speaks OTLP over HTTP.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	spans   []*traces.Span
	scopes  map[string]bool
	service map[string]string
	header  http.Header
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, scopes: map[string]bool{}, service: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(err error) { c.t.Errorf("receiving traces: %v", err) }
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		fail(fmt.Errorf("%s %s %v", r.Method, r.URL, r.Header))
	}
	unzipped, err := gzip.NewReader(r.Body)
	if err != nil {
		fail(err)
		return
	}
	raw, err := io.ReadAll(unzipped)
	if err != nil {
		fail(err)
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &request); err != nil {
		fail(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header.Clone()
	for _, of := range request.ResourceSpans {
		for _, a := range of.Resource.Attributes {
			c.service[a.Key] = a.Value.GetStringValue()
		}
		for _, by := range of.ScopeSpans {
			c.scopes[by.Scope.Name] = true
			c.spans = append(c.spans, by.Spans...)
		}
	}
}

// named returns the spans of a name.
func (c *receiver) named(name string) (list []*traces.Span) {
	for _, s := range c.spans {
		if s.Name == name {
			list = append(list, s)
		}
	}
	return list
}

// attributes returns what a span says, as text.
func attributes(s *traces.Span) map[string]string {
	m := make(map[string]string)
	for _, a := range s.Attributes {
		switch v := a.Value; {
		case v.GetStringValue() != "":
			m[a.Key] = v.GetStringValue()
		case v.GetDoubleValue() != 0:
			m[a.Key] = fmt.Sprint(v.GetDoubleValue())
		default:
			m[a.Key] = fmt.Sprint(v.GetIntValue())
		}
	}
	return m
}

func lasted(s *traces.Span) time.Duration {
	return time.Duration(s.EndTimeUnixNano - s.StartTimeUnixNano)
}

func traced(endpoint string, ratio float64, adjust ...func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		c.Tracing.Endpoint, c.Tracing.SampleRatio = endpoint+"/v1/traces", ratio
		for _, f := range adjust {
			f(c)
		}
	}
}

const (
	foreignTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceParent  = "00-" + foreignTrace + "-00f067aa0ba902b7-01"
)

func carrying(r *http.Request) { r.Header.Set("Traceparent", traceParent) }

func TestTracesTellWhatHappenedAndOfNobody(t *testing.T) {
	to := newReceiver(t)
	headers := filepath.Join(t.TempDir(), "headers")
	require.NoError(t, os.WriteFile(headers, []byte("Authorization: Bearer for-the-collector\n"), 0o600))
	book := &logBook{}
	d := startWith(t, demo.Options{Logger: book.logger(), Adjust: traced(to.URL, 1, func(c *config.Config) {
		withLists(t, c)
		c.Tracing.HeadersFile, c.Tracing.ServiceName, c.Log.Access = headers, "ucwagate-test", config.AccessAll
	})})
	c, app := life(t, d)
	c.told(t, d, app)
	c.do(http.MethodGet, app.href, "", "", carrying)
	simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{"reset":true,"probability":1}}}`)
	c.do(http.MethodGet, app.child(t, "people").href+"/somebody.else@"+d.Domain, "", "")
	require.NoError(t, d.App.Stop(t.Context()))

	require.Equal(t, "Bearer for-the-collector", to.header.Get("Authorization"))
	require.Equal(t, "ucwagate-test", to.service["service.name"])
	require.Equal(t, map[string]bool{"ucwagate": true}, to.scopes, "nobody else's spans are sent")

	const route = "/ucwa/oauth/v1/applications/:application"
	batch := to.named("POST " + route + "/batch")
	require.Len(t, batch, 1)
	require.Equal(t, traces.Span_SPAN_KIND_SERVER, batch[0].Kind)
	require.Equal(t, map[string]string{
		"http.request.method": "POST", "http.route": route + "/batch", "http.response.status_code": "200",
		"ucwagate.tenant": "simulated", "ucwagate.batch.parts": "10",
	}, attributes(batch[0]))
	require.Len(t, to.named("GET"), 1, "what has no route has no name")
	require.Len(t, to.named("_OTHER /"), 1)

	held := to.named("GET " + route + "/events")
	require.NotEmpty(t, held)
	last := held[len(held)-1]
	require.NotEmpty(t, attributes(last)["ucwagate.pget.held_seconds"])
	require.Less(t, lasted(last), time.Second, "the wait is no part of the span")

	presence := to.named("Graph presence")
	require.NotEmpty(t, presence)
	said := attributes(presence[0])
	require.Equal(t, traces.Span_SPAN_KIND_CLIENT, presence[0].Kind)
	require.Equal(t, "simulated", said["ucwagate.tenant"])
	require.Equal(t, "presence", said["ucwagate.graph.kind"])
	require.Contains(t, said, "ucwagate.graph.waited_seconds")
	lanes := map[string]bool{}
	for _, s := range presence {
		lanes[attributes(s)["ucwagate.graph.lane"]] = true
	}
	require.Subset(t, lanes, map[string]bool{"interactive": true, "publish": true, "refresh": true})
	note := to.named("POST " + route + "/me/note")[0]
	require.True(t, slices.ContainsFunc(presence, func(s *traces.Span) bool { return string(s.ParentSpanId) == string(note.SpanId) }),
		"what is sent for one request is its child")
	require.Equal(t, "200", said["http.response.status_code"])
	require.True(t, slices.ContainsFunc(to.spans, func(s *traces.Span) bool {
		return attributes(s)["error.type"] == "network" && s.Status.Code == traces.Status_STATUS_CODE_ERROR
	}), "a request that was not answered is an error")

	for _, s := range to.spans {
		require.NotEqual(t, foreignTrace, hex.EncodeToString(s.TraceId), "a stranger does not say of which trace it is")
		require.Empty(t, s.Events)
	}
	text := fmt.Sprint(to.spans)
	for _, word := range hidden(t, d, c, app) {
		require.NotContains(t, text, word)
	}
	lines := book.lines(t, "request")
	require.True(t, slices.ContainsFunc(lines, func(l map[string]any) bool {
		return l["trace"] == hex.EncodeToString(batch[0].TraceId) && l["route"] == route+"/batch"
	}), "the line of the access log names the trace")
	require.NotContains(t, book.String(), "for-the-collector")
}

func TestOnlyATrustedProxySaysWhatIsTraced(t *testing.T) {
	for name, trusted := range map[string]bool{"a stranger": false, "a trusted proxy": true} {
		t.Run(name, func(t *testing.T) {
			to := newReceiver(t)
			d := startWith(t, demo.Options{Adjust: traced(to.URL, 0, func(c *config.Config) {
				if trusted {
					c.Server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			})})
			c := newClient(t, d, asJSON)
			app := c.application(d)
			require.Equal(t, http.StatusOK, c.do(http.MethodGet, app.child(t, "me").href, "", "", carrying).status)
			require.NoError(t, d.App.Stop(t.Context()))
			if !trusted {
				require.Empty(t, to.spans)
				return
			}
			require.Len(t, to.named("GET /ucwa/oauth/v1/applications/:application/me"), 1, "%v", to.spans)
			for _, s := range to.spans {
				require.Equal(t, foreignTrace, hex.EncodeToString(s.TraceId))
			}
		})
	}
}

func TestACollectorThatIsNotThereCostsNobodyAnything(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"because it refuses":         func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such scope", http.StatusForbidden) },
		"because it does not answer": func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() },
		"because it is elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := httptest.NewServer(answer)
			defer to.Close()
			headers := filepath.Join(t.TempDir(), "headers")
			require.NoError(t, os.WriteFile(headers, []byte("Authorization: Bearer for-the-collector\n"), 0o600))
			book := &logBook{}
			d := startWith(t, demo.Options{Logger: book.logger(), Adjust: traced(to.URL, 1, func(c *config.Config) {
				withLists(t, c)
				c.Tracing.HeadersFile = headers
			})})
			life(t, d)
			began := time.Now()
			require.NoError(t, d.App.Stop(t.Context()), "what is not traced is no failure")
			require.Less(t, time.Since(began), 20*time.Second, "within the grace, however slow the machine")
			failures := append(book.lines(t, "traces could not be sent"), book.lines(t, "the last traces were not sent")...)
			require.NotEmpty(t, failures)
			require.LessOrEqual(t, len(failures), 2, "a line a minute, and one in the end")
			require.NotContains(t, book.String(), "for-the-collector")
		})
	}
}

// hidden is what is shown of nobody: who they are, and what they and the gateway
// keep to themselves.
func hidden(t *testing.T, d *demo.Demo, c *client, app *node) []string {
	t.Helper()
	me := d.Tenant.Organizer()
	words := []string{
		"@" + d.Domain, "sip:", local(me.Address()), me.DisplayName, me.Surname, "unheard.of", "somebody.else",
		secretNote, secretLocation, secretGroup, secretWord, d.Password, c.token, "cwt=", "Bearer ", strings.TrimPrefix(app.href, "/ucwa/oauth/v1/applications/"),
	}
	for _, contact := range d.Contacts {
		who, ok := d.Tenant.Find(strings.TrimPrefix(contact.URI, "sip:"))
		require.True(t, ok)
		words = append(words, local(who.Address()), contact.Name, who.ID)
	}
	_, _, secret := d.Tenant.Credentials()
	return append(words, secret)
}
