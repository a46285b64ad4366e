package odata

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenWord             // name, operator or path with slashes
	tokenString           // quoted literal, unescaped
	tokenNumber
	tokenPunct // ( ) , :
)

type token struct {
	kind tokenKind
	text string
	at   int
}

// SyntaxError says what is wrong with an expression and at which byte.
type SyntaxError struct {
	At      int
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("syntax error at position %d: %s", e.At, e.Problem)
}

func lex(text string) ([]token, error) {
	if !utf8.ValidString(text) {
		return nil, &SyntaxError{0, "the expression is not UTF-8"}
	}
	var tokens []token
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		switch {
		case r == ' ' || r == '\t':
			at += size
		case strings.ContainsRune("(),:", r):
			tokens = append(tokens, token{tokenPunct, string(r), at})
			at += size
		case r == '\'':
			literal, length, ok := quoted(text[at:])
			if !ok {
				return nil, &SyntaxError{at, "unterminated string literal"}
			}
			tokens = append(tokens, token{tokenString, literal, at})
			at += length
		case isWordRune(r):
			end := at + size
			for end < len(text) {
				next, n := utf8.DecodeRuneInString(text[end:])
				if !isWordRune(next) {
					break
				}
				end += n
			}
			kind := tokenWord
			if unicode.IsDigit(r) || r == '-' {
				kind = tokenNumber
			}
			tokens = append(tokens, token{kind, text[at:end], at})
			at = end
		default:
			return nil, &SyntaxError{at, fmt.Sprintf("unexpected character %q", r)}
		}
	}
	return append(tokens, token{tokenEnd, "", len(text)}), nil
}

func isWordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_/.-@$", r)
}

// quoted reads a literal in single quotes in which two quotes stand for one.
func quoted(text string) (literal string, length int, ok bool) {
	var out strings.Builder
	for at := 1; at < len(text); at++ {
		if text[at] != '\'' {
			out.WriteByte(text[at])
			continue
		}
		if at+1 < len(text) && text[at+1] == '\'' {
			out.WriteByte('\'')
			at++
			continue
		}
		return out.String(), at + 1, true
	}
	return "", 0, false
}
