// Package signin decides who is calling: it owns the web tickets, the password
// file, the check of Entra ID access tokens, the limiter of password attempts,
// the token service that trades a password for a ticket, and the 401 challenge
// that tells a client where that service is.
//
//	GET user                        → 401, WWW-Authenticate: MsRtcOAuth href="…/WebTicket/oauthtoken",…
//	POST …/WebTicket/oauthtoken     → 200 {"access_token":"cwt=…","expires_in":28800,…}
//	GET user, Bearer cwt=…          → Authenticate → Identity
//	GET user, Bearer eyJ… (Entra)   → Authenticate → Identity
//
// The package speaks net/http only. It must never know UCWA resources, their
// representations or their error bodies, and nothing of Microsoft Graph: it
// hands out an Identity and leaves it to others what that person may do.
package signin
