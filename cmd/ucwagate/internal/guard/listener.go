package guard

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc/clock"
)

// ListenerOptions bound the connections of a listener. A bound of zero is none.
type ListenerOptions struct {
	// Connections is how many there may be in all.
	Connections int
	// PerAddress is how many one client address may have (of IPv6 the first 64
	// bits: one subscriber has them all). A unix socket has no address.
	PerAddress int
	// Exempt are networks whose addresses PerAddress does not bound: behind a
	// proxy the address is the proxy's.
	Exempt []netip.Prefix
	// WriteTime is how long the peer may take for what is written at once, and
	// a second more for each 32 KiB of it; zero is for ever.
	WriteTime time.Duration
	// OnLimit is told of every limit that was met. It must not block; nil is
	// for nobody.
	OnLimit func(Reason)
	// Clock is nil for the system's.
	Clock clock.Clock
}

// slowest is the least rate at which a peer must take what is written, in bytes
// per second, once WriteTime is over.
const slowest = 32 << 10

// Listener is a listener whose connections are bounded. It learns from
// ConnState which of them do nothing: where all that are allowed are taken, one
// of those that have done nothing for longest makes room for the new one, so
// that connections that are merely held keep nobody out. It is safe for
// concurrent use.
type Listener struct {
	net.Listener
	o ListenerOptions

	mu        sync.Mutex
	open      map[*conn]struct{}
	byAddress map[netip.Addr]int
}

// NewListener bounds the connections that l accepts.
func NewListener(l net.Listener, o ListenerOptions) *Listener {
	if o.OnLimit == nil {
		o.OnLimit = func(Reason) {}
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	return &Listener{Listener: l, o: o, open: make(map[*conn]struct{}), byAddress: make(map[netip.Addr]int)}
}

// Accept implements net.Listener. Connections beyond a bound are closed without
// a word: an answer would cost more than they do.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(raw); c != nil {
			return c, nil
		}
		reset(raw)
	}
}

// reset closes a connection at once and leaves nothing of it in the kernel.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// admit takes in a connection, or returns nil.
func (l *Listener) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, listener: l, address: l.bounded(raw)}
	c.idleSince.Store(l.o.Clock.Now().UnixNano())
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.address.IsValid() && l.byAddress[c.address] >= l.o.PerAddress {
		l.o.OnLimit(ConnectionsPerAddress)
		return nil
	}
	if l.o.Connections > 0 && len(l.open) >= l.o.Connections {
		victim := l.idlest()
		if victim == nil {
			l.o.OnLimit(Connections)
			return nil
		}
		l.o.OnLimit(IdleConnection)
		l.forget(victim)
		reset(victim.Conn)
	}
	l.open[c] = struct{}{}
	if c.address.IsValid() {
		l.byAddress[c.address]++
	}
	return c
}

// bounded returns the address by which a connection is counted, which is not
// valid if it is not.
func (l *Listener) bounded(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok || l.o.PerAddress <= 0 {
		return netip.Addr{}
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range l.o.Exempt {
		if p.Contains(a) {
			return netip.Addr{}
		}
	}
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// sample is how many connections are looked at for one that does nothing.
const sample = 64

// idlest returns the connection that has done nothing for longest, of a random
// sample; nil if all of them are busy. The caller holds mu.
func (l *Listener) idlest() *conn {
	var best *conn
	var since int64
	seen := 0
	for c := range l.open { // in no order
		if at := c.idleSince.Load(); at != 0 && (best == nil || at < since) {
			best, since = c, at
		}
		if seen++; seen == sample {
			break
		}
	}
	return best
}

// forget gives back the place of a connection. The caller holds mu.
func (l *Listener) forget(c *conn) {
	if _, ok := l.open[c]; !ok {
		return
	}
	delete(l.open, c)
	if !c.address.IsValid() {
		return
	}
	if l.byAddress[c.address]--; l.byAddress[c.address] <= 0 {
		delete(l.byAddress, c.address)
	}
}

// ConnState is for http.Server.ConnState of the server on this listener.
func (l *Listener) ConnState(at net.Conn, state http.ConnState) {
	if secured, ok := at.(*tls.Conn); ok {
		at = secured.NetConn()
	}
	c, ok := at.(*conn)
	if !ok {
		return
	}
	switch state {
	case http.StateActive, http.StateHijacked:
		c.idleSince.Store(0)
	case http.StateIdle:
		c.idleSince.Store(l.o.Clock.Now().UnixNano())
	}
}

// conn is a connection that has a place.
type conn struct {
	net.Conn
	listener *Listener
	address  netip.Addr
	// idleSince is when it began to do nothing, in Unix nanoseconds; 0 while a
	// request is under way.
	idleSince atomic.Int64
}

// Write gives the peer a time to take b.
func (c *conn) Write(b []byte) (int, error) {
	limit := c.listener.o.WriteTime
	if limit <= 0 {
		return c.Conn.Write(b)
	}
	limit += time.Duration(len(b)) * time.Second / slowest
	// The kernel keeps this time, whatever the clock says.
	if err := c.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.listener.o.OnLimit(SlowReader)
		// What has not been taken must not stay in the kernel either.
		reset(c.Conn)
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.listener.forget(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite ends the writing half, where there are halves: net/http tells a
// client so that no more comes before it closes.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
