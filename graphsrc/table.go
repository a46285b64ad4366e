package graphsrc

// table finds small numbers by a hash, in 8 bytes a slot: the hash in the upper
// half, the number plus one in the lower. It is a multiset: whoever looks for
// something compares the candidates. Slots are probed in a row, and a slot that
// is emptied is filled from behind, so that nothing is left of what was removed.
//
// A map of the same would take four times the memory, keys included: here a key
// is where the number leads to.
type table struct {
	slots []uint64
	count int
}

const (
	minSlots = 16
	// At most four of five slots are used; from there on a table grows by half.
	maxLoad, ofSlots = 4, 5
)

// home is where the search for a hash begins: the hash scaled to the size.
func (t *table) home(hash uint32) int {
	return int(uint64(hash) * uint64(len(t.slots)) >> 32)
}

func (t *table) after(i int) int {
	if i++; i < len(t.slots) {
		return i
	}
	return 0
}

// find returns the first number under a hash that is the one. It does not
// allocate.
func (t *table) find(hash uint32, is func(number uint32) bool) (uint32, bool) {
	if t.count == 0 {
		return 0, false
	}
	for i := t.home(hash); t.slots[i] != 0; i = t.after(i) {
		if s := t.slots[i]; uint32(s>>32) == hash && is(uint32(s)-1) {
			return uint32(s) - 1, true
		}
	}
	return 0, false
}

// insert adds a number, below 2³²-1, under a hash.
func (t *table) insert(hash, number uint32) {
	if (t.count+1)*ofSlots > len(t.slots)*maxLoad {
		t.resize(max(minSlots, len(t.slots)+len(t.slots)/2))
	}
	t.put(uint64(hash)<<32 | uint64(number+1))
	t.count++
}

func (t *table) put(slot uint64) {
	i := t.home(uint32(slot >> 32))
	for t.slots[i] != 0 {
		i = t.after(i)
	}
	t.slots[i] = slot
}

// remove takes a number away from under a hash, once.
func (t *table) remove(hash, number uint32) bool {
	if t.count == 0 {
		return false
	}
	gone := uint64(hash)<<32 | uint64(number+1)
	i := t.home(hash)
	for ; t.slots[i] != gone; i = t.after(i) {
		if t.slots[i] == 0 {
			return false
		}
	}
	t.count--
	for j := t.after(i); t.slots[j] != 0; j = t.after(j) {
		// A slot may move to the gap if its home is not between the two.
		if t.distance(t.home(uint32(t.slots[j]>>32)), j) >= t.distance(i, j) {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = 0
	return true
}

// distance is how many steps lead from one slot to another.
func (t *table) distance(from, to int) int {
	if to >= from {
		return to - from
	}
	return to - from + len(t.slots)
}

// trim gives back room beyond what the numbers need, a few more included.
func (t *table) trim() {
	need := max(minSlots, (t.count+t.count/32+1)*ofSlots/maxLoad+1)
	if need < len(t.slots) {
		t.resize(need)
	}
}

func (t *table) resize(slots int) {
	old := t.slots
	t.slots = make([]uint64, slots)
	for _, s := range old {
		if s != 0 {
			t.put(s)
		}
	}
}
