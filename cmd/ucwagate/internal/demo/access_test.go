package demo_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/graphsrc/graphsim"
)

// inBothFormats runs a test in both representations, each with somebody's client
// and application.
func inBothFormats(t *testing.T, d *demo.Demo, address string, test func(t *testing.T, c *client, app *node)) {
	t.Helper()
	for name, accept := range map[string]string{"in JSON": asJSON, "in XML": asXML} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, d, accept)
			c.signIn("/WebTicket/oauthtoken", address, d.Password)
			test(t, c, c.create("/ucwa/oauth/v1/applications", "access"+accept))
		})
	}
}

func TestWhoMayNotSignInIsRefused(t *testing.T) {
	me, other := people(t)
	group := filepath.Join(t.TempDir(), "staff")
	require.NoError(t, os.WriteFile(group, []byte("# who may\n"+me.Address()+"\n"), 0o600))
	for name, access := range map[string]config.Access{
		"who is denied":                   {SignInDeny: []string{other.Address()}},
		"who is denied beats who is let":  {SignInAllow: []string{"*"}, SignInDeny: []string{other.Address()}},
		"who is not among those let in":   {SignInAllow: []string{strings.ToUpper(me.Address())}},
		"who is not in the group let in":  {SignInAllow: []string{"group:staff"}, Groups: []string{"staff=" + group}},
		"who is of a domain below others": {SignInAllow: []string{me.Address(), "*.contoso.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, func(c *config.Config) {
				c.Access, c.SignIn.Entra.Audiences = access, []string{audience}
			})
			for _, accept := range []string{asJSON, asXML} {
				c := newClient(t, d, accept)
				res := c.ask("/WebTicket/oauthtoken", byPassword(other.Address(), d.Password))
				require.Equal(t, http.StatusBadRequest, res.status, "a challenge would have the client ask on and on")
				require.JSONEq(t, `{"error":"invalid_grant"}`, string(res.body))
				require.Contains(t, res.header["X-Ms-Diagnostics"][0], "not allowed to sign in")

				token, err := d.Tenant.IssueUserToken(other.Address(), audience)
				require.NoError(t, err)
				c.token = token
				for _, path := range []string{"/Autodiscover/AutodiscoverService.svc/root/oauth/user", "/ucwa/oauth/v1/applications/1/people", "/ucwa/none"} {
					requireReason(t, c.do(http.MethodGet, path, "", ""), http.StatusForbidden, "Forbidden", "")
				}
				c.token = ""
				c.keep(c.ask("/WebTicket/oauthtoken", byPassword(me.Address(), d.Password)))
				require.Equal(t, "sip:"+me.Address(), c.reach(d).text("uri"), "others can")
			}
		})
	}
}

func TestWhoMayNotPublishIsReadOnly(t *testing.T) {
	me, other := people(t)
	for name, access := range map[string]config.Access{
		"who is denied":                     {PublishDeny: []string{me.Address()}},
		"who is not among those who may":    {PublishAllow: []string{other.Address()}},
		"who is denied beats who is let in": {PublishAllow: []string{"contoso.test"}, PublishDeny: []string{me.Address()}},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, func(c *config.Config) { c.Access = access })
			inBothFormats(t, d, me.Address(), func(t *testing.T, c *client, app *node) {
				own := c.available(app, "").child(t, "me")
				require.ElementsMatch(t, []string{"location", "reportMyActivity", "photo"}, keys(own.links))
				for path, body := range map[string]string{"/presence": `{"availability":"Busy"}`, "/note": `{"message":"x"}`} {
					requireReason(t, c.do(http.MethodPost, own.href+path, asJSON, body), http.StatusForbidden, "Forbidden", "")
					c.get(own.href + path)
				}
				got := answers(t, c.batch(app.link(t, "batch"), part("POST", own.href+"/note", "Content-Type: application/json\r\n", `{"message":"x"}`)))
				require.Equal(t, http.StatusForbidden, got[0].status)
				c.nothing(http.MethodPost, own.link(t, "reportMyActivity"), "", "")
			})
			inBothFormats(t, d, other.Address(), func(t *testing.T, c *client, app *node) {
				own := c.available(app, "").child(t, "me")
				c.nothing(http.MethodPost, own.link(t, "note"), asJSON, `{"message":"mine"}`)
				require.Equal(t, "mine", c.get(own.link(t, "note")).text("message"))
			})
			availability, _, note := truth(t, d)
			require.NotEqual(t, "Busy", availability, "nothing has reached Graph")
			require.Empty(t, note)
		})
	}
}

// aliased is somebody of the reports of the demonstration's user who has a
// further address.
func aliased(t *testing.T) (who graphsim.User, alias string) {
	t.Helper()
	tenant, err := graphsim.New(graphsim.Config{})
	require.NoError(t, err)
	defer tenant.Close()
	for _, u := range tenant.Reports(tenant.Organizer()) {
		if u.UserPrincipalName != u.Address() {
			return u, u.UserPrincipalName
		}
	}
	require.FailNow(t, "everybody has one address")
	return who, ""
}

// everybody lists whom a resource shows, embedded ones included.
func (n *node) everybody() []string {
	var list []string
	if n.rel == "contact" {
		list = append(list, n.text("uri"))
	}
	for _, children := range n.embedded {
		for _, child := range children {
			list = append(list, child.everybody()...)
		}
	}
	return list
}

func TestWhoMayNotReadSomebodyDoesNotSeeThem(t *testing.T) {
	me, colleague := people(t)
	hidden, alias := aliased(t)
	pinned := filepath.Join(t.TempDir(), "pinned")
	require.NoError(t, os.WriteFile(pinned, []byte("*: "+hidden.Address()+", "+alias+", "+colleague.Address()+"\n"), 0o600))
	group := filepath.Join(t.TempDir(), "seen")
	require.NoError(t, os.WriteFile(group, []byte(colleague.Address()+"\n"), 0o600))
	for name, access := range map[string]config.Access{
		"because a rule denies it":       {Read: []string{"deny " + me.Address() + " > " + hidden.Address()}},
		"because a rule allows others":   {Read: []string{"allow " + me.Address() + " > group:seen"}, Groups: []string{"seen=" + group}},
		"because nobody may read them":   {Read: []string{"deny * > " + hidden.Address()}},
		"because no rule allows it":      {ReadNobody: true, Read: []string{"allow * > " + colleague.Address()}},
		"because denying beats allowing": {Read: []string{"allow * > *", "deny " + me.Address() + " > " + hidden.Address()}},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, func(c *config.Config) { c.Access, c.Contacts.PinnedFile = access, pinned })
			inBothFormats(t, d, me.Address(), func(t *testing.T, c *client, app *node) {
				at := app.child(t, "people")
				for _, address := range []string{hidden.Address(), strings.ToUpper(hidden.Address()), alias, "sip:" + alias} {
					refused(t, c, app, address)
				}
				requireUnseen(t, c, at, hidden, colleague)
				for _, address := range []string{colleague.Address(), me.Address()} {
					contact := c.get(at.href + "/" + address)
					require.NotEmpty(t, c.get(contact.link(t, "contactPresence")).text("availability"), address)
					photo := c.do(http.MethodGet, app.href+"/photos/"+address, "", "").status
					require.Contains(t, []int{http.StatusOK, http.StatusNotFound}, photo)
				}
				res := c.post(at.link(t, "presenceSubscriptions"), "uris", []string{"sip:" + colleague.Address()}, 10)
				require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
				sub := c.parse(res)
				requireReason(t, c.post(sub.link(t, "addToPresenceSubscription"), "contactUris", []string{"sip:" + hidden.Address()}, 0), http.StatusForbidden, "Forbidden", "")
			})
			// They see themselves, whatever the rules say of others.
			inBothFormats(t, d, hidden.Address(), func(t *testing.T, c *client, app *node) {
				own := c.get(app.child(t, "people").href + "/" + hidden.Address())
				require.NotEmpty(t, c.get(own.link(t, "contactPresence")).text("availability"))
				res := c.post(app.child(t, "people").link(t, "presenceSubscriptions"), "uris", []string{"sip:" + hidden.Address()}, 10)
				require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
			})
		})
	}
}

// refused asks for all that belongs to a contact, one by one and in a batch.
func refused(t *testing.T, c *client, app *node, address string) {
	t.Helper()
	person := app.child(t, "people").href + "/" + address
	var parts []string
	for _, href := range []string{person, person + "/presence", person + "/note", person + "/location", person + "/supportedMedia", person + "/privacyRelationship", app.href + "/photos/" + address} {
		requireReason(t, c.do(http.MethodGet, href, "", ""), http.StatusForbidden, "Forbidden", "")
		if !strings.Contains(href, "/photos/") {
			parts = append(parts, part("GET", href, "", ""))
		}
	}
	for _, a := range answers(t, c.batch(app.link(t, "batch"), parts...)) {
		require.Equal(t, http.StatusForbidden, a.status)
		var reason struct{ Code, Subcode string }
		require.NoError(t, json.Unmarshal([]byte(a.body), &reason), a.body)
		require.Equal(t, "Forbidden", reason.Code)
		require.Empty(t, reason.Subcode)
	}
}

// requireUnseen looks for somebody in whatever lists people, and subscribes.
func requireUnseen(t *testing.T, c *client, people *node, hidden, colleague graphsim.User) {
	t.Helper()
	seen := func(list *node) []string {
		all := list.everybody()
		require.NotContains(t, all, "sip:"+hidden.Address(), list.rel)
		require.NotContains(t, fmt.Sprint(list.hrefs()), hidden.Address(), list.rel)
		return all
	}
	require.Contains(t, seen(c.get(people.link(t, "myContacts"))), "sip:"+colleague.Address(), "others are shown")
	groups := c.get(people.link(t, "myGroups") + "?expand=true")
	seen(groups)
	for _, rel := range []string{"pinnedGroup", "defaultGroup", "myOrganizationGroup", "group", "distributionGroup"} {
		for _, group := range groups.embedded[rel] {
			members := "groupContacts"
			if rel == "distributionGroup" {
				members = "expandDistributionGroup"
			}
			seen(c.get(group.link(t, members)))
		}
	}
	for _, words := range []string{hidden.DisplayName, hidden.Address(), hidden.Surname, hidden.Mail, hidden.UserPrincipalName} {
		require.Empty(t, seen(c.get(people.link(t, "search")+"?query="+url.QueryEscape(words)+"&mail="+url.QueryEscape(hidden.Mail))))
		seen(c.get(people.link(t, "search") + "?limit=100&query=" + url.QueryEscape(words)))
	}
	require.Contains(t, seen(c.get(people.link(t, "search")+"?query="+url.QueryEscape(colleague.Address()))), "sip:"+colleague.Address())
	for _, uris := range [][]string{{"sip:" + hidden.Address()}, {"sip:" + colleague.Address(), strings.ToUpper(hidden.Address())}, {"sip:" + hidden.UserPrincipalName}} {
		requireReason(t, c.post(people.link(t, "presenceSubscriptions"), "uris", uris, 10), http.StatusForbidden, "Forbidden", "")
	}
	require.Empty(t, c.get(people.link(t, "presenceSubscriptions")).embedded["presenceSubscription"], "nobody is subscribed to halfway")
}
