package signin

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Names says how a name becomes an address. A name is user@domain, with or
// without "sip:", DOMAIN\user, or a bare user name, in ASCII and any letter
// case.
type Names struct {
	// DefaultDomain is the domain of bare user names; empty means that they
	// are refused.
	DefaultDomain string
	// Domains replaces the domain in front of a backslash, or behind an @: the
	// NetBIOS name, Kerberos realm or internal domain → the SIP domain. A
	// domain in front of a backslash that is not in it is refused, one behind
	// an @ is taken as it is.
	Domains map[string]string
}

// names is a Names that was checked.
type names struct {
	domain  string
	domains map[string]string
}

func newNames(n Names) (names, error) {
	out := names{domains: make(map[string]string, len(n.Domains))}
	if n.DefaultDomain != "" {
		domains, err := parseDomains([]string{n.DefaultDomain})
		if err != nil {
			return names{}, err
		}
		out.domain = domains[0]
	}
	for from, to := range n.Domains {
		key := strings.ToLower(strings.TrimSpace(from))
		if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`\@`, r) }) {
			return names{}, fmt.Errorf("domain %q: not the name of a Windows domain, a realm or a domain", from)
		}
		target, err := parseDomains([]string{to})
		if err != nil {
			return names{}, fmt.Errorf("domain %q: %w", from, err)
		}
		if _, ok := out.domains[key]; ok {
			return names{}, fmt.Errorf("domain %q: stands twice in the table", from)
		}
		out.domains[key] = target[0]
	}
	return out, nil
}

var (
	errName       = errors.New("not a user name")
	errNoDomain   = errors.New("a user name without a domain, and no default domain is configured")
	errNameDomain = errors.New("a Windows domain that is not in the table of domains")
)

// address returns the address that a name stands for. The errors do not repeat
// the name.
func (n names) address(name string) (string, error) {
	// Before anything is trimmed: a control character is a sign of smuggling,
	// wherever it stands, and text outside ASCII is decoded differently by
	// different programs.
	if len(name) > maxUserName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", errName
	}
	name = trimScheme(strings.ToLower(strings.TrimSpace(name)))
	if name == "" {
		return "", errName
	}
	if domain, user, ok := strings.Cut(name, `\`); ok {
		target, known := n.domains[domain]
		if !known {
			return "", errNameDomain
		}
		name = user + "@" + target
		if strings.Contains(user, "@") {
			return "", errName
		}
	} else if user, domain, ok := strings.Cut(name, "@"); ok {
		if target, known := n.domains[domain]; known {
			name = user + "@" + target
		}
	} else if n.domain == "" {
		return "", errNoDomain
	} else {
		name += "@" + n.domain
	}
	address, err := parseAddress(name)
	if err != nil {
		return "", errName
	}
	return address, nil
}

// account returns the one name under which attempts for user are counted: the
// address where the name stands for one, else the name.
func (n names) account(user string) string {
	if address, err := n.address(user); err == nil {
		return address
	}
	return strings.ToLower(strings.TrimSpace(cut(user, maxUserName)))
}

// displayName returns s as a display name: empty if it is no clean text.
func displayName(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "")
	if strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return cut(s, maxNameLen)
}
