package graphsim

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDocumentedLimitIsEnforcedOverAllPresenceRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{Still: true})
		id := c.tenant.User(0).ID
		for i := range 1500 {
			var got answer
			switch i % 3 {
			case 0:
				got = c.get("/users/" + id + "/presence")
			case 1:
				got = c.post("/communications/getPresencesByUserId", fmt.Sprintf(`{"ids":[%q]}`, id))
			default:
				got = c.post("/users/"+id+"/presence/clearUserPreferredPresence", nil)
			}
			require.Equal(t, http.StatusOK, got.status, i)
		}
		got := c.get("/communications/presences/" + id)
		require.Equal(t, http.StatusTooManyRequests, got.status)
		require.Equal(t, "TooManyRequests", got.code(t))
		inner := got.json(t)["error"].(map[string]any)["innerError"].(map[string]any)
		require.Equal(t, "429", inner["status"])
		require.NotEmpty(t, inner["request-id"])
		require.Equal(t, "30", got.header.Get("Retry-After"))
		require.Equal(t, http.StatusOK, c.get("/users/"+id).status, "only presence is limited")

		<-time.After(29 * time.Second)
		require.Equal(t, http.StatusTooManyRequests, c.get("/users/"+id+"/presence").status)
		<-time.After(time.Second)
		require.Equal(t, http.StatusOK, c.get("/users/"+id+"/presence").status)

		stats := c.tenant.Stats()
		require.Equal(t, 1504, stats.Requests)
		require.Equal(t, 2, stats.Throttled)
		require.Equal(t, 1503, stats.WorstWindow, "refused ones and other routes count")
		require.Equal(t, 500, stats.ByRoute["POST /communications/getPresencesByUserId"])
		require.InDelta(t, 1, stats.IDsPerBatch, 0)
	})
}

func TestRefusedRequestsKeepCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{Limit: Limit{Requests: 5, Window: 30 * time.Second}})
		path := "/users/" + c.tenant.User(0).ID + "/presence"
		served := 0
		for range 120 { // twice a second for a minute
			if c.get(path).status == http.StatusOK {
				served++
			}
			<-time.After(500 * time.Millisecond)
		}
		require.Equal(t, 5, served, "whoever goes on calling is never served again")
	})
}

func TestWaitingForRetryAfterIsEnoughInEveryModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []Limit{{Requests: 4, Model: Sliding}, {Requests: 4, Model: Fixed}, {Requests: 4, Model: Bucket}} {
			c := inside(t, Config{Limit: limit})
			path := "/users/" + c.tenant.User(0).ID + "/presence"
			refused := 0
			for range 40 {
				got := c.get(path)
				if got.status == http.StatusOK {
					continue
				}
				refused++
				seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
				require.NoError(t, err)
				<-time.After(time.Duration(seconds) * time.Second)
				require.Equal(t, http.StatusOK, c.get(path).status, limit.Model)
			}
			require.Positive(t, refused, limit.Model)
		}
	})
}

func TestLimitIsPerApp(t *testing.T) {
	c := inside(t, Config{Limit: Limit{Requests: 1}})
	app := App{ClientID: "1b4e28ba-2fa1-41d2-883f-0016d3cca427", Secret: "s", Roles: DefaultRoles}
	require.NoError(t, c.tenant.Register(app))
	other := c.as(c.fetchToken(url.Values{"client_id": {app.ClientID}, "client_secret": {"s"}}))
	path := "/users/" + c.tenant.User(0).ID + "/presence"
	require.Equal(t, http.StatusOK, c.get(path).status)
	require.Equal(t, http.StatusTooManyRequests, c.get(path).status)
	require.Equal(t, http.StatusOK, other.get(path).status)
	require.Equal(t, 2, c.tenant.Stats().WorstWindow)
	log := c.tenant.Log()
	require.Equal(t, app.ClientID, log[2].ClientID)
	require.Equal(t, http.StatusTooManyRequests, log[1].Status)
}

func TestThrottlingAnswerCanBeShaped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{Limit: Limit{Requests: 1}})
		path := "/users/" + c.tenant.User(0).ID + "/presence"
		c.get(path)
		<-time.After(100 * time.Millisecond)
		for setting, want := range map[text]string{"": "30", "exact": "29.900", "none": "", "7.5": "7.5"} {
			require.NoError(t, c.tenant.SetFaults(Faults{Throttle: ThrottleFault{RetryAfter: setting, Body: "html"}}))
			got := c.get(path)
			require.Equal(t, http.StatusTooManyRequests, got.status)
			if setting == "" || setting == "none" || setting == "7.5" {
				require.Equal(t, want, got.header.Get("Retry-After"))
			}
			require.Contains(t, got.header.Get("Content-Type"), "text/html")
		}
	})
}

func TestLogIsARing(t *testing.T) {
	c := inside(t, Config{LogSize: 3})
	for i := range 5 {
		c.get("/users/" + c.tenant.User(i).ID)
	}
	log := c.tenant.Log()
	require.Len(t, log, 3)
	for i, entry := range log {
		require.Equal(t, "/v1.0/users/"+c.tenant.User(i+2).ID, entry.URL)
		require.Equal(t, "GET /users/{id}", entry.Route)
	}
	c.tenant.ResetStats()
	require.Empty(t, c.tenant.Log())
	require.Equal(t, Stats{ByRoute: map[string]int{}}, c.tenant.Stats())
}
