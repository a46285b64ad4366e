// Package conform is a strict UCWA 2.0 client. It walks every presence
// resource of a server from links alone, checks each answer against the table
// of rules and reports what it saw, rule by rule. The conform command and the
// tests of the gateway use it.
//
// A walk leaves nothing behind: it ends the applications it created, and with
// them their subscriptions; the contact list is only read, and what it publishes
// of the user (only if it is told to) it puts back.
//
//	discovery ─ root ─ user(401) ─ token ─ user ─ applications
//	   application ─ me ─ people ┬ contacts, groups, search, photos
//	                             └ subscriptions ─ events
//	   batch, stubs, policies, errors, versions, tolerance ─ deletion
//
// It must never know the gateway: it reads bytes, not types of ours, and any
// UCWA server will do.
package conform
