package units

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/graphsrc/budget"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeGraph stands in for Graph: it notes what arrives when.
type fakeGraph struct {
	mu       sync.Mutex
	arrivals []arrival
	headers  []http.Header
	latency  func() time.Duration // until a request arrives
	answer   func(n int) (status int, header map[string]string)
	fail     error // instead of sending
}

type arrival struct {
	at    time.Time
	units int
	path  string
}

func (s *fakeGraph) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	fail, latency, answer := s.fail, s.latency, s.answer
	s.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if latency != nil {
		<-time.After(latency())
	}
	s.mu.Lock()
	s.arrivals = append(s.arrivals, arrival{time.Now(), CostOf(req.Method, req.URL).Units, req.URL.Path})
	s.headers = append(s.headers, req.Header)
	n := len(s.arrivals)
	s.mu.Unlock()
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: req}
	if answer != nil {
		status, header := answer(n)
		resp.StatusCode = status
		for name, value := range header {
			resp.Header.Set(name, value)
		}
	}
	return resp, nil
}

func (s *fakeGraph) seen() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]arrival(nil), s.arrivals...)
}

func (s *fakeGraph) say(status int, header map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(int) (int, map[string]string) { return status, header }
}

// worst is the most units that arrived in any window.
func (s *fakeGraph) worst() int {
	worst, sum, from := 0, 0, 0
	list := s.seen()
	for _, a := range list {
		for a.at.Sub(list[from].at) > Window {
			sum -= list[from].units
			from++
		}
		sum += a.units
		worst = max(worst, sum)
	}
	return worst
}

const (
	getUser    = "/v1.0/users/a?$select=id"
	getMembers = "/v1.0/groups/g/members"
	getPhoto   = "/v1.0/users/a/photos/48x48/$value"
)

func send(t testing.TB, ctx context.Context, rt http.RoundTripper, path string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://graph.test"+path, nil)
	require.NoError(t, err)
	resp, err := rt.RoundTrip(req)
	if err == nil {
		require.NoError(t, resp.Body.Close())
	}
	return err
}

func inLane(ctx context.Context, lane budget.Lane) context.Context { return budget.WithLane(ctx, lane) }

// started returns units that nothing random belongs to.
func started(t testing.TB, size Size) *Units {
	u := New(Options{Size: size, Jitter: func() float64 { return 0 }})
	t.Cleanup(u.Close)
	return u
}

func wait(d time.Duration) { <-time.After(d) }
