package odata

import (
	"fmt"
	"strings"
)

// maxDepth bounds nesting, so that an expression cannot exhaust the stack.
const maxDepth = 64

// Filter is a parsed $filter expression.
type Filter struct{ root node }

// ParseFilter parses an expression of comparisons (eq, ne, ge, le, gt, lt,
// in), startswith, endswith, any(x:…), not, and, or and parentheses. Errors
// are *SyntaxError.
func ParseFilter(text string) (*Filter, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokenEnd {
		return nil, p.unexpected(t)
	}
	return &Filter{root}, nil
}

// node is a part of an expression.
type node interface {
	match(get Getter) bool
	visit(see func(Use), inNot bool)
	// candidates returns equalities one of which holds whenever the node
	// does; ok is false if the node cannot be narrowed down like this.
	candidates() (equalities []Equality, ok bool)
}

type parser struct {
	tokens []token
	next   int
	depth  int
	// variable and collection are those of the lambda being parsed.
	variable, collection string
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) take() token {
	t := p.tokens[p.next]
	if t.kind != tokenEnd {
		p.next++
	}
	return t
}

func (p *parser) unexpected(t token) error {
	if t.kind == tokenEnd {
		return &SyntaxError{t.at, "the expression ends too early"}
	}
	return &SyntaxError{t.at, fmt.Sprintf("unexpected %q", t.text)}
}

func (p *parser) punct(want string) error {
	if t := p.take(); t.kind != tokenPunct || t.text != want {
		return p.unexpected(t)
	}
	return nil
}

// keyword takes the next word if it is that one, in any case.
func (p *parser) keyword(word string) bool {
	if t := p.peek(); t.kind == tokenWord && strings.EqualFold(t.text, word) {
		p.next++
		return true
	}
	return false
}

func (p *parser) or() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, &SyntaxError{p.peek().at, "the expression is nested too deeply"}
	}
	defer func() { p.depth-- }()
	return p.chain("or", p.and, func(parts []node) node { return anyOf(parts) })
}

func (p *parser) and() (node, error) {
	return p.chain("and", p.unary, func(parts []node) node { return allOf(parts) })
}

// chain parses parts separated by a keyword.
func (p *parser) chain(word string, part func() (node, error), join func([]node) node) (node, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	parts := []node{first}
	for p.keyword(word) {
		n, err := part()
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
	}
	if len(parts) == 1 {
		return first, nil
	}
	return join(parts), nil
}

func (p *parser) unary() (node, error) {
	negated := false
	for p.keyword("not") {
		negated = !negated
	}
	n, err := p.primary()
	if err == nil && negated {
		n = notNode{n}
	}
	return n, err
}

func (p *parser) primary() (node, error) {
	t := p.take()
	if t.kind == tokenPunct && t.text == "(" {
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		return n, p.punct(")")
	}
	if t.kind != tokenWord {
		return nil, p.unexpected(t)
	}
	if follows := p.peek(); follows.kind == tokenPunct && follows.text == "(" {
		if collection, ok := cutSuffixFold(t.text, "/any"); ok {
			return p.lambda(t, collection)
		}
		return p.function(t)
	}
	return p.comparison(t)
}

// function parses startswith(path,'text') and endswith(path,'text').
func (p *parser) function(name token) (node, error) {
	operator := strings.ToLower(name.text)
	if operator != "startswith" && operator != "endswith" {
		return nil, &SyntaxError{name.at, fmt.Sprintf("the function %q is not supported", name.text)}
	}
	if err := p.punct("("); err != nil {
		return nil, err
	}
	path := p.take()
	if path.kind != tokenWord {
		return nil, p.unexpected(path)
	}
	if err := p.punct(","); err != nil {
		return nil, err
	}
	value, err := p.literal()
	if err != nil {
		return nil, err
	}
	name1, err := p.property(path)
	if err != nil {
		return nil, err
	}
	return comparison{use: Use{Property: name1, Collection: p.collection != "", Operator: operator}, values: []Literal{value}}, p.punct(")")
}

// lambda parses collection/any(variable:expression).
func (p *parser) lambda(at token, collection string) (node, error) {
	if p.variable != "" {
		return nil, &SyntaxError{at.at, "any() cannot stand inside any()"}
	}
	if err := p.punct("("); err != nil {
		return nil, err
	}
	variable := p.take()
	if variable.kind != tokenWord || strings.Contains(variable.text, "/") {
		return nil, p.unexpected(variable)
	}
	if err := p.punct(":"); err != nil {
		return nil, err
	}
	p.variable, p.collection = variable.text, collection
	body, err := p.or()
	p.variable, p.collection = "", ""
	if err != nil {
		return nil, err
	}
	return anyNode{collection, body}, p.punct(")")
}

// property resolves a path: inside any() it must be the variable.
func (p *parser) property(path token) (string, error) {
	if p.variable == "" {
		return path.text, nil
	}
	if path.text != p.variable {
		return "", &SyntaxError{path.at, fmt.Sprintf("%q is not the variable of any()", path.text)}
	}
	return p.collection, nil
}

func (p *parser) comparison(path token) (node, error) {
	property, err := p.property(path)
	if err != nil {
		return nil, err
	}
	operator := p.take()
	use := Use{Property: property, Collection: p.collection != "", Operator: strings.ToLower(operator.text)}
	switch {
	case operator.kind != tokenWord:
		return nil, p.unexpected(operator)
	case use.Operator == "in":
		values, err := p.list()
		return comparison{use, values}, err
	}
	switch use.Operator {
	case "eq", "ne", "ge", "le", "gt", "lt":
		value, err := p.literal()
		return comparison{use, []Literal{value}}, err
	}
	return nil, &SyntaxError{operator.at, fmt.Sprintf("%q is no operator", operator.text)}
}

func (p *parser) list() ([]Literal, error) {
	if err := p.punct("("); err != nil {
		return nil, err
	}
	var values []Literal
	for {
		value, err := p.literal()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
		switch t := p.take(); {
		case t.kind == tokenPunct && t.text == ",":
		case t.kind == tokenPunct && t.text == ")":
			return values, nil
		default:
			return nil, p.unexpected(t)
		}
	}
}

func (p *parser) literal() (Literal, error) {
	switch t := p.take(); t.kind {
	case tokenString:
		return Literal{Text: t.text, Quoted: true}, nil
	case tokenNumber:
		return Literal{Text: t.text}, nil
	case tokenWord:
		switch word := strings.ToLower(t.text); word {
		case "true", "false":
			return Literal{Text: word}, nil
		case "null":
			return Literal{Null: true}, nil
		}
		return Literal{}, p.unexpected(t)
	default:
		return Literal{}, p.unexpected(t)
	}
}

func cutSuffixFold(text, suffix string) (string, bool) {
	if cut := len(text) - len(suffix); cut > 0 && strings.EqualFold(text[cut:], suffix) {
		return text[:cut], true
	}
	return text, false
}
