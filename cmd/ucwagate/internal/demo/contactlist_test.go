package demo_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
)

func TestAUserChangesTheContactList(t *testing.T) {
	d := start(t, func(c *config.Config) {
		c.Contacts.ListFile = filepath.Join(t.TempDir(), "contacts.yaml")
		c.Contacts.ListWritable = true
	})
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		people := app.child(t, "people")
		two := func(r *http.Request) { r.Header.Set("X-MS-RequiresMinResourceVersion", "2") }
		name := "Team " + c.accept
		c.nothing(http.MethodPost, people.link(t, "myGroups"), asJSON, fmt.Sprintf(`{"displayName":%q}`, name), two)
		team := func() *node {
			for _, g := range c.get(people.link(t, "myGroups")).embedded["group"] {
				if strings.HasPrefix(g.text("name"), name) {
					return g
				}
			}
			return nil
		}
		group := team()
		require.NotNil(t, group)
		requireReason(t, c.do(http.MethodPost, people.link(t, "myGroups"), asJSON, `{}`), http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")

		add := fmt.Sprintf(`{"contactUri":%q,"groupId":%q}`, d.Contacts[0].URI, group.text("id"))
		res := c.do(http.MethodPost, people.link(t, "myGroupMemberships"), asJSON, add, two)
		require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
		member := c.parse(res)
		require.Equal(t, "myGroupMembership", member.rel)
		require.Equal(t, member.href, res.header.Get("Location"))
		require.Equal(t, group.href, member.link(t, "group"))
		requireReason(t, c.do(http.MethodPost, people.link(t, "myGroupMemberships"), asJSON, add), http.StatusConflict, "Conflict", "AlreadyExists")
		requireReason(t, c.do(http.MethodPost, people.link(t, "myGroupMemberships"), asJSON, `{"contactUri":"sip:nobody@contoso.test"}`), http.StatusNotFound, "NotFound", "DestinationNotFound")
		require.Len(t, c.get(group.link(t, "groupContacts")).embedded["contact"], 1)
		require.Len(t, c.get(group.link(t, "groupMemberships")).embedded["myGroupMembership"], 1)

		// A whole group is put back with another name.
		res = c.do(http.MethodGet, group.href, "", "")
		tag, guid := res.header.Get("ETag"), ""
		for property, value := range c.parse(res).properties {
			if value == "please pass this in a PUT request" {
				guid = property
			}
		}
		body := fmt.Sprintf(`{"id":%q,"name":%q,%q:"please pass this in a PUT request"}`, group.text("id"), name+" 2", guid)
		requireReason(t, c.do(http.MethodPut, group.href, asJSON, body), http.StatusPreconditionRequired, "PreconditionRequired", "")
		match := func(r *http.Request) { r.Header.Set("If-Match", tag) }
		requireReason(t, c.do(http.MethodPut, group.href, asJSON, `{"name":"x"}`, match), http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
		require.Equal(t, http.StatusOK, c.do(http.MethodPut, group.href, asJSON, body, match).status)
		requireReason(t, c.do(http.MethodPut, group.href, asJSON, body, match), http.StatusPreconditionFailed, "PreconditionFailed", "")
		require.Equal(t, name+" 2", team().text("name"))

		c.nothing(http.MethodDelete, member.href, "", "")
		requireReason(t, c.do(http.MethodDelete, member.href, "", ""), http.StatusNotFound, "NotFound", "")
		require.Equal(t, http.StatusCreated, c.do(http.MethodPost, people.link(t, "myGroupMemberships"), asJSON, add).status)
		all := c.get(people.link(t, "myGroupMemberships")).link(t, "removeContactFromAllGroups")
		c.nothing(http.MethodPost, all+"?contactUri="+d.Contacts[0].URI, "", "")
		require.Empty(t, c.get(group.link(t, "groupContacts")).embedded["contact"])
		c.nothing(http.MethodDelete, group.href, "", "")
		requireReason(t, c.do(http.MethodGet, group.href, "", ""), http.StatusNotFound, "NotFound", "")

		distribution := c.get(people.link(t, "myGroups")).embedded["distributionGroup"][0]
		found := c.get(people.link(t, "search") + "?limit=100&query=" + url.QueryEscape(distribution.text("name")))
		mine := found.embedded["distributionGroup"][0]
		body = fmt.Sprintf(`{"displayName":"Mine","smtpAddress":%q}`, strings.TrimPrefix(mine.text("uri"), "sip:"))
		c.nothing(http.MethodPost, mine.link(t, "addToContactList"), asJSON, body)
		listed := c.get(mine.href)
		c.nothing(http.MethodPost, listed.link(t, "removeFromContactList"), asJSON, fmt.Sprintf(`{"groupId":%q}`, mine.text("id")))
		requireReason(t, c.do(http.MethodPost, listed.link(t, "removeFromContactList"), asJSON, `{}`), http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
	})
}

func TestAContactListThatCannotBeChangedRefuses(t *testing.T) {
	d := start(t, nil)
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		people := app.child(t, "people")
		groups := c.get(people.link(t, "myGroups"))
		memberships := c.get(people.link(t, "myGroupMemberships"))
		require.NotContains(t, memberships.links, "removeContactFromAllGroups")
		require.NotContains(t, groups.embedded["distributionGroup"][0].links, "addToContactList")
		contact := fmt.Sprintf(`{"contactUri":%q}`, d.Contacts[0].URI)
		for what, e := range map[string][3]string{
			"making a group":              {http.MethodPost, people.link(t, "myGroups"), `{"displayName":"x"}`},
			"renaming a group":            {http.MethodPut, groups.embedded["group"][0].href, `{"name":"x"}`},
			"deleting a group":            {http.MethodDelete, groups.embedded["group"][0].href, ""},
			"adding a contact":            {http.MethodPost, people.link(t, "myGroupMemberships"), contact},
			"removing a contact":          {http.MethodDelete, memberships.embedded["myGroupMembership"][0].href, ""},
			"removing a contact from all": {http.MethodPost, memberships.href + "/removeContactFromAllGroups", contact},
			"putting a group on the list": {http.MethodPost, groups.embedded["distributionGroup"][0].href + "/addToContactList", `{"displayName":"x","smtpAddress":"x@contoso.test"}`},
			"taking a group off the list": {http.MethodPost, groups.embedded["distributionGroup"][0].href + "/removeFromContactList", `{"groupId":"x"}`},
		} {
			contentType := ""
			if e[2] != "" {
				contentType = asJSON
			}
			res := c.do(e[0], e[1], contentType, e[2])
			require.Equal(t, http.StatusForbidden, res.status, "%s: %s", what, res.body)
			requireReason(t, res, http.StatusForbidden, "Forbidden", "")
		}
		organization := groups.child(t, "myOrganizationGroup")
		requireReason(t, c.do(http.MethodGet, people.link(t, "myGroupMemberships")+"?groupId="+organization.text("id"), "", ""),
			http.StatusForbidden, "Forbidden", "OperationNotSupported")
	})
}
