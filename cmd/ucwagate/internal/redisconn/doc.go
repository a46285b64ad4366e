// Package redisconn is the way to Redis: one client of what the configuration
// names, a single server, a cluster, or a master that sentinels name.
//
// It owns the connection, its certificates and passwords, the time a command
// may take, the measuring of commands, and the knowledge whether Redis answers.
// It must never know what is kept there: no key but that of its probe, no script.
//
//	Open ──► Client (a rueidis.Client) ──► Do, DoMulti, DoCache, Receive
//	            │ connects in the background, however long that takes
//	            │ until then every command fails at once
//	            └ probes once a second ──► State, for /readyz and the log
//
// Check looks at Redis once, for an operator.
package redisconn
