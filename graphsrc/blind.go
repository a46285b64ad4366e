package graphsrc

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/mapping"
)

const (
	// maxBlind is how many are remembered who were shown somebody as they may not be
	// any more; beyond, everybody is taken to have been shown everybody.
	maxBlind = 10_000
	// maxReports is how many reports are remembered at least, and half of the most.
	maxReports = 10_000
	// clockError is by how much a time of the others may seem later than it was.
	clockError = 50 * time.Millisecond
)

// blind is who was shown by a source that could not hear of the others.
type blind struct {
	any atomic.Bool

	mu     sync.Mutex
	size   int
	seen   map[userKey]sightings
	others time.Time // when somebody was last shown for whom there is no room in seen
}

// sightings are how somebody was shown to whom.
type sightings map[string]sighting

// sighting is when one asked last and what they were shown.
type sighting struct {
	at      time.Time
	words   uint32 // wordsDigest
	several bool   // it was more than one thing
}

// and is both.
func (s sighting) and(t sighting) sighting {
	switch {
	case s.at.IsZero():
		return t
	case t.at.IsZero():
		return s
	}
	return sighting{at: later(s.at, t.at), words: s.words, several: s.several || t.several || s.words != t.words}
}

// add adds others to what may be nil.
func (s sightings) add(others sightings) sightings {
	if s == nil {
		return maps.Clone(others)
	}
	for by, seen := range others {
		s[by] = s[by].and(seen)
	}
	return s
}

// since are those of a time or later.
func (s sightings) since(at time.Time) sightings {
	var out sightings
	for by, seen := range s {
		if seen.at.Before(at) {
			continue
		}
		if out == nil {
			out = make(sightings)
		}
		out[by] = seen
	}
	return out
}

// otherThan says who was shown otherwise.
func (s sightings) otherThan(w *mapping.Presence) (shown []Shown) {
	for by, seen := range s {
		if seen.several || seen.words != wordsDigest(w) {
			shown = append(shown, Shown{By: by, At: seen.at})
		}
	}
	return shown
}

// show notes that one who asked at a time is shown a person as they may not be
// any more.
func (b *blind) show(k userKey, by string, at time.Time, w *mapping.Presence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = make(map[userKey]sightings)
	}
	of := b.seen[k]
	before, again := of[by]
	switch {
	case !again && b.size == maxBlind:
		b.others = later(b.others, at)
	case of == nil:
		of = make(sightings)
		b.seen[k] = of
		fallthrough
	default:
		of[by] = before.and(sighting{at: at, words: wordsDigest(w)})
		if !again {
			b.size++
		}
	}
	b.any.Store(true)
}

// of says how somebody was shown; nil: not at all.
func (b *blind) of(k userKey) sightings {
	if !b.any.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	of := maps.Clone(b.seen[k])
	if !b.others.IsZero() {
		of = of.add(sightings{"": {at: b.others, several: true}})
	}
	return of
}

// forget begins anew: whoever has changed since is among what is to be told.
func (b *blind) forget() {
	if !b.any.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen, b.size, b.others = nil, 0, time.Time{}
	b.any.Store(false)
}

type askedBy struct{}

// AskedBy is a context in which people are asked for by somebody who watches them
// and is not to be shown the past, if they have heard of a change. The name, of
// ASCII letters and digits, comes back in Change.To.
func AskedBy(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, askedBy{}, name)
}

// blindly is what one caller is shown by a source that does not hear; nil: it does.
type blindly struct {
	*blind
	by    string
	asked time.Time
	keys  map[userKey]bool
}

// blindly begins to note what a caller is shown who has asked at a time.
func (b *blind) blindly(ctx context.Context, keys []userKey, asked time.Time) *blindly {
	by, _ := ctx.Value(askedBy{}).(string)
	l := &blindly{blind: b, by: by, asked: asked, keys: make(map[userKey]bool, len(keys))}
	for _, k := range keys {
		l.keys[k] = true
	}
	return l
}

// shows notes that the caller is about to be shown somebody.
func (b *blindly) shows(k userKey, w *mapping.Presence) { b.show(k, b.by, b.asked, w) }

// saw notes what the caller got in the end. What was known when they asked is noted
// by then: a change that is heard in between is not missed.
func (b *blindly) saw(r *Reading, err error) {
	if b == nil || err != nil {
		return
	}
	if k, ok := parseKey(r.Presence.ID); ok && b.keys[k] {
		b.shows(k, &r.Presence.Words)
	}
}

// wordsDigest is a number that differs if the words do, almost certainly.
func wordsDigest(w *mapping.Presence) uint32 {
	d := newDigest()
	for _, s := range [...]string{w.Availability, w.Activity, w.WorkLocation, w.StatusMessage, w.OutOfOfficeMessage} {
		d.text(s)
	}
	d.flags(w.OutOfOffice, false, 0)
	return uint32(d)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// reports is when the last change of people began to be reported by this source.
// Of whom it does not know, the last report may be of any time.
type reports struct {
	recent, older map[userKey]report
}

type report struct {
	revision string
	began    time.Time
}

// begin notes that a change is about to be reported; what is reported once more
// after it failed began when it did first.
func (r *reports) begin(k userKey, revision string, now time.Time) {
	if last, ok := r.last(k); ok && last.revision == revision {
		return
	}
	if r.recent == nil || len(r.recent) >= maxReports {
		r.recent, r.older = make(map[userKey]report), r.recent
	}
	r.recent[k] = report{revision: revision, began: now}
}

// unaware are those of shown to whom no other change of somebody was reported
// since.
func (r *reports) unaware(k userKey, revision string, shown []Shown) (unaware []Shown) {
	last, ok := r.last(k)
	for _, s := range shown {
		if !ok || last.revision == revision || !s.At.Add(clockError).Before(last.began) {
			unaware = append(unaware, s)
		}
	}
	return unaware
}

func (r *reports) last(k userKey) (report, bool) {
	if last, ok := r.recent[k]; ok {
		return last, true
	}
	last, ok := r.older[k]
	return last, ok
}
