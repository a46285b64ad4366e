package people

import (
	"bytes"
	"image/jpeg"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func directory(t require.TestingT, users int, seed uint64) *Directory {
	d, err := New("contoso.test", users, seed)
	require.NoError(t, err)
	return d
}

func TestEveryIdentityLeadsBackToItsUser(t *testing.T) {
	big := directory(t, MaxUsers, 7)
	rapid.Check(t, func(rt *rapid.T) {
		index := rapid.IntRange(0, MaxUsers-1).Draw(rt, "index")
		u := big.User(index)
		for _, identities := range [][]string{{u.ID, u.UserPrincipalName, u.Mail}, u.IMAddresses, u.ProxyAddresses, u.OtherMails} {
			for _, identity := range identities {
				for _, spelling := range []string{identity, strings.ToUpper(identity)} {
					found, ok := big.Find(spelling)
					require.True(rt, ok, spelling)
					require.Equal(rt, index, found, spelling)
				}
			}
		}
		found, ok := big.ByPrincipalName(u.UserPrincipalName)
		require.True(rt, ok)
		require.Equal(rt, index, found)
	})
}

func TestIdentitiesAreUnique(t *testing.T) {
	d := directory(t, 20_000, 3)
	owner := make(map[string]int)
	for index := range d.Len() {
		u := d.User(index)
		for _, identity := range append([]string{u.ID, u.UserPrincipalName, u.Address()}, u.ProxyAddresses...) {
			identity = withoutScheme(strings.ToLower(identity))
			if other, taken := owner[identity]; taken {
				require.Equal(t, other, index, identity)
			}
			owner[identity] = index
		}
	}
}

func TestTextsThatAreNobodyAreNotFound(t *testing.T) {
	d := directory(t, 50, 1)
	known := d.User(3).UserPrincipalName
	for _, text := range []string{
		"", "@", "nobody", "no.body@contoso.test", "sip:", known + "x", "x" + known,
		strings.Replace(known, "@", "1@", 1), strings.Replace(known, "@", "02@", 1), strings.Replace(known, "@", "99@", 1),
		strings.Replace(known, "contoso", "other", 1), "00000000-0000-0000-0000-000000000000",
		directory(t, 50, 2).User(3).ID, d.Group(0).ID,
	} {
		_, ok := d.Find(text)
		require.False(t, ok, text)
	}
}

func TestSameSeedGivesSamePeople(t *testing.T) {
	a, b, other := directory(t, 300, 5), directory(t, 300, 5), directory(t, 300, 6)
	different := 0
	for index := range 300 {
		require.Empty(t, cmp.Diff(a.User(index), b.User(index)))
		if a.User(index).DisplayName != other.User(index).DisplayName {
			different++
		}
	}
	require.Greater(t, different, 250)
}

func TestPopulationHasTheSpecialCases(t *testing.T) {
	d := directory(t, 200, 1)
	var guests, disabled, differing, prefixed, languagesSeen int
	seen := map[string]bool{}
	for index := range d.Len() {
		u := d.User(index)
		if u.UserType == "Guest" {
			guests++
			require.Contains(t, u.UserPrincipalName, "#EXT#@contoso.test")
			require.Empty(t, u.IMAddresses)
			continue
		}
		if !u.AccountEnabled {
			disabled++
		}
		if u.Address() != u.UserPrincipalName {
			differing++
		}
		if strings.HasPrefix(u.IMAddresses[0], "sip:") {
			prefixed++
		}
		if !seen[u.PreferredLanguage] {
			seen[u.PreferredLanguage] = true
			languagesSeen++
		}
	}
	require.Positive(t, guests)
	require.Positive(t, disabled)
	require.Positive(t, differing)
	require.Positive(t, prefixed)
	require.Equal(t, len(languages), languagesSeen)
}

func TestOrganizerHasEverythingInEveryDirectory(t *testing.T) {
	for _, users := range []int{10, 11, 57, 200, 100_000} {
		d := directory(t, users, 1)
		me := d.Organizer()
		manager, ok := d.Manager(me)
		require.True(t, ok)
		require.Greater(t, len(d.Reports(manager)), 1, "peers")
		require.NotEmpty(t, d.Reports(me))
		unified := 0
		for _, number := range d.GroupsOf(me, false) {
			if d.Group(number).Unified {
				unified++
			}
		}
		require.GreaterOrEqual(t, unified, 3)
		require.Len(t, d.Folders(me), 3)
		for _, folder := range d.Folders(me) {
			require.NotEmpty(t, d.Contacts(me, folder))
		}
		require.NotEmpty(t, d.People(me))
		_, ok = d.PhotoUpload(me)
		require.True(t, ok)
	}
}

func TestManagersAndReportsAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := directory(rt, rapid.IntRange(MinUsers, 5000).Draw(rt, "users"), 1)
		index := rapid.IntRange(1, d.Len()-1).Draw(rt, "index")
		manager, ok := d.Manager(index)
		require.True(rt, ok)
		require.Contains(rt, d.Reports(manager), index)
	})
	_, ok := directory(t, 10, 1).Manager(0)
	require.False(t, ok)
}

func TestGroupsAndMembersAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := directory(rt, rapid.IntRange(MinUsers, 400).Draw(rt, "users"), rapid.Uint64().Draw(rt, "seed"))
		transitive := rapid.Bool().Draw(rt, "transitive")
		groups := make(map[int]map[int]bool)
		for number := range d.Groups() {
			groups[number] = make(map[int]bool)
			for _, m := range d.Members(number, transitive, 0) {
				if m.IsGroup {
					continue
				}
				require.False(rt, groups[number][m.User], "user %d twice in group %d", m.User, number)
				groups[number][m.User] = true
			}
		}
		for index := range d.Len() {
			mine := make(map[int]bool)
			for _, number := range d.GroupsOf(index, transitive) {
				require.False(rt, mine[number], "group %d twice for user %d", number, index)
				mine[number] = true
			}
			for number := range d.Groups() {
				require.Equal(rt, mine[number], groups[number][index], "user %d, group %d", index, number)
			}
		}
	})
}

func TestMembersResumeAtTheirPosition(t *testing.T) {
	d := directory(t, 150, 1)
	for number := range d.Groups() {
		var whole, pieces []Member
		for _, m := range d.Members(number, true, 0) {
			whole = append(whole, m)
		}
		for position, more := 0, true; more; {
			more = false
			for after, m := range d.Members(number, true, position) {
				pieces, position, more = append(pieces, m), after, true
				break
			}
		}
		require.Equal(t, whole, pieces)
	}
}

func TestChangesAreListedOnceInOrder(t *testing.T) {
	d := directory(t, 20, 1)
	require.NoError(t, d.Rename(3, "New Name"))
	require.NoError(t, d.Remove(4))
	require.NoError(t, d.Rename(3, "Newer Name"))
	require.ErrorIs(t, d.Rename(20, "x"), ErrNoUser)
	require.Equal(t, 3, d.Version())
	require.Equal(t, []int{4, 3}, d.ChangedBetween(0, 3))
	require.Equal(t, []int{3}, d.ChangedBetween(2, 3))
	require.Empty(t, d.ChangedBetween(3, 3))
	require.Equal(t, "Newer Name", d.User(3).DisplayName)
	require.False(t, d.Present(4))
	require.NoError(t, d.Restore(4))
	require.True(t, d.Present(4))
}

func TestPhotosDecodeInEverySize(t *testing.T) {
	d := directory(t, 20, 1)
	for _, size := range PhotoSizes {
		raw, err := d.Photo(1, size)
		require.NoError(t, err)
		config, err := jpeg.DecodeConfig(bytes.NewReader(raw))
		require.NoError(t, err)
		require.Equal(t, size, config.Width)
		require.Equal(t, size, config.Height)
	}
	one, err := d.Photo(1, 48)
	require.NoError(t, err)
	two, err := d.Photo(2, 48)
	require.NoError(t, err)
	require.NotEqual(t, one, two)
}

func TestSizeAndDomainAreChecked(t *testing.T) {
	for _, c := range []struct {
		domain string
		users  int
	}{{"contoso.test", 9}, {"contoso.test", 1_000_001}, {"", 10}, {"a@b", 10}} {
		_, err := New(c.domain, c.users, 1)
		require.Error(t, err, c)
	}
}

func FuzzFind(f *testing.F) {
	d := directory(f, 500, 1)
	for _, index := range []int{0, 4, 19, 499} {
		u := d.User(index)
		f.Add(u.ID)
		f.Add(u.UserPrincipalName)
		f.Add("sip:" + u.Address())
	}
	f.Add("a_b.c@d")
	f.Add("..@")
	f.Fuzz(func(t *testing.T, text string) {
		if index, ok := d.Find(text); ok {
			require.True(t, d.Present(index))
		}
	})
}
