package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

// Create implements gateway.Store. The application is kept before it is put on
// its owner's list, which alone decides who stays: whom the list names is there.
func (s *Store) Create(ctx context.Context, a gateway.Application, limit int) (gateway.Application, bool, error) {
	n, _, err := s.Count(ctx)
	if err != nil {
		return gateway.Application{}, false, err
	}
	if err := s.keep(ctx, a); err != nil {
		s.undo(ctx, a) // it may be there all the same
		return gateway.Application{}, false, err
	}
	for {
		stays, replaced, oldest, err := s.admit(ctx, a, limit)
		if err != nil {
			s.undo(ctx, a)
			return gateway.Application{}, false, err
		}
		if stays == "" {
			ended, err := s.makeRoom(ctx, replaced, oldest)
			if err == nil && n-ended >= s.max {
				err = gateway.ErrFull
			}
			if err != nil {
				s.undo(ctx, a)
				return gateway.Application{}, false, err
			}
			s.confirm(ctx, a)
			return a, true, nil
		}
		e, err := s.touch(ctx, stays, s.clock.Now(), true)
		var ended *gateway.EndedError
		switch {
		case err == nil:
			s.undo(ctx, a)
			return e.app, false, nil
		case !errors.As(err, &ended):
			s.undo(ctx, a)
			return gateway.Application{}, false, err
		}
		s.forget(ctx, a.Owner, stays)
	}
}

// provisional is how long a new application lives of which nobody may ever hear.
const provisional = 2 * time.Minute

// keep stores a new application, which nobody knows of yet. It counts as idle
// soon, unless its use is noted.
func (s *Store) keep(ctx context.Context, a gateway.Application) error {
	now := s.clock.Now()
	record, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("storing an application: %w", err)
	}
	stored, err := session.New(now, s.limits).MarshalBinary()
	if err != nil {
		return err
	}
	mark := s.link.mark()
	noted := now.Add(min(provisional, s.idle) - s.idle)
	_, err = s.run(ctx, "storing an application", call{
		script: createScript, keys: []string{s.keyOf("app", a.ID), s.key(shardOf(a.ID), "idle")},
		args: []string{a.ID, string(record), string(stored), micros(noted), millis(s.life)},
	})
	if err != nil {
		return err
	}
	e := s.entries.put(a)
	e.use(now)
	e.noted.Store(noted.UnixNano())
	s.link.verified(e, mark, now)
	return nil
}

// admit puts a on its owner's list.
func (s *Store) admit(ctx context.Context, a gateway.Application, limit int) (stays, replaced string, oldest []string, err error) {
	likeness, err := json.Marshal([]string{a.Culture, a.UserAgent, a.Type})
	if err != nil {
		return "", "", nil, fmt.Errorf("storing an application: %w", err)
	}
	m, err := s.run(ctx, "listing an application", call{
		script: admitScript, keys: []string{s.keyOf("own", a.Owner)},
		args: []string{a.ID, a.EndpointID, string(likeness), strconv.Itoa(limit), millis(s.life)},
	})
	if err != nil {
		return "", "", nil, err
	}
	reply := list(m)
	if number(reply, 0) == 0 {
		return text(reply, 1), "", nil, nil
	}
	for i := 2; i < len(reply); i++ {
		oldest = append(oldest, text(reply, i))
	}
	return "", text(reply, 1), oldest, nil
}

// confirm notes that a new application is used. What fails is done by the next
// sweep.
func (s *Store) confirm(ctx context.Context, a gateway.Application) {
	var ended *gateway.EndedError
	if _, err := s.touch(context.WithoutCancel(ctx), a.ID, s.clock.Now(), true); err != nil && !errors.As(err, &ended) {
		s.log.WarnContext(ctx, "that a new application is used could not be noted yet", "application", a.ID, "error", err)
	}
}

// makeRoom ends whom a new application has pushed off the list, and returns how
// many were live.
func (s *Store) makeRoom(ctx context.Context, replaced string, oldest []string) (ended int, err error) {
	end := func(id string, how ending) {
		var e *gateway.EndedError
		switch failed := s.end(ctx, id, how); {
		case !errors.As(failed, &e):
			err = errors.Join(err, failed)
		case e.Why == how.why:
			ended++
		}
	}
	if replaced != "" {
		if _, failed := s.touch(ctx, replaced, s.clock.Now(), false); failed == nil { // else it has ended as idle
			end(replaced, ending{})
		}
	}
	for _, id := range oldest {
		end(id, ending{why: gateway.EndedTooMany})
	}
	return ended, err
}

// undo takes back an application that could not be created after all.
func (s *Store) undo(ctx context.Context, a gateway.Application) {
	if err := s.Delete(context.WithoutCancel(ctx), a.ID); err != nil {
		s.log.WarnContext(ctx, "an application that was not to be could not be deleted", "application", a.ID, "error", err)
	}
}
