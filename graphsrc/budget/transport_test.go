package budget

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// scripted answers with the given statuses in turn, then with 200.
func scripted(sends *atomic.Int32, answers ...func(*http.Request) *http.Response) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if n := int(sends.Add(1)); n <= len(answers) {
			return answers[n-1](req), nil
		}
		return answer(req, http.StatusOK), nil
	})
}

func status(code int, header ...string) func(*http.Request) *http.Response {
	return func(req *http.Request) *http.Response { return answer(req, code, header...) }
}

func get(t *testing.T, ctx context.Context, rt http.RoundTripper) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://graph.test/v1.0/x", nil)
	require.NoError(t, err)
	client := http.Client{Transport: rt}
	resp, err := client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

func TestEveryRedirectCostsAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(10 * time.Second)
		var sends atomic.Int32
		rt := b.Transport(scripted(&sends, status(307, "Location", "/a"), status(302, "Location", "/b")))
		resp, err := get(t, WithLane(t.Context(), FirstLook), rt)
		require.NoError(t, err)
		require.Equal(t, "/b", resp.Request.URL.Path)
		require.EqualValues(t, 3, sends.Load())
		require.EqualValues(t, 3, b.Stats().Sent[FirstLook])
		require.InDelta(t, 97, b.Stats().Tokens, 1e-9)
	})
}

func TestAPermitPaysForTheFirstSendOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(10 * time.Second)
		p, err := b.Acquire(t.Context(), Publish)
		require.NoError(t, err)
		var sends atomic.Int32
		rt := b.Transport(scripted(&sends, status(307, "Location", "/a")))
		_, err = get(t, WithPermit(t.Context(), p), rt)
		require.NoError(t, err)
		p.Return()
		require.EqualValues(t, 2, b.Stats().Sent[Publish], "the redirect was paid for in the permit's lane")
		require.InDelta(t, 98, b.Stats().Tokens, 1e-9)

		_, err = get(t, WithPermit(t.Context(), p), rt) // a retry with the same context
		require.NoError(t, err)
		require.InDelta(t, 97, b.Stats().Tokens, 1e-9)
	})
}

func TestBelowTheTransportIsKnownWhatARequestIsChargedAs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{Plan: Plan{Limit: 1500, Window: 30 * time.Second, Capacity: 100, Rate: 1}}) // empty at first
		var seen []Send
		rt := b.Transport(roundTripFunc(func(req *http.Request) (*http.Response, error) {
			send, ok := SendOf(req.Context())
			require.True(t, ok)
			seen = append(seen, send)
			return answer(req, http.StatusOK), nil
		}))
		_, err := get(t, WithLane(t.Context(), Publish), rt)
		require.NoError(t, err)
		p, err := b.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		wait(2 * time.Second) // what is done with a permit in hand is no waiting for it
		_, err = get(t, WithPermit(t.Context(), p), rt)
		require.NoError(t, err)
		require.Equal(t, []Send{{Publish, time.Second}, {Interactive, time.Second}}, seen)
		_, ok := SendOf(t.Context())
		require.False(t, ok)
	})
}

func TestAPermitThatIsNoGoodIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, other := newBudget(t, Options{}), newBudget(t, Options{})
		wait(10 * time.Second)
		var sends atomic.Int32
		rt := b.Transport(scripted(&sends))
		send := func(p *Permit) {
			_, err := get(t, WithPermit(t.Context(), p), rt)
			require.NoError(t, err)
		}
		foreign, err := other.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		send(foreign)
		require.Equal(t, 1, other.Stats().Held, "another budget's permit is not touched")
		require.InDelta(t, 99, b.Stats().Tokens, 1e-9)

		old, err := b.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		wait(permitLife)
		send(old)
		require.InDelta(t, 99, b.Stats().Tokens, 1e-9, "its own token went back, another was taken")

		caught, err := b.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		b.Throttled(3*time.Second, true)
		start := time.Now()
		send(caught)
		require.GreaterOrEqual(t, time.Since(start), 3*time.Second)
	})
}

func TestThrottlingAnswersCloseTheTap(t *testing.T) {
	past := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC).Format(http.TimeFormat)
	for name, c := range map[string]struct {
		answer func(*http.Request) *http.Response
		want   time.Duration
	}{
		"429 with seconds":                      {status(429, "Retry-After", "7"), 7 * time.Second},
		"429 with a fraction":                   {status(429, "Retry-After", "1.9"), 2 * time.Second},
		"429 with zero":                         {status(429, "Retry-After", "0"), time.Second},
		"429 without":                           {status(429), 15 * time.Second},
		"429 with a date past":                  {status(429, "Retry-After", past), 15 * time.Second},
		"429 with a word":                       {status(429, "Retry-After", "soon"), 15 * time.Second},
		"503 with seconds":                      {status(503, "Retry-After", "4"), 4 * time.Second},
		"503 without is no throttling":          {status(503), 0},
		"504 is no throttling":                  {status(504, "Retry-After", "4"), 0},
		"200 with Retry-After is no throttling": {status(200, "Retry-After", "4"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(t, Options{})
				wait(10 * time.Second)
				var sends atomic.Int32
				rt := b.Transport(scripted(&sends, c.answer))
				_, err := get(t, t.Context(), rt)
				require.NoError(t, err)
				require.Equal(t, c.want, b.Stats().PausedFor)
				start := time.Now()
				_, err = get(t, t.Context(), rt)
				require.NoError(t, err)
				require.GreaterOrEqual(t, time.Since(start), c.want)
			})
		})
	}
}

func TestTransportFailsWithoutSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		var sends atomic.Int32
		rt := b.Transport(scripted(&sends))
		var closed atomic.Bool
		post := func(ctx context.Context) error {
			closed.Store(false)
			body := struct {
				io.Reader
				io.Closer
			}{strings.NewReader("x"), closerFunc(func() { closed.Store(true) })}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://graph.test/", body)
			require.NoError(t, err)
			_, err = rt.RoundTrip(req)
			require.True(t, closed.Load(), "the body is closed even though nothing is sent")
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var e *ExhaustedError
		require.ErrorAs(t, post(ctx), &e)
		_, err := get(t, ctx, rt)
		require.ErrorAs(t, err, &e, "through http.Client as well")

		wait(time.Second)
		p, err := b.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		ended, cancel := context.WithCancel(WithPermit(t.Context(), p))
		cancel()
		require.ErrorIs(t, post(ended), context.Canceled)
		require.Equal(t, 1, b.Stats().Held, "a permit is not burnt for a request that does not leave")

		b.Close()
		require.ErrorIs(t, post(t.Context()), ErrClosed)
		require.Zero(t, sends.Load())
	})
}

type closerFunc func()

func (f closerFunc) Close() error { f(); return nil }

func TestObserverHearsOfEverySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type send struct {
			lane   Lane
			status int
			failed bool
		}
		var heard []send
		b := newBudget(t, Options{OnSend: func(lane Lane, status int, err error) {
			heard = append(heard, send{lane, status, err != nil})
		}})
		wait(10 * time.Second)
		broken := b.Transport(roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("reset") }))
		_, err := get(t, t.Context(), broken)
		require.ErrorContains(t, err, "reset")
		var sends atomic.Int32
		_, err = get(t, WithLane(t.Context(), Refresh), b.Transport(scripted(&sends, status(404))))
		require.NoError(t, err)
		require.Equal(t, []send{{Interactive, 0, true}, {Refresh, 404, false}}, heard)
		require.Equal(t, [LaneCount]uint64{1, 0, 0, 1}, b.Stats().Sent, "a send that failed costs its token, too")
	})
}

func TestASilentRepetitionIsPaidBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(10 * time.Second)
		repeats := 1
		rt := b.Transport(roundTripFunc(func(req *http.Request) (*http.Response, error) {
			for range 1 + repeats {
				httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
			}
			return answer(req, http.StatusOK), nil
		}))
		_, err := get(t, WithLane(t.Context(), Refresh), rt)
		require.NoError(t, err)
		s := b.Stats()
		require.EqualValues(t, 2, s.Sent[Refresh])
		require.EqualValues(t, 1, s.Resent)
		require.Equal(t, 2, s.WorstWindow)
		require.InDelta(t, 98, s.Tokens, 1e-9)

		repeats = 142
		_, err = get(t, t.Context(), rt)
		require.NoError(t, err)
		require.InDelta(t, -45, b.Stats().Tokens, 1e-9, "the debt stands")
		c := acquireAsync(t.Context(), b, Interactive)
		wait(time.Second)
		require.False(t, c.finished())
		wait(time.Second)
		require.True(t, c.finished())
		require.InDelta(t, 1+1.0/45, c.took.Seconds(), 1e-6)
	})
}

// TestNetHTTPRepetitionsAreCounted has a server that breaks a kept-alive
// connection under the second request, which net/http then repeats by itself.
func TestNetHTTPRepetitionsAreCounted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var received atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(conn)
			for {
				if _, err := http.ReadRequest(r); err != nil || received.Add(1) == 2 {
					conn.Close()
					break
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	}()
	b := full(t, DefaultPlan())
	client := &http.Client{Transport: b.Transport(new(http.Transport))}
	for range 2 {
		resp, err := client.Get("http://" + listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	client.CloseIdleConnections()
	listener.Close()
	<-done
	require.EqualValues(t, 3, received.Load())
	require.EqualValues(t, 3, b.Stats().Sent[Interactive])
	require.EqualValues(t, 1, b.Stats().Resent)
}

func TestTransportWithoutABaseUsesTheDefault(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	b := full(t, DefaultPlan())
	client := &http.Client{Transport: b.Transport(nil)}
	resp, err := client.Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	client.CloseIdleConnections()
	require.EqualValues(t, 1, b.Stats().Sent[Interactive])
}
