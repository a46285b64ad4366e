package redisstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"ucwagate/gateway"
)

const (
	// atOnce bounds what one trip of a sweep carries.
	atOnce = 500
	// forgetDecoded is how long a session is kept decoded without being used.
	forgetDecoded = 10 * time.Minute
)

// sweep does what time brings about, and sets itself up again.
func (s *Store) sweep() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.work.Add(1)
	s.mu.Unlock()
	defer s.work.Done()
	if err := s.tidy(s.ctx, s.clock.Now()); err != nil && s.ctx.Err() == nil {
		s.log.WarnContext(s.ctx, "what time brings about has to wait", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.timer = s.clock.AfterFunc(s.every, s.sweep)
	}
}

// tidy does all of it, whatever fails: of a cluster one member may be away for long.
func (s *Store) tidy(ctx context.Context, now time.Time) error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.shed(now)
	return errors.Join(
		s.noteUse(ctx, now), s.leaveOwed(ctx), s.endIdle(ctx, now),
		s.compare(ctx, s.watched, true), s.compare(ctx, s.present, true), s.prune(ctx), s.extend(ctx, now),
	)
}

// noteUse tells Redis which applications were used here, or have a P-GET, since
// it was told last. It is done before the next use of them could be so old that
// another replica takes them for idle.
func (s *Store) noteUse(ctx context.Context, now time.Time) error {
	waits := make(map[string]bool)
	var ids []string
	for _, id := range s.places.ids() {
		waits[id] = true
		ids = append(ids, id)
	}
	for _, e := range s.entries.all() {
		if !waits[e.id] && e.used.Load()/1000 > e.noted.Load()/1000 {
			ids = append(ids, e.id)
		}
	}
	// Those of one shard are asked for together, so that a member of a cluster that
	// does not answer holds up few of the trips.
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(shardOf(a), shardOf(b)) })
	var failed error
	for part := range slices.Chunk(ids, atOnce) {
		if err := s.noteSome(ctx, part, now); err != nil {
			failed = err
		}
	}
	return failed
}

func (s *Store) noteSome(ctx context.Context, ids []string, now time.Time) error {
	mark := s.link.mark()
	calls := make([]call, len(ids))
	for i, id := range ids {
		calls[i] = s.touchCall(id, now, false)
	}
	return s.runEach(ctx, "noting which applications were used", calls, func(i int, m message) {
		reply := list(m)
		switch number(reply, 0) {
		case gone:
			s.lose(ids[i])
		case live:
			if e := s.entries.get(ids[i]); e != nil {
				s.touched(e, reply, calls[i], mark, now)
			}
		}
	})
}

// shed forgets what was not used for long.
func (s *Store) shed(now time.Time) {
	all, decoded := s.entries.all(), 0
	for _, e := range all {
		idle := now.UnixNano() - max(e.used.Load(), e.at.Load())
		if idle >= 2*int64(s.idle) && s.places.count(e.id) == 0 {
			s.entries.drop(e.id)
			continue
		}
		select {
		case e.turn <- struct{}{}:
		default:
			decoded++
			continue // in use
		}
		if now.UnixNano()-e.at.Load() >= int64(forgetDecoded) || decoded >= s.decoded {
			e.session, e.stored = nil, nil
		}
		if e.session != nil {
			decoded++
		}
		<-e.turn
	}
}

// endIdle ends the applications that nobody has used for as long as Idle. What
// was used while a shard could not be reached is noted by the others' sweeps
// first, so it leaves the shard to them for two.
func (s *Store) endIdle(ctx context.Context, now time.Time) error {
	commands := make([]command, shards)
	for i := range commands {
		commands[i] = s.client.B().Zrange().Key(s.key(i, "idle")).Min("-inf").Max(micros(now.Add(-s.idle))).Byscore().Limit(0, atOnce).Build()
	}
	var answers [shards]bool
	var idle []string
	failed := s.askEach(ctx, "reading which applications are idle", commands, func(i int, m message) {
		answers[i] = true
		if since := s.reached[i]; !since.IsZero() && now.Sub(since) >= 2*s.every {
			ids, _ := m.AsStrSlice()
			idle = append(idle, ids...)
		}
	})
	for i, ok := range answers {
		if since := &s.reached[i]; !ok {
			*since = time.Time{}
		} else if since.IsZero() || now.Before(*since) {
			*since = now
		}
	}
	for _, id := range idle {
		var ended *gateway.EndedError
		if err := s.end(ctx, id, ending{why: gateway.EndedIdle, idle: true}); err != nil && !errors.As(err, &ended) {
			return err // the next sweep asks again, and knows who answers
		}
	}
	return failed
}
