package graphsrc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFoldedTextIsComparable(t *testing.T) {
	for in, want := range map[string]string{
		"Ana":         "ana",
		"LÓPEZ":       "lopez",
		"lo\u0301pez": "lopez",
		"Straße":      "strasse",
		"STRAẞE":      "strasse",
		"Łódź":        "lodz",
		"Ærø":         "aero",
		"İstanbul":    "istanbul",
		"ısı":         "isi",
		"Ｆｕｌｌ":        "full",
		"ﬁne":         "fine",
		"ΟΔΥΣΣΕΥΣ":    "οδυσσευσ",
		"Οδυσσεύς":    "οδυσσευσ",
		"Đorđe":       "dorde",
		"Þór":         "thor",
		"Œuvre":       "oeuvre",
		"山田 太郎":       "山田 太郎",
	} {
		require.Equal(t, want, fold(in), in)
		require.Equal(t, want, fold(fold(in)), in)
	}
}

// The index finds, ranks and cuts like a plain search of all users does.
func TestTheIndexSearchAgreesWithAPlainSearch(t *testing.T) {
	name := rapid.SampledFrom([]string{"Ana", "Anabel", "Bo", "Ána Bo", "Cy-Ana", "", "B. Cy", "ana 12"})
	address := rapid.SampledFrom([]string{"", "ana@x.y", "bo@x.y", "ANA.b@x.y", "cy@out.side", "áb@x.y"})
	phone := rapid.SampledFrom([]string{"", "+49 30 123", "123", "(0)30-1234"})
	text := rapid.SampledFrom([]string{"a", "an", "ana", "bo", "ana bo", "anabel", "cy", "ána", "bo@", "ana@x.y", "ab@x", "123", "030 123", "zz", "@x"})
	rapid.Check(t, func(t *rapid.T) {
		d := newDomains(rapid.SampledFrom([][]string{nil, {"x.y"}}).Draw(t, "domains"))
		x := newIndex(100, d)
		left := map[string]User{}
		for range rapid.IntRange(1, 25).Draw(t, "entries") {
			u := User{
				ID: id(rapid.IntRange(1, 9).Draw(t, "id")), DisplayName: name.Draw(t, "name"), Mail: address.Draw(t, "mail"),
				UserPrincipalName: address.Draw(t, "upn"), MobilePhone: phone.Draw(t, "phone"), Removed: rapid.IntRange(0, 3).Draw(t, "gone") == 0,
			}
			x.apply([]User{u})
			delete(left, u.ID)
			if !u.Removed {
				left[u.ID] = u
			}
		}
		q := SearchQuery{Limit: rapid.IntRange(1, 5).Draw(t, "limit")}
		if rapid.Bool().Draw(t, "by mail") {
			q.Mail = address.Draw(t, "searched mail")
		}
		if q.Mail == "" || rapid.Bool().Draw(t, "by text") {
			q.Text = text.Draw(t, "searched")
		}
		p, ok := parseQuery(q)
		if !ok {
			return
		}
		type hit struct {
			rank     int
			text, id string
		}
		var want []hit
		for _, u := range left {
			if rank := p.rank(userText(&u)); rank < rankGraphs && d.show(&u) {
				want = append(want, hit{rank, userText(&u), u.ID})
			}
		}
		slices.SortFunc(want, func(a, b hit) int {
			if a.rank != b.rank {
				return a.rank - b.rank
			}
			return strings.Compare(a.text+a.id, b.text+b.id)
		})
		got := x.search(p)
		if got.more != (len(want) > q.Limit) || len(got.list) != min(len(want), q.Limit) {
			t.Fatalf("%+v: %d hits, more: %v, want %d", q, len(got.list), got.more, len(want))
		}
		for i, u := range got.list {
			if u.ID != want[i].id || !equalUsers(u, left[u.ID]) {
				t.Fatalf("%+v: hit %d is %+v, want %+v", q, i, u, want[i])
			}
		}
	})
}

func TestTraitsNeverHideAMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := User{
			ID: id(1), DisplayName: rapid.String().Draw(t, "name"), UserPrincipalName: "u@x.y",
			Mail: rapid.StringMatching(`[a-zé.]{1,6}@[a-z]{1,5}`).Draw(t, "mail"), MobilePhone: rapid.StringMatching(`[0-9 +()]{0,12}`).Draw(t, "phone"),
		}
		cut := func(s string) string {
			r := []rune(s)
			return string(r[:rapid.IntRange(0, len(r)).Draw(t, "cut")])
		}
		var q SearchQuery
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			q.Text = cut(u.DisplayName)
		case 1:
			q.Text = cut(u.Mail)
		case 2:
			q.Mail = cut(u.Mail)
		case 3:
			q.Text = u.MobilePhone[rapid.IntRange(0, len(u.MobilePhone)).Draw(t, "from"):]
		}
		if p, ok := parseQuery(q); ok {
			text := userText(&u)
			if p.rank(text) < rankGraphs && !p.may(traitsOf(text)) {
				t.Fatalf("%+v matches %q but is passed over", q, text)
			}
		}
	})
}

// bigCompany makes n users with names like those of a real directory.
func bigCompany(n int) []User {
	first := strings.Fields("Ana Anna Bernd Bo Carla Carlos Chen David Elena Emma Fatima Franz Greta Hans Ivan Jana Jan John José Julia Karl Lara Liam Lin María Max Mia Nina Olga Omar Paul Pia Raj Rosa Sara Sven Tim Uwe Vera Wei Yan Zoë")
	last := strings.Fields("Adams Ahmed Bauer Becker Brandt Brown Costa Diaz Fischer García Gruber Hofmann Huber Ivanova Jansen Johnson Jones Kim Klein Koch Kumar Lang Lee López Maier Martin Meyer Moreau Müller Nguyen Novak Patel Peters Rossi Santos Schmidt Schulz Silva Singh Smith Sørensen Wagner Wang Weber Wolf Zhang")
	users := make([]User, n)
	for i := range users {
		f, l := first[rand.N(len(first))], last[rand.N(len(last))]
		local := fmt.Sprintf("%s.%s%d@contoso.com", fold(f), fold(l), i)
		users[i] = User{
			ID: id(i), DisplayName: f + " " + l, UserPrincipalName: local, Mail: local, IMAddresses: []string{local},
			ProxyAddresses: []string{"SMTP:" + local, fmt.Sprintf("smtp:u%d@contoso.com", i)},
			JobTitle:       "Engineer", Department: "Research and Development",
			BusinessPhones: []string{fmt.Sprintf("+49 30 %07d", rand.N(10_000_000))},
		}
	}
	return users
}

func BenchmarkIndexSearch(b *testing.B) {
	x := newIndex(200_000, newDomains([]string{"contoso.com"}))
	x.apply(bigCompany(100_000))
	for _, c := range []struct {
		name  string
		query SearchQuery
	}{
		{"a letter", SearchQuery{Text: "a"}},
		{"a common first name", SearchQuery{Text: "anna"}},
		{"a whole name", SearchQuery{Text: "anna müller"}},
		{"two beginnings", SearchQuery{Text: "an mu"}},
		{"the beginning of an address", SearchQuery{Text: "anna.mueller@"}},
		{"nobody", SearchQuery{Text: "xaver quint"}},
		{"mail", SearchQuery{Mail: "u4711"}},
		{"mail of everybody", SearchQuery{Mail: "u"}},
		{"a number", SearchQuery{Text: "+49 30 1234"}},
		{"an extension", SearchQuery{Text: "4711"}},
		{"a number everybody has", SearchQuery{Text: "+49 30"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.query.Limit = 100
			b.ReportAllocs()
			hits := 0
			for b.Loop() {
				p, _ := parseQuery(c.query)
				hits = len(x.search(p).list)
			}
			b.ReportMetric(float64(hits), "hits")
		})
	}
}

func BenchmarkIndexApply(b *testing.B) {
	users := bigCompany(10_000)
	b.ReportAllocs()
	for b.Loop() {
		x := newIndex(200_000, nil)
		x.apply(users)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(users)), "ns/user")
}
