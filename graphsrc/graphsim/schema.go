package graphsim

import (
	"strconv"
	"strings"

	"ucwagate/graphsrc/graphsim/odata"
)

// schema is what there is to know and to ask of a type of directory object.
type schema[T any] struct {
	name       string // in lower case
	properties []property[T]
}

// property is a property of a directory object: how to get it and what Graph
// lets one do with it.
type property[T any] struct {
	name string
	// get returns a string, a bool, a list of strings or nil.
	get func(T) any
	// usual properties come without $select; basic ones are shown to apps
	// that may read basic profiles only.
	usual, basic bool
	// operators that work in $filter, and those that need an advanced query.
	operators, advanced string
	list, boolean       bool // a collection of strings, true or false; else a string
	// $search looks at words (tokens), else at the beginning. It takes every
	// string by whose beginning $filter selects, and what says search.
	search, tokens bool
}

func (p property[T]) searchable() bool {
	return p.search || !p.list && (hasWord(p.operators, "startswith") || hasWord(p.advanced, "startswith"))
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

// find finds a property by name, in any case.
func (s schema[T]) find(name string) (property[T], bool) {
	for _, p := range s.properties {
		if strings.EqualFold(p.name, name) {
			return p, true
		}
	}
	return property[T]{}, false
}

// title is the name as error messages spell it.
func (s schema[T]) title() string { return strings.ToUpper(s.name[:1]) + s.name[1:] }

// getter gives $filter and $search the values of an object.
func (s schema[T]) getter(of T) odata.Getter {
	return func(name string) []string {
		p, ok := s.find(name)
		if !ok {
			return nil
		}
		switch value := p.get(of).(type) {
		case string:
			return []string{value}
		case bool:
			return []string{strconv.FormatBool(value)}
		case []string:
			return value
		}
		return nil
	}
}

// tokenized reports whether $search looks at the words of a property.
func (s schema[T]) tokenized(name string) bool {
	p, _ := s.find(name)
	return p.tokens
}

// checkSelection refuses properties that do not exist.
func (s schema[T]) checkSelection(selected []string) error {
	for _, name := range selected {
		if _, ok := s.find(name); !ok {
			return badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", name, s.name)
		}
	}
	return nil
}

// The documented bounds of filters.
const (
	maxIn        = 15
	maxEqualText = 120
)

// filter parses a filter and refuses what Graph does not support, or supports
// in advanced queries only.
func (s schema[T]) filter(text string, advanced bool) (*odata.Filter, error) {
	filter, err := odata.ParseFilter(text)
	if err != nil {
		return nil, badRequest("Invalid filter clause: %v.", err)
	}
	for _, use := range filter.Uses() {
		if err := s.checkUse(use, advanced); err != nil {
			return nil, err
		}
	}
	return filter, nil
}

func (s schema[T]) checkUse(use odata.Use, advanced bool) error {
	p, ok := s.find(use.Property)
	switch {
	case !ok:
		return badRequest("Invalid filter clause: Could not find a property named '%s' on type 'microsoft.graph.%s'.", use.Property, s.name)
	case p.list != use.Collection:
		return badRequest("Invalid filter clause: '%s' must %sstand in any().", p.name, map[bool]string{false: "not "}[p.list])
	case len(use.Values) > maxIn:
		return badRequest("Too many child clauses specified in search filter expression containing 'OR' operators: %d. Max allowed: %d.", len(use.Values), maxIn)
	}
	for _, v := range use.Values {
		if len([]rune(v.Text)) > maxEqualText {
			return badRequest("Invalid filter clause: a value of '%s' is longer than %d characters.", p.name, maxEqualText)
		}
		if p.boolean && (v.Quoted || v.Text != "true" && v.Text != "false") {
			return badRequest("Invalid filter clause: '%s' is compared with true or false.", p.name)
		}
		if !p.boolean && !v.Quoted && !v.Null {
			return badRequest("Invalid filter clause: '%s' is compared with a string in single quotes.", p.name)
		}
	}
	plain := hasWord(p.operators, use.Operator) && !use.Negated
	possible := plain || hasWord(p.operators, use.Operator) || hasWord(p.advanced, use.Operator)
	switch {
	case !possible:
		return unsupportedQuery("Unsupported or invalid query filter clause specified for property '%s' of resource '%s'.", p.name, s.title())
	case !plain && !advanced:
		return unsupportedQuery("The filter on property '%s' needs an advanced query: the header 'ConsistencyLevel: eventual' and $count=true.", p.name)
	}
	return nil
}

// search parses a $search expression, which is an advanced query by itself.
func (s schema[T]) search(c *call, text string) (*odata.Search, error) {
	if !c.eventual() {
		return nil, unsupportedQuery("Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'")
	}
	search, err := odata.ParseSearch(text)
	if err != nil {
		return nil, badRequest("Syntax error in $search: %v.", err)
	}
	for _, phrase := range search.Phrases() {
		if p, ok := s.find(phrase.Property); !ok || !p.searchable() {
			return nil, unsupportedQuery("$search is not supported for property '%s' of resource '%s'.", phrase.Property, s.title())
		}
	}
	return search, nil
}
