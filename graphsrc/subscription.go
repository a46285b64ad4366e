package graphsrc

import (
	"context"
	"errors"
	"time"
)

// SubscriptionSize is the most people one subscription to presence covers.
//
// Source: https://learn.microsoft.com/en-us/graph/api/resources/presence
const SubscriptionSize = 650

// SubscriptionRequest is what POST /subscriptions is told.
type SubscriptionRequest struct {
	// People are object ids, 1 to SubscriptionSize.
	People []string
	// NotificationURL and LifecycleURL receive notifications; both are https.
	NotificationURL, LifecycleURL string
	// ClientState comes back in every notification; at most 128 characters. It
	// is a secret.
	ClientState string
	// Certificate is the DER form of the X.509 certificate that resource data is
	// encrypted for, and CertificateID (at most 128 characters) names it in
	// notifications.
	Certificate   []byte
	CertificateID string
	// Expires is when the subscription shall end; Graph allows 60 minutes for
	// presence and makes 45 of anything shorter.
	Expires time.Time
}

// Subscription is one that exists.
type Subscription struct {
	ID string
	// Resource is what it covers, as Graph spells it.
	Resource        string
	NotificationURL string
	Expires         time.Time
}

// Subscriber subscribes to presence as one helper account: presence has no
// subscriptions for applications. An account has one subscription to presence
// at a time. Errors are *Error; a subscription that is gone is KindNotFound.
//
// Source: https://learn.microsoft.com/en-us/graph/api/resources/subscription
type Subscriber interface {
	// Subscribe creates a subscription. The call lasts until Graph has
	// validated both URLs, so nothing may be held meanwhile that answering the
	// validation needs.
	Subscribe(ctx context.Context, r SubscriptionRequest) (Subscription, error)
	// Renew moves the end of a subscription, which also re-authorizes it.
	Renew(ctx context.Context, id string, expires time.Time) (Subscription, error)
	Unsubscribe(ctx context.Context, id string) error
	// Subscriptions lists the account's subscriptions made by this application.
	Subscriptions(ctx context.Context) ([]Subscription, error)
}

// ErrSignInNeeded is wrapped by the errors of a Subscriber whose account must be
// signed in again by a person.
var ErrSignInNeeded = errors.New("the helper account must be signed in again")

// PresenceChange is what a change notification says of one person. Graph leaves
// out note, out of office and location.
type PresenceChange struct {
	ID                     string // object id, lower case
	Availability, Activity string // as Graph spells them; both empty: something changed, and only a reading tells what
	Sequence               string // sequenceNumber, usually empty in notifications
	SubscriptionID         string
}
