// Package policy decides what somebody who has signed in may do: sign in at
// all, publish presence, read whose presence. It is pure: rules in, answers out,
// the same for the same question.
//
// It must never know how an identity was proven, nor requests, time or files.
package policy
