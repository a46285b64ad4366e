package demo_test

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// short is the time that clients have in these tests; what is held is held for
// longer than that.
const short = 300 * time.Millisecond

// wire is a connection on which a client does as it likes.
type wire struct {
	net.Conn
	r *bufio.Reader
}

// open connects from a loopback address; a connection that is refused is nil.
func open(t *testing.T, d *demo.Demo, from string) *wire {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(d.BaseURL, "http://"))
	if err != nil {
		return nil
	}
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	return &wire{c, bufio.NewReader(c)}
}

func (w *wire) say(text string) *wire {
	_, _ = io.WriteString(w, text) // it may be cut; the answer tells
	return w
}

// rest returns all that comes until the connection is cut.
func (w *wire) rest(t *testing.T) string {
	t.Helper()
	text, err := io.ReadAll(w.r)
	var late net.Error
	require.False(t, errors.As(err, &late) && late.Timeout(), "the connection is still open")
	return string(text)
}

// limited reads the metric of limits that were met.
func limited(t *testing.T, d *demo.Demo, reason string) int {
	t.Helper()
	res, err := http.Get(d.StatusURL + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), fmt.Sprintf("ucwagate_limited_total{reason=%q} ", reason))
	require.True(t, found, reason)
	number, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(number)
	require.NoError(t, err)
	return n
}

// requireMet waits until a limit was met.
func requireMet(t *testing.T, d *demo.Demo, reason string) {
	t.Helper()
	require.Eventually(t, func() bool { return limited(t, d, reason) > 0 }, time.Minute, 5*time.Millisecond, reason)
}

func TestSlowAndLargeClientsAreCut(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) {
		c.Limits.HeaderTime, c.Limits.BodyTime, c.Limits.WriteTime, c.Limits.IdleTime = short, short, short, short
		c.Limits.MaxHeader = 8 << 10
		c.Server.MaxBody = 64 << 10
	})
	c := newClient(t, d, asJSON)
	app := c.application(d)
	head := func(method, path string, more string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n", method, path, c.token, more)
	}
	search := app.child(t, "people").link(t, "presenceSubscriptions")
	huge := strings.Repeat("x", 65<<10)
	for _, a := range []struct{ name, says, hears string }{
		{"slow headers", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", ""},
		{"no request at all", "", ""},
		{"no request after one", head("GET", "/", ""), "HTTP/1.1 200 OK"},
		{"headers without end", "GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("x", 20<<10), "HTTP/1.1 431"},
		{"a slow body", head("POST", search, "Content-Type: application/json\r\nContent-Length: 100\r\n") + `{"uris":`, "HTTP/1.1 400"},
		{"a slow body where there should be none", head("GET", app.href, "Content-Length: 100\r\n") + "x", "HTTP/1.1 200 OK"},
		{"a slow body for nobody", head("POST", "/ucwa/nothing", "Content-Length: 100\r\n") + "x", "HTTP/1.1 404"},
		{"a slow body without sign-in", "POST " + search + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx", "HTTP/1.1 401"},
		{"a slow form", "POST /WebTicket/oauthtoken HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngrant_type=", "HTTP/1.1 400"},
		{"a huge body", head("POST", search, "Content-Type: application/json\r\nContent-Length: 66560\r\n") + huge, "HTTP/1.1 413"},
		{"a huge body of unknown length", head("POST", search, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n") + "10400\r\n" + huge + "\r\n0\r\n\r\n", "HTTP/1.1 413"},
		{"a huge form", "POST /WebTicket/oauthtoken HTTP/1.1\r\nHost: x\r\nContent-Length: 66560\r\n\r\n" + huge, "HTTP/1.1 413"},
	} {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			heard := open(t, d, "127.0.0.2").say(a.says).rest(t)
			require.True(t, strings.HasPrefix(heard, a.hears), "%.300s", heard)
			require.Equal(t, a.hears == "", heard == "" || strings.HasPrefix(heard, "HTTP/1.1 408"), "%.300s", heard)
		})
	}
	t.Run("answers that are not read", func(t *testing.T) {
		t.Parallel()
		w, many := open(t, d, "127.0.0.2"), strings.Repeat(head("GET", app.href, ""), 100)
		for {
			if _, err := io.WriteString(w, many); err != nil {
				break // cut while the next hundred were sent
			}
		}
		requireMet(t, d, "slow-reader")
	})
	t.Run("a request for events waits longer than an answer may take", func(t *testing.T) {
		t.Parallel()
		own := newClient(t, d, asJSON)
		own.token = c.token
		mine := own.create("/ucwa/oauth/v1/applications", "patient")
		res := own.do(http.MethodPost, mine.child(t, "people").link(t, "presenceSubscriptions"), asJSON,
			fmt.Sprintf(`{"duration":10,"uris":[%q]}`, d.Contacts[0].URI))
		require.Equal(t, http.StatusCreated, res.status)
		began := time.Now()
		own.get(mine.link(t, "events")) // what is new of a contact waits five seconds for more
		require.Greater(t, time.Since(began), 2*short)
	})
}

func TestConnectionsThatAreHeldKeepNobodyOut(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) {
		c.Limits.HeaderTime = time.Minute // they are not cut, they are too many
		c.Limits.Connections, c.Limits.ConnectionsPerAddress = 40, 15
	})
	for range 30 {
		open(t, d, "127.0.0.2")
	}
	requireMet(t, d, "connections-per-address")
	for i := range 100 {
		open(t, d, fmt.Sprintf("127.0.0.%d", 3+i%5))
	}
	c := newClient(t, d, asJSON)
	c.via = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 10 {
		require.Equal(t, http.StatusOK, c.do(http.MethodGet, "/", "", "").status)
	}
	requireMet(t, d, "idle-connection")
}

// tooMany is what both representations say of 429.
func tooMany(t *testing.T, res response) {
	t.Helper()
	require.Equal(t, http.StatusTooManyRequests, res.status, "%s", res.body)
	seconds, err := strconv.Atoi(res.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
	var reason struct {
		Code    string `json:"code" xml:"code"`
		Message string `json:"message" xml:"message"`
	}
	if strings.HasPrefix(res.header.Get("Content-Type"), asXML) {
		require.NoError(t, xml.Unmarshal(res.body, &reason))
	} else {
		require.NoError(t, json.Unmarshal(res.body, &reason))
	}
	require.Equal(t, "TooManyRequests", reason.Code)
	require.NotEmpty(t, reason.Message)
}

func TestOneUserHasSoManyRequests(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) { c.Limits.RequestsPerMinute, c.Limits.RequestBurst = 1, 100 })
	greedy, honest := newClient(t, d, asJSON), newClient(t, d, asJSON)
	app := greedy.application(d)
	honest.signIn("/WebTicket/oauthtoken", strings.TrimPrefix(d.Contacts[0].URI, "sip:"), d.Password)
	theirs := honest.create("/ucwa/oauth/v1/applications", "honest")

	parts := make([]string, 90)
	for i := range parts {
		parts[i] = part(http.MethodGet, app.href, "", "")
	}
	batch := app.link(t, "batch")
	for _, a := range answers(t, greedy.batch(batch, parts...)) {
		require.Equal(t, http.StatusOK, a.status)
	}
	// Of 100 two are for the application and 90 for the parts of the batch.
	tooMany(t, greedy.batch(batch, parts[:10]...))
	left := 0
	for ; greedy.do(http.MethodGet, app.href, "", "").status == http.StatusOK; left++ {
		require.Less(t, left, 10)
	}
	for _, as := range []string{asJSON, asXML} {
		greedy.accept = as
		tooMany(t, greedy.do(http.MethodGet, app.href, "", ""))
		tooMany(t, greedy.do(http.MethodGet, "/ucwa/nothing", "", ""))
		tooMany(t, greedy.do(http.MethodOptions, app.href, "", ""))
	}
	for range 50 {
		require.Equal(t, http.StatusOK, honest.do(http.MethodGet, theirs.href, "", "").status, "another user is not affected")
	}
	requireMet(t, d, "user-requests")
}

func TestOneAddressHasSoManyRequestsWithoutSignIn(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) { c.Limits.AnonymousPerMinute = 60 })
	honest := newClient(t, d, asJSON)
	app := honest.application(d)
	stranger := newClient(t, d, asXML)
	for n := 0; stranger.do(http.MethodGet, "/", "", "").status == http.StatusOK; n++ {
		require.Less(t, n, 100)
	}
	tooMany(t, stranger.do(http.MethodGet, "/", "", ""))
	tooMany(t, stranger.do(http.MethodGet, app.href, "", ""))
	tooMany(t, stranger.do(http.MethodPost, "/WebTicket/oauthtoken", "", "grant_type=password"))
	require.Equal(t, http.StatusOK, honest.do(http.MethodGet, app.href, "", "").status, "who is signed in is not affected")
	heard := open(t, d, "127.0.0.2").say("GET / HTTP/1.0\r\n\r\n").rest(t)
	require.True(t, strings.HasPrefix(heard, "HTTP/1.0 200"), "another address is not affected: %s", heard)
	requireMet(t, d, "anonymous-requests")
}

func TestOneUserHasSoManyRequestsForEvents(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) { c.Limits.PGetsPerUser, c.Limits.PGets = 2, 3 })
	greedy, honest, third := newClient(t, d, asJSON), newClient(t, d, asXML), newClient(t, d, asJSON)
	first := greedy.application(d)
	wait := func(c *client, app *node) *wire {
		w := open(t, d, "127.0.0.2")
		w.say(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", app.link(t, "events"), c.token))
		return w
	}
	parked := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool { return gauge(t, d, "ucwagate_parked_pgets") == n }, time.Minute, 5*time.Millisecond)
	}
	wait(greedy, first)
	wait(greedy, greedy.create("/ucwa/oauth/v1/applications", "second"))
	parked(2)
	tooMany(t, greedy.do(http.MethodGet, greedy.create("/ucwa/oauth/v1/applications", "third").link(t, "events"), "", ""))

	// One that takes the place of another needs none of its own.
	replacement := wait(greedy, first)
	wait(honest, signedInAs(t, d, honest, 0))
	parked(3)
	res := third.do(http.MethodGet, signedInAs(t, d, third, 1).link(t, "events"), "", "")
	require.Equal(t, http.StatusServiceUnavailable, res.status, "%s", res.body)
	require.NotEmpty(t, res.header.Get("Retry-After"))
	require.Contains(t, string(res.body), `"ServiceUnavailable"`)

	require.NoError(t, replacement.Close())
	parked(2)
	wait(third, signedInAs(t, d, third, 1))
	parked(3)
	requireMet(t, d, "pgets")
	requireMet(t, d, "pgets-per-user")
}

// signedInAs signs in as one of the contacts and creates an application.
func signedInAs(t *testing.T, d *demo.Demo, c *client, contact int) *node {
	t.Helper()
	c.signIn("/WebTicket/oauthtoken", strings.TrimPrefix(d.Contacts[contact].URI, "sip:"), d.Password)
	return c.create("/ucwa/oauth/v1/applications", "endpoint")
}

func gauge(t *testing.T, d *demo.Demo, name string) int {
	t.Helper()
	res, err := http.Get(d.StatusURL + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\n"+name+" ")
	require.True(t, found, name)
	number, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(number)
	require.NoError(t, err)
	return n
}

func TestAFloodOfBadPasswordsKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	d := start(t, func(c *config.Config) { c.SignIn.AttemptsPerMinute = 10 })
	user := strings.TrimPrefix(d.Contacts[0].URI, "sip:")
	newClient(t, d, asJSON).signIn("/WebTicket/oauthtoken", user, d.Password) // from an address that is known from now on
	guess := url.Values{"grant_type": {"password"}, "username": {user}, "password": {"wrong"}}.Encode()
	request := fmt.Sprintf("POST /WebTicket/oauthtoken HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(guess), guess)
	refused := 0
	for i := range 6 {
		w := open(t, d, fmt.Sprintf("127.0.0.%d", 2+i)).say(strings.Repeat(request, 20))
		for range 20 {
			res, err := http.ReadResponse(w.r, nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusBadRequest, res.StatusCode)
			if res.Header.Get("Retry-After") != "" {
				refused++
			}
			_, err = io.Copy(io.Discard, res.Body)
			require.NoError(t, err)
		}
	}
	require.GreaterOrEqual(t, refused, 6*20-30-3, "three times the rate of one address are looked at, over all addresses")
	newClient(t, d, asJSON).signIn("/WebTicket/oauthtoken", user, d.Password)
	newClient(t, d, asJSON).signIn("/WebTicket/oauthtoken", d.Username, d.Password)
}
