// Package clock is the one place from which scheduling code takes its time,
// so that a test or a simulation can put another in its place.
//
// It must never know what is being timed.
package clock

import "time"

// Clock tells the time and calls back after a delay.
type Clock interface {
	// Now returns the current time with a monotonic reading where there is one.
	Now() time.Time
	// AfterFunc calls f in a goroutine of its own once d has passed; a d of
	// zero or less calls it at once.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending AfterFunc.
type Timer interface {
	// Stop cancels the call and reports whether it did so in time.
	Stop() bool
}

// System returns the clock of package time. Inside a testing/synctest bubble
// it is the bubble's fake clock.
func System() Clock { return system{} }

type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }
