package demo_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// eachFormat runs a test in both representations over one demonstration.
func eachFormat(t *testing.T, d *demo.Demo, test func(t *testing.T, c *client, app *node)) {
	for name, accept := range map[string]string{"in JSON": asJSON, "in XML": asXML} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, d, accept)
			app := c.application(d)
			test(t, c, app)
			require.Equal(t, http.StatusNoContent, c.do(http.MethodDelete, app.href, "", "").status)
		})
	}
}

func TestWrongRequestsGetTheErrorOfTheProtocol(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Server.MaxBody = 2048 })
	const applications = "/ucwa/oauth/v1/applications"
	long := strings.Repeat("x", 101)
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		for name, e := range map[string]struct {
			method, href, contentType, body string
			status                          int
			code, subcode, says             string
		}{
			"a contact nobody is":              {"GET", app.href + "/people/nobody@contoso.test", "", "", 404, "NotFound", "DestinationNotFound", "nobody@contoso.test"},
			"presence of a contact nobody is":  {"GET", app.href + "/people/nobody@contoso.test/presence", "", "", 404, "NotFound", "DestinationNotFound", "nobody@contoso.test"},
			"an address in a foreign domain":   {"GET", app.href + "/people/ana@elsewhere.example/presence", "", "", 404, "NotFound", "DestinationNotFound", "domain"},
			"an address that is none":          {"GET", app.href + "/people/@@/presence", "", "", 404, "NotFound", "DestinationNotFound", "user@domain"},
			"an unknown application":           {"GET", applications + "/123456789012345/people", "", "", 404, "NotFound", "ApplicationNotFound", ""},
			"an application that is no number": {"GET", applications + "/x/people", "", "", 404, "NotFound", "ApplicationNotFound", ""},
			"an unknown resource of people":    {"GET", app.href + "/people/nothing", "", "", 404, "NotFound", "", "no such resource"},
			"an unknown resource":              {"GET", app.href + "/nothing", "", "", 404, "NotFound", "", ""},
			"an unknown group":                 {"GET", app.href + "/people/groups/nothing", "", "", 404, "NotFound", "", ""},
			"contacts of an unknown group":     {"GET", app.href + "/people/contacts?groupId=nothing", "", "", 404, "NotFound", "", ""},
			"a wrong method":                   {"PUT", app.href + "/people", asJSON, "{}", 405, "MethodNotAllowed", "", "Allow"},
			"a value expand does not have":     {"GET", app.href + "/people/groups?expand=maybe", "", "", 400, "BadRequest", "ParameterValidationFailure", "expand must be true or false"},
			"missing parameters":               {"POST", applications, asJSON, `{"userAgent":"x"}`, 400, "BadRequest", "ParameterValidationFailure", "culture is required"},
			"a parameter that is too long":     {"POST", applications, asJSON, `{"userAgent":"x","culture":"en","endpointId":"` + long + `"}`, 400, "BadRequest", "ParameterValidationFailure", "endpointId has 101 characters; at most 100"},
			"no body at all":                   {"POST", applications, "", "", 400, "BadRequest", "ParameterValidationFailure", "userAgent"},
			"malformed JSON":                   {"POST", applications, asJSON, `{"userAgent":`, 400, "BadRequest", "DeserializationFailure", "JSON"},
			"another encoding":                 {"POST", applications, asXML, `<?xml version="1.0" encoding="utf-16"?><input/>`, 400, "BadRequest", "DeserializationFailure", "UTF-8 is"},
			"malformed XML":                    {"POST", applications, asXML, `<input><property`, 400, "BadRequest", "DeserializationFailure", "XML"},
			"a type that is not supported":     {"POST", applications, "text/plain", `x`, 415, "UnsupportedMediaType", "UnsupportedMediaType", "application/json"},
			"a body over the limit":            {"POST", applications, asJSON, `{"userAgent":"` + strings.Repeat("x", 4096) + `"}`, 413, "EntityTooLarge", "", "2048"},
		} {
			t.Run(name, func(t *testing.T) {
				res := c.do(e.method, e.href, e.contentType, e.body)
				requireReason(t, res, e.status, e.code, e.subcode)
				require.Contains(t, string(res.body), e.says)
				require.True(t, strings.HasPrefix(res.header.Get("Content-Type"), c.accept))
				require.Equal(t, "no-cache", res.header.Get("Pragma"))
				if e.status == http.StatusMethodNotAllowed {
					require.Contains(t, res.header.Get("Allow"), "GET")
				}
			})
		}
	})
}

func TestSomeoneElsesApplicationIsNotThere(t *testing.T) {
	d := start(t, nil)
	mine := newClient(t, d, asJSON)
	app := mine.application(d)
	other := newClient(t, d, asJSON)
	other.signIn("/WebTicket/oauthtoken", strings.TrimPrefix(d.Contacts[0].URI, "sip:"), d.Password)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		requireReason(t, other.do(method, app.href, "", ""), http.StatusNotFound, "NotFound", "ApplicationNotFound")
	}
	unknown := other.do(http.MethodGet, "/ucwa/oauth/v1/applications/123456789012345", "", "")
	require.Equal(t, string(unknown.body), string(other.do(http.MethodGet, app.href, "", "").body), "nothing tells it from one that never was")
	require.Equal(t, http.StatusOK, mine.do(http.MethodGet, app.href, "", "").status)
}

func TestABadTokenIsChallenged(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	for name, token := range map[string]string{"garbage": "x", "a broken ticket": c.token[:len(c.token)-2] + "xx", "a token of nobody": "a.b.c"} {
		t.Run(name, func(t *testing.T) {
			res := c.do(http.MethodGet, app.href, "", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
			require.Equal(t, http.StatusUnauthorized, res.status)
			require.Len(t, res.header.Values("WWW-Authenticate"), 2)
			require.NotEmpty(t, res.header["X-Ms-Diagnostics"])
		})
	}
}

func TestNothingUnderUCWAIsToldWithoutSigningIn(t *testing.T) {
	c := newClient(t, start(t, nil), asJSON)
	for _, path := range []string{"/ucwa/oauth/v1/applications", "/ucwa/v1/applications/1/none", "/ucwa/none"} {
		require.Equal(t, http.StatusUnauthorized, c.do(http.MethodGet, path, "", "").status, path)
	}
	require.Equal(t, http.StatusNotFound, c.do(http.MethodGet, "/none", "", "").status)
}

func TestTheBodyOfAGETDoesNotCount(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	for _, body := range []string{"hello", `{"groupId":"nope"}`, "{bad"} {
		res := c.do(http.MethodGet, app.child(t, "people").link(t, "myContacts")+"?groupId=pinned", "text/plain", body)
		require.Equal(t, http.StatusOK, res.status, "%s", res.body)
	}
}

func TestAPageOfAForeignOriginIsRefused(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Server.AllowedOrigins = []string{"https://intranet.example.com"} })
	c := newClient(t, d, asJSON)
	from := func(origin string) response {
		return c.do(http.MethodGet, "/", "", "", func(r *http.Request) { r.Header.Set("X-Ms-Origin", origin) })
	}
	for _, allowed := range []string{"https://intranet.example.com", "https://intranet.example.com:443", d.BaseURL} {
		require.Equal(t, http.StatusOK, from(allowed).status, allowed)
	}
	for _, foreign := range []string{"https://evil.example.com", "http://intranet.example.com", "null", ""} {
		res := c.do(http.MethodPost, "/WebTicket/oauthtoken", "application/x-www-form-urlencoded", "grant_type=password", func(r *http.Request) { r.Header.Set("X-Ms-Origin", foreign) })
		require.Equal(t, http.StatusForbidden, res.status, "no ticket either")
		res = from(foreign)
		requireReason(t, res, http.StatusForbidden, "Forbidden", "")
		require.Contains(t, res.header["X-Ms-Diagnostics"][0], "Cross-domain requests from this origin are not allowed")
	}
}

// TestFaultsOfGraphBecomeErrorsOfTheProtocol turns the simulator's fault dial
// and asks for a person whose presence is not cached.
func TestFaultsOfGraphBecomeErrorsOfTheProtocol(t *testing.T) {
	for name, e := range map[string]struct {
		fault         string
		status        int
		code, subcode string
		retryAfter    bool
	}{
		"403":                          {`"status":403`, 403, "Forbidden", "", false},
		"429":                          {`"status":429,"retryAfter":"3"`, 503, "ServiceUnavailable", "", true},
		"500":                          {`"status":500`, 503, "ServiceUnavailable", "", true},
		"an error page in HTML":        {`"status":502,"body":"html"`, 503, "ServiceUnavailable", "", true},
		"an error without a message":   {`"status":503,"body":"json-without-message"`, 503, "ServiceUnavailable", "", true},
		"an empty error":               {`"status":503,"body":"empty"`, 503, "ServiceUnavailable", "", true},
		"a connection that is cut off": {`"reset":true`, 503, "ServiceUnavailable", "", true},
		"garbage in place of JSON":     {`"status":200,"body":"garbage"`, 503, "ServiceUnavailable", "", true},
		"a page of HTML and 200":       {`"status":200,"body":"html"`, 503, "ServiceUnavailable", "", true},
		"a truncated answer":           {`"status":200,"body":"truncated"`, 503, "ServiceUnavailable", "", true},
		"404":                          {`"status":404`, 404, "NotFound", "DestinationNotFound", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t, nil)
			c := newClient(t, d, asJSON)
			app := c.application(d)
			person := app.child(t, "people").href + "/" + strings.TrimPrefix(d.Contacts[0].URI, "sip:")
			require.Equal(t, "contact", c.get(person).rel, "the directory knows the person already")
			simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{`+e.fault+`,"probability":1}}}`)
			for _, accept := range []string{asJSON, asXML} {
				c.accept = accept
				res := c.do(http.MethodGet, person+"/presence", "", "")
				requireReason(t, res, e.status, e.code, e.subcode)
				require.Equal(t, e.retryAfter, res.header.Get("Retry-After") != "", "%v", res.header)
				for _, internal := range []string{"graph", "Graph", "127.0.0.1", "goroutine", "innerError"} {
					require.NotContains(t, string(res.body), internal)
				}
			}
			simulator(t, d, http.MethodPut, "/sim/faults", `{}`)
			require.Eventually(t, func() bool {
				return c.do(http.MethodGet, person+"/presence", "", "").status == http.StatusOK
			}, 40*time.Second, 100*time.Millisecond, "the process keeps serving")
		})
	}
}

func TestARefusalDoesNotOverwriteWhatIsKnown(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	setPresence(t, d, d.Contacts[0].URI, "Busy", "Busy")
	presence := app.child(t, "people").href + "/" + strings.TrimPrefix(d.Contacts[0].URI, "sip:") + "/presence"
	require.Equal(t, "Busy", c.get(presence).text("availability"))
	for _, status := range []string{"400", "404", "429"} {
		simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{"status":`+status+`,"probability":1,"retryAfter":"2"}}}`)
		asked := d.App.Tenants()[0].Source.Stats().Failures
		require.Eventually(t, func() bool {
			require.Equal(t, "Busy", c.get(presence).text("availability"), status)
			return d.App.Tenants()[0].Source.Stats().Failures > asked
		}, 10*time.Second, 50*time.Millisecond, "Graph was asked again")
	}
}

func TestANetworkInBetweenDoesNotMakePeopleUnknown(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	person := app.child(t, "people").href + "/" + strings.TrimPrefix(d.Contacts[1].URI, "sip:")
	simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{"status":404,"probability":1}}}`)
	requireReason(t, c.do(http.MethodGet, person, "", ""), http.StatusServiceUnavailable, "ServiceUnavailable", "")
	simulator(t, d, http.MethodPut, "/sim/faults", `{}`)
	require.Eventually(t, func() bool { return c.do(http.MethodGet, person, "", "").status == http.StatusOK }, 20*time.Second, 100*time.Millisecond)
}

func TestWhileGraphIsDownAKnownPresenceIsServed(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Presence.Refresh, c.Presence.Staleness = time.Second, 3*time.Second })
	c := newClient(t, d, asJSON)
	app := c.application(d)
	setPresence(t, d, d.Contacts[0].URI, "Busy", "Busy")
	presence := app.child(t, "people").href + "/" + strings.TrimPrefix(d.Contacts[0].URI, "sip:") + "/presence"
	require.Equal(t, "Busy", c.get(presence).text("availability"))
	simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{"status":503,"probability":1}}}`)
	var statuses []int
	require.Eventually(t, func() bool {
		res := c.do(http.MethodGet, presence, "", "")
		statuses = append(statuses, res.status)
		if res.status == http.StatusOK {
			require.Equal(t, "Busy", c.parse(res).text("availability"))
			return false
		}
		requireReason(t, res, http.StatusServiceUnavailable, "ServiceUnavailable", "")
		require.NotEmpty(t, res.header.Get("Retry-After"))
		return true
	}, 20*time.Second, 100*time.Millisecond, "older than the staleness is not served")
	require.Greater(t, len(statuses), 15, "younger than the staleness is served: %v", statuses)
	c.create("/ucwa/oauth/v1/applications", "while Graph is down")
}

func TestAMissingPermissionHidesItsSourceAndNothingElse(t *testing.T) {
	d := start(t, nil)
	simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"GET /users/{id}/memberOf/microsoft.graph.group":{"status":403,"probability":1},"GET /users/{id}/memberOf":{"status":403,"probability":1}}}`)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	groups := c.get(app.child(t, "people").link(t, "myGroups"))
	require.Empty(t, groups.embedded["distributionGroup"])
	require.NotEmpty(t, groups.embedded["myOrganizationGroup"])
	require.NotEmpty(t, groups.embedded["group"])
	require.NotEmpty(t, d.App.Tenants()[0].Source.Missing())
}
