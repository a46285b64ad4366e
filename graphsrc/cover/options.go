package cover

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// People are the watched people and the planner of their readings. The methods
// are called concurrently, except that Cover and Uncover are called one after
// the other, in the order in which they hold. They may call Missed and Stats of
// the Manager, but must not wait for another call of People to return, and they
// must not block: readings happen later.
type People interface {
	// Watched returns up to limit ids of watched people, those most deserving of
	// coverage first. The order need not be stable.
	Watched(limit int) []string
	// Cover says that changes of these people are pushed from now on. It is said
	// again at every planning, so a person who was unwatched may be forgotten.
	Cover(ids []string)
	// Uncover says that they are not any more; some may not have been covered.
	Uncover(ids []string)
	// Apply hands on a change that was notified.
	Apply(change graphsrc.PresenceChange)
	// Reread asks for a prompt reading, because changes may have been lost.
	// People nobody watches may be left out.
	Reread(ids []string)
}

// Keys has the encryption key that notifications are sealed for.
type Keys interface {
	// Current returns the certificate in DER form and its id, at most 128
	// characters, which is another one for every other certificate.
	Current() (certificateDER []byte, id string, err error)
}

// Endpoint is what answers at the notification URL.
type Endpoint interface {
	// Validations is how often the URL was validated, never less than before. It
	// returns at once.
	Validations() uint64
}

// Account is a helper account.
type Account struct {
	// Name is unique; it appears in logs and Stats. Two names for one account of
	// the tenant are noticed when it shows: one of them is then not used.
	Name  string
	Graph graphsrc.Subscriber
}

// Event is what a lifecycle notification says of a subscription, as Graph
// spells it.
//
// Source: https://learn.microsoft.com/en-us/graph/change-notifications-lifecycle-events
type Event string

// The events. Others are ignored.
const (
	EventReauthorize Event = "reauthorizationRequired" // renew it now
	EventRemoved     Event = "subscriptionRemoved"     // it is gone
	EventMissed      Event = "missed"                  // notifications were lost
)

const (
	// DefaultReplan is the time between two plannings.
	DefaultReplan = time.Minute
	minReplan     = 5 * time.Second
	maxReplan     = time.Hour
)

// Options are what a Manager is made of.
type Options struct {
	People   People
	Keys     Keys
	Accounts []Account
	// Endpoint may be nil. With it, the log tells when Graph refuses a
	// subscription because it does not reach the URL.
	Endpoint Endpoint
	// NotificationURL and LifecycleURL are where Graph sends; both are https.
	// Whatever an account has subscribed to under NotificationURL, and no account
	// here has, is taken for left over from an earlier process and deleted.
	NotificationURL, LifecycleURL string
	// SignInNeeded is told whenever an account fails because it is signed out,
	// which is every five minutes. It must neither block nor call the manager.
	// Nil: nobody is told.
	SignInNeeded func()
	// Replan is the time between two plannings, 5 s to 1 h; 0 means DefaultReplan.
	Replan time.Duration
	Clock  clock.Clock  // nil: the system's
	Logger *slog.Logger // nil: nothing is logged
}

// complete puts in the defaults and returns all that is wrong.
func (o *Options) complete() error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if o.People == nil {
		bad("people are missing")
	}
	if o.Keys == nil {
		bad("keys are missing")
	}
	if len(o.Accounts) == 0 {
		bad("there is no helper account")
	}
	seen := make(map[string]bool, len(o.Accounts))
	for i, a := range o.Accounts {
		switch {
		case a.Name == "":
			bad("helper account %d has no name", i+1)
		case seen[a.Name]:
			bad("helper account %q is there twice", a.Name)
		}
		seen[a.Name] = true
		if a.Graph == nil {
			bad("helper account %d cannot subscribe", i+1)
		}
	}
	for name, url := range map[string]string{"notification": o.NotificationURL, "lifecycle": o.LifecycleURL} {
		if host, ok := strings.CutPrefix(url, "https://"); !ok || host == "" {
			bad("the %s URL is not https", name)
		}
	}
	if o.Replan == 0 {
		o.Replan = DefaultReplan
	}
	if o.Replan < minReplan || o.Replan > maxReplan {
		bad("planning every %v is not between %v and %v", o.Replan, minReplan, maxReplan)
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(wrong...)
}
