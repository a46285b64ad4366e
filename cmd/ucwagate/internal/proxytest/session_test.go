package proxytest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAClientWorksThroughTheProxy signs in, creates an application, asks for a
// batch, a photo by token and by cookie, and a compressed answer, and counts
// the connections that the gateway sees.
func TestAClientWorksThroughTheProxy(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1)
		p := k.start(t, w.replicas)
		for _, version := range []int{1, 2} {
			t.Run(fmt.Sprintf("HTTP %d", version), func(t *testing.T) {
				before := len(w.replicas[0].requests(""))
				c := newClient(t, p.browser(t, version == 2, "127.0.0.1"))
				c.enter(w)
				people := c.app.href(t, "people/self")
				address := strings.TrimPrefix(w.Contacts[0].URI, "sip:")
				for range 40 {
					a := c.do(http.MethodGet, people+"/"+address+"/presence", "")
					require.Equal(t, http.StatusOK, a.status, "%s", a.body)
					require.Equal(t, version, a.major)
					require.NotEmpty(t, a.header.Get("Content-Length"), "never chunked")
					require.Empty(t, a.header.Get("Content-Encoding"), "not asked for")
					require.NotContains(t, a.header.Get("Server"), "/", "no version of the proxy")
				}
				// Proxies join doubled slashes in what they match, not in what they pass.
				require.Equal(t, http.StatusOK, c.do(http.MethodGet, "/"+people+"/"+address+"/presence", "").status)
				c.batch(t, people, address)
				c.photo(t, w)
				c.compressed(t, people)
				passed := w.replicas[0].requests("")[before:]
				connections := map[string]bool{}
				for _, s := range passed {
					connections[s.from] = true
					require.Empty(t, s.header["Connection"], "hop by hop")
				}
				require.Greater(t, len(passed), 50)
				require.LessOrEqual(t, len(connections), 3, "%d requests share connections to the gateway", len(passed))
			})
		}
	})
}

// batch sends several requests as one.
func (c *client) batch(t *testing.T, people, address string) {
	t.Helper()
	var b strings.Builder
	for _, path := range []string{people + "/" + address + "/presence", people + "/" + address, c.app.href(t, "events"), people} {
		fmt.Fprintf(&b, "\r\n--b-1\r\nContent-Type: application/http; msgtype=request\r\n\r\nGET %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n\r\n", path, publicName)
	}
	b.WriteString("\r\n--b-1--\r\n")
	a := c.do(http.MethodPost, c.app.href(t, "batch"), b.String(), "Content-Type", "multipart/batching;boundary=b-1", "Accept", "multipart/batching")
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	require.Equal(t, 3, strings.Count(string(a.body), "HTTP/1.1 200 OK"), "%s", a.body)
	require.Equal(t, 4, strings.Count(string(a.body), "application/http; msgtype=response"))
}

// photo asks for somebody's photo with the token, and with the cookie alone.
func (c *client) photo(t *testing.T, w *world) {
	t.Helper()
	for i := range w.Tenant.Len() {
		href := c.app.href(t, "self") + "/photos/" + w.Tenant.User(i).Address()
		a := c.do(http.MethodGet, href, "", "Accept", "image/jpeg")
		if a.status == http.StatusNotFound {
			continue // has none
		}
		require.Equal(t, http.StatusOK, a.status)
		anonymous := *c
		anonymous.token = ""
		require.Equal(t, http.StatusUnauthorized, anonymous.do(http.MethodGet, href, "").status)
		b := anonymous.do(http.MethodGet, href, "", "Accept", "image/jpeg", "Cookie", c.jar)
		require.Equal(t, http.StatusOK, b.status)
		require.Equal(t, a.body, b.body)
		_, err := jpeg.Decode(bytes.NewReader(b.body))
		require.NoError(t, err)
		return
	}
	require.FailNow(t, "nobody has a photo")
}

// compressed asks for gzip, which the gateway makes.
func (c *client) compressed(t *testing.T, people string) {
	t.Helper()
	a := c.do(http.MethodGet, people, "", "Accept-Encoding", "gzip")
	require.Equal(t, "gzip", a.header.Get("Content-Encoding"))
	require.NotEmpty(t, a.header.Get("Content-Length"))
	z, err := gzip.NewReader(bytes.NewReader(a.body))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, "people", parse(t, plain)["rel"])
}

// TestHeaderNamesKeepTheirSpelling reads an answer over HTTP/1.1 as bytes:
// known clients look for these names letter by letter.
func TestHeaderNamesKeepTheirSpelling(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1)
		p := k.start(t, w.replicas)
		c, err := tls.Dial("tcp", p.address+":"+p.https, &tls.Config{ServerName: publicName, RootCAs: p.roots, MinVersion: tls.VersionTLS12})
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		_, err = fmt.Fprintf(c, "GET /Autodiscover/AutodiscoverService.svc/root/user HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", publicName)
		require.NoError(t, err)
		raw, err := io.ReadAll(bufio.NewReader(c))
		require.NoError(t, err)
		head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
		for _, want := range []string{
			"\r\nWWW-Authenticate: MsRtcOAuth href=\"https://" + publicName + "/", "\r\nWWW-Authenticate: Bearer ",
			"\r\nContent-Length: ", "\r\nX-MS-Server-Fqdn: ", "\r\nX-MS-UcwaVersion: ", "\r\nCache-Control: ", "\r\nX-Request-ID: ",
		} {
			require.Contains(t, head, want)
		}
	})
}
