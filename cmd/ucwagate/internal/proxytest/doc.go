// Package proxytest holds the tests of configs/proxy: the shipped
// configurations of nginx and HAProxy run in front of the real gateway, that of
// Envoy is read strictly and compared with the same facts.
//
// What runs is the shipped text. Only addresses, ports, paths and, where a test
// says so, lengths of time are replaced, each of which must occur in it.
//
// It must never contain anything but tests.
package proxytest
