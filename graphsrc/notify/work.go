package notify

import (
	"cmp"
	"hash/maphash"
	"sync"

	"ucwagate/graphsrc"
)

// job is the part of a delivery that one worker works on.
type job struct {
	tasks []task
	proof func() proof
}

// queue holds accepted items for the workers. Each worker has a shard, and all
// about one person goes to one shard, so that the latest word about a person is
// also the last one told.
type queue struct {
	seed   maphash.Seed
	shards []chan job

	mu     sync.Mutex
	limit  int // of waiting
	closed bool
	// waiting counts items queued or being worked on. A job has at least one, so
	// a shard with room for limit jobs never blocks.
	waiting int
}

func newQueue(shards, limit int) *queue {
	q := &queue{seed: maphash.MakeSeed(), limit: limit}
	for range shards {
		q.shards = append(q.shards, make(chan job, limit))
	}
	return q
}

// put queues all tasks of the delivery or none. It never waits.
func (q *queue) put(d *delivery) bool {
	parts := make([][]task, len(q.shards))
	for _, t := range d.tasks {
		i := int(maphash.String(q.seed, cmp.Or(t.person, t.subscription)) % uint64(len(parts)))
		parts[i] = append(parts[i], t)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.waiting > 0 && q.waiting+len(d.tasks) > q.limit {
		return false
	}
	q.waiting += len(d.tasks)
	for i, tasks := range parts {
		if len(tasks) > 0 {
			q.shards[i] <- job{tasks: tasks, proof: d.proof}
		}
	}
	return true
}

// done takes n items off the count.
func (q *queue) done(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting -= n
}

// length is the number of items queued or being worked on.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

// close ends the shards once they are empty. Further calls do nothing.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.closed = true
	for _, shard := range q.shards {
		close(shard)
	}
}

// work tells the sink what the tasks of a job say.
func (r *Receiver) work(j job) {
	changes := make([]graphsrc.PresenceChange, 0, len(j.tasks))
	for _, t := range j.tasks {
		if t.event != "" {
			continue
		}
		if change, ok := r.change(t, j.proof); ok {
			changes = append(changes, change)
		}
	}
	if len(changes) > 0 {
		r.counts.changes.Add(uint64(len(changes)))
		r.sink.Changed(changes)
	}
	for _, t := range j.tasks {
		if t.event != "" {
			r.sink.Lifecycle(t.subscription, t.event)
		}
	}
}

// change returns what a notification says of a person.
//
// The clientState, shown by whatever comes here, is all that proves a basic
// notification, and enough to have a presence read again, though not often. So
// content that cannot be opened still says that something changed, as does
// content that nothing can be said of during an outage of the sign-in service. A
// delivery whose tokens are false says nothing.
func (r *Receiver) change(t task, prove func() proof) (graphsrc.PresenceChange, bool) {
	change := graphsrc.PresenceChange{ID: t.person, SubscriptionID: t.subscription}
	if t.content == nil {
		return change, r.hint(change.ID)
	}
	switch prove() {
	case refuted:
		r.counts.badTokens.Add(1)
		r.complaints.about("the validation tokens of a delivery with encrypted items were missing or false")
		return change, false
	case unknown:
		r.counts.unproven.Add(1)
		r.complaints.about("validation tokens could not be verified: the sign-in service's keys are not available")
		return change, r.hint(change.ID)
	}
	presence, err := r.keys.Open(*t.content)
	if err != nil {
		r.counts.undecryptable.Add(1)
		r.complaints.about(err.Error())
		return change, r.hint(change.ID)
	}
	change.ID = cmp.Or(presence.ID, change.ID)
	if change.ID == "" {
		r.malformed()
		return change, false
	}
	change.Availability, change.Activity, change.Sequence = presence.Availability, presence.Activity, presence.Sequence
	return change, true
}

// proof is what validation tokens say of a delivery.
type proof int

const (
	refuted proof = iota // there is none, or none is good
	unknown              // none is good, but about one nothing can be said
	proven
)
