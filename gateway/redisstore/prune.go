package redisstore

import (
	"context"
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
		for _, kind := range []string{"due", "idle", "subs", "w", "wseq", "o", "oseq"} {
			keys = append(keys, s.key(shard, kind))
		}
	}
	for _, x := range []*index{s.watched, s.present} {
		for _, name := range x.sample(math.MaxInt) {
			keys = append(keys, s.keyOf(x.kind, name))
		}
	}
	for _, e := range s.entries.all() {
		keys = append(keys, s.keyOf("own", e.app.Owner))
	}
	for part := range slices.Chunk(keys, atOnce) {
		commands := make([]command, len(part))
		for i, key := range part {
			commands[i] = s.client.B().Pexpire().Key(key).Milliseconds(s.life.Milliseconds()).Build()
		}
		if _, err := s.askAll(ctx, "extending the life of keys", commands); err != nil {
			return err
		}
	}
	s.extended = now
	return nil
}

// prune looks after a few names of each index, drawn at random: it drops
// applications that have ended without leaving.
func (s *Store) prune(ctx context.Context) error {
	for _, x := range []*index{s.watched, s.present} {
		if err := s.pruneIndex(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) pruneIndex(ctx context.Context, x *index) error {
	names := x.sample(sampled)
	var commands []command
	for _, name := range names {
		commands = append(commands, s.client.B().Hkeys().Key(s.keyOf(x.kind, name)).Build())
	}
	replies, err := s.askAll(ctx, "looking after an index", commands)
	if err != nil {
		return err
	}
	var ids, of []string
	commands = commands[:0]
	for i, name := range names {
		watchers := texts(replies, i)
		if len(watchers) == 0 { // nobody is left, but nobody has said so
			ids, of = append(ids, ""), append(of, name)
			commands = append(commands, s.client.B().Exists().Key(s.keyOf(x.kind, name)).Build())
		}
		for _, id := range watchers {
			ids, of = append(ids, id), append(of, name)
			commands = append(commands, s.client.B().Exists().Key(s.keyOf("app", id)).Build())
		}
	}
	for len(commands) > 0 {
		n := min(len(commands), atOnce)
		if replies, err = s.askAll(ctx, "looking after an index", commands[:n]); err != nil {
			return err
		}
		for i := range replies {
			if number(replies, i) == 0 {
				if err := s.leave(ctx, x, ids[i], forever, []string{of[i]}); err != nil {
					return err
				}
			}
		}
		commands, ids, of = commands[n:], ids[n:], of[n:]
	}
	return nil
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
