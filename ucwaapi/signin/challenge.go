package signin

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// TokenServicePath is where the token service is mounted; Challenge sends
// clients there.
const TokenServicePath = "/WebTicket/oauthtoken"

// challengeHeader is spelled as clients look for it. Go's canonical form is
// Www-Authenticate, so it is set in the map and not by Set.
const challengeHeader = "WWW-Authenticate"

// What the challenge names when Entra ID is not configured, so that no
// parameter is empty: the names that the servers of old give.
const (
	tokenServicePrincipal = "00000001-0000-0000-c000-000000000000"
	serverApplication     = "00000004-0000-0ff1-ce00-000000000000"
)

const challengeBody = `<!DOCTYPE html>
<html><head><title>401 - Unauthorized</title></head>
<body><h1>401 - Unauthorized</h1><p>Sign in to use this resource.</p></body></html>
`

// Challenge answers 401 with the two challenges that tell a client how to sign
// in over this connection. base is the URL of the gateway as the client sees
// it, without a path. A nil diag means that there were no credentials.
//
// Clients read the header lines as text, so their form is fixed: MsRtcOAuth
// comes first and no URL before its href, each parameter name appears once over
// both lines and has a value, and the header names are spelled as below and not
// in Go's canonical form.
func (a *Authenticator) Challenge(w http.ResponseWriter, r *http.Request, base string, diag *Diagnostics) {
	if diag == nil {
		diag = DiagnosticsFor(ErrNoCredentials)
	}
	base = strings.TrimRight(base, "/")
	h := w.Header()
	h.Del(challengeHeader)
	h[challengeHeader] = a.challengeLines(base, a.testimonyOf(r))
	SetDiagnostics(h, *diag, base)
	if !slices.Contains(h.Values("Vary"), "Accept-Encoding") {
		h.Add("Vary", "Accept-Encoding")
	}
	h.Set("Content-Type", "text/html")
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(challengeBody)))
	w.WriteHeader(http.StatusUnauthorized)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(challengeBody)) // the client has gone if it fails
	}
}

// challengeLines returns the lines in the order in which they are sent.
func (a *Authenticator) challengeLines(base string, t testimony) []string {
	tokenService := quotable(base + TokenServicePath)
	issuers, clientID, authorization := tokenServicePrincipal+"@"+quotable(hostOf(base)), serverApplication, tokenService
	if a.entra != nil {
		issuers, clientID, authorization = a.entra.challenge()
	}
	return []string{
		`MsRtcOAuth href="` + tokenService + `",grant_type="` + a.grantTypes(t) + `"`,
		`Bearer trusted_issuers="` + quotable(issuers) + `", client_id="` + quotable(clientID) +
			`", authorization_uri="` + quotable(authorization) + `"`,
	}
}

// grantTypes lists what the token service accepts over the connection: clients
// take the first that they know, so the one for the connection's identity is
// named only where there can be one. The list must not be empty; where nothing
// is accepted it names the grant that makes a client ask the token service
// without sending a password, and be told.
func (a *Authenticator) grantTypes(t testimony) string {
	switch {
	case t.offered && a.passwords != nil:
		return grantWindows + "," + grantPassword
	case t.offered:
		return grantWindows
	case a.passwords != nil:
		return grantPassword
	default:
		return grantPassive
	}
}

// SetDiagnostics puts an X-Ms-diagnostics header, spelled so, into h. base is the
// URL of the gateway as the client sees it.
func SetDiagnostics(h http.Header, d Diagnostics, base string) {
	h.Del(diagnosticsHeader)
	h[diagnosticsHeader] = []string{d.header(base)}
}
