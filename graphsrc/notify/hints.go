package notify

import (
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

const (
	// hintsEvery is the least time between two items about a person that say, on
	// the word of a clientState alone, that something changed.
	hintsEvery = 5 * time.Second
	// maxHints bounds the people who are told of in that time: all of two dozen
	// subscriptions.
	maxHints = 16_384
)

// hints bounds what items without opened content can ask for, each of which
// costs a reading: somebody who has got hold of a clientState could make up any
// number of them. What is dropped is found by the next regular reading, at the
// latest.
type hints struct {
	clk clock.Clock

	mu sync.Mutex
	// young has those told since turned, old those of the 5 s before or earlier.
	young, old map[string]time.Time
	turned     time.Time
}

func newHints(clk clock.Clock) *hints {
	return &hints{clk: clk, young: make(map[string]time.Time), turned: clk.Now()}
}

// admit reports whether the sink may be told that something about the person
// changed, and takes note that it was.
func (h *hints) admit(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clk.Now()
	if now.Sub(h.turned) >= hintsEvery {
		h.old, h.young, h.turned = h.young, make(map[string]time.Time), now
	}
	for _, told := range []map[string]time.Time{h.young, h.old} {
		if at, ok := told[id]; ok && now.Sub(at) < hintsEvery {
			return false
		}
	}
	if len(h.young) >= maxHints {
		return false
	}
	h.young[id] = now
	return true
}

// hint reports whether the sink is told that something about a person changed,
// nobody if id is empty. What is dropped is counted.
func (r *Receiver) hint(id string) bool {
	if id == "" {
		return false
	}
	if r.hints.admit(id) {
		return true
	}
	r.counts.repeated.Add(1)
	r.complaints.about("items without content that could be opened came too fast, and were dropped")
	return false
}
