package scale

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// pairs are the states people pass through, as Graph spells them.
var pairs = [...]mapping.Presence{
	{Availability: "Available", Activity: "Available"},
	{Availability: "Busy", Activity: "InACall"},
	{Availability: "Busy", Activity: "InAMeeting"},
	{Availability: "DoNotDisturb", Activity: "Presenting"},
	{Availability: "BeRightBack", Activity: "BeRightBack"},
	{Availability: "Away", Activity: "Away"},
	{Availability: "Offline", Activity: "Offline"},
}

// Tenant is who there is and in which state. People are numbered; those from 0
// to Len()-1 change state, all others are always Available. Safe for concurrent
// use.
type Tenant struct {
	begin time.Time

	mu      sync.Mutex
	rnd     *rand.Rand
	state   []uint8  // index in pairs
	stamp   []string // sequenceNumber
	stamps  int
	told    []int64 // when Graph said what was last read, since begin; 0 is never
	unread  int
	reading uint64
}

// NewTenant makes a tenant of n people who all are Available. Its changes
// follow from seed.
func NewTenant(n int, seed uint64) *Tenant {
	t := &Tenant{
		// A moment before now, so that no reading is at 0.
		begin: time.Now().Add(-time.Nanosecond),
		rnd:   rand.New(rand.NewPCG(seed, 1)),
		state: make([]uint8, n), stamp: make([]string, n), told: make([]int64, n), unread: n,
	}
	for i := range t.stamp {
		t.stamp[i] = firstStamp
	}
	return t
}

const (
	idPrefix   = "5ca1ab1e-0000-4000-8000-"
	firstStamp = "A0000000000"
)

// ID is the object id of a person.
func ID(person int) string { return fmt.Sprintf("%s%012x", idPrefix, person) }

// personOf is the number of an object id, in either case.
func personOf(id string) (person int, ok bool) {
	if len(id) != len(idPrefix)+12 {
		return 0, false
	}
	n, err := strconv.ParseUint(id[len(idPrefix):], 16, 48)
	return int(n), err == nil
}

// IDs are the object ids of all who change state.
func (t *Tenant) IDs() []string {
	ids := make([]string, t.Len())
	for i := range ids {
		ids[i] = ID(i)
	}
	return ids
}

// Len is the number of people who change state.
func (t *Tenant) Len() int { return len(t.state) }

// Change puts so many people, drawn at random, into another state.
func (t *Tenant) Change(people int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range people {
		i := t.rnd.IntN(len(t.state))
		t.state[i] = (t.state[i] + 1 + uint8(t.rnd.IntN(len(pairs)-1))) % uint8(len(pairs))
		t.stamps++
		t.stamp[i] = fmt.Sprintf("A%010d", t.stamps)
	}
}

// Words is what Graph would say of a person now.
func (t *Tenant) Words(person int) mapping.Presence {
	t.mu.Lock()
	defer t.mu.Unlock()
	if person >= len(t.state) {
		return pairs[0]
	}
	return pairs[t.state[person]]
}

// answer is what Graph says of ids now; what is no id of the tenant has no entry.
func (t *Tenant) answer(ids []string) []graphsrc.Presence {
	out := make([]graphsrc.Presence, 0, len(ids))
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		i, ok := personOf(id)
		switch {
		case !ok:
		case i < len(t.state):
			out = append(out, graphsrc.Presence{ID: id, Words: pairs[t.state[i]], Sequence: t.stamp[i]})
		default:
			out = append(out, graphsrc.Presence{ID: id, Words: pairs[0], Sequence: firstStamp})
		}
	}
	return out
}

// delivered notes that what Graph said of ids at a moment has been read.
func (t *Tenant) delivered(ids []string, said time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := int64(said.Sub(t.begin))
	for _, id := range ids {
		i, ok := personOf(id)
		if !ok || i >= len(t.told) {
			continue
		}
		if t.told[i] == 0 {
			t.unread--
		}
		t.told[i] = max(t.told[i], at)
		t.reading++
	}
}

// readings is how many presences have been read, and unread how many people not
// yet at all.
func (t *Tenant) readings() (readings uint64, unread int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reading, t.unread
}

// ages adds to h how long ago Graph said what was last read of each person.
func (t *Tenant) ages(h *histogram) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := int64(time.Since(t.begin))
	for _, at := range t.told {
		h.add(time.Duration(now - at))
	}
}
