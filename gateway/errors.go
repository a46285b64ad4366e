package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ucwagate/graphsrc"
)

// Reason says what is wrong, in the terms of the protocol.
type Reason int

// The reasons. The zero value is an unexpected failure.
const (
	// Failure is a fault of the gateway itself; details stay in the log.
	Failure Reason = iota
	// NotFound: the resource does not exist.
	NotFound
	// ApplicationNotFound: no such application, or it belongs to somebody else.
	ApplicationNotFound
	// InactiveApplicationExpired: the application was idle for too long.
	InactiveApplicationExpired
	// TooManyApplications: a newer application of the same user took its place.
	TooManyApplications
	// DestinationNotFound: the named person does not exist.
	DestinationNotFound
	// Forbidden: the user, or this gateway, may not see or do that.
	Forbidden
	// InvalidParameter: a parameter is missing or not legal.
	InvalidParameter
	// TooManyContacts: a group has more members than are shown.
	TooManyContacts
	// Busy: the gateway as a whole holds as much as it may.
	Busy
	// TooManyWaiting: as many P-GETs wait, of all users, as may.
	TooManyWaiting
	// TooManyRequests: the user asks for more at once than a user may.
	TooManyRequests
	// Unavailable: the truth cannot be had at the moment.
	Unavailable
	// Timeout: the truth did not come in time.
	Timeout
	// LimitExceeded: the application has as many of these as it may.
	LimitExceeded
	// PGetReplaced: another P-GET took the place of this one.
	PGetReplaced
	// MakeMeAvailableRequired: the user lurks, and has to be made available first.
	MakeMeAvailableRequired
	// AlreadyExists: what is to be made is there.
	AlreadyExists
	// OperationNotSupported: this cannot be done with a thing of that kind.
	OperationNotSupported
	// PhotoTimeout: a photo did not come in time; the protocol has a code of its
	// own for that.
	PhotoTimeout
	// ListFull: the contact list holds as much as it may.
	ListFull
	// Changed: what is to be replaced is not any more what the client has seen.
	Changed
	// TooManyGroups: the contact list has as many groups as it may.
	TooManyGroups
)

// Error is the error type of the package.
type Error struct {
	Reason Reason
	// Message is shown to the client. It never carries internal details.
	Message string
	// Parameters names the parameters that are wrong, with what is allowed.
	Parameters []Parameter
	// RetryAfter is how long to wait before a retry has a chance; 0 = unknown.
	RetryAfter time.Duration
	// Err is the cause, for the log only.
	Err error
}

// hasReason says whether err is an *Error with one of the reasons.
func hasReason(err error, reasons ...Reason) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(reasons, e.Reason)
}

// Parameter is one wrong parameter.
type Parameter struct{ Name, Problem string }

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Invalid builds an InvalidParameter error that names its parameters.
func Invalid(parameters ...Parameter) *Error {
	msg := ""
	for i, p := range parameters {
		if i > 0 {
			msg += "; "
		}
		msg += p.Name + " " + p.Problem
	}
	return &Error{Reason: InvalidParameter, Message: msg, Parameters: parameters}
}

// retryStore is when a client may try again that the store could not serve.
const retryStore = 5 * time.Second

// storeError translates an error of the store that is not about what was asked
// for. message says what could not be done.
func storeError(message string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, ErrUnavailable):
		return &Error{Reason: Unavailable, Message: message + " at the moment.", RetryAfter: retryStore, Err: err}
	}
	return &Error{Reason: Failure, Message: message + ".", Err: err}
}

// sourceError translates an error of the source. what names the thing asked
// for, for the client's eyes.
func sourceError(what string, err error) error { return failed(what, "read", err) }

// failed does the same for whatever was to be done.
func failed(what, done string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var g *graphsrc.Error
	if !errors.As(err, &g) {
		if errors.Is(err, context.DeadlineExceeded) {
			return &Error{Reason: Timeout, Message: what + " could not be " + done + " in time.", Err: err}
		}
		return &Error{Reason: Failure, Message: what + " could not be " + done + ".", Err: err}
	}
	e := &Error{RetryAfter: g.RetryAfter, Err: err}
	switch g.Kind {
	case graphsrc.KindNotFound, graphsrc.KindGone:
		e.Reason, e.Message = DestinationNotFound, what+" does not exist."
	case graphsrc.KindForbidden:
		e.Reason, e.Message = Forbidden, fmt.Sprintf("%s cannot be %s: this gateway is not permitted to.", what, done)
	case graphsrc.KindTimeout:
		e.Reason, e.Message = Timeout, what+" could not be "+done+" in time."
	case graphsrc.KindThrottled, graphsrc.KindUnavailable, graphsrc.KindUnauthorized, graphsrc.KindMalformed:
		e.Reason, e.Message = Unavailable, what+" cannot be "+done+" at the moment."
	default:
		e.Reason, e.Message = Failure, what+" could not be "+done+"."
	}
	return e
}
