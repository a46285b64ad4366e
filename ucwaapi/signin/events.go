package signin

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Result is how an attempt to sign in ended. The set is closed and small, so
// that a result can be the label of a metric.
type Result string

// The results.
const (
	ResultOK            Result = "ok"
	ResultWrongPassword Result = "wrong-password"
	// ResultUnknownUser: nobody has that name, or the proof names no user.
	ResultUnknownUser Result = "unknown-user"
	// ResultThrottled: too many wrong passwords; this one was not looked at.
	ResultThrottled Result = "throttled"
	// ResultExpired: a ticket, a token or a certificate whose time is over.
	ResultExpired     Result = "expired"
	ResultNotYetValid Result = "not-yet-valid"
	// ResultBadSignature: a ticket or token that is not of the issuer it names.
	ResultBadSignature  Result = "bad-signature"
	ResultWrongAudience Result = "wrong-audience"
	// ResultWrongIssuer: a token or certificate of a foreign issuer or tenant.
	ResultWrongIssuer Result = "wrong-issuer"
	ResultMalformed   Result = "malformed"
	// ResultNotAllowed: the user is known and may not sign in, or lacks a role
	// or scope, or the connection may not be used.
	ResultNotAllowed Result = "not-allowed"
	// ResultUserMismatch: the token and the connection are of different users.
	ResultUserMismatch Result = "user-mismatch"
	// ResultUntrusted: an identity header came from somebody who is not
	// trusted, and was removed.
	ResultUntrusted Result = "untrusted"
	// ResultUnavailable: what checks the proof could not be reached.
	ResultUnavailable Result = "unavailable"
	// ResultAbandoned: the client left before its password was checked.
	ResultAbandoned Result = "abandoned"
)

// Results returns every result, for those who prepare a counter for each.
func Results() []Result {
	return []Result{
		ResultOK, ResultWrongPassword, ResultUnknownUser, ResultThrottled, ResultExpired, ResultNotYetValid, ResultBadSignature,
		ResultWrongAudience, ResultWrongIssuer, ResultMalformed, ResultNotAllowed, ResultUserMismatch, ResultUntrusted,
		ResultUnavailable, ResultAbandoned,
	}
}

// SignIn is one attempt to sign in, as Options.OnSignIn is told of it. It
// carries no password, ticket, token or certificate.
//
// Passwords and windows grants are told one by one. Of requests that are
// authenticated by what they carry themselves, each refusal is told; of those
// that succeed only the first use of an access token, and one in 15 minutes of
// each user, method and peer of a transport. Requests without any credentials
// are not told: every client begins with one.
type SignIn struct {
	// Method is one of the Method constants, or MethodTicket.
	Method string
	// Result is how it ended.
	Result Result
	// ObjectID is the user's id in Entra ID where it is known.
	ObjectID string
	// Account is a pseudonym of the user's address: the same for the same
	// address as long as Options.PseudonymKey is. Empty where the attempt
	// names nobody. It stands for what the client claimed to be, known or not.
	Account string
	// Address is the address itself, only if Options.NameUsers is set.
	Address string
	// Peer is the client's address, as Options.ClientAddress tells it.
	Peer string
}

// MethodTicket is the method of a SignIn event about a web ticket that is not
// accepted. No Identity has it: a ticket keeps the method it was given for.
const MethodTicket = "ticket"

// Methods returns every method of an event, for those who prepare a counter
// for each.
func Methods() []string {
	return []string{MethodPassword, MethodEntra, MethodEntraApp, MethodProxy, MethodCertificate, MethodFixed, MethodTicket}
}

// reporter tells OnSignIn.
type reporter struct {
	hook      func(context.Context, SignIn)
	nameUsers bool
	key       []byte
	peer      func(*http.Request) string
	now       func() time.Time

	mu   sync.Mutex
	told map[string]time.Time // when a transport's success was last told
}

const (
	tellAgain = 15 * time.Minute
	maxTold   = 1 << 14
)

// tell reports an attempt of who; a nil reporter does nothing.
func (p *reporter) tell(r *http.Request, method string, result Result, who Identity) {
	if p == nil {
		return
	}
	e := SignIn{Method: method, Result: result, ObjectID: who.ObjectID, Peer: p.peer(r)}
	if who.Address != "" {
		e.Account = p.pseudonym(who.Address)
		if p.nameUsers {
			e.Address = who.Address
		}
	}
	p.hook(r.Context(), e)
}

func (p *reporter) pseudonym(address string) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(address))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// Pseudonym returns what SignIn.Account is for an address, for other lines about
// the same person. Without Options.OnSignIn there are none, and it is empty.
func (a *Authenticator) Pseudonym(address string) string {
	if a.events == nil || address == "" {
		return ""
	}
	return a.events.pseudonym(address)
}

// tellRequest reports a request that was authenticated, or not, by what it
// carries. method is that of the proof that was looked at; first says whether
// it was seen for the first time.
func (p *reporter) tellRequest(r *http.Request, method string, first bool, who Identity, err error) {
	if p == nil || errors.Is(err, ErrNoCredentials) {
		return
	}
	if err == nil {
		if first || slices.Contains(transportMethods, method) && p.due(method+" "+who.Address+" "+p.peer(r)) {
			p.tell(r, who.Method, ResultOK, who)
		}
		return
	}
	if r.Context().Err() != nil && errors.Is(err, ErrUnavailable) {
		return // the client left; that is no outage
	}
	p.tell(r, method, resultOf(err), who)
}

// due says whether a success under key is to be told.
func (p *reporter) due(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if last, ok := p.told[key]; ok && now.Sub(last) < tellAgain {
		return false
	}
	if len(p.told) >= maxTold {
		clear(p.told) // some are told again; none is kept from being told
	}
	p.told[key] = now
	return true
}

// resultOf returns the result that an error of this package stands for.
func resultOf(err error) Result {
	var invalid ErrInvalidToken
	var refused ErrForbidden
	switch {
	case err == nil:
		return ResultOK
	case errors.As(err, &refused):
		return refused.Result
	case errors.As(err, &invalid):
		return invalid.Result
	case errors.Is(err, errBusy):
		return ResultAbandoned
	case errors.Is(err, ErrUnknownUser):
		return ResultUnknownUser
	case errors.Is(err, ErrWrongPassword):
		return ResultWrongPassword
	default:
		return ResultUnavailable
	}
}
