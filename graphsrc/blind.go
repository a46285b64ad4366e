package graphsrc

import (
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/mapping"
)

const (
	// maxBlind is how many of those are remembered who were shown as they may not
	// be any more; beyond, everybody is taken for one of them.
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
	seen   map[userKey]sighting
	others sighting // of those of whom there is no room in seen
}

// sighting is when somebody asked last and how they were shown; the zero one: they
// were not.
type sighting struct {
	at      time.Time
	words   uint32 // wordsDigest
	several bool   // they were shown in several ways
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

// otherThan is when somebody was shown otherwise; zero: never.
func (s sighting) otherThan(w *mapping.Presence) time.Time {
	if !s.several && s.words == wordsDigest(w) {
		return time.Time{}
	}
	return s.at
}

// show notes that somebody who asked at a time is shown a person as they may not
// be any more.
func (b *blind) show(k userKey, at time.Time, w *mapping.Presence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = make(map[userKey]sighting)
	}
	now := sighting{at: at, words: wordsDigest(w)}
	if before, again := b.seen[k]; again || len(b.seen) < maxBlind {
		b.seen[k] = before.and(now)
	} else {
		b.others = sighting{at: later(b.others.at, at), several: true}
	}
	b.any.Store(true)
}

// of says how somebody was shown.
func (b *blind) of(k userKey) sighting {
	if !b.any.Load() {
		return sighting{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.seen[k]; ok {
		return s
	}
	return b.others
}

// forget begins anew: whoever has changed since is among what is to be told.
func (b *blind) forget() {
	if !b.any.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen, b.others = nil, sighting{}
	b.any.Store(false)
}

// blindly is what one caller is shown by a source that does not hear; nil: it does.
type blindly struct {
	*blind
	asked time.Time
	keys  map[userKey]bool
}

// saw notes what the caller got in the end. What was known when they asked is noted
// by then: a change that is heard in between is not missed.
func (b *blindly) saw(r *Reading, err error) {
	if b == nil || err != nil {
		return
	}
	if k, ok := parseKey(r.Presence.ID); ok && b.keys[k] {
		b.show(k, b.asked, &r.Presence.Words)
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

// after says that another change of somebody was reported after a time to all who
// watched: whoever was shown something else until then has been told.
func (r *reports) after(k userKey, revision string, at time.Time) bool {
	last, ok := r.last(k)
	return ok && last.revision != revision && at.Add(clockError).Before(last.began)
}

func (r *reports) last(k userKey) (report, bool) {
	if last, ok := r.recent[k]; ok {
		return last, true
	}
	last, ok := r.older[k]
	return last, ok
}
