package graphsrc

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// What is searched is one string for each user or group,
//
//	␠ana␠maria␠lopez ⟨1⟩ana.lopez@contoso.com ⟨2⟩ana@contoso.com ⟨3⟩49301234 ⟨0⟩
//
// the words of the name, each after a space, then mail addresses, other
// addresses and phone numbers, each after its mark. Everything is folded, so
// that no part holds a mark or, but for the name, a space; every part is followed by
// a byte below a space. Compared as strings such texts are in the order of names.
const (
	markEnd   = "\x00"
	markMail  = "\x01"
	markOther = "\x02"
	markPhone = "\x03"
)

// userText is the text of a user.
func userText(u *User) string {
	var b strings.Builder
	addName(&b, u.DisplayName)
	var seen [16]string
	have := seen[:0]
	add := func(mark, address string) {
		n, ok := normalizeAddress(address)
		if !ok {
			return
		}
		n = foldAddress(n)
		for _, one := range have {
			if one == n {
				return
			}
		}
		have = append(have, n)
		b.WriteString(mark)
		b.WriteString(n)
	}
	add(markMail, u.Mail)
	for _, a := range u.OtherMails {
		add(markMail, a)
	}
	for _, p := range u.ProxyAddresses {
		if a, ok := cutScheme(p, "smtp:"); ok {
			add(markMail, a)
		}
	}
	add(markOther, u.UserPrincipalName)
	for _, a := range u.IMAddresses {
		add(markOther, a)
	}
	for _, p := range u.ProxyAddresses {
		if a, ok := cutScheme(p, "sip:"); ok {
			add(markOther, a)
		}
	}
	for _, n := range append([]string{u.MobilePhone}, u.BusinessPhones...) {
		if d := digitsOf(n); d != "" {
			b.WriteString(markPhone)
			b.WriteString(d)
		}
	}
	b.WriteString(markEnd)
	return b.String()
}

// groupText is the text of a group.
func groupText(g *Group) string {
	var b strings.Builder
	addName(&b, g.DisplayName)
	if a, ok := normalizeAddress(g.Mail); ok {
		b.WriteString(markMail)
		b.WriteString(foldAddress(a))
	}
	b.WriteString(markEnd)
	return b.String()
}

func addName(b *strings.Builder, name string) {
	for _, w := range wordsOf(fold(name)) {
		b.WriteByte(' ')
		b.WriteString(w)
	}
}

// wordsOf splits text into its letters, digits and marks.
func wordsOf(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !wordRune(r) })
}

func wordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r))
}

// fold brings text to the form in which it is compared: lower case, without
// diacritics, compatible forms of a letter made one.
func fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range norm.NFKD.String(s) {
		switch r = unicode.ToLower(r); r {
		case 'ß':
			b.WriteString("ss")
		case 'æ':
			b.WriteString("ae")
		case 'œ':
			b.WriteString("oe")
		case 'þ':
			b.WriteString("th")
		case 'ø':
			b.WriteByte('o')
		case 'ł':
			b.WriteByte('l')
		case 'đ', 'ð':
			b.WriteByte('d')
		case 'ı':
			b.WriteByte('i')
		case 'ς':
			b.WriteRune('σ')
		default:
			if !unicode.Is(unicode.Mn, r) {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// foldAddress folds a normalized address. A few letters decompose into a space
// and a mark; an address has no space.
func foldAddress(a string) string {
	if isASCII(a) {
		return a
	}
	return strings.ReplaceAll(fold(a), " ", "")
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// digitsOf returns the digits of a phone number, without the "(0)" that is only
// dialled inside a country.
func digitsOf(number string) string {
	number = strings.ReplaceAll(number, "(0)", "")
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, number)
}

// cutScheme removes a scheme, in any case, from the front of an address.
func cutScheme(s, scheme string) (string, bool) {
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return s, false
	}
	return s[len(scheme):], true
}

// traits say in 16 bytes what a text may match, so that most of those that do
// not are passed over without being read.
type traits struct {
	begins uint64 // a bit for the first one, two and three bytes of each word and address
	phones uint64 // a bit for every three digits in a row
}

func traitsOf(text string) traits {
	var t traits
	mark := byte(0)
	start := 0
	end := func(i int) {
		switch part := text[start:i]; mark {
		case ' ', markMail[0], markOther[0]:
			t.begins |= beginning(part)
		case markPhone[0]:
			t.phones |= triples(part)
		}
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' {
			end(i)
			mark, start = c, i+1
		}
	}
	return t
}

// beginning has a bit for each of the first one, two and three bytes of s.
func beginning(s string) (bits uint64) {
	h := uint64(0)
	for i := range min(len(s), 3) {
		h = h<<8 | uint64(s[i])
		bits |= bitOf(h)
	}
	return bits
}

// triples has a bit for every three bytes in a row of s.
func triples(s string) (bits uint64) {
	for i := 0; i+3 <= len(s); i++ {
		bits |= bitOf(uint64(s[i])<<16 | uint64(s[i+1])<<8 | uint64(s[i+2]))
	}
	return bits
}

// bitOf spreads values over 64 bits (Fibonacci hashing).
func bitOf(h uint64) uint64 { return 1 << (h * 0x9E3779B97F4A7C15 >> 58) }
