package graphsrc

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
)

// index is a directory in memory: every user by id, by every address and by
// what a search looks for. A user is one string, so that a hundred thousand of
// them are a hundred thousand objects for the garbage collector and not millions.
type index struct {
	domains domains // users without an address in them are not found by a search
	limit   int

	mu        sync.RWMutex
	users     map[userKey]uint32 // index in entries
	entries   []entry
	traits    []traits             // of the entries; none for who is not searched
	holders   map[string]userKey   // who is found under an address
	contested map[string][]userKey // all who claim it, if several do
	partial   bool                 // a user did not fit
}

// entry is one user.
type entry struct {
	key    userKey
	packed string // the fields, and after them the text that is searched
	fields int    // length of the fields
}

func (e *entry) user() User { return unpackUser(e.key, e.packed) }

func (e *entry) text() string { return e.packed[e.fields:] }

func newIndex(limit int, d domains) *index {
	return &index{
		domains: d, limit: limit, users: make(map[userKey]uint32),
		holders: make(map[string]userKey), contested: make(map[string][]userKey),
	}
}

func (x *index) find(address string) (User, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	k, ok := x.holders[address]
	if !ok {
		return User{}, false
	}
	return x.user(k), true
}

func (x *index) get(k userKey) (User, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if _, ok := x.users[k]; !ok {
		return User{}, false
	}
	return x.user(k), true
}

// user unpacks somebody who is there. The caller holds the lock.
func (x *index) user(k userKey) User { return x.entries[x.users[k]].user() }

func (x *index) size() (users int, partial bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.users), x.partial
}

// apply takes over the entries of a delta page. An entry replaces what was
// known of the user, so a page applied twice changes nothing.
func (x *index) apply(users []User) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range users {
		u := &users[i]
		k, ok := parseKey(u.ID)
		if !ok {
			continue
		}
		x.remove(k)
		if u.Removed {
			continue
		}
		if len(x.users) >= x.limit {
			x.partial = true
			continue
		}
		x.enter(k, u)
		eachAddress(u, func(a string, _ int) { x.claim(a, k) })
	}
}

// enter adds somebody who is not there.
func (x *index) enter(k userKey, u *User) {
	packed := packUser(u)
	e := entry{key: k, packed: packed, fields: len(packed)}
	var t traits
	if x.domains.show(u) {
		text := userText(u)
		t = traitsOf(text)
		e.packed += text
	}
	x.users[k] = uint32(len(x.entries))
	x.entries = append(x.entries, e)
	x.traits = append(x.traits, t)
}

func (x *index) remove(k userKey) {
	at, known := x.users[k]
	if !known {
		return
	}
	u := x.user(k)
	eachAddress(&u, func(a string, _ int) { x.release(a, k) })
	delete(x.users, k)
	last := len(x.entries) - 1
	if moved := x.entries[last]; int(at) != last {
		x.entries[at], x.traits[at] = moved, x.traits[last]
		x.users[moved.key] = at
	}
	x.entries[last] = entry{}
	x.entries, x.traits = x.entries[:last], x.traits[:last]
}

// claim gives an address to a user, or settles who of several is found under it.
func (x *index) claim(address string, k userKey) {
	holder, held := x.holders[address]
	if !held {
		// The address may be a part of a longer string that came with a page.
		x.holders[strings.Clone(address)] = k
		return
	}
	claimants := x.contested[address]
	if claimants == nil {
		if holder == k {
			return
		}
		claimants = []userKey{holder}
	}
	if !slices.Contains(claimants, k) {
		claimants = append(claimants, k)
	}
	x.contested[address] = claimants
	x.holders[address] = x.best(address, claimants)
}

func (x *index) release(address string, k userKey) {
	claimants := x.contested[address]
	if claimants == nil {
		if x.holders[address] == k {
			delete(x.holders, address)
		}
		return
	}
	claimants = slices.DeleteFunc(claimants, func(c userKey) bool { return c == k })
	x.holders[address] = x.best(address, claimants)
	if len(claimants) > 1 {
		x.contested[address] = claimants
	} else {
		delete(x.contested, address)
	}
}

// best is the claimant whom the address fits best; of equals the one with the
// lowest id, so that the order of pages does not matter.
func (x *index) best(address string, claimants []userKey) userKey {
	return slices.MinFunc(claimants, func(a, b userKey) int {
		ua, ub := x.user(a), x.user(b)
		if d := rankOf(&ua, address) - rankOf(&ub, address); d != 0 {
			return d
		}
		return slices.Compare(a[:], b[:])
	})
}

// packUser writes all fields of u but the id into one string: each text as its
// length and its bytes, each list as its length and its texts.
func packUser(u *User) string {
	var b []byte
	for _, s := range u.texts() {
		b = appendText(b, *s)
	}
	for _, list := range u.lists() {
		b = binary.AppendUvarint(b, uint64(len(*list)))
		for _, s := range *list {
			b = appendText(b, s)
		}
	}
	return string(b)
}

// unpackUser is the inverse of packUser; the texts are parts of packed, of
// which what follows is left alone.
func unpackUser(k userKey, packed string) User {
	u := User{ID: k.String()}
	for _, s := range u.texts() {
		*s, packed = cutText(packed)
	}
	for _, list := range u.lists() {
		n, rest := cutLength(packed)
		packed = rest
		if n == 0 {
			continue
		}
		*list = make([]string, n)
		for i := range *list {
			(*list)[i], packed = cutText(packed)
		}
	}
	return u
}

func (u *User) texts() [9]*string {
	return [...]*string{
		&u.DisplayName, &u.UserPrincipalName, &u.Mail, &u.JobTitle, &u.Department,
		&u.CompanyName, &u.OfficeLocation, &u.MobilePhone, &u.UserType,
	}
}

func (u *User) lists() [4]*[]string {
	return [...]*[]string{&u.IMAddresses, &u.ProxyAddresses, &u.OtherMails, &u.BusinessPhones}
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func cutText(s string) (text, rest string) {
	n, s := cutLength(s)
	return s[:n], s[n:]
}

func cutLength(s string) (n int, rest string) {
	for shift := 0; ; shift += 7 {
		b := s[0]
		s = s[1:]
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n, s
		}
	}
}
