package delegated

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	msal "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"

	"ucwagate/graphsrc"
)

// opToken is what GetToken does, in errors.
const opToken = "get a token of the helper account"

// MSAL's errors quote the whole answer of the authority, which may hold more
// than anybody should read: nothing is taken out of them but these codes, the
// status and Retry-After.
var (
	oauthCode  = regexp.MustCompile(`"error"\s*:\s*"([a-z_]{1,64})"`)
	reasonCode = regexp.MustCompile(`AADSTS\d{3,9}`)
)

// interactive are the errors of OAuth 2.0 and OpenID Connect that only a person
// can heal, by signing in again.
//
// Source: https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
var interactive = map[string]bool{
	"invalid_grant": true, "interaction_required": true, "login_required": true, "consent_required": true,
}

// advice says what to do about the refusals that a set-up meets.
//
// Source: https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
var advice = map[string]string{
	"AADSTS7000218": "the app registration must allow public client flows",
	"AADSTS65001":   "nobody has consented to the delegated permission " + permission + " for the application",
	"AADSTS700016":  "the application is not known in this tenant",
	"AADSTS90002":   "the tenant is not known",
	"AADSTS50020":   "the account does not belong to this tenant",
	"AADSTS53003":   "a Conditional Access policy of the tenant refuses the sign-in",
	"AADSTS53000":   "a Conditional Access policy of the tenant wants a compliant device",
}

// refusal is what the authority answered instead of a token.
type refusal struct {
	oauth, reason string // error and AADSTS code, may be empty
	*graphsrc.Error
}

// refusalIn finds the authority's answer in an error of MSAL.
func refusalIn(err error) (refusal, bool) {
	var call msal.CallErr
	if !errors.As(err, &call) || call.Resp == nil {
		return refusal{}, false
	}
	answer := graphsrc.ResponseError(opToken, call.Resp, nil)
	text := err.Error()
	r := refusal{reason: reasonCode.FindString(text), Error: answer}
	if found := oauthCode.FindStringSubmatch(text); found != nil {
		r.oauth = found[1]
	}
	r.Code = r.reason
	if r.Code == "" {
		r.Code = r.oauth
	}
	r.Message = "the authority refuses a token: " + http.StatusText(r.Status)
	if known := advice[r.reason]; known != "" {
		r.Message += ": " + known
	}
	switch {
	case r.Kind == graphsrc.KindThrottled || r.Kind == graphsrc.KindTimeout || r.Status >= http.StatusInternalServerError:
		r.Kind = graphsrc.KindUnavailable
	default:
		r.Kind = graphsrc.KindUnauthorized
	}
	return r, true
}

// tokenFailure says why there is no token.
func tokenFailure(err error) *graphsrc.Error {
	if r, ok := refusalIn(err); ok {
		if interactive[r.oauth] && r.Kind == graphsrc.KindUnauthorized {
			r.Err = graphsrc.ErrSignInNeeded
		}
		return r.Error
	}
	if e := failure(err); e != nil {
		return e
	}
	if strings.Contains(err.Error(), "no token found") {
		return signInNeeded("the file holds no refresh token")
	}
	return &graphsrc.Error{Op: opToken, Kind: graphsrc.KindUnauthorized, Message: "no token"}
}

// failure is what is common to all errors that are no answer of the authority,
// nil if nothing is known of err.
func failure(err error) *graphsrc.Error {
	var (
		known   *graphsrc.Error
		network *url.Error
		odd     msal.InvalidJsonErr
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &network):
		e := graphsrc.TransportError(opToken, network)
		e.Message = "the authority is out of reach"
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return graphsrc.TransportError(opToken, err)
	case errors.As(err, &odd):
		return &graphsrc.Error{Op: opToken, Kind: graphsrc.KindMalformed, Message: "the answer of the authority makes no sense"}
	}
	return nil
}

// signInFailure says why a sign-in has failed; ctx is that of the caller.
func signInFailure(ctx context.Context, err error) error {
	if r, ok := refusalIn(err); ok {
		switch r.oauth {
		case "authorization_declined", "access_denied":
			r.Err = ErrDeclined
		case "expired_token", "code_expired":
			r.Err = ErrCodeExpired
		}
		return r.Error
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) && !isNetwork(err) {
		return ErrCodeExpired // MSAL gives up by its own clock
	}
	if e := failure(err); e != nil {
		return e
	}
	if strings.Contains(err.Error(), "declined scopes") {
		return errors.New("the permission " + permission + " was not granted to the application")
	}
	return errors.New("the authority does not answer as it should")
}

func isNetwork(err error) bool {
	var network *url.Error
	return errors.As(err, &network)
}

// signInNeeded is the error of an account that a person must sign in.
func signInNeeded(why string) *graphsrc.Error {
	return &graphsrc.Error{Op: opToken, Kind: graphsrc.KindUnauthorized, Message: why, Err: graphsrc.ErrSignInNeeded}
}
