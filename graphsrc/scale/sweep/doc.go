// Package sweep measures the reading of a whole tenant over real HTTP: the
// source, the budget and the Graph SDK's request builders on one side, a
// simulated tenant with its limit on the other, and beside them a plain program
// of net/http and encoding/json that reads the same people.
//
// Each of the three runs in a process of its own, so that processor time and
// memory are those of one program. The simulator's are nobody's.
//
// It holds tests and benchmarks only. It must never know how requests are
// scheduled, nor what a presence is mapped to.
package sweep
