package gateway_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/contactfile"
	"ucwagate/graphsrc"
)

// withFile gives the gateway a contact file of its own.
func withFile(t *testing.T, writable bool) func(*settings) {
	return func(s *settings) {
		path := filepath.Join(t.TempDir(), "contacts.yaml")
		f, err := contactfile.Open(path, contactfile.Options{Writable: true, MaxContacts: 3, MaxGroups: 2, Clock: s.Clock})
		require.NoError(t, err)
		if !writable {
			require.NoError(t, f.AddMember("me@contoso.com", contactfile.Pinned, "ana@contoso.com"))
			f, err = contactfile.Open(path, contactfile.Options{Clock: s.Clock})
			require.NoError(t, err)
		}
		s.Contacts = gateway.ContactOptions{Groups: true, Organization: true, File: f}
	}
}

func (c *client) group(name string) gateway.Group {
	c.t.Helper()
	groups, err := c.Groups(c.t.Context(), c.Principal)
	require.NoError(c.t, err)
	for _, g := range groups {
		if g.Name == name {
			return g
		}
	}
	require.FailNow(c.t, "no group "+name)
	return gateway.Group{}
}

func memberships(t *testing.T, c *client) []string {
	t.Helper()
	list, err := c.Memberships(t.Context(), c.Principal, "")
	require.NoError(t, err)
	out := []string{}
	for _, m := range list {
		out = append(out, m.Group.Name+": "+m.Contact.Name)
	}
	return out
}

func TestAContactListCanBeChangedWhereTheFileAllowsIt(t *testing.T) {
	inBubble(t, "me ana bob cleo dan", func(w *world) {
		t := w.t
		me, ctx := w.client("me"), t.Context()
		_, err := me.StartContactsAndGroups(ctx, me.Principal, me.app, 60)
		require.NoError(t, err)
		require.True(t, me.ContactListWritable())
		require.NoError(t, me.CreateGroup(ctx, me.Principal, "Team"))
		team := me.group("Team")
		require.True(t, team.Own)
		require.Equal(t, []string{"group added " + team.ID + " in myGroups"}, me.nextAny())

		m, err := me.AddContact(ctx, me.Principal, team.ID, "SIP:Ana@contoso.com")
		require.NoError(t, err)
		require.Equal(t, "ana", m.Contact.Name)
		require.Equal(t, []string{"contact added ana in myContacts", "contact added ana in group " + team.ID}, me.nextAny())
		_, err = me.AddContact(ctx, me.Principal, "", "bob@contoso.com")
		require.NoError(t, err)
		_, err = me.AddContact(ctx, me.Principal, "pinned", "ana@contoso.com")
		require.NoError(t, err)
		require.Equal(t, []string{"Pinned Contacts: ana", "Other Contacts: bob", "Team: ana"}, memberships(t, me))
		contacts, err := me.Contacts(ctx, me.Principal)
		require.NoError(t, err)
		require.Equal(t, []string{"ana", "bob"}, names(contacts))

		_, err = me.AddContact(ctx, me.Principal, team.ID, "ana@contoso.com")
		requireReason(t, gateway.AlreadyExists, err)
		_, err = me.AddContact(ctx, me.Principal, team.ID, "nobody@contoso.com")
		requireReason(t, gateway.DestinationNotFound, err)
		_, err = me.AddContact(ctx, me.Principal, "none", "ana@contoso.com")
		requireReason(t, gateway.NotFound, err)
		_, err = me.AddContact(ctx, me.Principal, "organization", "ana@contoso.com")
		requireReason(t, gateway.OperationNotSupported, err)
		_, err = me.AddContact(ctx, me.Principal, "", "me@contoso.com")
		requireReason(t, gateway.InvalidParameter, err)
		_, err = me.AddContact(ctx, me.Principal, "", "no address")
		requireReason(t, gateway.InvalidParameter, err)
		_, err = me.AddContact(ctx, me.Principal, "", "cleo@contoso.com")
		require.NoError(t, err)
		_, err = me.AddContact(ctx, me.Principal, "", "dan@contoso.com")
		requireReason(t, gateway.ListFull, err)

		require.NoError(t, me.RenameGroup(ctx, me.Principal, team, "Crew"))
		require.Equal(t, team.ID, me.group("Crew").ID)
		requireReason(t, gateway.Changed, me.RenameGroup(ctx, me.Principal, team, "Gang"))
		require.NoError(t, me.RemoveContact(ctx, me.Principal, "pinned", "ana@contoso.com"))
		requireReason(t, gateway.NotFound, me.RemoveContact(ctx, me.Principal, "pinned", "ana@contoso.com"))
		require.NoError(t, me.RemoveContactFromAllGroups(ctx, me.Principal, "sip:bob@contoso.com"))
		requireReason(t, gateway.NotFound, me.RemoveContactFromAllGroups(ctx, me.Principal, "bob@contoso.com"))
		require.Equal(t, []string{"Other Contacts: cleo", "Crew: ana"}, memberships(t, me))
		requireReason(t, gateway.Forbidden, me.DeleteGroup(ctx, me.Principal, "pinned"))
		require.NoError(t, me.DeleteGroup(ctx, me.Principal, team.ID))
		require.Equal(t, []string{"Other Contacts: cleo"}, memberships(t, me))
		requireReason(t, gateway.InvalidParameter, me.CreateGroup(ctx, me.Principal, " "))
		_, err = me.Memberships(ctx, me.Principal, "organization")
		requireReason(t, gateway.OperationNotSupported, err)
		pass(time.Second)
	}, withFile(t, true))
}

func TestContactsFromElsewhereCannotBeRemovedOrDoubled(t *testing.T) {
	inBubble(t, "me ana bob", func(w *world) {
		t := w.t
		w.source.arrange(func() {
			w.source.frequent["id-me"] = []graphsrc.MailboxContact{{DisplayName: "ana", Addresses: []string{"ana@contoso.com"}}}
		})
		me, ctx := w.client("me"), t.Context()
		require.Equal(t, []string{"Other Contacts: ana"}, memberships(t, me))
		_, err := me.AddContact(ctx, me.Principal, "", "ana@contoso.com")
		requireReason(t, gateway.AlreadyExists, err)
		requireReason(t, gateway.OperationNotSupported, me.RemoveContact(ctx, me.Principal, "default", "ana@contoso.com"))
		requireReason(t, gateway.OperationNotSupported, me.RemoveContactFromAllGroups(ctx, me.Principal, "ana@contoso.com"))
		requireReason(t, gateway.NotFound, me.RemoveContact(ctx, me.Principal, "", "ana@contoso.com"))
		requireReason(t, gateway.Forbidden, me.RemoveDistributionGroup(ctx, me.Principal, "pinned"))
	}, withFile(t, true), func(s *settings) { s.Contacts.Default = gateway.FromPeople })
}

func TestDistributionGroupsCanBePutOnTheList(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		t := w.t
		w.source.arrange(func() {
			w.source.directoryGroups[teamID] = graphsrc.Group{ID: teamID, DisplayName: "team@contoso.com", Mail: "team@contoso.com"}
			w.source.groups[teamID] = []graphsrc.User{user("ana")}
		})
		me, ctx := w.client("me"), t.Context()
		requireReason(t, gateway.DestinationNotFound, me.AddDistributionGroup(ctx, me.Principal, "None", "none@contoso.com"))
		requireReason(t, gateway.InvalidParameter, me.AddDistributionGroup(ctx, me.Principal, "None", "none"))
		requireReason(t, gateway.InvalidParameter, me.AddDistributionGroup(ctx, me.Principal, "", "team@contoso.com"))
		require.NoError(t, me.AddDistributionGroup(ctx, me.Principal, "My team", "Team@contoso.com"))
		requireReason(t, gateway.AlreadyExists, me.AddDistributionGroup(ctx, me.Principal, "My team", "team@contoso.com"))
		group := me.group("My team")
		require.True(t, group.Listed)
		require.Equal(t, teamID, group.ID)
		members, err := me.GroupContacts(ctx, me.Principal, group)
		require.NoError(t, err)
		require.Equal(t, []string{"ana"}, names(members))
		searches := w.source.count("Search")
		me.group("My team")
		require.Equal(t, searches, w.source.count("Search"), "it is not searched for again")
		require.NoError(t, me.RemoveDistributionGroup(ctx, me.Principal, group.ID))
		groups, err := me.Groups(ctx, me.Principal)
		require.NoError(t, err)
		require.Len(t, groups, 3)
	}, withFile(t, true))
}

func TestAReadOnlyContactListIsShownAndRefusesChanges(t *testing.T) {
	inBubble(t, "me ana bob", func(w *world) {
		t := w.t
		me, ctx := w.client("me"), t.Context()
		require.Equal(t, []string{"Pinned Contacts: ana"}, memberships(t, me))
		m, err := me.Membership(ctx, me.Principal, "pinned", "ana@contoso.com")
		require.NoError(t, err)
		require.Equal(t, gateway.PinnedGroup, m.Group.Kind)
		require.False(t, me.ContactListWritable())
		_, err = me.AddContact(ctx, me.Principal, "", "bob@contoso.com")
		requireReason(t, gateway.Forbidden, err)
		for _, err := range []error{
			me.CreateGroup(ctx, me.Principal, "Team"), me.RenameGroup(ctx, me.Principal, gateway.Group{ID: "pinned"}, "Team"), me.DeleteGroup(ctx, me.Principal, "pinned"),
			me.RemoveContact(ctx, me.Principal, "pinned", "ana@contoso.com"), me.RemoveContactFromAllGroups(ctx, me.Principal, "ana@contoso.com"),
			me.AddDistributionGroup(ctx, me.Principal, "Team", "team@contoso.com"), me.RemoveDistributionGroup(ctx, me.Principal, teamID),
		} {
			requireReason(t, gateway.Forbidden, err)
		}
	}, withFile(t, false))
}
