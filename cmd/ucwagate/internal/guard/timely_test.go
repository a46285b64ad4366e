package guard

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// timely serves a handler with times until the test ends.
func timely(t *testing.T, times Times, h http.HandlerFunc) (*httptest.Server, met) {
	t.Helper()
	limits := make(met, 100)
	times.OnLimit = limits.tell
	s := httptest.NewUnstartedServer(Timely(times, h))
	s.EnableHTTP2 = true
	t.Cleanup(s.Close)
	return s, limits
}

func TestABodyThatDoesNotComeIsCut(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		reads  bool
		status string // of the answer; often there is none
	}{
		{"a body that is read", http.MethodPost, true, "HTTP/1.1 408"},
		{"a body that is not read", http.MethodPost, false, ""},
		{"a body without meaning", http.MethodGet, false, "HTTP/1.1 200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, limits := timely(t, Times{Body: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
				if c.reads {
					if _, err := io.ReadAll(r.Body); err != nil {
						w.WriteHeader(http.StatusRequestTimeout)
					}
				}
			})
			s.Start()
			to := s.Listener.Addr().String()
			slow := connect(t, "127.0.0.2", to)
			_, err := io.WriteString(slow, c.method+" / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
			require.NoError(t, err)
			require.NoError(t, slow.SetReadDeadline(time.Now().Add(patience)))
			answer, err := io.ReadAll(slow.r)
			require.NoError(t, err, "the connection is closed")
			require.True(t, strings.HasPrefix(string(answer), c.status), "%s", answer)
			if c.method == http.MethodGet || c.reads {
				require.Equal(t, SlowBody, limits.next(t))
			}
		})
	}
}

func TestABodyThatHasComeHasNoTimeAnyMore(t *testing.T) {
	release := make(chan struct{})
	s, limits := timely(t, Times{Body: 100 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		<-release
		if err != nil || r.Context().Err() != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(text)
	})
	s.Start()
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		late := time.AfterFunc(300*time.Millisecond, func() { release <- struct{}{} })
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL, strings.NewReader("abc"))
		require.NoError(t, err)
		res, err := s.Client().Do(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode, method)
		require.NoError(t, res.Body.Close())
		late.Stop()
	}
	require.Empty(t, limits)
}

func TestAHeldRequestLearnsThatItsClientLeftAlthoughItSentABody(t *testing.T) {
	left := make(chan struct{})
	s, _ := timely(t, Times{Body: patience}, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(left)
	})
	s.Start()
	c := connect(t, "127.0.0.2", s.Listener.Addr().String())
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
	require.NoError(t, err)
	require.NoError(t, c.Close())
	select {
	case <-left:
	case <-time.After(patience):
		require.FailNow(t, "the handler was not told")
	}
}

func TestAStreamThatIsNotReadIsCut(t *testing.T) {
	over := make(chan error, 1)
	s, limits := timely(t, Times{Write: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, 2, r.ProtoMajor)
		var err error
		for err == nil { // in small pieces: a large one has longer
			_, err = w.Write(make([]byte, 1<<10))
		}
		over <- err
	})
	s.StartTLS()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	require.NoError(t, err)
	res, err := s.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	select {
	case err := <-over:
		require.Error(t, err)
	case <-time.After(patience):
		require.FailNow(t, "the stream is still open")
	}
	require.Equal(t, SlowReader, limits.next(t))
}

func TestAListenerKnowsTheConnectionsOfTLS(t *testing.T) {
	s, _ := timely(t, Times{}, func(http.ResponseWriter, *http.Request) {})
	l := NewListener(s.Listener, ListenerOptions{Connections: 1})
	s.Listener, s.Config.ConnState = l, l.ConnState
	s.StartTLS()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}} // the certificate is of this test
	first, err := tls.Dial("tcp", l.Addr().String(), config)
	require.NoError(t, err)
	defer first.Close()
	require.NoError(t, exchange(first))
	require.Eventually(t, func() bool { // net/http says that a connection is idle a moment after the answer
		second, err := tls.Dial("tcp", l.Addr().String(), config)
		if err != nil {
			return false
		}
		defer second.Close()
		return exchange(second) == nil
	}, patience, time.Millisecond, "the first one does nothing and makes room")
	require.Error(t, exchange(first))
}

func exchange(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 4096))
	return err
}
