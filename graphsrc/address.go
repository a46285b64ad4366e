package graphsrc

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of an address, in bytes (RFC 5321 4.5.3.1).
const (
	maxAddress = 254
	maxLocal   = 64
)

// ParseAddress brings user@domain, with or without "sip:" and in any case, to
// the form in which addresses are compared: lower case, without scheme. What
// cannot be anybody's address is an *Error of KindInvalid.
func ParseAddress(s string) (string, error) {
	n, ok := normalizeAddress(s)
	if !ok {
		return "", &Error{
			Op: "read address", Kind: KindInvalid, Code: CodeInvalidAddress,
			Message: "not of the form user@domain, too long, or with characters no directory has",
		}
	}
	return n, nil
}

// normalizeAddress is ParseAddress without an error to build. An address that
// is already normal is returned without allocating.
func normalizeAddress(s string) (string, bool) {
	if isPlain(s) {
		return s, true
	}
	s = strings.TrimSpace(s)
	if len(s) >= 4 && strings.EqualFold(s[:4], "sip:") {
		s = s[4:]
	}
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at > maxLocal || len(s) > maxAddress || !utf8.ValidString(s) {
		return "", false
	}
	for _, r := range s[:at] {
		if !localRune(r) {
			return "", false
		}
	}
	if !validDomain(s[at+1:]) {
		return "", false
	}
	s = strings.ToLower(s)
	// A few letters grow when lower-cased.
	return s, len(s) <= maxAddress
}

// isPlain recognizes the usual normal address, lower-case letters, digits and
// ".-_" round one '@', in one pass; false says nothing.
func isPlain(s string) bool {
	at, label := -1, 0
	if len(s) > maxAddress {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '@':
			if at >= 0 || i == 0 || i > maxLocal {
				return false
			}
			at, label = i, 0
		case c == '.' && at >= 0:
			if label == 0 {
				return false
			}
			label = 0
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || at < 0 && (c == '_' || c == '.'):
			label++
		default:
			return false
		}
		if at >= 0 && label > 63 {
			return false
		}
	}
	return at > 0 && label > 0
}

// localRune says what may stand before the '@'. It is RFC 5322's atext and the
// dot, without '/', '?', '%' and '`': none of them occurs in a directory, and
// each means something in a URL.
func localRune(r rune) bool {
	if r >= utf8.RuneSelf {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
	}
	return asciiAlnum(r) || strings.ContainsRune(".!#$&'*+-=^_{|}~", r)
}

func validDomain(d string) bool {
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, r := range label {
			if r >= utf8.RuneSelf {
				if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
					return false
				}
			} else if !asciiAlnum(r) && r != '-' {
				return false
			}
		}
	}
	return true
}

func asciiAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// Address returns the SIP address of a user, lower case and without scheme:
// the first imAddresses entry, else the sip entry of proxyAddresses (the
// primary one, spelt "SIP:", first), else the user principal name. It is empty
// if none of them is an address, as with guests.
func Address(u User) string {
	for _, a := range u.IMAddresses {
		if n, ok := normalizeAddress(a); ok {
			return n
		}
	}
	secondary := ""
	for _, p := range u.ProxyAddresses {
		if len(p) < 4 || !strings.EqualFold(p[:4], "sip:") {
			continue
		}
		n, ok := normalizeAddress(p)
		switch {
		case ok && p[:4] == "SIP:":
			return n
		case ok && secondary == "":
			secondary = n
		}
	}
	if secondary != "" {
		return secondary
	}
	// The principal name of a guest (ana_home.example#EXT#@…) is nobody's SIP
	// address: RFC 3261 has no '#' in the user part.
	if strings.Contains(u.UserPrincipalName, "#") {
		return ""
	}
	n, _ := normalizeAddress(u.UserPrincipalName)
	return n
}

// Ranks order the properties by which a user may be found, best first: where
// an address belongs to several users, the lowest rank has it.
const (
	rankUPN = iota
	rankIM
	rankSIPProxy
	rankMail
	rankSMTPProxy
	noRank
)

// eachAddress calls f with every normalized address of u and its rank. An
// address may come several times, its best rank first.
func eachAddress(u *User, f func(address string, rank int)) {
	one := func(s string, rank int) {
		if n, ok := normalizeAddress(s); ok {
			f(n, rank)
		}
	}
	one(u.UserPrincipalName, rankUPN)
	for _, a := range u.IMAddresses {
		one(a, rankIM)
	}
	proxies := func(scheme string, rank int) {
		for _, p := range u.ProxyAddresses {
			if len(p) > len(scheme) && strings.EqualFold(p[:len(scheme)], scheme) {
				one(p[len(scheme):], rank)
			}
		}
	}
	proxies("sip:", rankSIPProxy)
	one(u.Mail, rankMail)
	proxies("smtp:", rankSMTPProxy)
}

// rankOf says how well an address (normalized) fits a user; noRank if it is
// not one of the user's.
func rankOf(u *User, address string) int {
	best := noRank
	eachAddress(u, func(a string, rank int) {
		if a == address {
			best = min(best, rank)
		}
	})
	return best
}

// domainOf returns what follows the '@' of a normalized address.
func domainOf(address string) string {
	return address[strings.LastIndexByte(address, '@')+1:]
}
