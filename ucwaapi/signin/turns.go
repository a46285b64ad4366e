package signin

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

// turns lets so many passwords be checked at a time and no more, and decides who
// is next, so that a flood of passwords does not keep others from signing in:
//
//   - those who have signed in to the account from the same address before come
//     first; after knownInRow of them somebody else does
//   - among both the client addresses take turns, so that one that sends a
//     hundred passwords delays another by one of them
//
// Safe for use by several goroutines.
type turns struct {
	mu     sync.Mutex
	free   int
	known  waitingRoom
	others waitingRoom
	row    int // how many of known went in a row while others waited
}

// knownInRow is how many known clients may go before one of the others.
const knownInRow = 3

// waitingRoom has a queue for each client address that waits.
type waitingRoom struct {
	byAddress map[string]*list.Element // in ring
	ring      list.List                // of *addressQueue, in the order of their turns
}

type addressQueue struct {
	address string
	waiters list.List // of chan struct{}
}

func newTurns(n int) *turns { return &turns{free: max(1, n)} }

// take waits until it is the turn of a client at an address, at most limit; the
// caller calls done afterwards. The error is errBusy where the client leaves, or
// wraps ErrUnavailable.
func (t *turns) take(ctx context.Context, clk clock.Clock, limit time.Duration, address string, known bool) error {
	room := &t.others
	if known {
		room = &t.known
	}
	t.mu.Lock()
	if t.free > 0 { // then nobody waits
		t.free--
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := room.enter(address, turn)
	t.mu.Unlock()

	waiting, release := withLimit(ctx, clk, limit)
	defer release()
	select {
	case <-turn:
		return nil
	case <-waiting.Done():
	}
	t.mu.Lock()
	left := room.leave(address, place)
	t.mu.Unlock()
	if !left {
		t.done() // the turn came all the same
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errBusy, context.Cause(ctx))
	}
	return fmt.Errorf("%w: too many passwords are being checked", ErrUnavailable)
}

// done gives the turn to whoever is next.
func (t *turns) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.known.ring.Len() > 0 && (t.others.ring.Len() == 0 || t.row < knownInRow):
		t.row++
		close(t.known.next())
	case t.others.ring.Len() > 0:
		t.row = 0
		close(t.others.next())
	default:
		t.row = 0
		t.free++
	}
}

// enter lets somebody wait.
func (w *waitingRoom) enter(address string, turn chan struct{}) *list.Element {
	at := w.byAddress[address]
	if at == nil {
		if w.byAddress == nil {
			w.byAddress = make(map[string]*list.Element)
		}
		at = w.ring.PushBack(&addressQueue{address: address})
		w.byAddress[address] = at
	}
	return at.Value.(*addressQueue).waiters.PushBack(turn)
}

// leave takes somebody out who does not wait any more, and says whether they
// were still waiting.
func (w *waitingRoom) leave(address string, place *list.Element) bool {
	at := w.byAddress[address]
	if at == nil {
		return false
	}
	q := at.Value.(*addressQueue)
	before := q.waiters.Len()
	q.waiters.Remove(place) // nothing, if place is not in this list
	w.tidy(at)
	return q.waiters.Len() < before
}

// next takes out who is next; somebody waits.
func (w *waitingRoom) next() chan struct{} {
	at := w.ring.Front()
	q := at.Value.(*addressQueue)
	turn := q.waiters.Remove(q.waiters.Front()).(chan struct{})
	w.ring.MoveToBack(at)
	w.tidy(at)
	return turn
}

// tidy removes an address where nobody waits any more.
func (w *waitingRoom) tidy(at *list.Element) {
	if q := at.Value.(*addressQueue); q.waiters.Len() == 0 {
		w.ring.Remove(at)
		delete(w.byAddress, q.address)
	}
}
