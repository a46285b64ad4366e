package signin

import (
	"context"
	"net"
	"net/http"
	"net/netip"
)

// Peer is who is at the other end of a connection, and what the listener that
// accepted it stands for. It is set by the listener and never by anything that
// a request says.
type Peer struct {
	// Addr is the address of the other end, unmapped and without a zone. It is
	// the zero Addr for a unix socket, or where the address is not known.
	Addr netip.Addr
	// Unix says that the connection came over a unix socket.
	Unix bool
	// Trusted marks a unix socket whose other end is a reverse proxy that is
	// believed when it states who its user is. It means nothing for a TCP
	// connection: there the address counts.
	Trusted bool
	// Fixed marks a listener whose users are all the one of FixedIdentity.
	Fixed bool
}

// local says whether the other end is on the same machine.
func (p Peer) local() bool { return p.Unix || p.Addr.IsLoopback() }

type peerKey struct{}

// WithPeer returns a context for the connection of p.
func WithPeer(ctx context.Context, p Peer) context.Context {
	p.Addr = plain(p.Addr)
	return context.WithValue(ctx, peerKey{}, p)
}

// ConnContext returns a function for http.Server.ConnContext that sets the Peer
// of each connection: address and kind as the connection has them, Trusted and
// Fixed as listener says.
func ConnContext(listener Peer) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, c net.Conn) context.Context {
		p := Peer{Trusted: listener.Trusted, Fixed: listener.Fixed}
		switch addr := c.RemoteAddr().(type) {
		case *net.UnixAddr:
			p.Unix = true
		case *net.TCPAddr:
			p.Addr = addr.AddrPort().Addr()
		}
		return WithPeer(ctx, p)
	}
}

// peerOf returns the peer of a request. Where no listener has set one it is
// read from RemoteAddr, which net/http sets, and nothing else is known of it.
func peerOf(r *http.Request) Peer {
	if p, ok := r.Context().Value(peerKey{}).(Peer); ok {
		return p
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return Peer{}
	}
	return Peer{Addr: plain(ap.Addr())}
}

// plain gives one address one form: an IPv4 address inside IPv6 is the IPv4
// address, and the zone of a link-local address says nothing about whom to
// trust.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
