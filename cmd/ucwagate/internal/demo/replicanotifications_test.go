package demo_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/app"
	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/graphsrc/notify"
	"ucwagate/graphsrc/redistest"
)

// TestGraphDeliversToAReplicaThatHasNotSubscribed has all that Graph sends arrive
// at the follower: the validation of the address, deliveries, and those of others.
// With an hour between two readings, whatever a client hears of soon has come by a
// notification.
func TestGraphDeliversToAReplicaThatHasNotSubscribed(t *testing.T) {
	t.Parallel()
	r := startReplicasOf(t, 2, oneRedis(redistest.Start(t).Addr()), demo.Options{
		Users: 50, Helpers: 1,
		Adjust: func(cfg *config.Config) {
			cfg.Tenants[0].Notifications.SafetyNet = time.Hour
			cfg.Presence.Refresh, cfg.Presence.Staleness, cfg.Presence.RefreshCeiling = time.Hour, 2*time.Hour, time.Hour
		},
	})
	leader, follower := r.apps[0], r.apps[1]
	if follower.Tenants()[0].Source.Leads() {
		leader, follower = follower, leader
	}
	require.True(t, leader.Tenants()[0].Source.Leads())
	r.DeliverTo(follower.Handler())

	c := newClient(t, r.Demo, asJSON).at(follower)
	application := c.application(r.Demo)
	people := application.child(t, "people")
	ana := r.Contacts[0].URI
	presence := people.href + "/" + strings.TrimPrefix(ana, "sip:") + "/presence"
	require.Equal(t, http.StatusCreated, c.post(people.link(t, "presenceSubscriptions"), "Uris", []string{ana}, 11).status)
	next := application.link(t, "events")
	c.until(&next, "contact added in subscribedContacts")
	require.Eventually(t, func() bool {
		stats, _, ok := leader.Tenants()[0].Notifications()
		return ok && stats.Accounts[0].Covered == 1
	}, time.Minute, 20*time.Millisecond, "the address was validated at the follower")
	require.Len(t, r.Tenant.Subscriptions(), 1)
	_, _, subscribes := follower.Tenants()[0].Notifications()
	require.False(t, subscribes)
	require.Eventually(t, func() bool { return received(t, leader).Validations >= 1 }, 10*time.Second, 20*time.Millisecond, "the leader heard of the validation")

	setPresence(t, r.Demo, ana, "DoNotDisturb", "Presenting")
	c.until(&next, "contactPresence updated in contact "+presence)
	require.Equal(t, "DoNotDisturb", c.get(presence).text("availability"))
	got := received(t, leader)
	require.Equal(t, uint64(1), got.Changes)
	require.Equal(t, uint64(1), got.Deliveries)
	require.Zero(t, got.BadTokens+got.Undecryptable+got.WrongClientState+got.Unproven)

	t.Run("and what is no notification of Graph goes no further", func(t *testing.T) {
		tenantID, _, _ := r.Tenant.Credentials()
		item := `"subscriptionId":"` + r.Tenant.Subscriptions()[0].ID + `","clientState":"guessed","tenantId":"` + tenantID + `","resourceData":{"id":"x"}`
		for body, status := range map[string]int{
			`{"value":[{` + item + `,"encryptedContent":{"data":"x"}}],"validationTokens":["a.b.c"]}`: http.StatusAccepted,
			`{"value":[{` + item + `,"encryptedContent":{"data":"x"}}]}`:                              http.StatusAccepted,
			`{`: http.StatusBadRequest,
		} {
			got, _ := deliver(t, follower, "", body)
			require.Equal(t, status, got, body)
		}
		// What needs no token is sorted out by the leader. It comes after the others.
		status, _ := deliver(t, follower, "", `{"value":[{`+item+`,"lifecycleEvent":"subscriptionRemoved"}]}`)
		require.Equal(t, http.StatusAccepted, status)
		require.Eventually(t, func() bool { return received(t, leader).WrongClientState == 1 }, 10*time.Second, 20*time.Millisecond)
		got := received(t, leader)
		require.Equal(t, uint64(2), got.Deliveries)
		require.Equal(t, uint64(1), got.Changes)
		require.Len(t, r.Tenant.Subscriptions(), 1)
	})
	t.Run("and any replica answers validations", func(t *testing.T) {
		for _, a := range r.apps {
			status, text := deliver(t, a, "?validationToken=Validation%3A+a%2Bb", "")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "Validation: a+b", text)
			status, _ = deliver(t, a, "?validationToken=%3Cscript%3E", "")
			require.Equal(t, http.StatusBadRequest, status)
		}
	})
}

func received(t *testing.T, a *app.App) notify.Stats {
	t.Helper()
	_, got, ok := a.Tenants()[0].Notifications()
	require.True(t, ok)
	return got
}

// deliver posts to a replica as Graph does.
func deliver(t *testing.T, a *app.App, query, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+config.HookPath("simulated")+query, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err, fmt.Sprint("delivering to ", a.URL()))
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(answer)
}
