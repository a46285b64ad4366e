package budget

import "time"

// permitLife is how long a permit may be kept between Acquire and the send. An
// older one goes back to the bucket by itself: a permit that is lost must not
// block a part of the capacity for ever. Acquiring again is all that a slow
// holder loses.
const permitLife = 5 * time.Second

// permitState says where a permit is in its life. It only ever moves from
// waiting to held or refused, and from held to over.
type permitState uint8

const (
	permitWaiting permitState = iota
	permitHeld
	permitRefused // never granted; the permit's err says why
	permitOver    // spent, returned, expired or made void by a pause
)

// Permit is the right to one physical send. It is also its own place in the
// queue, so that a grant without waiting costs one allocation.
type Permit struct {
	budget     *Budget
	prev, next *Permit       // neighbours among those of a client who wait, later among the held
	client     *client       // of a waiting permit
	ready      chan struct{} // closed when a waiting permit is granted or refused
	err        error         // of a refused permit
	deadline   int64         // of a waiting permit: when its caller gives up
	asked      int64         // when Acquire was called
	granted    int64         // of a held permit: since when
	lane       Lane
	state      permitState // guarded by budget.mu
}

// Return gives an unspent permit back, to whoever waits next. It does nothing to
// a permit that is nil, spent, returned or expired, so it may be deferred.
func (p *Permit) Return() {
	if p == nil {
		return
	}
	b := p.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.settle() // may find that the permit has just expired
	if p.state == permitHeld {
		b.giveBack(p)
		b.dispatch(now)
	}
}

// permits is a list of permits linked through themselves: any of them can be
// taken out at once, and nothing is allocated.
type permits struct{ head, tail *Permit }

func (l *permits) push(p *Permit) {
	p.prev, p.next = l.tail, nil
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.next = p
	}
	l.tail = p
}

func (l *permits) remove(p *Permit) {
	if p.prev == nil {
		l.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		l.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
}
