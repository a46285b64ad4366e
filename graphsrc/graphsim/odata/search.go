package odata

import (
	"fmt"
	"strings"
	"unicode"
)

// Search is a parsed $search expression: alternatives of phrases that must
// all match.
type Search struct{ alternatives [][]Phrase }

// Phrase looks for text in a property.
type Phrase struct{ Property, Text string }

// ParseSearch parses "property:text" clauses joined by AND and OR, where AND
// binds tighter. Errors are *SyntaxError.
func ParseSearch(text string) (*Search, error) {
	var (
		s       = &Search{}
		current []Phrase
		rest    = strings.TrimSpace(text)
	)
	for {
		phrase, after, err := searchClause(rest, len(text)-len(rest))
		if err != nil {
			return nil, err
		}
		current = append(current, phrase)
		rest = strings.TrimSpace(after)
		if rest == "" {
			s.alternatives = append(s.alternatives, current)
			return s, nil
		}
		word, tail, _ := strings.Cut(rest, " ")
		switch word {
		case "AND":
		case "OR":
			s.alternatives, current = append(s.alternatives, current), nil
		default:
			return nil, &SyntaxError{len(text) - len(rest), fmt.Sprintf("AND or OR expected, not %q", word)}
		}
		rest = strings.TrimSpace(tail)
	}
}

// searchClause reads one clause in double quotes; a backslash escapes a quote.
func searchClause(text string, at int) (Phrase, string, error) {
	if !strings.HasPrefix(text, `"`) {
		return Phrase{}, "", &SyntaxError{at, "a search clause must stand in double quotes"}
	}
	var clause strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
			clause.WriteByte(text[i])
		case text[i] == '"':
			property, phrase, ok := strings.Cut(clause.String(), ":")
			if !ok || property == "" || strings.TrimSpace(phrase) == "" {
				return Phrase{}, "", &SyntaxError{at, `a search clause has the form "property:text"`}
			}
			return Phrase{property, phrase}, text[i+1:], nil
		default:
			clause.WriteByte(text[i])
		}
	}
	return Phrase{}, "", &SyntaxError{at, "unterminated search clause"}
}

// Phrases lists all phrases.
func (s *Search) Phrases() []Phrase {
	var all []Phrase
	for _, alternative := range s.alternatives {
		all = append(all, alternative...)
	}
	return all
}

// Match reports whether an object matches. For properties of which words
// tells so, every word of the phrase must begin a word of the value, as in a
// tokenized index; others must begin with the phrase.
func (s *Search) Match(get Getter, words func(property string) bool) bool {
	for _, alternative := range s.alternatives {
		if matchAll(alternative, get, words) {
			return true
		}
	}
	return false
}

func matchAll(phrases []Phrase, get Getter, words func(string) bool) bool {
	for _, phrase := range phrases {
		if !matchPhrase(phrase, get(phrase.Property), words(phrase.Property)) {
			return false
		}
	}
	return true
}

func matchPhrase(phrase Phrase, values []string, words bool) bool {
	wanted := strings.ToLower(phrase.Text)
	for _, value := range values {
		value = strings.ToLower(value)
		if !words {
			if strings.HasPrefix(value, wanted) {
				return true
			}
			continue
		}
		if allBegin(tokenize(wanted), tokenize(value)) {
			return true
		}
	}
	return false
}

func tokenize(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

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
