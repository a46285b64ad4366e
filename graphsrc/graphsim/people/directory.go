package people

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// The size of a directory.
const (
	MinUsers = 10
	MaxUsers = 1_000_000
)

// Directory is the population. Its methods may be called from many
// goroutines.
type Directory struct {
	domain string
	users  int
	seed   uint64
	names  *nameBook
	// stride, inverse and offset permute the names: index x of a block gets
	// pair (stride*x+offset) mod size, and inverse undoes it.
	stride, inverse, offset int

	mu      sync.RWMutex
	renamed map[int]string
	removed map[int]bool
	changes []Change
}

// Change is an entry of the directory's history. Version counts from 1.
type Change struct {
	Version int
	Index   int
}

// New makes the directory of a domain. Equal arguments make equal people.
func New(domain string, users int, seed uint64) (*Directory, error) {
	if users < MinUsers || users > MaxUsers {
		return nil, fmt.Errorf("a tenant has %d to %d users, not %d", MinUsers, MaxUsers, users)
	}
	if domain == "" || strings.ContainsAny(domain, "@ /:\"'") {
		return nil, fmt.Errorf("%q is no domain", domain)
	}
	names, err := newNameBook()
	if err != nil {
		return nil, err
	}
	d := &Directory{
		domain: strings.ToLower(domain), users: users, seed: seed, names: names,
		renamed: make(map[int]string), removed: make(map[int]bool),
	}
	size := names.size()
	d.offset = int(d.hash("offset", 0) % uint64(size))
	for d.stride = size/3 + int(d.hash("stride", 0)%uint64(size/3)); d.inverse == 0; d.stride++ {
		if inverse, ok := modInverse(d.stride, size); ok {
			d.inverse = inverse
			break
		}
	}
	return d, nil
}

// modInverse solves a·x ≡ 1 (mod m) by Euclid's algorithm.
func modInverse(a, m int) (int, bool) {
	r0, r1, x0, x1 := m, a%m, 0, 1
	for r1 != 0 {
		q := r0 / r1
		r0, r1 = r1, r0-q*r1
		x0, x1 = x1, x0-q*x1
	}
	if r0 != 1 {
		return 0, false
	}
	return (x0%m + m) % m, true
}

// Len is the number of users, those removed since included.
func (d *Directory) Len() int { return d.users }

// Domain is the default domain, lower case.
func (d *Directory) Domain() string { return d.domain }

// Organizer is the index of the user whom demonstrations sign in: one with a
// manager, peers, reports, groups, contacts and a photo in every directory.
func (d *Directory) Organizer() int { return 1 }

// ByID finds a present user by object id.
func (d *Directory) ByID(id string) (int, bool) {
	index, ok := d.indexOf(kindUser, id)
	return index, ok && d.Present(index)
}

// ByPrincipalName finds a present user by user principal name.
func (d *Directory) ByPrincipalName(upn string) (int, bool) {
	for _, index := range d.Candidates(upn) {
		if d.Present(index) && strings.EqualFold(d.Person(index).PrincipalName(), upn) {
			return index, true
		}
	}
	return 0, false
}

// Find finds a present user by object id, user principal name or any of the
// addresses the user has, in any spelling of case, with or without a scheme.
func (d *Directory) Find(addressOrID string) (int, bool) {
	if index, ok := d.ByID(addressOrID); ok {
		return index, true
	}
	wanted := withoutScheme(addressOrID)
	for _, index := range d.Candidates(addressOrID) {
		if !d.Present(index) {
			continue
		}
		u := d.User(index)
		for _, own := range [][]string{{u.UserPrincipalName, u.Mail}, u.IMAddresses, u.ProxyAddresses, u.OtherMails} {
			for _, address := range own {
				if address != "" && strings.EqualFold(withoutScheme(address), wanted) {
					return index, true
				}
			}
		}
	}
	return 0, false
}

// Present reports whether index names a user who has not been removed.
func (d *Directory) Present(index int) bool {
	if index < 0 || index >= d.users {
		return false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return !d.removed[index]
}

// Candidates returns the at most two users one of whose addresses or ids
// could be text. It decodes the text instead of searching; the caller
// compares what it is looking for.
func (d *Directory) Candidates(text string) []int {
	if index, ok := d.indexOf(kindUser, text); ok {
		if index < d.users {
			return []int{index}
		}
		return nil
	}
	local, _, ok := strings.Cut(strings.ToLower(withoutScheme(text)), "@")
	if !ok {
		return nil
	}
	// A guest's principal name carries the home address: name_home#EXT#.
	if before, _, isGuest := strings.Cut(local, "_"); isGuest {
		local = before
	}
	first, second, ok := strings.Cut(local, ".")
	if !ok {
		return nil
	}
	block := 0
	word := strings.TrimRight(second, "0123456789")
	if digits := second[len(word):]; digits != "" {
		number, err := strconv.Atoi(digits)
		if err != nil || digits[0] == '0' || number < 2 {
			return nil
		}
		block = number - 1
	}
	var found []int
	for _, pair := range [][2]string{{first, word}, {word, first}} {
		number, ok := d.names.find(pair[0], pair[1])
		if !ok {
			continue
		}
		size := d.names.size()
		index := block*size + (number-d.offset+size)*d.inverse%size
		if index < d.users {
			found = append(found, index)
		}
	}
	return found
}

func withoutScheme(address string) string {
	if scheme, rest, ok := strings.Cut(address, ":"); ok {
		switch strings.ToLower(scheme) {
		case "sip", "smtp", "mailto":
			return rest
		}
	}
	return address
}

// ErrNoUser says that a change named a user who does not exist.
var ErrNoUser = errors.New("no such user")

// Rename gives a user another display name.
func (d *Directory) Rename(index int, displayName string) error {
	return d.change(index, func() { d.renamed[index] = displayName })
}

// Remove deletes a user; Restore brings the user back.
func (d *Directory) Remove(index int) error {
	return d.change(index, func() { d.removed[index] = true })
}

// Restore undoes Remove.
func (d *Directory) Restore(index int) error {
	return d.change(index, func() { delete(d.removed, index) })
}

func (d *Directory) change(index int, apply func()) error {
	if index < 0 || index >= d.users {
		return ErrNoUser
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	apply()
	d.changes = append(d.changes, Change{Version: len(d.changes) + 1, Index: index})
	return nil
}

// Version is the number of changes so far.
func (d *Directory) Version() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.changes)
}

// ChangedBetween returns the users changed after version since and up to
// version until, each once, in the order of their last change.
func (d *Directory) ChangedBetween(since, until int) []int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	until = min(until, len(d.changes))
	if since < 0 || since >= until {
		return nil
	}
	last := make(map[int]int)
	for _, c := range d.changes[since:until] {
		last[c.Index] = c.Version
	}
	var indexes []int
	for _, c := range d.changes[since:until] {
		if last[c.Index] == c.Version {
			indexes = append(indexes, c.Index)
		}
	}
	return indexes
}
