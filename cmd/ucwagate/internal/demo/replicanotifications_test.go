package demo_test

import (
	"context"
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
	r := startReplicasOf(t, 3, oneRedis(redistest.Start(t).Addr()), demo.Options{
		Users: 50, Helpers: 1,
		Adjust: func(cfg *config.Config) {
			cfg.Tenants[0].Notifications.SafetyNet = time.Hour
			cfg.Presence.Refresh, cfg.Presence.Staleness, cfg.Presence.RefreshCeiling = time.Hour, 2*time.Hour, time.Hour
		},
	})
	leader, followers := r.ranked(t)
	follower := followers[0]
	r.DeliverTo(follower.Handler())

	c := newClient(t, r.Demo, asJSON).at(follower)
	application := c.application(r.Demo)
	people := application.child(t, "people")
	ana := r.Contacts[0].URI
	presence := people.href + "/" + strings.TrimPrefix(ana, "sip:") + "/presence"
	require.Equal(t, http.StatusCreated, c.post(people.link(t, "presenceSubscriptions"), "Uris", []string{ana}, 11).status)
	next := application.link(t, "events")
	c.until(&next, "contact added in subscribedContacts")
	requireCovers(t, leader) // the address was validated at the follower
	require.Len(t, r.Tenant.Subscriptions(), 1)
	expected := r.Tenant.Subscriptions()[0].ID
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
	t.Run("and when the leader ends the next one subscribes, and is delivered to likewise", func(t *testing.T) {
		require.NoError(t, leader.Stop(context.WithoutCancel(t.Context())))
		r.apps = followers
		var next []*app.App
		leader, next = r.ranked(t)
		r.DeliverTo(next[0].Handler())
		requireCovers(t, leader)
		require.Len(t, r.Tenant.Subscriptions(), 1)
		require.NotEqual(t, expected, r.Tenant.Subscriptions()[0].ID)
		c := c.at(next[0])
		setPresence(t, r.Demo, ana, "Away", "Away")
		require.Eventually(t, func() bool { return c.get(presence).text("availability") == "Away" }, time.Minute, 20*time.Millisecond)
		require.Eventually(t, func() bool { return received(t, leader).Changes == 1 }, 10*time.Second, 20*time.Millisecond)
	})
}

// ranked waits until a replica leads.
func (r *replicas) ranked(t *testing.T) (leader *app.App, followers []*app.App) {
	t.Helper()
	require.Eventually(t, func() bool {
		leader, followers = nil, nil
		for _, a := range r.apps {
			if a.Tenants()[0].Source.Leads() {
				leader = a
			} else {
				followers = append(followers, a)
			}
		}
		return leader != nil
	}, 20*time.Second, 20*time.Millisecond)
	return leader, followers
}

func requireCovers(t *testing.T, a *app.App) {
	t.Helper()
	require.Eventually(t, func() bool {
		stats, _, ok := a.Tenants()[0].Notifications()
		return ok && stats.Accounts[0].Covered == 1
	}, time.Minute, 20*time.Millisecond)
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
