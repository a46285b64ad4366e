// Package documents holds the tests of what is written for people: every link
// between the pages leads somewhere, every option, metric and log line that they
// name exists, and the unit for systemd is one.
//
// It must never contain anything but tests.
package documents
