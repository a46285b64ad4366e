package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPresenceIsReadThreeWaysAlike(t *testing.T) {
	c, _ := outside(t, Config{Still: true})
	for index := range c.tenant.Len() {
		u := c.tenant.User(index)
		truth, err := c.tenant.Presence(u.ID)
		require.NoError(t, err)
		one := c.good("/users/" + strings.ToUpper(u.ID) + "/presence")
		require.Equal(t, truth.Availability, one["availability"])
		require.Equal(t, truth.Activity, one["activity"])
		require.Equal(t, u.ID, one["id"])
		require.Regexp(t, `^A\d{10}$`, one["sequenceNumber"])
		require.Equal(t, truth.OutOfOffice, one["outOfOfficeSettings"].(map[string]any)["isOutOfOffice"])
		delete(one, "@odata.context")
		wrapped := c.values("/communications/presences/" + u.ID)
		require.Equal(t, []map[string]any{one}, wrapped)
		if index >= 20 {
			continue
		}
		bulk := list(t, c.post("/communications/getPresencesByUserId", map[string]any{"ids": []string{u.ID}}).json(t))
		require.Equal(t, []map[string]any{one}, bulk)
	}
}

func TestBulkReadHasGraphsLimits(t *testing.T) {
	c, _ := outside(t, Config{Users: 700, Still: true})
	const path = "/communications/getPresencesByUserId"
	most := ids(t, c.tenant, 0, maxIDs)
	require.Len(t, list(t, c.post(path, map[string]any{"ids": most}).json(t)), maxIDs)
	for name, body := range map[string]any{
		"too many":   map[string]any{"ids": append(slices.Clone(most), c.tenant.User(699).ID)},
		"none":       map[string]any{"ids": []string{}},
		"missing":    map[string]any{},
		"a UPN":      map[string]any{"ids": []string{most[0], c.tenant.User(1).UserPrincipalName}},
		"no strings": map[string]any{"ids": []int{1}},
		"no JSON":    "{",
	} {
		got := c.post(path, body)
		require.Equal(t, http.StatusBadRequest, got.status, name)
		require.Equal(t, "BadRequest", got.code(t), name)
	}
	unknown := "5b0d6c1e-0000-4000-8000-000000000000"
	doubled := list(t, c.post(path, map[string]any{"ids": []string{most[0], strings.ToUpper(most[0]), unknown}}).json(t))
	require.Len(t, doubled, 1, "doubles are answered once, unknown ids left out")
	require.Equal(t, http.StatusNotFound, c.get("/users/"+unknown+"/presence").status)
	require.Equal(t, http.StatusBadRequest, c.get("/users/"+c.tenant.User(1).UserPrincipalName+"/presence").status)
	require.Equal(t, http.StatusBadRequest, c.get("/users/"+most[0]+"/presence?$select=availability").status)
	mean := c.tenant.Stats().IDsPerBatch
	require.InDelta(t, float64(650+651+2+3)/4, mean, 0.01)
}

func TestBodiesMayBeCompressedAndMustBeWhatTheySay(t *testing.T) {
	c, _ := outside(t, Config{})
	plain := fmt.Sprintf(`{"ids":[%q]}`, c.tenant.User(0).ID)
	const path = "/communications/getPresencesByUserId"
	packed := c.with("Content-Encoding", "gzip")
	require.Equal(t, http.StatusOK, packed.post(path, string(zipped(t, plain))).status)
	require.Equal(t, http.StatusBadRequest, packed.post(path, plain).status)
	require.Equal(t, http.StatusUnsupportedMediaType, c.with("Content-Encoding", "br").post(path, plain).status)
	require.Equal(t, http.StatusUnsupportedMediaType, c.with("Content-Type", "text/plain").post(path, plain).status)
	require.Equal(t, http.StatusRequestEntityTooLarge, c.post(path, strings.Repeat(" ", maxBody+1)).status)

	asked := c.with("Accept-Encoding", "gzip").get("/users/" + c.tenant.User(0).ID + "/presence")
	require.Equal(t, "gzip", asked.header.Get("Content-Encoding"))
	require.Equal(t, "\x1f\x8b", string(asked.body[:2]))
	require.Empty(t, c.with("Accept-Encoding", "identity").get("/users/"+c.tenant.User(0).ID).header.Get("Content-Encoding"))
}

func TestSequenceRisesWithEveryChange(t *testing.T) {
	c := inside(t, Config{Still: true})
	u := c.tenant.User(2)
	read := func() string { return c.good("/users/" + u.ID + "/presence")["sequenceNumber"].(string) }
	last := read()
	require.Equal(t, last, read())
	for _, w := range []words{{"Away", "Away"}, {"Busy", "InACall"}, {"DoNotDisturb", "Presenting"}} {
		require.NoError(t, c.tenant.SetPresence(strings.ToUpper(u.Address()), w.availability, w.activity))
		next := read()
		require.Greater(t, next, last)
		last = next
	}
	require.Error(t, c.tenant.SetPresence("nobody@contoso.test", "Away", "Away"))
	require.Error(t, c.tenant.SetPresence(u.ID, "", "Away"))
}

func TestNoteOutOfOfficeAndLocationAreTold(t *testing.T) {
	c := inside(t, Config{Still: true})
	u := c.tenant.User(2)
	require.NoError(t, c.tenant.SetStatusMessage(u.ID, `Back "soon" ✓`))
	require.NoError(t, c.tenant.SetOutOfOffice(u.ID, true, "away until Monday"))
	require.NoError(t, c.tenant.SetWorkLocation(u.ID, WorkLocation{Type: "remote", Source: "manual"}))
	got := c.good("/users/" + u.ID + "/presence")
	require.Equal(t, map[string]any{"message": map[string]any{"content": `Back "soon" ✓`, "contentType": "text"}}, got["statusMessage"])
	require.Equal(t, map[string]any{"message": "away until Monday", "isOutOfOffice": true}, got["outOfOfficeSettings"])
	require.Equal(t, map[string]any{"workLocationType": "remote", "source": "manual", "placeId": nil}, got["workLocation"])
	require.NoError(t, c.tenant.Release(u.ID))
	require.NotEqual(t, got["outOfOfficeSettings"], c.good("/users/" + u.ID + "/presence")["outOfOfficeSettings"])
}

// publisher posts publishing actions for one user.
type publisher struct {
	*caller
	user User
}

func (p publisher) act(action string, body any) int {
	return p.post("/users/"+p.user.ID+"/presence/"+action, body).status
}

func (p publisher) session(availability, activity, life string) int {
	body := map[string]any{"sessionId": p.tenant.cfg.ClientID, "availability": availability, "activity": activity}
	if life != "" {
		body["expirationDuration"] = life
	}
	return p.act("setPresence", body)
}

func (p publisher) words() string {
	got := p.good("/users/" + p.user.ID + "/presence")
	return got["availability"].(string) + "/" + got["activity"].(string)
}

func publish(t *testing.T, base string) publisher {
	t.Helper()
	c := inside(t, Config{Still: true, TokenLifetime: 30 * 24 * time.Hour})
	p := publisher{c, c.tenant.User(2)}
	availability, activity, _ := strings.Cut(base, "/")
	require.NoError(t, c.tenant.SetPresence(p.user.ID, availability, activity))
	return p
}

func TestSessionsAggregateAsDocumented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for base, want := range map[string]map[string]string{
			"Offline/Offline":         {"Away/Away": "Away/Away", "Available/Available": "Available/Available", "Busy/InACall": "Busy/InACall"},
			"Available/Available":     {"Away/Away": "Available/Available", "Busy/InACall": "Busy/InACall"},
			"Away/Away":               {"Available/Available": "Available/Available", "Busy/InAConferenceCall": "Busy/InAConferenceCall"},
			"DoNotDisturb/Presenting": {"Busy/InACall": "DoNotDisturb/Presenting"},
			"BeRightBack/BeRightBack": {"Available/Available": "Available/Available"},
		} {
			for session, told := range want {
				p := publish(t, base)
				availability, activity, _ := strings.Cut(session, "/")
				require.Equal(t, http.StatusOK, p.session(availability, activity, ""))
				require.Equal(t, told, p.words(), "%s over %s", session, base)
				require.Equal(t, http.StatusOK, p.act("clearPresence", map[string]any{"sessionId": p.tenant.cfg.ClientID}))
				require.Equal(t, base, p.words())
				require.Equal(t, http.StatusNotFound, p.act("clearPresence", map[string]any{"sessionId": p.tenant.cfg.ClientID}))
			}
		}
	})
}

func TestAvailableSessionFadesAndExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(t, "Offline/Offline")
		require.Equal(t, http.StatusOK, p.session("Available", "Available", "PT15M"))
		sequence := func() string {
			return p.good("/users/" + p.user.ID + "/presence")["sequenceNumber"].(string)
		}
		before := sequence()
		for _, step := range []struct {
			wait time.Duration
			want string
		}{
			{4*time.Minute + 59*time.Second, "Available/Available"},
			{time.Second, "Available/AvailableInactive"},
			{5 * time.Minute, "Away/Away"},
			{5 * time.Minute, "Offline/Offline"},
		} {
			<-time.After(step.wait)
			require.Equal(t, step.want, p.words())
		}
		require.Greater(t, sequence(), before, "passing time is a change too")
		require.Equal(t, http.StatusNotFound, p.act("clearPresence", map[string]any{"sessionId": p.tenant.cfg.ClientID}))

		require.Equal(t, http.StatusOK, p.session("Busy", "InACall", ""))
		<-time.After(5*time.Minute - time.Second)
		require.Equal(t, "Busy/InACall", p.words())
		<-time.After(time.Second)
		require.Equal(t, "Offline/Offline", p.words(), "five minutes is the default")
	})
}

func TestPreferredPresenceNeedsASessionAndExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(t, "Offline/Offline")
		prefer := func(availability, activity string) int {
			return p.act("setUserPreferredPresence", map[string]any{"availability": availability, "activity": activity})
		}
		require.Equal(t, http.StatusOK, prefer("Busy", "Busy"))
		require.Equal(t, "Offline/Offline", p.words())
		require.Equal(t, http.StatusOK, p.session("Available", "Available", "PT4H"))
		require.Equal(t, "Busy/Busy", p.words())
		require.Equal(t, http.StatusOK, p.act("clearUserPreferredPresence", nil))
		require.Equal(t, "Available/Available", p.words())
		require.Equal(t, http.StatusOK, prefer("Offline", "OffWork"))
		require.Equal(t, "Offline/OffWork", p.words())

		q := publish(t, "Available/Available")
		require.Equal(t, http.StatusOK, q.act("setUserPreferredPresence", map[string]any{"availability": "DoNotDisturb", "activity": "DoNotDisturb"}))
		<-time.After(24*time.Hour - time.Second)
		require.Equal(t, "DoNotDisturb/DoNotDisturb", q.words())
		<-time.After(time.Second)
		require.Equal(t, "Available/Available", q.words())
		require.Equal(t, http.StatusOK, q.act("setUserPreferredPresence", map[string]any{"availability": "Away", "activity": "Away"}))
		<-time.After(7*24*time.Hour - time.Second)
		require.Equal(t, "Away/Away", q.words())
		<-time.After(time.Second)
		require.Equal(t, "Available/Available", q.words())
	})
}

func TestPublishingIsChecked(t *testing.T) {
	p := publish(t, "Available/Available")
	require.Equal(t, 400, p.session("Busy", "Busy", ""))
	require.Equal(t, 400, p.session("DoNotDisturb", "Presenting", ""))
	require.Equal(t, 400, p.session("Busy", "InAMeeting", ""))
	for life, want := range map[string]int{
		"PT5M": 200, "PT4H": 200, "PT4M59S": 400, "PT4H1S": 400, "5M": 400, "PT": 400, "P": 400, "P1D": 400, "-PT5M": 400, "PT300S": 200, "PT1H30M": 200,
	} {
		require.Equal(t, want, p.session("Away", "Away", life), life)
	}
	require.Equal(t, 400, p.act("setPresence", map[string]any{"sessionId": "22553876-f5ab-4529-bffb-cfe50aa89f87", "availability": "Away", "activity": "Away"}))
	require.Equal(t, 400, p.act("setPresence", map[string]any{"availability": "Away", "activity": "Away"}))
	require.Equal(t, 400, p.act("setPresence", "{"))
	require.Equal(t, 400, p.act("setUserPreferredPresence", map[string]any{"availability": "Busy", "activity": "InACall"}))
	require.Equal(t, 400, p.act("setStatusMessage", `{"statusMessage":{"message":{"content":"<b>","contentType":"html"}}}`))
	require.Equal(t, 400, p.act("setStatusMessage", `{"statusMessage":{"message":{"content":"`+strings.Repeat("x", longestNote+1)+`"}}}`))
	require.Equal(t, 400, p.act("setStatusMessage", `{"statusMessage":{"message":{"content":"x"},"expiryDateTime":{"dateTime":"2001-01-01T00:00:00","timeZone":"UTC"}}}`))
	require.Equal(t, 400, p.act("setStatusMessage", `{"statusMessage":{"message":{"content":"x"},"expiryDateTime":{"dateTime":"2999-01-01T00:00:00","timeZone":"Nowhere"}}}`))
	require.Equal(t, 404, p.post("/users/5b0d6c1e-0000-4000-8000-000000000000/presence/setPresence", "{}").status)
	require.Equal(t, 400, p.post("/users/"+p.user.UserPrincipalName+"/presence/setPresence", "{}").status)

	q := publisher{inside(t, Config{Still: true, AllowPresenting: true}), p.user}
	require.Equal(t, 200, q.session("DoNotDisturb", "Presenting", ""))
}

func TestStatusMessageExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(t, "Available/Available")
		expiry := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05")
		body := `{"statusMessage":{"message":{"content":"in the lab","contentType":"text"},"expiryDateTime":{"dateTime":"` + expiry + `","timeZone":"UTC"}}}`
		require.Equal(t, http.StatusOK, p.act("setStatusMessage", body))
		require.NotNil(t, p.good("/users/" + p.user.ID + "/presence")["statusMessage"])
		<-time.After(time.Hour)
		require.Nil(t, p.good("/users/" + p.user.ID + "/presence")["statusMessage"])
	})
}

// snapshot is what everyone's presence is.
func snapshot(t *Tenant) []Presence {
	var all []int
	for i := range t.Len() {
		all = append(all, i)
	}
	return t.presences.read(all)
}

func TestWorkdayIsDeterministicAndBelievable(t *testing.T) {
	a, b, other := newTenant(t, Config{Seed: 4}), newTenant(t, Config{Seed: 4}), newTenant(t, Config{Seed: 5})
	require.Equal(t, snapshot(a), snapshot(b))
	first := snapshot(a)
	seen := make(map[words]bool)
	for range 2000 {
		a.Step()
		b.Step()
		other.Step()
		for _, p := range snapshot(a) {
			seen[words{p.Availability, p.Activity}] = true
		}
	}
	require.Equal(t, snapshot(a), snapshot(b))
	require.NotEqual(t, snapshot(a), snapshot(other))
	require.NotEqual(t, first, snapshot(a))
	require.Len(t, seen, int(stateCount), "every state occurs")
}

func TestWorkdayLeavesPinnedUsersAlone(t *testing.T) {
	c := inside(t, Config{Users: 10})
	for i := range 10 {
		require.NoError(t, c.tenant.SetPresence(c.tenant.User(i).ID, "Busy", "InACall"))
	}
	before := snapshot(c.tenant)
	for range 500 {
		c.tenant.Step()
	}
	require.Equal(t, before, snapshot(c.tenant))
	require.NoError(t, c.tenant.Release(c.tenant.User(1).ID))
	for range 500 {
		c.tenant.Step()
	}
	after := snapshot(c.tenant)
	require.Greater(t, after[1].Sequence, before[1].Sequence+2)
	require.Equal(t, before[2:], after[2:])
}

func TestWorkdayRunsUntilClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{})
		changes := func() uint32 {
			c.tenant.presences.mu.Lock()
			defer c.tenant.presences.mu.Unlock()
			return c.tenant.presences.last
		}
		c.tenant.Start(t.Context())
		c.tenant.Start(t.Context())
		<-time.After(10*time.Second + time.Millisecond)
		synctest.Wait()
		moved := changes()
		require.GreaterOrEqual(t, moved, uint32(15))
		require.LessOrEqual(t, moved, uint32(26))
		c.tenant.Close()
		<-time.After(time.Minute)
		require.Equal(t, moved, changes())

		still := inside(t, Config{Still: true})
		still.tenant.Start(t.Context())
		<-time.After(time.Minute)
		still.tenant.presences.mu.Lock()
		defer still.tenant.presences.mu.Unlock()
		require.Zero(t, still.tenant.presences.last)
	})
}
