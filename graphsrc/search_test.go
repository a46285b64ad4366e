package graphsrc

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/graphsim/odata"
)

// staff are the people most searches are made among.
func staff() []User {
	person := func(n int, name, local string) User {
		return User{
			ID: id(n), DisplayName: name, UserPrincipalName: local + "@contoso.com", Mail: local + "@contoso.com",
			IMAddresses: []string{local + "@contoso.com"},
		}
	}
	list := []User{
		person(1, "Ana López", "ana"),
		person(2, "Anabel Müller-Brandt", "anabel"),
		person(3, "Bo O'Brien", "bo"),
		person(4, "Łukasz Ørsted", "lukasz"),
		person(5, "María Ana Pérez", "maria"),
		person(6, "Zoë Straße", "zoe"),
		person(7, "Ana López", "x.ana2"),
	}
	list[0].BusinessPhones, list[0].MobilePhone = []string{"+49 (0)30 1234-567"}, "+49 171 5550100"
	list[1].MobilePhone = "0301234"
	list[2].OtherMails = []string{"Robert@home.example"}
	list[3].ProxyAddresses = []string{"SMTP:lukasz@contoso.com", "smtp:shop@contoso.com", "sip:lo@contoso.com", "X500:/o=x"}
	return list
}

func clubs() []Group {
	return []Group{
		{ID: strings.ToUpper(id(0xa01)), DisplayName: "Analytics Team", Mail: "analytics@contoso.com", Unified: true},
		{ID: id(0xa02), DisplayName: "All Bo Fans", Mail: "bofans@contoso.com"},
	}
}

// searching starts a source over staff and clubs: with the directory in memory
// or without.
func searching(t testing.TB, inMemory bool, change func(*Options)) (*Source, *fakeGraph) {
	g := &fakeGraph{}
	g.finds.members, g.finds.groups, g.users = staff(), clubs(), staff()
	g.pages = map[string]UsersPage{"": {Users: staff(), Delta: "d"}, "d": {Delta: "d"}}
	s := start(t, g, &fakeBudget{}, func(o *Options) {
		o.DirectorySync = inMemory
		if change != nil {
			change(o)
		}
	})
	if inMemory {
		s.Start(t.Context())
		synctest.Wait()
		require.True(t, s.Synchronized())
	}
	return s, g
}

func found(t testing.TB, s *Source, q SearchQuery) (users, groups []string, more bool) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	r, err := s.Search(t.Context(), q)
	require.NoError(t, err)
	for _, u := range r.Users {
		users = append(users, u.ID)
	}
	for _, g := range r.Groups {
		groups = append(groups, g.ID)
	}
	return users, groups, r.More
}

func ids(numbers ...int) (list []string) {
	for _, n := range numbers {
		list = append(list, id(n))
	}
	return list
}

func TestSearchesFindWhomTheyShould(t *testing.T) {
	for _, c := range []struct {
		name       string
		query      SearchQuery
		memory     []int // in the directory in memory
		asked      []int // by asking Graph
		groups     []int
		differ     bool // Graph does not fold diacritics and compares fewer properties
		noRequests bool
	}{
		{name: "the beginning of a name", query: SearchQuery{Text: "ana"}, memory: []int{1, 7, 2, 5}, groups: []int{0xa01}},
		{name: "in capitals", query: SearchQuery{Text: "  ANA "}, memory: []int{1, 7, 2, 5}, groups: []int{0xa01}},
		{name: "a whole name, twice", query: SearchQuery{Text: "Ana López"}, memory: []int{1, 7}},
		{name: "words in another order", query: SearchQuery{Text: "lóp an"}, memory: []int{1, 7}},
		{name: "a middle name", query: SearchQuery{Text: "ana p"}, memory: []int{5}},
		{name: "without diacritics", query: SearchQuery{Text: "lopez"}, memory: []int{1, 7}, asked: nil, differ: true},
		{name: "decomposed diacritics", query: SearchQuery{Text: "Lo\u0301pez"}, memory: []int{1, 7}},
		{name: "letters that do not decompose", query: SearchQuery{Text: "lukasz orsted"}, memory: []int{4}, asked: nil, differ: true},
		{name: "a sharp s", query: SearchQuery{Text: "STRASSE"}, memory: []int{6}, asked: nil, differ: true},
		{name: "parts of a hyphenated name", query: SearchQuery{Text: "brandt anabel"}, memory: []int{2}},
		{name: "a name with an apostrophe", query: SearchQuery{Text: "O'Brien"}, memory: []int{3}},
		{name: "with a typographic one", query: SearchQuery{Text: "o’brien, bo"}, memory: []int{3}},
		{name: "the inside of a word", query: SearchQuery{Text: "opez"}, memory: nil},
		{name: "full-width letters", query: SearchQuery{Text: "Ａｎａｂｅｌ"}, memory: []int{2}, asked: nil, differ: true},
		{name: "the beginning of an address", query: SearchQuery{Text: "lukasz@con"}, memory: []int{4}},
		{name: "with a scheme", query: SearchQuery{Text: "sip:anabel@"}, memory: []int{2}},
		{name: "a whole address", query: SearchQuery{Text: "ANA@contoso.com"}, memory: []int{1}, noRequests: true},
		{name: "a whole address with a scheme", query: SearchQuery{Text: "sip:X.Ana2@contoso.com"}, memory: []int{7}, noRequests: true},
		{name: "a secondary mail address", query: SearchQuery{Text: "shop@contoso.com"}, memory: []int{4}, noRequests: true},
		{name: "the beginning of a SIP address", query: SearchQuery{Text: "lo@c"}, memory: []int{4}, asked: nil, differ: true},
		{name: "the address of a group", query: SearchQuery{Text: "bofans@contoso.com"}, groups: []int{0xa02}},
		{name: "another mail address", query: SearchQuery{Text: "robert@"}, memory: []int{3}, asked: nil, differ: true},
		{name: "mail", query: SearchQuery{Mail: "ana"}, memory: []int{1, 2}, groups: []int{0xa01}},
		{name: "a whole mail address", query: SearchQuery{Mail: "mailto:Ana@contoso.com"}, memory: []int{1}},
		{name: "other mails", query: SearchQuery{Mail: "ROBERT@"}, memory: []int{3}},
		{name: "proxy addresses", query: SearchQuery{Mail: "shop"}, memory: []int{4}},
		{name: "mail that nobody has", query: SearchQuery{Mail: "nobody@"}},
		{name: "mail that cannot be", query: SearchQuery{Mail: "a b"}, noRequests: true},
		{name: "mail and a name", query: SearchQuery{Mail: "ana", Text: "lóp"}, memory: []int{1}},
		{name: "a number as it is written", query: SearchQuery{Text: "+49 171 5550100"}, memory: []int{1}, noRequests: true},
		{name: "the beginning of a number", query: SearchQuery{Text: "tel:+49 171"}, memory: []int{1}, noRequests: true},
		{name: "the inside of a number", query: SearchQuery{Text: "1234-567"}, memory: []int{1}, asked: nil, differ: true, noRequests: true},
		{name: "a number with a trunk prefix", query: SearchQuery{Text: "(030) 1234"}, memory: []int{2, 1}, asked: nil, differ: true, noRequests: true},
		{name: "a number with an international prefix", query: SearchQuery{Text: "0049/30"}, memory: []int{1}, asked: nil, differ: true, noRequests: true},
		{name: "two digits are no number", query: SearchQuery{Text: "+49"}},
		{name: "nothing at all", noRequests: true},
		{name: "nothing to look for", query: SearchQuery{Text: `( "\ :) ;`}, noRequests: true},
		{name: "only control characters", query: SearchQuery{Text: "\x00\t\x1b"}, noRequests: true},
		{name: "broken encoding", query: SearchQuery{Text: "\xff\xfe"}, noRequests: true},
		{name: "more than anybody is called", query: SearchQuery{Text: strings.Repeat("ana ", 300)}, noRequests: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, inMemory := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					s, g := searching(t, inMemory, nil)
					users, groups, more := found(t, s, c.query)
					want := c.memory
					if !inMemory && c.differ {
						want = c.asked
					}
					require.Equal(t, ids(want...), users, "in memory: %v", inMemory)
					require.Equal(t, ids(c.groups...), groups)
					require.False(t, more)
					for _, asked := range g.finds.searches() {
						require.False(t, inMemory && !strings.HasPrefix(asked, "groups "), asked)
						require.False(t, inMemory && c.noRequests, asked)
					}
				})
			}
		})
	}
}

func TestWhatGraphIsAsked(t *testing.T) {
	for _, c := range []struct {
		name          string
		query         SearchQuery
		users, groups string
	}{
		{
			"one word may begin a name or an address",
			SearchQuery{Text: "Ana"},
			`users "displayName:ana" OR "mail:ana" OR "userPrincipalName:ana"`, `groups "displayName:ana" OR "mail:ana"`,
		},
		{
			"several words are all in the name",
			SearchQuery{Text: "lópez  Ana, ana"},
			`users "displayName:lópez" AND "displayName:ana"`, `groups "displayName:lópez" AND "displayName:ana"`,
		},
		{
			"words that are operators",
			SearchQuery{Text: "a OR b"},
			`users "displayName:a" AND "displayName:or" AND "displayName:b"`, `groups "displayName:a" AND "displayName:or" AND "displayName:b"`,
		},
		{
			"every metacharacter",
			SearchQuery{Text: `x"y\z:(w)'&$%,;<>?*[]{}|~^` + "\x00\r\n"},
			`users "displayName:x" AND "displayName:y" AND "displayName:z" AND "displayName:w"`,
			`groups "displayName:x" AND "displayName:y" AND "displayName:z" AND "displayName:w"`,
		},
		{
			"what an address may hold",
			SearchQuery{Text: `o'b&r#i`},
			`users "displayName:o b r i" OR "mail:o'b&r#i" OR "userPrincipalName:o'b&r#i"`, `groups "displayName:o b r i" OR "mail:o'b&r#i"`,
		},
		{
			"mail with a quote",
			SearchQuery{Mail: "O'Brien@"},
			`filter startsWith(mail,'o''brien@') or otherMails/any(m:startsWith(m,'o''brien@'))` +
				` or proxyAddresses/any(p:startsWith(p,'smtp:o''brien@')) or proxyAddresses/any(p:startsWith(p,'SMTP:o''brien@'))`,
			`groups "mail:o'brien@"`,
		},
		{
			"a number",
			SearchQuery{Text: "tel:0049 (0)30/12"},
			`filter businessPhones/any(b:startsWith(b,'0049 (0)30/12')) or startsWith(mobilePhone,'0049 (0)30/12')` +
				` or businessPhones/any(b:startsWith(b,'+493012')) or startsWith(mobilePhone,'+493012')`, "",
		},
		{
			"a number as it is stored",
			SearchQuery{Text: "+4930"},
			`filter businessPhones/any(b:startsWith(b,'+4930')) or startsWith(mobilePhone,'+4930')`, "",
		},
		{
			"more words than are asked for",
			SearchQuery{Text: "a b c d e f g h i j"},
			`users "displayName:a" AND "displayName:b" AND "displayName:c" AND "displayName:d" AND "displayName:e" AND "displayName:f" AND "displayName:g" AND "displayName:h"`,
			`groups "displayName:a" AND "displayName:b" AND "displayName:c" AND "displayName:d" AND "displayName:e" AND "displayName:f" AND "displayName:g" AND "displayName:h"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, g := searching(t, false, nil)
			found(t, s, c.query)
			want := []string{c.users}
			if c.groups != "" {
				want = append(want, c.groups)
			}
			slices.Sort(want)
			require.Equal(t, want, g.finds.searches())
			for _, lane := range g.finds.lanes {
				require.Equal(t, budget.Interactive, lane)
			}
		})
	}
	require.Equal(t, `"mail:a\"b\\c:(d)  e"`, clause("mail", "a\"b\\c:(d)\x00\x1fe"))
}

func TestWordsThatGraphIsNotAskedForAreComparedHere(t *testing.T) {
	s, g := searching(t, false, nil)
	g.finds.members = []User{
		{ID: id(1), DisplayName: "a b c d e f g h i j k", UserPrincipalName: "one@contoso.com"},
		{ID: id(2), DisplayName: "a b c d e f g h i", UserPrincipalName: "two@contoso.com"},
	}
	users, _, _ := found(t, s, SearchQuery{Text: "a b c d e f g h i j"})
	require.Equal(t, ids(1), users)
}

func TestAnAddressThatIsSomebodysIsTheOnlyHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := searching(t, false, func(o *Options) { o.Domains = []string{"contoso.com"} })
		for range 3 {
			users, groups, _ := found(t, s, SearchQuery{Text: "ana@contoso.com"})
			require.Equal(t, ids(1), users)
			require.Empty(t, groups)
		}
		require.Empty(t, g.finds.searches())
		require.Len(t, g.questions(), 1)

		// Nobody's address, and one of another domain, are searched as text.
		users, _, _ := found(t, s, SearchQuery{Text: "nobody@contoso.com"})
		require.Empty(t, users)
		require.Len(t, g.finds.searches(), 2)
		g.finds.change(func() { g.finds.members[0].Mail = "ana@fabrikam.com" })
		users, _, _ = found(t, s, SearchQuery{Text: "ana@fabrikam.com"})
		require.Equal(t, ids(1), users)

		g.breakWith(&Error{Kind: KindUnavailable, Status: 503})
		_, err := s.Search(t.Context(), SearchQuery{Text: "other@contoso.com", Limit: 1})
		require.Equal(t, KindUnavailable, errKind(err))
	})
}

func TestUsersWithoutAnAddressOfTheTenantAreLeftOut(t *testing.T) {
	for _, inMemory := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s, g := searching(t, inMemory, func(o *Options) { o.Domains = []string{"fabrikam.com"} })
			users, groups, _ := found(t, s, SearchQuery{Text: "ana"})
			require.Empty(t, users)
			require.Len(t, groups, 1)
			require.NotEmpty(t, g.finds.searches())
		})
		synctest.Test(t, func(t *testing.T) {
			g := &fakeGraph{}
			guest := User{ID: id(9), DisplayName: "Ana Guest", UserPrincipalName: "ana_home.example#EXT#@contoso.com", UserType: "Guest"}
			g.finds.members = []User{guest}
			g.pages = map[string]UsersPage{"": {Users: g.finds.members, Delta: "d"}}
			s := start(t, g, &fakeBudget{}, func(o *Options) { o.DirectorySync = inMemory })
			s.Start(t.Context())
			synctest.Wait()
			users, _, _ := found(t, s, SearchQuery{Text: "ana"})
			require.Empty(t, users)
		})
	}
}

func TestTheLimitCountsUsersAndGroupsTogether(t *testing.T) {
	for _, c := range []struct {
		limit, users, groups int
		more                 bool
	}{{-1, 1, 0, true}, {1, 1, 0, true}, {3, 3, 0, true}, {4, 3, 1, true}, {5, 4, 1, false}, {100, 4, 1, false}, {1 << 40, 4, 1, false}} {
		for _, inMemory := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				s, _ := searching(t, inMemory, nil)
				r, err := s.Search(t.Context(), SearchQuery{Text: "ana", Limit: c.limit})
				require.NoError(t, err)
				require.Len(t, r.Users, c.users, c.limit)
				require.Len(t, r.Groups, c.groups, c.limit)
				require.Equal(t, c.more, r.More, c.limit)
			})
		}
	}
}

func TestEqualSearchesAreOneRequestForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := searching(t, false, nil)
		g.finds.thinking = 100 * time.Millisecond
		var wg sync.WaitGroup
		for _, text := range []string{"ana", "ANA", " ana ", "sip:Ana", "ana\x00"} {
			for range 5 {
				wg.Go(func() {
					users, _, _ := found(t, s, SearchQuery{Text: text})
					require.Len(t, users, 4)
				})
			}
		}
		wg.Wait()
		require.Len(t, g.finds.searches(), 2, "one for users, one for groups")
		_, err := s.Lookup(t.Context(), "maria@contoso.com")
		require.NoError(t, err)
		_, err = s.User(t.Context(), id(2))
		require.NoError(t, err)
		require.Empty(t, g.questions(), "who was found is known")
		wait(29 * time.Second)
		found(t, s, SearchQuery{Text: "ana"})
		require.Len(t, g.finds.searches(), 2)
		wait(time.Second)
		found(t, s, SearchQuery{Text: "ana"})
		require.Len(t, g.finds.searches(), 4)
	})
}

func TestWithoutThePermissionForGroupsUsersAreFoundAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := searching(t, false, nil)
		g.finds.noGroups = &Error{Kind: KindForbidden, Status: 403}
		for _, text := range []string{"ana", "bo", "nobody"} {
			_, groups, _ := found(t, s, SearchQuery{Text: text})
			require.Empty(t, groups)
		}
		require.Len(t, g.finds.searches(), 4, "groups once")
		require.Equal(t, []string{"Group.Read.All"}, s.Missing())
		_, err := s.Group(t.Context(), id(0xa01))
		require.ErrorIs(t, err, ErrHidden)
		g.finds.change(func() { g.finds.noGroups = nil })
		wait(hideFor)
		_, groups, _ := found(t, s, SearchQuery{Text: "ana"})
		require.Len(t, groups, 1)
		require.Empty(t, s.Missing())
	})
}

func TestAFailedSearchIsAnErrorUnlessTheFirstHalfIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := searching(t, false, nil)
		down := &Error{Kind: KindUnavailable, Status: 503}
		g.finds.noGroups = down
		users, _, _ := found(t, s, SearchQuery{Text: "ana"})
		require.Len(t, users, 4, "users without groups")
		_, err := s.Search(t.Context(), SearchQuery{Text: "nobody", Limit: 5})
		require.Equal(t, KindUnavailable, errKind(err), "that nobody is there is not known")
		g.finds.change(func() { g.finds.noGroups, g.finds.noUsers = nil, down })
		_, err = s.Search(t.Context(), SearchQuery{Text: "bo", Limit: 5})
		require.Equal(t, KindUnavailable, errKind(err))
		users, _, _ = found(t, s, SearchQuery{Text: "ana"})
		require.Len(t, users, 4, "what was found a moment ago")
		wait(time.Minute)
		users, _, _ = found(t, s, SearchQuery{Text: "ana"})
		require.Len(t, users, 4, "and a while ago, as long as Graph fails")
		g.finds.change(func() { g.finds.noUsers = &Error{Kind: KindNotFound, Status: 404} })
		_, err = s.Search(t.Context(), SearchQuery{Text: "zoe", Limit: 5})
		require.Equal(t, KindUnavailable, errKind(err), "a list is never not found")
	})
}

func TestASearchEndsWithItsCallerAndWithTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := searching(t, false, nil)
		g.finds.thinking = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.Search(ctx, SearchQuery{Text: "ana", Limit: 5})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		_, err = s.Search(t.Context(), SearchQuery{Text: "bo", Limit: 5})
		require.Equal(t, KindTimeout, errKind(err))
		require.Equal(t, 11*time.Second, time.Since(began))
	})
}

func TestSearchesAreRememberedInBoundedMemory(t *testing.T) {
	s, g := searching(t, false, nil)
	g.finds.members = nil
	for n := range 500 {
		u := staff()[0]
		u.ID = id(n)
		g.finds.members = append(g.finds.members, u)
	}
	for n := range 500 {
		found(t, s, SearchQuery{Text: "ana", Limit: n + 1})
	}
	s.searcher.users.entries.CleanUp()
	require.LessOrEqual(t, s.searcher.users.entries.WeightedSize(), uint64(searchMemory))
}

func TestAnOverdueDirectoryIsNotSearched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := searching(t, true, nil)
		g.breakWith(&Error{Kind: KindUnavailable, Status: 503})
		wait(12 * time.Minute)
		users, _, _ := found(t, s, SearchQuery{Text: "zo"})
		require.Equal(t, ids(6), users)
		require.Len(t, g.finds.searches(), 2)
	})
}

func TestAGroupIsReadOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := searching(t, false, nil)
		for range 3 {
			one, err := s.Group(t.Context(), strings.ToUpper(id(0xa01)))
			require.NoError(t, err)
			require.Equal(t, Group{ID: id(0xa01), DisplayName: "Analytics Team", Mail: "analytics@contoso.com", Unified: true}, one)
			_, err = s.Group(t.Context(), id(0xa09))
			require.Equal(t, KindNotFound, errKind(err))
		}
		require.Len(t, g.finds.searches(), 2)
		wait(10 * time.Minute)
		_, err := s.Group(t.Context(), id(0xa01))
		require.NoError(t, err)
		require.Len(t, g.finds.searches(), 3)
		_, err = s.Group(t.Context(), "analytics")
		require.Equal(t, KindInvalid, errKind(err))
	})
}

func FuzzParseQuery(f *testing.F) {
	for _, text := range []string{
		"ana", "Ana López", `a"b\c`, "+49 (0)30 1234", "sip:ana@contoso.com", "\x00\xff", "½ ﷺ ﹰ", "tel:112", "o'b@x", "a AND b", "İ ß Σς", "\u07ee", "a\u07ee",
	} {
		f.Add(text, "")
		f.Add("", text)
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, text, mail string) {
		p, ok := parseQuery(SearchQuery{Text: text, Mail: mail, Limit: 3})
		if !ok {
			return
		}
		expression, filter := p.userSearch()
		if filter {
			_, err := odata.ParseFilter(expression)
			require.NoError(t, err, expression)
		} else {
			requireSearch(t, expression, "displayName", "mail", "userPrincipalName")
		}
		if groups := p.groupSearch(); groups != "" {
			requireSearch(t, groups, "displayName", "mail")
		}
		// Whoever is called or reachable like that is found, in memory too.
		u := User{ID: id(1), DisplayName: text, Mail: mail, UserPrincipalName: "u@contoso.com", MobilePhone: text}
		if _, valid := normalizeAddress(mail); mail != "" && !valid {
			return
		}
		x := newIndex(10, nil)
		x.apply([]User{{ID: id(2), DisplayName: "~", UserPrincipalName: "x@contoso.com"}, u})
		require.Contains(t, x.search(p).list, u, "%+v", p)
	})
}

// requireSearch says that an expression is what it was meant to be, clause by clause.
func requireSearch(t *testing.T, expression string, properties ...string) {
	parsed, err := odata.ParseSearch(expression)
	require.NoError(t, err, expression)
	for _, phrase := range parsed.Phrases() {
		require.Contains(t, properties, phrase.Property, expression)
	}
	require.NotContains(t, expression, "\x00")
}
