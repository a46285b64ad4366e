package demo_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// asking is a number of clients that ask at once, each over a connection of its
// own.
type asking struct {
	http  *http.Client
	base  string
	token string
}

func newAsking(b *testing.B, d *demo.Demo, token string, clients int) *asking {
	a := &asking{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}, base: d.BaseURL, token: token}
	b.Cleanup(a.http.CloseIdleConnections)
	return a
}

// ask returns the status and the size of an answer.
func (a *asking) ask(b *testing.B, method, href, contentType, body string) (status int, size int64) {
	req, err := http.NewRequestWithContext(b.Context(), method, a.base+href, strings.NewReader(body))
	if err != nil {
		b.Error(err)
		return 0, 0
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := a.http.Do(req)
	if err != nil {
		b.Error(err)
		return 0, 0
	}
	defer res.Body.Close()
	size, err = io.Copy(io.Discard, res.Body)
	if err != nil {
		b.Error(err)
	}
	return res.StatusCode, size
}

// all asks for hrefs with so many clients and returns how long each answer took.
func (a *asking) all(b *testing.B, clients int, hrefs []string) (waits []time.Duration, whole time.Duration) {
	waits = make([]time.Duration, len(hrefs))
	began := time.Now()
	var wg sync.WaitGroup
	for k := range clients {
		wg.Go(func() {
			for i := k; i < len(hrefs); i += clients {
				asked := time.Now()
				if status, _ := a.ask(b, http.MethodGet, hrefs[i], "", ""); status != http.StatusOK && status != http.StatusNotFound {
					b.Errorf("%s answers %d", hrefs[i], status)
				}
				waits[i] = time.Since(asked)
			}
		})
	}
	wg.Wait()
	slices.Sort(waits)
	return waits, time.Since(began)
}

// BenchmarkBatch compares 100 contactPresence in one batch with 100 requests,
// one after the other over one connection as a client without batches makes
// them, and with the same 100 by ten clients at once. All are answered from
// memory.
func BenchmarkBatch(b *testing.B) {
	d, err := demo.Start(b.Context(), demo.Options{Still: true, Refresh: time.Hour, Adjust: asOftenAsTheyLike})
	require.NoError(b, err)
	defer func() { require.NoError(b, d.Close(b.Context())) }()
	c := newClient(b, d, asJSON)
	app := c.application(d)
	var hrefs, parts []string
	for i := 0; len(hrefs) < 100; i++ {
		if address := d.Tenant.User(i).Address(); strings.HasSuffix(address, "@"+d.Domain) {
			hrefs = append(hrefs, app.href+"/people/"+address+"/presence")
			parts = append(parts, "--b\r\n"+part("GET", hrefs[len(hrefs)-1], "", ""))
		}
	}
	batch, body := app.link(b, "batch"), strings.Join(parts, "\r\n")+"\r\n--b--\r\n"
	a := newAsking(b, d, c.token, 10)
	a.all(b, 10, hrefs)
	var batched, single, parallel time.Duration
	for b.Loop() {
		began := time.Now()
		if status, size := a.ask(b, http.MethodPost, batch, "multipart/batching; boundary=b", body); status != http.StatusOK || size < 10_000 {
			b.Fatalf("the batch answers %d with %d bytes", status, size)
		}
		batched += time.Since(began)
		_, one := a.all(b, 1, hrefs)
		_, ten := a.all(b, 10, hrefs)
		single, parallel = single+one, parallel+ten
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(batched.Microseconds())/float64(b.N), "batch-µs")
	b.ReportMetric(float64(single.Microseconds())/float64(b.N), "one-by-one-µs")
	b.ReportMetric(single.Seconds()/batched.Seconds(), "ratio-one-by-one")
	b.ReportMetric(parallel.Seconds()/batched.Seconds(), "ratio-ten-at-once")
}

// BenchmarkSearchAndPhotos lets 200 clients at once search for 200 names, in the
// synchronized directory of 5,000 people and by asking Graph, and then fetch
// 200 photos twice: from Graph and from memory. The baseline in the same run is
// the people resource, which costs nothing but its encoding.
func BenchmarkSearchAndPhotos(b *testing.B) {
	const clients = 200
	for _, sync := range []bool{true, false} {
		b.Run(fmt.Sprintf("synchronized=%t", sync), func(b *testing.B) {
			for b.Loop() {
				d, err := demo.Start(b.Context(), demo.Options{
					Still: true, Users: 5000, Adjust: func(c *config.Config) { asOftenAsTheyLike(c); c.Directory.Sync = sync },
				})
				require.NoError(b, err)
				c := newClient(b, d, asJSON)
				app := c.application(d)
				if sync {
					require.Eventually(b, d.App.Tenants()[0].Source.Synchronized, time.Minute, 20*time.Millisecond)
				}
				people := app.child(b, "people")
				var base, searches, photos []string
				for i := 0; len(searches) < clients; i++ {
					u := d.Tenant.User(i)
					if !strings.HasSuffix(u.Address(), "@"+d.Domain) {
						continue
					}
					base = append(base, people.href)
					searches = append(searches, people.link(b, "search")+"?limit=10&query="+url.QueryEscape(u.DisplayName))
					photos = append(photos, app.href+"/photos/"+u.Address())
				}
				a := newAsking(b, d, c.token, clients)
				a.all(b, clients, base) // opens the connections
				_, plain := a.all(b, clients, base)
				found, searching := a.all(b, clients, searches)
				first, fetching := a.all(b, clients, photos)
				again, remembered := a.all(b, clients, photos)
				for name, waits := range map[string][]time.Duration{"search": found, "photo": first, "photo-again": again} {
					b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, name+"-p99-ms")
				}
				b.ReportMetric(searching.Seconds()/plain.Seconds(), "search/people")
				b.ReportMetric(fetching.Seconds()/plain.Seconds(), "photo/people")
				b.ReportMetric(remembered.Seconds()/plain.Seconds(), "photo-again/people")
				require.NoError(b, d.Close(b.Context()))
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
