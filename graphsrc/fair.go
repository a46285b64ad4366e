package graphsrc

// fair is a queue that serves clients in turns, and what one client asks for in
// the order in which it came. Its zero value is empty. Every operation takes the
// same time however many wait, and a client is remembered only while it has
// something in the queue.
//
// What may be asked for by several clients stands in the queue once for each, on
// a seat of its own; whoever takes it off one seat leaves the others.
type fair[V any] struct {
	clients map[string]*party[V]
	next    *party[V] // whose turn it is; the parties form a ring
	peak    int       // the most of them since the queue was empty
}

// party is a client with something in the queue.
type party[V any] struct {
	key         string
	first, last *seat[V]
	prev, next  *party[V]
}

// seat is a place in the queue, taken or not.
type seat[V any] struct {
	value      V
	party      *party[V] // nil: not in the queue
	prev, next *seat[V]
}

// keptClients is how large a map of clients may have been that is kept when the
// queue is empty: maps never shrink.
const keptClients = 1024

// push takes a seat behind those of the same client. A client that had nothing in
// the queue comes last.
func (f *fair[V]) push(key string, s *seat[V], value V) {
	p := f.clients[key]
	if p == nil {
		p = f.enter(key)
	}
	s.value, s.party, s.prev = value, p, p.last
	if p.last == nil {
		p.first = s
	} else {
		p.last.next = s
	}
	p.last = s
}

func (f *fair[V]) enter(key string) *party[V] {
	p := &party[V]{key: key}
	if f.clients == nil {
		f.clients = make(map[string]*party[V])
	}
	f.clients[key] = p
	f.peak = max(f.peak, len(f.clients))
	if f.next == nil {
		p.prev, p.next = p, p
		f.next = p
		return p
	}
	p.prev, p.next = f.next.prev, f.next
	p.prev.next, p.next.prev = p, p
	return p
}

// turn returns what is next, and gives the next turn to the next client. The
// queue must not be empty, and the caller leaves the seats of what it got.
func (f *fair[V]) turn() V {
	p := f.next
	f.next = p.next
	return p.first.value
}

// leave gives a seat up; one that is not in the queue may be left, too.
func (f *fair[V]) leave(s *seat[V]) {
	p := s.party
	if p == nil {
		return
	}
	if s.prev == nil {
		p.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		p.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	*s = seat[V]{}
	if p.first == nil {
		f.exit(p)
	}
}

func (f *fair[V]) exit(p *party[V]) {
	delete(f.clients, p.key)
	if p.next == p {
		f.next = nil
		if f.peak > keptClients {
			f.clients = nil
		}
		f.peak = 0
		return
	}
	if f.next == p {
		f.next = p.next
	}
	p.prev.next, p.next.prev = p.next, p.prev
}

// empty says that nothing is in the queue.
func (f *fair[V]) empty() bool { return f.next == nil }

// whose returns the client whose turn it is, or "" if the queue is empty.
func (f *fair[V]) whose() string {
	if f.next == nil {
		return ""
	}
	return f.next.key
}

// all returns everything in the queue, what stands on several seats several times.
// This, of course, takes longer the more there is.
func (f *fair[V]) all() []V {
	var out []V
	for _, p := range f.clients {
		for s := p.first; s != nil; s = s.next {
			out = append(out, s.value)
		}
	}
	return out
}
