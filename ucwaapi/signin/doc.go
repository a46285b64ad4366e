// Package signin decides who is calling. It owns the forms of sign-in, the web
// tickets, the token service that trades a proof for a ticket, the limiter of
// password attempts, and the 401 challenge that tells a client where that
// service is.
//
//	GET user                        → 401, WWW-Authenticate: MsRtcOAuth href="…/WebTicket/oauthtoken",…
//	POST …/WebTicket/oauthtoken     → 200 {"access_token":"cwt=…","expires_in":28800,…}
//	GET user, Bearer cwt=…          → Authenticate → Identity
//	GET user, Bearer eyJ… (Entra)   → Authenticate → Identity
//	GET user on a connection that
//	  says who is at its other end  → Handler → Authenticate → Identity
//
// The forms, and what proves the identity in each:
//
//	Passwords          a name and password sent to the token service, checked by a
//	                   password file (Htpasswd), a program (PasswordCommand) or a
//	                   web service (PasswordCallback); ChainPasswords joins several
//	Entra              an access token of Entra ID
//	ForwardedIdentity  a header of a trusted reverse proxy
//	ClientCertificates the certificate of a TLS connection
//	FixedIdentity      the listener: everybody who reaches it is one user
//
// The last three are transports: the identity is that of the connection. Where
// several forms are configured, the order in which they count is:
//
//  1. A connection that a transport refuses (ErrForbidden) is refused whatever
//     else the request carries.
//  2. A bearer token is checked if there is one, and a bad one is answered by a
//     challenge even where the connection has an identity.
//  3. Transports are asked in the order configured. The first that names a user
//     decides; one behind it that names another user makes the request refused.
//  4. A token and a connection must be of the same user, else the request is
//     refused: ErrForbidden.
//
// The package speaks net/http only. It must never know UCWA resources, their
// representations or their error bodies, and nothing of Microsoft Graph: it
// hands out an Identity and leaves it to others what that person may do.
package signin
