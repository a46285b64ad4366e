package demo_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/demo"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestTheWalk goes the way of the documentation from discovery to a contact's
// presence, through the real SDK and azidentity, in both representations.
func TestTheWalk(t *testing.T) {
	d := start(t, nil)
	for name, accept := range map[string]string{"in JSON": asJSON, "in XML": asXML} {
		t.Run(name, func(t *testing.T) { walk(t, d, accept) })
	}
}

func walk(t *testing.T, d *demo.Demo, accept string) {
	c := newClient(t, d, accept)
	root := c.get("/")
	require.Equal(t, "root", root.rel)
	require.True(t, strings.HasPrefix(root.link(t, "user"), d.BaseURL+"/"), "discovery links are absolute, on the host the client used")

	tokenURL := challenged(t, c, root.link(t, "user"))
	c.signIn(tokenURL, d.Username, d.Password)
	user := c.get(root.link(t, "user"))
	require.True(t, strings.HasSuffix(user.href, "/root/user"))

	app := c.create(user.link(t, "applications"), "walk"+accept)
	for _, rel := range []string{"me", "people", "onlineMeetings", "communication"} {
		require.Equal(t, rel, app.child(t, rel).rel)
	}
	require.Equal(t, "en-US", app.text("culture"))
	require.Equal(t, "sip:"+d.Username, app.child(t, "me").text("uri"))

	groups := c.get(app.child(t, "people").link(t, "myGroups"))
	organization := groups.child(t, "myOrganizationGroup")
	contacts := c.get(organization.link(t, "groupContacts"))
	require.Equal(t, "groupContacts", contacts.rel)
	require.NotEmpty(t, contacts.embedded["contact"])
	contact := c.get(contacts.embedded["contact"][0].href)
	require.Equal(t, contacts.embedded["contact"][0].properties, contact.properties)

	setPresence(t, d, contact.text("uri"), "Busy", "InAMeeting")
	presence := c.get(contact.link(t, "contactPresence"))
	require.Equal(t, "Busy", presence.text("availability"))
	require.Equal(t, "in-a-meeting", presence.text("activity"))
	require.Equal(t, "Unknown", presence.text("deviceType"))
	require.NotEmpty(t, presence.text("lastActive"))
	for _, rel := range []string{"contactNote", "contactLocation", "contactSupportedModalities", "contactPrivacyRelationship"} {
		part := c.get(contact.link(t, rel))
		require.Equal(t, rel, part.rel)
		require.Equal(t, contact.link(t, rel), part.href)
	}

	require.Equal(t, http.StatusNoContent, c.do(http.MethodDelete, app.href, "", "").status)
	requireReason(t, c.do(http.MethodGet, app.href, "", ""), http.StatusNotFound, "NotFound", "ApplicationNotFound")
}

// challenged asks without credentials and finds the token service in the
// answer, by text, like the clients do.
func challenged(t *testing.T, c *client, userURL string) string {
	t.Helper()
	res := c.do(http.MethodGet, userURL, "", "")
	require.Equal(t, http.StatusUnauthorized, res.status)
	require.Len(t, res.header.Values("WWW-Authenticate"), 2)
	m := regexp.MustCompile(`MsRtcOAuth href="([^"]+)",grant_type="[^"]*password[^"]*"`).FindStringSubmatch(strings.Join(res.header.Values("WWW-Authenticate"), ", "))
	require.NotNil(t, m)
	return m[1]
}

func setPresence(t *testing.T, d *demo.Demo, uri, availability, activity string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"user": strings.TrimPrefix(uri, "sip:"), "availability": availability, "activity": activity})
	require.NoError(t, err)
	simulator(t, d, http.MethodPost, "/sim/presence", string(body))
}

// requireReason checks an error in whichever representation it came.
func requireReason(t *testing.T, res response, status int, code, subcode string) {
	t.Helper()
	require.Equal(t, status, res.status, "%s", res.body)
	if strings.HasPrefix(res.header.Get("Content-Type"), asXML) {
		require.Contains(t, string(res.body), "<code>"+code+"</code>")
		if subcode != "" {
			require.Contains(t, string(res.body), "<subcode>"+subcode+"</subcode>")
		} else {
			require.NotContains(t, string(res.body), "<subcode")
		}
		return
	}
	var reason struct{ Code, Subcode, Message string }
	require.NoError(t, json.Unmarshal(res.body, &reason), "%s", res.body)
	require.Equal(t, code, reason.Code)
	require.Equal(t, subcode, reason.Subcode)
	require.NotEmpty(t, reason.Message)
}

// hrefs lists everything a resource advertises, embedded resources included.
func (n *node) hrefs() []string {
	list := []string{n.href}
	for _, l := range n.links {
		list = append(list, l...)
	}
	for _, children := range n.embedded {
		for _, child := range children {
			list = append(list, child.hrefs()...)
		}
	}
	return list
}

// TestEveryAdvertisedLinkWorks crawls all that can be reached from an
// application and checks each resource in both representations against each
// other and against what clients need of hrefs.
func TestEveryAdvertisedLinkWorks(t *testing.T) {
	d := start(t, nil)
	c, x := newClient(t, d, asJSON), newClient(t, d, asXML)
	app := c.application(d)
	x.token = c.token
	res := c.post(app.child(t, "people").link(t, "presenceSubscriptions"), "uris", []string{d.Contacts[0].URI, d.Contacts[1].URI}, 10)
	require.Equal(t, http.StatusCreated, res.status)
	queue := []string{app.href, "/ucwa/oauth/v1/applications"}
	requireGoodHref(t, app.child(t, "me").link(t, "makeMeAvailable"))
	c.available(app, "")
	seen := map[string]string{}
	for len(queue) > 0 {
		href := queue[0]
		queue = queue[1:]
		if seen[href] != "" {
			continue
		}
		switch {
		case strings.Contains(href, "/events?ack="):
			seen[href] = "events" // held open; its tests are elsewhere
			continue
		case strings.Contains(href, "/photos/"): // no resource but a picture, or none
			require.Contains(t, []int{http.StatusOK, http.StatusNotFound}, c.do(http.MethodGet, href, "", "").status)
			seen[href] = "photo"
			continue
		case strings.HasSuffix(href, "/search"):
			href += "?query=e&limit=5"
		}
		n := c.get(href)
		seen[href] = n.rel
		// Expanding a group answers with the group itself.
		require.Equal(t, strings.TrimSuffix(href, "/expandDistributionGroup"), n.href, "the self link is the identity")
		requireSame(t, n, x.get(href))
		for _, h := range n.hrefs() {
			if h != "/ucwa/oauth/v1/applications" {
				requireGoodHref(t, h)
			}
			if !operation.MatchString(h) {
				queue = append(queue, h)
			}
		}
	}
	rels := map[string]int{}
	for _, rel := range seen {
		rels[rel]++
	}
	for _, rel := range []string{
		"application", "me", "people", "onlineMeetings", "communication", "conversations", "myContacts", "myGroups", "groupContacts",
		"pinnedGroup", "defaultGroup", "myOrganizationGroup", "group", "distributionGroup", "contact", "contactPresence", "contactNote",
		"contactLocation", "contactSupportedModalities", "contactPrivacyRelationship", "presenceSubscriptions", "presenceSubscription",
		"presenceSubscriptionMemberships", "presenceSubscriptionMembership", "subscribedContacts", "myContactsAndGroupsSubscription",
		"applications", "policies", "presence", "note", "location", "search", "photo", "myGroupMemberships", "myGroupMembership",
		"myPrivacyRelationships", "myPrivacyRelationship",
	} {
		require.Positive(t, rels[rel], "%s is reachable: %v", rel, rels)
	}
}

// operation matches the hrefs of what answers to POST only.
var operation = regexp.MustCompile(`/(startOrRefresh|batch|reportMyNetwork|reportMyActivity)$|/presenceSubscriptions\?groupId=`)

var (
	relativeHref = regexp.MustCompile(`^/ucwa/oauth/v1/applications/[0-9]+(/|\?|$)`)
	contactHref  = regexp.MustCompile(`/people/[^/]*@`)
	contactChars = regexp.MustCompile(`^[A-Za-z0-9_\-/@.]+$`)
)

func requireGoodHref(t *testing.T, href string) {
	t.Helper()
	require.Regexp(t, relativeHref, href)
	if contactHref.MatchString(href) {
		require.Regexp(t, contactChars, href)
		require.Equal(t, strings.ToLower(href[:strings.LastIndex(href, ".")]), href[:strings.LastIndex(href, ".")])
	}
}

// requireSame compares the JSON and the XML view of one resource.
func requireSame(t *testing.T, j, x *node) {
	t.Helper()
	require.Equal(t, j.rel, x.rel)
	require.Equal(t, j.href, x.href)
	require.Len(t, x.properties, len(j.properties))
	for name, value := range j.properties {
		if name == "lastActive" {
			require.NotEmpty(t, x.properties[name])
			continue
		}
		if list, ok := value.([]any); ok && len(list) == 0 {
			require.Empty(t, x.properties[name])
			continue
		}
		if value == "true" || value == "false" { // XML writes booleans with a capital
			require.Equal(t, value, strings.ToLower(x.text(name)), "%s of %s", name, j.href)
			continue
		}
		require.Equal(t, value, x.properties[name], "%s of %s", name, j.href)
	}
	for rel, hrefs := range j.links {
		if len(hrefs) > 0 {
			require.Equal(t, hrefs, x.links[rel])
		}
	}
	for rel, children := range j.embedded {
		require.Len(t, x.embedded[rel], len(children))
		for i := range children {
			requireSame(t, children[i], x.embedded[rel][i])
		}
	}
}

// TestGoldenFiles keeps the exact bytes of every resource.
func TestGoldenFiles(t *testing.T) {
	d := start(t, nil)
	plain := newClient(t, d, asJSON)
	app := plain.application(d)
	someone := d.Contacts[0].URI
	setPresence(t, d, someone, "Busy", "InACall")
	contact := app.child(t, "people").href + "/" + strings.TrimPrefix(someone, "sip:")
	resources := map[string]string{
		"root": "/", "user": "/Autodiscover/AutodiscoverService.svc/root/oauth/user", "application": app.href,
		"contact": contact, "contactPresence": contact + "/presence", "contactNote": contact + "/note",
		"contactLocation": contact + "/location", "contactSupportedModalities": contact + "/supportedMedia",
		"contactPrivacyRelationship": contact + "/privacyRelationship", "unknownContact": app.child(t, "people").href + "/nobody@contoso.test",
	}
	for _, rel := range []string{"people", "onlineMeetings", "communication"} {
		resources[rel] = app.child(t, rel).href
	}
	people := app.child(t, "people")
	resources["applications"], resources["policies"] = "/ucwa/oauth/v1/applications", app.link(t, "policies")
	resources["search"] = people.link(t, "search") + "?query=" + strings.TrimPrefix(someone, "sip:")
	resources["searchNothing"] = people.link(t, "search") + "?query=zzzzqqqq"
	resources["searchWithoutQuery"] = people.link(t, "search")
	resources["makeMeAvailableRequired"] = app.child(t, "me").href + "/presence"
	for _, rel := range []string{"myGroupMemberships", "myPrivacyRelationships"} {
		resources[rel] = people.link(t, rel)
	}
	resources["myGroupMembership"] = plain.get(resources["myGroupMemberships"]).embedded["myGroupMembership"][0].href
	resources["myPrivacyRelationship"] = plain.get(resources["myPrivacyRelationships"]).embedded["myPrivacyRelationship"][0].href
	other := plain.create("/ucwa/oauth/v1/applications", "available")
	resources["meBefore"] = app.child(t, "me").href
	own := plain.available(other, `{"supportedModalities":["Messaging"]}`).child(t, "me")
	resources["me"] = own.href
	plain.nothing(http.MethodPost, own.link(t, "note"), asJSON, `{"message":"Back at <ten> & later"}`)
	for _, rel := range []string{"presence", "note", "location"} {
		resources[rel] = own.link(t, rel)
	}
	resources["communicationAvailable"] = other.child(t, "communication").href
	require.Eventually(t, func() bool { return plain.get(own.link(t, "presence")).text("availability") == "Online" }, 10*time.Second, 20*time.Millisecond)
	resources["conversations"] = app.child(t, "communication").link(t, "conversations")
	resources["myContacts"] = app.child(t, "people").link(t, "myContacts")
	resources["myContactsLinks"] = resources["myContacts"] + "?expand=false"
	resources["myGroups"] = app.child(t, "people").link(t, "myGroups")
	resources["myGroupsLinks"] = resources["myGroups"] + "?expand=false"
	groups := plain.get(resources["myGroups"])
	for _, rel := range []string{"pinnedGroup", "defaultGroup", "myOrganizationGroup", "group", "distributionGroup"} {
		resources[rel] = groups.embedded[rel][0].href
	}
	resources["groupContacts"] = groups.child(t, "myOrganizationGroup").link(t, "groupContacts")
	resources["expandDistributionGroup"] = groups.embedded["distributionGroup"][0].link(t, "expandDistributionGroup")

	require.Equal(t, http.StatusCreated, plain.do(http.MethodPost, groups.child(t, "pinnedGroup").link(t, "subscribeToGroupPresence")+"&duration=10", "", "").status)
	for _, rel := range []string{"presenceSubscriptions", "presenceSubscriptionMemberships", "subscribedContacts", "myContactsAndGroupsSubscription"} {
		resources[rel] = app.child(t, "people").link(t, rel)
	}
	resources["presenceSubscription"] = plain.get(resources["presenceSubscriptions"]).embedded["presenceSubscription"][0].href
	for name, href := range resources {
		for suffix, accept := range map[string]string{".json": asJSON, ".xml": asXML} {
			c := newClient(t, d, accept)
			c.token = plain.token
			res := c.do(http.MethodGet, href, "", "")
			golden(t, *update, name+suffix, stable(t, d, res.body))
		}
	}
}

// stable takes out of a body what differs between two runs, and breaks it into
// lines so that a difference can be read.
func stable(t *testing.T, d *demo.Demo, body []byte) []byte {
	t.Helper()
	s := string(body)
	s = strings.ReplaceAll(s, d.BaseURL, "http://gateway.example")
	for pattern, replacement := range map[string]string{
		`/applications/[0-9]+`:    "/applications/101",
		`"id":"[0-9]{15}"`:        `"id":"101"`,
		`name="id">[0-9]{15}<`:    `name="id">101<`,
		`/Date\([0-9]+\)`:         "/Date(1700000000000)",
		`name="lastActive">[^<]+`: `name="lastActive">2023-11-14T22:13:20.0000000Z`,
		`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(":"|">)please`: "00000000-0000-0000-0000-000000000000${1}please",
		`("etag":"|name="etag">)[0-9]+`:                                              "${1}1",
	} {
		s = regexp.MustCompile(pattern).ReplaceAllString(s, replacement)
	}
	if strings.HasPrefix(s, "{") {
		var out bytes.Buffer
		require.NoError(t, json.Indent(&out, []byte(s), "", " "))
		return append(out.Bytes(), '\n')
	}
	return []byte(strings.ReplaceAll(s, "><", ">\n<") + "\n")
}
