package proxytest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
)

// forged are headers with which a client says that it is somebody, or
// somewhere, else.
var forged = []string{
	"X-Forwarded-For", "203.0.113.9",
	"X-Forwarded-Host", "evil.example",
	"X-Forwarded-Proto", "gopher",
	"X-Forwarded-Port", "666",
	"X-Forwarded-Prefix", "/evil.example",
	"X-Forwarded-Server", "evil.example",
	"X-Forwarded-Ssl", "off",
	"X_Forwarded_Host", "evil.example",
	"Forwarded", "for=203.0.113.9;host=evil.example;proto=http",
	"X-Real-IP", "203.0.113.9",
	"X-Original-URL", "/evil.example",
	"X-Rewrite-URL", "/evil.example",
}

// TestForgedHeadersDoNotReachTheGateway leaves public_url out, so that the
// links show what the gateway was told.
func TestForgedHeadersDoNotReachTheGateway(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1, func(c *config.Config) { c.Server.PublicURL = "" })
		p := k.start(t, w.replicas)
		for _, http2 := range []bool{false, true} {
			c := newClient(t, p.browser(t, http2, "127.0.0.9"))
			for _, host := range []string{"https://" + publicName, "https://" + discover, "http://" + discoverHere} {
				a := c.do(http.MethodGet, host+"/", "", forged...)
				require.Equal(t, http.StatusOK, a.status)
				require.NotContains(t, string(a.body), "evil")
				_, name, _ := strings.Cut(host, "://")
				for _, rel := range []string{"self", "user", "xframe"} {
					require.True(t, strings.HasPrefix(parse(t, a.body).href(t, rel), "https://"+name+"/"), "%s", a.body)
				}
				requireHonest(t, w.replicas[0], name)
			}
			a := c.do(http.MethodGet, "https://"+publicName+"/Autodiscover/AutodiscoverService.svc/root/user", "", forged...)
			require.NotContains(t, fmt.Sprint(a.header), "evil", "nor the challenge")
		}
	})
}

// requireHonest looks at the last request that reached the gateway.
func requireHonest(t *testing.T, r *replica, name string) {
	t.Helper()
	all := r.requests("")
	last := all[len(all)-1]
	require.Equal(t, name, last.host)
	require.Equal(t, []string{"127.0.0.9"}, last.header["X-Forwarded-For"])
	require.Equal(t, []string{name}, last.header["X-Forwarded-Host"])
	require.Equal(t, []string{"https"}, last.header["X-Forwarded-Proto"])
	for field, values := range last.header {
		require.NotContains(t, strings.Join(values, ","), "evil", field)
		require.NotContains(t, strings.Join(values, ","), "203.0.113.9", field)
		require.NotContains(t, field, "_")
	}
	require.Empty(t, last.header["Forwarded"])
}

// TestForwardedHeadersCannotBeTakenAway names the headers that the proxy sets
// as hop by hop, which has some proxies remove them again.
func TestForwardedHeadersCannotBeTakenAway(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1, func(c *config.Config) { c.Server.PublicURL = "" })
		p := k.start(t, w.replicas)
		c, err := (&tls.Dialer{Config: &tls.Config{ServerName: publicName, RootCAs: p.roots, MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", p.address+":"+p.https)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 203.0.113.8\r\n"+
			"Connection: close, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto\r\n\r\n", publicName)
		require.NoError(t, err)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode)
		all := w.replicas[0].requests("")
		require.Len(t, all, 1)
		require.Len(t, all[0].header["X-Forwarded-For"], 1)
		require.True(t, strings.HasPrefix(all[0].header.Get("X-Forwarded-For"), "127."))
		require.Equal(t, []string{publicName}, all[0].header["X-Forwarded-Host"])
		require.Equal(t, []string{"https"}, all[0].header["X-Forwarded-Proto"])
	})
}

func TestARequestIDIsPassedOnIfItIsOne(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1)
		p := k.start(t, w.replicas)
		c := newClient(t, p.browser(t, false, "127.0.0.1"))
		for sent, kept := range map[string]bool{
			"0af7651916cd43dd8448eb211c80319c": true, "a.b_c-D": true,
			`"},{"admin":"yes`: false, "two words": false, strings.Repeat("x", 65): false, "": false,
		} {
			a := c.do(http.MethodGet, "https://"+publicName+"/", "", "X-Request-Id", sent, "X-Ms-Correlation-Id", "kept-as-it-is")
			all := w.replicas[0].requests("")
			last := all[len(all)-1].header
			require.Equal(t, "kept-as-it-is", last.Get("X-Ms-Correlation-Id"))
			require.Len(t, last["X-Request-Id"], 1)
			require.Regexp(t, `^[A-Za-z0-9._-]{1,64}$`, last.Get("X-Request-Id"))
			require.Equal(t, kept, last.Get("X-Request-Id") == sent, sent)
			require.Equal(t, last["X-Request-Id"], a.header["X-Request-Id"], "the client hears it")
		}
	})
}
