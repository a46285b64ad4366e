package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"ucwagate/gateway"
	"ucwagate/graphsrc/clock"
)

// refusing is an exporter whose collector refuses everything.
type refusing struct{ sdktrace.SpanExporter }

func (refusing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("no: " + strings.Repeat("x", 1000))
}

func TestAFailureToSendIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := newExporter(refusing{}, slog.New(slog.NewTextHandler(&log, nil)), clock.System())
		spans := tracetest.SpanStubs{{Name: "a"}, {Name: "b"}}.Snapshots()
		for range 5 {
			require.NoError(t, e.ExportSpans(t.Context(), spans), "nobody else is to complain")
			<-time.After(10 * time.Second)
		}
		require.Equal(t, 1, strings.Count(log.String(), "traces could not be sent"))
		require.Contains(t, log.String(), "spans=2")
		<-time.After(10 * time.Second)
		require.NoError(t, e.ExportSpans(t.Context(), spans))
		require.Equal(t, 2, strings.Count(log.String(), "traces could not be sent"))
		require.Contains(t, log.String(), "spans=10", "all that were lost since")
		require.Less(t, log.Len(), 2*(maxError+200), "an answer of the collector is cut short")
	})
}

func quiet(access Access, log io.Writer) *Requests {
	return NewRequests(Options{
		Access: access, Client: func(*http.Request) string { return "192.0.2.1" },
		Whose:  func(gateway.Principal) User { return User{} },
		Logger: slog.New(slog.NewJSONHandler(log, nil)), Clock: clock.System(),
	})
}

func TestWhereNothingIsRecordedNothingIsInTheWay(t *testing.T) {
	h := http.NewServeMux()
	require.Same(t, h, quiet(AccessOff, io.Discard).Middleware(nil, h))
	var none *Tracing
	require.Equal(t, http.DefaultTransport, none.GraphTransport("contoso", http.DefaultTransport))
}

func TestTheLineOfARequestIsTrueHoweverItEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		left   bool
		answer http.HandlerFunc
		status float64
		bytes  float64
		panics bool
		error  bool // has a line where only errors have
	}{
		{"with an answer", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); _, _ = io.WriteString(w, "made") }, 201, 4, false, false},
		{"with a refusal", false, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 404) }, 404, 3, false, true},
		{"without a word", false, func(http.ResponseWriter, *http.Request) {}, 200, 0, false, false},
		{"with a body alone", false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, 200, 2, false, false},
		{"with early hints before", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(204) }, 204, 0, false, false},
		{"because the client left", true, func(http.ResponseWriter, *http.Request) {}, 0, 0, false, false},
		{"in a panic", false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, 0, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for access, wanted := range map[Access]bool{AccessAll: true, AccessErrors: c.error} {
				var log bytes.Buffer
				h := quiet(access, &log).Middleware(func(*http.Request) Route { return Route{Template: "/t"} }, c.answer)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				if c.left {
					leave()
				}
				serve := func() {
					h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/ana@contoso.com?token=x", http.NoBody))
				}
				if c.panics {
					require.PanicsWithValue(t, http.ErrAbortHandler, serve)
				} else {
					serve()
				}
				require.Equal(t, wanted, log.Len() > 0)
				if !wanted {
					continue
				}
				require.NotContains(t, log.String(), "contoso")
				var line map[string]any
				require.NoError(t, json.Unmarshal(log.Bytes(), &line))
				require.Equal(t, c.status, line["status"])
				require.Equal(t, c.bytes, line["bytes"])
				require.Equal(t, "/t", line["route"])
				require.Equal(t, "192.0.2.1", line["peer"])
			}
		})
	}
}

func TestWhatAWriterCanDoItStillCan(t *testing.T) {
	h := quiet(AccessAll, io.Discard).Middleware(func(*http.Request) Route { return Route{} }, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
	}))
	server := httptest.NewServer(h)
	defer server.Close()
	answer, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
}
