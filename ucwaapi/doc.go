// Package ucwaapi is the UCWA 2.0 face of the gateway: routes, sign-in, hrefs,
// status codes. A request is authenticated, its application found, and one
// handler builds one resource, which is sent as JSON or XML as the client asks.
//
// The routes stand in one table (routes.go), the errors in another
// (errors.go), the hrefs in a third (links.go).
//
// The package must never know how state is kept or where presence comes from:
// it asks package gateway. Echo is used here and nowhere else.
package ucwaapi
