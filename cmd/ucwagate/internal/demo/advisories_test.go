package demo_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// One test for each class of published advisories about proxies that forward
// identities, over sockets where a client would not send what an attacker does.
// Classes that are shown elsewhere are listed in docs/threat-model.md.

// applicationsPath is one of the paths that need a proof.
const applicationsPath = "/ucwa/oauth/v1/applications"

// raw writes bytes to the gateway and returns the answers until it closes the
// connection, which it must do: the last request says close, or is refused.
func raw(t testing.TB, d *demo.Demo, sent string) (answers []*http.Response) {
	t.Helper()
	u, err := url.Parse(d.BaseURL)
	require.NoError(t, err)
	c, err := net.Dial("tcp", u.Host)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(c, sent)
	require.NoError(t, err)
	for from := bufio.NewReader(c); ; {
		if _, err := from.Peek(1); err != nil {
			// What lay unread when it closed is answered by a reset.
			require.False(t, errors.Is(err, net.ErrClosed) || isTimeout(err), "%q: %v", sent, err)
			return answers
		}
		res, err := http.ReadResponse(from, nil)
		require.NoError(t, err, "%q", sent)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		answers = append(answers, res)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestAdvisoryAnIdentityHeaderIsNotSpelledInBytes(t *testing.T) {
	me, other := people(t)
	d := start(t, proxied("127.0.0.1/32"))
	right := "X-Forwarded-User: " + me.Address() + "\r\n"
	for name, e := range map[string]struct {
		lines  string
		status int
	}{
		"the proxy's own line is believed":        {right, 200},
		"whatever its letter case":                {"x-FORWARDED-user: " + me.Address() + "\r\n", 200},
		"with a space before the colon":           {"X-Forwarded-User : " + other.Address() + "\r\n", 400},
		"with a tab before the colon":             {"X-Forwarded-User\t: " + other.Address() + "\r\n", 400},
		"with a space before it":                  {"X-A: b\r\n X-Forwarded-User: " + other.Address() + "\r\n", 401},
		"with a line of its own for the value":    {"X-Forwarded-User:\r\n " + other.Address() + "\r\n", 200},
		"with a zero byte":                        {"X-Forwarded-User\x00: " + other.Address() + "\r\n", 400},
		"with a carriage return in the value":     {"X-A: b\rX-Forwarded-User: " + other.Address() + "\r\n", 400},
		"twice":                                   {right + "X-Forwarded-User: " + other.Address() + "\r\n", 403},
		"twice in two letter cases":               {right + "x-forwarded-user: " + other.Address() + "\r\n", 403},
		"continued on another line":               {"X-Forwarded-User: " + me.Address() + "\r\n ," + other.Address() + "\r\n", 403},
		"named in Connection":                     {right + "Connection: close, x-forwarded-user\r\n", 403},
		"named in Connection in another spelling": {right + "Connection: close, X_Forwarded_User\r\n", 403},
		"sent as a trailer":                       {"Trailer: X-Forwarded-User\r\n", 401},
	} {
		t.Run(name, func(t *testing.T) {
			answers := raw(t, d, "GET "+applicationsPath+" HTTP/1.1\r\nHost: a\r\n"+e.lines+"Connection: close\r\n\r\n")
			require.Len(t, answers, 1)
			require.Equal(t, e.status, answers[0].StatusCode)
		})
	}
}

// TestAdvisoryARequestIsNotSmuggled sends what front and back might cut apart
// differently. Whoever is asked refuses, or reads it as RFC 9112 says; the
// request inside a body is not answered.
func TestAdvisoryARequestIsNotSmuggled(t *testing.T) {
	me, _ := people(t)
	d := start(t, proxied("127.0.0.1/32"))
	inside := "GET " + applicationsPath + " HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: " + me.Address() + "\r\n\r\n"
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	for name, e := range map[string]struct{ lines, body string }{
		"two different lengths":                     {length(0) + length(len(inside)), inside},
		"two lengths in one line":                   {"Content-Length: 0, 5\r\n", inside},
		"a length with a sign":                      {"Content-Length: +0\r\n", inside},
		"a length in hexadecimal":                   {"Content-Length: 0x0\r\n", inside},
		"a length below zero":                       {"Content-Length: -1\r\n", inside},
		"a coding that nobody knows":                {"Transfer-Encoding: xchunked\r\n" + length(0), inside},
		"a coding before chunked":                   {"Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n" + inside},
		"a coding after chunked":                    {"Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n" + inside},
		"two codings":                               {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n" + inside},
		"a coding whose name has a space behind":    {"Transfer-Encoding : chunked\r\n" + length(0), "0\r\n\r\n" + inside},
		"a coding with a control character":         {"Transfer-Encoding: \x0bchunked\r\n" + length(0), "0\r\n\r\n" + inside},
		"a chunk whose size overflows":              {"Transfer-Encoding: chunked\r\n", "10000000000000000\r\n" + inside},
		"a chunk whose size is no number":           {"Transfer-Encoding: chunked\r\n", "zz\r\n" + inside},
		"a chunk that is longer than it says":       {"Transfer-Encoding: chunked\r\n", "1\r\n" + inside},
		"a length and a body that is as long":       {"Connection: close\r\n" + length(len(inside)), inside},
		"a chunk that is as long as it says":        {"Connection: close\r\nTransfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inside), inside)},
		"a coding and a length, of which it counts": {"Connection: close\r\nTransfer-Encoding: chunked\r\n" + length(3), fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inside), inside)},
		"a coding and a length that hides more":     {"Transfer-Encoding: chunked\r\n" + length(5+len(inside)), "0\r\n\r\n" + inside},
	} {
		t.Run(name, func(t *testing.T) {
			answers := raw(t, d, "POST /WebTicket/oauthtoken HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"+e.lines+"\r\n"+e.body)
			require.Len(t, answers, 1)
			require.GreaterOrEqual(t, answers[0].StatusCode, 400)
		})
	}
}

func TestAdvisoryNoPathAndNoHeaderGoesAroundSigningIn(t *testing.T) {
	me, _ := people(t)
	d := start(t, proxied("127.0.0.1/32"))
	ask := func(t *testing.T, target, lines string) *http.Response {
		t.Helper()
		answers := raw(t, d, "GET "+target+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+lines+"\r\n")
		require.Len(t, answers, 1)
		require.Empty(t, answers[0].Header.Get("Location"), "nobody is sent anywhere")
		return answers[0]
	}
	const userPath = "/Autodiscover/AutodiscoverService.svc/root/oauth/user"
	require.Equal(t, http.StatusOK, ask(t, userPath, "X-Forwarded-User: "+me.Address()+"\r\n").StatusCode)
	require.Equal(t, http.StatusUnauthorized, ask(t, userPath, "").StatusCode)
	for name, target := range map[string]string{
		"a path that climbs out of an open one":       "/xframe/.." + userPath,
		"one that climbs in escapes":                  "/xframe/%2e%2e" + userPath,
		"one whose slashes are escapes":               "/xframe%2f..%2f" + userPath[1:],
		"one that is escaped twice":                   "/xframe/%252e%252e" + userPath,
		"one with backslashes":                        `/xframe\..` + userPath,
		"one with doubled slashes":                    "//Autodiscover//AutodiscoverService.svc//root/oauth/user",
		"one in another letter case":                  strings.ToUpper(userPath),
		"one with letters in escapes":                 "/%41utodiscover/AutodiscoverService.svc/root/oauth/user",
		"one with a parameter":                        userPath + ";/xframe",
		"one with the mark of a fragment":             userPath + "#/xframe",
		"one with that mark in an escape":             userPath + "%23/xframe",
		"one with an open path in its query":          userPath + "?/xframe",
		"one with a zero byte":                        userPath + "%00/xframe",
		"one with a line break":                       userPath + "%0d%0aX-Forwarded-User:%20" + me.Address(),
		"one with a slash behind":                     userPath + "/",
		"an absolute one of another host":             "http://evil.example" + userPath,
		"one of a service that is for operators":      "/metrics/.." + userPath,
		"one that begins like a host":                 "//evil.example" + userPath,
		"one that begins like a host by a backslash":  `/\evil.example` + userPath,
		"one that is discovery's and has an embedded": "/" + url.QueryEscape(userPath),
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, []int{400, 401, 403, 404, 405}, ask(t, target, "").StatusCode)
		})
	}
	for name, lines := range map[string]string{
		"the open path in a header of a proxy": "X-Forwarded-Uri: /xframe\r\nX-Original-Url: /xframe\r\nX-Rewrite-Url: /xframe\r\nX-Forwarded-Path: /xframe\r\n",
		"the open path in one method":          "X-HTTP-Method-Override: OPTIONS\r\nX-Forwarded-Method: OPTIONS\r\n",
		"the name of a health check":           "User-Agent: GoogleHC/1.0\r\n",
		"the name of another":                  "User-Agent: kube-probe/1.31\r\nX-Health-Check: true\r\n",
		"the address of the machine":           "X-Forwarded-For: 127.0.0.1\r\nX-Real-Ip: ::1\r\nForwarded: for=127.0.0.1\r\nTrue-Client-Ip: 127.0.0.1\r\n",
		"a user of another proxy":              "X-Remote-User: " + me.Address() + "\r\nRemote-User: " + me.Address() + "\r\nX-Auth-Request-Email: " + me.Address() + "\r\n",
		"a basic sign-in":                      "Authorization: Basic YTpi\r\n",
		"two proofs in one":                    "Authorization: Bearer a, Bearer b\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, http.StatusUnauthorized, ask(t, userPath, lines).StatusCode)
		})
	}
}

func TestAdvisoryDiscoveryIsNotPoisoned(t *testing.T) {
	for name, public := range map[string]string{"with a public address": "https://ucwa.contoso.test", "without one": ""} {
		t.Run(name, func(t *testing.T) {
			d := start(t, func(c *config.Config) {
				c.Server.PublicURL, c.Server.ServerName = public, "gate.contoso.test"
				c.Server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			})
			for _, lines := range []string{
				"Host: ucwa.contoso.test\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: gopher\r\n",
				"Host: ucwa.contoso.test\r\nForwarded: host=evil.example\r\nX-Original-Host: evil.example\r\nX-Host: evil.example\r\n",
				"Host: a@evil.example\r\n", "Host: evil.example/a\r\n", "Host: evil.example#\r\n", "Host: \"evil.example\r\n",
				"Host: ucwa.contoso.test\r\nHost: evil.example\r\n", "Host: ucwa.contoso.test, evil.example\r\n",
			} {
				for _, path := range []string{"/", "/Autodiscover/AutodiscoverService.svc/root/oauth/user"} {
					answers := raw(t, d, "GET "+path+" HTTP/1.1\r\nConnection: close\r\n"+lines+"\r\n")
					require.Len(t, answers, 1)
					require.NotContains(t, fmt.Sprint(answers[0].Header), "evil", lines)
				}
				c := newClient(t, d, asJSON)
				if public != "" {
					res := c.do(http.MethodGet, "/", "", "", func(r *http.Request) { r.Host = "evil.example" })
					require.NotContains(t, string(res.body), "evil", "the Host of a request does not count")
				}
			}
		})
	}
}

// TestAdvisoryNobodyHidesFromTheLimitOfAttempts guesses from one address, which
// says each time that it is another; a proxy that is believed may say so.
func TestAdvisoryNobodyHidesFromTheLimitOfAttempts(t *testing.T) {
	const limit = 5
	for name, e := range map[string]struct {
		trusted string
		hidden  func(n int) string
		each    bool // they are different clients
	}{
		"or is another":                                  {"127.0.0.0/8", func(n int) string { return fmt.Sprintf("198.51.100.%d", n) }, true},
		"with a list where no proxy is trusted":          {"192.0.2.0/24", func(n int) string { return fmt.Sprintf("198.51.100.%d", n) }, false},
		"with a list before what the proxy has appended": {"127.0.0.0/8", func(n int) string { return fmt.Sprintf("198.51.100.%d, 203.0.113.7", n) }, false},
		"with the two forms of one address":              {"127.0.0.0/8", func(n int) string { return [2]string{"203.0.113.7", "::ffff:203.0.113.7"}[n%2] }, false},
		"with a zone":                                    {"127.0.0.0/8", func(n int) string { return fmt.Sprintf("2001:db8::7%%%d", n) }, false},
		"with what is no address":                        {"127.0.0.0/8", func(n int) string { return fmt.Sprintf("guess-%d", n) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, func(c *config.Config) {
				c.SignIn.AttemptsPerMinute = limit
				c.Server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(e.trusted)}
			})
			c := newClient(t, d, asJSON)
			for n := range 4 * limit {
				res := c.ask("/WebTicket/oauthtoken", byPassword(fmt.Sprintf("user%d@%s", n, d.Domain), "guess"),
					func(r *http.Request) { r.Header.Set("X-Forwarded-For", e.hidden(n)) })
				require.GreaterOrEqual(t, res.status, 400)
			}
			none := "ucwagate_signins_total{method=\"password\",result=\"throttled\"} 0\n"
			require.Equal(t, e.each, strings.Contains(metrics(t, d), none), "further guesses are not looked at")
		})
	}
}
