package redisstore

import (
	"context"
	"slices"
	"strconv"
	"sync"
)

// index is this replica's view of an index that all share: which names, such as
// addresses, any application has entered.
type index struct {
	kind   string // begins its keys
	tell   func(name string, some bool)
	shards [shards]view
	ask    chan struct{} // receives when a shard has to be compared

	comparing sync.Mutex // what is read is taken in before it is read again
}

// view is what is known of a shard. Every change in Redis has a number; a number
// that is left out is a change that was missed.
type view struct {
	mu    sync.Mutex
	seq   int64  // of the last change taken in; 0: nothing is known
	heard int64  // the largest that was heard of
	top   int64  // the largest of all; Redis counts on from there unless it has lost something
	round uint64 // counts the times when numbers began anew: what was asked before says nothing
	stale bool   // it has to be compared
	names map[string]struct{}

	whole  string // how it was found to lack nothing, as Redis knows; empty: it may lack something
	lost   bool   // it lacks something, though Redis does not know
	broken bool   // one of both, as far as Redis was asked
}

// reading is the whole of a shard as Redis gave it.
type reading struct {
	seq   int64
	names []string
	whole string

	known int64  // the largest number that was known when Redis was asked, since they began anew
	top   int64  // of the view then
	round uint64 // of the view then
}

// forever is a version that no later one follows.
const forever = int64(1) << 52

// indexes are both of them.
func (s *Store) indexes() [2]*index { return [2]*index{s.watched, s.present} }

func newIndex(kind string) *index {
	x := &index{kind: kind, ask: make(chan struct{}, 1)}
	for i := range x.shards {
		x.shards[i].names = make(map[string]struct{})
	}
	return x
}

// restart is for when changes may have been missed, or the numbers have begun
// anew.
func (x *index) restart() {
	for i := range x.shards {
		v := &x.shards[i]
		v.mu.Lock()
		v.begin(0)
		v.mu.Unlock()
	}
	x.rouse()
}

// begin forgets the numbers; heard is the first of the new ones, if any.
func (v *view) begin(heard int64) {
	v.seq, v.heard, v.stale = 0, heard, true
	v.round++
}

func (x *index) rouse() {
	select {
	case x.ask <- struct{}{}:
	default:
	}
}

// heard takes in changes whose numbers begin with first. It returns whether any
// were missed that must have been said before, and with them perhaps more. A
// number that is heard twice was lost by Redis in between. While the shard is
// broken, whoever is said to be watched no more may be so by entries that are
// missing: the comparison after the mending tells.
func (x *index) heard(shard, first string, changes []string) (missed bool) {
	n, err := strconv.Atoi(shard)
	seq, failed := strconv.ParseInt(first, 10, 64)
	if err != nil || failed != nil || n < 0 || n >= shards {
		return false
	}
	v := &x.shards[n]
	v.mu.Lock()
	defer v.mu.Unlock()
	last := seq + int64(len(changes)) - 1
	switch {
	case seq <= v.heard:
		v.begin(last)
		v.top, v.lost = max(v.top, last), true
		x.rouse()
		return false
	case v.heard != 0:
		missed = seq > v.heard+1
	}
	v.heard, v.top = last, max(v.top, last)
	if v.seq == 0 || seq > v.seq+1 {
		v.stale = true
		x.rouse()
		return missed
	}
	for i, c := range changes {
		if seq+int64(i) <= v.seq || c == "" {
			continue
		}
		if some := c[0] == '+'; some || !v.broken {
			x.set(v, c[1:], some)
		}
	}
	v.seq = max(v.seq, last)
	return missed
}

// set tells the hook of what is new. The caller holds the lock, so that the
// hook hears of comings and goings in order.
func (x *index) set(v *view, name string, some bool) {
	if _, had := v.names[name]; had == some {
		return
	}
	if some {
		v.names[name] = struct{}{}
	} else {
		delete(v.names, name)
	}
	if x.tell != nil {
		x.tell(name, some)
	}
}

// compare takes in the whole of a shard. What was heard since Redis was asked may
// be missing. A number that was known before and is larger than that of the
// reading was lost, and numbers go on from there. While the shard is broken what
// it lacks may still be watched.
func (x *index) compare(shard int, r reading) {
	v := &x.shards[shard]
	v.mu.Lock()
	defer v.mu.Unlock()
	if r.round != v.round {
		return // it has been asked to read it again
	}
	if r.seq != 0 && r.seq < v.seq && v.seq > r.known {
		return // changes that came later were heard before
	}
	mended := r.whole != "" && r.whole != v.whole
	v.lost = r.whole == v.whole && (v.lost || r.seq < r.top)
	v.whole, v.broken = r.whole, r.whole == "" || v.lost
	there := make(map[string]struct{}, len(r.names))
	for _, name := range r.names {
		there[name] = struct{}{}
		x.set(v, name, true)
	}
	for name := range v.names {
		if _, ok := there[name]; !ok && !v.broken {
			x.set(v, name, false)
		}
	}
	switch {
	case v.heard > r.known: // since Redis was asked
	case r.seq < r.known, mended && v.heard != 0: // mending may have begun numbers anew
		v.heard = r.seq
	}
	v.top = max(r.seq, v.heard)
	v.seq, v.stale = r.seq, v.heard > max(r.seq, r.known)
	if v.stale {
		x.rouse()
	}
}

// compareWhenAsked compares what had gaps, until the store is closed.
func (s *Store) compareWhenAsked() {
	pause := firstPause
	for {
		var x *index
		select {
		case <-s.watched.ask:
			x = s.watched
		case <-s.present.ask:
			x = s.present
		case <-s.ctx.Done():
			return
		}
		if err := s.compare(s.ctx, x, false); err != nil && s.ctx.Err() == nil {
			s.log.WarnContext(s.ctx, "who is watched could not be read; it is read again soon", "error", err)
			s.later(pause, x.rouse)
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
	}
}

// compare reads the shards that are stale, or all, and lets those that are broken
// be mended.
func (s *Store) compare(ctx context.Context, x *index, all bool) error {
	x.comparing.Lock()
	defer x.comparing.Unlock()
	var wanted []int
	var readings []reading
	var calls []call
	for i := range x.shards {
		v := &x.shards[i]
		v.mu.Lock()
		if all || v.stale {
			wanted, readings = append(wanted, i), append(readings, reading{known: max(v.seq, v.heard), top: v.top, round: v.round})
			calls = append(calls, call{script: membersScript, keys: s.shardKeys(x, i)})
		}
		v.mu.Unlock()
	}
	err := s.runEach(ctx, "reading who is watched", calls, func(i int, m message) {
		reply, r := list(m), readings[i]
		r.seq, r.names, r.whole = number(reply, 0), texts(reply, 1), text(reply, 2)
		x.compare(wanted[i], r)
	})
	if len(x.broken()) > 0 {
		s.rouseMending()
	}
	return err
}

// shardKeys are what a shard of an index keeps but once.
func (s *Store) shardKeys(x *index, shard int) []string {
	return []string{s.key(shard, x.kind), s.key(shard, x.kind+"seq"), s.key(shard, x.kind+"whole")}
}

// enter notes that an application watches names from version on.
func (s *Store) enter(ctx context.Context, x *index, id string, version int64, names []string) error {
	return s.note(ctx, "noting who is watched", enterScript, x, id, version, names)
}

// leave ends that, unless a version later than this one has entered them again.
// What fails is done later.
func (s *Store) leave(ctx context.Context, x *index, id string, version int64, names []string) error {
	err := s.note(ctx, "noting who is not watched any more", leaveScript, x, id, version, names)
	if err != nil {
		s.owed.add(leaving{x, id, version, names})
	}
	return err
}

// leaving is a leave that Redis was not told of.
type leaving struct {
	index   *index
	id      string
	version int64
	names   []string
}

// owed are those, at most maxOwed: beyond, an index holds too much until the
// application ends.
type owed struct {
	mu   sync.Mutex
	list []leaving
}

const maxOwed = 10_000

func (o *owed) add(l leaving) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) < maxOwed {
		o.list = append(o.list, l)
	}
}

// leaveOwed tells Redis of them. What fails stays owed.
func (s *Store) leaveOwed(ctx context.Context) (failed error) {
	s.owed.mu.Lock()
	list := s.owed.list
	s.owed.list = nil
	s.owed.mu.Unlock()
	for part := range slices.Chunk(list, together) {
		var calls []call
		var of []int
		for i, l := range part {
			for _, c := range s.notes(leaveScript, l.index, l.id, l.version, l.names) {
				calls, of = append(calls, c), append(of, i)
			}
		}
		answered := make([]bool, len(calls))
		if err := s.runEach(ctx, "noting who is not watched any more", calls, func(i int, _ message) { answered[i] = true }); err != nil {
			failed = err
		}
		again := make(map[int]bool)
		for i, ok := range answered {
			if !ok && !again[of[i]] {
				again[of[i]] = true
				s.owed.add(part[of[i]])
			}
		}
	}
	return failed
}

func (s *Store) note(ctx context.Context, doing string, script script, x *index, id string, version int64, names []string) error {
	_, err := s.runAll(ctx, doing, s.notes(script, x, id, version, names))
	return err
}

// notes are the runs of a script that enters names for an application, or ends that.
func (s *Store) notes(script script, x *index, id string, version int64, names []string) []call {
	byShard := make(map[int][]string)
	for _, name := range names {
		shard := shardOf(name)
		byShard[shard] = append(byShard[shard], name)
	}
	calls := make([]call, 0, len(byShard))
	for shard, names := range byShard {
		keys := []string{s.key(shard, x.kind), s.key(shard, x.kind+"seq")}
		for _, name := range names {
			keys = append(keys, s.keyOf(x.kind, name))
		}
		args := append(s.noteArgs(x, shard, id, strconv.FormatInt(version, 10)), names...)
		calls = append(calls, call{script: script, keys: keys, args: args})
	}
	return calls
}

// noteArgs are what the scripts that change an index begin with.
func (s *Store) noteArgs(x *index, shard int, id, version string) []string {
	return []string{id, version, millis(s.life), s.interest, x.kind + " " + strconv.Itoa(shard)}
}
