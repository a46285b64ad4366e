package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"ucwagate/gateway/session"
	"ucwagate/graphsrc/budget"
)

// Principal is a signed-in user.
type Principal struct {
	// Address is user@domain in lower case, without scheme.
	Address string
	// ObjectID and TenantID are known when the user signed in with Entra ID.
	ObjectID, TenantID string
	// Name is a display name where sign-in knows one.
	Name string
}

// WithClient returns the context of a request of p. What it asks of the source
// takes turns with what others ask: a user with many questions delays nobody
// else's.
func WithClient(ctx context.Context, p Principal) context.Context {
	return budget.WithClient(ctx, p.Address)
}

// Application is a running application of a user. It does not change after it
// was created.
type Application struct {
	ID         string // decimal digits, not guessable, never used twice
	Owner      string // address of the principal
	Culture    string
	UserAgent  string
	EndpointID string
	InstanceID string // optional
	Type       string // "Browser" or empty
	// PassThrough is the name of the property that a PUT must pass through; a GUID.
	PassThrough string
	CreatedAt   time.Time
}

// ApplicationRequest is what a client asks for when it creates an application.
type ApplicationRequest struct {
	Culture, UserAgent, EndpointID string // required, at most MaxApplicationField characters
	InstanceID, Type               string // optional
}

// MaxApplicationField is the longest culture, userAgent, endpointId and
// instanceId, in characters (UCWA reference, application resource).
const MaxApplicationField = 100

// CreateApplication starts an application for p, or returns the running one
// of the same endpoint. Errors are *Error.
func (g *Gateway) CreateApplication(ctx context.Context, p Principal, req ApplicationRequest) (Application, error) {
	if err := req.validate(); err != nil {
		return Application{}, err
	}
	if err := g.admit(p); err != nil {
		return Application{}, err
	}
	if req.Type != "" {
		req.Type = typeBrowser
	}
	id, err := newApplicationID()
	if err != nil {
		return Application{}, &Error{Reason: Failure, Message: "The application could not be created.", Err: err}
	}
	app, created, err := g.store.Create(ctx, Application{
		ID: id, Owner: p.Address, Culture: req.Culture, UserAgent: req.UserAgent, EndpointID: req.EndpointID,
		InstanceID: req.InstanceID, Type: req.Type, PassThrough: newGUID(), CreatedAt: g.clock.Now(),
	}, g.limits.ApplicationsPerUser)
	switch {
	case errors.Is(err, ErrFull):
		return Application{}, &Error{Reason: Busy, Message: "No more applications can be started at the moment.", RetryAfter: time.Minute, Err: err}
	case err != nil:
		return Application{}, storeError("The application could not be created", err)
	}
	if created {
		g.log.InfoContext(ctx, "application created", "application", app.ID, "userAgent", app.UserAgent)
	}
	return app, nil
}

// Application returns the application id of p and counts as its use. An
// application of somebody else answers like one that never was.
func (g *Gateway) Application(ctx context.Context, p Principal, id string) (Application, error) {
	if err := g.admit(p); err != nil {
		return Application{}, err
	}
	app, err := g.store.Use(ctx, id)
	if err == nil && app.Owner == p.Address {
		return app, nil
	}
	var ended *EndedError
	if err != nil && !errors.As(err, &ended) {
		return Application{}, storeError("The application could not be read", err)
	}
	if ended == nil { // it is live and somebody else's
		ended = &EndedError{}
	}
	return Application{}, endedError(ended, p.Address)
}

// Applications returns the running applications of p, oldest first.
func (g *Gateway) Applications(ctx context.Context, p Principal) ([]Application, error) {
	if err := g.admit(p); err != nil {
		return nil, err
	}
	apps, err := g.store.Owned(ctx, p.Address)
	if err != nil {
		return nil, storeError("The applications could not be read", err)
	}
	return apps, nil
}

// endedError tells the owner why an application is not there, and anybody else
// nothing.
func endedError(ended *EndedError, owner string) *Error {
	if ended.Owner == owner {
		switch ended.Why {
		case EndedIdle:
			return &Error{Reason: InactiveApplicationExpired, Message: "The application was idle for too long and has ended."}
		case EndedTooMany:
			return &Error{Reason: TooManyApplications, Message: "The application has ended to make room for a newer one of the same user."}
		}
	}
	return &Error{Reason: ApplicationNotFound, Message: "There is no such application."}
}

// DeleteApplication ends the application id of p. With an instance it ends only
// the channel of that instance, as long as others remain.
func (g *Gateway) DeleteApplication(ctx context.Context, p Principal, id, instance string) error {
	app, err := g.Application(ctx, p, id)
	if err != nil {
		return err
	}
	if instance != "" {
		left, err := update(ctx, g, app, func(s *session.Session) (int, error) {
			if s.Position(instance) == 0 {
				return 0, noInstance()
			}
			return s.CloseChannel(instance, g.clock.Now()), nil
		})
		if err != nil || left > 0 {
			return err
		}
	}
	if err := g.store.Delete(ctx, id); err != nil {
		return storeError("The application could not be deleted", err)
	}
	g.log.InfoContext(ctx, "application deleted", "application", id)
	return nil
}

// admit says whether a principal's home is served here. A token of one tenant
// does not make its bearer a user of another whose domain they name.
func (g *Gateway) admit(p Principal) error {
	t := g.tenantOf(p.Address)
	if t == nil || p.TenantID != "" && t.ID != "" && !strings.EqualFold(p.TenantID, t.ID) {
		return &Error{Reason: Forbidden, Message: "The domain of " + p.Address + " is not served here for this sign-in."}
	}
	return nil
}

// typeBrowser is the only type an application may have.
const typeBrowser = "Browser"

func (r ApplicationRequest) validate() error {
	var problems []Parameter
	check := func(name, value string, required bool) {
		switch n := utf8.RuneCountInString(value); {
		case required && n == 0:
			problems = append(problems, Parameter{name, fmt.Sprintf("is required: 1 to %d characters", MaxApplicationField)})
		case n > MaxApplicationField:
			problems = append(problems, tooLong(name, n, MaxApplicationField))
		}
	}
	check("culture", r.Culture, true)
	check("endpointId", r.EndpointID, true)
	check("userAgent", r.UserAgent, true)
	check("instanceId", r.InstanceID, false)
	if r.Type != "" && !strings.EqualFold(r.Type, typeBrowser) {
		problems = append(problems, Parameter{"type", "is not legal; the only value allowed is Browser"})
	}
	if problems != nil {
		return Invalid(problems...)
	}
	return nil
}

// newApplicationID returns 15 decimal digits, the first of them not zero: few
// enough for a client that keeps them in a JavaScript number.
func newApplicationID() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(9e14))
	if err != nil {
		return "", fmt.Errorf("drawing an application id: %w", err)
	}
	return n.Add(n, big.NewInt(1e14)).String(), nil
}

// newGUID returns a random GUID of 36 characters.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
