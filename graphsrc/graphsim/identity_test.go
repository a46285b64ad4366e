package graphsim

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDirectoryRequestsSayWhatTheyCost(t *testing.T) {
	c := inside(t, Config{Still: true})
	who := c.tenant.Organizer().ID
	group := c.values("/groups")[0]["id"].(string)
	for path, units := range map[string]string{
		"/users": "2", "/users?$select=id": "1", "/users?$top=5": "1", "/users?$top=5&$select=id": "1", "/users/" + who: "1",
		"/users/delta": "1", "/users/delta()?$select=id": "1", "/users/" + who + "/manager": "1", "/users/" + who + "/memberOf": "2",
		"/users/" + who + "/memberOf?$select=id": "1", "/users/" + who + "/transitiveMemberOf": "2", "/groups": "1",
		"/groups/" + group + "/members": "3", "/groups/" + group + "/members/microsoft.graph.user?$select=id": "2",
		"/groups/" + group + "/transitiveMembers": "5", "/organization": "1",
		"/users/" + who + "/presence": "", "/users/" + who + "/photo": "", "/users/" + who + "/photos/48x48/$value": "",
		"/users/" + who + "/people": "", "/users/" + who + "/contacts": "", "/users/" + who + "/contactFolders": "",
	} {
		got := c.get(path)
		require.Equal(t, http.StatusOK, got.status, path)
		require.Equal(t, units, got.header.Get("x-ms-resource-unit"), path)
		require.Empty(t, got.header.Get("x-ms-throttle-limit-percentage"), path)
	}
	require.Empty(t, c.get("/users/nobody").header.Get("x-ms-resource-unit"), "only a success tells")
	require.Positive(t, c.tenant.Stats().IdentityUnits)
	c.tenant.ResetStats()
	require.Zero(t, c.tenant.Stats().IdentityUnits)
	require.Zero(t, c.tenant.Stats().WorstUnits)
}

func TestTheIdentityLimitIsEnforcedInUnits(t *testing.T) {
	for users, limit := range map[int]int{10: 3_500, 200: 5_000, 501: 8_000} {
		t.Run(fmt.Sprint(users), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inside(t, Config{Still: true, Users: users})
				group := c.values("/groups")[0]["id"].(string)
				path := "/groups/" + group + "/transitiveMembers?$select=id&$expand=x" // is refused as a query, and costs all the same
				begun := time.Now()
				spent := 1
				for ; spent+5 <= limit; spent += 5 {
					got := c.get(path)
					require.Equal(t, http.StatusBadRequest, got.status)
					used := float64(spent+5) / float64(limit)
					if told := got.header.Get("x-ms-throttle-limit-percentage"); used < 0.8 {
						require.Empty(t, told)
					} else {
						told, err := strconv.ParseFloat(told, 64)
						require.NoError(t, err)
						require.InDelta(t, used, told, 0.006)
					}
				}
				<-time.After(4 * time.Second)
				got := c.get(path)
				require.Equal(t, http.StatusTooManyRequests, got.status)
				require.Equal(t, "TooManyRequests", got.code(t))
				require.Equal(t, "6", got.header.Get("Retry-After"))
				tenantID, clientID, _ := c.tenant.Credentials()
				require.Equal(t, "Tenant_Application/ReadWrite/"+clientID+"/"+tenantID, got.header.Get("x-ms-throttle-scope"))
				require.Equal(t, "ResourceUnitLimitExceeded", got.header.Get("x-ms-throttle-information"))
				require.Empty(t, got.header.Get("x-ms-resource-unit"))
				who := c.tenant.User(0).ID
				require.Equal(t, http.StatusOK, c.get("/users/"+who+"/presence").status, "presence has its own limit")
				require.Equal(t, http.StatusOK, c.get("/users/"+who+"/people").status, "and so have mailboxes")
				<-time.After(6 * time.Second)
				require.Equal(t, http.StatusOK, c.get("/users/"+who).status)
				require.Equal(t, 10*time.Second, time.Since(begun))
				require.Equal(t, 1, c.tenant.Stats().Throttled)
				require.Greater(t, c.tenant.Stats().WorstUnits, limit)
			})
		})
	}
}

func TestTheIdentityLimitCanBeSetAndSwitchedOff(t *testing.T) {
	small := inside(t, Config{Still: true, IdentityUnits: 3})
	require.Equal(t, http.StatusOK, small.get("/users").status)
	require.Equal(t, http.StatusTooManyRequests, small.get("/users").status)
	require.Equal(t, "1.80", small.get("/users").header.Get("x-ms-throttle-limit-percentage"))

	off := inside(t, Config{Still: true, IdentityUnits: 3, NoIdentityLimit: true})
	for range 10 {
		got := off.get("/users")
		require.Equal(t, http.StatusOK, got.status)
		require.Equal(t, "2", got.header.Get("x-ms-resource-unit"))
	}
	require.Equal(t, 20, off.tenant.Stats().IdentityUnits)
	_, err := New(Config{IdentityUnits: -1})
	require.ErrorContains(t, err, "identity units")
}
