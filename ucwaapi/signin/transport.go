package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Transport is a form of sign-in in which the connection is the proof:
// ForwardedIdentity, ClientCertificates and FixedIdentity.
type Transport interface {
	// method returns the Method of the identities.
	method() string
	// identify tells what the connection of a request says.
	identify(r *http.Request, p Peer) testimony
}

// testimony is what one transport, or all of them together, say of a request.
type testimony struct {
	// id is who it is; without an address it is nobody.
	id Identity
	// err is an ErrForbidden, which refuses the request, or an ErrInvalidToken
	// that says why there is no identity; often it is nil.
	err error
	// offered says that the connection is one that can have an identity, so
	// that the token service offers the grant that needs one.
	offered bool
}

// refused returns the ErrForbidden, or nil.
func (t testimony) refused() error {
	if t.err == nil {
		return nil
	}
	var refused ErrForbidden
	if errors.As(t.err, &refused) {
		return refused
	}
	return nil
}

// noCredentials is the error for a request of this connection that carries
// nothing else.
func (t testimony) noCredentials() error {
	if t.err == nil {
		return ErrNoCredentials
	}
	return fmt.Errorf("%w: %w", ErrNoCredentials, t.err)
}

type testimonyKey struct{}

// Handler returns a handler that finds out what the connection says of a
// request before next sees it, and removes from the request what only a trusted
// proxy may say. It must be the outermost handler: whatever next makes of the
// request, as the parts of a batch, has the identity of the connection and not
// one of its own. Without it Authenticate knows no transports.
//
// It answers nothing itself: a refusal is an error of Authenticate and of the
// token service, so that what needs no sign-in stays open.
func (a *Authenticator) Handler(next http.Handler) http.Handler {
	if len(a.transports) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := a.listen(r)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), testimonyKey{}, &t)))
	})
}

// listen asks all transports, also when one has spoken: each removes its
// headers.
func (a *Authenticator) listen(r *http.Request) testimony {
	peer := peerOf(r)
	var whole testimony
	for _, t := range a.transports {
		one := t.identify(r, peer)
		whole.offered = whole.offered || one.offered
		if one.err != nil {
			a.events.tell(r, t.method(), resultOf(one.err), one.id)
		}
		switch {
		case whole.refused() != nil:
		case one.refused() != nil:
			whole.id, whole.err = Identity{}, one.err
		case one.err != nil:
			if whole.err == nil && whole.id.Address == "" {
				whole.err = one.err
			}
		case one.id.Address == "":
		case whole.id.Address == "":
			whole.id, whole.err = one.id, nil
		case !sameUser(whole.id, one.id):
			a.events.tell(r, t.method(), ResultUserMismatch, one.id)
			whole.id, whole.err = Identity{}, forbidden(ResultUserMismatch, "The connection is signed in as two different users.")
		}
	}
	return whole
}

// testimonyOf returns what Handler has found out; nothing where it is not
// installed.
func (a *Authenticator) testimonyOf(r *http.Request) testimony {
	if len(a.transports) == 0 {
		return testimony{} // a ticket check is on every request: spare it the look
	}
	if t, ok := r.Context().Value(testimonyKey{}).(*testimony); ok {
		return *t
	}
	return testimony{}
}

// agree checks that a token's user may use the connection.
func (a *Authenticator) agree(t testimony, id Identity) error {
	if t.id.Address != "" {
		if !sameUser(t.id, id) {
			return forbidden(ResultUserMismatch, "The token is that of another user than the connection's.")
		}
		return nil
	}
	if a.bound(id) {
		return ErrInvalidToken{
			Diagnostics{codeInvalidTicket, "The web ticket is good only on a connection that says who its user is."}, ResultNotAllowed,
		}
	}
	return nil
}
