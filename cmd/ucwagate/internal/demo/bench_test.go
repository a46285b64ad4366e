package demo_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// asOftenAsTheyLike lets one user ask for more than anybody does; the requests
// are counted all the same.
func asOftenAsTheyLike(c *config.Config) {
	c.Limits.RequestsPerMinute, c.Limits.RequestBurst = 10_000_000, 10_000_000
}

// BenchmarkHotPresence compares GET contactPresence from the cache, through
// the whole stack (sign-in checked, application found, JSON encoded), with a
// bare Echo handler that writes the same bytes. Both are asked in turns over
// loopback by the same client, so that the ratio of the two survives a noisy
// machine. The goal is a ratio of 0.85 or more.
func BenchmarkHotPresence(b *testing.B) {
	d, err := demo.Start(b.Context(), demo.Options{Still: true, Refresh: time.Hour, Adjust: asOftenAsTheyLike})
	require.NoError(b, err)
	defer func() { require.NoError(b, d.Close(b.Context())) }()
	c := newClient(b, d, asJSON)
	app := c.application(d)
	path := app.href + "/people/" + strings.TrimPrefix(d.Contacts[0].URI, "sip:") + "/presence"
	body := c.do(http.MethodGet, path, "", "").body

	bare := echo.New()
	bare.GET(path, func(e echo.Context) error { return e.Blob(http.StatusOK, "application/json; charset=utf-8", body) })
	baseline := httptest.NewServer(bare)
	defer baseline.Close()

	ours := dial(b, d.BaseURL, path, c.token, len(body))
	theirs := dial(b, baseline.URL, path, c.token, len(body))
	var gatewayTime, baselineTime time.Duration
	var allocs, bytes uint64
	round := func(callers []*caller, n int) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for i, one := range callers {
			wg.Go(func() { one.ask(b, share(n, len(callers), i)) })
		}
		wg.Wait()
		return time.Since(began)
	}
	round(ours, 1000)
	round(theirs, 1000)
	b.ResetTimer()
	for done := 0; done < b.N; {
		n := min(1000, b.N-done)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		gatewayTime += round(ours, n)
		runtime.ReadMemStats(&after)
		allocs += after.Mallocs - before.Mallocs
		bytes += after.TotalAlloc - before.TotalAlloc
		baselineTime += round(theirs, n)
		done += n
	}
	perSecond := func(t time.Duration) float64 { return float64(b.N) / t.Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perSecond(gatewayTime), "gateway-req/s")
	b.ReportMetric(perSecond(baselineTime), "bare-echo-req/s")
	b.ReportMetric(baselineTime.Seconds()/gatewayTime.Seconds(), "ratio")
	b.ReportMetric(float64(bytes)/float64(b.N), "gateway-B/req")
	b.ReportMetric(float64(allocs)/float64(b.N), "gateway-allocs/req")
}

func share(n, of, i int) int {
	if i < n%of {
		return n/of + 1
	}
	return n / of
}

// caller is one keep-alive connection that asks the same question again and
// again, and costs as little as it can.
type caller struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
	body    int
}

func dial(b *testing.B, base, path, token string, body int) []*caller {
	callers := make([]*caller, 2*runtime.GOMAXPROCS(0))
	host := strings.TrimPrefix(base, "http://")
	for i := range callers {
		conn, err := net.Dial("tcp", host)
		require.NoError(b, err)
		b.Cleanup(func() { conn.Close() })
		callers[i] = &caller{
			conn: conn, reader: bufio.NewReader(conn), body: body,
			request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nAuthorization: Bearer %s\r\n\r\n", path, host, token),
		}
	}
	return callers
}

func (c *caller) ask(b *testing.B, n int) {
	for range n {
		if _, err := c.conn.Write(c.request); err != nil {
			b.Error(err)
			return
		}
		status, err := c.reader.ReadSlice('\n')
		if err != nil || string(status) != "HTTP/1.1 200 OK\r\n" {
			b.Errorf("%q %v", status, err)
			return
		}
		for {
			line, err := c.reader.ReadSlice('\n')
			if err != nil {
				b.Error(err)
				return
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := c.reader.Discard(c.body); err != nil {
			b.Error(err)
			return
		}
	}
}

// BenchmarkFiveHundredClients lets 500 clients ask at once for the presence of
// 5,000 different people whom the gateway has not read before, and reports
// what that cost at Graph. No request may be throttled.
func BenchmarkFiveHundredClients(b *testing.B) {
	const clients, people = 500, 5000
	for b.Loop() {
		d, err := demo.Start(b.Context(), demo.Options{
			Still: true, Users: people + 100,
			Adjust: func(c *config.Config) { asOftenAsTheyLike(c); c.Directory.Sync = true },
		})
		require.NoError(b, err)
		waits := askAll(b, d, clients, people)
		var stats struct {
			Requests, Throttled, WorstWindow int
			ByRoute                          map[string]int
			IDsPerBatch                      float64
		}
		require.NoError(b, json.Unmarshal(simulator(b, d, http.MethodGet, "/sim/stats", ""), &stats))
		require.Zero(b, stats.Throttled)
		presence := 0
		for route, n := range stats.ByRoute {
			if strings.Contains(strings.ToLower(route), "presence") {
				presence += n
			}
		}
		slices.Sort(waits)
		b.ReportMetric(float64(presence), "presence-requests")
		b.ReportMetric(stats.IDsPerBatch, "ids/request")
		b.ReportMetric(float64(stats.Requests), "graph-requests")
		b.ReportMetric(float64(stats.Throttled), "429s")
		b.ReportMetric(float64(waits[len(waits)/2].Milliseconds()), "p50-ms")
		b.ReportMetric(float64(waits[len(waits)*99/100].Milliseconds()), "p99-ms")
		require.NoError(b, d.Close(b.Context()))
	}
	b.ReportMetric(0, "ns/op")
}

// askAll waits until the directory is known and returns how long each of the
// first readings took.
func askAll(b *testing.B, d *demo.Demo, clients, people int) []time.Duration {
	c := newClient(b, d, asJSON)
	app := c.application(d)
	var addresses []string
	for i := 0; len(addresses) < people && i < d.Tenant.Len(); i++ {
		if a := d.Tenant.User(i).Address(); strings.HasSuffix(a, "@"+d.Domain) {
			addresses = append(addresses, a)
		}
	}
	require.Eventually(b, d.App.Tenants()[0].Source.Synchronized, time.Minute, 20*time.Millisecond, "the directory is synchronized")

	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer hc.CloseIdleConnections()
	waits := make([]time.Duration, len(addresses))
	var wg sync.WaitGroup
	for k := range clients {
		wg.Go(func() {
			for i := k; i < len(addresses); i += clients {
				began := time.Now()
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, d.BaseURL+app.href+"/people/"+addresses[i]+"/presence", nil)
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+c.token)
				res, err := hc.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Error("status " + strconv.Itoa(res.StatusCode))
				}
				waits[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	return waits
}
