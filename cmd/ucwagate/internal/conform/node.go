package conform

import "slices"

// node is a resource, whatever its representation.
type node struct {
	rel, href  string
	properties []property
	links      []link
	embedded   []child
	// first is the name of the first member, in JSON.
	first string
	// arrays tells of the rels in JSON whether they are arrays; a rel that is in
	// both links and embedded is there under both.
	arrays map[string]bool
	// faults are what the parser saw.
	faults []fault
}

// kind is the type of a value.
type kind int

const (
	kindText kind = iota
	kindInteger
	kindNumber // with a fraction
	kindBoolean
	kindList
	kindOther // an object, a list of something else than texts
)

func (k kind) String() string {
	return [...]string{"a string", "an integer", "a number with a fraction", "a boolean", "a list", "an object or a list of objects"}[k]
}

type property struct {
	name string
	kind kind
	text string   // of a scalar
	raw  string   // of a scalar in JSON: as it was written, with its quotes
	list []string // of a list
}

type link struct {
	rel, href, revision string
	// within is the rel of the resource that has the link, in what hrefs returns.
	within string
}

type child struct {
	rel  string // the key in JSON
	node *node
}

// fault is a rule that a body breaks.
type fault struct{ rule, seen string }

func (n *node) fault(rule, seen string) { n.faults = append(n.faults, fault{rule, seen}) }

// property returns a property, or nil.
func (n *node) property(name string) *property {
	if n == nil {
		return nil
	}
	for i := range n.properties {
		if n.properties[i].name == name {
			return &n.properties[i]
		}
	}
	return nil
}

// text returns the value of a scalar property, or an empty text.
func (n *node) text(name string) string {
	if p := n.property(name); p != nil {
		return p.text
	}
	return ""
}

// link returns the href of the first link of a rel, or an empty text.
func (n *node) link(rel string) string {
	if n == nil {
		return ""
	}
	for _, l := range n.links {
		if l.rel == rel {
			return l.href
		}
	}
	return ""
}

// linksTo returns the hrefs of all links of a rel.
func (n *node) linksTo(rel string) (hrefs []string) {
	if n == nil {
		return nil
	}
	for _, l := range n.links {
		if l.rel == rel {
			hrefs = append(hrefs, l.href)
		}
	}
	return hrefs
}

// embeds returns the embedded resources of a rel.
func (n *node) embeds(rel string) (list []*node) {
	if n == nil {
		return nil
	}
	for _, c := range n.embedded {
		if c.rel == rel {
			list = append(list, c.node)
		}
	}
	return list
}

// embed returns the first embedded resource of a rel, or nil.
func (n *node) embed(rel string) *node {
	if list := n.embeds(rel); len(list) > 0 {
		return list[0]
	}
	return nil
}

// missing returns those of the rels that are neither linked nor embedded.
func (n *node) missing(rels ...string) (list []string) {
	for _, rel := range rels {
		if n.link(rel) == "" && n.embed(rel) == nil {
			list = append(list, rel)
		}
	}
	return list
}

// each calls f for the node and all that it embeds.
func (n *node) each(f func(*node)) {
	f(n)
	for _, c := range n.embedded {
		c.node.each(f)
	}
}

// hrefs returns what the node and all that it embeds link, with the rels,
// themselves included.
func (n *node) hrefs() (list []link) {
	n.each(func(n *node) {
		list = append(list, link{rel: n.rel, href: n.href})
		for _, l := range n.links {
			l.within = n.rel
			list = append(list, l)
		}
	})
	return list
}

// multiValued are the rels that are arrays by definition.
var multiValued = []string{
	"contact", "group", "distributionGroup", "presenceSubscription", "presenceSubscriptionMembership", "myGroupMembership",
	"myPrivacyRelationship", "application", "conversation",
}

// multi says whether a rel in a resource is multi-valued by definition. A
// membership links one contact, one group and one subscription.
func multi(within, rel string) bool {
	switch within {
	case "myGroupMembership", "presenceSubscriptionMembership":
		return false
	}
	return slices.Contains(multiValued, rel)
}
