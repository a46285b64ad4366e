package conform

import (
	"fmt"
	"io"
	"slices"
)

// Class groups rules by what they are about.
type Class string

// The classes of rules.
const (
	ClassDiscovery     Class = "discovery"
	ClassChallenge     Class = "challenge"
	ClassToken         Class = "token"
	ClassXFrame        Class = "xframe"
	ClassApplication   Class = "application"
	ClassMe            Class = "me"
	ClassHref          Class = "href"
	ClassTypes         Class = "types"
	ClassEnums         Class = "enums"
	ClassArrays        Class = "arrays"
	ClassDates         Class = "dates"
	ClassNulls         Class = "nulls"
	ClassIdentity      Class = "identity"
	ClassBoth          Class = "both"
	ClassJSON          Class = "json"
	ClassXML           Class = "xml"
	ClassHeaders       Class = "headers"
	ClassErrors        Class = "errors"
	ClassVersioning    Class = "versioning"
	ClassSubscriptions Class = "subscriptions"
	ClassEvents        Class = "events"
	ClassContacts      Class = "contacts"
	ClassGroups        Class = "groups"
	ClassSearch        Class = "search"
	ClassPhotos        Class = "photos"
	ClassBatch         Class = "batch"
	ClassStubs         Class = "stubs"
	ClassPolicies      Class = "policies"
	ClassTolerance     Class = "tolerance"
	ClassDeletion      Class = "deletion"
)

// Rule is one thing that UCWA demands.
type Rule struct {
	// ID names the rule, such as "href.relative". It is stable.
	ID    string
	Class Class
	// Says is the rule as a sentence.
	Says string
	// Source is the page or topic of the UCWA documentation the rule is from,
	// or "known clients" for what is not documented and seen to break one.
	Source string
}

// Rules returns the table of rules, in the order of the classes, for
// documentation and tests.
func Rules() []Rule { return slices.Concat(signInRules, formRules, resourceRules, behaviourRules) }

// Classes returns the names of the classes of rules, in their order.
func Classes() []string {
	var names []string
	for _, r := range Rules() {
		if name := string(r.Class); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// List prints all rules, one per line: id, class, sentence and source.
func List(w io.Writer) error {
	for _, r := range Rules() {
		if _, err := fmt.Fprintf(w, "%-34s %-14s %s (ucwa: %s)\n", r.ID, r.Class, r.Says, r.Source); err != nil {
			return fmt.Errorf("printing the rules: %w", err)
		}
	}
	return nil
}

// index finds rules by id.
func index() map[string]*Rule {
	all := Rules()
	byID := make(map[string]*Rule, len(all))
	for i := range all {
		byID[all[i].ID] = &all[i]
	}
	return byID
}
