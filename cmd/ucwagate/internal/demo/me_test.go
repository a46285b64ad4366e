package demo_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// nothing checks an answer without a body.
func (c *client) nothing(method, href, contentType, body string, change ...func(*http.Request)) {
	c.t.Helper()
	res := c.do(method, href, contentType, body, change...)
	require.Equal(c.t, http.StatusNoContent, res.status, "%s %s: %s", method, href, res.body)
	require.Empty(c.t, res.body)
	require.Empty(c.t, res.header.Get("Content-Type"))
}

// available makes the user of an application available and returns the
// application as it is then.
func (c *client) available(app *node, body string) *node {
	c.t.Helper()
	c.nothing(http.MethodPost, app.child(c.t, "me").link(c.t, "makeMeAvailable"), asJSON, body)
	return c.get(app.href)
}

// truth is what the simulated Graph says of the demonstration's user.
func truth(t *testing.T, d *demo.Demo) (availability, activity, note string) {
	t.Helper()
	p, err := d.Tenant.Presence(d.Tenant.Organizer().ID)
	require.NoError(t, err)
	return p.Availability, p.Activity, p.StatusMessage
}

// eventsOf reads packages until one has events of the sender, and returns them
// as "type rel".
func (c *client) eventsOf(href *string, sender string) []string {
	c.t.Helper()
	for range 20 {
		res := c.do(http.MethodGet, *href, "", "", func(r *http.Request) { r.Header.Set("Accept", asJSON) })
		require.Equal(c.t, http.StatusOK, res.status, "%s", res.body)
		var p struct {
			Links  map[string]struct{ Href string } `json:"_links"`
			Sender []struct {
				Rel    string
				Events []struct {
					Type string
					Link struct{ Rel string }
				}
			}
		}
		require.NoError(c.t, json.Unmarshal(res.body, &p))
		*href = p.Links["next"].Href
		var list []string
		for _, s := range p.Sender {
			for _, e := range s.Events {
				if s.Rel == sender {
					list = append(list, e.Type+" "+e.Link.Rel)
				}
			}
		}
		if len(list) > 0 {
			return list
		}
	}
	require.FailNow(c.t, "no event of "+sender)
	return nil
}

func TestMakingOneselfAvailable(t *testing.T) {
	d := start(t, nil)
	setPresence(t, d, d.Username, "Offline", "Offline")
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		original := app // whoever called deletes it in the end
		me := app.child(t, "me")
		require.ElementsMatch(t, []string{"makeMeAvailable", "photo"}, keys(me.links))
		for _, part := range []string{"/presence", "/note", "/location"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				requireReason(t, c.do(method, me.href+part, "", ""), http.StatusConflict, "Conflict", "MakeMeAvailableRequired")
			}
		}
		for _, path := range []string{me.href + "/reportMyActivity", app.href + "/reportMyActivity"} {
			requireReason(t, c.do(http.MethodPost, path, "", ""), http.StatusConflict, "Conflict", "MakeMeAvailableRequired")
		}

		events := app.link(t, "events")
		app = c.available(app, `{"supportedModalities":["Messaging"],"signInAs":"Online","inactiveTimeout":"00:05:00","audioPreference":null}`)
		me = app.child(t, "me")
		require.ElementsMatch(t, []string{"presence", "note", "location", "reportMyActivity", "photo"}, keys(me.links))
		require.Equal(t, []any{"Messaging"}, app.child(t, "communication").properties["supportedModalities"])
		requireReason(t, c.do(http.MethodPost, me.href+"/makeMeAvailable", "", ""), http.StatusConflict, "Conflict", "AlreadyExists")
		first := events
		require.Equal(t, []string{"updated me", "added presence", "added note", "added location"}, c.eventsOf(&events, "me")[:4])
		require.Contains(t, string(c.do(http.MethodGet, first, "", "").body), "supportedModalities", "the package is the same when it is asked for again")

		require.Eventually(t, func() bool { a, _, _ := truth(t, d); return a == "Available" }, 10*time.Second, 20*time.Millisecond)
		c.nothing(http.MethodPost, me.link(t, "reportMyActivity"), "", "")
		c.nothing(http.MethodPost, app.href+"/reportMyActivity", asJSON, "")

		c.nothing(http.MethodPost, me.link(t, "presence"), asJSON, `{"availability":"doNotDisturb"}`)
		a, act, _ := truth(t, d)
		require.Equal(t, "DoNotDisturb DoNotDisturb", a+" "+act)
		require.Equal(t, "DoNotDisturb", c.get(me.link(t, "presence")).text("availability"))
		require.Contains(t, c.eventsOf(&events, "me"), "updated presence")

		c.nothing(http.MethodPost, me.link(t, "presence")+"?availability=Offwork", "", "")
		presence := c.get(me.link(t, "presence"))
		require.Equal(t, "Offline off-work", presence.text("availability")+" "+presence.text("activity"))
		for name, reset := range map[string][2]string{
			"no body": {"", ""}, "an empty object": {asJSON, "{}"}, "null": {asJSON, `{"availability":null}`},
			"an empty text": {asJSON, `{"availability":""}`}, "empty XML": {asXML, `<input xmlns="http://schemas.microsoft.com/rtc/2012/03/ucwa"/>`},
		} {
			c.nothing(http.MethodPost, me.link(t, "presence"), asJSON, `{"availability":"Busy"}`)
			c.nothing(http.MethodPost, me.link(t, "presence"), reset[0], reset[1])
			a, _, _ := truth(t, d)
			require.Equal(t, "Available", a, "%s resets", name)
		}

		c.nothing(http.MethodPost, me.link(t, "note"), asJSON, `{"Message":"Back <at> ten","type":"Personal"}`)
		_, _, note := truth(t, d)
		require.Equal(t, "Back <at> ten", note)
		got := c.get(me.link(t, "note"))
		require.Equal(t, "Back <at> ten Personal", got.text("message")+" "+got.text("type"))
		c.nothing(http.MethodPost, me.link(t, "note")+"?Message=a+b%2Bc", "", "")
		require.Equal(t, "a b+c", c.get(me.link(t, "note")).text("message"))
		c.nothing(http.MethodPost, me.link(t, "note"), "", "")
		require.Empty(t, c.get(me.link(t, "note")).text("message"))

		c.nothing(http.MethodPost, me.link(t, "location"), asJSON, `{"location":"Home"}`)
		require.Equal(t, "Home", c.get(me.link(t, "location")).text("location"))
		c.nothing(http.MethodPost, me.link(t, "location"), asJSON, `{}`)
		require.NotEqual(t, "Home", c.get(me.link(t, "location")).text("location"))

		c.nothing(http.MethodDelete, app.href, "", "")
		require.Eventually(t, func() bool { a, _, _ := truth(t, d); return a == "Offline" }, 10*time.Second, 20*time.Millisecond, "the last application ended")
		*original = *c.create("/ucwa/oauth/v1/applications", "endpoint")
		require.NotEmpty(t, original.child(t, "me").link(t, "makeMeAvailable"))
	})
}

func keys[V any](m map[string]V) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	return list
}

// TestWithoutPermissionToWritePresenceIsReadOnly takes the permission from the
// application registration.
func TestWithoutPermissionToWritePresenceIsReadOnly(t *testing.T) {
	for name, begin := range map[string]func(*testing.T) *demo.Demo{
		"because the operator says so": func(t *testing.T) *demo.Demo {
			return start(t, func(c *config.Config) { c.Presence.Publish = false })
		},
		"because the registration lacks it": func(t *testing.T) *demo.Demo {
			d := startWith(t, demo.Options{Roles: []string{"Presence.Read.All", "User.Read.All"}})
			requireReadOnly(t, d) // the token tells
			return d
		},
		"because Graph refuses": func(t *testing.T) *demo.Demo {
			d := start(t, nil)
			simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"POST /users/{id}/presence/setPresence":{"status":403,"probability":1}}}`)
			first := newClient(t, d, asJSON)
			first.available(first.application(d), "")
			requireReadOnly(t, d) // the first refusal tells
			return d
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := begin(t)
			c := newClient(t, d, asJSON)
			c.signIn("/WebTicket/oauthtoken", d.Username, d.Password)
			app := c.available(c.create("/ucwa/oauth/v1/applications", "read only"), "")
			me := app.child(t, "me")
			require.ElementsMatch(t, []string{"location", "reportMyActivity", "photo"}, keys(me.links))
			requireReason(t, c.do(http.MethodPost, me.href+"/presence", asJSON, `{"availability":"Busy"}`), http.StatusForbidden, "Forbidden", "")
			requireReason(t, c.do(http.MethodPost, me.href+"/note", asJSON, `{"message":"x"}`), http.StatusForbidden, "Forbidden", "")
			c.nothing(http.MethodPost, me.link(t, "reportMyActivity"), "", "")
			require.Equal(t, "presence", c.get(me.href+"/presence").rel, "reading needs no permission to write")
		})
	}
}

func requireReadOnly(t *testing.T, d *demo.Demo) {
	t.Helper()
	require.Eventually(t, func() bool { return !d.App.Tenants()[0].Source.MayPublish() }, 10*time.Second, 20*time.Millisecond)
}

func TestWrongInputOfOnesOwnIsRefused(t *testing.T) {
	d := start(t, nil)
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		me := app.child(t, "me").href
		for name, e := range map[string]struct{ path, body, says string }{
			"an unknown word to sign in as":  {"/makeMeAvailable", `{"signInAs":"Asleep"}`, "signInAs must be one of Online"},
			"an unknown modality":            {"/makeMeAvailable", `{"supportedModalities":["Messaging","Smoke"]}`, "supportedModalities must be one of"},
			"modalities that are an object":  {"/makeMeAvailable", `{"supportedModalities":{"a":1}}`, "supportedModalities must be a list"},
			"a time-out that is none":        {"/makeMeAvailable", `{"inactiveTimeout":"soon"}`, "inactiveTimeout must be a number of minutes"},
			"a time-out that is an object":   {"/makeMeAvailable", `{"inactiveTimeout":{}}`, "inactiveTimeout must be a single value"},
			"an over-long phone number":      {"/makeMeAvailable", `{"phoneNumber":"` + strings.Repeat("1", 101) + `"}`, "phoneNumber has 101 characters"},
			"an unknown format of messages":  {"/makeMeAvailable", `{"supportedMessageFormats":["Morse"]}`, "supportedMessageFormats must be"},
			"an unknown preference of audio": {"/makeMeAvailable", `{"audioPreference":"Loud"}`, "audioPreference must be"},
		} {
			res := c.do(http.MethodPost, me+e.path, asJSON, e.body)
			requireReason(t, res, http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
			require.Contains(t, string(res.body), e.says, name)
		}
		c.available(app, `{"unknownField":{"a":[1]},"rel":"makeMeAvailable","etag":"1","_links":{},"signInAs":null,"SupportedModalities":["messaging","PHONEAUDIO"]}`)
		for name, e := range map[string]struct{ path, body, says string }{
			"an availability that is not one":   {"/presence", `{"availability":"IdleOnline"}`, "availability must be one of Online"},
			"an availability that is a number":  {"/presence", `{"availability":5}`, "availability must be one of Online"},
			"an availability that is an object": {"/presence", `{"availability":{"a":1}}`, "availability must be a single value"},
			"an availability that is a list":    {"/presence", `{"availability":["Busy"]}`, "availability must be a single value"},
			"a note that is an object":          {"/note", `{"message":{"a":1}}`, "message must be a single value"},
			"an over-long note":                 {"/note", `{"message":"` + strings.Repeat("n", 1025) + `"}`, "message has 1025 characters"},
			"an over-long location":             {"/location", `{"location":"` + strings.Repeat("l", 61) + `"}`, "location has 61 characters"},
			"a location that is a list":         {"/location", `{"location":["a","b"]}`, "location must be a single value"},
		} {
			res := c.do(http.MethodPost, me+e.path, asJSON, e.body)
			requireReason(t, res, http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
			require.Contains(t, string(res.body), e.says, name)
		}
		requireReason(t, c.do(http.MethodPost, me+"/note", asJSON, `{"message":`), http.StatusBadRequest, "BadRequest", "DeserializationFailure")
		requireReason(t, c.do(http.MethodPost, me+"/note", "text/plain", `x`), http.StatusUnsupportedMediaType, "UnsupportedMediaType", "UnsupportedMediaType")
		requireReason(t, c.do(http.MethodPut, me+"/note", asJSON, `{}`), http.StatusMethodNotAllowed, "MethodNotAllowed", "")

		network := app.link(t, "reportMyNetwork")
		require.Equal(t, http.StatusCreated, c.do(http.MethodPost, network, asJSON, `{"clientNetworkType":"internal","ip":"10.0.0.1"}`).status)
		requireReason(t, c.do(http.MethodPost, network, asJSON, `{}`), http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
		requireReason(t, c.do(http.MethodPost, network, asJSON, `{"clientNetworkType":"Moon"}`), http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
	})
}

func TestCommunicationIsReplacedByPUT(t *testing.T) {
	d := start(t, nil)
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		href := app.child(t, "communication").href
		res := c.do(http.MethodGet, href, "", "")
		was := c.parse(res)
		guid := ""
		for name, value := range was.properties {
			if value == "please pass this in a PUT request" {
				guid = name
			}
		}
		require.Len(t, guid, 36)
		put := func(etag, body string) response {
			return c.do(http.MethodPut, href, asJSON, body, func(r *http.Request) {
				if etag != "" {
					r.Header.Set("If-Match", etag)
				}
			})
		}
		good := fmt.Sprintf(`{"supportedModalities":["PhoneAudio"],%q:"please pass this in a PUT request"}`, guid)
		requireReason(t, put("", good), http.StatusPreconditionRequired, "PreconditionRequired", "")
		requireReason(t, put(`"other"`, good), http.StatusPreconditionFailed, "PreconditionFailed", "")
		requireReason(t, put(res.header.Get("ETag"), `{"supportedModalities":["PhoneAudio"]}`), http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
		requireReason(t, put("*", fmt.Sprintf(`{"supportedModalities":["Smoke"],%q:"please pass this in a PUT request"}`, guid)), http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
		done := put(was.text("etag"), good)
		require.Equal(t, http.StatusOK, done.status, "%s", done.body)
		require.Equal(t, []any{"PhoneAudio"}, c.parse(done).properties["supportedModalities"])
		requireReason(t, put(res.header.Get("ETag"), good), http.StatusPreconditionFailed, "PreconditionFailed", "")

		events := app.link(t, "events")
		p := c.do(http.MethodGet, events, "", "", func(r *http.Request) { r.Header.Set("Accept", asJSON) })
		var pack struct {
			Sender []struct {
				Rel    string
				Events []struct {
					Embedded map[string]map[string]any `json:"_embedded"`
				}
			}
		}
		require.NoError(t, json.Unmarshal(p.body, &pack))
		require.Equal(t, "communication", pack.Sender[0].Rel)
		require.Equal(t, c.parse(done).text("etag"), pack.Sender[0].Events[0].Embedded["communication"]["etag"], "what the event embeds can be put back")
	})
}

func TestARevisionThatIsNotThereIsRefused(t *testing.T) {
	d := start(t, nil)
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		ask := func(revision string) response {
			return c.do(http.MethodGet, app.child(t, "people").href, "", "", func(r *http.Request) {
				r.Header.Set("X-MS-RequiresMinResourceVersion", revision)
			})
		}
		for _, known := range []string{"1", "2", "2.0", " 2 ", "none", ""} {
			require.Equal(t, http.StatusOK, ask(known).status, known)
		}
		for _, unknown := range []string{"3", "2.1", "1e9"} {
			requireReason(t, ask(unknown), http.StatusNotFound, "NotFound", "APIVersionNotSupported")
		}
	})
}

func TestTheOperationsAreDescribed(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	res := c.do(http.MethodOptions, "/ucwa/oauth/v1/applications", "", "")
	require.Equal(t, http.StatusOK, res.status)
	require.Contains(t, res.header.Get("Allow"), "POST")
	require.JSONEq(t, `{"metadata":[{"httpMethod":"GET","parameters":[]},{"httpMethod":"POST","parameters":[
		{"name":"culture","supportedValues":[]},{"name":"endpointId","supportedValues":[]},{"name":"instanceId","supportedValues":[]},
		{"name":"type","supportedValues":["Browser"]},{"name":"userAgent","supportedValues":[]}]}]}`, string(res.body))
	res = c.do(http.MethodOptions, app.child(t, "me").href+"/presence", "", "")
	require.Contains(t, string(res.body), `"supportedValues":["Online","Busy"`)
	require.Equal(t, http.StatusUnauthorized, newClient(t, d, asJSON).do(http.MethodOptions, app.href, "", "").status)
}

func TestTheUsersApplicationsAreListed(t *testing.T) {
	d := start(t, nil)
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		second := c.create("/ucwa/oauth/v1/applications", "second"+c.accept)
		list := c.get("/ucwa/oauth/v1/applications")
		var hrefs []string
		for _, a := range list.embedded["application"] {
			hrefs = append(hrefs, a.href)
			require.NotEmpty(t, a.link(t, "events"))
		}
		require.Equal(t, []string{app.href, second.href}, hrefs)
		c.nothing(http.MethodDelete, second.href, "", "")
	})
}
