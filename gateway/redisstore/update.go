package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

// Update implements gateway.Store. f runs on the session as it was known last;
// it runs again if Redis turns out to hold another, or events for it.
func (s *Store) Update(ctx context.Context, id string, f func(*session.Session) error) error {
	now := s.clock.Now()
	e := s.entries.get(id)
	if e == nil || !s.trusts(e, now) {
		var err error
		if e, err = s.touch(ctx, id, now, false); err != nil {
			return err
		}
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for a session: %w", ctx.Err())
	}
	e.at.Store(now.UnixNano())
	for {
		u := update{store: s, entry: e, f: f}
		err := u.run(ctx)
		u.settle(context.WithoutCancel(ctx), err)
		if !errors.Is(err, gateway.ErrExpired) {
			return err
		}
		if ended := s.end(ctx, id, ending{why: gateway.EndedIdle, state: e.state}); ended != nil {
			return fmt.Errorf("%w: %w", err, ended)
		}
	}
}

// update is one Update. It has the entry's turn.
type update struct {
	store *Store
	entry *entry
	f     func(*session.Session) error

	inbox    []string // what Redis holds for the session, as far as is known
	late     int      // how often only the inbox held more than that
	verified bool     // Redis was asked
	attempts int
	entered  []string // addresses that were entered, whether or not it came to that
	last     int64    // the version with which they were entered last
	left     []string
	kept     bool
	wakes    []session.Wake
}

// patience is how often an Update begins anew because something came into the
// inbox meanwhile. Where a trip takes long, something always does.
const patience = 3

var (
	errOutdated = errors.New("the session is outdated")
	errSame     = errors.New("nothing has changed")
)

// run tries until f has run on what Redis holds.
func (u *update) run(ctx context.Context) error {
	if u.entry.session == nil {
		if err := u.load(ctx); err != nil {
			return err
		}
	}
	for {
		err := u.attempt(ctx)
		switch {
		case errors.Is(err, errOutdated):
			continue
		case u.kept, errors.Is(err, gateway.ErrUnavailable):
			return err
		case u.verified:
			if errors.Is(err, errSame) {
				return nil
			}
			return err
		}
		// f has changed nothing: is what it has seen what there is?
		before := u.entry.state
		if failed := u.load(ctx); failed != nil {
			return failed
		}
		if u.entry.state == before && len(u.inbox) == 0 {
			if errors.Is(err, errSame) {
				return nil
			}
			return err
		}
	}
}

// attempt runs f once and keeps the outcome. Unless that succeeds the session
// stays as it was.
func (u *update) attempt(ctx context.Context) error {
	u.attempts++
	e, s := u.entry, u.store
	return e.session.Try(func(sess *session.Session) error {
		now := s.clock.Now()
		was := sess.Available()
		for _, raw := range u.inbox {
			s.queue(sess, raw, now)
		}
		if err := u.f(sess); err != nil {
			return err
		}
		entered, left := sess.TakeInterest()
		wakes := sess.TakeWakes(now)
		stored, err := sess.MarshalBinary()
		if err != nil {
			return err
		}
		if len(u.inbox) == 0 && len(wakes) == 0 && !e.taken.Load() && session.SameState(e.stored, stored) {
			return errSame
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("keeping a session: %w", err)
		}
		// A caller who goes away from now on does not end what is under way:
		// Redis would go on with it, and nobody would know the outcome.
		ctx := context.WithoutCancel(ctx)
		if len(entered) > 0 {
			u.entered, u.last = append(u.entered, entered...), e.version+1
			if err := s.enter(ctx, s.watched, e.id, e.version+1, entered); err != nil {
				return err
			}
		}
		if sess.Available() && !was {
			if err := s.enter(ctx, s.present, e.id, e.version+1, []string{e.app.Owner}); err != nil {
				return err
			}
		}
		return u.commit(ctx, sess, stored, left, wakes)
	})
}

// commit keeps a session if Redis still holds what it came from.
func (u *update) commit(ctx context.Context, sess *session.Session, stored []byte, left []string, wakes []session.Wake) error {
	e, s := u.entry, u.store
	now, shard, next := s.clock.Now(), shardOf(e.id), newState(e.version+1)
	deadline, until := "", ""
	if d := sess.Deadline(); !d.IsZero() {
		deadline = microsUp(d)
	}
	if s.places.count(e.id) > 0 {
		until = micros(s.waitsUntil(now))
	}
	var lines strings.Builder
	for _, w := range wakes {
		lines.WriteString(wakeLine(e.id, w.Instance, w.At))
	}
	first, last := "", ""
	if n := len(u.inbox); n > 0 && u.late >= patience {
		first, last = u.inbox[0], u.inbox[n-1]
	}
	m, err := s.run(ctx, "keeping a session", call{
		script: commitScript,
		keys: []string{
			s.keyOf("app", e.id), s.keyOf("in", e.id), s.keyOf("dead", e.id), s.key(shard, "due"),
			s.key(shard, "subs"), s.keyOf("wait", e.id), s.keyOf("rev", e.id),
		},
		args: append([]string{
			e.id, e.state, next, string(stored), strconv.Itoa(len(u.inbox)),
			deadline, strconv.Itoa(sess.Held()), waitingLines(sess), s.replica, until, micros(now), millis(s.life), lines.String(), s.wakes, first, last,
		}, left...),
	})
	if err != nil {
		u.verified = false
		s.doubt(e.id) // it may have been kept, and wake them
		return err
	}
	reply := list(m)
	switch number(reply, 0) {
	case gone:
		s.lose(e.id)
		u.verified = true
		return buried(text(reply, 1), now)
	case other:
		if err := u.take(reply); err != nil {
			return err
		}
		return errOutdated
	}
	e.version, e.state, e.stored = e.version+1, next, stored
	e.taken.Store(false)
	u.kept, u.left, u.wakes = true, left, wakes
	return nil
}

// load asks Redis for the session and its inbox.
func (u *update) load(ctx context.Context) error {
	e, s := u.entry, u.store
	known := ""
	if e.session != nil {
		known = e.state
	}
	m, err := s.run(ctx, "reading a session", call{
		script: loadScript, keys: []string{s.keyOf("app", e.id), s.keyOf("in", e.id), s.keyOf("dead", e.id)}, args: []string{known},
	})
	if err != nil {
		return err
	}
	reply := list(m)
	if number(reply, 0) == gone {
		s.lose(e.id)
		return buried(text(reply, 1), s.clock.Now())
	}
	return u.take(reply)
}

// take notes what Redis said it holds. A session that is put in the place of
// the one on which f runs is not touched when that is put back.
func (u *update) take(reply []message) error {
	u.verified = true
	u.inbox = texts(reply, 3)
	stored := text(reply, 2)
	if stored == "" {
		u.late++
		return nil
	}
	sess := new(session.Session)
	if err := sess.UnmarshalBinary([]byte(stored)); err != nil {
		return fmt.Errorf("the session of application %s: %w", u.entry.id, err)
	}
	state := text(reply, 1)
	u.entry.session, u.entry.version, u.entry.state, u.entry.stored = sess, versionOf(state), state, []byte(stored)
	return nil
}

// A state is "<version>-<mark>". A version can come twice, if Redis has lost what
// it had written last; the mark tells the two apart.

func newState(version int64) string {
	return strconv.FormatInt(version, 10) + "-" + strconv.FormatUint(rand.Uint64(), 36) //nolint:gosec // no secret
}

func versionOf(state string) int64 {
	n, _, _ := strings.Cut(state, "-")
	version, _ := strconv.ParseInt(n, 10, 64)
	return version
}

// settle does what follows an Update that went as err says.
func (u *update) settle(ctx context.Context, err error) {
	e, s := u.entry, u.store
	now := s.clock.Now()
	for _, w := range u.wakes {
		s.places.by(e.id, w.Instance, w.At, now)
	}
	version, useless := e.version, u.left
	if u.kept || u.verified {
		s.places.assure(e.id)
	}
	if !u.kept || u.attempts > 1 {
		e.stray(u.entered, u.last)
	}
	var ended *gateway.EndedError
	switch {
	case errors.As(err, &ended):
		version, useless = forever, e.strays
	case u.kept, u.verified:
		useless = append(useless, e.takeStrays()...)
	}
	if len(useless) == 0 {
		return
	}
	if err := s.leave(ctx, s.watched, e.id, version, useless); err != nil {
		s.log.WarnContext(ctx, "addresses that an application watches no more could not be released", "application", e.id, "error", err)
	}
}

// maxStrays bounds the strays of an application. What is beyond stays in the
// index until the application ends.
const maxStrays = 1000

// stray notes that addresses were entered with a version that was not kept as
// far as is known. Only a later state tells who watches them: another replica may
// have kept that version, with the same addresses.
func (e *entry) stray(addresses []string, version int64) {
	if len(addresses) == 0 {
		return
	}
	room := min(len(addresses), max(maxStrays-len(e.strays), 0))
	e.strays = append(e.strays, addresses[:room]...)
	e.strayed = max(e.strayed, version)
}

// takeStrays returns those that the session does not watch, once it is at least
// as new as they are.
func (e *entry) takeStrays() (useless []string) {
	if len(e.strays) == 0 || e.session == nil || e.version < e.strayed {
		return nil
	}
	watched := make(map[string]bool)
	for _, address := range e.session.Watched() {
		watched[address] = true
	}
	for _, address := range e.strays {
		if !watched[address] {
			useless = append(useless, address)
		}
	}
	e.strays, e.strayed = nil, 0
	return useless
}

// waitingLines are what Publish has to know of the P-GETs of a session: of each a
// line "<until> <medium> <low> <instance>", the last escaped.
func waitingLines(sess *session.Session) string {
	var b strings.Builder
	for _, w := range sess.Waiting() {
		fmt.Fprintf(&b, "%s %d %d %s\n", microsUp(w.Until), w.Medium.Microseconds(), w.Low.Microseconds(), url.QueryEscape(w.Instance))
	}
	return b.String()
}
