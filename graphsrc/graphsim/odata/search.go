package odata

import (
	"fmt"
	"strings"
	"unicode"
)

// Search is a parsed $search expression.
type Search struct {
	root    searchNode
	phrases []Phrase
}

// Phrase looks for text in a property.
type Phrase struct{ Property, Text string }

// searchNode is a part of an expression.
type searchNode interface {
	match(get Getter, words func(string) bool) bool
}

type (
	allPhrases []searchNode
	anyPhrase  []searchNode
)

// ParseSearch parses "property:text" clauses in double quotes, joined by AND
// and OR, where AND binds tighter, and grouped by parentheses. Errors are
// *SyntaxError.
//
// Source: https://learn.microsoft.com/en-us/graph/search-query-parameter
func ParseSearch(text string) (*Search, error) {
	p := &searchParser{text: text}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.skip(); p.at < len(text) {
		return nil, &SyntaxError{p.at, fmt.Sprintf("AND, OR or the end expected, not %q", text[p.at:])}
	}
	return &Search{root, p.phrases}, nil
}

type searchParser struct {
	text      string
	at, depth int
	phrases   []Phrase
}

func (p *searchParser) skip() {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
}

// operator takes the next word if it is that one. It is in upper case, and
// ends where a clause, a group or a space begins.
func (p *searchParser) operator(word string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.text[p.at:], word)
	if !ok || rest == "" || !strings.ContainsRune(` ("`, rune(rest[0])) {
		return false
	}
	p.at += len(word)
	return true
}

func (p *searchParser) or() (searchNode, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, &SyntaxError{p.at, "the expression is nested too deeply"}
	}
	defer func() { p.depth-- }()
	parts, err := p.chain("OR", p.and)
	if len(parts) == 1 {
		return parts[0], err
	}
	return anyPhrase(parts), err
}

func (p *searchParser) and() (searchNode, error) {
	parts, err := p.chain("AND", p.primary)
	if len(parts) == 1 {
		return parts[0], err
	}
	return allPhrases(parts), err
}

// chain parses parts separated by an operator.
func (p *searchParser) chain(operator string, part func() (searchNode, error)) (parts []searchNode, err error) {
	for {
		n, err := part()
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
		if !p.operator(operator) {
			return parts, nil
		}
	}
}

func (p *searchParser) primary() (searchNode, error) {
	p.skip()
	switch rest := p.text[p.at:]; {
	case strings.HasPrefix(rest, "("):
		p.at++
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.skip(); !strings.HasPrefix(p.text[p.at:], ")") {
			return nil, &SyntaxError{p.at, "a closing parenthesis is missing"}
		}
		p.at++
		return n, nil
	case strings.HasPrefix(rest, `"`):
		return p.phrase()
	}
	return nil, &SyntaxError{p.at, "a search clause must stand in double quotes"}
}

// phrase reads one clause; within it a backslash stands before a double quote
// or a backslash, and nowhere else.
func (p *searchParser) phrase() (searchNode, error) {
	begin := p.at
	var clause strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		char := p.text[p.at]
		if char == '"' {
			p.at++
			property, text, ok := strings.Cut(clause.String(), ":")
			if !ok || property == "" || strings.TrimSpace(text) == "" {
				return nil, &SyntaxError{begin, `a search clause has the form "property:text"`}
			}
			p.phrases = append(p.phrases, Phrase{property, text})
			return p.phrases[len(p.phrases)-1], nil
		}
		if char == '\\' {
			if p.at++; p.at == len(p.text) || p.text[p.at] != '"' && p.text[p.at] != '\\' {
				return nil, &SyntaxError{p.at - 1, "a backslash must stand before a double quote or a backslash"}
			}
			char = p.text[p.at]
		}
		clause.WriteByte(char)
	}
	return nil, &SyntaxError{begin, "unterminated search clause"}
}

// Phrases lists all phrases, from left to right.
func (s *Search) Phrases() []Phrase { return s.phrases }

// Match reports whether an object matches. For properties of which words
// tells so, every word of the phrase must begin a word of the value, as in a
// tokenized index; others must begin with the phrase.
func (s *Search) Match(get Getter, words func(property string) bool) bool {
	return s.root.match(get, words)
}

func (n allPhrases) match(get Getter, words func(string) bool) bool {
	for _, part := range n {
		if !part.match(get, words) {
			return false
		}
	}
	return true
}

func (n anyPhrase) match(get Getter, words func(string) bool) bool {
	for _, part := range n {
		if part.match(get, words) {
			return true
		}
	}
	return false
}

func (p Phrase) match(get Getter, words func(string) bool) bool {
	tokenized := words(p.Property)
	for _, value := range get(p.Property) {
		if tokenized && allBegin(tokens(p.Text), indexed(value)) ||
			!tokenized && strings.HasPrefix(strings.ToLower(value), strings.ToLower(p.Text)) {
			return true
		}
	}
	return false
}

// tokens cuts text into lower-case words at spaces and symbols, between letters
// and digits, and where a capital follows a small letter.
func tokens(text string) []string {
	var (
		all  []string
		word []rune
		last rune
	)
	end := func() {
		if len(word) > 0 {
			all = append(all, strings.ToLower(string(word)))
		}
		word = nil
	}
	for _, r := range text {
		letter := unicode.IsLetter(r) || unicode.IsMark(r)
		switch {
		case !letter && !unicode.IsDigit(r):
			end()
			last = 0
			continue
		case last != 0 && letter == unicode.IsDigit(last), unicode.IsLower(last) && unicode.IsUpper(r):
			end()
		}
		word, last = append(word, r), r
	}
	end()
	return all
}

// indexed is what the index holds of a value: its tokens, and words with
// nothing but symbols between them also as one.
func indexed(value string) []string {
	all := tokens(value)
	for chunk := range strings.FieldsSeq(value) {
		if strings.ContainsFunc(chunk, isSymbol) {
			all = append(all, strings.ToLower(strings.Join(strings.FieldsFunc(chunk, isSymbol), "")))
		}
	}
	return all
}

func isSymbol(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) }

func allBegin(wanted, have []string) bool {
	for _, w := range wanted {
		found := false
		for _, h := range have {
			found = found || strings.HasPrefix(h, w)
		}
		if !found {
			return false
		}
	}
	return len(wanted) > 0
}
