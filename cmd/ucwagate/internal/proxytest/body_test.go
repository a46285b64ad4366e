package proxytest

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
)

// TestALargeBodyIsRefused sends over HTTP/2, where an answer ends a body that
// is on its way, and over HTTP/1.1 as a client that asks before it sends: one
// that does not may find its connection closed before it reads why.
func TestALargeBodyIsRefused(t *testing.T) {
	limit := int(config.Default().Server.MaxBody)
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1)
		gate := w.replicas[0]
		p := k.start(t, w.replicas)
		for name, header := range map[string][]string{"HTTP 1": {"Expect", "100-continue"}, "HTTP 2": nil} {
			c := newClient(t, p.browser(t, name == "HTTP 2", "127.0.0.1"))
			c.enter(w)
			before := len(gate.requests("/applications"))
			a := c.do(http.MethodPost, c.apps, strings.Repeat(" ", limit+1), header...)
			require.Equal(t, http.StatusRequestEntityTooLarge, a.status)
			require.Equal(t, "EntityTooLarge", parse(t, a.body)["code"])
			require.Len(t, gate.requests("/applications"), before, "it ends at the proxy")
			input := `{"userAgent":"proxytest","endpointId":"1","culture":"en-US"}`
			a = c.do(http.MethodPost, c.apps, input+strings.Repeat(" ", limit-len(input)))
			require.Equal(t, http.StatusCreated, a.status, "what the gateway takes passes: %s", a.body)
		}
		c := newClient(t, p.browser(t, true, "127.0.0.1"))
		c.enter(w)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.apps, io.MultiReader(strings.NewReader(strings.Repeat(" ", limit+1))))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+c.token)
		req.Header.Set("Content-Type", "application/json")
		require.Zero(t, req.ContentLength, "without a length")
		res, err := c.http.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
		require.Equal(t, "EntityTooLarge", parse(t, body)["code"])
	})
}

// TestNotificationsPass sends what Microsoft Graph may send: bodies above the
// limit of the protocol, by POST only.
func TestNotificationsPass(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1)
		gate := w.replicas[0]
		read := make(chan int64, 1)
		gate.intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if !strings.HasPrefix(req.URL.Path, "/graph/notifications/") {
				next.ServeHTTP(w, req)
				return
			}
			n, _ := io.Copy(io.Discard, req.Body)
			read <- n
			w.WriteHeader(http.StatusAccepted)
		})
		p := k.start(t, w.replicas)
		c := newClient(t, p.browser(t, true, "127.0.0.1"))
		href := "https://" + publicName + "/graph/notifications/contoso"
		const most = 4 << 20
		a := c.do(http.MethodPost, href+"?validationToken=a%20b", strings.Repeat("n", most))
		require.Equal(t, http.StatusAccepted, a.status, "%s", a.body)
		require.EqualValues(t, most, <-read)
		require.Equal(t, http.StatusRequestEntityTooLarge, c.do(http.MethodPost, href, strings.Repeat("n", most+1)).status)
		require.Equal(t, http.StatusMethodNotAllowed, c.do(http.MethodGet, href, "").status)
		require.Len(t, gate.requests("/graph/notifications/contoso"), 1)
	})
}
