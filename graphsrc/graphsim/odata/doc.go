// Package odata parses the subset of OData that Graph accepts for directory
// objects: $filter expressions and $search phrases.
//
// It must never know which properties exist; the caller asks an expression
// what it uses and decides.
package odata
