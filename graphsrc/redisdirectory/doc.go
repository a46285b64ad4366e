// Package redisdirectory is graphsrc.SharedDirectory on Redis: it owns how the
// outcome of a look-up lies there.
//
// It must never know Graph, nor who asks, and it never decides how long an outcome
// holds.
//
// # Keys
//
// One string for each address, <prefix>:directory:<tenant>:<address>, which ends
// when the outcome does: the time that is left of it is the time of the key, by the
// clock of Redis, so no clocks are compared. No command has two keys, so they lie in
// any slot; the commands of a batch leave together, a trip for each node.
//
//	nobody  version, 0
//	user    version, 1, the 16 bytes of the id, the other fields
//
// A user is written with what the directory shows of people and nothing else. The
// principal name is mostly the mail address, the IM address and, with "SMTP:" before
// it, a proxy address: what was written before is a reference. That makes some 150
// bytes.
package redisdirectory
