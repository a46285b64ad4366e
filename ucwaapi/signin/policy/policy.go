package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ucwagate/ucwaapi/signin"
)

// Options are the rules. In all lists a word is one of
//
//	ana@contoso.com   a person
//	contoso.com       everybody of a domain; @contoso.com is the same
//	*.contoso.com     everybody of the domains below it, not of itself
//	group:helpdesk    everybody whom Groups names under helpdesk
//	*                 everybody
//
// in any letter case. Deny comes before allow, always.
type Options struct {
	// Domains are those of the configured tenants. Where no rule says
	// otherwise, their people may sign in, publish, and be read; people of
	// other domains may not. Empty means every domain.
	Domains []string
	// SignIn says who may sign in.
	SignIn Access
	// Publish says who, of those who may sign in, may publish their presence.
	Publish Access
	// Read says who may read whom. Everybody may read themselves.
	Read []Rule
	// ReadNobody makes what no rule allows refused: without it, readers whom
	// no allowing rule names may read everybody of Domains.
	ReadNobody bool
	// Groups are the members of groups: persons and domains, no groups.
	Groups map[string][]string
}

// Access is one pair of lists.
type Access struct {
	// Allow names who may; empty means everybody of Domains. Naming somebody
	// of another domain lets them in.
	Allow []string
	// Deny names who may not.
	Deny []string
}

// Rule is about some readers and those whom they read.
type Rule struct {
	// Readers are those who read; empty means everybody.
	Readers []string
	// People are those who are read; empty means everybody.
	People []string
	// Deny makes the rule one that refuses. Without it the rule allows, and
	// its readers may read nobody but those whom such rules name for them.
	Deny bool
}

// Policy answers questions about Options. It is immutable and safe for use by
// several goroutines; to change the rules, put another in its place.
type Policy struct {
	domains         *set // nil: every domain
	signIn, publish access
	allow, deny     []rule
	readNobody      bool
}

type access struct{ allow, deny *set } // nil: an empty list

type rule struct{ readers, people *set } // nil: everybody

// New compiles the rules. The error lists all that is wrong with them.
func New(o Options) (*Policy, error) {
	c := compiler{groups: map[string]*set{}}
	for name, members := range o.Groups {
		key := strings.ToLower(strings.TrimSpace(name))
		if key == "" || c.groups[key] != nil {
			c.problem("group %q: a name that is empty or stands twice", name)
			continue
		}
		c.groups[key] = c.plainSet("group "+name, members)
	}
	p := &Policy{
		domains: c.domainSet(o.Domains),
		signIn:  access{c.set("sign-in allow", o.SignIn.Allow), c.set("sign-in deny", o.SignIn.Deny)},
		publish: access{c.set("publish allow", o.Publish.Allow), c.set("publish deny", o.Publish.Deny)},

		readNobody: o.ReadNobody,
	}
	for i, r := range o.Read {
		where := fmt.Sprintf("read rule %d", i+1)
		compiled := rule{c.set(where, r.Readers), c.set(where, r.People)}
		if r.Deny {
			p.deny = append(p.deny, compiled)
		} else {
			p.allow = append(p.allow, compiled)
		}
	}
	slices.SortFunc(c.problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if err := errors.Join(c.problems...); err != nil {
		return nil, err
	}
	return p, nil
}

// MaySignIn returns nil, or a *Refusal. It suits signin.Options.MaySignIn.
func (p *Policy) MaySignIn(id signin.Identity) error {
	if who, ok := parse(id.Address); ok && p.signIn.admits(who, p.domains) {
		return nil
	}
	refused := refusedSignIn
	return &refused
}

// MayPublish reports whether id may publish presence, note and location. It
// does not ask whether id may sign in.
func (p *Policy) MayPublish(id signin.Identity) bool {
	who, ok := parse(id.Address)
	return ok && p.publish.admits(who, p.domains)
}

// MayRead reports whether id may read the presence, and all that belongs to a
// contact, of the person at address: user@domain, with or without "sip:".
func (p *Policy) MayRead(id signin.Identity, address string) bool {
	reader, ok := parse(id.Address)
	person, ok2 := parse(address)
	switch {
	case !ok || !ok2:
		return false
	case reader == person:
		return true
	}
	for _, r := range p.deny {
		if r.readers.hasOrNil(reader) && r.people.hasOrNil(person) {
			return false
		}
	}
	named := false
	for _, r := range p.allow {
		if r.readers.hasOrNil(reader) {
			if r.people.hasOrNil(person) {
				return true
			}
			named = true
		}
	}
	return !named && !p.readNobody && p.domains.hasOrNil(person)
}

func (a access) admits(who party, domains *set) bool {
	switch {
	case a.deny != nil && a.deny.has(who):
		return false
	case a.allow != nil:
		return a.allow.has(who)
	default:
		return domains.hasOrNil(who)
	}
}
