package graphsrc

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	invented "ucwagate/graphsrc/graphsim/people"
)

// populace is the people of a simulated tenant, guests among them, as
// /users/delta tells them.
type populace struct{ dir *invented.Directory }

func newPopulace(t testing.TB, n int) populace {
	dir, err := invented.New("contoso.com", n, 1)
	require.NoError(t, err)
	return populace{dir}
}

func (c populace) user(i int) User {
	p := c.dir.User(i)
	return User{
		ID: p.ID, DisplayName: p.DisplayName, UserPrincipalName: p.UserPrincipalName, Mail: p.Mail,
		IMAddresses: p.IMAddresses, ProxyAddresses: p.ProxyAddresses, OtherMails: p.OtherMails, JobTitle: p.JobTitle,
		Department: p.Department, CompanyName: p.CompanyName, OfficeLocation: p.OfficeLocation,
		BusinessPhones: p.BusinessPhones, MobilePhone: p.MobilePhone, UserType: p.UserType,
	}
}

// fill returns an index of everybody, read in pages.
func (c populace) fill() *index {
	x := newIndex(c.dir.Len(), nil)
	page := make([]User, 0, 200)
	for i := range c.dir.Len() {
		if page = append(page, c.user(i)); len(page) == cap(page) || i == c.dir.Len()-1 {
			x.apply(page)
			page = page[:0]
		}
	}
	x.trim()
	return x
}

// retained is how many bytes what build returns keeps.
func retained[T any](build func() T) (T, float64) {
	runtime.GC()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	kept := build()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return kept, float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

func TestAUserOfTheIndexTakesFewBytes(t *testing.T) {
	const users = 30_000
	c := newPopulace(t, users)
	x, bytes := retained(c.fill)
	require.Less(t, bytes/users, 400.0)
	n, partial := x.size()
	require.Equal(t, users, n)
	require.False(t, partial)
}

// Everybody is found by every address, and by none of the things that are not one.
func TestEveryKindOfAddressFindsItsUser(t *testing.T) {
	const users = 5_000
	c := newPopulace(t, users)
	x := c.fill()
	kinds := map[string]int{}
	for i := range users {
		u := c.user(i)
		finds := func(kind, address string) {
			kinds[kind+" of a "+u.UserType]++
			a, err := ParseAddress(address)
			require.NoError(t, err, address)
			got, ok := x.find(a)
			require.True(t, ok, "%s %s", kind, address)
			require.Less(t, rankOf(&got, a), noRank)
			if got.ID != u.ID {
				require.LessOrEqual(t, rankOf(&got, a), rankOf(&u, a), "whom it fits better: %s %s", kind, address)
				return
			}
			require.Equal(t, u, got)
		}
		finds("principal name", strings.ToUpper(u.UserPrincipalName))
		finds("mail", u.Mail)
		for _, a := range u.IMAddresses {
			finds("IM address", a)
			finds("SIP address", "sip:"+strings.TrimPrefix(a, "sip:"))
		}
		for _, a := range u.ProxyAddresses {
			scheme, address, _ := strings.Cut(a, ":")
			finds("proxy "+strings.ToLower(scheme), address)
		}
		got, ok := x.get(mustParse(u.ID))
		require.True(t, ok)
		require.Equal(t, u, got)
	}
	for _, kind := range []string{
		"principal name of a Member", "mail of a Member", "IM address of a Member", "SIP address of a Member", "proxy smtp of a Member",
		"proxy sip of a Member", "principal name of a Guest", "mail of a Guest", "proxy smtp of a Guest",
	} {
		require.Positive(t, kinds[kind], kind)
	}
	for _, a := range []string{"nobody@contoso.com", "a@b", "ext@contoso.com"} {
		_, ok := x.find(a)
		require.False(t, ok, a)
	}
}

func TestALookupAllocatesNothing(t *testing.T) {
	c := newPopulace(t, 1_000)
	x := c.fill()
	for _, i := range []int{7, 19} {
		u := c.user(i)
		address, _ := normalizeAddress(u.ProxyAddresses[0][len("smtp:"):])
		k := mustParse(u.ID)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if got, ok := x.find(address); !ok || got.ID != u.ID {
				t.Error("somebody else")
			}
			if _, ok := x.get(k); !ok {
				t.Error("nobody")
			}
			if _, ok := x.find("nobody@contoso.com"); ok {
				t.Error("somebody")
			}
		}))
	}
	// Where an address leads costs nothing either for those not asked for lately.
	addresses := make([]string, 1_000)
	for i := range addresses {
		u := c.user(i)
		addresses[i], _ = normalizeAddress(u.UserPrincipalName)
	}
	i := 0
	require.Zero(t, testing.AllocsPerRun(len(addresses)-1, func() {
		_, ok := x.holder(addresses[i])
		require.True(t, ok)
		i++
	}))
}

// BenchmarkDirectory reports what a tenant costs: bytes a user, the time to
// build and to keep the index, and of a lookup by any address.
func BenchmarkDirectory(b *testing.B) {
	for _, users := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			c := newPopulace(b, users)
			x, bytes := retained(c.fill)
			b.Run("memory", func(b *testing.B) {
				for b.Loop() {
					c.user(7)
				}
				b.ReportMetric(bytes/float64(users), "bytes/user")
				b.ReportMetric(float64(x.addresses.count)/float64(users), "addresses/user")
				b.ReportMetric(0, "ns/op")
			})
			addresses := make([]string, 1<<16)
			for i := range addresses {
				u := c.user(rand.IntN(users))
				all := addressesOf(&u)
				addresses[i] = strings.Clone(all[rand.IntN(len(all))])
			}
			lookup := func(name string, of int, find func(address string) bool) {
				b.Run(name, func(b *testing.B) {
					b.ReportAllocs()
					i := 0
					for b.Loop() {
						if a := addresses[i%of]; !find(a) {
							b.Fatal(a)
						}
						i++
					}
					b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "lookups/s")
				})
			}
			lookup("whom an address leads to", len(addresses), func(a string) bool { _, ok := x.holder(a); return ok })
			lookup("any user", len(addresses), func(a string) bool { _, ok := x.find(a); return ok })
			lookup("users asked for lately", 1_000, func(a string) bool { _, ok := x.find(a); return ok })
			b.Run("keep", func(b *testing.B) {
				size := 0
				for b.Loop() {
					size = len(encodeState("tenant", &kept{link: "l", users: x, whole: true}))
				}
				b.ReportMetric(float64(size)/float64(users), "kept-bytes/user")
			})
			b.Run("restore", func(b *testing.B) {
				raw := encodeState("tenant", &kept{link: "l", users: x, whole: true})
				for b.Loop() {
					if _, err := decodeState(raw, "tenant", newIndex(users, nil)); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
