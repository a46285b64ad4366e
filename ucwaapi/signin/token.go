package signin

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The grant types that clients ask for (the fourth, integrated Windows
// authentication, is urn:microsoft.rtc:windows). Only the first is served.
const (
	grantPassword = "password"
	grantPassive  = "urn:microsoft.rtc:passive"
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

// TokenService returns the handler that trades a name and password for a web
// ticket. base returns the URL of the gateway as the client of a request sees
// it, without a path.
//
// Every failure that a client can cause by what it sends in the form is a 400,
// a wrong password and too many of them too: clients take 401 and 403 as a call
// to begin anew and loop. The other statuses are 405 for a wrong method and 413
// for a body above 16 KiB.
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
	grant := strings.ToLower(strings.TrimSpace(f["grant_type"]))
	user, password := strings.TrimSpace(f["username"]), f["password"]
	switch {
	case grant == "":
		return tokenResponse{}, badRequest("The field grant_type is missing.")
	case grant != grantPassword || a.passwords == nil:
		return tokenResponse{}, &tokenFailure{
			code: oauthUnsupportedGrant,
			diag: Diagnostics{codeNotAllowed, "The authentication type is not allowed; allowed is: " + a.allowedGrants() + "."},
		}
	case f["scope"] != "" && !strings.EqualFold(strings.TrimSpace(f["scope"]), "all"):
		return tokenResponse{}, &tokenFailure{
			code: oauthInvalidScope, diag: Diagnostics{codeNoToken, "The field scope is not valid; the only legal value is: all."},
		}
	case user == "":
		return tokenResponse{}, badRequest("The field username is missing.")
	case len(user) > maxUserName:
		return tokenResponse{}, badRequest("The field username is longer than " + strconv.Itoa(maxUserName) + " bytes.")
	case password == "":
		return tokenResponse{}, badRequest("The field password is missing.")
	}
	return a.passwordGrant(r, user, password)
}

// allowedGrants names the grants for people; there may be none.
func (a *Authenticator) allowedGrants() string {
	if a.passwords == nil {
		return "none, use an Entra ID access token"
	}
	return grantPassword
}

func (a *Authenticator) passwordGrant(r *http.Request, user, password string) (tokenResponse, *tokenFailure) {
	client := a.clientAddress(r)
	log := a.log.With("account", a.passwords.Account(user), "client", client, "method", MethodPassword)
	id, retryAfter, ok, err := a.checkPassword(r.Context(), user, password, client)
	switch {
	case err != nil:
		log.InfoContext(r.Context(), "sign-in", "result", "abandoned")
		return tokenResponse{}, &tokenFailure{code: oauthServerError, diag: Diagnostics{codeNoToken, "The request was abandoned."}}
	case retryAfter > 0:
		log.InfoContext(r.Context(), "sign-in", "result", "too many attempts")
		return tokenResponse{}, &tokenFailure{
			code: oauthInvalidGrant, retryAfter: retryAfter,
			diag: Diagnostics{codeNoToken, "Too many attempts; wait " + seconds(retryAfter) + " s and try again."},
		}
	case !ok:
		log.InfoContext(r.Context(), "sign-in", "result", "refused")
		return tokenResponse{}, &tokenFailure{
			code: oauthInvalidGrant, diag: Diagnostics{codeNoToken, "The user name or the password is wrong."},
		}
	}
	ticket, expiresIn := a.tickets.Issue(id)
	if ticket == "" {
		log.ErrorContext(r.Context(), "sign-in", "result", "no ticket can be issued for the account")
		return tokenResponse{}, &tokenFailure{code: oauthServerError, diag: Diagnostics{codeNoToken, "No web ticket could be issued."}}
	}
	log.InfoContext(r.Context(), "sign-in", "result", "accepted")
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
