package graphsrc

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// index is a directory in memory: every user by id, by every address and by
// what a search looks for. It is built for a million users: a user is one
// string (see packed), a place in three rows, and a number in two tables;
// nothing else is kept of an address but its hash, because the user is there to
// compare it with.
//
// Nobody but the synchronization writes; anybody reads.
type index struct {
	domains domains // users without an address in them are not found by a search
	limit   int
	seed    maphash.Seed

	mu        sync.RWMutex
	ids       table // numbers of entries by id
	addresses table // by address, but for those contested
	contested map[string]claim
	entries   []entry
	traits    []traits // of the entries; none for who is not searched
	free      []uint32 // numbers of empty entries
	partial   bool     // a user did not fit

	views  []atomic.Pointer[view] // users as they were last given out
	packer packer                 // of the writer
}

// entry is one user, or empty.
type entry struct {
	key    userKey
	packed packed
}

func (e *entry) user() User { return e.packed.user(e.key) }

func (e *entry) text() string { return e.packed.text() }

// claim is an address that several users have.
type claim struct {
	holder uint32   // who is found under it
	all    []uint32 // entries
}

// view is a user unpacked. It is good as long as the entry is the same.
type view struct {
	entry entry
	user  User
}

// Users lately asked for stay unpacked, so that asking for them again costs no
// memory: one in viewShare of those there may be.
const (
	viewShare          = 16
	minViews, maxViews = 64, 1 << 15
)

func newIndex(limit int, d domains) *index {
	views := minViews
	for views < min(limit/viewShare, maxViews) {
		views *= 2
	}
	return &index{
		domains: d, limit: limit, seed: maphash.MakeSeed(),
		contested: make(map[string]claim), views: make([]atomic.Pointer[view], views),
	}
}

// find returns who is found under a normalized address. For a user who was
// asked for lately it does not allocate.
func (x *index) find(address string) (User, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n, ok := x.holder(address)
	if !ok {
		return User{}, false
	}
	return x.view(n), true
}

// get returns the user with an id.
func (x *index) get(k userKey) (User, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n, ok := x.number(k)
	if !ok {
		return User{}, false
	}
	return x.view(n), true
}

// has says whether there is a user with an id.
func (x *index) has(k userKey) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.number(k)
	return ok
}

func (x *index) size() (users int, partial bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.ids.count, x.partial
}

// holder returns the entry of who is found under an address. It does not
// allocate. The caller holds the lock.
func (x *index) holder(address string) (uint32, bool) {
	if len(x.contested) > 0 {
		if c, ok := x.contested[address]; ok {
			return c.holder, true
		}
	}
	return x.addresses.find(x.hash(address), func(n uint32) bool { return x.entries[n].packed.has(address) })
}

// number returns the entry of a user. The caller holds the lock.
func (x *index) number(k userKey) (uint32, bool) {
	return x.ids.find(x.hashKey(k), func(n uint32) bool { return x.entries[n].key == k })
}

func (x *index) hash(address string) uint32 { return uint32(maphash.String(x.seed, address)) }

func (x *index) hashKey(k userKey) uint32 { return uint32(maphash.Bytes(x.seed, k[:])) }

// view unpacks an entry, or takes what was unpacked before. The caller holds
// the lock.
func (x *index) view(n uint32) User {
	e := &x.entries[n]
	place := &x.views[int(n)%len(x.views)]
	// Equal strings that are the same string are compared by their address alone.
	if v := place.Load(); v != nil && v.entry == *e {
		return v.user
	}
	v := &view{entry: *e, user: e.user()}
	place.Store(v)
	return v.user
}

// apply takes over the entries of a delta page and reports how many of them
// changed anything. An entry replaces what was known of the user, so a page
// applied twice changes nothing.
func (x *index) apply(users []User) (changes int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range users {
		u := &users[i]
		k, ok := parseKey(u.ID)
		if ok && x.applyOne(k, u) {
			changes++
		}
	}
	return changes
}

func (x *index) applyOne(k userKey, u *User) (changed bool) {
	n, known := x.number(k)
	if u.Removed {
		if known {
			x.remove(n)
		}
		return known
	}
	if !known && x.ids.count >= x.limit {
		changed = !x.partial
		x.partial = true
		return changed
	}
	var text string
	if x.domains.show(u) {
		text = userText(u)
	}
	p := x.packer.pack(u, text)
	if known && x.entries[n].packed == p {
		return false
	}
	if known {
		x.remove(n)
	}
	x.enter(entry{key: k, packed: p}, u, text)
	return true
}

// enter adds somebody who is not there.
func (x *index) enter(e entry, u *User, text string) {
	var n uint32
	if last := len(x.free) - 1; last >= 0 {
		n, x.free = x.free[last], x.free[:last]
	} else {
		n = uint32(len(x.entries))
		x.entries, x.traits = append(x.entries, entry{}), append(x.traits, traits{})
	}
	x.entries[n] = e
	if text != "" {
		x.traits[n] = traitsOf(text)
	}
	x.ids.insert(x.hashKey(e.key), n)
	for _, a := range addressesOf(u) {
		x.claim(a, n)
	}
}

func (x *index) remove(n uint32) {
	e := &x.entries[n]
	u := e.user()
	for _, a := range addressesOf(&u) {
		x.release(a, n)
	}
	x.ids.remove(x.hashKey(e.key), n)
	*e, x.traits[n] = entry{}, traits{}
	x.views[int(n)%len(x.views)].Store(nil)
	x.free = append(x.free, n)
}

// addressesOf lists the addresses of a user, each once.
func addressesOf(u *User) []string {
	list := make([]string, 0, 8)
	eachAddress(u, func(a string, _ int) {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	})
	return list
}

// claim gives an address to a user, or settles who of several is found under it.
func (x *index) claim(address string, n uint32) {
	c, several := x.contested[address]
	if !several {
		hash := x.hash(address)
		other, held := x.addresses.find(hash, func(o uint32) bool { return o != n && x.entries[o].packed.has(address) })
		if !held {
			x.addresses.insert(hash, n)
			return
		}
		x.addresses.remove(hash, other)
		c.all = []uint32{other}
		// The address may be a part of a longer string that came with a page.
		address = strings.Clone(address)
	}
	c.all = append(c.all, n)
	c.holder = x.best(address, c.all)
	x.contested[address] = c
}

func (x *index) release(address string, n uint32) {
	c, several := x.contested[address]
	if !several {
		x.addresses.remove(x.hash(address), n)
		return
	}
	c.all = slices.DeleteFunc(c.all, func(o uint32) bool { return o == n })
	if len(c.all) == 1 {
		delete(x.contested, address)
		x.addresses.insert(x.hash(address), c.all[0])
		return
	}
	c.holder = x.best(address, c.all)
	x.contested[address] = c
}

// best is the claimant whom the address fits best; of equals the one with the
// lowest id, so that the order of pages does not matter.
func (x *index) best(address string, claimants []uint32) uint32 {
	return slices.MinFunc(claimants, func(a, b uint32) int {
		ua, ub := x.entries[a].user(), x.entries[b].user()
		if d := rankOf(&ua, address) - rankOf(&ub, address); d != 0 {
			return d
		}
		return strings.Compare(ua.ID, ub.ID)
	})
}

// each calls f with everybody, until it returns false. It is for the writer,
// who needs no lock to read.
func (x *index) each(f func(*entry) bool) {
	for i := range x.entries {
		if e := &x.entries[i]; e.packed != "" && !f(e) {
			return
		}
	}
}

// trim gives back the room that the rows and tables keep in order to grow: once
// everybody is there, few more come.
func (x *index) trim() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ids.trim()
	x.addresses.trim()
	x.entries, x.traits = trimmed(x.entries), trimmed(x.traits)
}

// trimmed leaves room for one more in 32.
func trimmed[E any](row []E) []E {
	if need := len(row) + len(row)/32; need < cap(row) {
		return append(make([]E, 0, need), row...)
	}
	return row
}
