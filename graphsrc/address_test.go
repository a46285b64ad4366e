package graphsrc

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestTheAddressOfAUser(t *testing.T) {
	for _, c := range []struct {
		name string
		user User
		want string
	}{
		{"the first IM address wins", User{UserPrincipalName: "u@x.y", IMAddresses: []string{"Im@X.y", "b@x.y"}, ProxyAddresses: []string{"SIP:p@x.y"}}, "im@x.y"},
		{"an IM address may have a scheme", User{IMAddresses: []string{"sip:im@x.y"}}, "im@x.y"},
		{"an IM address that is none is passed over", User{IMAddresses: []string{"none"}, UserPrincipalName: "u@x.y"}, "u@x.y"},
		{"then the primary SIP proxy", User{UserPrincipalName: "u@x.y", ProxyAddresses: []string{"SMTP:m@x.y", "sip:second@x.y", "SIP:First@x.y"}}, "first@x.y"},
		{"then any SIP proxy", User{UserPrincipalName: "u@x.y", ProxyAddresses: []string{"SMTP:m@x.y", "sip:second@x.y"}}, "second@x.y"},
		{"then the principal name", User{UserPrincipalName: "U@x.y", Mail: "m@x.y"}, "u@x.y"},
		{"a guest's principal name is nobody's SIP address", User{UserPrincipalName: "bo_fabrikam.com#EXT#@contoso.onmicrosoft.com"}, ""},
		{"nothing is nothing", User{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, Address(c.user)) })
	}
}

func TestParseAddressRefusesWhatIsNone(t *testing.T) {
	for _, s := range []string{
		"", "sip:", "a", "@b.c", "a@", "a@.c", "a@b..c", "a@b.c.", "a b@c.d", "a/b@c.d", "../a@c.d", "a%2f@c.d", "a?b@c.d", `a\b@c.d`,
		"a\n@c.d", "a\x7f@c.d", "a@c.d/e", "a@c.d;gruu", "a@c_d", "tel:+1@c.d", "\xff@c.d", "a@b@c.d", strings.Repeat("a", 65) + "@c.d",
		"a@" + strings.Repeat("b.", 130) + "c", "a@" + strings.Repeat("b", 64) + ".c",
	} {
		_, err := ParseAddress(s)
		require.Equal(t, KindInvalid, errKind(err), "%q", s)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"ana@contoso.com", "SIP:Ana@Contoso.COM", " sip:o'brien@x.y ", "bo#EXT#@x.y", "á@ñ.es", "İ@x.y", "a@b@c", "sip:sip:a@b.c", "\xff@x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			require.Empty(t, a)
			return
		}
		require.True(t, utf8.ValidString(a))
		require.LessOrEqual(t, len(a), maxAddress)
		require.Equal(t, strings.ToLower(a), a)
		require.Equal(t, 1, strings.Count(a, "@"))
		require.False(t, strings.ContainsAny(a, "/\\?%\"<> \t\r\n:;"))
		again, err := ParseAddress(a)
		require.NoError(t, err, "a normal address is an address")
		require.Equal(t, a, again)
		again, err = ParseAddress("sip:" + a)
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}
