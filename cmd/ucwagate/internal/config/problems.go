package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Origin is where a value stands. The zero Origin is a default.
type Origin struct {
	File string // path of the configuration file
	Line int    // line in File from 1; 0 where no line can be named
	Env  string // environment variable; then File and Line are empty
}

// String returns "default", "file:line" or "env NAME".
func (o Origin) String() string {
	switch {
	case o.Env != "":
		return "env " + o.Env
	case o.Line > 0:
		return o.File + ":" + strconv.Itoa(o.Line)
	case o.File != "":
		return o.File
	default:
		return "default"
	}
}

// Problem is one thing that is wrong.
type Problem struct {
	Origin
	Key     string // such as tenants[0].name; empty where it concerns no known key
	Message string // never holds a secret
	Nearest string // for an unknown key or variable: the valid name most like it
}

// Error returns "file:line: key: message", or "env NAME: key: message".
func (p Problem) Error() string {
	var b strings.Builder
	if p.Origin != (Origin{}) {
		b.WriteString(p.Origin.String() + ": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Nearest != "" {
		b.WriteString("; the nearest valid name is " + p.Nearest)
	}
	return b.String()
}

// Problems is everything wrong with a configuration: by line of the file
// first, then what has no line, then the environment by name.
type Problems []Problem

// Error returns one problem per line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sort() {
	rank := func(x Problem) int {
		switch {
		case x.Line > 0:
			return 0
		case x.Env == "":
			return 1
		default:
			return 2
		}
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Env, b.Env),
		)
	})
}

// slip is how many changes may be a slip of the fingers. A name further from
// every name of its own section is looked for in the others.
const slip = 2

// nearest returns the candidate with the smallest distance to name, the first
// of them where several are as near, and that distance. Case and the choice
// between hyphen and underscore do not count.
func nearest(name string, candidates []string) (best string, distance int) {
	const longest = 64 // runes; a longer name is like nothing
	fold := func(s string) []rune {
		r := []rune(strings.ReplaceAll(strings.ToLower(s), "-", "_"))
		return r[:min(len(r), longest)]
	}
	from := fold(name)
	for _, candidate := range candidates {
		if d := editDistance(from, fold(candidate)); best == "" || d < distance {
			best, distance = candidate, d
		}
	}
	return best, distance
}

// editDistance counts the insertions, deletions, replacements and exchanges of
// neighbours that turn a into b.
func editDistance(a, b []rune) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
