package sharetest

import (
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"ucwagate/graphsrc"
)

// Recorder is a member that writes down what it is told.
type Recorder struct {
	mu        sync.Mutex
	watched   []uuid.UUID
	heard     []graphsrc.Heard
	delivered []graphsrc.SharedChange
	resyncs   int
	fail      error
	tried     int
}

var _ graphsrc.Member = (*Recorder)(nil)

// Hear implements graphsrc.Member.
func (r *Recorder) Hear(_ context.Context, readings []graphsrc.Heard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = append(r.heard, readings...)
}

// Resync implements graphsrc.Member.
func (r *Recorder) Resync(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resyncs++
	return nil
}

// Shift implements graphsrc.Member.
func (r *Recorder) Shift(graphsrc.Role) {}

// Watched implements graphsrc.Member.
func (r *Recorder) Watched() []uuid.UUID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.watched)
}

// Deliver implements graphsrc.Member.
func (r *Recorder) Deliver(_ context.Context, changes []graphsrc.SharedChange) ([]graphsrc.SharedChange, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried++
	if r.fail != nil {
		return changes, r.fail
	}
	r.delivered = append(r.delivered, changes...)
	return nil, nil
}

// Watch sets who is watched.
func (r *Recorder) Watch(people ...uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched = people
}

// Fail has Deliver fail from now on, or succeed.
func (r *Recorder) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// Heard returns what was heard so far.
func (r *Recorder) Heard() []graphsrc.Heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.heard)
}

// Delivered returns the changes delivered so far, Tried how often it was tried.
func (r *Recorder) Delivered() []graphsrc.SharedChange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.delivered)
}

// Tried counts the calls of Deliver.
func (r *Recorder) Tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tried
}

// Resyncs counts the calls of Resync.
func (r *Recorder) Resyncs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resyncs
}
