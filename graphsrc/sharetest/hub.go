package sharetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// ErrCut is what everything answers to a Part that is cut off.
var ErrCut = errors.New("the hub cannot be reached")

// Hub is what sources have in common, in memory.
type Hub struct {
	// Lease is how long a leader that is not heard of keeps the lead, and after
	// what time without an answer a source is on its own; 5 s. Keep is how many
	// entries there are at most. Both are set before the first Join.
	Lease time.Duration
	Keep  int

	mu       sync.Mutex
	records  map[uuid.UUID]graphsrc.SharedReading
	entries  []hubEntry // the last of them
	told     int        // entries there ever were
	leader   *Part
	until    time.Time // when the leader's lease ends
	mark     int       // changes of so many entries were delivered
	grown    chan struct{}
	requests int
}

type hubEntry struct {
	n       int
	who     *Part
	heard   []graphsrc.Heard
	changes []graphsrc.SharedChange
}

// NewHub makes a hub in which nothing is known.
func NewHub() *Hub {
	return &Hub{Lease: 5 * time.Second, Keep: 10_000, records: make(map[uuid.UUID]graphsrc.SharedReading), grown: make(chan struct{})}
}

// Part is what one source has of a hub.
type Part struct {
	hub *Hub

	mu       sync.Mutex
	cut      bool
	answered time.Time
	leads    time.Time // until then
	term     int
	heard    int // entries
}

var _ graphsrc.Shared = (*Part)(nil)

// Join makes a part for one more source.
func (h *Hub) Join() *Part { return &Part{hub: h, answered: time.Now()} }

// Forget loses all that is known, as a server that is started again without its
// data does.
func (h *Hub) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.records)
	h.entries, h.leader, h.mark = nil, nil, h.told
	h.told++ // whoever follows sees that something is missing
	h.mark = h.told
}

// Requests counts what was asked of the hub, apart from heartbeats.
func (h *Hub) Requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests
}

// Cut separates a part from the hub, or ends that.
func (p *Part) Cut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

func (p *Part) reach() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return ErrCut
	}
	return nil
}

// Role implements graphsrc.Shared.
func (p *Part) Role() graphsrc.Role {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case now.Before(p.leads):
		return graphsrc.Leading
	case !p.leads.IsZero() || now.Sub(p.answered) >= p.hub.Lease:
		return graphsrc.Alone
	}
	return graphsrc.Following
}

// Run implements graphsrc.Shared.
func (p *Part) Run(ctx context.Context, m graphsrc.Member) {
	var wg sync.WaitGroup
	wg.Go(func() { p.beat(ctx, m) })
	wg.Go(func() { p.follow(ctx, m) })
	wg.Go(func() { p.lead(ctx, m) })
	wg.Wait()
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.hub.leader == p && p.reach() == nil {
		p.hub.leader = nil
	}
}

func (p *Part) beat(ctx context.Context, m graphsrc.Member) {
	role := p.Role()
	for ctx.Err() == nil {
		if p.reach() == nil {
			p.claim()
		}
		if now := p.Role(); now != role {
			role = now
			m.Shift(role)
		}
		pause(ctx, p.hub.Lease*3/10)
	}
}

// claim keeps the lead or takes it.
func (p *Part) claim() {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.answered, p.leads = now, time.Time{}
	if h.leader == nil || h.leader == p || !now.Before(h.until) {
		if h.leader != p || !now.Before(h.until) {
			p.term++
		}
		h.leader, h.until = p, now.Add(h.Lease)
		p.leads = now.Add(h.Lease * 9 / 10)
	}
}

// next waits for the entries after the nth; gap says that the next is not there any
// more.
func (h *Hub) next(ctx context.Context, n int) (entries []hubEntry, gap bool) {
	for {
		h.mu.Lock()
		grown := h.grown
		if h.told > n {
			first := h.told - len(h.entries)
			if n >= first {
				entries = slices.Clone(h.entries[n-first:])
			}
			h.mu.Unlock()
			return entries, n < first
		}
		h.mu.Unlock()
		t := time.NewTimer(h.Lease / 10)
		select {
		case <-grown:
		case <-t.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
		t.Stop()
	}
}

func (h *Hub) end() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told
}

func (p *Part) follow(ctx context.Context, m graphsrc.Member) {
	at := -1
	for ctx.Err() == nil {
		if p.reach() != nil {
			pause(ctx, p.hub.Lease/50)
			continue
		}
		if at < 0 {
			end := p.hub.end()
			if m.Resync(ctx) != nil {
				continue
			}
			at = end
			p.hears(at)
		}
		entries, gap := p.hub.next(ctx, at)
		if gap {
			at = -1
			continue
		}
		for i := range entries {
			if p.reach() != nil {
				break
			}
			if entries[i].who != p {
				m.Hear(ctx, entries[i].heard)
			}
			at = entries[i].n
			p.hears(at)
		}
	}
}

func (p *Part) hears(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = n
}

// Hears implements graphsrc.Shared.
func (p *Part) Hears() bool {
	end := p.hub.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.cut && p.heard >= end
}

func (p *Part) lead(ctx context.Context, m graphsrc.Member) {
	for ctx.Err() == nil {
		p.mu.Lock()
		term := p.term
		p.mu.Unlock()
		lasts := func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.term == term && time.Now().Before(p.leads) && !p.cut && ctx.Err() == nil
		}
		if !lasts() {
			pause(ctx, p.hub.Lease/50)
			continue
		}
		p.hub.mu.Lock()
		mark := p.hub.mark
		p.hub.mu.Unlock()
		for lasts() {
			entries, gap := p.hub.next(ctx, mark)
			if gap {
				mark = p.deliverRecords(ctx, m, mark, lasts)
				continue
			}
			for i := range entries {
				if !deliver(ctx, m, entries[i].changes, p.hub.Lease/25, lasts) {
					break
				}
				mark = entries[i].n
				p.hub.mu.Lock()
				if p.hub.leader == p {
					p.hub.mark = max(p.hub.mark, mark)
				}
				p.hub.mu.Unlock()
			}
		}
	}
}

func deliver(ctx context.Context, m graphsrc.Member, changes []graphsrc.SharedChange, wait time.Duration, lasts func() bool) bool {
	for len(changes) > 0 {
		if !lasts() {
			return false
		}
		if changes, _ = m.Deliver(ctx, changes); len(changes) > 0 {
			pause(ctx, wait)
		}
	}
	return lasts()
}

func (p *Part) deliverRecords(ctx context.Context, m graphsrc.Member, mark int, lasts func() bool) int {
	end := p.hub.end()
	var changes []graphsrc.SharedChange
	p.hub.mu.Lock()
	for _, k := range m.Watched() {
		r, ok := p.hub.records[k]
		var n int
		_, _ = fmt.Sscanf(r.Revision, "%d-0", &n)
		if ok && n > mark {
			changes = append(changes, graphsrc.SharedChange{After: r, Unsure: true, Revision: r.Revision})
		}
	}
	p.hub.mu.Unlock()
	if !deliver(ctx, m, changes, p.hub.Lease/25, lasts) {
		return mark
	}
	return end
}

// Tell implements graphsrc.Shared.
func (p *Part) Tell(_ context.Context, readings []graphsrc.Told) (refused []graphsrc.SharedReading, err error) {
	if len(readings) > graphsrc.ShareBatch {
		panic(fmt.Sprintf("%d readings were told at once", len(readings)))
	}
	if err := p.reach(); err != nil {
		return nil, err
	}
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests++
	e := hubEntry{n: h.told + 1, who: p}
	revision := fmt.Sprintf("%d-0", e.n)
	for i := range readings {
		if !h.tell(&e, &readings[i], revision) {
			refused = append(refused, h.records[readings[i].ID])
		}
	}
	h.told++
	h.entries = append(h.entries, e)
	if len(h.entries) > h.Keep {
		h.entries = slices.Clone(h.entries[len(h.entries)-h.Keep:])
	}
	close(h.grown)
	h.grown = make(chan struct{})
	return refused, nil
}

// tell compares a reading with the record; false: the record is newer.
func (h *Hub) tell(e *hubEntry, t *graphsrc.Told, revision string) bool {
	next := t.SharedReading
	known, ok := h.records[t.ID]
	next.Revision = known.Revision
	again := len(t.Shown) > 0
	change := graphsrc.SharedChange{At: time.Now(), Revision: revision, Unsure: again, Shown: t.Shown}
	changed := false
	if ok {
		lower := next.Sequence != "" && len(next.Sequence) == len(known.Sequence) && next.Sequence < known.Sequence && !t.Insist
		if known.LastActive.After(next.LastActive) {
			next.LastActive = known.LastActive
		}
		differs := known.Words != next.Words
		if next.ReadAt.Before(known.ReadAt) || lower {
			if !again {
				return !differs
			}
			next = known
		} else if differs {
			changed, change.Before = true, known.Words
		}
	} else {
		before := mapping.Presence{}
		if t.Before != nil {
			before = *t.Before
		}
		changed = t.Before == nil || before != next.Words
		change.Before, change.First = before, t.Before == nil
	}
	heard := graphsrc.Heard{SharedReading: next, Changed: changed || again, Digest: next.Digest()}
	if changed {
		change.Unsure, change.Shown = false, nil
		heard.ChangedAt = change.At
	}
	if heard.Changed {
		next.Revision, heard.Revision = revision, revision
		change.After = next
		e.changes = append(e.changes, change)
	} else if ok && known.Digest() == next.Digest() {
		heard = graphsrc.Heard{Same: true, Digest: next.Digest(), SharedReading: graphsrc.SharedReading{ID: next.ID, ReadAt: next.ReadAt}}
	}
	h.records[t.ID] = next
	e.heard = append(e.heard, heard)
	return true
}

// Recall implements graphsrc.Shared.
func (p *Part) Recall(_ context.Context, people []uuid.UUID) ([]graphsrc.SharedReading, error) {
	if len(people) > graphsrc.ShareBatch {
		panic(fmt.Sprintf("%d records were read at once", len(people)))
	}
	if err := p.reach(); err != nil {
		return nil, err
	}
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests++
	var out []graphsrc.SharedReading
	for _, k := range people {
		if r, ok := h.records[k]; ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
