package budget

const (
	// blockSize is how many rounds are counted together.
	blockSize = 128
	// keptSlots is how many unused slots are kept for the next waiters, and how
	// large what belongs to a queue may be that is kept after a rush.
	keptSlots = 1024
)

// turns is who waits in one lane, and whose turn it is. Its zero value is empty.
//
// Grants go in rounds, and each round holds at most one slot of every client:
//
//	round   current    next       after that
//	        a ─ b      a ─ b ─ c  a ─ c        a came with three, then b with two;
//	        ▲                                  c came with two while the first
//	        └ next grant                       round was being served
//
// A slot is its client's, not a waiter's: when its turn comes, it takes whichever
// waiter of the client came first. So a waiter who leaves costs the client its
// last slot, and those behind move up. A newcomer's slot is at the end of the
// round after the client's last one, and never in the round being served, so
// that a stream of newcomers cannot hold up those who have waited for it. Hence
//
//   - who waits for nothing else is served after at most two grants of each
//     other client that waits, however many waiters that has;
//   - of two clients that wait throughout any stretch, one gets at most two
//     grants more than the other;
//   - how many grants come before a newcomer is a sum of the sizes of rounds.
//
// All operations but rank take the same time however many wait.
type turns struct {
	waiting int
	clients map[string]*client // who has somebody waiting
	peak    int                // the most of them since nobody waited

	rounds  []round // rounds[current] is being served; those before it are over
	current int
	base    int   // the number of rounds[0]; clients remember numbers
	sums    []int // slots of blockSize rounds each

	spare  *slot // unused ones, linked by next
	spares int
}

// round is the slots of one round in the order of their turns.
type round struct {
	head, tail *slot
	slots      int
}

// slot is one turn of a client.
type slot struct {
	client     *client
	prev, next *slot // neighbours in the round
	below      *slot // the client's slot in the round before; meaningless in its first
}

// client is somebody with at least one waiter, and as many slots, in rounds that
// follow each other.
type client struct {
	key     string
	waiters permits // in the order in which they came
	top     *slot   // the last one
	last    int     // the number of its round
	cursor  *Permit // for who plays the queue through
}

// rank returns how many grants of the lane it takes until a newcomer of a client
// is served, its own included, if nobody comes or goes. It adds up to blockSize
// rounds and the blocks before them.
func (t *turns) rank(key string) int {
	at := t.place(t.clients[key])
	if at >= len(t.rounds)-1 {
		return t.waiting + 1 // behind everybody
	}
	block := at / blockSize
	n := 1
	for b := t.current / blockSize; b < block; b++ {
		n += t.sums[b]
	}
	for i := max(block*blockSize, t.current); i <= at; i++ {
		n += t.rounds[i].slots
	}
	return n
}

// place returns the index of the round in which the next waiter of a client,
// which is nil if it has none yet, gets its slot.
func (t *turns) place(c *client) int {
	switch {
	case t.waiting == 0:
		return t.current
	case c == nil:
		return t.current + 1
	}
	return c.last - t.base + 1
}

// push lets a permit wait for a client.
func (t *turns) push(p *Permit, key string) {
	c := t.clients[key]
	at := t.place(c)
	if c == nil {
		if t.clients == nil {
			t.clients = make(map[string]*client)
		}
		c = &client{key: key}
		t.clients[key] = c
		t.peak = max(t.peak, len(t.clients))
	}
	p.client = c
	c.waiters.push(p)
	s := t.slot()
	s.client, s.below = c, c.top
	c.top, c.last = s, at+t.base
	t.waiting++
	for at >= len(t.rounds) {
		t.rounds = append(t.rounds, round{})
	}
	for at/blockSize >= len(t.sums) {
		t.sums = append(t.sums, 0)
	}
	r := &t.rounds[at]
	r.slots++
	t.sums[at/blockSize]++
	if s.prev = r.tail; s.prev == nil {
		r.head = s
	} else {
		s.prev.next = s
	}
	r.tail = s
}

// first returns whose turn it is. Somebody must wait.
func (t *turns) first() *Permit { return t.rounds[t.current].head.client.waiters.head }

// pop takes out whose turn it is. Somebody must wait.
func (t *turns) pop() *Permit {
	p := t.first()
	t.vacate(t.rounds[t.current].head, t.current)
	t.remove(p)
	return p
}

// drop takes out a permit that waits, whoever's turn it is.
func (t *turns) drop(p *Permit) {
	c := p.client
	s, at := c.top, c.last-t.base
	c.top = s.below
	c.last--
	t.vacate(s, at)
	t.remove(p)
}

// vacate takes a slot out of its round.
func (t *turns) vacate(s *slot, at int) {
	r := &t.rounds[at]
	if s.prev == nil {
		r.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		r.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	r.slots--
	t.sums[at/blockSize]--
	*s = slot{}
	if t.spares < keptSlots {
		s.next, t.spare = t.spare, s
		t.spares++
	}
}

func (t *turns) slot() *slot {
	s := t.spare
	if s == nil {
		return new(slot)
	}
	t.spare, s.next = s.next, nil
	t.spares--
	return s
}

// remove takes out a permit whose client has lost a slot, and moves on to the
// next round if this one is over.
func (t *turns) remove(p *Permit) {
	c := p.client
	c.waiters.remove(p)
	p.client = nil
	if c.waiters.head == nil {
		delete(t.clients, c.key)
	}
	t.waiting--
	if t.waiting == 0 {
		t.reset()
		return
	}
	if t.rounds[t.current].slots == 0 {
		t.current++ // the next one is not empty: no client skips a round
		t.compact()
	}
	for t.rounds[len(t.rounds)-1].slots == 0 {
		t.rounds = t.rounds[:len(t.rounds)-1]
	}
}

// reset forgets the rounds when nobody waits any more, and gives back the memory
// of a rush.
func (t *turns) reset() {
	t.rounds, t.current, t.base = t.rounds[:0], 0, 0
	clear(t.sums)
	if cap(t.rounds) > keptSlots {
		t.rounds, t.sums = nil, nil
	}
	if t.peak > keptSlots {
		t.clients = nil
	}
	t.peak = 0
}

// compact forgets rounds that are over once they are more than half of all: each
// round is moved at most once for each one that ends.
func (t *turns) compact() {
	over := t.current - t.current%blockSize
	if over == 0 || over < len(t.rounds)/2 {
		return
	}
	t.rounds = t.rounds[:copy(t.rounds, t.rounds[over:])]
	sums := copy(t.sums, t.sums[over/blockSize:])
	clear(t.sums[sums:])
	t.current -= over
	t.base += over
}

// walk goes through the turns in their order, without taking anybody out.
type walk struct {
	turns *turns
	slot  *slot
	round int // its number
}

// begin returns a walk at the first turn. Only one walk may be under way.
func (t *turns) begin() walk {
	for _, c := range t.clients {
		c.cursor = c.waiters.head
	}
	w := walk{turns: t, round: t.base + t.current}
	if t.waiting > 0 {
		w.slot = t.rounds[t.current].head
	}
	return w
}

// permit returns who has the turn if those before it were served.
func (w *walk) permit() *Permit { return w.slot.client.cursor }

// serve moves on as if the permit had been granted.
func (w *walk) serve() {
	c := w.slot.client
	c.cursor = c.cursor.next
	w.next()
}

// skip moves on past a permit that the caller is about to drop. The turn is the
// next waiter's of the client, unless it is the client's last.
func (w *walk) skip() {
	c := w.slot.client
	c.cursor = c.cursor.next
	if w.slot == c.top {
		w.next()
	}
}

func (w *walk) next() {
	if w.slot = w.slot.next; w.slot != nil {
		return
	}
	w.round++
	if at := w.round - w.turns.base; at < len(w.turns.rounds) {
		w.slot = w.turns.rounds[at].head
	}
}
