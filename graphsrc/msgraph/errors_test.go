package msgraph

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

func TestErrorsKeepWhatGraphSaidAndCostOneSend(t *testing.T) {
	const code = `{"error":{"code":"C","message":"M"}}`
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    graphsrc.Error
	}{
		"429 with a fraction of a second": {
			always(429, `{"error":{"code":"TooManyRequests","message":"M","innerError":{"code":"429"}}}`, "Retry-After", "2.128"),
			graphsrc.Error{Kind: graphsrc.KindThrottled, Status: 429, Code: "TooManyRequests", Message: "M", RetryAfter: 2128 * time.Millisecond},
		},
		"429 with a moment in the past": {
			always(429, code, "Retry-After", "Mon, 02 Jan 2006 15:04:05 GMT"),
			graphsrc.Error{Kind: graphsrc.KindThrottled, Status: 429, Code: "C", Message: "M"},
		},
		"503 with zero seconds": {
			always(503, code, "Retry-After", "0"),
			graphsrc.Error{Kind: graphsrc.KindUnavailable, Status: 503, Code: "C", Message: "M"},
		},
		"502 as an HTML page": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.Header().Set("Retry-After", "9")
				w.WriteHeader(502)
				fmt.Fprint(w, "<html>secret of the front end</html>")
			},
			graphsrc.Error{
				Kind: graphsrc.KindUnavailable, Status: 502, RetryAfter: 9 * time.Second,
				Message: "the body (text/html) is not a JSON object",
			},
		},
		"500 as an empty object":     {always(500, `{}`), graphsrc.Error{Kind: graphsrc.KindUnavailable, Status: 500}},
		"403 with a null error":      {always(403, `{"error":null}`), graphsrc.Error{Kind: graphsrc.KindForbidden, Status: 403}},
		"400 without a message":      {always(400, `{"error":{"code":"C"}}`), graphsrc.Error{Kind: graphsrc.KindInvalid, Status: 400, Code: "C"}},
		"400 with a text for error":  {always(400, `{"error":"text"}`), graphsrc.Error{Kind: graphsrc.KindInvalid, Status: 400, Message: "text"}},
		"415 without a body":         {always(415, ``), graphsrc.Error{Kind: graphsrc.KindInvalid, Status: 415}},
		"504 gateway timeout":        {always(504, code), graphsrc.Error{Kind: graphsrc.KindTimeout, Status: 504, Code: "C", Message: "M"}},
		"404 with a very long page":  {always(404, strings.Repeat(" ", 10*maxErrorAnswer)), graphsrc.Error{Kind: graphsrc.KindNotFound, Status: 404, Message: "the body (application/json) is not a JSON object"}},
		"307 to somewhere":           {always(307, ``, "Location", "https://elsewhere.invalid/"), graphsrc.Error{Kind: graphsrc.KindMalformed, Status: 307}},
		"401 despite a second token": {always(401, code), graphsrc.Error{Kind: graphsrc.KindUnauthorized, Status: 401, Code: "C", Message: "M"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, m := serve(t, tc.handler)
			_, err := c.Presences(t.Context(), []string{idAna})
			tc.want.Op, tc.want.RequestID = opPresences, "rid"
			require.Equal(t, &tc.want, asError(t, err))
			sends := int64(1)
			if tc.want.Status == 401 {
				sends = 2
			}
			require.Equal(t, sends, m.sends.Load())
		})
	}
}

func TestFailuresBelowReachTheCaller(t *testing.T) {
	f := newFake(t, always(200, `{"value":[]}`))
	ids := []string{idAna}
	t.Run("an error of the budget unchanged", func(t *testing.T) {
		c, m, _ := start(t, f.config())
		m.look = func(*http.Request) error {
			return &graphsrc.Error{Kind: graphsrc.KindThrottled, RetryAfter: time.Minute}
		}
		_, err := c.Presences(t.Context(), ids)
		require.Equal(t, &graphsrc.Error{Op: opPresences, Kind: graphsrc.KindThrottled, RetryAfter: time.Minute}, asError(t, err))
	})
	t.Run("a panic as a malformed answer", func(t *testing.T) {
		c, m, _ := start(t, f.config())
		m.look = func(*http.Request) error { panic("some handler") }
		_, err := c.Presences(t.Context(), ids)
		requireKind(t, graphsrc.KindMalformed, err)
	})
	t.Run("a cancelled caller", func(t *testing.T) {
		c, _, _ := start(t, f.config())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Presences(ctx, ids)
		requireKind(t, graphsrc.KindTimeout, err)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("a Graph that does not answer in time", func(t *testing.T) {
		c, _, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		_, _, err := c.Token(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = c.Presences(ctx, ids)
		requireKind(t, graphsrc.KindTimeout, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	t.Run("a Graph that is out of reach", func(t *testing.T) {
		closed := httptest.NewServer(http.NotFoundHandler())
		closed.Close()
		cfg := f.config()
		cfg.GraphURL = closed.URL
		c, _, _ := start(t, cfg)
		_, err := c.User(t.Context(), "ana@contoso.test")
		e := requireKind(t, graphsrc.KindUnavailable, err)
		require.NotContains(t, e.Error(), "ana", "the URL is not spelt out")
	})
	t.Run("a Graph whose certificate is not trusted", func(t *testing.T) {
		other := httptest.NewTLSServer(http.NotFoundHandler())
		defer other.Close()
		cfg := f.config()
		cfg.RootCAs = nil
		c, m, _ := start(t, cfg)
		_, err := c.Presences(t.Context(), ids)
		requireKind(t, graphsrc.KindUnavailable, err)
		require.Zero(t, m.sends.Load(), "without a token nothing is sent")
	})
}

func TestConnectionsAreReusedUnderConcurrencyAndAfterErrors(t *testing.T) {
	f := newFake(t, nil)
	plain := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, idBen) {
			reply(w, 502, strings.Repeat("x", maxErrorAnswer+1000))
			return
		}
		reply(w, 200, `{"id":"`+idAna+`","availability":"Away"}`)
	}))
	var conns atomic.Int64
	plain.Config.ConnState = countNew(&conns)
	plain.Start()
	defer plain.Close()
	cfg := f.config()
	cfg.GraphURL = plain.URL
	c, _, _ := start(t, cfg)
	const workers = 20
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range 10 {
				_, err := c.Presence(t.Context(), idAna)
				require.NoError(t, err)
				_, err = c.Presence(t.Context(), idBen)
				requireKind(t, graphsrc.KindUnavailable, err)
			}
		})
	}
	group.Wait()
	// net/http dials ahead when all connections are busy, so a few more than workers.
	require.LessOrEqual(t, conns.Load(), int64(3*workers), "of 400 requests, half of them errors")
}
