package units

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRequestsCostWhatThePublishedTableSays(t *testing.T) {
	const get, post = http.MethodGet, http.MethodPost
	for _, c := range []struct {
		method, path, kind string
		units              int
		mailbox            string
	}{
		{get, "/v1.0/users", "users", 2, ""},
		{get, "/v1.0/users/", "users", 2, ""},
		{get, "/v1.0/users?$select=id,mail", "users", 1, ""},
		{get, "/v1.0/users?%24select=id&%24top=999", "users", 1, ""},
		{get, "/v1.0/users?$top=5", "users", 1, ""},
		{get, "/v1.0/users?$top=20", "users", 2, ""},
		{get, "/v1.0/users?$top=5&$select=id", "users", 1, ""},
		{get, "/v1.0/users?$expand=manager", "users", 3, ""},
		{get, "/v1.0/users?$expand=manager&$select=id", "users", 2, ""},
		{get, "/v1.0/users/delta()?$select=id", "users/delta", 1, ""},
		{get, "/v1.0/users/delta?$deltatoken=x", "users/delta", 2, ""},
		{get, "/v1.0/users/$count", "other", 1, ""},
		{get, "/v1.0/users/a@b.c", "other", 1, ""},
		{get, "/v1.0/users/a@b.c?$select=id", "other", 1, ""},
		{get, "/v1.0/users('a@b.c')?$expand=manager", "other", 2, ""},
		{get, "/v1.0/users/a/manager?$select=id", "other", 1, ""},
		{get, "/v1.0/users/a/directReports", "other", 1, ""},
		{get, "/v1.0/users/a/memberOf", "memberOf", 2, ""},
		{get, "/v1.0/users/a/memberOf?$select=id", "memberOf", 1, ""},
		{get, "/v1.0/Users/A/transitiveMemberOf/microsoft.graph.group", "memberOf", 2, ""},
		{get, "/v1.0/groups/g/memberOf", "memberOf", 2, ""},
		{get, "/beta/me/memberOf", "memberOf", 2, ""},
		{get, "/v1.0/groups", "other", 1, ""},
		{get, "/v1.0/groups/g", "other", 1, ""},
		{get, "/v1.0/groups/g/members", "group members", 3, ""},
		{get, "/v1.0/groups/g/members/microsoft.graph.user?$select=id&$top=10", "group members", 1, ""},
		{get, "/v1.0/groups/g/transitiveMembers", "transitive group members", 5, ""},
		{get, "/v1.0/groups/g/transitiveMembers?$expand=x", "transitive group members", 6, ""},
		{post, "/v1.0/directoryObjects/getByIds", "getByIds", 3, ""},
		{post, "/v1.0/users/a/getMemberGroups", "getMemberGroups", 2, ""},
		{post, "/v1.0/users/a/checkMemberObjects", "checkMemberGroups", 4, ""},
		{get, "/v1.0/organization", "other", 1, ""},
		{get, "/", "other", 1, ""},
		{get, "/v1.0", "other", 1, ""},
		{get, "/proxy/graph/v1.0/users", "users", 2, ""},
		{post, "/v1.0/users", "other", 1, ""},
		{get, "/v1.0/users?$top=zz&$select=", "users", 2, ""},
		{get, "/v1.0/users?%zz", "users", 2, ""},

		{get, "/v1.0/users/a/presence", "presence", 0, ""},
		{post, "/v1.0/users/a/presence/setPresence", "presence", 0, ""},
		{post, "/v1.0/users/a/presence/microsoft.graph.setPresence", "presence", 0, ""},
		{post, "/v1.0/communications/getPresencesByUserId", "presence", 0, ""},
		{get, "/v1.0/communications/presences/a", "presence", 0, ""},
		{get, "/v1.0/me/presence", "presence", 0, ""},

		{get, "/v1.0/users/A%40b.c/photo/$value", "photo", 0, "a@b.c"},
		{get, "/v1.0/users('A')/photos/48x48/$value", "photo", 0, "a"},
		{get, "/v1.0/users/a/people?$top=10", "people", 0, "a"},
		{get, "/v1.0/users/a/contacts", "contacts", 0, "a"},
		{get, "/v1.0/users/a/contactFolders/f/contacts", "contacts", 0, "a"},
		{get, "/v1.0/me/people", "people", 0, "me"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			u, err := url.Parse("https://graph.test" + c.path)
			require.NoError(t, err)
			require.Equal(t, Cost{Kind: c.kind, Units: c.units, Mailbox: c.mailbox}, CostOf(c.method, u))
		})
	}
}

func FuzzCost(f *testing.F) {
	for _, s := range []string{"/v1.0/users?$select=id", "/v1.0/users('a')/photo", "/v1.0//", "/users/delta()?$top=1&$expand=x", "/v1.0/me/photo", "/(/v1.0/(')", "/%2fv1.0/users"} {
		f.Add(http.MethodGet, s)
	}
	f.Add(http.MethodPost, "/v1.0/directoryObjects/getByIds")
	f.Fuzz(func(t *testing.T, method, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		c := CostOf(method, u)
		require.NotEmpty(t, c.Kind)
		switch {
		case c.Units < 0 || c.Units > 6:
			t.Fatalf("%d units", c.Units)
		case c.Units > 0 && c.Mailbox != "":
			t.Fatal("of two services")
		}
	})
}

func TestTheSizeOfATenantDecidesOverItsLimit(t *testing.T) {
	for users, limit := range map[int]int{0: 3_500, 49: 3_500, 50: 5_000, 500: 5_000, 501: 8_000, 1_000_000: 8_000} {
		require.Equal(t, limit, SizeOf(users).Limit(), users)
	}
	require.Equal(t, SizeOf(0), Options{}.Size)
}
