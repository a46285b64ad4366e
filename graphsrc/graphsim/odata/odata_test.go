package odata

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var anna = map[string][]string{
	"displayName":       {"Anna O'Neil"},
	"mail":              {"anna@contoso.test"},
	"userPrincipalName": {"anna@contoso.test"},
	"imAddresses":       {"anna@contoso.test", "ao@contoso.test"},
	"proxyAddresses":    {"SMTP:anna@contoso.test", "sip:anna@contoso.test"},
	"accountEnabled":    {"true"},
	"jobTitle":          {},
}

func get(name string) []string {
	for have, values := range anna {
		if strings.EqualFold(have, name) {
			return values
		}
	}
	return nil
}

func TestFilterMatches(t *testing.T) {
	for text, want := range map[string]bool{
		"mail eq 'anna@contoso.test'":                                      true,
		"mail EQ 'ANNA@contoso.test'":                                      true,
		"mail ne 'anna@contoso.test'":                                      false,
		"displayName eq 'Anna O''Neil'":                                    true,
		"startswith(displayName,'anna')":                                   true,
		"startsWith(displayName, 'Bert')":                                  false,
		"endswith(mail,'contoso.test')":                                    true,
		"mail in ('x','anna@contoso.test')":                                true,
		"mail in ('x')":                                                    false,
		"imAddresses/any(x:x eq 'ao@contoso.test')":                        true,
		"imAddresses/any(i:startswith(i,'ao@'))":                           true,
		"proxyAddresses/any(p:p eq 'SIP:anna@contoso.test' or p eq 'z')":   true,
		"proxyAddresses/any(p:p eq 'sip:nobody')":                          false,
		"accountEnabled eq true":                                           true,
		"accountEnabled eq false":                                          false,
		"jobTitle eq null":                                                 true,
		"jobTitle ne null":                                                 false,
		"mail ne null":                                                     true,
		"not(mail eq 'x') and accountEnabled eq true":                      true,
		"not not (mail eq 'x')":                                            false,
		"mail eq 'x' or mail eq 'y' and mail eq 'z' or displayName ge 'A'": true,
		"(mail eq 'x' or mail eq 'anna@contoso.test') and startswith(displayName,'bar')": false,
		"displayName gt 'zz'":   false,
		"displayName lt 'zz'":   true,
		"displayName le 'Anna'": false,
	} {
		f, err := ParseFilter(text)
		require.NoError(t, err, text)
		require.Equal(t, want, f.Match(get), text)
	}
}

func TestMalformedFiltersSayWhere(t *testing.T) {
	for text, at := range map[string]int{
		"":                               0,
		"mail":                           4,
		"mail eq":                        7,
		"mail eq 'x":                     8,
		"mail eq x":                      8,
		"mail like 'x'":                  5,
		"mail eq 'x' and":                15,
		"mail eq 'x')":                   11,
		"(mail eq 'x'":                   12,
		"contains(mail,'x')":             0,
		"imAddresses/any(x:y eq 'a')":    18,
		"imAddresses/any(x eq 'a')":      18,
		"a/any(x:b/any(y:y eq 'a'))":     8,
		"mail in ()":                     9,
		"mail in ('a'":                   12,
		"mail eq 'x' ; drop":             12,
		"startswith(mail 'x')":           16,
		"mail eq \xff":                   0,
		strings.Repeat("(", 100) + "a":   64,
		"mail eq 'x' displayName eq 'y'": 12,
	} {
		_, err := ParseFilter(text)
		var syntax *SyntaxError
		require.True(t, errors.As(err, &syntax), text)
		require.Equal(t, at, syntax.At, "%s: %v", text, err)
	}
}

func TestCandidatesNarrowDownWhatCanMatch(t *testing.T) {
	for text, want := range map[string][]string{
		"mail eq 'a'": {"mail=a"},
		"mail eq 'a' or imAddresses/any(x:x eq 'b')":              {"mail=a", "imAddresses=b"},
		"mail in ('a','b')":                                       {"mail=a", "mail=b"},
		"startswith(displayName,'x') and mail eq 'a'":             {"mail=a"},
		"mail eq 'a' or startswith(displayName,'x')":              nil,
		"not (mail eq 'a')":                                       nil,
		"mail ne 'a'":                                             nil,
		"mail eq null":                                            nil,
		"mail eq 'a' and (displayName eq 'b' or jobTitle eq 'c')": {"mail=a"},
	} {
		f, err := ParseFilter(text)
		require.NoError(t, err, text)
		equalities, ok := f.Candidates()
		require.Equal(t, want != nil, ok, text)
		var have []string
		for _, e := range equalities {
			have = append(have, e.Property+"="+e.Value)
		}
		require.Equal(t, want, have, text)
	}
}

func TestUsesTellWhatAnExpressionRefersTo(t *testing.T) {
	f, err := ParseFilter("not(startswith(mail,'a')) and otherMails/any(m:m in ('x','y'))")
	require.NoError(t, err)
	require.Equal(t, []Use{
		{Property: "mail", Operator: "startswith", Negated: true, Values: []Literal{{Text: "a", Quoted: true}}},
		{Property: "otherMails", Collection: true, Operator: "in", Values: []Literal{{Text: "x", Quoted: true}, {Text: "y", Quoted: true}}},
	}, f.Uses())
}

func TestSearchMatches(t *testing.T) {
	words := func(name string) bool { return name == "displayName" }
	for text, want := range map[string]bool{
		`"displayName:ann"`:                                true,
		`"displayName:neil ann"`:                           true,
		`"displayName:nna"`:                                false,
		`"mail:anna@"`:                                     true,
		`"mail:contoso"`:                                   false,
		`"mail:x" OR "displayName:O'Neil"`:                 true,
		`"mail:x" AND "displayName:anna"`:                  false,
		`"mail:x" OR "mail:anna" AND "mail:x"`:             false,
		`("mail:x" OR "mail:anna") AND "displayName:neil"`: true,
		`"displayName:neil"AND("mail:x"OR"mail:anna")`:     true,
		`(("mail:x" OR ("mail:y" AND "mail:anna")))`:       false,
		`"displayName:\"anna\""`:                           true,
		`"displayName:an\\na"`:                             false,
		`"displayName:---"`:                                false,
		` "displayName:anna"  AND  "mail:anna@con" `:       true,
		`"proxyAddresses:sip:anna@"`:                       true,
		`"jobTitle:x"`:                                     false,
		`"displayName:` + strings.Repeat("anna ", 50) + `" AND "mail:ANNA"`: true,
	} {
		s, err := ParseSearch(text)
		require.NoError(t, err, text)
		require.Equal(t, want, s.Match(get, words), text)
	}
}

func TestWordsAreCutAsDocumented(t *testing.T) {
	for value, searches := range map[string]map[string]bool{
		"李四(David Li)":           {"李四(David Li)": true, "李四": true, "David": true, "Li": true, "David)": true, "(李四": true, "Li 李": true, "avid": false},
		"HelloWorld":             {"hello": true, "world": true, "HelloWorld": true, "helloworld": false},
		"hello.world":            {"world": true, "helloworld": true, "hello.world": true, ".": false},
		"Hello-World 2":          {"helloworld": true, "hello 2": true, "3": false},
		"hello123world":          {"123": true, "world": true, "hello1": true, "23": false},
		"HELLOworld":             {"helloworld": true, "world": false},
		"Jose\u0301 Nu\u0301ñez": {"jose\u0301": true, "nu\u0301ñ": true},
		"":                       {"a": false},
	} {
		for text, want := range searches {
			s, err := ParseSearch(`"displayName:` + text + `"`)
			require.NoError(t, err, text)
			found := s.Match(func(string) []string { return []string{value} }, func(string) bool { return true })
			require.Equal(t, want, found, "%q in %q", text, value)
		}
	}
}

func TestMalformedSearchesSayWhere(t *testing.T) {
	for text, at := range map[string]int{
		"": 0, "anna": 0, `"anna"`: 0, `"displayName:"`: 0, `":x"`: 0, `"displayName:x`: 0, `"a:b" XOR "c:d"`: 6, `"a:b" AND`: 6, `"a:b" AND `: 10,
		`"a:b" and "c:d"`: 6, `"a:b" "c:d"`: 6, `("a:b"`: 6, `"a:b")`: 5, `()`: 1, `"a:b" ANDOR "c:d"`: 6, `"a:b\c"`: 4, `"a:b\`: 4, `"a:b"c"`: 5,
		strings.Repeat("(", 70) + `"a:b"`: 64,
	} {
		_, err := ParseSearch(text)
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, text)
		require.Equal(t, at, syntax.At, "%s: %v", text, err)
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, seed := range []string{
		"mail eq 'a'", "imAddresses/any(x:x eq 'b')", "not (a in ('x','y')) or startswith(b,'c''d')", "((a eq true))", "a/any(", "'", "a eq -1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := ParseFilter(text)
		if err != nil {
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.LessOrEqual(t, syntax.At, len(text))
			return
		}
		require.NotEmpty(t, filter.Uses())
		matched := filter.Match(get)
		// What matches must be among the candidates, if there are any.
		if equalities, ok := filter.Candidates(); ok && matched {
			require.True(t, slices.ContainsFunc(equalities, func(e Equality) bool {
				return slices.ContainsFunc(get(e.Property), func(v string) bool {
					return strings.EqualFold(v, e.Value)
				})
			}), text)
		}
	})
}

func FuzzParseSearch(f *testing.F) {
	f.Add(`"displayName:a" AND "mail:b"`)
	f.Add(`"a:\"`)
	f.Add(`("a:b" OR "c:d\\")AND"e:\"f"`)
	f.Fuzz(func(t *testing.T, text string) {
		search, err := ParseSearch(text)
		if err != nil {
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.LessOrEqual(t, syntax.At, len(text))
			return
		}
		require.NotEmpty(t, search.Phrases())
		search.Match(get, func(string) bool { return true })
	})
}
