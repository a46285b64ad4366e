package graphsim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestControlSetsAndReleasesPresence(t *testing.T) {
	c, _ := outside(t, Config{})
	u := c.tenant.User(4)
	for _, name := range []string{u.ID, u.UserPrincipalName, "sip:" + u.Address(), strings.ToUpper(u.Address())} {
		got := c.post("/sim/presence", map[string]any{"user": name, "availability": "Busy", "activity": "InACall"})
		require.Equal(t, http.StatusOK, got.status, string(got.body))
		require.Equal(t, "Busy", got.json(t)["availability"])
		require.Equal(t, u.ID, got.json(t)["id"])
		require.Equal(t, "sip:"+u.Address(), got.json(t)["uri"])
		require.Equal(t, "InACall", c.good("/users/" + u.ID + "/presence")["activity"])
	}
	got := c.post("/sim/presence", map[string]any{"user": u.ID, "statusMessage": "note", "outOfOffice": true, "outOfOfficeMessage": "gone", "workLocation": "remote"})
	require.Equal(t, map[string]any{
		"id": u.ID, "uri": "sip:" + u.Address(), "availability": "Busy", "activity": "InACall",
		"statusMessage": "note", "outOfOffice": true, "outOfOfficeMessage": "gone", "workLocation": "remote",
	}, got.json(t))
	got = c.do(http.MethodDelete, "/sim/presence/"+url.PathEscape(u.Address()), nil)
	require.Equal(t, http.StatusOK, got.status)
	require.NotContains(t, got.json(t), "outOfOffice")
	require.Equal(t, got.json(t), c.get("/sim/presence/"+u.ID).json(t))

	c.post("/sim/presence", map[string]any{"user": u.ID, "availability": "Away"})
	require.Equal(t, "Away", c.good("/users/" + u.ID + "/presence")["activity"])
	require.Equal(t, http.StatusOK, c.post("/sim/presence", map[string]any{"user": u.ID, "release": true}).status)
}

func TestControlRefusesWithJSON(t *testing.T) {
	c, _ := outside(t, Config{})
	for body, status := range map[string]int{
		`{"user":"nobody@contoso.test","availability":"Busy","activity":"Busy"}`: 404,
		`{"availability":"Busy","activity":"Busy"}`:                              400,
		`{"user":"x","activity":"Busy"}`:                                         400,
		`{"user":"x"}`:                                                           400,
		`{"user":"x","workLocation":"moon"}`:                                     400,
		`{"user":"x","availabilty":"Busy"}`:                                      400,
		`{`:                                                                      400,
		``:                                                                       400,
	} {
		got := c.post("/sim/presence", body)
		require.Equal(t, status, got.status, body)
		require.NotEmpty(t, got.json(t)["error"])
	}
	require.Equal(t, http.StatusNotFound, c.get("/sim/presence/nobody").status)
	require.Equal(t, http.StatusMethodNotAllowed, c.do(http.MethodDelete, "/sim/faults", nil).status)
}

func TestControlStreamsTheTruth(t *testing.T) {
	c, _ := outside(t, Config{Users: 2500, Still: true})
	require.NoError(t, c.tenant.Remove(c.tenant.User(9).ID))
	var everyone []truth
	require.NoError(t, json.Unmarshal(c.get("/sim/presence").body, &everyone))
	require.Len(t, everyone, 2499)
	for _, one := range everyone {
		p, err := c.tenant.Presence(one.URI)
		require.NoError(t, err)
		require.Equal(t, truth{ID: p.ID, URI: one.URI, Availability: p.Availability, Activity: p.Activity}, one)
	}
}

func TestControlChangesUsersAndResetsStats(t *testing.T) {
	c, _ := outside(t, Config{})
	u := c.tenant.User(8)
	require.Equal(t, http.StatusOK, c.post("/sim/users", map[string]any{"user": u.Address(), "displayName": "Someone Else"}).status)
	require.Equal(t, "Someone Else", c.good("/users/" + u.ID)["displayName"])
	require.Equal(t, http.StatusOK, c.post("/sim/users", map[string]any{"user": u.ID, "remove": true}).status)
	require.Equal(t, http.StatusNotFound, c.get("/users/"+u.ID).status)
	require.Equal(t, http.StatusNotFound, c.get("/users/"+u.ID+"/presence").status)
	require.Equal(t, http.StatusNotFound, c.post("/sim/users", map[string]any{"user": u.Address(), "restore": true}).status)
	require.Equal(t, http.StatusOK, c.post("/sim/users", map[string]any{"user": u.ID, "restore": true}).status)
	require.Equal(t, http.StatusOK, c.get("/users/"+u.ID).status)
	require.Equal(t, http.StatusBadRequest, c.post("/sim/users", map[string]any{"user": u.ID}).status)

	stats := c.get("/sim/stats").json(t)
	require.InDelta(t, 4, stats["requests"], 0)
	require.InDelta(t, 4, stats["worstWindow"], 0)
	require.InDelta(t, 0, stats["idsPerBatch"], 0)
	require.InDelta(t, 3, stats["byRoute"].(map[string]any)["GET /users/{id}"], 0)
	require.InDelta(t, 0, c.post("/sim/stats/reset", nil).json(t)["requests"], 0)
}

func TestServerClosesWithItsTenant(t *testing.T) {
	tenant, err := New(Config{})
	require.NoError(t, err)
	server, err := tenant.Serve(ServeOptions{})
	require.NoError(t, err)
	require.Contains(t, string(server.CertificatePEM), "BEGIN CERTIFICATE")
	tenant.Close()
	server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	_, err = (&http.Client{Transport: transport}).Get(server.URL)
	require.Error(t, err)
	_, err = tenant.Serve(ServeOptions{})
	require.Error(t, err)
	_, err = newTenant(t, Config{}).Serve(ServeOptions{Addr: "256.0.0.1:1"})
	require.Error(t, err)
}

func TestConfigurationIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"few users":    {Users: 9},
		"many users":   {Users: 1_000_001},
		"pace":         {Pace: -1},
		"tenant id":    {TenantID: "x"},
		"limit":        {Limit: Limit{Requests: -1}},
		"model":        {Limit: Limit{Model: "leaky"}},
		"lifetime":     {TokenLifetime: time.Millisecond},
		"log size":     {LogSize: -1},
		"wrong domain": {Domain: "a b"},
	} {
		_, err := New(cfg)
		require.Error(t, err, name)
	}
	a, b := newTenant(t, Config{Seed: 3}), newTenant(t, Config{Seed: 3})
	tenantA, clientA, secretA := a.Credentials()
	tenantB, clientB, secretB := b.Credentials()
	require.Equal(t, tenantA, tenantB)
	require.Equal(t, clientA, clientB)
	require.NotEqual(t, secretA, secretB)
	require.Equal(t, DefaultDomain, a.Domain())
}

// TestMillionUsersCostLittle bounds what a tenant of the largest size takes:
// the presence store has five bytes a user.
func TestMillionUsersCostLittle(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	c, _ := outside(t, Config{Users: 1_000_000, Pace: 1})
	require.Less(t, time.Since(start), 15*time.Second)
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, (after.HeapAlloc-before.HeapAlloc)/1_000_000, uint64(16), "bytes per user")

	c.tenant.Step()
	last := c.tenant.User(999_999)
	require.Len(t, c.values("/users"+query("$filter", "proxyAddresses/any(p:p eq 'smtp:"+last.Mail+"')")), 1)
	require.Equal(t, last.ID, c.good("/users/" + url.PathEscape(last.UserPrincipalName))["id"])
	require.Len(t, list(t, c.post("/communications/getPresencesByUserId", map[string]any{"ids": ids(t, c.tenant, 999_000, 650)}).json(t)), 650)
	require.Len(t, c.values("/groups/"+c.tenant.dir.Group(0).ID+"/members?$top=999"), 999)
}

func TestEverythingAtOnce(t *testing.T) {
	c, _ := outside(t, Config{Users: 100, Limit: Limit{Requests: 100_000}})
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range 50 {
				id := c.tenant.User((worker*50 + i) % 100).ID
				switch i % 5 {
				case 0:
					c.tenant.Step()
				case 1:
					c.get("/users/" + id + "/presence")
				case 2:
					c.post("/users/"+id+"/presence/setUserPreferredPresence", `{"availability":"Busy","activity":"Busy"}`)
				case 3:
					c.get("/users/delta")
				default:
					c.post("/sim/presence", map[string]any{"user": id, "availability": "Away"})
				}
			}
		})
	}
	wait.Wait()
	require.Equal(t, 120, c.tenant.Stats().Requests)
}
