package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"ucwagate/gateway/session"
)

// Events answers a P-GET of an event channel: it returns as soon as there is a
// package, however long that takes. Beside the errors of an application it
// returns PGetReplaced when another P-GET takes this one's place, and
// TooManyRequests or TooManyWaiting where there is no place for one more.
func (g *Gateway) Events(ctx context.Context, app Application, instance string, poll session.Poll) (*session.Package, error) {
	channel := parkedChannel{app.ID, instance}
	if err := g.parking.enter(app.Owner, channel); err != nil {
		return nil, err
	}
	defer g.parking.leave(app.Owner, channel)
	poll.Since, poll.Name = g.clock.Now(), rand.Uint64() //nolint:gosec // no secret
	var v session.Verdict
	arrive := func(s *session.Session) (err error) {
		v, err = s.Arrive(instance, poll, g.clock.Now())
		if errors.Is(err, session.ErrNotFound) {
			return noInstance()
		}
		return err
	}
	// Registered before the session is asked, so that no wake is missed.
	parked := g.store.Park(app.ID, instance)
	defer parked.Close()
	h := hold{gateway: g, app: app, parked: parked}
	if err := h.update(ctx, arrive); err != nil {
		if v.Ticket != 0 { // whether that was kept is not known, nor that the ticket is this one's
			g.unpark(ctx, app, func(s *session.Session) { s.Withdraw(instance, poll.Name, g.clock.Now()) })
		}
		return nil, err
	}
	g.parked.Add(1)
	defer g.parked.Add(-1)
	ticket := v.Ticket
	look := func(s *session.Session) error {
		if v = s.Look(instance, ticket, g.clock.Now()); v.Replaced && h.uncertain {
			v = session.Verdict{Package: s.Sent(instance, poll.Ack), Replaced: true}
		}
		return nil
	}
	for {
		switch {
		case v.Package != nil:
			if v.Package.Overflow {
				g.log.WarnContext(ctx, "a client that does not fetch its events is told to resynchronize", "application", app.ID)
			}
			if v.Woken && g.onWake != nil {
				g.onWake(v.Late)
			}
			return v.Package, nil
		case v.Replaced:
			return nil, &Error{Reason: PGetReplaced, Message: "Another request for events has taken the place of this one."}
		case v.Closed:
			return nil, noInstance()
		}
		parked.Until(v.Until)
		step := look
		select {
		case <-parked.Wake():
		case <-ctx.Done():
			g.leave(ctx, app, instance, ticket)
			return nil, ctx.Err()
		case <-g.drain.started:
			if err := g.drain.turn(ctx, g.clock); err != nil {
				g.leave(ctx, app, instance, ticket)
				return nil, err
			}
			step = func(s *session.Session) error { v = s.Release(instance, ticket, g.clock.Now()); return nil }
		}
		if err := h.update(ctx, step); err != nil {
			if ctx.Err() != nil {
				g.leave(ctx, app, instance, ticket)
			}
			return nil, err
		}
	}
}

// leave tells the session that nobody waits any more: what is queued stays for
// the next P-GET.
func (g *Gateway) leave(ctx context.Context, app Application, instance string, ticket uint64) {
	g.unpark(ctx, app, func(s *session.Session) { s.Leave(instance, ticket, g.clock.Now()) })
}

func (g *Gateway) unpark(ctx context.Context, app Application, f func(*session.Session)) {
	err := g.store.Update(context.WithoutCancel(ctx), app.ID, func(s *session.Session) error { f(s); return nil })
	var ended *EndedError
	if err != nil && !errors.As(err, &ended) {
		g.log.WarnContext(ctx, "a P-GET that went away could not be unregistered", "application", app.ID, "error", err)
	}
}

// Channel opens the event channel of an instance, or finds it open, and
// returns the number of the package that comes next.
func (g *Gateway) Channel(ctx context.Context, app Application, instance string) (ack int64, created bool, err error) {
	type channel struct {
		ack     int64
		created bool
	}
	c, err := update(ctx, g, app, func(s *session.Session) (c channel, err error) {
		c.created, err = s.OpenChannel(instance, g.clock.Now())
		c.ack = s.Position(instance)
		return c, channelError(err)
	})
	return c.ack, c.created, err
}

// LendChannel is Channel for whoever asks for an application without naming an
// instance: the channel is there for them, and keeps nothing alive.
func (g *Gateway) LendChannel(ctx context.Context, app Application) (ack int64, err error) {
	return update(ctx, g, app, func(s *session.Session) (int64, error) {
		err := s.LendChannel("", g.clock.Now())
		return s.Position(""), channelError(err)
	})
}

// channelError translates an error of opening a channel.
func channelError(err error) error {
	if errors.Is(err, session.ErrTooMany) {
		return &Error{Reason: LimitExceeded, Message: "The application has as many instances as are allowed."}
	}
	return err
}

// Position returns the number of the package that comes next in the channel of
// an instance. An instance without a channel has not been created.
func (g *Gateway) Position(ctx context.Context, app Application, instance string) (int64, error) {
	return update(ctx, g, app, func(s *session.Session) (int64, error) {
		ack := s.Position(instance)
		if ack == 0 {
			return 0, noInstance()
		}
		return ack, nil
	})
}

func noInstance() error {
	return &Error{Reason: NotFound, Message: "The application has no such instance."}
}

// Drain releases all parked P-GETs, spread evenly over spread. Ones that arrive
// meanwhile are released in what is left of it, later ones at once. It is for
// the time before the process ends; only the first call counts.
func (g *Gateway) Drain(spread time.Duration) { g.drain.start(g.clock.Now().Add(spread)) }
