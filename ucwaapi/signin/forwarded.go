package signin

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ForwardedOptions say which reverse proxy states who its users are, and how.
// The proxy must set each of the headers on every request it passes on, and
// remove what the client has sent under their names.
type ForwardedOptions struct {
	// Headers are the names of the headers that carry the user name, such as
	// X-Forwarded-User; at least one. The first that is there counts; another
	// that names another user makes the request refused.
	Headers []string
	// NameHeader is the name of a header with the display name; empty means
	// none.
	NameHeader string
	// Trusted are the networks of the proxies. The address that counts is that
	// of the connection's other end; what a header says of it does not. A
	// network larger than the private ones is refused: several together would
	// be everybody.
	Trusted []netip.Prefix
	// TrustedSockets says that connections over a unix socket whose listener is
	// marked Trusted are believed too. Without it Trusted must not be empty.
	TrustedSockets bool
	// Names says how the header's value becomes an address.
	Names Names
}

// ForwardedIdentity takes the identity from a header of a trusted reverse
// proxy. From every request, whoever sent it, it removes all spellings of its
// headers. Safe for use by several goroutines.
type ForwardedIdentity struct {
	// headers are the canonical names; a name header is the last.
	headers []string
	users   int // how many of them carry a user name
	trusted []netip.Prefix
	sockets bool
	names   names
}

// headersOfHTTP may not carry an identity: removing them would break requests.
var headersOfHTTP = []string{
	"Accept", "Authorization", "Connection", "Content-Length", "Content-Type", "Cookie", "Forwarded", "Host", "If-Match", "If-None-Match",
	"Origin", "Transfer-Encoding", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Ms-Origin",
}

// NewForwardedIdentity checks the options. It refuses an empty list of trusted
// proxies.
func NewForwardedIdentity(o ForwardedOptions) (*ForwardedIdentity, error) {
	if len(o.Headers) == 0 {
		return nil, errors.New("identity from a proxy: no header is named")
	}
	if len(o.Trusted) == 0 && !o.TrustedSockets {
		return nil, errors.New("identity from a proxy: the list of trusted proxies is empty, so anybody could state who they are")
	}
	f := &ForwardedIdentity{users: len(o.Headers), sockets: o.TrustedSockets}
	headers := slices.Clone(o.Headers)
	if o.NameHeader != "" {
		headers = append(headers, o.NameHeader)
	}
	for _, h := range headers {
		name := http.CanonicalHeaderKey(strings.TrimSpace(h))
		if !plainHeader(name) || slices.Contains(headersOfHTTP, name) {
			return nil, fmt.Errorf("identity from a proxy: header %q: not a name of letters, digits and hyphens, or one that has another meaning", h)
		}
		if slices.Contains(f.headers, name) {
			return nil, fmt.Errorf("identity from a proxy: header %q: named twice", h)
		}
		f.headers = append(f.headers, name)
	}
	for _, p := range o.Trusted {
		trusted, err := trustedPrefix(p)
		if err != nil {
			return nil, fmt.Errorf("identity from a proxy: trusted network %q: %w", p, err)
		}
		f.trusted = append(f.trusted, trusted)
	}
	var err error
	if f.names, err = newNames(o.Names); err != nil {
		return nil, fmt.Errorf("identity from a proxy: %w", err)
	}
	return f, nil
}

// plainHeader accepts names with one spelling only: proxies and servers differ
// in what they do to an underscore.
func plainHeader(name string) bool {
	return name != "" && name[0] != '-' && name[len(name)-1] != '-' && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// trustedPrefix refuses whatever might mean more than was meant.
func trustedPrefix(p netip.Prefix) (netip.Prefix, error) {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	switch {
	case !p.IsValid():
		return netip.Prefix{}, errors.New("not a network")
	case p.Bits() == 0:
		return netip.Prefix{}, errors.New("everybody would be trusted")
	case p.Addr().Is4() && p.Bits() < 8, p.Bits() < 7: // 10.0.0.0/8 and fc00::/7 are the largest private ones
		return netip.Prefix{}, errors.New("larger than any private network: name the proxies")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("the address lies inside the network; %v or %v is meant", p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	return p, nil
}

func (*ForwardedIdentity) method() string { return MethodProxy }

func (f *ForwardedIdentity) trusts(p Peer) bool {
	if p.Unix {
		return f.sockets && p.Trusted
	}
	return p.Addr.IsValid() && slices.ContainsFunc(f.trusted, func(t netip.Prefix) bool { return t.Contains(p.Addr) })
}

// identify implements Transport.
func (f *ForwardedIdentity) identify(r *http.Request, p Peer) testimony {
	values, found := f.take(r)
	if !f.trusts(p) {
		if found {
			// The answer is that of a request without the header: who spoofs
			// it learns nothing.
			return testimony{err: ErrInvalidToken{Diagnostics{codeNoToken, defaultDiagnostics}, ResultUntrusted}}
		}
		return testimony{}
	}
	if f.hopByHop(r.Header["Connection"]) {
		// A client names the header in Connection so that a proxy in between
		// drops what the one before it has set.
		return f.refuse("An identity header is named in Connection.")
	}
	var id Identity
	for i, v := range values {
		switch {
		case len(v) > 1:
			return f.refuse("An identity header came twice.")
		case len(v) == 0 || strings.TrimSpace(v[0]) == "" || i >= f.users:
			continue
		}
		address, err := f.names.address(v[0])
		switch {
		case err != nil:
			return f.refuse("The proxy's user name is no address and cannot be made one.")
		case id.Address != "" && id.Address != address:
			return f.refuse("Two identity headers name different users.")
		}
		id = Identity{Address: address, Method: MethodProxy}
	}
	if id.Address != "" && len(values) > f.users && len(values[f.users]) == 1 {
		id.Name = displayName(values[f.users][0])
	}
	return testimony{id: id, offered: true}
}

func (*ForwardedIdentity) refuse(reason string) testimony {
	return testimony{err: forbidden(ResultMalformed, reason), offered: true}
}

// take removes all spellings of the headers from the request, and returns the
// values under the right one, in the order of f.headers. found says whether
// there was any in any spelling.
func (f *ForwardedIdentity) take(r *http.Request) (values [][]string, found bool) {
	for key, v := range r.Header {
		i := f.spelled(key)
		if i < 0 {
			continue
		}
		found = true
		if key == f.headers[i] {
			if values == nil {
				values = make([][]string, len(f.headers))
			}
			values[i] = v
		}
		delete(r.Header, key)
	}
	for key := range r.Trailer {
		if f.spelled(key) >= 0 {
			found = true
			delete(r.Trailer, key)
		}
	}
	return values, found
}

// spelled returns which of the headers key is a spelling of, or -1. Letter case
// does not count, nor does which character stands between the words, nor what
// is put before or behind them.
func (f *ForwardedIdentity) spelled(key string) int {
	key = strings.TrimFunc(key, func(r rune) bool { return r > '~' || !alphanumeric(byte(r)) })
	for i, name := range f.headers {
		if sameSpelling(key, name) {
			return i
		}
	}
	return -1
}

func sameSpelling(key, name string) bool {
	if len(key) != len(name) {
		return false
	}
	for i := range len(name) {
		k, n := key[i], name[i]
		if n == '-' {
			if alphanumeric(k) {
				return false
			}
		} else if k != n && (!alphanumeric(k) || k|0x20 != n|0x20) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func (f *ForwardedIdentity) hopByHop(connection []string) bool {
	for _, list := range connection {
		for name := range strings.SplitSeq(list, ",") {
			if f.spelled(name) >= 0 {
				return true
			}
		}
	}
	return false
}
