package signin

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Why a request is not authenticated. Beside these two there are
// ErrInvalidToken and ErrForbidden.
var (
	// ErrNoCredentials says that the request carries no bearer token and comes
	// over a connection without an identity. It may wrap an ErrInvalidToken
	// that says why the connection has none.
	ErrNoCredentials = errors.New("no credentials")
	// ErrUnavailable says that what proves the identity cannot be checked now:
	// the authority's keys or the password service cannot be had. It is no
	// fault of the caller: the answer is 503 with Retry-After, not 401.
	ErrUnavailable = errors.New("sign-in is not available")
)

// UnavailableRetryAfter is the Retry-After that suits ErrUnavailable: after it
// the keys are asked for again.
const UnavailableRetryAfter = keysFailedFor

// ErrInvalidToken says that the request carries a token that is not accepted.
// Find it with errors.As; it is a value, not a pointer.
type ErrInvalidToken struct {
	// Diagnostics say why, for the X-Ms-diagnostics header.
	Diagnostics Diagnostics
	// Result is what OnSignIn is told.
	Result Result
}

// Error returns the reason.
func (e ErrInvalidToken) Error() string { return "invalid token: " + e.Diagnostics.Reason }

func invalidToken(result Result, reason string) ErrInvalidToken {
	return ErrInvalidToken{Diagnostics{Code: codeInvalidToken, Reason: reason}, result}
}

// ErrForbidden says that no token would help: the connection is not accepted,
// or the user is known and may not sign in. The answer is 403 Forbidden without
// a subcode, with the diagnostics in X-Ms-diagnostics and no challenge. Find it
// with errors.As; it is a value, not a pointer.
type ErrForbidden struct {
	// Diagnostics say why, for the X-Ms-diagnostics header.
	Diagnostics Diagnostics
	// Result is what OnSignIn is told.
	Result Result
}

// Error returns the reason.
func (e ErrForbidden) Error() string { return "sign-in refused: " + e.Diagnostics.Reason }

func forbidden(result Result, reason string) ErrForbidden {
	return ErrForbidden{Diagnostics{Code: codeNotAllowed, Reason: reason}, result}
}

// Codes of the X-Ms-diagnostics header. Each was seen in answers of servers of
// this protocol but 28033, which stands beside 28032 in the same series.
const (
	codeNoToken        = 28020 // no valid security token
	codeNotAllowed     = 28029 // authentication type not allowed
	codeInvalidTicket  = 28032 // the web ticket is invalid
	codeExpiredTicket  = 28033 // the web ticket has expired
	codeInvalidToken   = 28055 // the token is invalid
	diagnosticsHeader  = "X-Ms-diagnostics"
	defaultDiagnostics = "No valid security token."
)

// Diagnostics is the content of an X-Ms-diagnostics header.
type Diagnostics struct {
	// Code is the number in front, for programs.
	Code int
	// Reason is an English sentence, for people.
	Reason string
}

// DiagnosticsFor returns what Challenge should say about err, an error of
// Authenticate. It is never nil.
func DiagnosticsFor(err error) *Diagnostics {
	var invalid ErrInvalidToken
	if errors.As(err, &invalid) {
		return &invalid.Diagnostics
	}
	var refused ErrForbidden
	if errors.As(err, &refused) {
		return &refused.Diagnostics
	}
	return &Diagnostics{Code: codeNoToken, Reason: defaultDiagnostics}
}

// header returns the header's text: 28020;source="gw.example.com";reason="…".
func (d Diagnostics) header(base string) string {
	return strconv.Itoa(d.Code) + `;source="` + quotable(hostOf(base)) + `";reason="` + quotable(d.Reason) + `"`
}

// hostOf returns the host name in base, or the product's where it has none.
func hostOf(base string) string {
	if u, err := url.Parse(base); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	return "ucwagate"
}

// quotable makes s fit between the double quotes of a header: clients find the
// end by the next quote and know no escapes. Text outside ASCII is replaced.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}

// seconds returns d in whole seconds, rounded up, at least one.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
