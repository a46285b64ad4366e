package odata

import "strings"

// Getter returns the values of a property of the object at hand: none for
// null, several for a collection. Booleans are "true" and "false".
type Getter func(property string) []string

// Literal is a constant of an expression.
type Literal struct {
	Text   string
	Quoted bool
	Null   bool
}

// Use is one place in which an expression refers to a property.
type Use struct {
	Property   string
	Collection bool   // inside any()
	Operator   string // eq, ne, ge, le, gt, lt, in, startswith, endswith
	Negated    bool   // below a not
	Values     []Literal
}

// Equality says that a property, or an item of a collection, equals a value.
type Equality struct{ Property, Value string }

// Match reports whether the object satisfies the filter. Strings compare
// without regard to case, as the directory does it.
func (f *Filter) Match(get Getter) bool { return f.root.match(get) }

// Uses lists all references to properties, from left to right.
func (f *Filter) Uses() []Use {
	var uses []Use
	f.root.visit(func(u Use) { uses = append(uses, u) }, false)
	return uses
}

// Candidates returns equalities one of which holds for every object that
// matches; ok is false where there are none and all objects must be tried.
func (f *Filter) Candidates() (equalities []Equality, ok bool) { return f.root.candidates() }

type comparison struct {
	use    Use
	values []Literal
}

func (c comparison) match(get Getter) bool {
	have := get(c.use.Property)
	if len(have) == 0 {
		return c.matchNull()
	}
	if c.use.Operator == "ne" {
		return !c.holdsForAny(have, "eq")
	}
	return c.holdsForAny(have, c.use.Operator)
}

// matchNull compares an absent value: equal to null only.
func (c comparison) matchNull() bool {
	for _, v := range c.values {
		if v.Null && (c.use.Operator == "eq" || c.use.Operator == "in") {
			return true
		}
	}
	return c.use.Operator == "ne" && !c.values[0].Null
}

func (c comparison) holdsForAny(have []string, operator string) bool {
	for _, text := range have {
		folded := strings.ToLower(text)
		for _, v := range c.values {
			if !v.Null && compare(operator, folded, strings.ToLower(v.Text)) {
				return true
			}
		}
	}
	return false
}

func compare(operator, have, want string) bool {
	switch operator {
	case "eq", "in":
		return have == want
	case "ge":
		return have >= want
	case "le":
		return have <= want
	case "gt":
		return have > want
	case "lt":
		return have < want
	case "startswith":
		return strings.HasPrefix(have, want)
	default:
		return strings.HasSuffix(have, want)
	}
}

func (c comparison) visit(see func(Use), inNot bool) {
	use := c.use
	use.Negated, use.Values = inNot, c.values
	see(use)
}

func (c comparison) candidates() ([]Equality, bool) {
	if c.use.Operator != "eq" && c.use.Operator != "in" {
		return nil, false
	}
	var equalities []Equality
	for _, v := range c.values {
		if v.Null {
			return nil, false
		}
		equalities = append(equalities, Equality{c.use.Property, v.Text})
	}
	return equalities, true
}

// anyNode holds if its body holds for one item of a collection.
type anyNode struct {
	collection string
	body       node
}

func (n anyNode) match(get Getter) bool {
	for _, item := range get(n.collection) {
		if n.body.match(func(string) []string { return []string{item} }) {
			return true
		}
	}
	return false
}

func (n anyNode) visit(see func(Use), inNot bool) { n.body.visit(see, inNot) }

func (n anyNode) candidates() ([]Equality, bool) { return n.body.candidates() }

type notNode struct{ inner node }

func (n notNode) match(get Getter) bool          { return !n.inner.match(get) }
func (n notNode) visit(see func(Use), _ bool)    { n.inner.visit(see, true) }
func (n notNode) candidates() ([]Equality, bool) { return nil, false }

type allOf []node

func (n allOf) match(get Getter) bool {
	for _, part := range n {
		if !part.match(get) {
			return false
		}
	}
	return true
}

func (n allOf) visit(see func(Use), inNot bool) {
	for _, part := range n {
		part.visit(see, inNot)
	}
}

func (n allOf) candidates() ([]Equality, bool) {
	for _, part := range n {
		if equalities, ok := part.candidates(); ok {
			return equalities, true
		}
	}
	return nil, false
}

type anyOf []node

func (n anyOf) match(get Getter) bool {
	for _, part := range n {
		if part.match(get) {
			return true
		}
	}
	return false
}

func (n anyOf) visit(see func(Use), inNot bool) {
	for _, part := range n {
		part.visit(see, inNot)
	}
}

func (n anyOf) candidates() ([]Equality, bool) {
	var all []Equality
	for _, part := range n {
		equalities, ok := part.candidates()
		if !ok {
			return nil, false
		}
		all = append(all, equalities...)
	}
	return all, true
}
