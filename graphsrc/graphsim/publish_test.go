package graphsim

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// publishing lists every publishing action with a body that is in order.
func (p publisher) publishing() map[string]any {
	clientID := p.tenant.cfg.ClientID
	return map[string]any{
		"setPresence":                map[string]any{"sessionId": clientID, "availability": "Busy", "activity": "InACall", "expirationDuration": "PT1H"},
		"clearPresence":              map[string]any{"sessionId": clientID},
		"setUserPreferredPresence":   map[string]any{"availability": "BeRightBack", "activity": "BeRightBack"},
		"clearUserPreferredPresence": nil,
		"setStatusMessage":           `{"statusMessage":{"message":{"content":"in the lab","contentType":"text"}}}`,
	}
}

func TestWhatIsPublishedIsReadAtOnce(t *testing.T) {
	p := publish(t, "Offline/Offline")
	bulk := func() map[string]any {
		got := p.post("/communications/getPresencesByUserId", map[string]any{"ids": []string{p.user.ID}})
		require.Equal(t, http.StatusOK, got.status)
		return list(t, got.json(t))[0]
	}
	body := p.publishing()
	for _, step := range []struct{ action, words string }{
		{"setUserPreferredPresence", "Offline/Offline"}, // no session yet
		{"setPresence", "BeRightBack/BeRightBack"},
		{"clearUserPreferredPresence", "Busy/InACall"},
		{"setStatusMessage", "Busy/InACall"},
		{"clearPresence", "Offline/Offline"},
	} {
		before := bulk()["sequenceNumber"].(string)
		require.Equal(t, http.StatusOK, p.act(step.action, body[step.action]), step.action)
		require.Equal(t, step.words, p.words(), step.action)
		got := bulk()
		require.Equal(t, step.words, got["availability"].(string)+"/"+got["activity"].(string), step.action)
		if step.action != "setUserPreferredPresence" {
			require.Greater(t, got["sequenceNumber"], before, step.action)
		}
	}
	require.Equal(t, map[string]any{"content": "in the lab", "contentType": "text"}, bulk()["statusMessage"].(map[string]any)["message"])
	require.Equal(t, http.StatusOK, p.act("setStatusMessage", `{"statusMessage":{"message":{"content":"","contentType":"text"}}}`))
	require.Nil(t, bulk()["statusMessage"])
}

func TestAKeepAliveHoldsOffFading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(t, "Offline/Offline")
		for range 12 {
			require.Equal(t, http.StatusOK, p.session("Available", "Available", "PT15M"))
			<-time.After(5*time.Minute - time.Second)
			require.Equal(t, "Available/Available", p.words())
		}
		<-time.After(time.Second)
		require.Equal(t, "Available/AvailableInactive", p.words())
		require.Equal(t, http.StatusOK, p.session("Available", "Available", "PT15M"))
		require.Equal(t, "Available/Available", p.words())
		<-time.After(10 * time.Minute)
		require.Equal(t, "Away/Away", p.words())
		require.Equal(t, http.StatusOK, p.act("clearPresence", p.publishing()["clearPresence"]))
		require.Equal(t, "Offline/Offline", p.words())
	})
}

func TestThePreferredPresenceEndsWithTheLastSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(t, "Offline/Offline")
		require.Equal(t, http.StatusOK, p.session("Available", "Available", "PT5M"))
		require.Equal(t, http.StatusOK, p.act("setUserPreferredPresence", map[string]any{"availability": "DoNotDisturb", "activity": "DoNotDisturb"}))
		<-time.After(5*time.Minute - time.Second)
		require.Equal(t, "DoNotDisturb/DoNotDisturb", p.words())
		<-time.After(time.Second)
		require.Equal(t, "Offline/Offline", p.words(), "the session has expired")
		require.Equal(t, http.StatusOK, p.session("Available", "Available", "PT5M"))
		require.Equal(t, "DoNotDisturb/DoNotDisturb", p.words(), "the preference has not")
	})
}

func TestAmongEqualSessionsTheLatestIsShown(t *testing.T) {
	now := time.Now()
	at := func(availability, activity string, ago time.Duration) session {
		return session{words{availability, activity}, now.Add(-ago), now.Add(time.Hour)}
	}
	o := &overlay{sessions: map[string]session{
		"a": at("Busy", "InACall", time.Minute), "b": at("Busy", "InAConferenceCall", time.Second),
		"c": at("Available", "Available", 0), "d": {words{"DoNotDisturb", "Presenting"}, now, now},
	}}
	for range 50 { // whatever the order of the map
		require.Equal(t, words{"Busy", "InAConferenceCall"}, o.words(offline, now))
	}
	require.NotContains(t, o.sessions, "d", "it has expired")
	delete(o.sessions, "b")
	delete(o.sessions, "a")
	require.Equal(t, words{"Available", "Available"}, o.words(awayInactive, now))
}

func TestPublishingCountsAgainstTheLimitOfPresence(t *testing.T) {
	c := inside(t, Config{Still: true, Limit: Limit{Requests: 6, Window: 30 * time.Second}})
	p := publisher{c, c.tenant.User(2)}
	body := p.publishing()
	for _, action := range []string{"setPresence", "setUserPreferredPresence", "clearUserPreferredPresence", "setStatusMessage", "clearPresence"} {
		require.Equal(t, http.StatusOK, p.act(action, body[action]), action)
	}
	require.Equal(t, http.StatusOK, p.get("/users/"+p.user.ID+"/presence").status)
	for action := range body {
		got := p.post("/users/"+p.user.ID+"/presence/"+action, body[action])
		require.Equal(t, http.StatusTooManyRequests, got.status, action)
		require.NotEmpty(t, got.header.Get("Retry-After"))
	}
	require.Equal(t, 5, c.tenant.Stats().Throttled)
}

func TestPublishingNeedsItsPermission(t *testing.T) {
	c := inside(t, Config{Still: true, Roles: []string{"Presence.Read.All"}})
	p := publisher{c, c.tenant.User(2)}
	for action, body := range p.publishing() {
		require.Equal(t, http.StatusForbidden, p.act(action, body), action)
	}
}

func TestFaultsCanBeOrderedForEveryPublishingAction(t *testing.T) {
	c := inside(t, Config{Still: true})
	p := publisher{c, c.tenant.User(2)}
	for action, body := range p.publishing() {
		before := p.words()
		for _, key := range []string{"POST /users/{id}/presence/" + action, "/users/{id}/presence/" + action} {
			c.set(`{"routes":{"` + key + `":{"status":503,"retryAfter":7,"body":"html","count":1}}}`)
			other := "setPresence"
			if action == other {
				other = "setStatusMessage"
			}
			require.Equal(t, http.StatusBadRequest, p.act(other, `{"statusMessage":7}`), "only the named action is hit")
			got := p.post("/users/"+p.user.ID+"/presence/"+action, body)
			require.Equal(t, http.StatusServiceUnavailable, got.status, action)
			require.Equal(t, "7", got.header.Get("Retry-After"))
			require.Equal(t, before, p.words(), "a refused action has no effect")
		}
	}
}
