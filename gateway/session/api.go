package session

import (
	"errors"
	"time"
)

// Errors of the methods of Session.
var (
	// ErrNotFound: there is no such subscription or member (any more).
	ErrNotFound = errors.New("not found")
	// ErrTooMany: a limit of Limits would be exceeded.
	ErrTooMany = errors.New("too many")
	// ErrGroupSubscription: members of a group subscription cannot be chosen.
	ErrGroupSubscription = errors.New("a group subscription follows its group")
	// ErrExists: the id given to a new subscription is taken.
	ErrExists = errors.New("the id is taken")
	// ErrLurking: MakeAvailable has to come first.
	ErrLurking = errors.New("the user was not made available")
	// ErrExpired: the channels were silent for Limits.Expiry; a P-GET comes too late.
	ErrExpired = errors.New("the event channels were silent for too long")
)

// Limits bound a session. Zero fields take the defaults.
type Limits struct {
	Subscriptions int           // of one application; default 100
	Members       int           // of one subscription; default 250
	Events        int           // queued in one channel; default 2,000; less than 2·Members+1 cannot hold one subscription's first events
	Channels      int           // event channels (instances); default 16
	SoftReset     time.Duration // silence of all channels until subscriptions end; default 10 min
	Expiry        time.Duration // silence of all channels until the application ends; default 15 min
	Activity      time.Duration // after MakeAvailable: time without a report of activity until the application ends; default 60 min
	Behind        time.Duration // how far back the time may step and be that of a replica that is late, not a clock that was set; default 5 s
}

// The bounds of P-GET timers and their defaults (UCWA: event channel). Values
// outside are brought to the nearest bound.
const (
	DefaultLow     = 15 * time.Second
	DefaultMedium  = 5 * time.Second
	DefaultTimeout = 180 * time.Second
	MinAggregation = 5 * time.Second // of low and medium
	MinTimeout     = 180 * time.Second
	MaxTimer       = 1800 * time.Second
)

// MaxSubscription is the longest a presence subscription may have left.
const MaxSubscription = 30 * time.Minute

// MaxContactsAndGroups is the same for the contacts-and-groups subscription.
const MaxContactsAndGroups = 60 * time.Minute

// Poll is what a P-GET asks for.
type Poll struct {
	// Ack is the number of the package asked for; -1 stands for a number that
	// is missing or none.
	Ack int64
	// Low, Medium and Timeout are kept for later P-GETs of the channel; zero
	// leaves what is there.
	Low, Medium, Timeout time.Duration
	// Priority decides which of two P-GETs for the same package stays.
	Priority int
	// Since is when the P-GET came, if the session could not be asked until now;
	// zero is now.
	Since time.Time
	// Name is for Withdraw: a number that no other P-GET has. Zero is none.
	Name uint64
}

// LinkRel is the link that a package offers.
type LinkRel uint8

// The links.
const (
	Next   LinkRel = iota + 1
	Resume         // like next, after a soft reset
	Resync         // the numbers do not fit; carries no events
)

// Package is one answer of an event channel.
type Package struct {
	// Ack is the package's own number (of its self link).
	Ack int64
	// Rel and NextAck are the link to what comes after.
	Rel     LinkRel
	NextAck int64
	Events  []*Event
	// Overflow says that a Resync is due to a queue that outgrew Limits.Events
	// and was dropped. Whoever answers with it counts it.
	Overflow bool
}

// Wake says that the parked P-GET of a channel must be looked at, at At or at
// once if that has passed.
type Wake struct {
	Instance string
	At       time.Time
}

// Verdict is what becomes of a P-GET for now.
type Verdict struct {
	// Package is the answer, if there is one.
	Package *Package
	// Replaced says that another P-GET took this one's place, or that this one
	// must not take the other's: 409 PGetReplaced.
	Replaced bool
	// Closed says that the channel is not there any more.
	Closed bool
	// Woken says that the package is the answer to a P-GET that waited until
	// events were due, and Late how long ago they were: since they became known,
	// without the time for which the client wants them held back.
	Woken bool
	Late  time.Duration
	// Ticket names a P-GET that waits (Package nil, Replaced false), and Until
	// is when it must be looked at again at the latest.
	Ticket uint64
	Until  time.Time
}

// Subscription is a view of a presence subscription.
type Subscription struct {
	ID      string
	Group   string   // of a group subscription: the group's id, equal to ID
	Members []string // addresses, in the order they came
	Expires time.Time
}

// Roster is what a contacts-and-groups subscription watches: the groups and
// who is in them.
type Roster struct {
	Groups []RosterGroup
}

// RosterGroup is one group of a roster.
type RosterGroup struct {
	ID, Rel, Name string
	// List is true for a group that is part of the contact list (myContacts).
	List    bool
	Members []string
	// Unread says that the members could not be had, because the group is too
	// large to be shown: what is known of them stays.
	Unread bool
}
