// Package gateway is the domain of the product: who is signed in, which
// applications they run, which people and groups they see and what those
// people's presence is. It holds the rules of UCWA that are not about
// representation, and asks a Source for the truth.
//
// State that the protocol keeps lives behind the Store interface; the engine
// is chosen by whoever wires the program.
//
// The package must never know HTTP, JSON, XML or a path, nor the SDK with
// which Graph is reached. Its errors are *Error: they say what is wrong in the
// protocol's terms, and ucwaapi turns them into a status once.
package gateway
