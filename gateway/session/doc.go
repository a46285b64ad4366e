// Package session is the state machine of one running application: its
// presence subscriptions with their members, its contacts-and-groups
// subscription, and its event channels.
//
// The event channel, as the client sees it (P-GET is a pending GET):
//
//	client                                    session
//	  │  GET events?ack=1                        │  next = 1, nothing sent
//	  │─────────────────────────────────────────▶│  parked for package 1
//	  │                                          │◀─ events queue up, collapse, age
//	  │  package 1, link next: ack=2             │  sent = package 1, next = 2
//	  │◀─────────────────────────────────────────│
//	  │  GET events?ack=1   (the answer was lost)│
//	  │─────────────────────────────────────────▶│  package 1 again, byte for byte
//	  │  GET events?ack=2                        │
//	  │─────────────────────────────────────────▶│  package 1 is acknowledged and forgotten; parked for 2
//	  │  GET events?ack=7   (never offered)      │
//	  │─────────────────────────────────────────▶│  link resync: the first unacknowledged package
//	  │  the queue outgrows Limits.Events        │  package 2 is given up with its number
//	  │  GET events?ack=2                        │
//	  │─────────────────────────────────────────▶│  link resync: ack=3, again until the client asks for it
//	  │  silence for SoftReset                   │  subscriptions end, timers are forgotten
//	  │  GET events?ack=3                        │
//	  │─────────────────────────────────────────▶│  answered at once, link resume
//	  │  silence for Expiry                      │  the application ends: 410, later 404
//
// A P-GET whose answer is a minute overdue was lost with the process that held
// it: it keeps nobody out, and from then on there is silence. If somebody holds
// it after all, because nobody could be asked until now, it gets its answer.
//
// Everything here is pure: no I/O, no goroutine, no lock, no clock. Methods get
// the time as an argument, and a Session can be serialized. An engine of
// gateway.Store runs them one at a time for each application. The package must
// never know representations, hrefs, Graph or where it is stored.
package session
