package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
)

// The bounds of the duration parameters, in minutes (UCWA reference:
// presenceSubscriptions, myContactsAndGroupsSubscription).
const (
	MinSubscriptionMinutes      = 10
	MaxSubscriptionMinutes      = 30
	MaxContactsAndGroupsMinutes = 60
)

// MaxAddress is the longest contact address a parameter may hold, in bytes.
const MaxAddress = 250

// Subscribe creates a presence subscription to some people. Addresses nobody
// has are accepted: such a contact shows as Offline. Ones that are no addresses
// at all are left out unless none remains.
func (g *Gateway) Subscribe(ctx context.Context, app Application, addresses []string, minutes int) (session.Subscription, error) {
	d, err := subscriptionDuration(minutes)
	if err != nil {
		return session.Subscription{}, err
	}
	clean, err := cleanAddresses("uris", addresses)
	if err != nil {
		return session.Subscription{}, err
	}
	if err := g.requireReadable(ctx, app, clean); err != nil {
		return session.Subscription{}, err
	}
	id := newSubscriptionID()
	return update(ctx, g, app, func(s *session.Session) (session.Subscription, error) {
		return s.Subscribe(id, clean, d, g.clock.Now())
	})
}

// SubscribeGroup subscribes to the members of a group, or refreshes the
// subscription that is there.
func (g *Gateway) SubscribeGroup(ctx context.Context, p Principal, app Application, groupID string, minutes int) (session.Subscription, error) {
	d, err := subscriptionDuration(minutes)
	if err != nil {
		return session.Subscription{}, err
	}
	group, err := g.Group(ctx, p, groupID)
	if err != nil {
		return session.Subscription{}, err
	}
	addresses, err := g.memberAddresses(ctx, p, group)
	if err != nil {
		return session.Subscription{}, err
	}
	sub, err := update(ctx, g, app, func(s *session.Session) (session.Subscription, error) {
		sub, _, err := s.SubscribeGroup(group.ID, addresses, d, g.clock.Now())
		return sub, err
	})
	if err == nil {
		g.rosters.follow(app, p)
	}
	return sub, err
}

// Extend prolongs a presence subscription by some minutes, to at most 30.
func (g *Gateway) Extend(ctx context.Context, app Application, id string, minutes int) (session.Subscription, error) {
	d, err := subscriptionDuration(minutes)
	if err != nil {
		return session.Subscription{}, err
	}
	return update(ctx, g, app, func(s *session.Session) (session.Subscription, error) {
		return s.Extend(id, d, g.clock.Now())
	})
}

// Subscription returns one presence subscription.
func (g *Gateway) Subscription(ctx context.Context, app Application, id string) (session.Subscription, error) {
	return update(ctx, g, app, func(s *session.Session) (session.Subscription, error) {
		return s.Subscription(id, g.clock.Now())
	})
}

// Subscriptions returns all presence subscriptions of an application.
func (g *Gateway) Subscriptions(ctx context.Context, app Application) ([]session.Subscription, error) {
	return update(ctx, g, app, func(s *session.Session) ([]session.Subscription, error) {
		return s.Subscriptions(g.clock.Now()), nil
	})
}

// Unsubscribe deletes a presence subscription.
func (g *Gateway) Unsubscribe(ctx context.Context, app Application, id string) error {
	_, err := update(ctx, g, app, func(s *session.Session) (struct{}, error) {
		return struct{}{}, s.Unsubscribe(id, g.clock.Now())
	})
	return err
}

// AddMembers adds people to a presence subscription and returns those who were
// not in it.
func (g *Gateway) AddMembers(ctx context.Context, app Application, id string, addresses []string) ([]string, error) {
	clean, err := cleanAddresses("contactUris", addresses)
	if err != nil {
		return nil, err
	}
	if err := g.requireReadable(ctx, app, clean); err != nil {
		return nil, err
	}
	return update(ctx, g, app, func(s *session.Session) ([]string, error) {
		return s.AddMembers(id, clean, g.clock.Now())
	})
}

// RemoveMember takes one person out of a presence subscription.
func (g *Gateway) RemoveMember(ctx context.Context, app Application, id, address string) error {
	_, err := update(ctx, g, app, func(s *session.Session) (struct{}, error) {
		return struct{}{}, s.RemoveMember(id, address, g.clock.Now())
	})
	return err
}

// Subscribed returns the addresses that some presence subscription of an
// application holds.
func (g *Gateway) Subscribed(ctx context.Context, app Application) ([]string, error) {
	return update(ctx, g, app, func(s *session.Session) ([]string, error) {
		return slices.Clone(s.Subscribed()), nil
	})
}

// ContactsAndGroups is the state of an application's contacts-and-groups
// subscription.
type ContactsAndGroups struct {
	Active  bool
	Expires time.Time
}

// ContactsAndGroups returns the state of the contacts-and-groups subscription.
func (g *Gateway) ContactsAndGroups(ctx context.Context, app Application) (ContactsAndGroups, error) {
	return update(ctx, g, app, func(s *session.Session) (c ContactsAndGroups, _ error) {
		c.Expires, c.Active = s.ContactsAndGroups(g.clock.Now())
		return c, nil
	})
}

// StartContactsAndGroups starts or refreshes it.
func (g *Gateway) StartContactsAndGroups(ctx context.Context, p Principal, app Application, minutes int) (ContactsAndGroups, error) {
	if minutes < MinSubscriptionMinutes || minutes > MaxContactsAndGroupsMinutes {
		return ContactsAndGroups{}, Invalid(durationRange(MaxContactsAndGroupsMinutes))
	}
	roster, err := g.roster(ctx, p)
	if err != nil {
		return ContactsAndGroups{}, err
	}
	c, err := update(ctx, g, app, func(s *session.Session) (c ContactsAndGroups, _ error) {
		c.Expires, c.Active = s.StartContactsAndGroups(time.Duration(minutes)*time.Minute, roster, g.clock.Now()), true
		return c, nil
	})
	if err == nil {
		g.rosters.follow(app, p)
	}
	return c, err
}

// StopContactsAndGroups ends it.
func (g *Gateway) StopContactsAndGroups(ctx context.Context, app Application) error {
	_, err := update(ctx, g, app, func(s *session.Session) (struct{}, error) {
		s.StopContactsAndGroups(g.clock.Now())
		return struct{}{}, nil
	})
	return err
}

// update runs f on an application's session and translates what goes wrong.
func update[T any](ctx context.Context, g *Gateway, app Application, f func(*session.Session) (T, error)) (T, error) {
	var out T
	err := g.store.Update(ctx, app.ID, func(s *session.Session) (err error) {
		out, err = f(s)
		return err
	})
	if err != nil {
		var none T
		return none, g.sessionError(app, err)
	}
	return out, nil
}

func (g *Gateway) sessionError(app Application, err error) error {
	var ended *EndedError
	var domain *Error
	switch {
	case errors.As(err, &domain), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &ended):
		return endedError(ended, app.Owner)
	case errors.Is(err, session.ErrNotFound):
		return &Error{Reason: NotFound, Message: "There is no such subscription or member; it may have expired."}
	case errors.Is(err, session.ErrTooMany):
		return &Error{Reason: LimitExceeded, Message: fmt.Sprintf(
			"At most %d presence subscriptions with %d members each are allowed.", g.limits.Session.Subscriptions, g.limits.Session.Members)}
	case errors.Is(err, session.ErrLurking):
		return &Error{Reason: MakeMeAvailableRequired, Message: "The user was not made available; see makeMeAvailable."}
	case errors.Is(err, session.ErrExists):
		return &Error{Reason: AlreadyExists, Message: "The user was made available already."}
	case errors.Is(err, session.ErrGroupSubscription):
		return &Error{Reason: Forbidden, Message: "The members of a group subscription are those of its group."}
	}
	return storeError("The application could not be changed", err)
}

func subscriptionDuration(minutes int) (time.Duration, error) {
	if minutes < MinSubscriptionMinutes || minutes > MaxSubscriptionMinutes {
		return 0, Invalid(durationRange(MaxSubscriptionMinutes))
	}
	return time.Duration(minutes) * time.Minute, nil
}

func durationRange(most int) Parameter {
	return Parameter{"duration", fmt.Sprintf("must be a whole number of minutes from %d to %d", MinSubscriptionMinutes, most)}
}

// cleanAddresses brings addresses into the form in which they are compared.
// What is no address cannot be anybody's and is passed over: one bad entry does
// not fail the others.
func cleanAddresses(parameter string, list []string) ([]string, error) {
	clean := make([]string, 0, len(list))
	for _, a := range list {
		if address, ok := lenientAddress(a); ok {
			clean = append(clean, address)
		}
	}
	if len(clean) == 0 {
		return nil, Invalid(Parameter{parameter, "must hold at least one SIP address of the form user@domain"})
	}
	return clean, nil
}

// lenientAddress reads an address as clients write them: with or without the
// scheme, in quotes, with spaces round the colon.
func lenientAddress(s string) (string, bool) {
	s = strings.Trim(strings.TrimSpace(s), `"'`)
	if scheme, rest, ok := strings.Cut(s, ":"); ok && strings.EqualFold(strings.TrimSpace(scheme), "sip") {
		s = strings.TrimSpace(rest)
	}
	if len(s) > MaxAddress {
		return "", false
	}
	address, err := graphsrc.ParseAddress(s)
	return address, err == nil
}

// newSubscriptionID returns a short random id, unique within an application
// for all practical purposes.
func newSubscriptionID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
