package signin

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// FixedOptions name the one user of a listener: the gateway as a sidecar of the
// program that it serves.
type FixedOptions struct {
	// Address is the user's address.
	Address string
	// Name is the display name; it may be empty.
	Name string
	// Hosts are host names, without a port, that requests may name besides
	// localhost and loopback addresses.
	Hosts []string
}

// FixedIdentity gives one identity to every request over a listener that is
// marked Fixed, from the same machine: over the loopback interface or a unix
// socket. Whoever can open such a connection is that user, so it refuses what a
// web page in a browser on the machine could make it send:
//
//   - a request that names a foreign host, which is what a page sends whose name
//     was made to resolve to this machine (DNS rebinding),
//   - a request of a page of another site that carries no Origin, as far as the
//     browser tells; one with Origin is for the check of origins to decide,
//   - a request that a proxy has forwarded.
//
// Safe for use by several goroutines.
type FixedIdentity struct {
	id    Identity
	hosts map[string]bool
}

// NewFixedIdentity checks the options.
func NewFixedIdentity(o FixedOptions) (*FixedIdentity, error) {
	address, err := parseAddress(o.Address)
	if err != nil {
		return nil, fmt.Errorf("fixed identity %q: %w", o.Address, err)
	}
	f := &FixedIdentity{
		id:    Identity{Address: address, Name: displayName(o.Name), Method: MethodFixed},
		hosts: map[string]bool{"localhost": true},
	}
	for _, h := range o.Hosts {
		host := strings.ToLower(strings.TrimSpace(h))
		if _, err := netip.ParseAddr(host); err != nil && !validDomain(host) {
			return nil, fmt.Errorf("fixed identity: host %q: %w", h, errHost)
		}
		f.hosts[host] = true
	}
	return f, nil
}

var errHost = errors.New("not a host name or an address; a port does not belong to it")

func (*FixedIdentity) method() string { return MethodFixed }

// identify implements Transport.
func (f *FixedIdentity) identify(r *http.Request, p Peer) testimony {
	switch {
	case !p.Fixed:
		return testimony{}
	case !p.local():
		return f.refuse("The listener of the fixed identity is for this machine only.")
	case !f.accepts(r.Host):
		return f.refuse("The host that the request names is not this machine.")
	case r.Header["X-Forwarded-For"] != nil || r.Header["Forwarded"] != nil || r.Header["X-Real-Ip"] != nil:
		return f.refuse("The request was forwarded; the listener of the fixed identity is for this machine only.")
	case fromOtherSite(r.Header):
		return f.refuse("Requests of pages of other sites are not allowed.")
	}
	return testimony{id: f.id, offered: true}
}

func (*FixedIdentity) refuse(reason string) testimony {
	return testimony{err: forbidden(ResultNotAllowed, reason), offered: true}
}

// accepts says whether a Host header names this machine.
func (f *FixedIdentity) accepts(hostport string) bool {
	host := hostport
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		port := host[at+1:]
		if strings.ContainsFunc(port, func(r rune) bool { return r < '0' || r > '9' }) {
			return false
		}
		host = host[:at]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return ok && err == nil && addr.Is6() && (plain(addr).IsLoopback() || f.hosts[strings.ToLower(inner)])
	}
	host = strings.ToLower(host)
	if f.hosts[host] {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Is4() && addr.IsLoopback()
}

// fromOtherSite reads what browsers say of a request whose page they do not
// name (Fetch Metadata). An image shows the page nothing of what is in it.
func fromOtherSite(h http.Header) bool {
	if h["Origin"] != nil {
		return false
	}
	site := h.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && h.Get("Sec-Fetch-Dest") != "image"
}
