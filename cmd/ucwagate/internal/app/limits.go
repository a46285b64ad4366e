package app

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"ucwagate/cmd/ucwagate/internal/guard"
	"ucwagate/ucwaapi"
)

// guarded makes the server and the listener for clients, with the limits that
// are configured and so many connections.
func (a *App) guarded(h http.Handler, l net.Listener, connections int) (*http.Server, net.Listener) {
	c := a.cfg.Limits
	bounded := guard.NewListener(l, guard.ListenerOptions{
		Connections: connections, PerAddress: c.ConnectionsPerAddress, Exempt: a.cfg.Server.TrustedProxies,
		WriteTime: c.WriteTime, OnLimit: a.limited, Clock: a.clock,
	})
	s := newServer(guard.Timely(guard.Times{Body: c.BodyTime, Write: c.WriteTime, OnLimit: a.limited}, h), a.log)
	s.ReadHeaderTimeout, s.IdleTimeout, s.MaxHeaderBytes = c.HeaderTime, c.IdleTime, int(c.MaxHeader)
	s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: c.Streams, WriteByteTimeout: c.WriteTime}
	s.ConnState = bounded.ConnState
	return s, bounded
}

// newServer has the limits of a server for few. There is no write timeout: it
// would count from the beginning of a request, and a P-GET is held for up to
// half an hour.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: closeAfterChunks(h), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 3 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

const (
	// spareFiles are the open files that are left to everything but connections
	// of clients: Graph, files, the internal listener.
	spareFiles = 256
	// redirectConnections is how many connections the redirecting listener has
	// at most; each is for one request.
	redirectConnections = 1000
)

// connections is how many connections of clients there may be: not more than
// the process may have files open. Without a file to accept into, a listener
// would not learn of a connection for which one that idles could make room.
func (a *App) connections() int {
	want := a.cfg.Limits.Connections
	files, spare := openFiles(), spareFiles
	if a.cfg.Server.RedirectListen != "" {
		spare += redirectConnections
	}
	most := max(files-spare, files/2)
	if want > 0 && want <= most {
		return want
	}
	if want == 0 {
		return most
	}
	a.log.Warn("there may be fewer connections than limits.connections says: the process may have no more files open",
		"configured", want, "connections", most)
	return most
}

// limits are those of requests.
func (a *App) limits() ucwaapi.Limits {
	c := a.cfg.Limits
	limits := ucwaapi.Limits{OnLimit: a.metrics.Limited}
	if c.RequestsPerMinute > 0 {
		limits.Users = guard.NewRate(c.RequestsPerMinute, c.RequestBurst, a.clock)
	}
	if c.AnonymousPerMinute > 0 {
		limits.Strangers = guard.NewRate(c.AnonymousPerMinute, c.AnonymousPerMinute/3, a.clock)
	}
	return limits
}

func (a *App) limited(r guard.Reason) { a.metrics.Limited(string(r)) }

// limitReasons are the limits that are counted.
func limitReasons() []string {
	all := ucwaapi.LimitReasons()
	for _, r := range guard.Reasons() {
		all = append(all, string(r))
	}
	return all
}
