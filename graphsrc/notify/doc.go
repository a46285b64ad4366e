// Package notify receives Microsoft Graph's change notifications for presence:
// the HTTP endpoint and its protocol, the keys that Graph encrypts resource data
// for, and what proves that a notification is Graph's.
//
//	POST ?validationToken=t ─────────────────────────────▶ 200 t
//	POST {"value":[…],"validationTokens":[…]} ───────────▶ 202, 400, 413, 503
//	   │ tenant, clientState (Subscriptions.Knows)
//	   ▼
//	bounded queue ──▶ workers: Tokens.Verify ─▶ Keyring.Open ─▶ Sink.Changed
//	                                                          └▶ Sink.Lifecycle
//
// The endpoint stands on the public internet. Who lacks a subscription's
// clientState reaches neither the queue nor a signature check nor a private
// key, and gets the same answer whatever is wrong with the items. Few deliveries
// are read at a time, and what one can make the process hold or read is bounded.
// A clientState alone says that something about a person changed, once per 5 s at
// the most. All that costs time happens after the answer: Graph calls an endpoint
// slow that takes longer than 2.9 s, and drops its notifications when that is so
// for 15 % of them.
//
// Where several replicas share an address and one has subscribed, the others have
// a Forwarder: it answers validations, and hands on what may be Graph's.
//
//	POST {…} ─▶ Forwarder: form, tenant, Tokens.Verify ─▶ Relay.Deliver ┄▶ Receiver.Take
//
// The package must never know applications, UCWA, who is watched, or how a
// subscription comes to be.
//
// Sources:
// https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks,
// https://learn.microsoft.com/en-us/graph/change-notifications-with-resource-data,
// https://learn.microsoft.com/en-us/graph/change-notifications-lifecycle-events,
// https://learn.microsoft.com/en-us/graph/changenotifications-for-presence.
package notify
