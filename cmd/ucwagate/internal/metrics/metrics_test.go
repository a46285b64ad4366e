package metrics

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// eventful counts one of everything, at the buckets' limits where there are any.
func eventful(m *Metrics) {
	m.SignIn("password", "ok")
	m.SignIn("password", "wrong-password")
	m.SignIn("entra", "unavailable")
	m.Wake(7 * time.Millisecond)
	m.Wake(-1)
	m.Batch(5)
	m.Limited("slow-reader")
	m.RedisOperation("evalsha", "ok", 3*time.Millisecond)
	m.RedisOperation("pipeline", "timeout", time.Second)
	m.RedisOperation("FLUSHALL", "unheard of", -1)
	m.events.requests.WithLabelValues("/ucwa/:application/me", http.MethodGet, "2xx").Inc()
	m.events.duration.WithLabelValues("/ucwa/:application/me", http.MethodGet).Observe(.005)
	m.events.pget.WithLabelValues("2xx").Observe(42)
	m.events.answers.WithLabelValues("contoso", "presence", "2xx").Inc()
	m.events.answerTime.WithLabelValues("contoso").Observe(.12)
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	h, err := m.Handler()
	require.NoError(t, err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return w.Body.String()
}

func own(scraped string) string {
	var b strings.Builder
	for line := range strings.Lines(scraped) {
		if strings.Contains(line, "ucwagate_") {
			b.WriteString(strings.ReplaceAll(line, runtime.Version(), "GO"))
		}
	}
	return b.String()
}

func TestAScrapeShowsEveryNumberInItsPlace(t *testing.T) {
	m := everything(t)
	eventful(m)
	scraped := scrape(t, m)
	require.Contains(t, scraped, "go_goroutines")
	require.Contains(t, scraped, "process_")
	golden := filepath.Join("testdata", "scrape.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(own(scraped)), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), own(scraped))
}

func TestTheLinterOfPrometheusHasNothingToSay(t *testing.T) {
	m := everything(t)
	eventful(m)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(m), "described metrics only")
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestFamiliesListWhatIsScraped(t *testing.T) {
	m := everything(t)
	eventful(m)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(m))
	gathered, err := registry.Gather()
	require.NoError(t, err)
	families := Families()
	require.Len(t, gathered, len(families), "both are sorted by name")
	for i, g := range gathered {
		f := families[i]
		require.Equal(t, f.Name, g.GetName())
		require.Equal(t, f.Help, g.GetHelp(), f.Name)
		require.Equal(t, f.Type, strings.ToLower(g.GetType().String()), f.Name)
		var labels []string
		for _, pair := range g.GetMetric()[0].GetLabel() {
			labels = append(labels, pair.GetName())
		}
		require.ElementsMatch(t, f.Labels, labels, f.Name)
		require.Regexp(t, `^[^\s].*[.]$`, f.Help, f.Name)
	}
}

func TestNoLabelNamesAnAccount(t *testing.T) {
	require.NotRegexp(t, regexp.MustCompile(`"(one|two|three)"`), scrape(t, everything(t)))
}

func TestSourcesThatAreAbsentHaveNoMetrics(t *testing.T) {
	m := New(Options{})
	require.NoError(t, m.AddTenant(Tenant{Name: "bare"}))
	require.NotContains(t, scrape(t, m), "bare")
}

func TestEachTenantHasALabelOfItsOwn(t *testing.T) {
	m := everything(t)
	require.ErrorContains(t, m.AddTenant(Tenant{Name: "contoso"}), "taken")
	require.ErrorContains(t, m.AddTenant(Tenant{}), "empty")
	require.NoError(t, m.AddTenant(tenantWithEverything("fabrikam")))
	scraped := scrape(t, m)
	require.Contains(t, scraped, `ucwagate_graph_budget_tokens{tenant="contoso"} 41.5`)
	require.Contains(t, scraped, `ucwagate_graph_budget_tokens{tenant="fabrikam"} 41.5`)
}

func TestAStoreThatFailsDoesNotHideTheRest(t *testing.T) {
	m := everything(t)
	var deadline bool
	m.SetGateway(gatewayFunc(func(ctx context.Context) (GatewayStats, error) {
		_, deadline = ctx.Deadline()
		return GatewayStats{}, errors.New("down")
	}))
	scraped := scrape(t, m)
	require.True(t, deadline)
	require.NotContains(t, scraped, "ucwagate_applications")
	require.Contains(t, scraped, "ucwagate_graph_budget_tokens")
	require.Contains(t, scraped, "ucwagate_scrape_errors_total 1")
}

func TestLabelsOfEventsComeFromClosedSets(t *testing.T) {
	m := New(Options{})
	m.SignIn("ana@contoso.test", "hunter2")
	require.Contains(t, scrape(t, m), `ucwagate_signins_total{method="other",result="other"} 1`)
}

func TestNoMetricsCountNothing(t *testing.T) {
	var m *Metrics
	m.SignIn("password", "ok")
	m.Wake(1)
	m.Batch(1)
	next := http.NotFoundHandler()
	w := httptest.NewRecorder()
	m.Middleware(nil, func(*http.Request) Route { panic("asked") })(next).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Equal(t, http.DefaultTransport, m.GraphTransport("contoso", http.DefaultTransport))
}

func TestEverythingMayHappenAtOnce(t *testing.T) {
	m := everything(t)
	served := m.Middleware([]string{"/a"}, func(*http.Request) Route { return Route{Template: "/a"} })(http.NotFoundHandler())
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			for range 50 {
				switch i % 4 {
				case 0:
					registry := prometheus.NewRegistry()
					if err := registry.Register(m); err != nil {
						t.Error(err)
					}
					if _, err := registry.Gather(); err != nil {
						t.Error(err)
					}
				case 1:
					eventful(m)
				case 2:
					served.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/a", nil))
				case 3:
					m.SetGateway(gatewayFunc(func(context.Context) (GatewayStats, error) { return GatewayStats{}, nil }))
				}
			}
		})
	}
	work.Wait()
	require.Contains(t, scrape(t, m), `ucwagate_http_requests_total{method="GET",route="/a",status="4xx"} 100`)
}
