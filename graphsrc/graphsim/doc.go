// Package graphsim is a Microsoft 365 tenant that speaks Graph v1.0 and Entra
// ID over real HTTP: users, presence, groups, photos, mailbox contacts and
// tokens, with the documented limits of presence and of the directory enforced
// and with faults to order. It is what the demonstration, the tests and the
// benchmarks run on.
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
// Everything is deterministic from Config.Seed except secrets and request
// ids. Times come from Config.Clock.
//
// It must never know who calls it: nothing here may depend on the gateway's
// packages, only on the clock they share.
package graphsim
