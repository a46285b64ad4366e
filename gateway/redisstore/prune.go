package redisstore

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"
)

// sampled is how many names of each shard a sweep looks after.
const sampled = 8

// extend gives the keys that nobody writes while nothing changes their life
// anew: of the indexes, the deadlines and the lists of owners. It does so a few
// times in a life.
func (s *Store) extend(ctx context.Context, now time.Time) error {
	if now.Sub(s.extended) < s.life/8 && !now.Before(s.extended) {
		return nil
	}
	var keys []string
	for shard := range shards {
		for _, kind := range []string{"due", "idle", "subs", "w", "wseq", "wwhole", "o", "oseq", "owhole"} {
			keys = append(keys, s.key(shard, kind))
		}
	}
	for _, x := range s.indexes() {
		for _, name := range x.sample(math.MaxInt) {
			keys = append(keys, s.keyOf(x.kind, name))
		}
	}
	for _, e := range s.entries.all() {
		keys = append(keys, s.keyOf("own", e.app.Owner))
	}
	var failed error
	for part := range slices.Chunk(keys, atOnce) {
		commands := make([]command, len(part))
		for i, key := range part {
			commands[i] = s.client.B().Pexpire().Key(key).Milliseconds(s.life.Milliseconds()).Build()
		}
		if err := s.askEach(ctx, "extending the life of keys", commands, func(int, message) {}); err != nil {
			failed = err
		}
	}
	if failed == nil {
		s.extended = now
	}
	return failed
}

// prune looks after a few names of each index, drawn at random: it drops
// applications that have ended without leaving.
func (s *Store) prune(ctx context.Context) (failed error) {
	for _, x := range s.indexes() {
		failed = errors.Join(failed, s.pruneIndex(ctx, x))
	}
	return failed
}

func (s *Store) pruneIndex(ctx context.Context, x *index) error {
	names := x.sample(sampled)
	var commands []command
	for _, name := range names {
		commands = append(commands, s.client.B().Hkeys().Key(s.keyOf(x.kind, name)).Build())
	}
	var ids, of []string
	var exist []command
	failed := s.askEach(ctx, "looking after an index", commands, func(i int, m message) {
		name := names[i]
		watchers, _ := m.AsStrSlice()
		if len(watchers) == 0 { // nobody is left, but nobody has said so
			ids, of = append(ids, ""), append(of, name)
			exist = append(exist, s.client.B().Exists().Key(s.keyOf(x.kind, name)).Build())
		}
		for _, id := range watchers {
			ids, of = append(ids, id), append(of, name)
			exist = append(exist, s.client.B().Exists().Key(s.keyOf("app", id)).Build())
		}
	})
	for len(exist) > 0 {
		n := min(len(exist), atOnce)
		var calls []call
		err := s.askEach(ctx, "looking after an index", exist[:n], func(i int, m message) {
			if there, _ := m.AsInt64(); there == 0 {
				calls = append(calls, s.notes(leaveScript, x, ids[i], forever, of[i:i+1])...)
			}
		})
		failed = errors.Join(failed, err, s.runEach(ctx, "looking after an index", calls, func(int, message) {}))
		exist, ids, of = exist[n:], ids[n:], of[n:]
	}
	return failed
}

// sample returns at most n names of each shard. The order of a map is as good as
// a draw.
func (x *index) sample(n int) (names []string) {
	for i := range x.shards {
		v := &x.shards[i]
		v.mu.Lock()
		left := n
		for name := range v.names {
			if left--; left < 0 {
				break
			}
			names = append(names, name)
		}
		v.mu.Unlock()
	}
	return names
}
