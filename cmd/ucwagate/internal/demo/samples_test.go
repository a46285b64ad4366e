package demo_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheSamplesOfTheDocumentation compares what the gateway sends with the
// sample payloads of the UCWA documentation, member by member: each member is
// there, of the same type and the same form.
func TestTheSamplesOfTheDocumentation(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	people := app.child(t, "people")
	address := strings.TrimPrefix(d.Contacts[0].URI, "sip:")
	presence := people.href + "/" + address + "/presence"
	setPresence(t, d, address, "Busy", "InAConferenceCall")
	c.get(presence)
	res := c.post(people.link(t, "presenceSubscriptions"), "uris", []string{d.Contacts[0].URI}, 10)
	require.Equal(t, http.StatusCreated, res.status)
	sub := c.parse(res).href
	for _, s := range []struct{ sample, href string }{
		{"myGroups.json", people.link(t, "myGroups")},
		{"groupContacts.json", c.get(people.link(t, "myGroups")).child(t, "myOrganizationGroup").link(t, "groupContacts")},
		{"presenceSubscription.reference.json", sub},
		{"contactPresence.task.json", presence},
		{"contactPresence.reference.json", presence},
	} {
		t.Run(s.sample, func(t *testing.T) {
			raw, err := os.ReadFile("testdata/samples/" + s.sample)
			require.NoError(t, err)
			var sample, ours any
			require.NoError(t, json.Unmarshal(raw, &sample))
			res := c.do(http.MethodGet, s.href, "", "")
			require.NoError(t, json.Unmarshal(res.body, &ours))
			requireMembers(t, s.sample, sample, ours)
			if strings.Contains(string(raw), `\/Date(`) {
				require.Regexp(t, `"lastActive":"\\/Date\([0-9]+\)\\/"`, string(res.body), "the slashes stay escaped in the raw text")
			}
		})
	}
}

// requireMembers checks that every member of a sample is in ours.
func requireMembers(t *testing.T, at string, sample, ours any) {
	t.Helper()
	switch s := sample.(type) {
	case map[string]any:
		o, ok := ours.(map[string]any)
		require.True(t, ok, "%s is an object", at)
		for name, value := range s {
			require.Contains(t, o, name, "%s has a member %s", at, name)
			requireMembers(t, at+"."+name, value, o[name])
		}
	case []any:
		o, ok := ours.([]any)
		require.True(t, ok, "%s is an array", at)
		if len(s) > 0 {
			require.NotEmpty(t, o, at)
			requireMembers(t, at+"[0]", s[0], o[0])
		}
	default:
		require.Equal(t, fmt.Sprintf("%T", sample), fmt.Sprintf("%T", ours), at)
		if text, ok := sample.(string); ok {
			require.Equal(t, form(text), form(ours.(string)), at)
		}
	}
}

// form reduces a value to what makes its kind: hrefs to their paths without
// ids and addresses, URIs to their scheme, dates to their frame.
func form(s string) string {
	for _, r := range []struct{ pattern, replacement string }{
		{`^/ucwa/(oauth/)?v1/applications/[0-9]+`, "{app}"},
		{`/people/([^/?]*@[^/?]*|[0-9]+)`, "/people/{contact}"},
		{`/contactPresence$`, "/presence"},
		{`groupId=.*`, "groupId={group}"},
		{`/people/presenceSubscriptions/.*`, "/presenceSubscription"},
		{`/people/presenceSubscriptionMemberships\?.*|/presenceSubscription/.*`, "/memberships"},
		{`/groups/.*`, "/groups/{group}"},
		{`/photos/.*`, "/photos/{contact}"},
		{`^\\?/Date\([0-9]+\)\\?/$`, "{date}"},
		{`^(sip|tel):.*`, "$1:"},
	} {
		s = regexp.MustCompile(r.pattern).ReplaceAllString(s, r.replacement)
	}
	if !strings.HasPrefix(s, "{") && !strings.HasSuffix(s, ":") {
		return "text"
	}
	return s
}

// TestTheXMLSampleOfTheDocumentation does the same for the XML of the
// reference page.
func TestTheXMLSampleOfTheDocumentation(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asXML)
	app := c.application(d)
	address := strings.TrimPrefix(d.Contacts[0].URI, "sip:")
	setPresence(t, d, address, "Busy", "InAConferenceCall")
	raw, err := os.ReadFile("testdata/samples/contactPresence.reference.xml")
	require.NoError(t, err)
	sample := parseXML(t, raw)
	ours := c.get(app.child(t, "people").href + "/" + address + "/presence")
	require.Equal(t, form(sample.href), form(ours.href))
	require.Len(t, ours.properties, len(sample.properties))
	for name := range sample.properties {
		require.NotEmpty(t, ours.text(name), name)
	}
	_, err = time.Parse("2006-01-02T15:04:05.0000000Z07:00", sample.text("lastActive"))
	require.NoError(t, err)
	_, err = time.Parse("2006-01-02T15:04:05.0000000Z07:00", ours.text("lastActive"))
	require.NoError(t, err)
}
