package policy

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/ucwaapi/signin"
)

func compiled(t testing.TB, o Options) *Policy {
	t.Helper()
	p, err := New(o)
	require.NoError(t, err)
	return p
}

func who(address string) signin.Identity { return signin.Identity{Address: address} }

var tenants = []string{"Contoso.com", "fabrikam.com"}

func TestWhoMaySignInAndPublish(t *testing.T) {
	for _, c := range []struct {
		name   string
		access Access
		groups map[string][]string
		user   string
		want   bool
	}{
		{"people of the tenants may", Access{}, nil, "ana@contoso.com", true},
		{"strangers may not", Access{}, nil, "eve@evil.com", false},
		{"a subdomain is a stranger", Access{}, nil, "ana@sub.contoso.com", false},
		{"a domain that ends alike is a stranger", Access{}, nil, "ana@evilcontoso.com", false},
		{"nobody is a stranger", Access{}, nil, "", false},
		{"a name without a domain is nobody", Access{}, nil, "contoso.com", false},
		{"a second domain is nobody's", Access{}, nil, "eve@evil.com@contoso.com", false},
		{"an allowed person may", Access{Allow: []string{"Ana@Contoso.com"}}, nil, "ana@contoso.com", true},
		{"with allowed persons, others may not", Access{Allow: []string{"ana@contoso.com"}}, nil, "bo@contoso.com", false},
		{"an allowed domain may", Access{Allow: []string{"@fabrikam.com"}}, nil, "chi@fabrikam.com", true},
		{"an allowed stranger may", Access{Allow: []string{"partner.com"}}, nil, "pia@partner.com", true},
		{"everybody may where everybody is allowed", Access{Allow: []string{"*"}}, nil, "eve@evil.com", true},
		{"an allowed subdomain may", Access{Allow: []string{"*.contoso.com"}}, nil, "ana@a.b.contoso.com", true},
		{"its parent is not meant by it", Access{Allow: []string{"*.contoso.com"}}, nil, "ana@contoso.com", false},
		{"a denied person may not", Access{Deny: []string{"sip:ana@contoso.com"}}, nil, "ana@contoso.com", false},
		{"deny comes before allow", Access{Allow: []string{"ana@contoso.com"}, Deny: []string{"contoso.com"}}, nil, "ana@contoso.com", false},
		{"others than the denied may", Access{Deny: []string{"ana@contoso.com"}}, nil, "bo@contoso.com", true},
		{"a denied letter case is the same person", Access{Deny: []string{"ANA@contoso.com"}}, nil, "ana@CONTOSO.com", false},
		{"a look-alike of an allowed name is nobody", Access{Allow: []string{"kim@contoso.com"}}, nil, "\u212aim@contoso.com", false},
		{"an allowed group may", Access{Allow: []string{"group:Staff"}}, map[string][]string{"staff": {"ana@contoso.com"}}, "ana@contoso.com", true},
		{"others than the group may not", Access{Allow: []string{"group:staff"}}, map[string][]string{"staff": {"ana@contoso.com"}}, "bo@contoso.com", false},
		{"an empty group lets nobody in", Access{Allow: []string{"group:staff"}}, map[string][]string{"Staff": nil}, "ana@contoso.com", false},
		{"a denied group may not", Access{Deny: []string{"group:leavers"}}, map[string][]string{"leavers": {"old.contoso.com", "ana@contoso.com"}}, "ana@contoso.com", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := compiled(t, Options{Domains: tenants, SignIn: c.access, Groups: c.groups})
			err := p.MaySignIn(who(c.user))
			require.Equal(t, c.want, err == nil)
			if err != nil {
				var refusal *Refusal
				require.True(t, errors.As(err, &refusal))
				require.Equal(t, Refusal{http.StatusForbidden, "Forbidden", "", "The user is not allowed to sign in."}, *refusal)
			}
			p = compiled(t, Options{Domains: tenants, Publish: c.access, Groups: c.groups})
			require.Equal(t, c.want, p.MayPublish(who(c.user)))
		})
	}
	require.Equal(t, "The user is not allowed to publish presence.", PublishRefusal().Error())
}

func TestWhoMayReadWhom(t *testing.T) {
	helpdesk := Rule{Readers: []string{"group:contractors"}, People: []string{"desk@contoso.com"}}
	wall := []Rule{
		{Readers: []string{"contoso.com"}, People: []string{"fabrikam.com"}, Deny: true},
		{Readers: []string{"boss@contoso.com"}, People: []string{"*"}},
	}
	groups := map[string][]string{"contractors": {"con@contoso.com", "temp.com"}}
	for _, c := range []struct {
		name         string
		rules        []Rule
		nobody       bool
		reader, whom string
		want         bool
	}{
		{"everybody may read the people of the tenants", nil, false, "ana@contoso.com", "sip:Chi@Fabrikam.com", true},
		{"nobody may read strangers", nil, false, "ana@contoso.com", "eve@evil.com", false},
		{"everybody may read themselves", nil, true, "ana@contoso.com", "SIP:ANA@contoso.com", true},
		{"also a stranger who was let in", nil, false, "pia@partner.com", "pia@partner.com", true},
		{"also against a rule", []Rule{{Deny: true}}, false, "ana@contoso.com", "ana@contoso.com", true},
		{"what is no address is nobody's", nil, false, "ana@contoso.com", "chi", false},
		{"an address in a list of two is nobody's", nil, false, "ana@contoso.com", "chi@fabrikam.com,bo@contoso.com", false},
		{"a reader without an address reads nobody", nil, false, "", "chi@fabrikam.com", false},

		{"a wall holds", wall, false, "ana@contoso.com", "chi@fabrikam.com", false},
		{"a wall has one side", wall, false, "chi@fabrikam.com", "ana@contoso.com", true},
		{"behind the wall all is as before", wall, false, "ana@contoso.com", "bo@contoso.com", true},
		{"an allowing rule does not break a wall", wall, false, "boss@contoso.com", "chi@fabrikam.com", false},
		{"an allowing rule reaches strangers", wall, false, "boss@contoso.com", "eve@evil.com", true},

		{"readers of a rule may read those it names", []Rule{helpdesk}, false, "con@contoso.com", "desk@contoso.com", true},
		{"and nobody else", []Rule{helpdesk}, false, "con@contoso.com", "ana@contoso.com", false},
		{"a domain in a group reads alike", []Rule{helpdesk}, false, "tom@temp.com", "ana@contoso.com", false},
		{"readers of no rule are not bound by it", []Rule{helpdesk}, false, "ana@contoso.com", "bo@contoso.com", true},
		{"two rules for a reader add up", []Rule{helpdesk, {Readers: []string{"con@contoso.com"}, People: []string{"fabrikam.com"}}}, false, "con@contoso.com", "chi@fabrikam.com", true},
		{"a rule for all readers binds all", []Rule{{People: []string{"contoso.com"}}}, false, "ana@contoso.com", "chi@fabrikam.com", false},
		{"a rule for all people opens all", []Rule{{Readers: []string{"ana@contoso.com"}}}, false, "ana@contoso.com", "eve@evil.com", true},

		{"without a rule nobody, where that is the default", nil, true, "ana@contoso.com", "bo@contoso.com", false},
		{"a rule opens then", []Rule{{Readers: []string{"contoso.com"}, People: []string{"contoso.com"}}}, true, "ana@contoso.com", "bo@contoso.com", true},
		{"for its readers only", []Rule{{Readers: []string{"contoso.com"}, People: []string{"contoso.com"}}}, true, "chi@fabrikam.com", "bo@contoso.com", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := compiled(t, Options{Domains: tenants, Read: c.rules, ReadNobody: c.nobody, Groups: groups})
			require.Equal(t, c.want, p.MayRead(who(c.reader), c.whom))
		})
	}
	require.Equal(t, Refusal{http.StatusForbidden, "Forbidden", "", "The user is not allowed to see this contact."}, *ReadRefusal())
	require.True(t, compiled(t, Options{}).MayRead(who("ana@contoso.com"), "eve@evil.com"), "without domains there is no outside")
}

func TestNewListsAllProblems(t *testing.T) {
	_, err := New(Options{
		Domains: []string{"contoso.com", "@fabrikam.com"},
		SignIn:  Access{Allow: []string{"group:nobody", ""}, Deny: []string{"a b"}},
		Publish: Access{Allow: []string{"*.", "ana@"}},
		Read:    []Rule{{Readers: []string{"x@y"}, People: []string{"@"}}, {People: []string{"contoso..com"}}},
		Groups:  map[string][]string{"": nil, "a": {"group:b"}, "b": {"*@contoso.com@x"}},
	})
	require.Error(t, err)
	for _, want := range []string{
		`domains: "@fabrikam.com" is not a domain`, `sign-in allow: "group:nobody": there is no such group`, `sign-in allow: "" is not`,
		`sign-in deny: "a b" is not`, `publish allow: "*." is not`, `publish allow: "ana@" is not`, `read rule 1: "@" is not`,
		`read rule 2: "contoso..com" is not`, `group "": a name`, `group a: "group:b" is not`, `group b: "*@contoso.com@x" is not`,
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestReadGroup(t *testing.T) {
	members, err := ReadGroup(strings.NewReader("\ufeff# staff\r\n\nana@contoso.com\r\n  fabrikam.com\n"))
	require.NoError(t, err)
	require.Equal(t, []string{"ana@contoso.com", "fabrikam.com"}, members)
	_, err = ReadGroup(strings.NewReader("ana@contoso.com\nnot one\n"))
	require.ErrorContains(t, err, `line 2: "not one"`)
	_, err = ReadGroup(strings.NewReader(strings.Repeat("a", 1<<17)))
	require.ErrorContains(t, err, "reading a group")
}

func TestDenyAlwaysWins(t *testing.T) {
	words := []string{"ana@contoso.com", "bo@contoso.com", "contoso.com", "fabrikam.com", "*", "*.com", "group:g"}
	people := []string{"ana@contoso.com", "bo@contoso.com", "chi@fabrikam.com", "eve@evil.com", "x@y.com"}
	rapid.Check(t, func(t *rapid.T) {
		list := func(name string) []string {
			return rapid.SliceOfN(rapid.SampledFrom(words), 0, 3).Draw(t, name)
		}
		var rules []Rule
		for range rapid.IntRange(0, 4).Draw(t, "rules") {
			rules = append(rules, Rule{Readers: list("readers"), People: list("people"), Deny: rapid.Bool().Draw(t, "deny")})
		}
		o := Options{
			Domains: tenants, Read: rules, ReadNobody: rapid.Bool().Draw(t, "nobody"), Groups: map[string][]string{"g": {"chi@fabrikam.com"}},
			SignIn: Access{Allow: list("allow"), Deny: list("deny")},
		}
		p, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		reader, whom := rapid.SampledFrom(people).Draw(t, "reader"), rapid.SampledFrom(people).Draw(t, "whom")
		may := p.MayRead(who(reader), whom)
		if p.MayRead(who(strings.ToUpper(reader)), "sip:"+strings.ToUpper(whom)) != may {
			t.Fatal("the spelling decides")
		}
		// One more rule that denies exactly this takes exactly this away.
		o.Read = append(o.Read, Rule{Readers: []string{reader}, People: []string{whom}, Deny: true})
		o.SignIn.Deny = append(o.SignIn.Deny, reader)
		denied, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if denied.MayRead(who(reader), whom) != (reader == whom) || denied.MaySignIn(who(reader)) == nil {
			t.Fatal("a denial did not hold")
		}
		for _, other := range people {
			if other != whom && denied.MayRead(who(reader), other) != p.MayRead(who(reader), other) {
				t.Fatal("a denial hit somebody else")
			}
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"ana@contoso.com", "sip:a@b", "@", "a@b@c", "\u212a@b", "a@b.", "\xff@b"} {
		f.Add(seed)
	}
	p, err := New(Options{Domains: tenants, SignIn: Access{Deny: []string{"ana@contoso.com"}}})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, address string) {
		if p.MaySignIn(who(address)) == nil {
			require.Regexp(t, `(?i)^(sip:)?[^@]+@(contoso|fabrikam)\.com$`, address)
			require.NotRegexp(t, `(?i)^(sip:)?ana@contoso\.com$`, address)
		}
		p.MayRead(who("ana@contoso.com"), address)
	})
}

func BenchmarkMayRead(b *testing.B) {
	rules := make([]Rule, 20)
	for i := range rules {
		rules[i] = Rule{Readers: []string{"group:g"}, People: []string{"fabrikam.com"}, Deny: i < 10}
	}
	p := compiled(b, Options{Domains: tenants, Read: rules, Groups: map[string][]string{"g": {"x.com"}}})
	reader := who("ana@contoso.com")
	b.ReportAllocs()
	for b.Loop() {
		if !p.MayRead(reader, "chi@fabrikam.com") {
			b.Fatal("refused")
		}
	}
}
