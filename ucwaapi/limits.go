package ucwaapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/signin"
)

// Limiter admits requests by a name.
type Limiter interface {
	// Take takes n requests of a name. If there are not so many, none is taken,
	// and retryAfter says when there will be.
	Take(name string, n int) (retryAfter time.Duration, ok bool)
}

// Limits bound what clients may ask; a nil Limiter admits everything.
type Limits struct {
	// Users counts the requests of each user, the parts of a batch one by one.
	Users Limiter
	// Strangers counts the requests of each client address that are not signed
	// in. Where the address is a trusted proxy's, or none, nothing is counted.
	Strangers Limiter
	// OnLimit is told of each request that met a limit, with one of
	// LimitReasons. It must not block; nil is for nobody.
	OnLimit func(reason string)
}

// The reasons for which a request is refused that asks too much.
const (
	limitUser      = "user-requests"
	limitStranger  = "anonymous-requests"
	limitBatch     = "batched-requests"
	limitPGets     = "pgets"
	limitUserPGets = "pgets-per-user"
	limitBody      = "body-size"
)

// LimitReasons returns every reason that OnLimit is told, for those who prepare
// a counter for each.
func LimitReasons() []string {
	return []string{limitUser, limitStranger, limitBatch, limitPGets, limitUserPGets, limitBody}
}

type countedKey struct{}

// counted marks the context of requests that are parts of a batch, which have
// been counted all at once.
func counted(ctx context.Context) context.Context { return context.WithValue(ctx, countedKey{}, true) }

// admitUser counts n requests of a user who is signed in.
func (s *Server) admitUser(ctx context.Context, address string, n int) error {
	if s.limits.Users == nil || ctx.Value(countedKey{}) != nil {
		return nil
	}
	retryAfter, ok := s.limits.Users.Take(address, n)
	if ok {
		return nil
	}
	return tooManyRequests("The user sends more requests than are allowed; none of these was executed.", limitUser, retryAfter)
}

// admitStranger counts a request that is not signed in.
func (s *Server) admitStranger(r *http.Request) error {
	if s.limits.Strangers == nil || r.Context().Value(countedKey{}) != nil {
		return nil
	}
	address := s.origin.clientAddress(r)
	ip, err := netip.ParseAddr(address)
	if err != nil || s.origin.isTrusted(ip) {
		return nil
	}
	retryAfter, ok := s.limits.Strangers.Take(signin.Network(address), 1)
	if ok {
		return nil
	}
	return tooManyRequests("The client address sends more requests without a token than are allowed.", limitStranger, retryAfter)
}

func tooManyRequests(message, limit string, retryAfter time.Duration) *protocolError {
	return &protocolError{
		errorRow: errorRow{http.StatusTooManyRequests, codeTooManyRequests, ""},
		message:  message, limit: limit, retryAfter: retryAfter,
	}
}

// hasLimit says whether err is about a rate of requests.
func hasLimit(err error) bool {
	var own *protocolError
	return errors.As(err, &own) && (own.limit == limitUser || own.limit == limitStranger)
}

// tellLimit tells whoever counts that a request met a limit, if err says so.
func (s *Server) tellLimit(err error) {
	if s.limits.OnLimit == nil {
		return
	}
	var own *protocolError
	var domain *gateway.Error
	var tooLarge *http.MaxBytesError
	reason := ""
	switch {
	case errors.As(err, &own):
		reason = own.limit
	case errors.As(err, &domain) && domain.Reason == gateway.TooManyRequests:
		reason = limitUserPGets
	case errors.As(err, &domain) && domain.Reason == gateway.TooManyWaiting:
		reason = limitPGets
	case errors.As(err, &tooLarge):
		reason = limitBody
	}
	if reason != "" {
		s.limits.OnLimit(reason)
	}
}
