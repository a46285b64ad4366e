package signin

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func newFixed(t testing.TB) *FixedIdentity {
	t.Helper()
	f, err := NewFixedIdentity(FixedOptions{Address: "SIP:Bot@Contoso.test", Name: "Bot", Hosts: []string{"Gateway.internal"}})
	require.NoError(t, err)
	return f
}

func TestFixedIdentity(t *testing.T) {
	a := newAuthenticator(t, Options{Transports: []Transport{newFixed(t)}})
	loopback := Peer{Addr: netip.MustParseAddr("127.0.0.1"), Fixed: true}
	socket := Peer{Unix: true, Fixed: true}
	for _, c := range []struct {
		name    string
		peer    Peer
		host    string
		headers []string
		refused string // empty: let in; "-": nobody
	}{
		{"the name localhost", loopback, "localhost", nil, ""},
		{"the name localhost with a port, in capitals", loopback, "LOCALHOST:8080", nil, ""},
		{"an IPv4 loopback address", loopback, "127.0.0.1:8080", nil, ""},
		{"another IPv4 loopback address", loopback, "127.1.2.3", nil, ""},
		{"the IPv6 loopback address", Peer{Addr: netip.IPv6Loopback(), Fixed: true}, "[::1]:8080", nil, ""},
		{"the loopback address as IPv4 inside IPv6", Peer{Addr: netip.MustParseAddr("::ffff:127.0.0.1"), Fixed: true}, "[::ffff:127.0.0.1]", nil, ""},
		{"a configured name", loopback, "gateway.internal:8080", nil, ""},
		{"a unix socket", socket, "localhost", nil, ""},
		{"an Origin, which is for the check of origins", loopback, "localhost", []string{"Origin", "https://intranet.test", "Sec-Fetch-Site", "cross-site"}, ""},
		{"an image on a page of another site", loopback, "localhost", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "image"}, ""},
		{"a page of the gateway's own", loopback, "localhost", []string{"Sec-Fetch-Site", "same-origin"}, ""},

		{"a listener that is not marked", Peer{Addr: netip.MustParseAddr("127.0.0.1")}, "localhost", nil, "-"},
		{"a marked listener that others reach", Peer{Addr: netip.MustParseAddr("192.0.2.1"), Fixed: true}, "localhost", nil, "this machine only"},
		{"a marked listener, by an unknown address", Peer{Fixed: true}, "localhost", nil, "this machine only"},
		{"a name made to resolve here", loopback, "evil.test", nil, "not this machine"},
		{"a name that begins right", loopback, "localhost.evil.test", nil, "not this machine"},
		{"a name that ends right", loopback, "evil-localhost", nil, "not this machine"},
		{"a user before the name", loopback, "localhost@evil.test", nil, "not this machine"},
		{"the address of no machine", loopback, "0.0.0.0:8080", nil, "not this machine"},
		{"the IPv6 address of no machine", loopback, "[::]", nil, "not this machine"},
		{"a loopback address in one number", loopback, "2130706433", nil, "not this machine"},
		{"a loopback address in octal", loopback, "0177.0.0.1", nil, "not this machine"},
		{"a loopback address cut short", loopback, "127.1", nil, "not this machine"},
		{"a name that resolves to the loopback address", loopback, "127.0.0.1.nip.io", nil, "not this machine"},
		{"brackets around a name", loopback, "[localhost]", nil, "not this machine"},
		{"no closing bracket", loopback, "[::1", nil, "not this machine"},
		{"a port that is none", loopback, "localhost:x", nil, "not this machine"},
		{"no host", loopback, "", nil, "not this machine"},
		{"a foreign name over a unix socket", socket, "evil.test", nil, "not this machine"},
		{"a request that was forwarded", loopback, "localhost", []string{"X-Forwarded-For", "192.0.2.1"}, "forwarded"},
		{"a request that was forwarded by the standard", loopback, "localhost", []string{"Forwarded", "for=192.0.2.1"}, "forwarded"},
		{"a page of another site that names itself not", loopback, "localhost", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, "other sites"},
		{"a page of a neighbour that names itself not", loopback, "localhost", []string{"Sec-Fetch-Site", "same-site"}, "other sites"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := over(c.peer, from("192.0.2.99:1", c.headers...))
			r.Host = c.host
			id, _, err := through(a, r)
			switch c.refused {
			case "":
				require.NoError(t, err)
				require.Equal(t, Identity{Address: "bot@contoso.test", Name: "Bot", Method: MethodFixed}, id)
			case "-":
				require.Equal(t, ErrNoCredentials, err)
			default:
				var refused ErrForbidden
				require.ErrorAs(t, err, &refused)
				require.Contains(t, refused.Diagnostics.Reason, c.refused)
			}
		})
	}
	for _, o := range []FixedOptions{{}, {Address: "bot"}, {Address: "bot@contoso.test", Hosts: []string{"a:80"}}, {Address: "bot@contoso.test", Hosts: []string{"https://a"}}} {
		_, err := NewFixedIdentity(o)
		require.Error(t, err)
	}
}

func TestListenersTellWhoIsAtTheOtherEnd(t *testing.T) {
	fixed := newFixed(t)
	forwarded := newForwarded(t, nil)
	a := newAuthenticator(t, Options{Transports: []Transport{fixed, forwarded}})
	h := a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := a.Authenticate(r)
		if err != nil {
			http.Error(w, DiagnosticsFor(err).Reason, http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, id.Address)
	}))
	serve := func(network, address string, mark Peer) (client *http.Client, url string) {
		l, err := net.Listen(network, address)
		require.NoError(t, err)
		srv := httptest.NewUnstartedServer(h)
		require.NoError(t, srv.Listener.Close())
		srv.Listener = l
		srv.Config.ConnContext = ConnContext(mark)
		srv.Start()
		t.Cleanup(srv.Close)
		transport := &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
			},
		}
		return &http.Client{Transport: transport}, "http://localhost/"
	}
	get := func(client *http.Client, url string, headers ...string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	const nobody = "No valid security token.\n"
	dir := t.TempDir()

	client, url := serve("tcp", "127.0.0.1:0", Peer{Fixed: true})
	require.Equal(t, "bot@contoso.test", get(client, url))
	require.Contains(t, get(client, "http://evil.test/"), "not this machine")
	require.Equal(t, "bot@contoso.test", get(client, url, "X-Forwarded-User", "ana"), "a stranger's header is stripped")

	client, url = serve("tcp", "127.0.0.1:0", Peer{Trusted: true})
	require.Equal(t, nobody, get(client, url))
	require.Equal(t, nobody, get(client, url, "X-Forwarded-User", "ana"), "the mark is for sockets")

	client, url = serve("unix", filepath.Join(dir, "trusted"), Peer{Trusted: true})
	require.Equal(t, nobody, get(client, url))
	require.Equal(t, "ana@contoso.test", get(client, url, "X-Forwarded-User", "ana"))

	client, url = serve("unix", filepath.Join(dir, "plain"), Peer{})
	require.Equal(t, nobody, get(client, url, "X-Forwarded-User", "ana"))

	client, url = serve("unix", filepath.Join(dir, "fixed"), Peer{Fixed: true})
	require.Equal(t, "bot@contoso.test", get(client, url))
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"localhost", "localhost:1", "[::1]:1", "127.0.0.1", "evil.test", "", ":", "[", "[]", "[::1%lo]", "127.0.0.1:80:80"} {
		f.Add(seed)
	}
	form := newFixed(f)
	f.Fuzz(func(t *testing.T, host string) {
		if form.accepts(host) {
			require.Regexp(t, `^(?i:localhost|gateway\.internal|127\.[0-9]+\.[0-9]+\.[0-9]+|\[[0-9a-f:.]+(%[^\]]*)?\])(:[0-9]*)?$`, host)
		}
	})
}
