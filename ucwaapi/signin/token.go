package signin

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The grant types that clients ask for and that are served. The fourth, joining
// a meeting without a name (urn:microsoft.rtc:anonmeeting), is not.
const (
	grantPassword = "password"
	// grantWindows is integrated authentication, in which the connection is
	// the proof. It and grantPassive are answered by the connection's identity.
	grantWindows = "urn:microsoft.rtc:windows"
	grantPassive = "urn:microsoft.rtc:passive"
)

// The values of "error" in a failure of the token service (RFC 6749, 5.2).
const (
	oauthInvalidRequest   = "invalid_request"
	oauthInvalidGrant     = "invalid_grant"
	oauthUnsupportedGrant = "unsupported_grant_type"
	oauthInvalidScope     = "invalid_scope"
	oauthServerError      = "server_error"
)

// tokenResponse is the answer with a ticket, its members in the order in which
// the servers of old send them.
type tokenResponse struct {
	AccessToken   string `json:"access_token"`
	ExpiresIn     int64  `json:"expires_in"` // seconds
	IdentityScope string `json:"ms_rtc_identityscope"`
	TokenType     string `json:"token_type"`
}

// tokenFailure is the answer without one.
type tokenFailure struct {
	status     int // zero means 400
	code       string
	diag       Diagnostics
	retryAfter time.Duration
}

func badRequest(reason string) *tokenFailure {
	return &tokenFailure{code: oauthInvalidRequest, diag: Diagnostics{codeNoToken, reason}}
}

// TokenService returns the handler that trades a name and password, or the
// identity of the connection, for a web ticket. base returns the URL of the
// gateway as the client of a request sees it, without a path.
//
// Every failure that a client can cause by what it sends in the form is a 400,
// a wrong password and too many of them too: clients take 401 and 403 as a call
// to begin anew and loop. The other statuses are 405 for a wrong method, 413 for
// a body above 16 KiB, 403 for a connection that is refused, and 503 with
// Retry-After where the password cannot be checked at the moment.
//
// Where no passwords are configured, the password grant is answered by the
// connection's identity too, so that clients that know no other can sign in;
// the password is not looked at, and a full address as the user name must be
// that of the identity.
func (a *Authenticator) TokenService(base func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer tokenResponse
		var failure *tokenFailure
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			failure = badRequest("Only POST is allowed here.")
			failure.status = http.StatusMethodNotAllowed
		} else if form, err := readForm(w, r); err != nil {
			failure = err
		} else {
			answer, failure = a.grant(r, form)
		}
		if failure != nil {
			failure.write(w, r, base(r))
			return
		}
		writeTokenJSON(w, r, http.StatusOK, "application/json", answer)
	})
}

// grant decides on one request for a ticket.
func (a *Authenticator) grant(r *http.Request, f tokenForm) (tokenResponse, *tokenFailure) {
	t := a.testimonyOf(r)
	if refused := t.refused(); refused != nil {
		return tokenResponse{}, &tokenFailure{status: http.StatusForbidden, code: oauthInvalidRequest, diag: *DiagnosticsFor(refused)}
	}
	grant := strings.ToLower(strings.TrimSpace(f["grant_type"]))
	byPassword := grant == grantPassword && a.passwords != nil
	byConnection := t.offered && !byPassword && (grant == grantPassword || grant == grantWindows || grant == grantPassive)
	user, password := strings.TrimSpace(f["username"]), f["password"]
	switch {
	case grant == "":
		return tokenResponse{}, badRequest("The field grant_type is missing.")
	case !byPassword && !byConnection:
		return tokenResponse{}, &tokenFailure{
			code: oauthUnsupportedGrant,
			diag: Diagnostics{codeNotAllowed, "The authentication type is not allowed; allowed is: " + a.allowedGrants(t) + "."},
		}
	case f["scope"] != "" && !strings.EqualFold(strings.TrimSpace(f["scope"]), "all"):
		return tokenResponse{}, &tokenFailure{
			code: oauthInvalidScope, diag: Diagnostics{codeNoToken, "The field scope is not valid; the only legal value is: all."},
		}
	case byConnection && grant != grantPassword && user+password != "":
		return tokenResponse{}, badRequest("The fields username and password are not legal with this grant_type.")
	case byConnection:
		return a.connectionGrant(r, t, user)
	case user == "":
		return tokenResponse{}, badRequest("The field username is missing.")
	case len(user) > maxUserName:
		return tokenResponse{}, badRequest("The field username is longer than " + strconv.Itoa(maxUserName) + " bytes.")
	case password == "":
		return tokenResponse{}, badRequest("The field password is missing.")
	}
	return a.passwordGrant(r, t, user, password)
}

// allowedGrants names the grants for people; there may be none.
func (a *Authenticator) allowedGrants(t testimony) string {
	if a.passwords == nil && !t.offered {
		return "none, use an Entra ID access token"
	}
	return a.grantTypes(t)
}

// connectionGrant gives a ticket for the identity of the connection. user is
// what the client calls itself, if it does.
func (a *Authenticator) connectionGrant(r *http.Request, t testimony, user string) (tokenResponse, *tokenFailure) {
	if t.id.Address == "" {
		return tokenResponse{}, &tokenFailure{code: oauthInvalidGrant, diag: *DiagnosticsFor(t.noCredentials())}
	}
	log := a.log.With("account", a.Pseudonym(t.id.Address), "client", a.clientAddress(r), "method", t.id.Method)
	if address, err := parseAddress(user); err == nil && address != t.id.Address {
		return a.refuseGrant(r, log, t.id, forbidden(ResultUserMismatch, "The connection is that of another user than the one named."))
	}
	return a.give(r, log, t.id)
}

func (a *Authenticator) passwordGrant(r *http.Request, t testimony, user, password string) (tokenResponse, *tokenFailure) {
	client := a.clientAddress(r)
	claimed := Identity{Address: a.passwords.Account(user), Method: MethodPassword}
	log := a.log.With("account", a.Pseudonym(claimed.Address), "client", client, "method", MethodPassword)
	id, retryAfter, err := a.checkPassword(r.Context(), user, password, client)
	if retryAfter > 0 {
		log.DebugContext(r.Context(), "sign-in", "result", "too many attempts")
		a.events.tell(r, MethodPassword, ResultThrottled, claimed)
		return tokenResponse{}, &tokenFailure{
			code: oauthInvalidGrant, retryAfter: retryAfter,
			diag: Diagnostics{codeNoToken, "Too many attempts; wait " + seconds(retryAfter) + " s and try again."},
		}
	}
	if err != nil {
		return a.failPassword(r, log, claimed, err)
	}
	if err := a.agree(t, id); err != nil {
		return a.refuseGrant(r, log, id, err)
	}
	return a.give(r, log, id)
}

// failPassword tells why a password brought nothing.
func (a *Authenticator) failPassword(r *http.Request, log *slog.Logger, claimed Identity, err error) (tokenResponse, *tokenFailure) {
	result := resultOf(err)
	a.events.tell(r, MethodPassword, result, claimed)
	switch result {
	case ResultAbandoned:
		log.DebugContext(r.Context(), "sign-in", "result", "abandoned")
		return tokenResponse{}, &tokenFailure{code: oauthServerError, diag: Diagnostics{codeNoToken, "The request was abandoned."}}
	case ResultUnavailable:
		log.DebugContext(r.Context(), "sign-in", "result", "unavailable")
		a.logOutage(r.Context(), "passwords cannot be checked", err)
		return tokenResponse{}, &tokenFailure{
			status: http.StatusServiceUnavailable, code: oauthServerError, retryAfter: UnavailableRetryAfter,
			diag: Diagnostics{codeNoToken, "The password cannot be checked at the moment; try again later."},
		}
	default:
		log.DebugContext(r.Context(), "sign-in", "result", "refused")
		return tokenResponse{}, &tokenFailure{
			code: oauthInvalidGrant, diag: Diagnostics{codeNoToken, "The user name or the password is wrong."},
		}
	}
}

// refuseGrant refuses somebody who has shown who they are.
func (a *Authenticator) refuseGrant(r *http.Request, log *slog.Logger, id Identity, err error) (tokenResponse, *tokenFailure) {
	log.DebugContext(r.Context(), "sign-in", "result", "not allowed", "reason", DiagnosticsFor(err).Reason)
	a.events.tell(r, id.Method, resultOf(err), id)
	return tokenResponse{}, &tokenFailure{code: oauthInvalidGrant, diag: *DiagnosticsFor(err)}
}

// give gives a ticket to somebody who has shown who they are.
func (a *Authenticator) give(r *http.Request, log *slog.Logger, id Identity) (tokenResponse, *tokenFailure) {
	if err := a.permit(id); err != nil {
		return a.refuseGrant(r, log, id, err)
	}
	if !a.tickets.known() {
		a.events.tell(r, id.Method, ResultUnavailable, id)
		a.logOutage(r.Context(), "web tickets cannot be given", errNoKey)
		return tokenResponse{}, &tokenFailure{
			status: http.StatusServiceUnavailable, code: oauthServerError, retryAfter: UnavailableRetryAfter,
			diag: Diagnostics{codeNoToken, "Web tickets cannot be given at the moment; try again later."},
		}
	}
	ticket, expiresIn := a.tickets.Issue(id)
	if ticket == "" {
		log.ErrorContext(r.Context(), "sign-in", "result", "no ticket can be issued for the account")
		a.events.tell(r, id.Method, ResultMalformed, id)
		return tokenResponse{}, &tokenFailure{code: oauthServerError, diag: Diagnostics{codeNoToken, "No web ticket could be issued."}}
	}
	log.DebugContext(r.Context(), "sign-in", "result", "accepted")
	a.events.tell(r, id.Method, ResultOK, id)
	return tokenResponse{
		AccessToken: ticket, ExpiresIn: int64(expiresIn / time.Second), IdentityScope: "local", TokenType: "Bearer",
	}, nil
}

func (f *tokenFailure) write(w http.ResponseWriter, r *http.Request, base string) {
	status := f.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", seconds(f.retryAfter))
	}
	SetDiagnostics(w.Header(), f.diag, base)
	writeTokenJSON(w, r, status, "application/json;charset=UTF-8", struct {
		Error string `json:"error"`
	}{f.code})
}

// writeTokenJSON sends v, which always encodes, with the headers that forbid
// to keep it.
func writeTokenJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"`+oauthServerError+`"}`)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client has gone if it fails
	}
}
