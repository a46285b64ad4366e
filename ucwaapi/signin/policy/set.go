package policy

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// party is somebody, in the one form in which sets have them.
type party struct{ address, domain string }

// parse accepts user@domain in any letter case, with or without "sip:". It
// allocates nothing for an address that is in lower case already.
func parse(s string) (party, bool) {
	if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII && unicode.ToLower(r) <= unicode.MaxASCII }) {
		return party{}, false // such as the Kelvin sign: two names would become one
	}
	s = strings.TrimPrefix(strings.ToLower(s), "sip:")
	at := strings.IndexByte(s, '@')
	if at <= 0 || !plainDomain(s[at+1:]) || !plainText(s[:at]) {
		return party{}, false
	}
	return party{s, s[at+1:]}, true
}

// plainDomain accepts no empty label: "contoso.com." is another name than
// "contoso.com" here, and nobody's.
func plainDomain(s string) bool {
	return s != "" && s[0] != '.' && s[len(s)-1] != '.' && plainText(s) && !strings.Contains(s, "..") && !strings.ContainsAny(s, "*@:")
}

// plainText refuses what is no part of an address.
func plainText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r == unicode.ReplacementChar || unicode.IsSpace(r) || unicode.IsControl(r) || r == ',' || r == ';' || r == '/' || r == '\\'
	})
}

// set is a compiled list.
type set struct {
	everybody bool
	addresses map[string]struct{}
	domains   map[string]struct{}
	below     map[string]struct{} // of domains whose subdomains are meant
	groups    []*set
}

// hasOrNil is has, where no list means everybody.
func (s *set) hasOrNil(who party) bool { return s == nil || s.has(who) }

func (s *set) has(who party) bool {
	if s.everybody {
		return true
	}
	if _, ok := s.addresses[who.address]; ok {
		return true
	}
	if _, ok := s.domains[who.domain]; ok {
		return true
	}
	if len(s.below) > 0 {
		for rest := who.domain; ; {
			_, parent, ok := strings.Cut(rest, ".")
			if !ok {
				break
			}
			if _, ok := s.below[parent]; ok {
				return true
			}
			rest = parent
		}
	}
	for _, g := range s.groups {
		if g.has(who) {
			return true
		}
	}
	return false
}

// compiler makes sets of lists and collects what is wrong with them.
type compiler struct {
	groups   map[string]*set
	problems []error
}

func (c *compiler) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// domainSet compiles the domains of the tenants.
func (c *compiler) domainSet(domains []string) *set {
	for _, d := range domains {
		if d = strings.TrimSpace(d); strings.ContainsAny(d, "@*:") {
			c.problem("domains: %q is not a domain", d)
		}
	}
	return c.set("domains", domains)
}

// set compiles a list; an empty one is nil.
func (c *compiler) set(where string, words []string) *set {
	if len(words) == 0 {
		return nil
	}
	s := &set{addresses: map[string]struct{}{}, domains: map[string]struct{}{}, below: map[string]struct{}{}}
	for _, w := range words {
		word := strings.ToLower(strings.TrimSpace(w))
		if name, ok := strings.CutPrefix(word, "group:"); ok {
			g := c.groups[strings.TrimSpace(name)]
			if g == nil {
				c.problem("%s: %q: there is no such group", where, w)
				continue
			}
			s.groups = append(s.groups, g)
		} else if !s.add(word) {
			c.problem("%s: %q is not a person, a domain, a group or *", where, w)
		}
	}
	return s
}

// plainSet compiles the members of a group, which may have none.
func (c *compiler) plainSet(where string, words []string) *set {
	s := &set{addresses: map[string]struct{}{}, domains: map[string]struct{}{}, below: map[string]struct{}{}}
	for _, w := range words {
		if !s.add(strings.ToLower(strings.TrimSpace(w))) {
			c.problem("%s: %q is not a person or a domain", where, w)
		}
	}
	return s
}

func (s *set) add(word string) bool {
	if word == "*" {
		s.everybody = true
		return true
	}
	if parent, ok := strings.CutPrefix(word, "*."); ok {
		s.below[parent] = struct{}{}
		return plainDomain(parent)
	}
	if who, ok := parse(word); ok {
		s.addresses[who.address] = struct{}{}
		return true
	}
	word = strings.TrimPrefix(word, "@")
	s.domains[word] = struct{}{}
	return plainDomain(word)
}

// ReadGroup reads the members of a group, one person or domain a line. Blank
// lines and lines that begin with # are skipped. The error tells the line.
func ReadGroup(r io.Reader) ([]string, error) {
	var members []string
	check := compiler{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		check.plainSet(fmt.Sprintf("line %d", n), []string{line})
		members = append(members, line)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading a group: %w", err)
	}
	if len(check.problems) > 0 {
		return nil, check.problems[0]
	}
	return members, nil
}
