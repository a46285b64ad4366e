package demo_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// With an hour between two readings, whatever a client hears of soon has come by a
// notification.
func TestAChangeReachesAClientByNotification(t *testing.T) {
	d := startWith(t, demo.Options{
		Users: 50, Helpers: 1,
		Adjust: func(cfg *config.Config) {
			cfg.Tenants[0].Notifications.SafetyNet = time.Hour
			cfg.Presence.Refresh, cfg.Presence.Staleness, cfg.Presence.RefreshCeiling = time.Hour, 2*time.Hour, time.Hour
		},
	})
	c := newClient(t, d, asJSON)
	app := c.application(d)
	people := app.child(t, "people")
	who := d.Contacts[0].URI
	res := c.do(http.MethodPost, people.link(t, "presenceSubscriptions"), "application/json", fmt.Sprintf(`{"duration":11,"uris":[%q]}`, who))
	require.Equal(t, http.StatusCreated, res.status)
	a := c.poll(app.link(t, "events"))
	require.True(t, slices.ContainsFunc(a.events, func(e event) bool { return e.rel == "contactPresence" }), a.events)

	require.Eventually(t, func() bool { return len(d.Tenant.Subscriptions()) == 1 }, 30*time.Second, 50*time.Millisecond)
	s := d.Tenant.Subscriptions()[0]
	require.Equal(t, 1, s.Users)
	require.True(t, s.Rich)
	require.Eventually(t, func() bool {
		stats, _, _ := d.App.Tenants()[0].Notifications()
		return stats.Accounts[0].Covered == 1
	}, 10*time.Second, 50*time.Millisecond)
	asked := d.Tenant.Stats().Requests
	simulator(t, d, http.MethodPost, "/sim/presence", fmt.Sprintf(`{"user":%q,"availability":"DoNotDisturb","activity":"Presenting"}`, strings.TrimPrefix(who, "sip:")))
	var seen []event
	for len(seen) == 0 {
		a = c.poll(a.links["next"])
		for _, e := range a.events {
			if e.rel == "contactPresence" {
				seen = append(seen, e)
			}
		}
	}
	require.Equal(t, "DoNotDisturb", c.get(seen[0].href).text("availability"))
	require.LessOrEqual(t, d.Tenant.Stats().Requests-asked, 1, "at most the reading that confirms it")
	_, received, ok := d.App.Tenants()[0].Notifications()
	require.True(t, ok)
	require.Equal(t, uint64(1), received.Changes)
	require.Zero(t, received.BadTokens+received.Undecryptable+received.WrongClientState)

	t.Run("and what is no notification of Graph changes nothing", func(t *testing.T) {
		tenantID, _, _ := d.Tenant.Credentials()
		for body, status := range map[string]int{
			`{"value":[{"subscriptionId":"` + s.ID + `","clientState":"guessed","tenantId":"` + tenantID + `","resourceData":{"id":"x"}}]}`: http.StatusAccepted,
			`{`: http.StatusBadRequest,
		} {
			res, err := http.Post(d.BaseURL+config.HookPath("simulated"), "application/json", strings.NewReader(body))
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, status, res.StatusCode, body)
		}
		_, received, _ := d.App.Tenants()[0].Notifications()
		require.Equal(t, uint64(1), received.WrongClientState)
		require.Equal(t, uint64(1), received.Changes)
		status, text := internal(t, d, "/status.json")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, text, "Notifications of Graph are refused")
	})
	t.Run("and a validation is answered with its token", func(t *testing.T) {
		res, err := http.Post(d.BaseURL+config.HookPath("simulated")+"?validationToken=Validation%3A+a%2Bb", "text/plain", http.NoBody)
		require.NoError(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, "Validation: a+b", string(text))
		require.Contains(t, res.Header.Get("Content-Type"), "text/plain")
	})
	require.NoError(t, d.App.Stop(t.Context()))
	require.Empty(t, d.Tenant.Subscriptions(), "a gateway that stops leaves no subscription behind")
}
