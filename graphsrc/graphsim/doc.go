// Package graphsim is a Microsoft 365 tenant that speaks Graph v1.0 and Entra
// ID over real HTTP: users, presence, groups, photos, mailbox contacts,
// subscriptions to presence and tokens, with the documented limits of presence,
// of the directory and of subscriptions enforced and with faults to order. It
// is what the demonstration, the tests and the benchmarks run on.
//
//	        ┌────────────── Tenant.Handler ──────────────┐
//	request │ /v1.0/…        /{tenant}/oauth2/…    /sim/… │
//	        │ meter, limit,  tokens, keys,         control │
//	        │ faults, token, discovery                     │
//	        │ route                                        │
//	        └───┬───────────────┬──────────────────┬──────┘
//	         people          presences          faults, stats
//	     (formulas over   (5 bytes a user,     (settable at run
//	      an index)        overlays on top)     time, per route)
//
// Apps get tokens for themselves (secret, certificate, federated identity) or
// for a user: on behalf of, or by a device code (ApproveDevice) with refresh
// tokens that rotate and can be revoked. Only the latter may subscribe:
//
//	POST /v1.0/subscriptions ─ handshake with both URLs ─▶ sender
//	presences ─ looked at every NotificationLatency ─▶ sender ─ POST ─▶ webhook
//
// The sender notices changes by comparing, whatever made them (workday, hand,
// publishing, passing time), so that they cost nothing while nobody has
// subscribed. It redelivers, slows down and drops as Graph documents, sends
// lifecycle events, and stops at Close.
//
// Control, beside presence, users, faults and statistics:
//
//	POST /sim/device/{user_code}             {"user": …} or {"decline": true}
//	POST /sim/users/{user}/revoke            ends the user's refresh tokens
//	GET  /sim/subscriptions                  those alive
//	POST /sim/subscriptions/{id}/lifecycle   {"event": …}
//
// Everything is deterministic from Config.Seed except secrets and request
// ids. Times come from Config.Clock.
//
// It must never know who calls it: nothing here may depend on the gateway's
// packages, only on the clock they share.
package graphsim
