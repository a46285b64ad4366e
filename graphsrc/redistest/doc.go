// Package redistest starts real redis-server processes for tests: a single one,
// a cluster of three masters, and a master with a replica and a sentinel, and ways
// to a server that can be cut.
//
// It owns the processes, their ports on 127.0.0.1, their files in the test's
// temporary directory and their end. A server ends with its test, and on Linux
// with the test's process. It knows nothing of what is stored, and nothing of
// the gateway: no key, no prefix, no configuration.
//
// Functions that take a testing.TB fail it when something goes wrong, so they
// are for the test's own goroutine.
package redistest
