// Package sharetest owns what any graphsrc.Shared must do, as tests (Run), and one
// that lives in memory (Hub), for tests of several sources in one process.
//
// It must never know what a Shared is made of.
package sharetest
