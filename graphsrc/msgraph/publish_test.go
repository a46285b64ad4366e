package msgraph

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/graphsim"
	"ucwagate/mapping"
)

// published are all actions, each with its request.
var published = []struct {
	name   string
	action mapping.GraphAction
	lasts  time.Duration
	path   string // below the user's presence
	body   string
}{
	{
		"a session", mapping.MakeAvailable(), 5 * time.Minute, "setPresence",
		`{"sessionId":"` + testClient + `","availability":"Available","activity":"Available","expirationDuration":"PT5M"}`,
	},
	{
		"a session as long as Graph will have it", mapping.MakeAvailable(), 0, "setPresence",
		`{"sessionId":"` + testClient + `","availability":"Available","activity":"Available"}`,
	},
	{"the end of a session", mapping.EndSession(), time.Hour, "clearPresence", `{"sessionId":"` + testClient + `"}`},
	{
		"a preference for a week", preferred("DoNotDisturb"), 7 * 24 * time.Hour, "setUserPreferredPresence",
		`{"availability":"DoNotDisturb","activity":"DoNotDisturb","expirationDuration":"PT168H"}`,
	},
	{
		"a preference as long as Graph will have it", preferred("Offwork"), -time.Second, "setUserPreferredPresence",
		`{"availability":"Offline","activity":"OffWork"}`,
	},
	{"the end of a preference", mapping.ResetPresence(), time.Hour, "clearUserPreferredPresence", ``},
	{
		"a note", mapping.SetNote("\"quoted\" \\ <b> & 100% {x} \u2028 😀 \x01\xff"), time.Hour, "setStatusMessage",
		`{"statusMessage":{"message":{"content":"\"quoted\" \\ \u003cb\u003e \u0026 100% {x} \u2028 😀 \u0001\ufffd","contentType":"text"}}}`,
	},
	{"the end of a note", mapping.SetNote(" "), 0, "setStatusMessage", `{"statusMessage":{"message":{"content":"","contentType":"text"}}}`},
}

func preferred(member mapping.PreferredAvailability) mapping.GraphAction {
	action, _ := mapping.Prefer(member)
	return action
}

func TestEveryActionHasItsWireForm(t *testing.T) {
	for _, p := range published {
		t.Run(p.name, func(t *testing.T) {
			c, f, m := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
			require.NoError(t, c.Publish(t.Context(), idAna, p.action, p.lasts))
			require.EqualValues(t, 1, m.sends.Load())
			req := f.sent()[0]
			require.Equal(t, "POST /v1.0/users/"+idAna+"/presence/"+p.path, req.method+" "+req.uri)
			require.Equal(t, p.body, req.body)
			require.EqualValues(t, len(p.body), req.length)
			require.False(t, req.chunked)
			require.Equal(t, p.body != "", req.header.Get("Content-Type") == "application/json")
		})
	}
}

func TestAnActionSucceedsWithNoBodyOrAnyJSON(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		want   graphsrc.Kind // 0 is success
	}{
		"200 without a body":      {200, "", 0},
		"204":                     {204, "", 0},
		"202 without a body":      {202, "", 0},
		"200 with an empty line":  {200, "\r\n", 0},
		"200 with an object":      {200, `{"@odata.context":"x"}`, 0},
		"200 with null":           {200, `null`, 0},
		"200 with a list":         {200, `[]`, 0},
		"200 with HTML":           {200, `<html>sign in</html>`, graphsrc.KindMalformed},
		"200 with half an object": {200, `{"@odata.context":`, graphsrc.KindMalformed},
		"304":                     {304, "", graphsrc.KindMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, m := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				if tc.body != "" {
					_, _ = w.Write([]byte(tc.body))
				}
			})
			for i, p := range published {
				err := c.Publish(t.Context(), idAna, p.action, p.lasts)
				require.EqualValues(t, i+1, m.sends.Load())
				if tc.want == 0 {
					require.NoError(t, err, p.name)
					continue
				}
				requireKind(t, tc.want, err)
			}
		})
	}
}

func TestErrorsOfActionsKeepWhatGraphSaidAndCostOneSend(t *testing.T) {
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    graphsrc.Error
	}{
		"403 without the permission": {
			always(403, `{"error":{"code":"Forbidden","message":"M"}}`),
			graphsrc.Error{Kind: graphsrc.KindForbidden, Status: 403, Code: "Forbidden", Message: "M"},
		},
		"404 for a user who is gone": {
			always(404, `{"error":{"code":"Request_ResourceNotFound","message":"M"}}`),
			graphsrc.Error{Kind: graphsrc.KindNotFound, Status: 404, Code: "Request_ResourceNotFound", Message: "M"},
		},
		"429 with Retry-After": {
			always(429, `{"error":{"code":"TooManyRequests"}}`, "Retry-After", "11"),
			graphsrc.Error{Kind: graphsrc.KindThrottled, Status: 429, Code: "TooManyRequests", RetryAfter: 11 * time.Second},
		},
		"502 as an HTML page": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(502)
				fmt.Fprint(w, "<html>secret of the front end</html>")
			},
			graphsrc.Error{Kind: graphsrc.KindUnavailable, Status: 502, Message: "the body (text/html) is not a JSON object"},
		},
		"400": {
			always(400, `{"error":{}}`),
			graphsrc.Error{Kind: graphsrc.KindInvalid, Status: 400},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, m := serve(t, tc.handler)
			ops := map[string]bool{}
			for i, p := range published {
				e := asError(t, c.Publish(t.Context(), idAna, p.action, p.lasts))
				want := tc.want
				want.Op, want.RequestID = e.Op, "rid"
				require.Equal(t, &want, e, p.name)
				require.EqualValues(t, i+1, m.sends.Load())
				ops[e.Op] = true
			}
			require.Len(t, ops, 5, "each action has a name: %v", ops)
		})
	}
}

func TestTheEndOfASessionThatIsNotThereIsNoError(t *testing.T) {
	for body, missing := range map[string]bool{
		`{"error":{"code":"NotFound","message":"no such session"}}`:                  true,
		`{"error":{"code":"notFound","message":"","innerError":{"request-id":"x"}}}`: true,
		``: true,
		`{"error":{"code":"Request_ResourceNotFound"}}`:                                    false,
		`{"error":{"code":"ResourceNotFound","message":"Resource not found for segment"}}`: false,
		`{"error":{"code":"NotFound","innerError":{"code":"UserNotFound"}}}`:               false,
		`<html>no such page</html>`:                                                        false,
	} {
		c, _, m := serve(t, always(404, body))
		err := c.Publish(t.Context(), idAna, mapping.EndSession(), 0)
		if missing {
			require.NoError(t, err, body)
		} else {
			requireKind(t, graphsrc.KindNotFound, err)
		}
		require.EqualValues(t, 1, m.sends.Load())
		requireKind(t, graphsrc.KindNotFound, c.Publish(t.Context(), idAna, mapping.MakeAvailable(), 0))
	}
}

func TestWhatIsNoActionIsNotSent(t *testing.T) {
	c, _, m := serve(t, always(200, ``))
	for _, action := range []mapping.GraphAction{
		{},
		{Method: "setpresence"},
		{Method: "getPresence"},
		{Method: mapping.MethodSetPresence, Availability: "Available"},
		{Method: mapping.MethodSetPresence, Activity: "Available"},
		{Method: mapping.MethodSetUserPreferredPresence},
	} {
		requireKind(t, graphsrc.KindInvalid, c.Publish(t.Context(), idAna, action, 0))
	}
	for _, p := range published {
		for _, id := range []string{"", ".", "..", "me-token-to-replace", "a\nb"} {
			requireKind(t, graphsrc.KindInvalid, c.Publish(t.Context(), id, p.action, 0))
		}
	}
	require.Zero(t, m.sends.Load())
}

func TestTheSessionIsTheApplications(t *testing.T) {
	for payload, want := range map[string]string{
		`{"appid":"` + idBen + `","azp":"x"}`: idBen,
		`{"azp":"` + idBen + `"}`:             idBen,
		`{"roles":["a"]}`:                     "",
		`not JSON`:                            "",
	} {
		c, f, m := serve(t, always(200, ``))
		f.onToken(func(w http.ResponseWriter, _ url.Values) bool {
			reply(w, 200, `{"token_type":"Bearer","expires_in":3600,"access_token":"`+tokenOf(payload)+`"}`)
			return true
		})
		c.clientID = "" // as with a managed identity
		for _, action := range []mapping.GraphAction{mapping.MakeAvailable(), mapping.EndSession()} {
			err := c.Publish(t.Context(), idAna, action, 0)
			if want == "" {
				requireKind(t, graphsrc.KindInvalid, err)
				require.Zero(t, m.sends.Load())
				continue
			}
			requireKind(t, graphsrc.KindUnauthorized, err) // the fake knows its own tokens only
			for _, req := range f.sent() {
				require.Contains(t, req.body, `"sessionId":"`+want+`"`)
			}
		}
	}
	c, f, m := serve(t, always(200, ``))
	f.onToken(func(w http.ResponseWriter, _ url.Values) bool { reply(w, 400, `{}`); return true })
	c.clientID = ""
	requireKind(t, graphsrc.KindUnauthorized, c.Publish(t.Context(), idAna, mapping.MakeAvailable(), 0))
	require.Zero(t, m.sends.Load())
}

func TestPermissionsAreThoseOfTheToken(t *testing.T) {
	for payload, want := range map[string][]string{
		`{"roles":["Presence.Read.All","` + graphsrc.PublishPermission + `"]}`: {"Presence.Read.All", "Presence.ReadWrite.All"},
		`{"appid":"x"}`: {},
		`{"roles":7}`:   nil,
		`{`:             nil,
	} {
		c, f, m := serve(t, always(200, ``))
		f.onToken(func(w http.ResponseWriter, _ url.Values) bool {
			reply(w, 200, `{"token_type":"Bearer","expires_in":3600,"access_token":"`+tokenOf(payload)+`"}`)
			return true
		})
		got, err := c.Permissions(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got, payload)
		require.Zero(t, m.sends.Load(), "only the authority is asked")
	}
	c, f, _ := serve(t, nil)
	f.onToken(func(w http.ResponseWriter, _ url.Values) bool { reply(w, 400, `{}`); return true })
	_, err := c.Permissions(t.Context())
	requireKind(t, graphsrc.KindUnauthorized, err)
}

var hoursMinutesSeconds = regexp.MustCompile(`^PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?$`)

func TestDurationsAreWrittenInISO8601(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", -time.Hour: "", time.Nanosecond: "PT1S", 1500 * time.Millisecond: "PT2S", time.Minute: "PT1M",
		4 * time.Hour: "PT4H", 90 * time.Minute: "PT1H30M", 3601 * time.Second: "PT1H1S", 24 * time.Hour: "PT24H",
	} {
		require.Equal(t, want, isoDuration(d), "%v", d)
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Min(1).Draw(t, "duration"))
		parts := hoursMinutesSeconds.FindStringSubmatch(isoDuration(d))
		require.NotNil(t, parts, "%v", d)
		var seconds int64
		for _, text := range parts[1:] {
			n, _ := strconv.ParseInt(text, 10, 64) // an absent part is 0
			seconds = seconds*60 + n
		}
		require.Equal(t, int64(d/time.Second)+min(1, int64(d%time.Second)), seconds)
	})
}

func TestASimulatedTenantShowsWhatIsPublished(t *testing.T) {
	c, tenant, m := simulate(t, graphsim.Config{})
	user := tenant.User(2)
	require.NoError(t, tenant.SetPresence(user.ID, "Offline", "Offline"))
	var sends int64
	for _, step := range []struct {
		action mapping.GraphAction
		lasts  time.Duration
		want   string
	}{
		{mapping.EndSession(), 0, "Offline/Offline "},
		{preferred("Busy"), time.Hour, "Offline/Offline "},
		{mapping.MakeAvailable(), 15 * time.Minute, "Busy/Busy "},
		{mapping.ResetPresence(), 0, "Available/Available "},
		{mapping.SetNote(`back at "3" \ 🙂`), 0, `Available/Available back at "3" \ 🙂`},
		{preferred("Offwork"), 0, `Offline/OffWork back at "3" \ 🙂`},
		{mapping.SetNote(""), 0, "Offline/OffWork "},
		{mapping.EndSession(), 0, "Offline/Offline "},
	} {
		require.NoError(t, c.Publish(t.Context(), strings.ToUpper(user.ID), step.action, step.lasts), "%+v", step)
		got, err := c.Presence(t.Context(), user.ID)
		require.NoError(t, err)
		require.Equal(t, step.want, got.Words.Availability+"/"+got.Words.Activity+" "+got.Words.StatusMessage, "%+v", step)
		sends += 2
		require.Equal(t, sends, m.sends.Load())
	}
	requireKind(t, graphsrc.KindInvalid, c.Publish(t.Context(), user.ID, mapping.MakeAvailable(), time.Minute))
	requireKind(t, graphsrc.KindInvalid, c.Publish(t.Context(), user.ID, mapping.SetNote(strings.Repeat("x", 281)), 0))
	stranger := "5b0d6c1e-0000-4000-8000-000000000000"
	requireKind(t, graphsrc.KindNotFound, c.Publish(t.Context(), stranger, mapping.MakeAvailable(), 0))
	roles, err := c.Permissions(t.Context())
	require.NoError(t, err)
	require.Contains(t, roles, graphsrc.PublishPermission)
}

func TestASimulatedTenantRefusesToPublish(t *testing.T) {
	t.Run("without the permission", func(t *testing.T) {
		c, tenant, _ := simulate(t, graphsim.Config{Roles: []string{"Presence.Read.All"}})
		for _, p := range published {
			require.Equal(t, "Authorization_RequestDenied",
				requireKind(t, graphsrc.KindForbidden, c.Publish(t.Context(), tenant.User(2).ID, p.action, p.lasts)).Code)
		}
		roles, err := c.Permissions(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"Presence.Read.All"}, roles)
	})
	t.Run("with no permission at all", func(t *testing.T) {
		c, _, _ := simulate(t, graphsim.Config{Roles: []string{}})
		roles, err := c.Permissions(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{}, roles)
	})
	t.Run("beyond the limit", func(t *testing.T) {
		c, tenant, m := simulate(t, graphsim.Config{Limit: graphsim.Limit{Requests: 2, Window: 30 * time.Second}})
		for range 2 {
			require.NoError(t, c.Publish(t.Context(), tenant.User(2).ID, mapping.ResetPresence(), 0))
		}
		for _, p := range published {
			e := requireKind(t, graphsrc.KindThrottled, c.Publish(t.Context(), tenant.User(2).ID, p.action, p.lasts))
			require.Equal(t, 30*time.Second, e.RetryAfter)
		}
		require.EqualValues(t, 2+len(published), m.sends.Load())
	})
	t.Run("for want of a claim, once", func(t *testing.T) {
		c, tenant, m := simulate(t, graphsim.Config{})
		require.NoError(t, tenant.SetFaults(graphsim.Faults{Auth: graphsim.AuthFault{Claims: true}}))
		require.NoError(t, c.Publish(t.Context(), tenant.User(2).ID, mapping.MakeAvailable(), 0))
		require.EqualValues(t, 2, m.sends.Load())
	})
	t.Run("because the front end is broken", func(t *testing.T) {
		c, tenant, m := simulate(t, graphsim.Config{})
		for i, p := range published {
			require.NoError(t, tenant.SetFaults(graphsim.Faults{Routes: map[string]graphsim.RouteFault{
				"POST /users/{id}/presence/" + p.path: {Status: 502, Body: "html", RetryAfter: "3"},
			}}))
			e := requireKind(t, graphsrc.KindUnavailable, c.Publish(t.Context(), tenant.User(2).ID, p.action, p.lasts))
			require.Equal(t, 3*time.Second, e.RetryAfter)
			require.EqualValues(t, i+1, m.sends.Load())
		}
		for _, fault := range []graphsim.RouteFault{{Body: "garbage"}, {Body: "html"}, {Body: "truncated"}} {
			require.NoError(t, tenant.SetFaults(graphsim.Faults{Routes: map[string]graphsim.RouteFault{"*": fault}}))
			requireKind(t, graphsrc.KindMalformed, c.Publish(t.Context(), tenant.User(2).ID, mapping.MakeAvailable(), 0))
		}
		require.NoError(t, tenant.SetFaults(graphsim.Faults{Routes: map[string]graphsim.RouteFault{"*": {Reset: true}}}))
		requireKind(t, graphsrc.KindUnavailable, c.Publish(t.Context(), tenant.User(2).ID, mapping.MakeAvailable(), 0))
	})
}
