package demo_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
)

// answer is an answer of the event channel, whatever the representation.
type answer struct {
	self   string
	links  map[string]string
	events []event
}

type event struct{ kind, rel, href, inRel, inHref string }

func (e event) String() string {
	if e.inRel == "" {
		return e.rel + " " + e.kind
	}
	return e.rel + " " + e.kind + " in " + e.inRel
}

// poll holds a P-GET.
func (c *client) poll(href string) answer {
	c.t.Helper()
	res := c.do(http.MethodGet, href, "", "")
	require.Equal(c.t, http.StatusOK, res.status, "%s", res.body)
	if c.accept == asXML {
		return xmlAnswer(c.t, res.body)
	}
	var raw struct {
		Links  map[string]struct{ Href string } `json:"_links"`
		Sender []struct {
			Rel, Href string
			Events    []struct {
				Link, In struct{ Rel, Href string }
				Type     string
			}
		}
	}
	require.NoError(c.t, json.Unmarshal(res.body, &raw), "%s", res.body)
	require.Contains(c.t, string(res.body), `"sender":[`)
	a := answer{self: raw.Links["self"].Href, links: map[string]string{}}
	for rel, l := range raw.Links {
		if rel != "self" {
			a.links[rel] = l.Href
		}
	}
	for _, s := range raw.Sender {
		require.Equal(c.t, "people", s.Rel)
		for _, e := range s.Events {
			a.events = append(a.events, event{e.Type, e.Link.Rel, e.Link.Href, e.In.Rel, e.In.Href})
		}
	}
	return a
}

func xmlAnswer(t testing.TB, body []byte) answer {
	t.Helper()
	type target struct {
		XMLName xml.Name
		Rel     string `xml:"rel,attr"`
		Href    string `xml:"href,attr"`
		In      struct {
			Rel  string `xml:"rel,attr"`
			Href string `xml:"href,attr"`
		} `xml:"in"`
	}
	var raw struct {
		XMLName xml.Name `xml:"http://schemas.microsoft.com/rtc/2012/03/ucwa events"`
		Href    string   `xml:"href,attr"`
		Links   []target `xml:"link"`
		Sender  []struct {
			Rel    string   `xml:"rel,attr"`
			Events []target `xml:",any"`
		} `xml:"sender"`
	}
	require.NoError(t, xml.Unmarshal(body, &raw), "%s", body)
	a := answer{self: raw.Href, links: map[string]string{}}
	for _, l := range raw.Links {
		a.links[l.Rel] = l.Href
	}
	for _, s := range raw.Sender {
		for _, e := range s.Events {
			a.events = append(a.events, event{e.XMLName.Local, e.Rel, e.Href, e.In.Rel, e.In.Href})
		}
	}
	return a
}

// until polls until every event wanted has come, and returns all that came.
func (c *client) until(next *string, want ...string) []event {
	c.t.Helper()
	missing := map[string]bool{}
	for _, w := range want {
		missing[w] = true
	}
	var all []event
	for len(missing) > 0 {
		a := c.poll(*next)
		*next = a.links["next"]
		require.NotEmpty(c.t, *next)
		for _, e := range a.events {
			all = append(all, e)
			delete(missing, e.String())
			delete(missing, e.String()+" "+e.href)
		}
	}
	return all
}

// post sends input in the client's representation.
func (c *client) post(href, list string, values []string, duration int) response {
	c.t.Helper()
	if c.accept == asXML {
		var b strings.Builder
		b.WriteString(`<input xmlns="http://schemas.microsoft.com/rtc/2012/03/ucwa">`)
		if duration > 0 {
			fmt.Fprintf(&b, `<property name="duration">%d</property>`, duration)
		}
		fmt.Fprintf(&b, `<propertyList name="%s">`, list)
		for _, v := range values {
			fmt.Fprintf(&b, `<item>%s</item>`, v)
		}
		return c.do(http.MethodPost, href, asXML, b.String()+`</propertyList></input>`)
	}
	m := map[string]any{list: values}
	if duration > 0 {
		m["Duration"] = duration
	}
	raw, err := json.Marshal(m)
	require.NoError(c.t, err)
	return c.do(http.MethodPost, href, asJSON, string(raw))
}

// TestAClientIsTold goes through the life of subscriptions over the wire.
func TestAClientIsTold(t *testing.T) {
	for name, accept := range map[string]string{"in JSON": asJSON, "in XML": asXML} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t, nil)
			c := newClient(t, d, accept)
			app := c.application(d)
			people := app.child(t, "people")
			next := app.link(t, "events")
			require.Contains(t, next, "?ack=1")
			ana, bo, cy := d.Contacts[0].URI, d.Contacts[1].URI, d.Contacts[2].URI

			res := c.post(people.link(t, "presenceSubscriptions"), "Uris", []string{ana, bo, "not an address", ana, "sip:nobody@contoso.test"}, 10)
			require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
			sub := c.parse(res)
			require.Equal(t, sub.href, res.header.Get("Location"))
			require.NotContains(t, sub.href, "?")
			events := c.until(&next, "presenceSubscription added", "contact added in subscribedContacts",
				"contactPresence updated in contact "+people.href+"/"+strings.TrimPrefix(bo, "sip:")+"/presence")
			require.Equal(t, 3, count(events, "contact added in subscribedContacts"), "each address once, the unknown one too: %v", events)
			require.Equal(t, 1, count(events, "presenceSubscription added"))

			// Somebody who does not exist is Offline, not an error.
			nobody := c.get(people.href + "/nobody@contoso.test/presence")
			require.Equal(t, "Offline", nobody.text("availability"))
			require.Equal(t, "contact", c.get(people.href+"/nobody@contoso.test").rel)

			setPresence(t, d, ana, "DoNotDisturb", "Presenting")
			href := people.href + "/" + strings.TrimPrefix(ana, "sip:") + "/presence"
			c.until(&next, "contactPresence updated in contact "+href)
			require.Equal(t, "DoNotDisturb", c.get(href).text("availability"))

			members := c.get(sub.link(t, "memberships"))
			require.Equal(t, "presenceSubscriptionMemberships", members.rel)
			require.Len(t, members.embedded["presenceSubscriptionMembership"], 3)
			require.Len(t, c.get(people.link(t, "subscribedContacts")).links["contact"], 3)

			res = c.post(sub.link(t, "addToPresenceSubscription"), "contactUris", []string{cy, ana}, 0)
			require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
			added := c.parse(res).embedded["presenceSubscriptionMembership"]
			require.Len(t, added, 1, "only who was not in it")
			require.Equal(t, added[0].properties, c.get(added[0].href).properties)
			c.until(&next, "contact added in subscribedContacts")
			require.Equal(t, http.StatusNoContent, c.do(http.MethodDelete, added[0].href, "", "").status)
			c.until(&next, "contact deleted in subscribedContacts")
			requireReason(t, c.do(http.MethodGet, added[0].href, "", ""), http.StatusNotFound, "NotFound", "")

			res = c.do(http.MethodPost, sub.href+"?duration=30", "", "")
			require.Equal(t, http.StatusOK, res.status)
			require.Equal(t, sub.properties, c.parse(res).properties)

			require.Equal(t, http.StatusNoContent, c.do(http.MethodDelete, sub.href, "", "").status)
			events = c.until(&next, "presenceSubscription deleted")
			require.Equal(t, 3, count(events, "contact deleted in subscribedContacts"))
			requireReason(t, c.do(http.MethodPost, sub.href+"?duration=30", "", ""), http.StatusNotFound, "NotFound", "")
			require.Empty(t, c.get(people.link(t, "presenceSubscriptions")).embedded["presenceSubscription"])
		})
	}
}

func count(events []event, what string) (n int) {
	for _, e := range events {
		if e.String() == what {
			n++
		}
	}
	return n
}

func TestAGroupIsSubscribedTo(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	people := app.child(t, "people")
	next := app.link(t, "events")
	group := c.get(people.link(t, "myGroups")).child(t, "myOrganizationGroup")
	link := group.link(t, "subscribeToGroupPresence")
	require.Contains(t, link, "?groupId=")
	members := c.get(group.link(t, "groupContacts")).embedded["contact"]
	for range 2 { // the second refreshes
		res := c.do(http.MethodPost, link+"&duration=10", "", "")
		require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
		sub := c.parse(res)
		require.Equal(t, group.text("id"), sub.text("id"))
		require.Empty(t, sub.links["addToPresenceSubscription"])
	}
	require.Len(t, c.get(people.link(t, "presenceSubscriptions")).embedded["presenceSubscription"], 1)
	events := c.until(&next, "presenceSubscription added")
	require.Equal(t, len(members), count(events, "contact added in subscribedContacts"))
	requireReason(t, c.post(people.href+"/presenceSubscriptionMemberships?presenceSubscriptionId="+group.text("id"), "contactUris", []string{"sip:a@contoso.test"}, 0),
		http.StatusForbidden, "Forbidden", "")
}

func TestContactsAndGroupsAreSubscribedTo(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	link := app.child(t, "people").link(t, "myContactsAndGroupsSubscription")
	s := c.get(link)
	require.Equal(t, "Disconnected", s.text("state"))
	require.Empty(t, s.links["stopSubscriptionToContactsAndGroups"])
	res := c.do(http.MethodPost, s.link(t, "startOrRefreshSubscriptionToContactsAndGroups")+"?duration=10", "", "")
	require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
	s = c.get(link)
	require.Equal(t, "Connected", s.text("state"))
	require.Equal(t, http.StatusNoContent, c.do(http.MethodPost, s.link(t, "stopSubscriptionToContactsAndGroups"), "", "").status)
	require.Equal(t, "Disconnected", c.get(link).text("state"))
}

func TestWrongSubscriptionsGetTheErrorOfTheProtocol(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Subscriptions.PerApplication, c.Subscriptions.Members = 2, 3 })
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		people := app.child(t, "people")
		subs := people.link(t, "presenceSubscriptions")
		ana := d.Contacts[0].URI
		for name, r := range map[string]response{
			"no duration":          c.post(subs, "uris", []string{ana}, 0),
			"a duration too short": c.post(subs, "uris", []string{ana}, 9),
			"a duration too long":  c.post(subs, "uris", []string{ana}, 31),
			"a duration in words":  c.do(http.MethodPost, subs+"?duration=long&uris="+ana, "", ""),
			"no addresses":         c.do(http.MethodPost, subs+"?duration=10", "", ""),
			"an empty list":        c.post(subs, "uris", nil, 10),
			"only what is none":    c.post(subs, "uris", []string{"x", "y"}, 10),
			"members of no one":    c.post(people.link(t, "presenceSubscriptionMemberships"), "contactUris", []string{ana}, 0),
			"a timer in words":     c.do(http.MethodGet, app.link(t, "events")+"&medium=soon", "", ""),
			"a negative priority":  c.do(http.MethodGet, app.link(t, "events")+"&priority=-1", "", ""),
		} {
			t.Run(name, func(t *testing.T) {
				requireReason(t, r, http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
			})
		}
		requireReason(t, c.do(http.MethodPost, subs+"?groupId=none&duration=10", "", ""), http.StatusNotFound, "NotFound", "")
		requireReason(t, c.do(http.MethodDelete, subs+"/none", "", ""), http.StatusNotFound, "NotFound", "")
		requireReason(t, c.post(subs, "uris", []string{"sip:a@contoso.test", "sip:b@contoso.test", "sip:c@contoso.test", "sip:d@contoso.test"}, 10),
			http.StatusForbidden, "Forbidden", "LimitExceeded")
		for range 2 {
			require.Equal(t, http.StatusCreated, c.post(subs, "uris", []string{ana}, 10).status)
		}
		requireReason(t, c.post(subs, "uris", []string{ana}, 10), http.StatusForbidden, "Forbidden", "LimitExceeded")
	})
}

func TestTheAcknowledgementsOfTheEventChannel(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	first := app.link(t, "events")
	require.Equal(t, http.StatusCreated, c.post(app.child(t, "people").link(t, "presenceSubscriptions"), "uris", []string{d.Contacts[0].URI}, 10).status)
	sent := c.do(http.MethodGet, first, "", "")
	require.Equal(t, http.StatusOK, sent.status)
	require.Equal(t, string(sent.body), string(c.do(http.MethodGet, first, "", "").body), "a lost answer is sent again, byte for byte")
	for _, ack := range []string{"?ack=99", "?ack=0", "?ack=x", "?other=1", ""} {
		a := c.poll(app.href + "/events" + ack)
		require.Equal(t, map[string]string{"resync": first}, a.links, ack)
		require.Empty(t, a.events)
	}
	require.Contains(t, c.get(app.href).link(t, "events"), "?ack=", "the application says where the channel stands")

	replaced := make(chan response, 1)
	next := strings.Replace(first, "ack=1", "ack=2", 1)
	go func() { replaced <- c.do(http.MethodGet, next+"&priority=1", "", "") }()
	require.Eventually(t, func() bool {
		// A P-GET of lower priority does not take the place of one that waits;
		// as long as none waits, it waits itself, so it gives up soon.
		res := c.brief(next)
		return res != nil && res.status == http.StatusConflict
	}, 10*time.Second, 50*time.Millisecond)
	go c.brief(next + "&priority=2")
	requireReason(t, <-replaced, http.StatusConflict, "Conflict", "PGetReplaced")
}

// TestTabsShareAnApplicationAndNotAChannel creates two instances of one
// application.
func TestTabsShareAnApplicationAndNotAChannel(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	c.signIn("/WebTicket/oauthtoken", d.Username, d.Password)
	create := func(instance string, status int) *node {
		res := c.do(http.MethodPost, "/ucwa/oauth/v1/applications", asJSON,
			`{"culture":"en-US","userAgent":"tabs","endpointId":"tabs","type":"browser","instanceId":"`+instance+`"}`)
		require.Equal(t, status, res.status, "%s", res.body)
		app := c.parse(res)
		require.Equal(t, instance, app.text("instanceId"))
		require.Equal(t, "Browser", app.text("type"))
		require.True(t, strings.HasSuffix(app.href, "?instanceId="+instance))
		require.True(t, strings.HasSuffix(app.link(t, "events"), "?ack=1&instanceId="+instance))
		return app
	}
	one, two := create("one", http.StatusCreated), create("two", http.StatusCreated)
	create("one", http.StatusOK)
	require.Equal(t, one.text("id"), two.text("id"))
	people := one.child(t, "people")
	require.Equal(t, http.StatusCreated, c.post(people.link(t, "presenceSubscriptions"), "uris", []string{d.Contacts[0].URI}, 10).status)
	for _, app := range []*node{one, two} {
		next := app.link(t, "events")
		c.until(&next, "presenceSubscription added")
	}
	require.Equal(t, http.StatusNoContent, c.do(http.MethodDelete, one.href, "", "").status)
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, two.href, "", "").status)
	requireReason(t, c.do(http.MethodGet, one.href, "", ""), http.StatusNotFound, "NotFound", "")
	require.Equal(t, "presenceSubscription", c.get(people.link(t, "presenceSubscriptions")).embedded["presenceSubscription"][0].rel)
	require.Equal(t, http.StatusNoContent, c.do(http.MethodDelete, two.href, "", "").status)
	requireReason(t, c.do(http.MethodGet, two.href, "", ""), http.StatusNotFound, "NotFound", "ApplicationNotFound")
}
