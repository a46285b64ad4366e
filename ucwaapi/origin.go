package ucwaapi

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// origin tells under which scheme and host a client reached the gateway, for
// the absolute hrefs of discovery.
type origin struct {
	public  string // configured public URL, without a slash at its end
	name    string // the server's name, for requests that name no host
	trusted []netip.Prefix
	sockets bool // whoever has no address, which is at the other end of a socket, is trusted too
}

func newOrigin(publicURL, serverName string, trustedProxies []netip.Prefix, sockets bool) (*origin, error) {
	o := &origin{trusted: trustedProxies, sockets: sockets, name: serverName}
	if publicURL != "" {
		u, err := url.Parse(publicURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("public URL %q is not of the form https://host", publicURL)
		}
		o.public = u.Scheme + "://" + dropDefaultPort(u.Scheme, u.Host)
	}
	return o, nil
}

// of returns scheme://host as the client used them: the public URL if there is
// one, else what a trusted proxy forwarded, else the Host header. Forwarded
// headers of anybody else are not read at all.
func (o *origin) of(r *http.Request) string {
	if o.public != "" {
		return o.public
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if o.trusts(r) {
		if p := strings.ToLower(firstOf(r.Header.Get("X-Forwarded-Proto"))); p == "http" || p == "https" {
			scheme = p
		}
		if h := firstOf(r.Header.Get("X-Forwarded-Host")); validHost(h) {
			host = h
		}
	}
	if !validHost(host) {
		host = o.name // HTTP/1.0 without Host, or garbage
	}
	return scheme + "://" + dropDefaultPort(scheme, host)
}

// clientAddress returns the address of the client: of a trusted proxy, the
// last one it forwarded that is not itself a trusted proxy.
func (o *origin) clientAddress(r *http.Request) string {
	client := r.RemoteAddr
	if peer, ok := peerAddress(r); ok {
		client = peer.String()
	}
	if !o.trusts(r) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		client = hop.Unmap().String()
		if !o.isTrusted(hop.Unmap()) {
			break
		}
	}
	return client
}

func (o *origin) trusts(r *http.Request) bool {
	if len(o.trusted) == 0 && !o.sockets {
		return false
	}
	peer, ok := peerAddress(r)
	if !ok {
		return o.sockets
	}
	return o.isTrusted(peer)
}

func (o *origin) isTrusted(peer netip.Addr) bool {
	for _, p := range o.trusted {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

func peerAddress(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr().Unmap().WithZone(""), err == nil
}

func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}

// validHost accepts host names and addresses with an optional port, and
// nothing that could break out of a header or an href.
func validHost(h string) bool {
	if h == "" || len(h) > 261 {
		return false
	}
	for i := range len(h) {
		c := h[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune(".-_:[]", rune(c)) {
			return false
		}
	}
	return true
}

// dropDefaultPort removes :80 and :443 where they say nothing: clients compare
// hosts of hrefs as text.
func dropDefaultPort(scheme, hostport string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || !(scheme == "http" && port == "80" || scheme == "https" && port == "443") {
		return hostport
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
