package observe

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/graphsrc/clock"
)

// BenchmarkRequest is what recording adds to a request that does nothing; bare is
// one of which nothing is recorded.
func BenchmarkRequest(b *testing.B) {
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer collector.Close()
	for _, c := range []struct {
		name   string
		access Access
		traced bool
		ratio  float64
	}{
		{"bare", AccessOff, false, 0},
		{"access log", AccessAll, false, 0},
		{"access log of errors", AccessErrors, false, 0},
		{"traced, none recorded", AccessOff, true, 0},
		{"traced, all recorded", AccessOff, true, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			log := slog.New(slog.NewJSONHandler(io.Discard, nil))
			o := Options{
				Access: c.access, Trusted: func(*http.Request) bool { return false }, Client: func(*http.Request) string { return "192.0.2.1" },
				Whose: func(gateway.Principal) User { return User{} }, Logger: log, Clock: clock.System(),
			}
			if c.traced {
				var err error
				o.Tracing, err = NewTracing(TracingOptions{
					Endpoint: collector.URL, SampleRatio: c.ratio, ServiceName: "ucwagate", Logger: slog.New(slog.DiscardHandler), Clock: clock.System(),
				})
				require.NoError(b, err)
				defer func() { require.NoError(b, o.Tracing.Stop(context.Background())) }()
			}
			h := NewRequests(o).Middleware(
				func(*http.Request) Route { return Route{Template: "/ucwa/:application/me"} },
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
			)
			r := httptest.NewRequest(http.MethodGet, "/ucwa/17/me", http.NoBody)
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
