package graphsrc

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	ana = User{
		ID: id(1), DisplayName: "Ana", UserPrincipalName: "Ana@contoso.com", Mail: "ana.lopez@contoso.com",
		IMAddresses: []string{"sip:ana.im@contoso.com"}, ProxyAddresses: []string{"SMTP:ana.lopez@contoso.com", "smtp:al@contoso.com"},
	}
	obrien = User{ID: id(2), DisplayName: "Pat", UserPrincipalName: "o'brien@contoso.com", ProxyAddresses: []string{"SIP:pat@contoso.com"}}
)

func TestAUserIsFoundByAnyAddress(t *testing.T) {
	for _, c := range []struct{ name, address, who string }{
		{"principal name in another case", "ANA@Contoso.COM", ana.ID},
		{"with a scheme", "sip:ana@contoso.com", ana.ID},
		{"with a scheme in capitals", "SIP:ana@contoso.com", ana.ID},
		{"mail", "ana.lopez@contoso.com", ana.ID},
		{"IM address stored with a scheme", "ana.im@contoso.com", ana.ID},
		{"secondary mail", "al@contoso.com", ana.ID},
		{"SIP proxy address", "pat@contoso.com", obrien.ID},
		{"a quote in it", "O'Brien@contoso.com", obrien.ID},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana, obrien}}}
				s := start(t, g, &fakeBudget{}, nil)
				for range 3 {
					u, err := s.Lookup(t.Context(), c.address)
					require.NoError(t, err)
					require.Equal(t, c.who, u.ID)
				}
				require.LessOrEqual(t, len(g.questions()), 2)
				_, err := s.User(t.Context(), strings.ToUpper(c.who))
				require.NoError(t, err)
				require.LessOrEqual(t, len(g.questions()), 2, "known by id too")
			})
		})
	}
}

func TestAnAddressNobodyHasIsAskedForOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		ask := func() {
			_, err := s.Lookup(t.Context(), "ghost@contoso.com")
			require.Equal(t, KindNotFound, errKind(err))
		}
		ask()
		ask()
		require.Len(t, g.questions(), 2, "principal name, then everything else")
		wait(5 * time.Minute)
		ask()
		require.Len(t, g.questions(), 4)
	})
}

func TestAnAddressOfAnotherDomainIsNotAskedFor(t *testing.T) {
	g := &fakeGraph{}
	s := start(t, g, &fakeBudget{}, func(o *Options) { o.Domains = []string{"Contoso.com"} })
	_, err := s.Lookup(t.Context(), "ana@fabrikam.com")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, KindNotFound, e.Kind)
	require.Equal(t, CodeForeignDomain, e.Code)
	for _, bad := range []string{"", "ana", "@contoso.com", "ana@", "a/b@contoso.com", "a\x00@contoso.com", strings.Repeat("a", 300) + "@contoso.com"} {
		_, err := s.Lookup(t.Context(), bad)
		require.Equal(t, KindInvalid, errKind(err), bad)
	}
	_, err = s.User(t.Context(), "ana@contoso.com")
	require.Equal(t, KindInvalid, errKind(err))
	require.Empty(t, g.questions())
}

func TestManyAddressesAtOnceAreFewSearches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.delay = 50 * time.Millisecond
		var addresses []string
		for n := range 60 {
			a := string(rune('a'+n%26)) + id(n) + "@contoso.com"
			addresses = append(addresses, a)
			u := User{ID: id(n), UserPrincipalName: a}
			if n%10 == 0 {
				u = User{ID: id(n), UserPrincipalName: "x" + a, Mail: a}
			}
			g.users = append(g.users, u)
		}
		s := start(t, g, &fakeBudget{}, nil)
		var wg sync.WaitGroup
		for n, a := range addresses {
			for range 5 {
				wg.Go(func() {
					u, err := s.Lookup(context.Background(), a)
					require.NoError(t, err)
					require.Equal(t, id(n), u.ID)
				})
			}
		}
		wg.Wait()
		require.Less(t, len(g.questions()), 16)
	})
}

func TestASearchThatGraphRefusesIsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{fakeDirectory: fakeDirectory{
			users: []User{ana}, noFilter: &Error{Op: "find users", Kind: KindInvalid, Status: 400}, delay: time.Millisecond,
		}}
		s := start(t, g, &fakeBudget{}, nil)
		var wg sync.WaitGroup
		for _, a := range []string{"p@contoso.com", "q@contoso.com", "r@contoso.com", "s@contoso.com", "t@contoso.com"} {
			wg.Go(func() {
				_, err := s.Lookup(context.Background(), a)
				require.Equal(t, KindNotFound, errKind(err))
			})
		}
		wg.Go(func() {
			_, err := s.Lookup(context.Background(), "ana@contoso.com")
			require.NoError(t, err, "one by one, principal names still work")
		})
		wg.Wait()
	})
}

func TestAUserOnceReadIsServedWhileGraphFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana}}}
		s := start(t, g, &fakeBudget{}, nil)
		_, err := s.Lookup(t.Context(), "ana@contoso.com")
		require.NoError(t, err)
		wait(2 * time.Hour)
		g.breakWith(&Error{Op: "any", Kind: KindUnavailable, Status: 503})
		g.forget()
		for range 10 {
			u, err := s.Lookup(t.Context(), "ana@contoso.com")
			require.NoError(t, err)
			require.Equal(t, ana.ID, u.ID)
			_, err = s.Lookup(t.Context(), "bo@contoso.com")
			require.Equal(t, KindUnavailable, errKind(err))
		}
		require.Len(t, g.questions(), 2)
	})
}

func TestACallerWhoLeavesDoesNotEndALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana}, delay: time.Second}}
		s := start(t, g, &fakeBudget{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.Lookup(ctx, "ana@contoso.com")
		require.Equal(t, KindTimeout, errKind(err))
		u, err := s.Lookup(t.Context(), "ana@contoso.com")
		require.NoError(t, err)
		require.Equal(t, ana.ID, u.ID)
		require.Len(t, g.questions(), 1)
	})
}

func TestTheIndexFindsWhomAnAddressFitsBest(t *testing.T) {
	x := newIndex(10, nil)
	byMail := User{ID: id(3), UserPrincipalName: "other@contoso.com", Mail: "shared@contoso.com"}
	byUPN := User{ID: id(4), UserPrincipalName: "shared@contoso.com"}
	x.apply([]User{byMail})
	u, _ := x.find("shared@contoso.com")
	require.Equal(t, byMail.ID, u.ID)
	x.apply([]User{byUPN, byUPN})
	u, _ = x.find("shared@contoso.com")
	require.Equal(t, byUPN.ID, u.ID)
	x.apply([]User{{ID: byUPN.ID, Removed: true}, {ID: byUPN.ID, Removed: true}})
	u, found := x.find("shared@contoso.com")
	require.True(t, found)
	require.Equal(t, byMail.ID, u.ID)
	require.Empty(t, x.contested)
}

func TestAPackedUserComesBackWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		list := rapid.SliceOfN(text, 0, 4)
		some := func() []string {
			if l := list.Draw(t, "list"); len(l) > 0 {
				return l
			}
			return nil
		}
		u := User{
			ID: id(1), DisplayName: text.Draw(t, "name"), UserPrincipalName: strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "n")),
			Mail: text.Draw(t, "mail"), JobTitle: text.Draw(t, "title"), Department: text.Draw(t, "department"),
			CompanyName: text.Draw(t, "company"), OfficeLocation: text.Draw(t, "office"), MobilePhone: text.Draw(t, "mobile"),
			UserType: text.Draw(t, "type"), IMAddresses: some(), ProxyAddresses: some(), OtherMails: some(), BusinessPhones: some(),
		}
		var p packer
		got := p.pack(&u, rapid.String().Draw(t, "searched")).user(mustParse(id(1)))
		if !equalUsers(got, u) {
			t.Fatalf("%+v became %+v", u, got)
		}
	})
}

// After any row of pages the index finds exactly what a search of the users
// that are left would find.
func TestTheIndexAgreesWithASearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(100, nil)
		left := map[string]User{}
		address := rapid.SampledFrom([]string{"", "a@x.y", "b@x.y", "c@x.y", "D@x.y"})
		for range rapid.IntRange(1, 20).Draw(t, "entries") {
			u := User{
				ID: id(rapid.IntRange(1, 4).Draw(t, "id")), UserPrincipalName: address.Draw(t, "upn"), Mail: address.Draw(t, "mail"),
				IMAddresses: []string{address.Draw(t, "im")}, Removed: rapid.Bool().Draw(t, "removed"),
			}
			x.apply([]User{u})
			delete(left, u.ID)
			if !u.Removed {
				left[u.ID] = u
			}
		}
		for _, a := range []string{"a@x.y", "b@x.y", "c@x.y", "d@x.y"} {
			best, rank := "", noRank
			for n := 1; n <= 4; n++ {
				if u, ok := left[id(n)]; ok && rankOf(&u, a) < rank {
					best, rank = u.ID, rankOf(&u, a)
				}
			}
			u, found := x.find(a)
			if found != (best != "") || u.ID != best {
				t.Fatalf("%s finds %q, want %q", a, u.ID, best)
			}
		}
		if n, _ := x.size(); n != len(left) {
			t.Fatalf("%d users, want %d", n, len(left))
		}
	})
}
