// Package redisclock is the time that replicas have in common. What one of them
// notes, another reads: an hour that ends by the clock of one must not end early
// by that of another.
//
// Each replica measures how far its own clock is from that of Redis, and adds it.
// In between it counts by its own, by the monotonic reading: a clock that is set
// moves nothing. The common time is that of Redis only to begin with. It runs on
// when another node takes over whose clock shows something else, or when the
// clock of the node is set, because the replicas tell the script what they make it:
//
//	common time = clock of Redis + shift
//	                                  │ kept in Redis, for replicas that come later
//	a replica is ahead of it          │ the clock went back: the shift grows
//	a replica is behind it, and       │
//	  nobody has told a later time    │ the clock went ahead: the shift shrinks
//	  somebody has told a later one   │ the replica stood still: it follows
//
// Only who has followed for some looks is believed. The date that comes out of
// this may be any: it is for differences.
//
// Whatever is to be counted by the common time is sent through Client, which
// refuses it until that is known.
//
// It must never know what is timed.
package redisclock
