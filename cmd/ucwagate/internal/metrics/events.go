package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// other stands for whatever is not in the closed set of a label.
const other = "other"

var (
	signInFamily = Family{
		"ucwagate_signins_total", typeCounter, "Sign-ins told of: attempts with a password, refusals, and first uses of what proves an identity with every request.", []string{"method", "result"},
	}
	requestsFamily = Family{
		"ucwagate_http_requests_total", typeCounter, "HTTP requests answered, P-GETs included, by route template, method and class of the status.", []string{"route", "method", "status"},
	}
	inFlightFamily = Family{
		"ucwagate_http_requests_in_flight", typeGauge, "HTTP requests being answered: P-GETs, which are held open, and all others.", []string{"kind"},
	}
	durationFamily = Family{
		"ucwagate_http_request_duration_seconds", typeHistogram, "Time to answer HTTP requests other than P-GETs.", []string{"route", "method"},
	}
	pgetFamily = Family{
		"ucwagate_pget_duration_seconds", typeHistogram, "How long P-GETs were held open, by class of the status.", []string{"status"},
	}
	limitedFamily = Family{
		"ucwagate_limited_total", typeCounter, "Requests refused and connections refused or closed because a client met a limit, by the limit.", []string{"reason"},
	}
	wakeFamily = Family{
		"ucwagate_wake_latency_seconds", typeHistogram, "Time until a parked P-GET took the events it was woken for: from the moment when the first of them was known to the gateway, without the time for which its client wants events held back.", nil,
	}
	batchFamily = Family{
		"ucwagate_batch_parts", typeHistogram, "Requests in a batch. They are no requests of their own to ucwagate_http_requests_total.", nil,
	}
	answersFamily = Family{
		"ucwagate_graph_answers_total", typeCounter, "Answers to requests sent to Graph, by kind of request and result.", []string{labelTenant, "kind", "result"},
	}
	answerTimeFamily = Family{
		"ucwagate_graph_answer_duration_seconds", typeHistogram, "Time from sending a request to Graph until its answer began.", perTenant,
	}
	scrapeFamily = Family{
		"ucwagate_scrape_errors_total", typeCounter, "Scrapes from which the gateway's numbers are missing because its store did not tell them.", nil,
	}
	redisFamily = Family{
		"ucwagate_redis_operations_total", typeCounter, "Commands sent to Redis, a pipeline counting as one, by command and result.", []string{"operation", "result"},
	}
	redisTimeFamily = Family{
		"ucwagate_redis_operation_duration_seconds", typeHistogram, "Time until Redis answered a command or pipeline, other than those that wait by themselves.", []string{"operation"},
	}
	eventFamilies = []Family{
		signInFamily, requestsFamily, inFlightFamily, durationFamily, pgetFamily, limitedFamily, wakeFamily, batchFamily, answersFamily, answerTimeFamily, scrapeFamily,
		redisFamily, redisTimeFamily,
	}
)

// Buckets, in seconds and in parts.
var (
	durationBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
	pgetBuckets     = []float64{.1, 1, 5, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800}
	wakeBuckets     = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
	answerBuckets   = []float64{.025, .05, .1, .2, .3, .5, .75, 1, 2, 5, 10, 30}
	redisBuckets    = []float64{.0002, .0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2}
	batchBuckets    = []float64{1, 2, 5, 10, 20, 50, 100}
)

// events are the metrics that are counted when something happens.
type events struct {
	signIns      *prometheus.CounterVec
	requests     *prometheus.CounterVec
	inFlight     *prometheus.GaugeVec
	duration     *prometheus.HistogramVec
	pget         *prometheus.HistogramVec
	limited      *prometheus.CounterVec
	wake         prometheus.Histogram
	batch        prometheus.Histogram
	answers      *prometheus.CounterVec
	answerTime   *prometheus.HistogramVec
	scrapeErrors prometheus.Counter
	redis        *prometheus.CounterVec
	redisTime    *prometheus.HistogramVec
}

// newEvents takes what sign-ins and limits are counted by.
func newEvents(signInMethods, signInResults, limitReasons []string) *events {
	counters := func(f Family) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help}, f.Labels)
	}
	histograms := func(f Family, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.Name, Help: f.Help, Buckets: buckets}, f.Labels)
	}
	one := func(f Family, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: f.Name, Help: f.Help, Buckets: buckets})
	}
	e := &events{
		signIns: counters(signInFamily), requests: counters(requestsFamily),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: inFlightFamily.Name, Help: inFlightFamily.Help}, inFlightFamily.Labels),
		duration: histograms(durationFamily, durationBuckets), pget: histograms(pgetFamily, pgetBuckets), limited: counters(limitedFamily),
		wake: one(wakeFamily, wakeBuckets), batch: one(batchFamily, batchBuckets),
		answers: counters(answersFamily), answerTime: histograms(answerTimeFamily, answerBuckets),
		redis: counters(redisFamily), redisTime: histograms(redisTimeFamily, redisBuckets),
		scrapeErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: scrapeFamily.Name, Help: scrapeFamily.Help}),
	}
	// There from the start, so that a first event is a rise.
	for _, kind := range []string{kindPGet, other} {
		e.inFlight.WithLabelValues(kind)
	}
	for _, reason := range limitReasons {
		e.limited.WithLabelValues(reason)
	}
	for _, method := range signInMethods {
		for _, result := range signInResults {
			e.signIns.WithLabelValues(method, result)
		}
	}
	return e
}

func (e *events) all() []prometheus.Collector {
	return []prometheus.Collector{
		e.signIns, e.requests, e.inFlight, e.duration, e.pget, e.limited, e.wake, e.batch, e.answers, e.answerTime, e.scrapeErrors,
		e.redis, e.redisTime,
	}
}

func (e *events) describe(out chan<- *prometheus.Desc) {
	for _, c := range e.all() {
		c.Describe(out)
	}
}

func (e *events) collect(out chan<- prometheus.Metric) {
	for _, c := range e.all() {
		c.Collect(out)
	}
}

// SignIn counts a sign-in that was told of; what is not among the methods and
// results of Options is "other".
func (m *Metrics) SignIn(method, result string) {
	if m == nil {
		return
	}
	m.events.signIns.WithLabelValues(among(m.signInMethods, method), among(m.signInResults, result)).Inc()
}

// RedisOperation counts a command that was sent to Redis and, unless took is below
// zero, how long it took; what is not among the operations and results of Options
// is "other".
func (m *Metrics) RedisOperation(operation, result string, took time.Duration) {
	if m == nil {
		return
	}
	operation = among(m.redisOperations, operation)
	m.events.redis.WithLabelValues(operation, among(m.redisResults, result)).Inc()
	if took >= 0 {
		m.events.redisTime.WithLabelValues(operation).Observe(took.Seconds())
	}
}

// Limited counts that a client met a limit; what is not among the reasons of
// Options is "other".
func (m *Metrics) Limited(reason string) {
	if m == nil {
		return
	}
	m.events.limited.WithLabelValues(among(m.limitReasons, reason)).Inc()
}

// Wake counts that a parked P-GET took events that were due latency ago: since
// they became known, without the time for which the client wants them held back.
func (m *Metrics) Wake(latency time.Duration) {
	if m == nil {
		return
	}
	m.events.wake.Observe(max(latency, 0).Seconds())
}

// Batch counts a batch of that many requests.
func (m *Metrics) Batch(parts int) {
	if m == nil {
		return
	}
	m.events.batch.Observe(float64(parts))
}

func among(set []string, value string) string {
	if slices.Contains(set, value) {
		return value
	}
	return other
}
