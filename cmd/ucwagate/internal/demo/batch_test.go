package demo_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// part is one request of a batch as clients write it.
func part(method, href, extra, body string) string {
	return fmt.Sprintf("Content-Type: application/http; msgtype=request\r\n\r\n%s %s HTTP/1.1\r\nHost: gateway.example\r\nAccept: application/json\r\n%s\r\n%s", method, href, extra, body)
}

func (c *client) batch(href string, parts ...string) response {
	c.t.Helper()
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("\r\n--b-1\r\n" + p)
	}
	b.WriteString("\r\n--b-1--\r\n")
	return c.do(http.MethodPost, href, "multipart/batching;boundary=b-1", b.String(), func(r *http.Request) { r.Header.Set("Accept", "multipart/batching") })
}

type partAnswer struct {
	status int
	header http.Header
	body   string
}

// answers takes a batch answer apart.
func answers(t *testing.T, res response) []partAnswer {
	t.Helper()
	require.Equal(t, http.StatusOK, res.status, "%s", res.body)
	media, params, err := mime.ParseMediaType(res.header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/batching", media)
	require.Contains(t, res.header.Get("Content-Type"), `boundary="`)
	require.NotContains(t, strings.ReplaceAll(string(res.body), "\r\n", ""), "\n", "every line ends with CRLF")
	var list []partAnswer
	for r := multipart.NewReader(bytes.NewReader(res.body), params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return list
		}
		require.NoError(t, err)
		require.Equal(t, "application/http; msgtype=response", p.Header.Get("Content-Type"))
		raw, err := io.ReadAll(p)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(raw), "HTTP/1.1 "))
		head, _, found := strings.Cut(string(raw), "\r\n\r\n")
		require.True(t, found)
		lines := strings.Split(head, "\r\n")
		h, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(h.Body)
		require.NoError(t, err)
		if h.Header.Get("Content-Type") != "" {
			require.True(t, strings.HasPrefix(lines[len(lines)-1], "Content-Type: "), "what follows Content-Type is taken for the body: %q", head)
		}
		list = append(list, partAnswer{h.StatusCode, h.Header, string(body)})
	}
}

func TestABatchAnswersEachRequestInOrder(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	batch := app.link(t, "batch")
	people := app.child(t, "people").href
	var parts []string
	for _, contact := range d.Contacts {
		parts = append(parts, part("GET", people+"/"+strings.TrimPrefix(contact.URI, "sip:")+"/presence", "", ""))
	}
	parts = append(parts,
		part("GET", d.BaseURL+people, "Accept: application/xml\r\n", ""),
		part("POST", app.child(t, "me").href+"/makeMeAvailable", "Content-Type: application/json\r\n", `{"supportedModalities":["Messaging"]}`),
		part("GET", people+"/nobody@contoso.test", "", ""),
		"Content-Type: application/http; msgtype=request\r\n\r\nnonsense",
		part("POST", people+"/presenceSubscriptions", "Data: "+fmt.Sprintf(`{"duration":10,"uris":[%q]}`, d.Contacts[0].URI)+"\r\n", ""),
		part("POST", batch, "", ""),
		part("GET", app.link(t, "events"), "", ""),
		part("GET", app.href+"/photos/"+d.Username, "", ""),
		part("GET", people+"/"+d.Username+"/contactPhoto", "", ""),
		part("GET", "/WebTicket/oauthtoken", "", ""),
		part("GET", app.href, "If-None-Match: *\r\n", ""),
		part("DELETE", people+"/presenceSubscriptions/none", "", ""),
	)
	got := answers(t, c.batch(batch, parts...))
	require.Len(t, got, len(parts))
	for i, contact := range d.Contacts {
		require.Equal(t, 200, got[i].status)
		require.Contains(t, got[i].body, strings.TrimPrefix(contact.URI, "sip:")+"/presence", "the order is that of the requests")
		require.Equal(t, "application/json; charset=utf-8", got[i].header.Get("Content-Type"))
		require.Equal(t, "no-cache", got[i].header.Get("Cache-Control"))
	}
	var statuses []int
	for _, a := range got[len(d.Contacts):] {
		statuses = append(statuses, a.status)
	}
	require.Equal(t, []int{200, 204, 404, 400, 201, 405, 405, 405, 405, 400, 304, 404}, statuses)
	require.Contains(t, got[len(d.Contacts)+3].body, "DeserializationFailure")
	require.Contains(t, got[len(d.Contacts)+4].header.Get("Location"), "/presenceSubscriptions/")
	require.Equal(t, "me", c.get(app.child(t, "me").href).rel)
	require.NotContains(t, c.get(app.child(t, "me").href).links, "makeMeAvailable", "the part was executed")
}

func TestPartsThatWriteKeepTheirOrder(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	c.signIn("/WebTicket/oauthtoken", d.Username, d.Password)
	for round := range 5 {
		app := c.create("/ucwa/oauth/v1/applications", fmt.Sprint("round ", round))
		me := app.child(t, "me").href
		parts := []string{part("POST", me+"/makeMeAvailable", "", "")}
		for i := range 8 {
			parts = append(parts, part("POST", me+fmt.Sprint("/note?message=", i), "", ""), part("GET", me+"/note", "", ""))
		}
		for i, a := range answers(t, c.batch(app.link(t, "batch"), parts...)) {
			require.Less(t, a.status, 300, "part %d: %s", i, a.body)
			if i > 0 && i%2 == 0 {
				require.Contains(t, a.body, fmt.Sprintf(`"message":"%d"`, i/2-1), "who reads after writing reads that")
			}
		}
		require.Equal(t, "7", c.get(me+"/note").text("message"), "the last word counts")
		c.nothing(http.MethodDelete, app.href, "", "")
	}
}

func TestABatchAsAWholeIsRefused(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	batch := app.link(t, "batch")
	one := part("POST", app.child(t, "me").href+"/makeMeAvailable", "", "")
	many := func(n int) []string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = one
		}
		return parts
	}
	for name, n := range map[string]int{"101 parts": 101, "1,001 parts": 1001} {
		res := c.batch(batch, many(n)...)
		requireReason(t, res, http.StatusTooManyRequests, "TooManyRequests", "")
		require.NotEmpty(t, res.header.Get("Retry-After"), name)
	}
	for name, e := range map[string]struct {
		contentType, body string
		status            int
		code, subcode     string
	}{
		"no boundary":        {"multipart/batching", "--b\r\n" + one + "\r\n--b--", 400, "BadRequest", "DeserializationFailure"},
		"another boundary":   {"multipart/batching; boundary=other", "--b\r\n" + one + "\r\n--b--", 400, "BadRequest", "DeserializationFailure"},
		"nothing at all":     {"multipart/batching; boundary=b", "", 400, "BadRequest", "DeserializationFailure"},
		"another media type": {asJSON, "{}", 415, "UnsupportedMediaType", "UnsupportedMediaType"},
		"no media type":      {"", "--b\r\n" + one + "\r\n--b--", 415, "UnsupportedMediaType", "UnsupportedMediaType"},
	} {
		t.Run(name, func(t *testing.T) {
			requireReason(t, c.do(http.MethodPost, batch, e.contentType, e.body), e.status, e.code, e.subcode)
		})
	}
	require.Contains(t, c.get(app.child(t, "me").href).links, "makeMeAvailable", "nothing was executed")
	require.Len(t, answers(t, c.batch(batch, many(100)...)), 100)
}

func TestABatchBelongsToItsUser(t *testing.T) {
	d := start(t, nil)
	c, other := newClient(t, d, asJSON), newClient(t, d, asJSON)
	app := c.application(d)
	other.signIn("/WebTicket/oauthtoken", strings.TrimPrefix(d.Contacts[0].URI, "sip:"), d.Password)
	theirs := other.create("/ucwa/oauth/v1/applications", "theirs")
	got := answers(t, other.batch(theirs.link(t, "batch"),
		part("GET", app.href, "Authorization: Bearer "+c.token+"\r\n", ""), part("GET", theirs.href, "", ""),
		part("GET", theirs.href, "X-Forwarded-Host: evil.example\r\nX-Ms-Origin: https://evil.example\r\n", "")))
	require.Equal(t, 404, got[0].status, "the parts are asked for by whoever sent the batch")
	require.Equal(t, 200, got[1].status)
	require.Equal(t, 200, got[2].status)
	require.Equal(t, http.StatusUnauthorized, newClient(t, d, asJSON).batch(theirs.link(t, "batch"), part("GET", theirs.href, "", "")).status)
}
