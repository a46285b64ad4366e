package graphsrc

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"ucwagate/graphsrc/clock"
	"ucwagate/mapping"
)

const (
	// recallWait is how long somebody who asks waits for the shared records before
	// Graph is asked.
	recallWait = 500 * time.Millisecond
	// leaderWait is how long a source that follows waits for the leader's first
	// look at somebody, and up to a third longer at random.
	leaderWait = 3 * time.Second
	// tellPause is the first pause after readings could not be told; it doubles up
	// to maxTellPause.
	tellPause    = 100 * time.Millisecond
	maxTellPause = 2 * time.Second
	// deliveries is how many changes are reported at the same time.
	deliveries = 16
	// passedFor is how long a change of somebody whom nobody watches is kept for
	// whoever begins to: the news that somebody watches may arrive later than the
	// change. At most maxPassed are kept.
	passedFor = 2 * time.Minute
	maxPassed = 10_000
)

// sharing is a source's part in a Shared.
//
//	answer ──▶ apply ──▶ note ──▶ untold ──▶ Shared.Tell ──▶ all: Hear ──▶ cache, watchlist
//	                                                └──────▶ the leader: Deliver ──▶ Change
//
// An answer is in the own cache at once. What waits to be told is one entry per
// person, with what was known before the first reading that is not told: so
// whatever is read while nobody can be told, the difference is told once, later.
//
// Who hears of a change asks any of the sources, and must be shown it. So one that
// does not hear what the others tell (Shared.Hears) looks into the shared records
// before it shows anybody. Where it cannot, it shows what it knows, and remembers
// of whom, to whom and when: if it turns out that they had changed, whoever leads
// tells those once more who were shown it after the change was reported.
type sharing struct {
	shared   Shared
	cache    *cache
	watch    *watchlist
	clk      clock.Clock
	log      *slog.Logger
	life     *lifetime
	replan   func() // the role or the number of people has changed
	onChange func(Change) error

	some  chan struct{} // there is something to tell, or may be now
	blind blind

	mu     sync.Mutex
	untold map[userKey]untold
	passed map[userKey]passed

	reports reports // of Deliver alone
}

// untold is what was known of somebody before the first reading not yet told.
type untold struct {
	words  words
	digest uint32
	known  bool
	insist bool
	seen   sightings // while nobody was heard
}

// passed is a change that was not reported because nobody watched.
type passed struct {
	change SharedChange
	at     time.Time
}

func newSharing(o *Options, s *Source) *sharing {
	return &sharing{
		shared: o.Shared, cache: s.cache, watch: s.watch, clk: o.Clock, log: o.Logger, life: s.life,
		replan: func() { s.refresher.rouse() }, onChange: s.report, some: make(chan struct{}, 1),
		untold: make(map[userKey]untold), passed: make(map[userKey]passed),
	}
}

// run takes part until ctx ends.
func (s *sharing) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.tell(ctx) })
	s.shared.Run(ctx, s)
}

// note enters what an answer has made of somebody among what is to be told. tellSoon
// follows, when the whole answer is.
func (s *sharing) note(k userKey, before, after *record) {
	if after.doubted || !after.known {
		return
	}
	insist := before.known && older(after.sequence, before.sequence)
	var seen sightings
	if before.known && !before.words.equal(&after.words) {
		seen = s.blind.of(k) // others may have told and reported it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, waits := s.untold[k]
	if !waits {
		u = untold{words: before.words, known: before.known, digest: before.digest()}
	}
	u.insist, u.seen = u.insist || insist, u.seen.add(seen)
	s.untold[k] = u
}

func (s *sharing) tellSoon() {
	select {
	case s.some <- struct{}{}:
	default:
	}
}

// tell tells what is to be told until ctx ends.
func (s *sharing) tell(ctx context.Context) {
	wait := tellPause
	for {
		select {
		case <-s.some:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			keys, batch := s.take()
			if len(batch) == 0 {
				break
			}
			refused, err := s.shared.Tell(ctx, batch)
			if err == nil {
				wait = tellPause
				s.believe(refused)
				continue
			}
			s.putBack(keys)
			s.log.Debug("readings could not be told", "error", err, "retry_in", wait)
			clock.Wait(ctx, s.clk, wait+rand.N(wait/2))
			wait = min(2*wait, maxTellPause)
		}
	}
}

// take takes a batch of what is to be told, as it stands in the cache now.
func (s *sharing) take() (map[userKey]untold, []Told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.untold), ShareBatch)
	if n == 0 {
		return nil, nil
	}
	keys, batch := make(map[userKey]untold, n), make([]Told, 0, n)
	for k, u := range s.untold {
		if len(batch) == ShareBatch {
			break
		}
		delete(s.untold, k)
		rec, known := s.cache.peek(k)
		if !known {
			continue
		}
		keys[k] = u
		t := Told{SharedReading: s.cache.shared(k, &rec), Changed: !u.known || u.digest != rec.digest(), Insist: u.insist}
		t.Shown = u.seen.otherThan(&t.Words)
		if u.known {
			before := u.words.unpack()
			t.Before = &before
		}
		batch = append(batch, t)
	}
	if len(s.untold) == 0 && n == ShareBatch {
		s.untold = make(map[userKey]untold) // a map keeps the room it once took
	}
	return keys, batch
}

// putBack returns what could not be told. What was known before that counts.
func (s *sharing) putBack(keys map[userKey]untold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, u := range keys {
		if newer, ok := s.untold[k]; ok {
			u.insist = u.insist || newer.insist
			u.seen = u.seen.add(newer.seen)
		}
		s.untold[k] = u
	}
}

// believe takes over the records of people of whom the own reading was refused.
func (s *sharing) believe(records []SharedReading) {
	now := s.clk.Now()
	for i := range records {
		if rec, what := s.cache.adopt(records[i].ID, &records[i], now, adoptAlways); what.changed {
			s.mend(records[i].ID, &rec, time.Time{})
		}
	}
}

// Hear is part of Member.
func (s *sharing) Hear(ctx context.Context, readings []Heard) {
	now := s.clk.Now()
	var read []heard
	var differ []userKey
	at := now
	for i := range readings {
		h := &readings[i]
		var rec record
		var what adopted
		if h.Same {
			rec, what = s.cache.confirm(h.ID, h.Digest, h.ReadAt, now)
		} else {
			rec, what = s.cache.adopt(h.ID, &h.SharedReading, now, adoptKnown)
		}
		switch {
		case what.differs:
			differ = append(differ, h.ID)
		case what.taken && rec.watched:
			read = append(read, heard{h.ID, rec.tier, rec.entry})
			if h.ReadAt.Before(at) {
				at = h.ReadAt
			}
		}
		if what.changed {
			s.mend(h.ID, &rec, h.ChangedAt)
		}
	}
	s.watch.read(read, at)
	if len(differ) > 0 {
		if _, err := s.recall(ctx, differ); err != nil {
			s.log.Debug("records could not be read", "error", err)
		}
	}
}

// Resync is part of Member.
func (s *sharing) Resync(ctx context.Context) error {
	everybody := s.watch.everybody()
	for from := 0; from < len(everybody); from += ShareBatch {
		if _, err := s.recall(ctx, everybody[from:min(from+ShareBatch, len(everybody))]); err != nil {
			return err
		}
	}
	return nil
}

// Watched is part of Member.
func (s *sharing) Watched() []uuid.UUID { return s.watch.everybody() }

// Shift is part of Member.
func (s *sharing) Shift(to Role) {
	s.log.Info("the part in reading presence has changed", "role", to.String())
	s.replan()
	s.tellSoon()
}

// recall reads the records of people, at most ShareBatch, and takes them over. It
// reports whether there was one.
func (s *sharing) recall(ctx context.Context, keys []userKey) (some bool, err error) {
	records, err := s.shared.Recall(ctx, keys)
	if err != nil {
		return false, err
	}
	now := s.clk.Now()
	var read []heard
	for i := range records {
		rec, what := s.cache.adopt(records[i].ID, &records[i], now, adoptNew)
		if what.changed {
			s.mend(records[i].ID, &rec, time.Time{})
		}
		if rec.watched && what.taken && s.cache.isFresh(&rec, now) {
			read = append(read, heard{records[i].ID, rec.tier, rec.entry})
		}
	}
	s.watch.recalled(read, now)
	return len(records) > 0, nil
}

// consult asks the shared records before Graph is asked for people. It reports
// whether anything was found; an error says that not all could be asked for.
func (s *sharing) consult(ctx context.Context, keys []userKey) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, recallWait)
	defer cancel()
	for from := 0; from < len(keys); from += ShareBatch {
		some, err := s.recall(ctx, keys[from:min(from+ShareBatch, len(keys))])
		if err != nil {
			s.log.Debug("records could not be read", "error", err)
			return found, err
		}
		found = found || some
	}
	return found, nil
}

// fetch reads the records of those of ids of whom nothing fresh is known, before
// anything else is asked. It fails without a word: Graph is asked then, or what is
// known is shown. What it returns is to be told what that was.
func (s *sharing) fetch(ctx context.Context, ids ...string) *blindly {
	hears, now := s.shared.Hears(), s.clk.Now()
	if hears {
		s.blind.forget()
	}
	var keys []userKey
	for _, id := range ids {
		k, ok := parseKey(id)
		if !ok {
			continue
		}
		if rec, known := s.cache.peek(k); !hears || !known || !rec.outdated && !s.cache.isFresh(&rec, now) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if _, err := s.consult(ctx, keys); err == nil || hears {
		return nil
	}
	b := s.blind.blindly(ctx, keys, now)
	for _, k := range keys {
		var words mapping.Presence
		if rec, known := s.cache.peek(k); known {
			words = rec.words.unpack()
		}
		b.shows(k, &words)
	}
	return b
}

// mend has somebody told once more who was shown otherwise than they are, unless
// that was before they changed; zero: it is not known when.
func (s *sharing) mend(k userKey, rec *record, changed time.Time) {
	seen := s.blind.of(k).since(changed.Add(-clockError))
	if len(seen) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, waits := s.untold[k]
	if !waits {
		u = untold{words: rec.words, known: rec.known, digest: rec.digest()}
	}
	u.seen = u.seen.add(seen)
	s.untold[k] = u
	s.tellSoon()
}

// first decides how people who are watched from now on are looked at: ask are
// those to be asked for at once, wait those whom the leader is about to look at.
func (s *sharing) first(ctx context.Context, keys []userKey) (ask, wait []userKey) {
	now := s.clk.Now()
	for _, k := range keys {
		rec, known := s.cache.peek(k)
		if known && (rec.outdated || s.cache.isFresh(&rec, now)) {
			ask = append(ask, k) // somebody wants them read whatever is known
		} else {
			wait = append(wait, k)
		}
	}
	if len(wait) > 0 {
		if found, _ := s.consult(ctx, wait); found {
			wait = s.watch.away(wait)
		}
	}
	if s.shared.Role() == Following {
		return ask, wait
	}
	return append(ask, wait...), nil
}

// Deliver is part of Member.
func (s *sharing) Deliver(_ context.Context, changes []SharedChange) (failed []SharedChange, err error) {
	var reported []*SharedChange
	now := s.clk.Now()
	for i := range changes {
		c := &changes[i]
		if len(c.Shown) > 0 {
			if c.Shown = s.reports.unaware(c.After.ID, c.Revision, c.Shown); len(c.Shown) == 0 {
				continue
			}
		}
		if s.watch.has(c.After.ID) {
			if c.to() == nil {
				s.reports.begin(c.After.ID, c.Revision, now)
			}
			reported = append(reported, c)
			continue
		}
		s.pass(c, now)
		if s.watch.has(c.After.ID) { // it has just begun
			s.watched([]userKey{c.After.ID})
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, deliveries)
	for _, c := range reported {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if why := s.onChange(s.change(c)); why != nil {
				mu.Lock()
				failed, err = append(failed, *c), why
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed, err
}

// change is what is reported of a change.
func (s *sharing) change(c *SharedChange) Change {
	id := c.After.ID.String()
	out := Change{ID: id, After: c.After.reading(id, c.After.Words), First: c.First, Unsure: c.Unsure, Known: c.At, Revision: c.Revision, To: c.to()}
	if !c.First && !c.Unsure {
		out.Before = c.After.reading(id, c.Before)
		// Of what was before, only the words are kept.
		out.Before.Presence.Sequence, out.Before.ReadAt, out.Before.LastActive = "", time.Time{}, time.Time{}
	}
	return out
}

// to is who is to hear of it; nil: all.
func (c *SharedChange) to() (names []string) {
	for _, shown := range c.Shown {
		if shown.By == "" {
			return nil
		}
		names = append(names, shown.By)
	}
	return names
}

func (r *SharedReading) reading(id string, words mapping.Presence) Reading {
	return Reading{Presence: Presence{ID: id, Words: words, Sequence: r.Sequence}, ReadAt: r.ReadAt, LastActive: r.LastActive}
}

// pass keeps a change of somebody whom nobody watches for a while.
func (s *sharing) pass(c *SharedChange, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.passed) >= maxPassed {
		for k, p := range s.passed {
			if now.Sub(p.at) > passedFor {
				delete(s.passed, k)
			}
		}
		if len(s.passed) >= maxPassed {
			clear(s.passed)
		}
	}
	s.passed[c.After.ID] = passed{change: *c, at: now}
}

// watched reports changes of people that passed shortly before they were watched.
// It does not block.
func (s *sharing) watched(keys []userKey) {
	s.mu.Lock()
	var late []Change
	now := s.clk.Now()
	for _, k := range keys {
		if p, ok := s.passed[k]; ok {
			delete(s.passed, k)
			if now.Sub(p.at) <= passedFor {
				late = append(late, s.change(&p.change))
			}
		}
	}
	s.mu.Unlock()
	if len(late) == 0 || !s.life.enter() {
		return
	}
	go func() {
		defer s.life.leave()
		for _, c := range late {
			if err := s.onChange(c); err != nil {
				s.log.Warn("a change could not be reported", "error", err)
			}
		}
	}()
}
