package demo_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/app"
	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/graphsrc/redistest"
)

// replicas are gateways of one simulated tenant that share a Redis.
type replicas struct {
	*demo.Demo // with the first of them
	apps       []*app.App
}

func startReplicas(t *testing.T, n int, redis func(*config.Redis)) *replicas {
	t.Helper()
	return startReplicasOf(t, n, redis, demo.Options{})
}

func startReplicasOf(t *testing.T, n int, redis func(*config.Redis), o demo.Options) *replicas {
	t.Helper()
	var cfg config.Config
	adjust := o.Adjust
	o.Adjust = func(c *config.Config) {
		c.Redis.Replicas = n + 1
		redis(&c.Redis)
		if adjust != nil {
			adjust(c)
		}
		cfg = *c
	}
	d := startWith(t, o)
	r := &replicas{d, []*app.App{d.App}}
	log := &logWriter{t: t}
	t.Cleanup(log.end)
	for range n - 1 {
		a, err := app.New(cfg, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		require.NoError(t, err)
		require.NoError(t, a.Start(t.Context()))
		t.Cleanup(func() {
			http.DefaultClient.CloseIdleConnections()
			require.NoError(t, a.Stop(context.WithoutCancel(t.Context())))
		})
		r.apps = append(r.apps, a)
	}
	for _, a := range r.apps {
		r.requireReady(t, a)
	}
	return r
}

func (r *replicas) requireReady(t *testing.T, a *app.App) {
	t.Helper()
	var body string
	require.Eventually(t, func() bool {
		res := (&client{t: t, accept: asJSON}).do(http.MethodGet, a.InternalURL()+"/readyz", "", "")
		body = string(res.body)
		return res.status == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond, "%s", body)
}

// at is c, with its token, at another replica.
func (c *client) at(a *app.App) *client {
	other := *c
	other.base = a.URL()
	return &other
}

func oneRedis(address string) func(*config.Redis) {
	return func(c *config.Redis) { c.Addresses = []string{address} }
}

// TestAnApplicationIsGoodAtEveryReplica goes from one to the other with each step.
func TestAnApplicationIsGoodAtEveryReplica(t *testing.T) {
	for name, redis := range map[string]func(*testing.T) func(*config.Redis){
		"one server": func(t *testing.T) func(*config.Redis) { return oneRedis(redistest.Start(t).Addr()) },
		"a cluster": func(t *testing.T) func(*config.Redis) {
			addresses := redistest.StartCluster(t).Addrs()
			return func(c *config.Redis) { c.Addresses, c.Cluster = addresses, true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startReplicas(t, 2, redis(t))
			a := newClient(t, r.Demo, asJSON)
			application := a.application(r.Demo) // signs in at the first
			b := a.at(r.apps[1])

			people := b.get(application.href).child(t, "people")
			ana := r.Contacts[0].URI
			presence := people.href + "/" + strings.TrimPrefix(ana, "sip:") + "/presence"
			setPresence(t, r.Demo, ana, "Available", "Available")
			require.Equal(t, "Online", b.get(presence).text("availability"))

			res := a.post(people.link(t, "presenceSubscriptions"), "Uris", []string{ana}, 10)
			require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
			next := application.link(t, "events")
			b.until(&next, "presenceSubscription added", "contact added in subscribedContacts")

			for _, words := range [][2]string{{"Busy", "InACall"}, {"Away", "Away"}} {
				setPresence(t, r.Demo, ana, words[0], words[1])
				b.until(&next, "contactPresence updated in contact "+presence)
				a, b = b, a
				require.Equal(t, words[0], b.get(presence).text("availability"))
			}
			require.Equal(t, http.StatusNoContent, a.do(http.MethodDelete, application.href, "", "").status)
			requireReason(t, b.do(http.MethodGet, application.href, "", ""), http.StatusNotFound, "NotFound", "ApplicationNotFound")
		})
	}
}

// TestClientsOfAReplicaThatEndsGoOnAtAnother ends the one that reads for both.
func TestClientsOfAReplicaThatEndsGoOnAtAnother(t *testing.T) {
	t.Parallel()
	r := startReplicas(t, 2, oneRedis(redistest.Start(t).Addr()))
	first, second := r.apps[0], r.apps[1]
	if second.Tenants()[0].Source.Leads() {
		first, second = second, first
	}
	a := newClient(t, r.Demo, asJSON).at(first)
	application := a.application(r.Demo)
	people := application.child(t, "people")
	ana := r.Contacts[0].URI
	presence := people.href + "/" + strings.TrimPrefix(ana, "sip:") + "/presence"
	require.Equal(t, http.StatusCreated, a.post(people.link(t, "presenceSubscriptions"), "Uris", []string{ana}, 10).status)
	next := application.link(t, "events")
	a.until(&next, "contact added in subscribedContacts")

	require.NoError(t, first.Stop(context.WithoutCancel(t.Context())))
	b := a.at(second)
	setPresence(t, r.Demo, ana, "Busy", "InACall")
	b.until(&next, "contactPresence updated in contact "+presence)
	require.Equal(t, "Busy", b.get(presence).text("availability"))
	require.True(t, second.Tenants()[0].Source.Leads())
}

// TestAGatewayWithoutRedisIsNotReadyAndSaysWhy starts before Redis does.
func TestAGatewayWithoutRedisIsNotReadyAndSaysWhy(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Kill()
	d := startWith(t, demo.Options{
		Logger: slog.New(slog.DiscardHandler),
		Adjust: func(c *config.Config) { c.Redis.Replicas = 1; oneRedis(redis.Addr())(&c.Redis) },
	})
	r := &replicas{d, []*app.App{d.App}}
	ops := &client{t: t, accept: asJSON}
	require.Eventually(t, func() bool {
		res := ops.do(http.MethodGet, d.StatusURL+"/readyz", "", "")
		return res.status == http.StatusServiceUnavailable && strings.Contains(string(res.body), "redis") && strings.Contains(string(res.body), "connection refused")
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, http.StatusOK, ops.do(http.MethodGet, d.StatusURL+"/livez", "", "").status)
	c := newClient(t, d, asJSON)
	tokenURL := challenged(t, c, c.get("/").link(t, "user"))
	res := c.do(http.MethodPost, tokenURL, "application/x-www-form-urlencoded", url.Values{"grant_type": {"password"}, "username": {d.Username}, "password": {d.Password}}.Encode())
	require.Equal(t, http.StatusServiceUnavailable, res.status)
	require.NotEmpty(t, res.header.Get("Retry-After"))

	redis.Restart()
	r.requireReady(t, d.App)
	application := c.application(d)
	scraped := read(t, d.StatusURL+"/metrics")
	require.Contains(t, scraped, "ucwagate_redis_up 1")
	require.Contains(t, scraped, `ucwagate_budget_sharing{state="shared",tenant="simulated"} 1`)
	require.Contains(t, scraped, `ucwagate_presence_leader{tenant="simulated"} 1`)
	require.Contains(t, scraped, `ucwagate_redis_operations_total{operation="evalsha",result="ok"}`)

	redis.Restart() // without its data
	require.Eventually(t, func() bool {
		return c.do(http.MethodGet, application.href, "", "").status == http.StatusNotFound
	}, 20*time.Second, 50*time.Millisecond, "as after any restart, and the ticket is good still")
}

func read(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(body)
}
