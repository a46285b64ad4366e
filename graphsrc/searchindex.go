package graphsrc

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// candidate is a user who matches a query.
type candidate struct {
	rank int
	text string
	at   int // index of the entry
}

// search returns the users who match a query best. It passes over everybody:
// their traits lie in a row, and the text is read only of those who may match.
func (x *index) search(p *query) hits[User] {
	x.mu.RLock()
	defer x.mu.RUnlock()
	top := make([]candidate, 0, p.limit)
	more := false
	for i := range x.traits {
		if !p.may(x.traits[i]) {
			continue
		}
		c := candidate{text: x.entries[i].text(), at: i}
		if c.rank = p.rank(c.text); c.rank == rankGraphs {
			continue
		}
		if len(top) == p.limit {
			more = true
			last := len(top) - 1
			if x.compare(&c, &top[last]) >= 0 {
				continue
			}
			top = top[:last]
		}
		at, _ := slices.BinarySearchFunc(top, c, func(a, b candidate) int { return x.compare(&a, &b) })
		top = slices.Insert(top, at, c)
	}
	users := make([]User, len(top))
	for i, c := range top {
		users[i] = x.entries[c.at].user()
	}
	return hits[User]{users, more}
}

// compare orders candidates, the best first.
func (x *index) compare(a, b *candidate) int {
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank)
	}
	if d := strings.Compare(a.text, b.text); d != 0 {
		return d
	}
	ka, kb := &x.entries[a.at].key, &x.entries[b.at].key
	return bytes.Compare(ka[:], kb[:])
}
