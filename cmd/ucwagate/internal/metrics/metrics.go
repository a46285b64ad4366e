package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/cover"
	"ucwagate/graphsrc/notify"
	"ucwagate/graphsrc/units"
)

// Tenant is where the numbers of one tenant come from. What is nil has no
// metrics.
type Tenant struct {
	// Name is the label in the configuration.
	Name   string
	Budget interface{ Stats() budget.Stats }
	Units  interface{ Stats() units.Stats }
	Source interface{ Stats() graphsrc.Stats }
	// Notifications and Coverage are there where changes are notified.
	Notifications interface{ Stats() notify.Stats }
	Coverage      interface{ Stats() cover.Stats }
	// Leads says whether this replica reads presence for all; nil where there are
	// no others.
	Leads func() bool
}

// Gateway counts what the gateway keeps.
type Gateway interface {
	// Stats returns the present numbers. It may ask a store that is shared with
	// other replicas, and then fail or take until ctx ends.
	Stats(ctx context.Context) (GatewayStats, error)
}

// GatewayStats are the numbers of a gateway.
type GatewayStats struct {
	// Applications and Subscriptions are how many live, in a shared store those
	// of all replicas.
	Applications, Subscriptions int
	// Parked is how many P-GETs wait in this process.
	Parked int
	// UnknownWords is how many different words of Graph the mapping did not
	// know since the start, as far as they are told apart.
	UnknownWords uint64
}

// Build says what runs.
type Build struct{ Version, Revision string }

// Options are what New needs; the zero value is good.
type Options struct {
	Build Build
	// SignInMethods and SignInResults are the values that SignIn counts by,
	// signin.Methods and signin.Results.
	SignInMethods, SignInResults []string
	// LimitReasons are the values that Limited counts by.
	LimitReasons []string
	// RedisOperations and RedisResults are the values that RedisOperation counts by.
	RedisOperations, RedisResults []string

	Logger *slog.Logger // nil logs nothing
	Clock  clock.Clock  // nil: the system's
}

// Metrics are all metrics of the gateway, a prometheus.Collector. They are built
// first, because what they read counts its events in them; AddTenant and
// SetGateway follow. Methods may be called from any goroutine, and those that
// count on a nil *Metrics, which counts nothing.
type Metrics struct {
	log    *slog.Logger
	clk    clock.Clock
	events *events
	build  Build

	signInMethods, signInResults, limitReasons []string
	redisOperations, redisResults              []string

	mu      sync.Mutex
	redis   func() bool // nil: there is none
	tenants []Tenant    // only ever appended to
	gateway Gateway
}

var _ prometheus.Collector = (*Metrics)(nil)

// gatewayTimeout bounds how long a scrape waits for a shared store.
const gatewayTimeout = 3 * time.Second

// New returns metrics that have counted nothing.
func New(o Options) *Metrics {
	m := &Metrics{
		log: o.Logger, clk: o.Clock, build: o.Build, events: newEvents(o.SignInMethods, o.SignInResults, o.LimitReasons),
		signInMethods: o.SignInMethods, signInResults: o.SignInResults, limitReasons: o.LimitReasons,
		redisOperations: o.RedisOperations, redisResults: o.RedisResults,
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.clk == nil {
		m.clk = clock.System()
	}
	return m
}

// AddTenant has the numbers of a tenant read from now on. Its name is a label,
// so it is not empty and no other tenant's.
func (m *Metrics) AddTenant(t Tenant) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.Name == "" || slices.ContainsFunc(m.tenants, func(known Tenant) bool { return known.Name == t.Name }) {
		return fmt.Errorf("metrics of the tenant %q: its name is empty or taken", t.Name)
	}
	m.tenants = append(m.tenants, t)
	return nil
}

// SetGateway has the numbers of the gateway read from now on.
func (m *Metrics) SetGateway(g Gateway) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gateway = g
}

// SetRedis has it read from now on whether Redis answers.
func (m *Metrics) SetRedis(answers func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.redis = answers
}

func (m *Metrics) sources() ([]Tenant, Gateway, func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tenants, m.gateway, m.redis
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	out <- buildDesc
	budgetTable.describe(out)
	sharingTable.describe(out)
	leaderTable.describe(out)
	redisTable.describe(out)
	unitsTable.describe(out)
	presenceTable.describe(out)
	notificationTable.describe(out)
	coverageTable.describe(out)
	gatewayTable.describe(out)
	m.events.describe(out)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(buildDesc, prometheus.GaugeValue, 1, m.build.Version, m.build.Revision, runtime.Version())
	tenants, gateway, redis := m.sources()
	if redis != nil {
		answers := redis()
		redisTable.collect(out, &answers)
	}
	for _, t := range tenants {
		if t.Budget != nil {
			s := t.Budget.Stats()
			budgetTable.collect(out, &s, t.Name)
			if s.Sharing.State != budget.Unshared {
				sharingTable.collect(out, &s.Sharing, t.Name)
			}
		}
		if t.Leads != nil {
			leads := t.Leads()
			leaderTable.collect(out, &leads, t.Name)
		}
		if t.Units != nil {
			s := t.Units.Stats()
			unitsTable.collect(out, &s, t.Name)
		}
		if t.Source != nil {
			s := t.Source.Stats()
			presenceTable.collect(out, &s, t.Name)
		}
		if t.Notifications != nil {
			s := t.Notifications.Stats()
			notificationTable.collect(out, &s, t.Name)
		}
		if t.Coverage != nil {
			s := t.Coverage.Stats()
			coverageTable.collect(out, &s, t.Name)
		}
	}
	if gateway != nil {
		m.collectGateway(gateway, out)
	}
	m.events.collect(out) // last: a failure above is counted there
}

// collectGateway leaves the numbers out that cannot be had: the others are
// worth reading all the same.
func (m *Metrics) collectGateway(g Gateway, out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), gatewayTimeout)
	defer cancel()
	s, err := g.Stats(ctx)
	if err != nil {
		m.events.scrapeErrors.Inc()
		m.log.WarnContext(ctx, "the gateway's numbers could not be had for metrics", "error", err)
		return
	}
	gatewayTable.collect(out, &s)
}

// maxScrapes bounds how many scrapes are answered at once.
const maxScrapes = 4

// Handler serves the metrics, those of the Go runtime and those of the process.
func (m *Metrics) Handler() (http.Handler, error) {
	registry := prometheus.NewRegistry()
	err := errors.Join(registry.Register(m), registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})))
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true,
	}), nil
}

var (
	buildFamily = Family{
		"ucwagate_build_info", typeGauge, "What runs: the version, the revision of the source and the Go release. The value is 1.",
		[]string{"version", "revision", "go_version"},
	}
	buildDesc = buildFamily.desc()
)

var gatewayTable = newTable(nil,
	gauge("ucwagate_applications", "UCWA applications that live; with a shared store those of all replicas.",
		func(s *GatewayStats) float64 { return float64(s.Applications) }),
	gauge("ucwagate_presence_subscriptions", "Presence subscriptions of UCWA clients; with a shared store those of all replicas.",
		func(s *GatewayStats) float64 { return float64(s.Subscriptions) }),
	gauge("ucwagate_parked_pgets", "Requests of event channels (P-GETs) that wait in this process.",
		func(s *GatewayStats) float64 { return float64(s.Parked) }),
	counter("ucwagate_unknown_words_total", "Different availabilities and activities of Graph that the mapping does not know.",
		func(s *GatewayStats) uint64 { return s.UnknownWords }),
)

// Families lists every metric that begins with ucwagate_, by name.
func Families() []Family {
	list := slices.Concat([]Family{buildFamily}, budgetTable.families(), sharingTable.families(), leaderTable.families(), redisTable.families(), unitsTable.families(), presenceTable.families(),
		notificationTable.families(), coverageTable.families(), gatewayTable.families(), eventFamilies)
	slices.SortFunc(list, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return list
}
