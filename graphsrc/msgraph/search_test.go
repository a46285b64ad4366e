package msgraph

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/graphsim"
)

// metacharacters are those of JSON, OData, $search and URLs.
const metacharacters = `'"\:()%+&#?;=/,$@!*<>[]{}|~^` + "`" + ` -._ %24 %2B 🙂 é`

// clause is a search clause as its rules demand.
func clause(property, text string) string {
	return `"` + property + ":" + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

func TestAdvancedQueriesHaveTheirWireForm(t *testing.T) {
	expression := clause("displayName", metacharacters)
	filter := "startsWith(mobilePhone,'" + strings.ReplaceAll(metacharacters, "'", "''") + "')"
	const groupSelect = "id,displayName,mail,groupTypes,mailEnabled"
	userSelect := strings.TrimPrefix(selectUser, "$select=")
	for name, tc := range map[string]struct {
		call func(context.Context, *Client) error
		path string
		want url.Values
	}{
		"a search of users": {
			func(ctx context.Context, c *Client) error {
				_, _, err := c.SearchUsers(ctx, expression, 25)
				return err
			},
			"/v1.0/users",
			url.Values{"$search": {expression}, "$select": {userSelect}, "$top": {"25"}, "$count": {"true"}},
		},
		"a filter of users": {
			func(ctx context.Context, c *Client) error { _, _, err := c.FilterUsers(ctx, filter, 5000); return err },
			"/v1.0/users",
			url.Values{"$filter": {filter}, "$select": {userSelect}, "$top": {"999"}, "$count": {"true"}},
		},
		"a search of groups": {
			func(ctx context.Context, c *Client) error {
				_, _, err := c.SearchGroups(ctx, expression, 1)
				return err
			},
			"/v1.0/groups",
			url.Values{
				"$search": {expression}, "$filter": {"mailEnabled eq true"}, "$select": {groupSelect}, "$top": {"1"}, "$count": {"true"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, f, m := serve(t, always(200, `{"value":[]}`))
			require.NoError(t, tc.call(t.Context(), c))
			require.EqualValues(t, 1, m.sends.Load())
			req := f.sent()[0]
			require.Equal(t, "GET "+tc.path, req.method+" "+req.path())
			require.Equal(t, "eventual", req.header.Get("ConsistencyLevel"))
			_, raw, _ := strings.Cut(req.uri, "?")
			got, err := url.ParseQuery(raw)
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
			for name := range tc.want {
				require.Contains(t, "&"+raw, "&"+name+"=", "parameter names go out with their dollar sign")
			}
		})
	}
}

func TestAPageTellsWhetherThereIsMore(t *testing.T) {
	for name, tc := range map[string]struct {
		body  func(root string) string
		users int
		more  bool
	}{
		"nobody":                  {fixed(`{"@odata.count":0,"value":[]}`), 0, false},
		"all":                     {fixed(`{"@odata.count":2,"value":[{"id":"a"},{"id":"b"}]}`), 2, false},
		"all, uncounted":          {fixed(`{"value":[{"id":"a"}]}`), 1, false},
		"a larger count":          {fixed(`{"@odata.count":3,"value":[{"id":"a"},{"id":"b"}]}`), 2, true},
		"a count of another type": {fixed(`{"@odata.count":"3","value":[{"id":"a"}]}`), 1, false},
		"a next link": {func(root string) string {
			return `{"@odata.nextLink":"` + root + `/v1.0/users?$skiptoken=x","value":[{"id":"a"}]}`
		}, 1, true},
		"an empty page and a next one": {func(root string) string { return `{"@odata.nextLink":"` + root + `/v1.0/users?x","value":[]}` }, 0, true},
		"more than was asked for":      {fixed(`{"value":[{"id":"a"},{"id":"b"},{"id":"c"}]}`), 2, true},
		"entries that are no users":    {fixed(`{"@odata.count":4,"value":[{"id":"a"},{},null,{"id":"b"}]}`), 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			var root string
			c, f, m := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, tc.body(root)) })
			root = f.server.URL
			for i, call := range []func(context.Context, string, int) ([]graphsrc.User, bool, error){c.SearchUsers, c.FilterUsers} {
				found, more, err := call(t.Context(), "x", 2)
				require.NoError(t, err)
				require.Len(t, found, tc.users)
				require.Equal(t, tc.more, more)
				require.EqualValues(t, i+1, m.sends.Load(), "further pages are not read")
			}
		})
	}
}

func fixed(body string) func(string) string { return func(string) string { return body } }

func TestOnlyGroupsWithAMailAddressAreFound(t *testing.T) {
	c, _, _ := serve(t, always(200, `{"@odata.count":7,"value":[
		{"id":"A","displayName":"Team","mail":"team@contoso.test","groupTypes":["unified"],"mailEnabled":true},
		{"id":"b","displayName":"List","mail":"list@contoso.test","groupTypes":[]},
		{"id":"c","displayName":"Security","mail":null,"mailEnabled":false},
		{"id":"d","displayName":"No longer","mail":"x@contoso.test","mailEnabled":false},
		{"id":"e","displayName":"Odd","mail":" ","mailEnabled":true},
		{"displayName":"nothing","mail":"x@contoso.test"}, 7]}`))
	got, more, err := c.SearchGroups(t.Context(), "x", 10)
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, []graphsrc.Group{
		{ID: "a", DisplayName: "Team", Mail: "team@contoso.test", Unified: true},
		{ID: "b", DisplayName: "List", Mail: "list@contoso.test"},
	}, got)
	got, more, err = c.SearchGroups(t.Context(), "x", 1)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.True(t, more)
}

func TestAGroupIsReadByID(t *testing.T) {
	c, f, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, idAna):
			reply(w, 200, `{"@odata.context":"x","id":"`+strings.ToUpper(idAna)+`","displayName":"G","mail":null,"groupTypes":["Unified"]}`)
		case strings.Contains(r.URL.Path, idBen):
			reply(w, 200, `{"id":"`+idAna+`"}`)
		case strings.Contains(r.URL.Path, "empty"):
			reply(w, 200, `{}`)
		default:
			reply(w, 404, `{"error":{"code":"Request_ResourceNotFound"}}`)
		}
	})
	got, err := c.Group(t.Context(), idAna)
	require.NoError(t, err)
	require.Equal(t, graphsrc.Group{ID: idAna, DisplayName: "G", Unified: true}, got)
	require.Equal(t, "/v1.0/groups/"+idAna, f.sent()[0].path())
	require.Equal(t, "$select=id,displayName,mail,groupTypes,mailEnabled", f.sent()[0].query(t))
	_, err = c.Group(t.Context(), idBen)
	requireKind(t, graphsrc.KindMalformed, err)
	_, err = c.Group(t.Context(), "empty")
	requireKind(t, graphsrc.KindMalformed, err)
	_, err = c.Group(t.Context(), "other")
	requireKind(t, graphsrc.KindNotFound, err)
}

func TestSearchesThatMakeNoSenseAreNotSent(t *testing.T) {
	c, _, m := serve(t, always(200, `{"value":[]}`))
	for name, call := range map[string]func(string, int) error{
		"users":  func(s string, n int) error { _, _, err := c.SearchUsers(t.Context(), s, n); return err },
		"filter": func(s string, n int) error { _, _, err := c.FilterUsers(t.Context(), s, n); return err },
		"groups": func(s string, n int) error { _, _, err := c.SearchGroups(t.Context(), s, n); return err },
	} {
		for _, err := range []error{call("", 5), call(" ", 5), call("x", 0), call("x", -1)} {
			require.Equal(t, graphsrc.KindInvalid, asError(t, err).Kind, name)
		}
	}
	for _, id := range []string{"", "..", "a\nb"} {
		_, err := c.Group(t.Context(), id)
		requireKind(t, graphsrc.KindInvalid, err)
	}
	require.Zero(t, m.sends.Load())
}

func TestErrorsOfSearchesKeepWhatGraphSaid(t *testing.T) {
	for status, want := range map[int]graphsrc.Kind{
		400: graphsrc.KindInvalid, 403: graphsrc.KindForbidden, 414: graphsrc.KindInvalid, 429: graphsrc.KindThrottled, 504: graphsrc.KindTimeout,
	} {
		c, _, m := serve(t, always(status, `{"error":{"code":"C"}}`, "Retry-After", "2"))
		_, _, err := c.SearchUsers(t.Context(), "x", 1)
		require.Equal(t, "C", requireKind(t, want, err).Code)
		_, _, err = c.FilterUsers(t.Context(), "x", 1)
		requireKind(t, want, err)
		_, _, err = c.SearchGroups(t.Context(), "x", 1)
		requireKind(t, want, err)
		require.EqualValues(t, 3, m.sends.Load())
	}
	for _, body := range []string{`[]`, `{}`, `<html>`, `{"value":[],"@odata.nextLink":"https://elsewhere.invalid/v1.0/users"}`} {
		c, _, _ := serve(t, always(200, body))
		_, _, err := c.SearchUsers(t.Context(), "x", 1)
		requireKind(t, graphsrc.KindMalformed, err)
	}
}

func TestSearchesOfASimulatedTenant(t *testing.T) {
	c, tenant, m := simulate(t, graphsim.Config{Users: 300})
	user := tenant.User(0)
	strange := `O'Neil "Max" \ 100%+: (` + metacharacters + `)`
	require.NoError(t, tenant.Rename(user.ID, strange))
	for _, expression := range []string{
		clause("displayName", strange),
		clause("displayName", metacharacters+" max"),
		clause("displayName", `"Max"`) + " AND (" + clause("mail", user.Mail) + " OR " + clause("mail", "nobody") + ")",
	} {
		found, more, err := c.SearchUsers(t.Context(), expression, 10)
		require.NoError(t, err, expression)
		require.False(t, more)
		require.Len(t, found, 1, expression)
		require.Equal(t, user.ID, found[0].ID)
		require.Equal(t, strange, found[0].DisplayName)
		require.NotEmpty(t, found[0].ProxyAddresses, "all fields are read")
	}
	for filter, want := range map[string]bool{
		"startsWith(mobilePhone,'" + user.MobilePhone[:8] + "')":                        true,
		"businessPhones/any(p:startsWith(p,'" + user.BusinessPhones[0] + "'))":          true,
		"displayName eq '" + strings.ReplaceAll(strange[:60], "'", "''") + "'":          false,
		"startsWith(displayName,'" + strings.ReplaceAll(strange[:60], "'", "''") + "')": true,
	} {
		found, _, err := c.FilterUsers(t.Context(), filter, 50)
		require.NoError(t, err, filter)
		hit := false
		for _, u := range found {
			hit = hit || u.ID == user.ID
		}
		require.Equal(t, want, hit, filter)
	}
	found, more, err := c.FilterUsers(t.Context(), "userType eq 'Guest'", 4)
	require.NoError(t, err)
	require.Len(t, found, 4)
	require.True(t, more)
	found, more, err = c.FilterUsers(t.Context(), "userType eq 'Guest'", 15)
	require.NoError(t, err)
	require.Len(t, found, 15)
	require.False(t, more)

	groups, more, err := c.SearchGroups(t.Context(), clause("displayName", "sales"), 2)
	require.NoError(t, err)
	require.Len(t, groups, 2)
	require.True(t, more)
	groups, more, err = c.SearchGroups(t.Context(), clause("displayName", "sales"), 20)
	require.NoError(t, err)
	require.False(t, more)
	require.Len(t, groups, 4, "the department has no mail address")
	for _, g := range groups {
		require.NotEmpty(t, g.Mail)
		one, err := c.Group(t.Context(), strings.ToUpper(g.ID))
		require.NoError(t, err)
		require.Equal(t, g, one)
	}
	_, err = c.Group(t.Context(), user.ID)
	requireKind(t, graphsrc.KindNotFound, err)

	before := m.sends.Load()
	for _, expression := range []string{"displayName:ana", `"displayName:a`, `"shoeSize:1"`, `"displayName:a" and "mail:b"`} {
		_, _, err := c.SearchUsers(t.Context(), expression, 5)
		requireKind(t, graphsrc.KindInvalid, err)
		_, _, err = c.SearchGroups(t.Context(), expression, 5)
		requireKind(t, graphsrc.KindInvalid, err)
	}
	require.EqualValues(t, before+8, m.sends.Load())
}

func TestSearchesNeedTheirPermissions(t *testing.T) {
	c, tenant, _ := simulate(t, graphsim.Config{Roles: []string{"User.Read.All"}})
	_, _, err := c.SearchUsers(t.Context(), clause("displayName", "a"), 5)
	require.NoError(t, err)
	_, _, err = c.SearchGroups(t.Context(), clause("displayName", "a"), 5)
	requireKind(t, graphsrc.KindForbidden, err)
	_, err = c.Group(t.Context(), tenant.Organizer().ID)
	requireKind(t, graphsrc.KindForbidden, err)
	poor, _, _ := simulate(t, graphsim.Config{Roles: []string{"Presence.Read.All"}})
	for _, search := range []func(context.Context, string, int) ([]graphsrc.User, bool, error){poor.SearchUsers, poor.FilterUsers} {
		_, _, err := search(t.Context(), fmt.Sprintf("%q", "displayName:a"), 5)
		requireKind(t, graphsrc.KindForbidden, err)
	}
}
