package notify

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc/clock"
)

// events are the lifecycle events; counters.lifecycle has their order.
var events = [...]Event{ReauthorizationRequired, SubscriptionRemoved, Missed}

// Stats counts since the start of a Receiver.
type Stats struct {
	Validations uint64 // of the URL, answered with the token
	Deliveries  uint64 // POST requests other than validations, whatever became of them
	Unreadable  uint64 // requests answered by 400 or 413
	QueueFull   uint64 // deliveries answered by 503 because the queue was full or closed
	Busy        uint64 // deliveries answered by 503 because too many were being read
	Items       uint64 // notifications read, whatever became of them
	Changes     uint64 // told to the sink

	// Items of which the sink was told nothing.

	ForeignTenant    uint64 // of another tenant, or of none
	WrongClientState uint64 // of no known subscription, or without its secret
	Malformed        uint64 // of a wrong form, or of nobody
	BadTokens        uint64 // encrypted, in a delivery without a good validation token
	Repeated         uint64 // unopened, and another about the person was told less than 5 s before

	// Items that say, if they name a person, only that something changed. The
	// sink was told of those that are not Repeated.

	Unproven      uint64 // encrypted, while the sign-in service's keys were not available
	Undecryptable uint64 // the key is unknown, or the content damaged

	// Lifecycle counts lifecycle notifications and always has the three events.
	Lifecycle    map[Event]uint64
	UnknownEvent uint64 // lifecycle notifications that were ignored

	Waiting int // items queued or being worked on at this time
}

type counters struct {
	validations, deliveries, unreadable, queueFull, busy, items, changes atomic.Uint64
	foreignTenant, wrongClientState, malformed, badTokens, repeated      atomic.Uint64
	unproven, undecryptable, unknownEvent                                atomic.Uint64
	lifecycle                                                            [len(events)]atomic.Uint64
}

// Stats returns the counts. The map is the caller's.
func (r *Receiver) Stats() Stats {
	c := &r.counts
	s := Stats{
		Validations: c.validations.Load(), Deliveries: c.deliveries.Load(), Unreadable: c.unreadable.Load(),
		QueueFull: c.queueFull.Load(), Busy: c.busy.Load(), Items: c.items.Load(), Changes: c.changes.Load(),
		ForeignTenant: c.foreignTenant.Load(), WrongClientState: c.wrongClientState.Load(),
		Malformed: c.malformed.Load(), BadTokens: c.badTokens.Load(), Repeated: c.repeated.Load(),
		Unproven: c.unproven.Load(), Undecryptable: c.undecryptable.Load(),
		Lifecycle: make(map[Event]uint64, len(events)), UnknownEvent: c.unknownEvent.Load(),
		Waiting: r.queue.length(),
	}
	for i, event := range events {
		s.Lifecycle[event] = c.lifecycle[i].Load()
	}
	return s
}

// complaintsEvery is the least time between two log lines for one reason.
const complaintsEvery = time.Minute

// complaints logs what is wrong with requests that anybody can send: a line for
// each reason and minute at most, with how often it was so since the last line.
type complaints struct {
	log  *slog.Logger
	clk  clock.Clock
	told func() // nil: nobody is

	mu      sync.Mutex
	reasons map[string]*complaint // the reasons are constants, so they are few
}

type complaint struct {
	logged time.Time
	since  int
}

func newComplaints(log *slog.Logger, clk clock.Clock) *complaints {
	return &complaints{log: log, clk: clk, reasons: map[string]*complaint{}}
}

// about counts the reason, a constant text, and logs it when it is time to.
func (c *complaints) about(reason string, attrs ...any) {
	if count := c.count(reason); count > 0 {
		c.log.Warn("change notifications: "+reason, append([]any{"count", count}, attrs...)...)
		if c.told != nil {
			c.told()
		}
	}
}

// count returns how often the reason was given since the last log line if it is
// time for another, otherwise zero.
func (c *complaints) count(reason string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, one := c.clk.Now(), c.reasons[reason]
	if one == nil {
		one = &complaint{logged: now.Add(-complaintsEvery)}
		c.reasons[reason] = one
	}
	one.since++
	if now.Sub(one.logged) < complaintsEvery {
		return 0
	}
	count := one.since
	one.logged, one.since = now, 0
	return count
}
