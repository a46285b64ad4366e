// Package exampletest holds the tests of docs/examples: the example clients run
// as processes against the real gateway in front of a simulated tenant, with
// something in between that lets happen what happens in the field.
//
// Those for which the machine of the tests has no language (PowerShell and C#)
// are not run.
//
// It must never contain anything but tests.
package exampletest
