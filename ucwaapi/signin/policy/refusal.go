package policy

import "net/http"

// Refusal is how a refusal looks to a UCWA client. The error tables of the
// reference print 403 Forbidden without a subcode for all of them ("may not
// modify", "no access to presence subscriptions", "not permitted"), so Subcode
// is empty and is to be left out. A refused sign-in also gets 403: a challenge
// would have the client ask for the password again and again.
type Refusal struct {
	Status  int
	Code    string // member of the ErrorCode enumeration
	Subcode string // member of the ErrorSubcode enumeration; empty: none
	Message string
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

const forbidden = "Forbidden"

var (
	refusedSignIn  = Refusal{http.StatusForbidden, forbidden, "", "The user is not allowed to sign in."}
	refusedPublish = Refusal{http.StatusForbidden, forbidden, "", "The user is not allowed to publish presence."}
	refusedRead    = Refusal{http.StatusForbidden, forbidden, "", "The user is not allowed to see this contact."}
)

// PublishRefusal is the answer where MayPublish says no.
func PublishRefusal() *Refusal { r := refusedPublish; return &r }

// ReadRefusal is the answer where MayRead says no and one contact was asked for.
// In a list such a contact is left out instead.
func ReadRefusal() *Refusal { r := refusedRead; return &r }
