package memory

import (
	"container/heap"
	"sync"
	"time"
)

// claim is how long an application that Due returned is left alone if it was
// not updated meanwhile.
const claim = 30 * time.Second

// setBack is how far the time may step back before it counts as a clock that
// was set.
const setBack = 5 * time.Second

// deadlines is a heap of the entries that have something to do, soonest first.
type deadlines struct {
	mu   sync.Mutex
	heap deadlineHeap
	seen int64 // the latest time given to take
}

// set says when e has something to do; zero: never.
func (d *deadlines) set(e *entry, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case at.IsZero():
		if e.slot >= 0 {
			heap.Remove(&d.heap, e.slot)
		}
	case e.slot < 0:
		e.due = at.UnixNano()
		heap.Push(&d.heap, e)
	case e.due != at.UnixNano():
		e.due = at.UnixNano()
		heap.Fix(&d.heap, e.slot)
	}
}

// take returns at most limit entries that have something to do by now, and
// claims them. Once the clock was set back everything is due: each session has
// to take its deadlines along.
func (d *deadlines) take(now time.Time, limit int) []*entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := now.UnixNano()
	if t < d.seen-int64(setBack) {
		for _, e := range d.heap {
			e.due = min(e.due, t)
		}
		heap.Init(&d.heap)
		d.seen = t
	}
	d.seen = max(d.seen, t)
	var due []*entry
	for len(due) < limit && len(d.heap) > 0 && d.heap[0].due <= t {
		e := d.heap[0]
		e.due = t + int64(claim)
		heap.Fix(&d.heap, 0)
		due = append(due, e)
	}
	return due
}

type deadlineHeap []*entry

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].due < h[j].due }

func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

func (h *deadlineHeap) Push(x any) {
	e := x.(*entry)
	e.slot = len(*h)
	*h = append(*h, e)
}

func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.slot = -1
	return e
}
