package graphsrc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawUser invents a user whose properties repeat each other, as they do.
func drawUser(t *rapid.T, id string) User {
	text := rapid.SampledFrom([]string{
		"", "a@x.y", "A@X.Y", "sip:a@x.y", "SIP:A@x.y", "smtp:a@x.y", "SMTP:a@x.y", "Smtp:a@x.y", "X500:/o=x/cn=a", "sip:",
		"anabel.lopez@contoso.com", "Anabel.Lopez@Contoso.com", "smtp:anabel.lopez@contoso.com", "SIP:Anabel.Lopez@contoso.com",
		"ana_home.example#EXT#@contoso.com", "ÁNA@x.y", "ána@x.y", " a@x.y ", "Sales", "Vice President Sales", "+49 30 1234", "Member",
	})
	list := func(name string) []string {
		if l := rapid.SliceOfN(text, 0, 4).Draw(t, name); len(l) > 0 {
			return l
		}
		return nil
	}
	one := func(name string) string { return text.Draw(t, name) }
	return User{
		ID: id, DisplayName: one("name"), UserPrincipalName: one("upn"), Mail: one("mail"), JobTitle: one("title"),
		Department: one("department"), CompanyName: one("company"), OfficeLocation: one("office"), MobilePhone: one("mobile"),
		UserType: one("type"), IMAddresses: list("im"), ProxyAddresses: list("proxies"), OtherMails: list("other"), BusinessPhones: list("phones"),
	}
}

func TestAPackedUserHasTheAddressesOfTheUser(t *testing.T) {
	addresses := []string{"a@x.y", "ána@x.y", "anabel.lopez@contoso.com", "ana_home.example#ext#@contoso.com", "b@x.y", "a@x.yz"}
	rapid.Check(t, func(t *rapid.T) {
		u := drawUser(t, id(1))
		var k packer
		p := k.pack(&u, userText(&u))
		if got := p.user(mustParse(u.ID)); !equalUsers(got, u) || p.text() != userText(&u) {
			t.Fatalf("%+v became %+v", u, got)
		}
		for _, a := range addresses {
			if p.has(a) != (rankOf(&u, a) < noRank) {
				t.Fatalf("%+v has %s: %v", u, a, p.has(a))
			}
		}
	})
}

func TestRepeatedTextsArePackedOnce(t *testing.T) {
	var k packer
	const address = "anabel.maria.lopez@research.contoso.com"
	u := User{ID: id(1), UserPrincipalName: address}
	alone := len(k.pack(&u, userText(&u)))
	u.Mail, u.IMAddresses = address, []string{address}
	u.ProxyAddresses = []string{"SMTP:" + address, "sip:" + address, "smtp:" + address}
	require.LessOrEqual(t, len(k.pack(&u, userText(&u))), alone+len(address)+2+5*4, "a mail address is in the text too")
}
