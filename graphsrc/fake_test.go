package graphsrc

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
	"ucwagate/mapping"
)

// id makes the object id of the nth person.
func id(n int) string {
	var k userKey
	binary.BigEndian.PutUint64(k[8:], uint64(n))
	return k.String()
}

func available(id string) Presence {
	return Presence{ID: id, Words: mapping.Presence{Availability: "Available", Activity: "Available"}}
}

// fakeGraph answers presence from a function and counts; it stands in for time
// and faults only, the wire is tested where it is spoken.
type fakeGraph struct {
	mu      sync.Mutex
	batches [][]string // ids of each presence request
	posts   int        // of them, by Presences
	latency time.Duration
	// answer is asked for each request; nil answers Available for everyone.
	answer func(ids []string) ([]Presence, error)

	fakeDirectory
	fakeMailbox
	fakePublisher
	photos fakePhotos
	finds  fakeSearcher
}

func (f *fakeGraph) Photo(ctx context.Context, id string, size int, etag string) (Photo, error) {
	return f.photos.Photo(ctx, id, size, etag)
}

func (f *fakeGraph) SearchUsers(ctx context.Context, search string, top int) ([]User, bool, error) {
	return f.finds.SearchUsers(ctx, search, top)
}

func (f *fakeGraph) FilterUsers(ctx context.Context, filter string, top int) ([]User, bool, error) {
	return f.finds.FilterUsers(ctx, filter, top)
}

func (f *fakeGraph) SearchGroups(ctx context.Context, search string, top int) ([]Group, bool, error) {
	return f.finds.SearchGroups(ctx, search, top)
}

func (f *fakeGraph) Group(ctx context.Context, id string) (Group, error) {
	return f.finds.Group(ctx, id)
}

func (f *fakeGraph) Presence(ctx context.Context, one string) (Presence, error) {
	list, err := f.respond(ctx, []string{one}, false)
	if err != nil || len(list) == 0 {
		return Presence{}, err
	}
	return list[0], nil
}

func (f *fakeGraph) Presences(ctx context.Context, ids []string) ([]Presence, error) {
	return f.respond(ctx, ids, true)
}

func (f *fakeGraph) respond(ctx context.Context, ids []string, post bool) ([]Presence, error) {
	f.mu.Lock()
	f.batches = append(f.batches, slices.Clone(ids))
	if post {
		f.posts++
	}
	answer, latency := f.answer, f.latency
	f.mu.Unlock()
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			return nil, &Error{Op: "get presence", Kind: KindTimeout, Err: ctx.Err()}
		}
	}
	if answer != nil {
		return answer(ids)
	}
	var out []Presence
	for _, one := range ids {
		out = append(out, available(one))
	}
	return out, nil
}

func (f *fakeGraph) set(answer func(ids []string) ([]Presence, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// say makes everyone answer with the same words and stamp.
func (f *fakeGraph) say(availability, sequence string) {
	f.set(func(ids []string) ([]Presence, error) {
		var out []Presence
		for _, one := range ids {
			out = append(out, Presence{ID: one, Sequence: sequence, Words: mapping.Presence{Availability: availability, Activity: availability}})
		}
		return out, nil
	})
}

func (f *fakeGraph) fail(err error) {
	f.set(func([]string) ([]Presence, error) { return nil, err })
}

func (f *fakeGraph) requests() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.batches)
}

// fakeBudget lets everything pass unless it is shut; then callers wait, or are
// refused when refuse is set.
type fakeBudget struct {
	mu     sync.Mutex
	open   chan struct{} // nil: open
	refuse *budget.ExhaustedError
	lanes  []budget.Lane
}

func (b *fakeBudget) Acquire(ctx context.Context, lane budget.Lane) (*budget.Permit, error) {
	b.mu.Lock()
	open, refuse := b.open, b.refuse
	b.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	if open != nil {
		select {
		case <-open:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lanes = append(b.lanes, lane)
	return nil, nil
}

func (b *fakeBudget) granted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lanes)
}

// start builds a source over a fake; change may alter its options.
func start(t testing.TB, g Graph, b Permits, change func(*Options)) *Source {
	t.Helper()
	o := Options{Graph: g, Budget: b}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func errKind(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

func wait(d time.Duration) { <-time.After(d) }

func newID() string { return uuid.NewString() }
