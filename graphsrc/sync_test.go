package graphsrc

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func mustParse(id string) userKey {
	k, ok := parseKey(id)
	if !ok {
		panic(id)
	}
	return k
}

func equalUsers(a, b User) bool { return cmp.Equal(a, b) }

func upn(n int, name string) User {
	return User{ID: id(n), UserPrincipalName: name + "@contoso.com"}
}

func synced(t *testing.T, g *fakeGraph, change func(*Options)) *Source {
	t.Helper()
	s := start(t, g, &fakeBudget{}, func(o *Options) {
		o.DirectorySync = true
		if change != nil {
			change(o)
		}
	})
	s.Start(t.Context())
	synctest.Wait()
	return s
}

func TestASynchronizedDirectoryAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.pages = map[string]UsersPage{
			"":   {Users: []User{upn(1, "ana"), upn(2, "bo")}, Next: "n1"},
			"n1": {Next: "n2"}, // empty pages happen
			"n2": {Users: []User{upn(2, "bo"), upn(3, "cy")}, Delta: "d1"},
			"d1": {Users: []User{upn(1, "ana.maria"), {ID: id(3), Removed: true}}, Delta: "d2"},
			"d2": {Users: []User{upn(1, "ana.maria"), {ID: id(3), Removed: true}}, Delta: "d2"},
		}
		s := synced(t, g, nil)
		find := func(name string) string {
			u, err := s.Lookup(t.Context(), name+"@contoso.com")
			if err != nil {
				require.Equal(t, KindNotFound, errKind(err))
			}
			return u.ID
		}
		require.Equal(t, id(1), find("Ana"))
		require.Equal(t, id(3), find("cy"))
		require.Empty(t, find("nobody"))
		for range 3 { // the rename and the removal come, and are replayed
			wait(5 * time.Minute)
			synctest.Wait()
			require.Empty(t, find("ana"))
			require.Equal(t, id(1), find("ana.maria"))
			require.Equal(t, id(2), find("bo"))
			require.Empty(t, find("cy"))
		}
		u, err := s.User(t.Context(), id(2))
		require.NoError(t, err)
		require.Equal(t, "bo@contoso.com", u.UserPrincipalName)
		require.Equal(t, []string{"delta ", "delta n1", "delta n2", "delta d1", "delta d2", "delta d2"}, g.questions())
	})
}

func TestALostDeltaLinkStartsOverAndServesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.pages = map[string]UsersPage{"": {Users: []User{upn(1, "ana"), upn(2, "bo")}, Delta: "lost"}}
		s := synced(t, g, nil)
		g.dmu.Lock()
		g.pages = map[string]UsersPage{
			"":   {Users: []User{upn(2, "bo")}, Next: "n1"},
			"n1": {Users: []User{upn(3, "cy")}, Delta: "d1"},
			"d1": {Delta: "d1"},
		}
		g.pageErr = map[string]error{"n1": &Error{Op: "delta", Kind: KindUnavailable, Status: 503}}
		g.dmu.Unlock()
		wait(5 * time.Minute)
		synctest.Wait()
		_, err := s.Lookup(t.Context(), "ana@contoso.com")
		require.NoError(t, err, "the old index serves until the new one is complete")
		wait(time.Minute)
		_, err = s.Lookup(t.Context(), "ana@contoso.com")
		require.Equal(t, KindNotFound, errKind(err))
		_, err = s.Lookup(t.Context(), "cy@contoso.com")
		require.NoError(t, err)
		require.Equal(t, []string{"delta ", "delta lost", "delta ", "delta n1", "delta n1"}, g.questions())
	})
}

func TestWithoutACompleteIndexUsersAreLookedUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		pages map[string]UsersPage
		size  int
	}{
		{"a page that leads nowhere", map[string]UsersPage{"": {Users: []User{upn(1, "ana")}}}, 10},
		{"a page that leads to itself", map[string]UsersPage{"": {Next: "n"}, "n": {Next: "n"}}, 10},
		{"more users than fit", map[string]UsersPage{"": {Users: []User{upn(2, "bo"), upn(1, "ana")}, Delta: "d"}}, 1},
		{"a delta link that is refused at once", nil, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGraph{}
				g.pages, g.users = c.pages, []User{ana}
				s := synced(t, g, func(o *Options) { o.DirectorySize = c.size })
				u, err := s.Lookup(t.Context(), "ana@contoso.com")
				require.NoError(t, err)
				require.Equal(t, ana.ID, u.ID)
				asked := len(g.questions())
				wait(10 * time.Second)
				require.LessOrEqual(t, len(g.questions()), asked+3, "with pauses")
			})
		})
	}
}

func TestAMissingPermissionIsLoggedOnceAndHidesItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := &fakeGraph{}
		g.shut("*", &Error{Op: "people", Kind: KindForbidden, Status: 403})
		s := start(t, g, &fakeBudget{}, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		for n := range 10 {
			_, err := s.People(t.Context(), id(n))
			require.Equal(t, KindForbidden, errKind(err))
			if n > 0 {
				require.ErrorIs(t, err, ErrHidden)
			}
		}
		require.Equal(t, 1, g.opens())
		_, err := s.Contacts(t.Context(), id(1), "")
		require.Equal(t, KindForbidden, errKind(err))
		require.Equal(t, []string{"Contacts.Read", "People.Read.All"}, s.Missing())
		wait(hideFor)
		_, err = s.People(t.Context(), id(77))
		require.Equal(t, KindForbidden, errKind(err))
		require.Equal(t, 1, strings.Count(log.String(), "People.Read.All"))
		_, err = s.MemberOf(t.Context(), id(1))
		require.NoError(t, err, "the others are not touched")

		g.shut("*", nil)
		wait(hideFor)
		list, err := s.People(t.Context(), id(78))
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, []string{"Contacts.Read"}, s.Missing())
	})
}

func TestOneClosedMailboxDoesNotHideTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.shut(id(2), &Error{Op: "contacts", Kind: KindForbidden, Status: 403, Code: "ErrorAccessDenied"})
		g.shut(id(3), notFound("contacts"))
		s := start(t, g, &fakeBudget{}, nil)
		list, err := s.Contacts(t.Context(), id(1), "folder")
		require.NoError(t, err)
		require.Len(t, list, 1)
		for range 5 {
			_, err = s.Contacts(t.Context(), id(2), "")
			require.Equal(t, KindForbidden, errKind(err))
		}
		list, err = s.Contacts(t.Context(), id(3), "")
		require.NoError(t, err)
		require.Empty(t, list, "no mailbox")
		require.Empty(t, s.Missing())
		require.Equal(t, 3, g.opens())
	})
}

func TestContactListsAreRememberedAndFillTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana, obrien}}}
		s := start(t, g, &fakeBudget{}, func(o *Options) { o.MaxContacts = 1 })
		for range 3 {
			m, err := s.Manager(t.Context(), id(9))
			require.NoError(t, err)
			require.Equal(t, ana.ID, m.ID)
			reports, err := s.DirectReports(t.Context(), id(9))
			require.NoError(t, err)
			require.Len(t, reports, 1)
			members, err := s.GroupMembers(t.Context(), id(8))
			require.NoError(t, err)
			require.Len(t, members, 1)
			_, err = s.ContactFolders(t.Context(), id(9))
			require.NoError(t, err)
			_, err = s.Lookup(t.Context(), Address(ana))
			require.NoError(t, err)
		}
		require.Len(t, g.questions(), 3)
		require.Equal(t, 1, g.opens())
		_, err := s.Manager(t.Context(), "x")
		require.Equal(t, KindInvalid, errKind(err))
		wait(10 * time.Minute)
		_, err = s.Manager(t.Context(), id(9))
		require.NoError(t, err)
		require.Len(t, g.questions(), 4)
	})
}
