package graphsrc

import (
	"bytes"
	"context"
	"fmt"
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

// A link that is lost at once again is asked for with pauses, not in a circle.
func TestAGraphThatLosesEveryLinkIsAskedWithPauses(t *testing.T) {
	for name, lost := range map[string]*Error{
		"410":                           {Op: "delta", Kind: KindGone, Status: 410, Code: "resyncRequired"},
		"400 of another name":           {Op: "delta", Kind: KindInvalid, Status: 400, Code: "BadRequest"},
		"a link that leads to nowhere":  {Op: "delta", Kind: KindNotFound, Status: 404},
		"a link of another environment": {Op: "delta", Kind: KindInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGraph{}
				g.pages = map[string]UsersPage{"": {Users: []User{upn(1, "ana")}, Next: "n1"}}
				g.lost = lost
				synced(t, g, nil)
				require.Equal(t, []string{"delta ", "delta n1", "delta ", "delta n1"}, g.questions())
				wait(time.Hour)
				require.LessOrEqual(t, len(g.questions()), 80)
				g.dmu.Lock()
				g.pages["n1"] = UsersPage{Users: []User{upn(2, "bo")}, Delta: "d1"}
				g.pages["d1"] = UsersPage{Delta: "d1"}
				g.dmu.Unlock()
				wait(10 * time.Minute)
				g.forget()
				wait(10 * time.Minute)
				require.Equal(t, []string{"delta d1", "delta d1"}, g.questions(), "and recovers")
			})
		})
	}
}

func TestPagesThatNeverEndAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.pages = map[string]UsersPage{"": {Next: "a"}, "a": {Next: "b"}, "b": {Next: "a"}}
		synced(t, g, nil)
		require.Equal(t, maxSyncPages, len(g.questions()))
	})
}

// An address may move from one person to another, in whichever order Graph
// tells of the two, on one page or on several, once or again.
func TestAnAddressMovesToAnotherUser(t *testing.T) {
	from, to := upn(1, "ana.before"), User{ID: id(2), UserPrincipalName: "bo@contoso.com", ProxyAddresses: []string{"SMTP:ana@contoso.com"}}
	gone := User{ID: id(1), Removed: true}
	for name, round := range map[string][]UsersPage{
		"who loses it comes first":    {{Users: []User{from, to}}},
		"who gains it comes first":    {{Users: []User{to, from}}},
		"on another page":             {{Users: []User{to}}, {}, {Users: []User{from}}},
		"with replays":                {{Users: []User{to, from, to}}, {Users: []User{from, to}}},
		"from somebody who is gone":   {{Users: []User{to, gone}}, {Users: []User{gone}}},
		"and back, and there for now": {{Users: []User{to, from}}, {Users: []User{upn(2, "bo"), upn(1, "ana")}}, {Users: []User{from}}, {Users: []User{to}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGraph{}
				g.pages = map[string]UsersPage{"": {Users: []User{upn(1, "ana"), upn(2, "bo")}, Delta: "d0"}}
				for i, page := range round {
					page.Next = "p" + string(rune('1'+i))
					if i == len(round)-1 {
						page.Next, page.Delta = "", "end"
					}
					link := "d0"
					if i > 0 {
						link = "p" + string(rune('0'+i))
					}
					g.pages[link] = page
				}
				g.pages["end"] = UsersPage{Delta: "end"}
				s := synced(t, g, nil)
				somebody(t, s, "ana", 1)
				wait(6 * time.Minute)
				somebody(t, s, "ana", 2)
				somebody(t, s, "bo", 2)
				require.Empty(t, s.sync.live.contested)
			})
		})
	}
}

func TestTheFirstReadingTellsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := &fakeGraph{}
		g.delay = 100 * time.Millisecond
		g.pages = map[string]UsersPage{}
		const pages, size = 300, 250
		for p := range pages {
			page := UsersPage{Next: fmt.Sprint(p + 1)}
			for n := range size {
				page.Users = append(page.Users, upn(p*size+n, fmt.Sprint("u", p*size+n)))
			}
			link := fmt.Sprint(p)
			if p == 0 {
				link = ""
			}
			if p == pages-1 {
				page.Next, page.Delta = "", "d"
			}
			g.pages[link] = page
		}
		s := synced(t, g, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		wait(35 * time.Second)
		require.True(t, s.Synchronized())
		s.Close()
		lines := strings.Count(log.String(), "reading the directory")
		require.Equal(t, 3, lines, "after 20,000 users each, which are 8 s:\n%s", log.String())
		require.Contains(t, log.String(), "users_per_second=2500")
		require.Contains(t, log.String(), "users=75000 pages=300")

		log.Reset()
		g.dmu.Lock()
		g.delay = 4 * time.Second
		g.dmu.Unlock()
		slow := synced(t, g, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		wait(65 * time.Second)
		slow.Close()
		require.Equal(t, 5, strings.Count(log.String(), "reading the directory"), "every 10 s, as pages come:\n%s", log.String())
	})
}

func TestWhoIsSynchronizedIsNotRememberedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{upn(1, "ana"), upn(2, "bo")}}}
		g.pages = map[string]UsersPage{"": {Users: []User{upn(1, "ana")}, Delta: "d"}}
		s := synced(t, g, nil)
		_, err := s.DirectReports(t.Context(), id(9))
		require.NoError(t, err)
		_, known := s.directory.byID.recall(id(1))
		require.False(t, known)
		_, known = s.directory.byID.recall(id(2))
		require.True(t, known, "somebody whom the index does not have yet")
	})
}

// Whoever is in a synchronized directory is found without asking, guests by
// their principal name here and by the address of their home.
func TestASynchronizedDirectoryFindsEveryKindOfAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guest := User{
			ID: id(3), UserPrincipalName: "gi_home.example#EXT#@contoso.com", Mail: "Gi@home.example", UserType: "Guest",
			ProxyAddresses: []string{"SMTP:gi@home.example", "smtp:gi.second@home.example", "X500:/o=contoso/cn=gi"}, OtherMails: []string{"private@home.example"},
		}
		g := &fakeGraph{}
		g.pages = map[string]UsersPage{"": {Users: []User{ana, obrien, guest}, Delta: "d"}}
		s := synced(t, g, nil)
		g.forget()
		for address, who := range map[string]string{
			"ANA@Contoso.COM": ana.ID, "ana.lopez@contoso.com": ana.ID, "sip:ana.im@contoso.com": ana.ID, "ana.im@contoso.com": ana.ID,
			"al@contoso.com": ana.ID, "O'Brien@contoso.com": obrien.ID, "SIP:pat@contoso.com": obrien.ID,
			"gi_home.example#ext#@contoso.com": guest.ID, "gi@home.example": guest.ID, "GI.second@home.example": guest.ID,
			"private@home.example": "", "nobody@contoso.com": "",
		} {
			u, err := s.Lookup(t.Context(), address)
			require.Equal(t, who, u.ID, address)
			if who == "" {
				require.Equal(t, KindNotFound, errKind(err))
			}
			known, ok := s.Known(address)
			if normal, _ := ParseAddress(address); normal == address {
				require.Equal(t, who != "", ok, address)
				require.Equal(t, who, known.ID)
			}
		}
		require.Empty(t, g.questions())
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Lookup(context.Background(), "al@contoso.com") }))
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
