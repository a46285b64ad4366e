package gateway_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/graphsrc"
)

func names(people []gateway.Person) []string {
	var list []string
	for _, p := range people {
		list = append(list, p.Name)
	}
	return list
}

const teamID = "11111111-2222-4333-8444-555555555555"

func TestSearchFindsPeopleAndGroups(t *testing.T) {
	inBubble(t, "me ana anton", func(w *world) {
		t := w.t
		w.source.arrange(func() {
			w.source.directoryGroups[teamID] = graphsrc.Group{ID: strings.ToUpper(teamID), DisplayName: "analysts", Mail: "Team@contoso.com"}
			w.source.directoryGroups["no mail"] = graphsrc.Group{ID: "no mail", DisplayName: "analogue"}
			w.source.groups[strings.ToUpper(teamID)] = []graphsrc.User{user("ana")}
		})
		me, ctx := w.client("me"), t.Context()
		found, err := me.Search(ctx, me.Principal, gateway.SearchRequest{Query: "an"})
		require.NoError(t, err)
		require.Equal(t, []string{"ana", "anton"}, names(found.People))
		require.Len(t, found.Groups, 1)
		require.Equal(t, teamID, found.Groups[0].ID)
		require.Equal(t, "sip:team@contoso.com", found.Groups[0].URI)
		require.False(t, found.More)

		found, err = me.Search(ctx, me.Principal, gateway.SearchRequest{Query: "an", Limit: 1})
		require.NoError(t, err)
		require.Equal(t, []string{"ana"}, names(found.People))
		require.True(t, found.More)
		found, err = me.Search(ctx, me.Principal, gateway.SearchRequest{Mail: "anton@contoso.com"})
		require.NoError(t, err)
		require.Equal(t, []string{"anton"}, names(found.People))

		group, err := me.Group(ctx, me.Principal, teamID)
		require.NoError(t, err, "a group that was found can be looked at")
		members, err := me.GroupContacts(ctx, me.Principal, group)
		require.NoError(t, err)
		require.Equal(t, []string{"ana"}, names(members))
		_, err = me.Group(ctx, me.Principal, "11111111-2222-4333-8444-000000000000")
		requireReason(t, gateway.NotFound, err)
	})
}

func TestSearchNamesEveryWrongParameter(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		for name, c := range map[string]struct {
			request gateway.SearchRequest
			wrong   []string
		}{
			"nothing to look for": {gateway.SearchRequest{}, []string{"query"}},
			"nothing but space":   {gateway.SearchRequest{Query: " ", Mail: "\t"}, []string{"query"}},
			"too long":            {gateway.SearchRequest{Query: strings.Repeat("q", 257), Mail: strings.Repeat("m", 257)}, []string{"query", "mail"}},
			"limit too large":     {gateway.SearchRequest{Query: "q", Limit: 101}, []string{"limit"}},
			"limit negative":      {gateway.SearchRequest{Query: "q", Limit: -1}, []string{"limit"}},
		} {
			_, err := w.Search(t.Context(), principal("me"), c.request)
			e := requireReason(t, gateway.InvalidParameter, err)
			var wrong []string
			for _, p := range e.Parameters {
				wrong = append(wrong, p.Name)
			}
			require.Equal(t, c.wrong, wrong, name)
		}
		w.source.failOne("Search", graph(graphsrc.KindUnavailable))
		_, err := w.Search(t.Context(), principal("me"), gateway.SearchRequest{Query: "q"})
		requireReason(t, gateway.Unavailable, err)
	})
}

func TestPhotos(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		t := w.t
		w.source.arrange(func() { w.source.photos["id-ana"] = "picture" })
		p, err := w.Photo(t.Context(), principal("me"), "SIP:Ana@contoso.com", 64)
		require.NoError(t, err)
		require.Equal(t, "picture 64", string(p.Content))
		_, err = w.Photo(t.Context(), principal("me"), "me@contoso.com", 64)
		requireReason(t, gateway.NotFound, err)
		_, err = w.Photo(t.Context(), principal("me"), "nobody@contoso.com", 64)
		requireReason(t, gateway.NotFound, err)
		w.source.failOne("Photo", graph(graphsrc.KindTimeout))
		_, err = w.Photo(t.Context(), principal("me"), "ana@contoso.com", 64)
		requireReason(t, gateway.PhotoTimeout, err)
	})
	inBubble(t, "ana", func(w *world) {
		t := w.t
		require.False(t, w.HasPhotos())
		_, err := w.Photo(t.Context(), principal("me"), "ana@contoso.com", 64)
		requireReason(t, gateway.Forbidden, err)
	}, func(s *settings) { s.NoPhotos = true })
}
