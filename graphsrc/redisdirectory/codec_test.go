package redisdirectory

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc"
	invented "ucwagate/graphsrc/graphsim/people"
)

func FuzzWhatIsStoredIsReadOrRefused(f *testing.F) {
	s, _ := encode(&graphsrc.User{ID: "00000000-0000-4000-8000-000000000001", Mail: "a@b.c", ProxyAddresses: []string{"SMTP:a@b.c"}})
	f.Add(s)
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := decode(s); err == nil && u != nil {
			again, err := encode(u)
			require.NoError(t, err)
			twice, err := decode(again)
			require.NoError(t, err)
			require.Equal(t, u, twice)
		}
	})
}

func TestAUserComesBackAsTheyWere(t *testing.T) {
	text := rapid.SampledFrom([]string{"", "a", "a@b.c", "SMTP:a@b.c", "sip:a@b.c", "SIP:", "smtp:smtp:a@b.c", "ü"})
	rapid.Check(t, func(t *rapid.T) {
		u := &graphsrc.User{ID: "00000000-0000-4000-8000-000000000001"}
		for _, s := range texts(u) {
			*s = text.Draw(t, "text")
		}
		for _, l := range lists(u) {
			if list := rapid.SliceOfN(text, 0, 5).Draw(t, "list"); len(list) > 0 {
				*l = list
			}
		}
		s, err := encode(u)
		require.NoError(t, err)
		got, err := decode(s)
		require.NoError(t, err)
		require.Equal(t, u, got)
	})
}

func TestAUserTakesFewBytes(t *testing.T) {
	dir, err := invented.New("contoso.com", 1_000, 1)
	require.NoError(t, err)
	sum := 0
	for i := range dir.Len() {
		p := dir.User(i)
		s, err := encode(&graphsrc.User{
			ID: p.ID, DisplayName: p.DisplayName, UserPrincipalName: p.UserPrincipalName, Mail: p.Mail,
			IMAddresses: p.IMAddresses, ProxyAddresses: p.ProxyAddresses, OtherMails: p.OtherMails, JobTitle: p.JobTitle,
			Department: p.Department, CompanyName: p.CompanyName, OfficeLocation: p.OfficeLocation,
			BusinessPhones: p.BusinessPhones, MobilePhone: p.MobilePhone, UserType: p.UserType,
		})
		require.NoError(t, err)
		sum += len(s)
	}
	t.Logf("%d bytes each", sum/dir.Len())
	require.Less(t, sum/dir.Len(), 250)
}
