// Package guard keeps clients, hostile or broken, from taking more than their
// share of a server: connections, time to send a body and to take an answer,
// requests.
//
//	Listener  how many connections there are, in all and of one address; one
//	          that does nothing makes room for a new one; a peer that does not
//	          take what is written is cut
//	Timely    how long a request may take to send its body, and an HTTP/2
//	          stream to take its answer
//	Rate      how many requests one name (a user, an address) may send
//
// It must never know what is served, nor who a name stands for.
package guard

// Reason says which limit somebody met. The set is closed and small, so that a
// reason can be the label of a metric.
type Reason string

// The reasons.
const (
	// Connections: as many connections as are allowed in all, none of them idle.
	Connections Reason = "connections"
	// ConnectionsPerAddress: as many as one address is allowed.
	ConnectionsPerAddress Reason = "connections-per-address"
	// IdleConnection: a connection that did nothing was closed to make room.
	IdleConnection Reason = "idle-connection"
	// SlowReader: the peer did not take what was written.
	SlowReader Reason = "slow-reader"
	// SlowBody: a request did not send its body in time.
	SlowBody Reason = "slow-body"
)

// Reasons returns every reason, for those who prepare a counter for each.
func Reasons() []Reason {
	return []Reason{Connections, ConnectionsPerAddress, IdleConnection, SlowReader, SlowBody}
}
