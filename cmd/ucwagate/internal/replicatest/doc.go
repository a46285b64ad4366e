// Package replicatest is the test of several gateways that share one Redis:
// real processes behind a real proxy that sends each request to the next of
// them, and the losses that happen in production.
//
// It must never know the protocol beyond what a client of it does, nor what the
// gateways keep in Redis.
package replicatest
