package graphsrc

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
)

// index is a directory in memory: every user by id and by every address. A
// user is one string, so that a hundred thousand of them are a hundred
// thousand objects for the garbage collector and not millions.
type index struct {
	mu        sync.RWMutex
	users     map[userKey]string
	holders   map[string]userKey   // who is found under an address
	contested map[string][]userKey // all who claim it, if several do
	limit     int
	partial   bool // a user did not fit
}

func newIndex(limit int) *index {
	return &index{
		users: make(map[userKey]string), holders: make(map[string]userKey),
		contested: make(map[string][]userKey), limit: limit,
	}
}

func (x *index) find(address string) (User, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	k, ok := x.holders[address]
	if !ok {
		return User{}, false
	}
	return unpackUser(k, x.users[k]), true
}

func (x *index) get(k userKey) (User, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	packed, ok := x.users[k]
	if !ok {
		return User{}, false
	}
	return unpackUser(k, packed), true
}

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
		x.users[k] = packUser(u)
		eachAddress(u, func(a string, _ int) { x.claim(a, k) })
	}
}

func (x *index) remove(k userKey) {
	packed, known := x.users[k]
	if !known {
		return
	}
	u := unpackUser(k, packed)
	eachAddress(&u, func(a string, _ int) { x.release(a, k) })
	delete(x.users, k)
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
		ua, ub := unpackUser(a, x.users[a]), unpackUser(b, x.users[b])
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

// unpackUser is the inverse of packUser; the texts are parts of packed.
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
