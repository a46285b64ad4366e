package gateway_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/graphsrc"
)

func everything(s *settings) {
	s.Contacts = gateway.ContactOptions{
		Organization: true, Groups: true, ContactFolders: true, Default: gateway.FromContacts,
		Pinned: func(owner string) []string {
			return map[string][]string{"me@contoso.com": {"ana@contoso.com", "nobody@contoso.com", "ANA@contoso.com"}}[owner]
		},
	}
}

// furnish gives the user "me" contacts of all kinds.
func furnish(w *world) {
	w.source.arrange(func() {
		s := w.source
		s.managers["id-me"] = user("boss")
		s.reports["id-boss"] = users("me", "peer")
		s.reports["id-me"] = users("junior", "peer")
		s.folders["id-me"] = []graphsrc.ContactFolder{{ID: "AAMkAD=", DisplayName: "Friends"}}
		s.contacts["id-me/AAMkAD="] = mail("ana", "stranger")
		s.contacts["id-me/"] = append(mail("bo"), graphsrc.MailboxContact{Addresses: []string{"x@elsewhere.example", "none"}})
		s.frequent["id-me"] = mail("cy")
		s.joined["id-me"] = []graphsrc.Group{
			{ID: "Team-1", DisplayName: "Team", Mail: "Team@contoso.com", Unified: true},
			{ID: "security", DisplayName: "Not for people"},
		}
		guest := graphsrc.User{ID: "id-guest", UserPrincipalName: "g_x.example#EXT#@contoso.com"}
		s.groups["Team-1"] = append(users("me", "ana", "ana", "bo"), guest)
	})
}

const furnished = "me boss peer junior ana bo cy"

func TestTheGroupsOfAUser(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*settings)
		spoil  func(s *source)
		want   map[gateway.GroupKind][]string
	}{
		{"come from all sources that are on", everything, nil, map[gateway.GroupKind][]string{
			gateway.PinnedGroup: {"ana@contoso.com"}, gateway.DefaultGroup: {"bo@contoso.com"},
			gateway.MyOrganizationGroup: {"boss@contoso.com", "peer@contoso.com", "junior@contoso.com"},
			gateway.ContactGroup:        {"ana@contoso.com"}, gateway.DistributionGroup: {"ana@contoso.com", "bo@contoso.com"},
		}},
		{"are the two fixed ones if all are off", func(*settings) {}, nil, map[gateway.GroupKind][]string{
			gateway.PinnedGroup: nil, gateway.DefaultGroup: nil,
		}},
		{"may have the people one works with", func(s *settings) { s.Contacts.Default = gateway.FromPeople }, nil, map[gateway.GroupKind][]string{
			gateway.PinnedGroup: nil, gateway.DefaultGroup: {"cy@contoso.com"},
		}},
		{"are without those that are not permitted", everything, func(s *source) {
			for _, method := range []string{"ContactFolders", "MemberOf", "Contacts", "Manager", "DirectReports"} {
				s.failOne(method, graph(graphsrc.KindForbidden))
			}
		}, map[gateway.GroupKind][]string{
			gateway.PinnedGroup: {"ana@contoso.com"}, gateway.DefaultGroup: nil, gateway.MyOrganizationGroup: nil,
		}},
		{"show as many contacts as are allowed", func(s *settings) {
			everything(s)
			s.Contacts.Groups, s.Limits.Contacts = false, 1
		}, nil, map[gateway.GroupKind][]string{
			gateway.PinnedGroup: {"ana@contoso.com"}, gateway.DefaultGroup: {"bo@contoso.com"},
			gateway.MyOrganizationGroup: {"boss@contoso.com"}, gateway.ContactGroup: {"ana@contoso.com"},
		}},
		{"hold nobody for a user whom the directory does not know", everything, func(s *source) {
			s.arrange(func() { delete(s.users, "me@contoso.com") })
		}, map[gateway.GroupKind][]string{gateway.PinnedGroup: {"ana@contoso.com"}, gateway.DefaultGroup: nil}},
		{"know no manager at the top", everything, func(s *source) {
			s.arrange(func() { s.managers, s.folders, s.joined = nil, nil, nil })
		}, map[gateway.GroupKind][]string{
			gateway.PinnedGroup: {"ana@contoso.com"}, gateway.DefaultGroup: {"bo@contoso.com"},
			gateway.MyOrganizationGroup: {"junior@contoso.com", "peer@contoso.com"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, furnished, func(w *world) {
				furnish(w)
				if c.spoil != nil {
					c.spoil(w.source)
				}
				groups, err := w.Groups(w.t.Context(), principal("me"))
				require.NoError(w.t, err)
				got := map[gateway.GroupKind][]string{}
				for _, g := range groups {
					require.Regexp(w.t, `^[a-z0-9-]+$`, g.ID)
					require.NotEmpty(w.t, g.Name)
					contacts, err := w.GroupContacts(w.t.Context(), principal("me"), g)
					require.NoError(w.t, err)
					got[g.Kind] = nil
					for _, p := range contacts {
						got[g.Kind] = append(got[g.Kind], p.Address)
					}
				}
				require.Equal(w.t, c.want, got)
			}, c.change)
		})
	}
}

func TestTheContactListHasEverybodyOnce(t *testing.T) {
	inBubble(t, furnished, func(w *world) {
		furnish(w)
		all, err := w.Contacts(w.t.Context(), principal("me"))
		require.NoError(w.t, err)
		var got []string
		for _, p := range all {
			got = append(got, p.Name)
		}
		require.Equal(w.t, []string{"ana", "bo", "boss", "peer", "junior"}, got)
		team, err := w.Group(w.t.Context(), principal("me"), "TEAM-1")
		require.NoError(w.t, err)
		require.Equal(w.t, "sip:team@contoso.com", team.URI)
	}, everything)
}

func TestNobodyIsAContactOfTheirOwnWhateverTheAddress(t *testing.T) {
	inBubble(t, furnished, func(w *world) {
		w.source.hire("me", "alias@contoso.com")
		furnish(w)
		team, err := w.Group(w.t.Context(), principal("alias"), "team-1")
		require.NoError(w.t, err)
		contacts, err := w.GroupContacts(w.t.Context(), principal("alias"), team)
		require.NoError(w.t, err)
		require.Len(w.t, contacts, 2)
		require.Equal(w.t, "ana@contoso.com", contacts[0].Address)
		require.Equal(w.t, "bo@contoso.com", contacts[1].Address)
	}, everything)
}

func TestAGroupThatCannotBeReadIsNotEmpty(t *testing.T) {
	inBubble(t, furnished, func(w *world) {
		furnish(w)
		ctx := w.t.Context()
		groups, err := w.Groups(ctx, principal("me"))
		require.NoError(w.t, err)
		for _, method := range []string{"DirectReports", "Manager", "Contacts", "GroupMembers", "bo@contoso.com"} {
			w.source.failOne(method, graph(graphsrc.KindTimeout))
			failed := 0
			for _, g := range groups {
				if _, err := w.GroupContacts(ctx, principal("me"), g); err != nil {
					requireReason(w.t, gateway.Timeout, err)
					failed++
				}
			}
			require.Positive(w.t, failed, method)
			if method != "GroupMembers" { // no part of the contact list
				_, err = w.Contacts(ctx, principal("me"))
				requireReason(w.t, gateway.Timeout, err)
			}
			w.source.failOne(method, nil)
		}
		for _, method := range []string{"ContactFolders", "MemberOf", "me@contoso.com"} {
			w.source.failOne(method, graph(graphsrc.KindUnavailable))
			_, err = w.Group(ctx, principal("me"), "default")
			requireReason(w.t, gateway.Unavailable, err)
			w.source.failOne(method, nil)
		}
	}, everything)
}
