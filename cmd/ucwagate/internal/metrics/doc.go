// Package metrics is what Prometheus reads of the gateway: the names, their
// meaning, and where each number comes from.
//
//	states   budget, units, source, notifications, gateway: asked for their
//	         Stats when somebody scrapes, never in between
//	events   sign-ins, HTTP requests, wakes, batches, answers of Graph: counted
//	         here when they happen
//
// Every name stands in one of the tables of this package, begins with
// "ucwagate_" and ends in its unit; Families lists them for documentation and
// for the tests of dashboards and alerts. Label values come from closed sets
// (lanes, tiers, states, the routes and tenants of the configuration); whatever
// else is given becomes "other".
//
// The package must never know a person: no address, no object id and no name of
// an account is a label.
package metrics
