package metrics

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	mePath     = "/ucwa/:application/me"
	eventsPath = "/ucwa/:application/events"
)

func routeOf(r *http.Request) Route {
	switch {
	case strings.HasSuffix(r.URL.Path, "/me"):
		return Route{Template: mePath}
	case strings.HasSuffix(r.URL.Path, "/events"):
		return Route{Template: eventsPath, PGet: true}
	case strings.HasSuffix(r.URL.Path, "/new"):
		return Route{Template: r.URL.Path}
	}
	return Route{}
}

func answering(m *Metrics, h http.HandlerFunc) http.Handler {
	return m.Middleware([]string{mePath, eventsPath}, routeOf)(h)
}

func TestRequestsAreCountedByRouteMethodAndClass(t *testing.T) {
	status := http.StatusOK
	m := New(Options{})
	h := answering(m, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
	for _, c := range []struct {
		name, method, path string
		status             int
		want               string
	}{
		{"a known route", "GET", "/ucwa/17/me", 200, `{method="GET",route="/ucwa/:application/me",status="2xx"} 1`},
		{"another application is the same route", "GET", "/ucwa/18/me", 204, `{method="GET",route="/ucwa/:application/me",status="2xx"} 2`},
		{"a refusal", "POST", "/ucwa/17/me", 403, `{method="POST",route="/ucwa/:application/me",status="4xx"} 1`},
		{"no route", "GET", "/ana@contoso.test", 404, `{method="GET",route="other",status="4xx"} 1`},
		{"a route that was not announced", "GET", "/1/new", 200, `{method="GET",route="other",status="2xx"} 1`},
		{"an invented method", "HACK", "/ucwa/17/me", 405, `{method="other",route="/ucwa/:application/me",status="4xx"} 1`},
		{"a status that does not exist", "GET", "/ucwa/17/me", 999, `{method="GET",route="/ucwa/:application/me",status="other"} 1`},
		{"a P-GET", "GET", "/ucwa/17/events", 200, `{method="GET",route="/ucwa/:application/events",status="2xx"} 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status = c.status
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, c.path, nil))
			require.Contains(t, scrape(t, m), "ucwagate_http_requests_total"+c.want)
		})
	}
	require.NotContains(t, scrape(t, m), "@")
}

func TestPGetsAreTimedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{})
		release := make(chan struct{})
		h := answering(m, func(w http.ResponseWriter, r *http.Request) { <-release })
		for _, path := range []string{"/ucwa/17/events", "/ucwa/17/events", "/ucwa/17/me"} {
			go h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
		}
		synctest.Wait()
		scraped := scrape(t, m)
		require.Contains(t, scraped, `ucwagate_http_requests_in_flight{kind="pget"} 2`)
		require.Contains(t, scraped, `ucwagate_http_requests_in_flight{kind="other"} 1`)

		<-time.After(42 * time.Second)
		close(release)
		synctest.Wait()
		scraped = scrape(t, m)
		require.Contains(t, scraped, `ucwagate_http_requests_in_flight{kind="pget"} 0`)
		require.Contains(t, scraped, `ucwagate_pget_duration_seconds_sum{status="2xx"} 84`)
		require.Contains(t, scraped, `ucwagate_pget_duration_seconds_bucket{status="2xx",le="30"} 0`)
		require.Contains(t, scraped, `ucwagate_pget_duration_seconds_bucket{status="2xx",le="60"} 2`)
		require.Contains(t, scraped, `ucwagate_http_request_duration_seconds_sum{method="GET",route="/ucwa/:application/me"} 42`)
		require.NotContains(t, scraped, `ucwagate_http_request_duration_seconds_sum{method="GET",route="/ucwa/:application/events"}`)
	})
}

func TestAHandlerThatPanicsIsCountedAndNotHeld(t *testing.T) {
	m := New(Options{})
	h := answering(m, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/ucwa/1/me", nil))
	})
	scraped := scrape(t, m)
	require.Contains(t, scraped, `{method="GET",route="/ucwa/:application/me",status="aborted"} 1`)
	require.Contains(t, scraped, `ucwagate_http_requests_in_flight{kind="other"} 0`)
}

func TestWhatAWriterCanDoItStillCan(t *testing.T) {
	m := New(Options{})
	flushed := make(chan struct{})
	server := httptest.NewServer(answering(m, func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		if err := controller.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-flushed
		w.WriteHeader(http.StatusTeapot) // too late
	}))
	defer server.Close()
	answer, err := server.Client().Get(server.URL + "/ucwa/1/me")
	require.NoError(t, err)
	defer answer.Body.Close()
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	close(flushed)
	server.Close()
	require.Contains(t, scrape(t, m), `{method="GET",route="/ucwa/:application/me",status="2xx"} 1`)

	w := &recorder{ResponseWriter: httptest.NewRecorder()}
	w.Flush()
	require.Equal(t, http.StatusOK, w.status)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnswersOfGraphAreCountedByKindAndResult(t *testing.T) {
	for _, c := range []struct {
		name, path, want string
		status           int
		err              error
	}{
		{"presence", "/v1.0/communications/getPresencesByUserId", `kind="presence",result="2xx"`, 200, nil},
		{"throttled", "/v1.0/users/ana@contoso.test/presence", `kind="presence",result="429"`, 429, nil},
		{"no permission", "/v1.0/users/1/photos/48x48/$value", `kind="photo",result="403"`, 403, nil},
		{"no token", "/v1.0/users/1/people", `kind="people",result="401"`, 401, nil},
		{"not there", "/v1.0/users/1", `kind="other",result="404"`, 404, nil},
		{"refused", "/v1.0/groups", `kind="other",result="4xx"`, 400, nil},
		{"down", "/v1.0/users/delta", `kind="users/delta",result="5xx"`, 503, nil},
		{"out of reach", "/v1.0/users", `kind="users",result="network"`, 0, errors.New("connection refused")},
		{"given up", "/v1.0/users", `kind="users",result="canceled"`, 0, context.Canceled},
		{"too slow", "/v1.0/users", `kind="users",result="timeout"`, 0, &url.Error{Err: context.DeadlineExceeded}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := New(Options{})
				method := http.MethodGet
				if c.name == "presence" {
					method = http.MethodPost
				}
				sent := m.GraphTransport("contoso", roundTripper(func(*http.Request) (*http.Response, error) {
					<-time.After(80 * time.Millisecond)
					if c.err != nil {
						return nil, c.err
					}
					return &http.Response{StatusCode: c.status}, nil
				}))
				_, err := sent.RoundTrip(httptest.NewRequest(method, "https://graph.microsoft.com"+c.path, nil))
				require.Equal(t, c.err, err)
				scraped := scrape(t, m)
				require.Contains(t, scraped, "ucwagate_graph_answers_total{"+c.want+`,tenant="contoso"} 1`)
				require.Contains(t, scraped, `ucwagate_graph_answer_duration_seconds_sum{tenant="contoso"} 0.08`)
				require.NotContains(t, scraped, "@")
			})
		})
	}
}
