package config

import "time"

// Limits bound what clients can make the gateway do and hold.
type Limits struct {
	MaxHeader             Size          `key:"max_header" min:"4KiB" max:"1MiB" doc:"Largest request line and headers together."`
	HeaderTime            time.Duration `key:"header_time" min:"1s" max:"1m" doc:"How long a client may take for the handshake of TLS, and for the request line and headers."`
	BodyTime              time.Duration `key:"body_time" min:"1s" max:"10m" doc:"How long a client may take to send the body of a request."`
	WriteTime             time.Duration `key:"write_time" min:"1s" max:"10m" doc:"How long a client may take to receive what is sent to it, and a second more for each 32 KiB. It counts from the beginning of the answer: a request for events may wait for one as long as it says."`
	IdleTime              time.Duration `key:"idle_time" min:"1s" max:"1h" doc:"How long a connection may be kept open without a request."`
	Connections           int           `key:"connections" min:"0" max:"1000000" doc:"Connections in all, about 25 KiB of memory each. One more has the one closed that has done nothing for longest; if all are busy, it is refused."`
	ConnectionsPerAddress int           `key:"connections_per_address" min:"0" max:"1000000" doc:"Connections of one client address. Those of server.trusted_proxies and of sockets are not counted."`
	Streams               int           `key:"streams" min:"10" max:"10000" doc:"Requests at once over one connection of HTTP/2."`
	PGets                 int           `key:"pgets" min:"0" max:"10000000" doc:"Requests for events (P-GETs) that wait, in all; one more is answered 503."`
	PGetsPerUser          int           `key:"pgets_per_user" min:"0" max:"1000000" doc:"Requests for events of one user that wait; one more is answered 429."`
	RequestsPerMinute     int           `key:"requests_per_minute" min:"0" max:"10000000" doc:"Requests of one user, the parts of a batch counted one by one; more are answered 429."`
	RequestBurst          int           `key:"request_burst" min:"100" max:"10000000" doc:"How many of them may come at once: as many as a batch may have, at least."`
	AnonymousPerMinute    int           `key:"anonymous_per_minute" min:"0" max:"10000000" doc:"Requests of one client address that are not signed in, discovery and sign-in included, a third of them at once; more are answered 429."`
}

// defaultLimits are such that no client in use meets them: not five tabs that
// send batches of 100, nor a server that asks 2,000 times a minute in the name
// of one account, nor an office behind one address.
func defaultLimits() Limits {
	return Limits{
		MaxHeader:             64 << 10,
		HeaderTime:            10 * time.Second,
		BodyTime:              30 * time.Second,
		WriteTime:             30 * time.Second,
		IdleTime:              3 * time.Minute,
		Connections:           20_000,
		ConnectionsPerAddress: 2000,
		Streams:               250,
		PGets:                 100_000,
		PGetsPerUser:          500,
		RequestsPerMinute:     60_000,
		RequestBurst:          20_000,
		AnonymousPerMinute:    12_000,
	}
}
