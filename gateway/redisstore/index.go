package redisstore

import (
	"context"
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
	seq   int64 // of the last change taken in; 0: nothing is known
	heard int64 // the largest that was heard of
	stale bool  // it has to be compared
	names map[string]struct{}
}

// forever is a version that no later one follows.
const forever = int64(1) << 52

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
		v.seq, v.heard, v.stale = 0, 0, true
		v.mu.Unlock()
	}
	x.rouse()
}

func (x *index) rouse() {
	select {
	case x.ask <- struct{}{}:
	default:
	}
}

// heard takes in changes whose numbers begin with first.
func (x *index) heard(shard, first string, changes []string) {
	n, err := strconv.Atoi(shard)
	seq, failed := strconv.ParseInt(first, 10, 64)
	if err != nil || failed != nil || n < 0 || n >= shards {
		return
	}
	v := &x.shards[n]
	v.mu.Lock()
	defer v.mu.Unlock()
	last := seq + int64(len(changes)) - 1
	v.heard = max(v.heard, last)
	if v.seq == 0 || seq > v.seq+1 {
		v.stale = true
		x.rouse()
		return
	}
	for i, c := range changes {
		if seq+int64(i) <= v.seq || c == "" {
			continue
		}
		x.set(v, c[1:], c[0] == '+')
	}
	v.seq = max(v.seq, last)
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

// compare takes in the whole of a shard as it was at seq. before is the largest
// number that had been heard when it was asked for: what was heard since may be
// missing. If before is larger than seq the data was lost, and numbers begin anew.
func (x *index) compare(shard int, seq int64, names []string, before int64) {
	v := &x.shards[shard]
	v.mu.Lock()
	defer v.mu.Unlock()
	if seq != 0 && seq < v.seq {
		return // changes that came later were heard before
	}
	there := make(map[string]struct{}, len(names))
	for _, name := range names {
		there[name] = struct{}{}
		x.set(v, name, true)
	}
	for name := range v.names {
		if _, ok := there[name]; !ok {
			x.set(v, name, false)
		}
	}
	v.seq, v.stale = seq, v.heard > max(seq, before)
	if v.stale {
		x.rouse()
	}
}

// compareWhenAsked compares what had gaps, until the store is closed.
func (s *Store) compareWhenAsked() {
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
			s.later(firstPause, x.rouse)
		}
	}
}

// compare reads the shards that are stale, or all.
func (s *Store) compare(ctx context.Context, x *index, all bool) error {
	x.comparing.Lock()
	defer x.comparing.Unlock()
	var wanted []int
	var before []int64
	var calls []call
	for i := range x.shards {
		v := &x.shards[i]
		v.mu.Lock()
		if all || v.stale {
			wanted, before = append(wanted, i), append(before, v.heard)
			calls = append(calls, call{script: membersScript, keys: []string{s.key(i, x.kind), s.key(i, x.kind+"seq")}})
		}
		v.mu.Unlock()
	}
	replies, err := s.runAll(ctx, "reading who is watched", calls)
	if err != nil {
		return err
	}
	for i, m := range replies {
		reply := list(m)
		x.compare(wanted[i], number(reply, 0), texts(reply, 1), before[i])
	}
	return nil
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

// leaveOwed tells Redis of them.
func (s *Store) leaveOwed(ctx context.Context) error {
	s.owed.mu.Lock()
	list := s.owed.list
	s.owed.list = nil
	s.owed.mu.Unlock()
	for i, l := range list {
		if err := s.leave(ctx, l.index, l.id, l.version, l.names); err != nil {
			for _, rest := range list[i+1:] {
				s.owed.add(rest)
			}
			return err
		}
	}
	return nil
}

func (s *Store) note(ctx context.Context, doing string, script script, x *index, id string, version int64, names []string) error {
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
		args := []string{id, strconv.FormatInt(version, 10), millis(s.life), s.interest, x.kind + " " + strconv.Itoa(shard)}
		calls = append(calls, call{script: script, keys: keys, args: append(args, names...)})
	}
	_, err := s.runAll(ctx, doing, calls)
	return err
}
