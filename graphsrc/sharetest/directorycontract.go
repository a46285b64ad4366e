package sharetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

// OpenDirectory makes two parts of one directory in which nothing is kept.
type OpenDirectory func(tb testing.TB) (a, b graphsrc.SharedDirectory)

// RunDirectory tests what any graphsrc.SharedDirectory must do.
func RunDirectory(t *testing.T, open OpenDirectory) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, a, b graphsrc.SharedDirectory){
		"what one has looked up another finds, whole": keptWhole,
		"an address that is nobody's is kept too":     keptNobody,
		"an outcome ends at its time":                 keptUntil,
		"the later outcome of two stays":              keptLater,
		"a whole batch is kept and found":             keptBatch,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			test(t, a, b)
		})
	}
}

func somebody(n int) *graphsrc.User {
	upn := fmt.Sprintf("user%d@contoso.com", n)
	return &graphsrc.User{
		ID: fmt.Sprintf("00000000-0000-4000-8000-%012x", n), DisplayName: "User Nr. " + fmt.Sprint(n), UserPrincipalName: upn, Mail: upn,
		IMAddresses: []string{upn}, ProxyAddresses: []string{"SMTP:" + upn, "smtp:" + fmt.Sprint(n) + "@contoso.com", "sip:" + upn, "x500:/o=contoso"},
		JobTitle: "Ingénieur", Department: "Research", BusinessPhones: []string{"+49 30 1", "+49 30 2"}, UserType: "Member",
	}
}

func keep(t *testing.T, d graphsrc.SharedDirectory, out ...graphsrc.LookedUp) {
	t.Helper()
	require.NoError(t, d.Keep(t.Context(), out))
}

func recalled(t *testing.T, d graphsrc.SharedDirectory, addresses ...string) map[string]graphsrc.LookedUp {
	t.Helper()
	got, err := d.Recall(t.Context(), addresses)
	require.NoError(t, err)
	by := make(map[string]graphsrc.LookedUp)
	for _, one := range got {
		require.NotContains(t, by, one.Address)
		by[one.Address] = one
	}
	return by
}

func keptWhole(t *testing.T, a, b graphsrc.SharedDirectory) {
	odd := &graphsrc.User{ID: somebody(7).ID, OtherMails: []string{"", "a", "", "a"}}
	until := time.Now().Add(time.Hour)
	keep(t, a, graphsrc.LookedUp{Address: "user1@contoso.com", User: somebody(1), Until: until},
		graphsrc.LookedUp{Address: "o'{b}rien@contoso.com", User: odd, Until: until})
	got := recalled(t, b, "user1@contoso.com", "user2@contoso.com", "o'{b}rien@contoso.com")
	require.Len(t, got, 2)
	require.Equal(t, somebody(1), got["user1@contoso.com"].User)
	require.Equal(t, odd, got["o'{b}rien@contoso.com"].User)
	require.WithinDuration(t, until, got["user1@contoso.com"].Until, time.Second)
}

func keptNobody(t *testing.T, a, b graphsrc.SharedDirectory) {
	until := time.Now().Add(5 * time.Minute)
	keep(t, a, graphsrc.LookedUp{Address: "ghost@contoso.com", Until: until})
	got := recalled(t, b, "ghost@contoso.com")
	require.Len(t, got, 1)
	require.Nil(t, got["ghost@contoso.com"].User)
	require.WithinDuration(t, until, got["ghost@contoso.com"].Until, time.Second)
}

func keptUntil(t *testing.T, a, b graphsrc.SharedDirectory) {
	keep(t, a, graphsrc.LookedUp{Address: "user1@contoso.com", User: somebody(1), Until: time.Now().Add(-time.Second)},
		graphsrc.LookedUp{Address: "user2@contoso.com", User: somebody(2), Until: time.Now().Add(200 * time.Millisecond)},
		graphsrc.LookedUp{Address: "user3@contoso.com", User: somebody(3), Until: time.Now().Add(time.Hour)})
	eventually(t, func() bool {
		got := recalled(t, b, "user1@contoso.com", "user2@contoso.com", "user3@contoso.com")
		require.NotContains(t, got, "user1@contoso.com")
		require.Contains(t, got, "user3@contoso.com")
		return len(got) == 1
	}, "it ends")
}

func keptLater(t *testing.T, a, b graphsrc.SharedDirectory) {
	until := time.Now().Add(time.Hour)
	keep(t, a, graphsrc.LookedUp{Address: "user1@contoso.com", Until: until})
	keep(t, b, graphsrc.LookedUp{Address: "user1@contoso.com", User: somebody(1), Until: until.Add(-time.Minute)})
	got := recalled(t, a, "user1@contoso.com")["user1@contoso.com"]
	require.Equal(t, somebody(1), got.User)
	require.WithinDuration(t, until.Add(-time.Minute), got.Until, time.Second)
}

func keptBatch(t *testing.T, a, b graphsrc.SharedDirectory) {
	var all []graphsrc.LookedUp
	var addresses []string
	for i := range graphsrc.DirectoryBatch {
		u := somebody(i)
		all = append(all, graphsrc.LookedUp{Address: u.Mail, User: u, Until: time.Now().Add(time.Hour)})
		addresses = append(addresses, u.Mail)
	}
	keep(t, a, all...)
	got := recalled(t, b, addresses...)
	require.Len(t, got, len(all))
	for _, one := range all {
		require.Equal(t, one.User, got[one.Address].User)
	}
	require.Empty(t, recalled(t, b))
	keep(t, a)
}
