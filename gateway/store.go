package gateway

import (
	"context"
	"errors"
	"time"

	"ucwagate/gateway/session"
)

// Store keeps the state that the protocol asks a server to keep: applications,
// and the session of each. Every method is atomic and safe for concurrent use.
// An id that is not live answers *EndedError.
type Store interface {
	// Open begins service. It is called once, before anything else.
	Open(Hooks)

	// Create adds a. A live application of the same owner and endpoint with the
	// same culture, user agent and type is returned instead, with created
	// false; one that differs in them is replaced. Beyond limit live
	// applications of the owner the oldest ends with EndedTooMany. ErrFull says
	// that the store holds as many applications as it may.
	Create(ctx context.Context, a Application, limit int) (app Application, created bool, err error)
	// Use returns a live application and notes that it was used just now.
	Use(ctx context.Context, id string) (Application, error)
	// Delete ends an application without a trace.
	Delete(ctx context.Context, id string) error
	// Owned returns the live applications of owner, oldest first.
	Owned(ctx context.Context, owner string) ([]Application, error)
	// Count returns the numbers of live applications and of their subscriptions
	// to presence.
	Count(ctx context.Context) (applications, subscriptions int, err error)

	// Update runs f on the session of a live application; nobody else sees the
	// session meanwhile. An engine may run f more than once, on a copy,
	// and keeps what the last run left; what an earlier one has seen may be
	// outdated. An error of f is returned as it is and
	// nothing is kept. ErrExpired ends the application besides, with EndedIdle;
	// the error that Update returns then is that *EndedError as well.
	Update(ctx context.Context, id string, f func(*session.Session) error) error
	// Publish notifies every application that watches address (session.Notify),
	// and wakes the P-GETs that this concerns.
	Publish(ctx context.Context, address string, events ...*session.Event) error
	// Park registers a P-GET of an event channel that waits. Its Wake channel
	// receives whenever the P-GET should be looked at again: events are due,
	// another P-GET took its place, the application has ended, or the time
	// given to Until has come.
	Park(id, instance string) Parked
	// Due returns at most limit live applications whose session has something
	// to do by now (session.Deadline), and does not return them again before
	// they were updated or a while has passed: exactly one replica acts.
	Due(ctx context.Context, now time.Time, limit int) ([]string, error)

	// Claim takes something upon whoever calls, for a while and among all
	// replicas. Until is when the claim that stands ends: this one, or, if taken
	// is false, the one that was there before.
	Claim(ctx context.Context, key string, d time.Duration) (until time.Time, taken bool, err error)
	// Release ends a claim before its time.
	Release(ctx context.Context, key string) error
}

// Parked is a P-GET that waits.
type Parked interface {
	// Wake has room for one value; a value says: look again.
	Wake() <-chan struct{}
	// Until asks for a wake at t at the latest; an earlier call is forgotten.
	Until(t time.Time)
	// Close ends the registration.
	Close()
}

// Hooks are what a store tells its gateway.
type Hooks struct {
	// Interest says that somebody began (watched) or that nobody goes on to
	// watch address: in a subscription, or as their own. It must not block nor
	// call the store.
	Interest func(address string, watched bool)
	// Available says that an application of owner is the first to make them
	// available, or that the last such application has ended. It must not block
	// nor call the store.
	Available func(owner string, available bool)
}

// LongAway is how long a store must not have been reached for P-GETs to have been
// held for a time that matters.
const LongAway = 30 * time.Second

// Errors of a Store.
var (
	// ErrFull says that a store holds as much as it may.
	ErrFull = errors.New("the store is full")
	// ErrUnavailable says that a store cannot be reached at the moment: whether
	// something was done is not known, and asking again is no harm.
	ErrUnavailable = errors.New("the store cannot be reached")
	// ErrExpired is returned by a function given to Update to end the
	// application. Session.Arrive returns it by itself.
	ErrExpired = session.ErrExpired
)

// Ended says why an application is not there.
type Ended int

// The reasons why an application is not there.
const (
	EndedUnknown Ended = iota // never was, deleted, or forgotten by now
	EndedIdle                 // idle for too long
	EndedTooMany              // pushed out by newer applications of its owner
)

// EndedError is what a Store answers for an application that is not live.
// Owner is empty for EndedUnknown.
type EndedError struct {
	Why   Ended
	Owner string
}

func (e *EndedError) Error() string { return "the application is not running" }
