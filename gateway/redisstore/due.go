package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ucwagate/gateway"
)

// taken is how long an application that Due returned is left alone if it was
// not updated meanwhile.
const taken = 30 * time.Second

// setBack is how far the time may step back before it counts as a clock that
// was set.
const setBack = 5 * time.Second

// away is since when shards could not be asked what is due; zero: they could.
type away struct {
	mu    sync.Mutex
	since [shards]time.Time
}

// long says of which shards that has been for long.
func (a *away) long(now time.Time) (held [shards]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, since := range a.since {
		held[i] = !since.IsZero() && now.Sub(since) >= gateway.LongAway
	}
	return held
}

// note takes in whether a shard could be asked.
func (a *away) note(shard int, reached bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch since := &a.since[shard]; {
	case reached:
		*since = time.Time{}
	case since.IsZero() || now.Before(*since):
		*since = now
	}
}

// dueClock is the latest time that was given to Due.
type dueClock struct {
	mu   sync.Mutex
	seen time.Time
}

// wentBack says whether the clock was set back since the last call.
func (c *dueClock) wentBack(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	back := now.Before(c.seen.Add(-setBack))
	if back || now.After(c.seen) {
		c.seen = now
	}
	return back
}

// Due implements gateway.Store. Once the clock was set back everything is due:
// each session has to take its deadlines along. What fell due in a shard that
// could not be reached for long is taken, but not returned before it comes again:
// the P-GETs that were held meanwhile come first.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]string, error) {
	if s.seen.wentBack(now) {
		calls := make([]call, shards)
		for i := range calls {
			calls[i] = call{script: backScript, keys: []string{s.key(i, "due")}, args: []string{micros(now)}}
		}
		if _, err := s.runAll(ctx, "setting deadlines back", calls); err != nil {
			return nil, err
		}
	}
	held := s.away.long(now)
	found, reached, failed := s.dueBy(ctx, now, limit)
	var soonest []candidate
	var byShard [shards][]string
	for shard, list := range found {
		if !held[shard] {
			soonest = append(soonest, list...)
			continue
		}
		for _, c := range list {
			byShard[shard] = append(byShard[shard], c.id)
		}
	}
	slices.SortFunc(soonest, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) })
	soonest = soonest[:min(len(soonest), limit)]
	for _, c := range soonest {
		shard := shardOf(c.id)
		byShard[shard] = append(byShard[shard], c.id)
	}
	mine, err := s.takeDue(ctx, now, byShard)
	for shard, list := range found {
		if !held[shard] {
			s.away.note(shard, reached[shard], now)
		} else if reached[shard] && len(list) < limit && !slices.ContainsFunc(list, func(c candidate) bool { return !mine[c.id] }) {
			s.away.note(shard, true, now) // all that it had has been put off
		}
	}
	var ids []string
	for _, c := range soonest {
		if mine[c.id] {
			ids = append(ids, c.id)
		}
	}
	if len(ids) > 0 {
		return ids, nil // these are taken; what fails fails again when nothing else is due
	}
	return nil, errors.Join(failed, err)
}

type candidate struct {
	id string
	at float64
}

// dueBy returns who has something to do, soonest first, of each shard that was
// reached.
func (s *Store) dueBy(ctx context.Context, now time.Time, limit int) (found [shards][]candidate, reached [shards]bool, err error) {
	commands := make([]command, shards)
	for i := range commands {
		commands[i] = s.client.B().Zrange().Key(s.key(i, "due")).Min("-inf").Max(micros(now)).Byscore().Limit(0, int64(limit)).Withscores().Build()
	}
	err = s.askEach(ctx, "reading what is due", commands, func(i int, m message) {
		reached[i] = true
		scores, _ := m.AsZScores() // an error: nothing is
		for _, z := range scores {
			found[i] = append(found[i], candidate{z.Member, z.Score})
		}
	})
	return found, reached, err
}

// takeDue takes applications, and returns those that no other replica has taken.
func (s *Store) takeDue(ctx context.Context, now time.Time, byShard [shards][]string) (map[string]bool, error) {
	var calls []call
	for shard, ids := range byShard {
		if len(ids) > 0 {
			calls = append(calls, call{
				script: dueScript, keys: []string{s.key(shard, "due")}, args: append([]string{micros(now), micros(now.Add(taken))}, ids...),
			})
		}
	}
	mine := make(map[string]bool)
	err := s.runEach(ctx, "taking what is due", calls, func(_ int, m message) {
		ids, _ := m.AsStrSlice()
		for _, id := range ids {
			mine[id] = true
			if e := s.entries.get(id); e != nil {
				e.taken.Store(true)
			}
		}
	})
	return mine, err
}

// Claim implements gateway.Store.
func (s *Store) Claim(ctx context.Context, key string, d time.Duration) (time.Time, bool, error) {
	now := s.clock.Now()
	m, err := s.run(ctx, "claiming", call{
		script: claimScript, keys: []string{s.keyOf("claim", key)},
		args: []string{micros(now), micros(now.Add(d)), millis(lifeOf(d))},
	})
	if err != nil {
		return time.Time{}, false, err
	}
	reply := list(m)
	return instant(text(reply, 0)), number(reply, 1) == 1, nil
}

// lifeOf is what Redis gives the key of a claim.
func lifeOf(d time.Duration) time.Duration { return 4*d + time.Minute }

// errDeposed says that a claim has ended, and another replica has it.
var errDeposed = errors.New("another replica has the claim by now")

// extendClaim lets a claim that ends at until end d from now, which it returns.
func (s *Store) extendClaim(ctx context.Context, key string, until time.Time, d time.Duration) (time.Time, error) {
	next := s.clock.Now().Add(d)
	m, err := s.run(ctx, "extending a claim", call{
		script: extendScript, keys: []string{s.keyOf("claim", key)}, args: []string{micros(until), micros(next), millis(lifeOf(d))},
	})
	if err != nil {
		return time.Time{}, err
	}
	if ours, _ := m.AsInt64(); ours != 1 {
		return time.Time{}, fmt.Errorf("extending a claim: %w", errDeposed)
	}
	return next, nil
}

// Release implements gateway.Store.
func (s *Store) Release(ctx context.Context, key string) error {
	_, err := s.askAll(ctx, "releasing a claim", []command{s.client.B().Del().Key(s.keyOf("claim", key)).Build()})
	return err
}
