package graphsim

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return "?" + values.Encode()
}

func TestUserIsFoundByIDAndPrincipalNameOnly(t *testing.T) {
	c, _ := outside(t, Config{})
	for index := range c.tenant.Len() {
		u := c.tenant.User(index)
		for _, name := range []string{u.ID, u.UserPrincipalName, strings.ToUpper(u.UserPrincipalName)} {
			require.Equal(t, u.ID, c.good("/users/" + url.PathEscape(name))["id"], name)
		}
		if u.Address() != u.UserPrincipalName {
			got := c.get("/users/" + u.Address())
			require.Equal(t, http.StatusNotFound, got.status)
			require.Equal(t, "Request_ResourceNotFound", got.code(t))
		}
	}
	u := c.tenant.User(3)
	require.Equal(t, u.ID, c.good("/USERS('" + u.UserPrincipalName + "')")["id"])
	selected := c.good("/users/" + u.ID + "?$select=IMAddresses,mail,displayName")
	delete(selected, "@odata.context")
	require.Equal(t, map[string]any{"imAddresses": []any{u.IMAddresses[0]}, "mail": u.Mail, "displayName": u.DisplayName}, selected)
	usual := c.good("/users/" + u.ID)
	require.NotContains(t, usual, "imAddresses")
	require.Contains(t, usual, "businessPhones")
	require.Equal(t, http.StatusBadRequest, c.get("/users/"+u.ID+"?$select=shoeSize").status)
	require.Equal(t, http.StatusBadRequest, c.get("/users/"+u.ID+"?$expand=manager").status)
}

func TestFiltersFindUsers(t *testing.T) {
	c := inside(t, Config{Users: 300})
	u := c.tenant.User(4) // its SIP address differs from its principal name
	require.NotEqual(t, u.Address(), u.UserPrincipalName)
	guest := c.tenant.User(19)
	for filter, want := range map[string][]string{
		"userPrincipalName eq '" + u.UserPrincipalName + "'":                                            {u.ID},
		"mail eq '" + strings.ToUpper(u.Mail) + "'":                                                     {u.ID},
		"imAddresses/any(x:x eq '" + u.Address() + "')":                                                 {u.ID},
		"imAddresses/any(x:x eq '" + u.UserPrincipalName + "')":                                         {},
		"proxyAddresses/any(p:p eq 'sip:" + u.Address() + "')":                                          {u.ID},
		"proxyAddresses/any(p:p eq 'SIP:" + u.Address() + "' or p eq 'x')":                              {u.ID},
		"otherMails/any(m:m eq '" + guest.Mail + "')":                                                   {guest.ID},
		"id in ('" + u.ID + "','" + guest.ID + "')":                                                     {u.ID, guest.ID},
		"mail eq '" + u.Mail + "' or imAddresses/any(i:i eq '" + c.tenant.User(5).Address() + "')":      {u.ID, c.tenant.User(5).ID},
		"startswith(displayName,'" + strings.ReplaceAll(u.DisplayName, "'", "''") + "')":                {u.ID},
		"mail eq '" + u.Mail + "' and userType eq 'Guest'":                                              {},
		"userPrincipalName eq '" + guest.UserPrincipalName + "'":                                        {guest.ID},
		"accountEnabled eq false and userType eq 'Member'":                                              {c.tenant.User(77).ID, c.tenant.User(167).ID, c.tenant.User(257).ID},
		"imAddresses/any(i:startswith(i,'" + u.Address()[:len(u.Address())-2] + "')) and mail ne null ": nil,
	} {
		got := c.get("/users" + query("$filter", filter, "$select", "id"))
		if want == nil {
			require.Equal(t, http.StatusBadRequest, got.status, filter)
			require.Equal(t, "Request_UnsupportedQuery", got.code(t), filter)
			continue
		}
		require.Equal(t, http.StatusOK, got.status, "%s: %s", filter, got.body)
		found := []string{}
		for _, user := range list(t, got.json(t)) {
			found = append(found, user["id"].(string))
		}
		require.ElementsMatch(t, want, found, filter)
	}
}

func TestFiltersGraphRefusesAreRefused(t *testing.T) {
	c := inside(t, Config{})
	var sixteen []string
	for i := range 16 {
		sixteen = append(sixteen, fmt.Sprintf("'u%d'", i))
	}
	for filter, code := range map[string]string{
		"mail eq":                  "BadRequest",
		"shoeSize eq '3'":          "BadRequest",
		"imAddresses eq 'x'":       "BadRequest",
		"mail/any(x:x eq 'y')":     "BadRequest",
		"mail eq true":             "BadRequest",
		"accountEnabled eq 'true'": "BadRequest",
		"mail in (" + strings.Join(sixteen, ",") + ")": "BadRequest",
		"mail eq '" + strings.Repeat("x", 121) + "'":   "BadRequest",
		"imAddresses/any(x:x in ('a','b'))":            "Request_UnsupportedQuery",
		"mail ne 'x'":                                  "Request_UnsupportedQuery",
		"not(mail eq 'x')":                             "Request_UnsupportedQuery",
		"endswith(mail,'x')":                           "Request_UnsupportedQuery",
		"companyName eq 'Contoso'":                     "Request_UnsupportedQuery",
		"officeLocation eq '1'":                        "Request_UnsupportedQuery",
		"startsWith(mobilePhone,'+1')":                 "Request_UnsupportedQuery",
		"businessPhones/any(p:startsWith(p,'+1'))":     "Request_UnsupportedQuery",
		"startswith(businessPhones,'+1')":              "BadRequest",
	} {
		got := c.get("/users" + query("$filter", filter))
		require.Equal(t, http.StatusBadRequest, got.status, filter)
		require.Equal(t, code, got.code(t), filter)
	}
	advanced := c.with("ConsistencyLevel", "eventual")
	for _, filter := range []string{
		"mail ne 'x'", "not(mail eq 'x')", "companyName eq 'Contoso'", "endswith(mail,'@contoso.test')",
		"startsWith(mobilePhone,'+1 ')", "businessPhones/any(p:startsWith(p,'+1 '))",
	} {
		got := advanced.good("/users" + query("$filter", filter, "$count", "true", "$top", "5"))
		require.Positive(t, got["@odata.count"], filter)
		require.Len(t, got["value"], 5)
	}
	require.NotContains(t, c.good("/users"+query("$count", "true")), "@odata.count", "a bare $count is ignored")
}

func TestSearchNeedsTheConsistencyHeader(t *testing.T) {
	c := inside(t, Config{})
	u := c.tenant.User(7)
	search := query("$search", `"displayName:`+u.Surname+`" AND "mail:`+u.Mail+`"`)
	require.Equal(t, http.StatusBadRequest, c.get("/users"+search).status)
	advanced := c.with("ConsistencyLevel", "eventual")
	found := advanced.values("/users" + search)
	require.Len(t, found, 1)
	require.Equal(t, u.ID, found[0]["id"])
	require.Equal(t, http.StatusBadRequest, advanced.get("/users"+query("$search", "Anna")).status)
	for _, property := range []string{"shoeSize", "accountEnabled", "businessPhones"} {
		got := advanced.get("/users" + query("$search", `"`+property+`:1"`))
		require.Equal(t, http.StatusBadRequest, got.status, property)
		require.Equal(t, "Request_UnsupportedQuery", got.code(t), property)
	}
	for property, text := range map[string]string{
		"displayName": u.GivenName[:len(u.GivenName)-1], "givenName": u.GivenName, "surname": u.Surname, "mail": u.Mail[:5],
		"userPrincipalName": strings.ToUpper(u.UserPrincipalName[:5]), "mobilePhone": u.MobilePhone, "proxyAddresses": "SMTP:" + u.Mail,
	} {
		found := advanced.all("/users" + query("$search", `"`+property+":"+text+`"`, "$select", "id"))
		require.Contains(t, found, map[string]any{"id": u.ID}, property)
	}
	require.Equal(t, "200", string(advanced.get("/users/$count").body))
	require.Equal(t, http.StatusBadRequest, c.get("/users/$count").status)
}

func TestPhonesAreFoundByTheirBeginning(t *testing.T) {
	c := inside(t, Config{})
	advanced := c.with("ConsistencyLevel", "eventual")
	u := c.tenant.User(0)
	for filter, number := range map[string]string{
		"startsWith(mobilePhone,'%s')":             u.MobilePhone,
		"businessPhones/any(p:startsWith(p,'%s'))": u.BusinessPhones[0],
		"businessPhones/any(p:p eq '%s')":          u.BusinessPhones[0],
	} {
		filter = fmt.Sprintf(filter, number)
		found := advanced.values("/users" + query("$filter", filter, "$count", "true", "$select", "id"))
		require.Contains(t, found, map[string]any{"id": u.ID}, filter)
	}
	require.Equal(t, http.StatusOK, c.get("/users"+query("$filter", "businessPhones/any(p:p eq '"+u.BusinessPhones[0]+"')")).status)
	for _, halves := range []*caller{c, advanced} { // the header or $count alone is not enough
		options := []string{"$filter", "startsWith(mobilePhone,'+1')"}
		if halves == c {
			options = append(options, "$count", "true")
		}
		require.Equal(t, "Request_UnsupportedQuery", halves.get("/users"+query(options...)).code(t))
	}
}

func TestGroupsAreSearchedAndFiltered(t *testing.T) {
	c := inside(t, Config{Users: 400})
	advanced := c.with("ConsistencyLevel", "eventual")
	everything := c.all("/groups" + query("$top", "7"))
	require.Len(t, everything, c.tenant.dir.Groups())
	require.Equal(t, everything[0], func() map[string]any {
		one := c.good("/groups/" + everything[0]["id"].(string))
		delete(one, "@odata.context")
		return one
	}())
	require.NotContains(t, everything[0], "@odata.type")
	for _, page := range []map[string]any{
		advanced.good("/groups" + query("$search", `"displayName:sales team"`, "$filter", "mailEnabled eq true", "$count", "true", "$top", "2", "$select", "id,displayName,mail")),
		advanced.good("/groups" + query("$filter", "startswith(displayName,'Sales Team')", "$count", "true", "$top", "2", "$select", "id,displayName,mail")),
	} {
		require.InDelta(t, 5, page["@odata.count"], 0)
		require.Contains(t, page, "@odata.nextLink")
		for _, g := range list(t, page) {
			require.Len(t, g, 3)
			require.Contains(t, g["displayName"], "Sales Team")
		}
	}
	for expression, want := range map[string]int{
		`"displayName:Department"`: 8, `"displayName:Sales Department"`: 1, `"displayName:lighthouse"`: 2,
		`"mail:team-1@"`: 1, `"mailNickname:department-" OR "mail:all@"`: 9,
		`"displayName:sales" AND ("description:department" OR "mail:team-1@")`: 2, `"displayName:nobody"`: 0,
	} {
		require.Len(t, advanced.all("/groups"+query("$search", expression)), want, expression)
	}
	require.Len(t, advanced.all("/groups"+query("$search", `"displayName:sales"`, "$filter", "mailEnabled eq true")), 5)
	require.Len(t, c.all("/groups"+query("$filter", "securityEnabled eq true")), 8)
	require.NotEmpty(t, c.all("/groups"+query("$filter", "groupTypes/any(g:g eq 'Unified') and mailEnabled eq true")))
	require.Equal(t, "Request_UnsupportedQuery", c.get("/groups"+query("$search", `"displayName:x"`)).code(t))
	for _, bad := range []string{
		query("$search", "sales"), query("$search", `"shoeSize:1"`), query("$search", `"groupTypes:Unified"`), query("$filter", "mailEnabled eq 'true'"),
		query("$filter", "visibility eq 'Private'"), query("$filter", "not(mailEnabled eq true)"), query("$select", "shoeSize"), query("$orderby", "mail"), query("$top", "0"),
	} {
		got := c.get("/groups" + bad)
		require.Equal(t, http.StatusBadRequest, got.status, bad)
	}
	require.Equal(t, http.StatusBadRequest, c.get("/groups/"+everything[0]["id"].(string)+"?$select=shoeSize").status)

	poor := inside(t, Config{Roles: []string{"User.Read.All", "GroupMember.ReadBasic.All"}})
	require.Equal(t, http.StatusForbidden, poor.get("/groups").status)
	for _, role := range []string{"Group.Read.All", "GroupMember.Read.All", "Directory.Read.All"} {
		require.Equal(t, http.StatusOK, inside(t, Config{Roles: []string{role}}).get("/groups?$top=1").status, role)
	}
}

func TestPagingListsEveryoneOnce(t *testing.T) {
	c, _ := outside(t, Config{Users: 257})
	seen := make(map[string]bool)
	for _, user := range c.all("/users" + query("$top", "50", "$select", "id,displayName")) {
		require.Len(t, user, 2)
		require.False(t, seen[user["id"].(string)])
		seen[user["id"].(string)] = true
	}
	require.Len(t, seen, 257)
	require.Len(t, c.values("/users"), defaultPage)
	for _, bad := range []string{"$top=0", "$top=1000", "$top=x", "$skiptoken=x", "$orderby=mail", "$top=1&$top=2", "$filter=%zz"} {
		require.Equal(t, http.StatusBadRequest, c.get("/users?"+bad).status, bad)
	}
	filtered := c.all("/users" + query("$filter", "userType eq 'Guest'", "$top", "3"))
	require.Len(t, filtered, 12)
}

func TestDeltaTellsWhatChanged(t *testing.T) {
	for _, path := range []string{"/users/delta", "/users/delta()"} {
		c, _ := outside(t, Config{Users: 450})
		round := func(link string) (users []map[string]any, delta string) {
			pages := 0
			for {
				page := c.good(link)
				users = append(users, list(t, page)...)
				pages++
				if next, ok := page["@odata.nextLink"].(string); ok {
					link = next
					continue
				}
				return users, page["@odata.deltaLink"].(string)
			}
		}
		everyone, link := round(path + "?$select=displayName,imAddresses")
		require.Len(t, everyone, 450)
		require.Len(t, everyone[0], 3)
		nothing, link := round(link)
		require.Empty(t, nothing)

		renamed, removed := c.tenant.User(5), c.tenant.User(6)
		require.NoError(t, c.tenant.Rename(renamed.Address(), "Renamed"))
		require.NoError(t, c.tenant.Remove(removed.ID))
		changed, next := round(link)
		require.Equal(t, []map[string]any{
			{"id": renamed.ID, "displayName": "Renamed", "imAddresses": []any{renamed.IMAddresses[0]}},
			{"id": removed.ID, "@removed": map[string]any{"reason": "changed"}},
		}, changed)
		again, _ := round(link)
		require.Equal(t, changed, again, "a link can be followed twice")
		require.Equal(t, http.StatusNotFound, c.get("/users/"+removed.ID).status)
		require.NoError(t, c.tenant.Restore(removed.Index))
		back, _ := round(next)
		require.Equal(t, removed.ID, back[0]["id"])
		require.NotContains(t, back[0], "@removed")

		latest, _ := round(path + "?$deltatoken=latest")
		require.Empty(t, latest)
		some, _ := round(path + query("$filter", "id eq '"+renamed.ID+"' or id eq '"+removed.ID+"'"))
		require.Len(t, some, 2)
	}
}

func TestDeltaFaultsAndExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{Users: 50, DeltaPage: 20, TokenLifetime: 30 * 24 * time.Hour})
		link := c.good("/users/delta?$deltatoken=latest")["@odata.deltaLink"].(string)

		require.NoError(t, c.tenant.SetFaults(Faults{Delta: DeltaFault{EmptyPages: true}}))
		require.Empty(t, c.values("/users/delta"))
		require.Len(t, c.all("/users/delta"), 50)
		require.NoError(t, c.tenant.SetFaults(Faults{Delta: DeltaFault{Replay: true}}))
		require.Len(t, c.all("/users/delta"), 52)
		require.NoError(t, c.tenant.SetFaults(Faults{Delta: DeltaFault{Gone: true}}))
		got := c.get(link)
		require.Equal(t, http.StatusGone, got.status)
		require.NotEmpty(t, got.header.Get("Location"))
		require.NoError(t, c.tenant.SetFaults(Faults{}))

		for _, bad := range []string{"$top=5", "$orderby=mail", "$deltatoken=x", "$skiptoken=e30x", "$filter=mail%20eq%20'x'", "$filter=id"} {
			require.Equal(t, http.StatusBadRequest, c.get("/users/delta?"+bad).status, bad)
		}
		require.Equal(t, http.StatusOK, c.get(link).status)
		<-time.After(7*24*time.Hour + time.Second)
		got = c.get(link)
		require.Equal(t, http.StatusBadRequest, got.status)
		require.Equal(t, "syncStateNotFound", got.code(t))
		minimal := c.with("Prefer", "return=minimal")
		link = c.good("/users/delta?$deltatoken=latest")["@odata.deltaLink"].(string)
		require.NoError(t, c.tenant.Rename(c.tenant.User(1).ID, "Other"))
		require.Equal(t, []map[string]any{{"id": c.tenant.User(1).ID, "displayName": "Other"}}, minimal.values(link))
	})
}

func TestOrganizationAroundTheOrganizer(t *testing.T) {
	c, _ := outside(t, Config{})
	me := c.tenant.Organizer()
	path := "/users/" + me.ID
	manager, ok := c.tenant.Manager(me)
	require.True(t, ok)
	require.Equal(t, manager.ID, c.good(path + "/manager?$select=id")["id"])
	got := c.get("/users/" + c.tenant.User(0).ID + "/manager")
	require.Equal(t, http.StatusNotFound, got.status)
	reports := c.all(path + "/directReports?$top=3&$select=id,displayName")
	require.Len(t, reports, len(c.tenant.Reports(me)))
	require.Equal(t, c.tenant.Reports(me)[0].ID, reports[0]["id"])

	kinds := map[string]int{}
	for _, entry := range c.all(path + "/memberOf") {
		kinds[entry["@odata.type"].(string)]++
	}
	require.Equal(t, map[string]int{"#microsoft.graph.directoryRole": 1, "#microsoft.graph.group": 5}, kinds)
	groups := c.all(path + "/memberOf/graph.group?$select=id,displayName,groupTypes")
	require.Len(t, groups, 5)
	for _, group := range groups {
		one := c.good("/groups/" + group["id"].(string))
		require.Equal(t, one["displayName"], group["displayName"])
		found := false
		for _, m := range c.all("/groups/" + group["id"].(string) + "/members?$select=id,mail,groupTypes") {
			found = found || m["id"] == me.ID
		}
		require.True(t, found)
	}
	everyone := c.tenant.dir.Group(0)
	require.Len(t, c.all("/groups/"+everyone.ID+"/transitiveMembers/microsoft.graph.user?$top=30"), 200)
	department := c.tenant.dir.Group(1)
	require.Len(t, c.all("/groups/"+department.ID+"/members"), 3)
	require.Empty(t, c.all("/groups/"+department.ID+"/members/microsoft.graph.user"))
	require.Greater(t, len(c.all("/groups/"+department.ID+"/transitiveMembers?$top=7")), 20)
	require.Equal(t, http.StatusNotFound, c.get("/groups/"+me.ID).status)
	require.Len(t, c.all(path+"/transitiveMemberOf"), 7)
	counted := c.with("ConsistencyLevel", "eventual").good("/groups/" + everyone.ID + "/members?$top=1&$count=true")
	require.InDelta(t, 200, counted["@odata.count"], 0)
	tenant := c.values("/organization")
	require.Equal(t, c.tenant.cfg.TenantID, tenant[0]["id"])
}

func TestMailboxOfTheOrganizer(t *testing.T) {
	c, _ := outside(t, Config{})
	path := "/users/" + c.tenant.Organizer().ID
	people := c.all(path + "/people")
	require.Greater(t, len(people), mailboxPage)
	require.Len(t, c.values(path+"/people"), mailboxPage)
	require.Contains(t, people[0], "scoredEmailAddresses")
	folders := c.all(path + "/contactFolders")
	require.Len(t, folders, 3)
	for _, folder := range folders {
		contacts := c.all(path + "/contactFolders/" + url.PathEscape(folder["id"].(string)) + "/contacts?$select=displayName,imAddresses,emailAddresses")
		require.NotEmpty(t, contacts)
		require.Len(t, contacts[0], 3)
	}
	require.NotEmpty(t, c.all(path+"/contacts?$skip=1"))
	require.Equal(t, http.StatusNotFound, c.get(path+"/contactFolders/AAMk/contacts").status)
	require.Equal(t, http.StatusNotFound, c.get("/users/"+c.tenant.User(19).ID+"/contacts").status, "guests have no mailbox")
}

func TestPhotos(t *testing.T) {
	c, _ := outside(t, Config{})
	path := "/users/" + c.tenant.Organizer().ID
	whole := c.get(path + "/photo/$value")
	require.Equal(t, "image/jpeg", whole.header.Get("Content-Type"))
	config, err := jpeg.DecodeConfig(bytes.NewReader(whole.body))
	require.NoError(t, err)
	require.Equal(t, 648, config.Width)
	small := c.get(path + "/photos/48x48/$value")
	config, err = jpeg.DecodeConfig(bytes.NewReader(small.body))
	require.NoError(t, err)
	require.Equal(t, 48, config.Height)
	etag := small.header.Get("ETag")
	require.Regexp(t, `^"[0-9A-F]+"$`, etag)
	unchanged := c.with("If-None-Match", etag).get(path + "/photos/48x48/$value")
	require.Equal(t, http.StatusNotModified, unchanged.status)
	require.Empty(t, unchanged.body)
	require.Equal(t, http.StatusOK, c.with("If-None-Match", `"other"`).get(path+"/photos/48x48/$value").status)
	require.Equal(t, etag, c.good(path + "/photos/48x48")["@odata.mediaEtag"])
	require.Len(t, c.all(path+"/photos"), 9)
	for _, size := range []string{"47x47", "48x64", "x", "0x0"} {
		require.Equal(t, http.StatusNotFound, c.get(path+"/photos/"+size+"/$value").status, size)
	}
	none := "/users/" + c.tenant.User(4).ID
	require.Equal(t, http.StatusNotFound, c.get(none+"/photo/$value").status)
	require.Equal(t, "1x1", c.good(none + "/photo")["id"])
	limited := "/users/" + c.tenant.User(3).ID
	require.Equal(t, "240x240", c.good(limited + "/photo")["id"])
	require.Equal(t, http.StatusNotFound, c.get(limited+"/photos/648x648/$value").status)
}

func TestWrongPathsAndMethods(t *testing.T) {
	c, _ := outside(t, Config{})
	id := c.tenant.User(0).ID
	for _, request := range []struct {
		method, path string
		status       int
	}{
		{http.MethodPost, "/users", 405},
		{http.MethodDelete, "/users/" + id, 405},
		{http.MethodGet, "/communications/getPresencesByUserId", 405},
		{http.MethodGet, "/users/" + id + "/presence/setPresence", 405},
		{http.MethodGet, "/", 404},
		{http.MethodGet, "/nothing", 404},
		{http.MethodGet, "/users/" + id + "/presence/more", 404},
		{http.MethodGet, c.root + "/beta/users", 404},
	} {
		got := c.do(request.method, request.path, nil)
		require.Equal(t, request.status, got.status, request)
		require.NotEmpty(t, got.code(t))
		require.Equal(t, request.status == 405, got.header.Get("Allow") != "")
	}
	got := c.with("client-request-id", "mine").get("/users/nobody")
	require.Equal(t, "mine", got.header.Get("client-request-id"))
	inner := got.json(t)["error"].(map[string]any)["innerError"].(map[string]any)
	require.Equal(t, got.header.Get("request-id"), inner["request-id"])
	require.Equal(t, "mine", inner["client-request-id"])
	require.NotEmpty(t, inner["date"])
}
