package guard

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds whatever a test waits for.
const patience = 30 * time.Second

// met notes the first limits that were met.
type met chan Reason

func (m met) tell(r Reason) {
	select {
	case m <- r:
	default:
	}
}

func (m met) next(t *testing.T) Reason {
	t.Helper()
	select {
	case r := <-m:
		return r
	case <-time.After(patience):
		require.FailNow(t, "no limit was met")
		return ""
	}
}

// serve runs a server behind a bounded listener until the test ends. GET /hold
// is held until the test ends, GET /many is answered by 64 MiB.
func serve(t *testing.T, o ListenerOptions) (address string, limits met) {
	t.Helper()
	limits = make(met, 100)
	o.OnLimit = limits.tell
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := NewListener(raw, o)
	end := make(chan struct{})
	s := &http.Server{ConnState: l.ConnState, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hold":
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-end
		case "/many":
			_, _ = w.Write(make([]byte, 64<<20))
		}
	})}
	served := make(chan error)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		close(end)
		_ = s.Close()
		require.ErrorIs(t, <-served, http.ErrServerClosed)
		require.Empty(t, l.open)
		require.Empty(t, l.byAddress)
	})
	return raw.Addr().String(), limits
}

// client is a connection from a loopback address of its own.
type client struct {
	net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, from, to string) client {
	t.Helper()
	c, err := dial(t, from, to)
	require.NoError(t, err)
	return c
}

// dial is connect for a connection that may be refused.
func dial(t *testing.T, from, to string) (client, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return client{}, err
	}
	t.Cleanup(func() { _ = c.Close() })
	return client{c, bufio.NewReader(c)}, nil
}

// try opens a connection and sends a request.
func try(t *testing.T, from, to, path string) error {
	c, err := dial(t, from, to)
	if err != nil {
		return err
	}
	return c.get(path)
}

// get sends a request and reads the head of the answer.
func (c client) get(path string) error {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	if path == "/" {
		_, err = io.Copy(io.Discard, res.Body)
	}
	return err
}

func (c client) requireCut(t *testing.T) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.Copy(io.Discard, c.r)
	var late net.Error
	require.False(t, errors.As(err, &late) && late.Timeout(), "the connection is still open")
}

func TestOneAddressHasSoManyConnections(t *testing.T) {
	to, limits := serve(t, ListenerOptions{PerAddress: 2, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}})
	first, second := connect(t, "127.0.0.2", to), connect(t, "127.0.0.2", to)
	require.NoError(t, first.get("/"))
	require.NoError(t, second.get("/"))
	require.Error(t, try(t, "127.0.0.2", to, "/"))
	require.Equal(t, ConnectionsPerAddress, limits.next(t))

	require.NoError(t, connect(t, "127.0.0.3", to).get("/"), "another address")
	for range 4 {
		require.NoError(t, connect(t, "127.0.0.9", to).get("/"), "a proxy")
	}

	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return try(t, "127.0.0.2", to, "/") == nil }, patience, time.Millisecond, "there is room again")
}

func TestWhoDoesNothingMakesRoom(t *testing.T) {
	to, limits := serve(t, ListenerOptions{Connections: 3})
	busy := connect(t, "127.0.0.2", to)
	require.NoError(t, busy.get("/hold"))
	silent := connect(t, "127.0.0.3", to) // has never said anything
	idle := connect(t, "127.0.0.4", to)
	require.NoError(t, idle.get("/"))

	require.NoError(t, connect(t, "127.0.0.5", to).get("/hold"))
	require.Equal(t, IdleConnection, limits.next(t))
	silent.requireCut(t)
	// net/http says that a connection is idle a moment after the answer.
	require.Eventually(t, func() bool { return try(t, "127.0.0.6", to, "/hold") == nil }, patience, time.Millisecond)
	for limits.next(t) != IdleConnection {
	}
	idle.requireCut(t)

	require.Error(t, try(t, "127.0.0.7", to, "/")) // all are busy
	require.Equal(t, Connections, limits.next(t))
}

func TestWhoDoesNotReadIsCut(t *testing.T) {
	to, limits := serve(t, ListenerOptions{WriteTime: 50 * time.Millisecond})
	slow := connect(t, "127.0.0.2", to)
	_, err := io.WriteString(slow, "GET /many HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	// 64 MiB may take 34 minutes at the least rate; what is written after them
	// is not what ends it. So the time that counts is that of small answers.
	pipelining := connect(t, "127.0.0.3", to)
	go func() {
		for {
			if _, err := io.WriteString(pipelining, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1000)); err != nil {
				return
			}
		}
	}()
	require.Equal(t, SlowReader, limits.next(t))
	require.NoError(t, slow.SetReadDeadline(time.Now().Add(patience)))
	_, err = slow.r.ReadByte()
	require.NoError(t, err, "who is within the least rate is not cut")
}

func TestConnectionsOfManyAtOnce(t *testing.T) {
	to, _ := serve(t, ListenerOptions{Connections: 20, PerAddress: 10})
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%8))}}
			for range 20 {
				c, err := d.Dial("tcp", to)
				if err != nil {
					continue
				}
				_ = client{c, bufio.NewReader(c)}.get("/")
				_ = c.Close()
			}
		})
	}
	all.Wait()
	require.Eventually(t, func() bool { return try(t, "127.0.0.2", to, "/") == nil }, patience, time.Millisecond)
}

func TestAnAddressIsCountedByItsNetwork(t *testing.T) {
	l := NewListener(nil, ListenerOptions{PerAddress: 1, Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, c := range []struct{ name, address, want string }{
		{"an IPv4 address", "192.0.2.1", "192.0.2.1"},
		{"an IPv4 address in IPv6 clothes", "::ffff:192.0.2.1", "192.0.2.1"},
		{"an IPv6 address is its network", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"a trusted proxy is not counted", "10.1.2.3", ""},
		{"a trusted proxy in IPv6 clothes is not counted", "::ffff:10.1.2.3", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := l.bounded(from{net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.address), 1))})
			require.Equal(t, c.want != "", got.IsValid())
			if c.want != "" {
				require.Equal(t, c.want, got.String())
			}
		})
	}
	require.False(t, l.bounded(from{&net.UnixAddr{Name: "@", Net: "unix"}}).IsValid(), "a socket has no address")
}

// from is a connection of which only the other end is known.
type from struct{ remote net.Addr }

func (f from) RemoteAddr() net.Addr { return f.remote }
func (from) LocalAddr() net.Addr    { return nil }

func (from) Read([]byte) (int, error)         { return 0, io.EOF }
func (from) Write([]byte) (int, error)        { return 0, io.EOF }
func (from) Close() error                     { return nil }
func (from) SetDeadline(time.Time) error      { return nil }
func (from) SetReadDeadline(time.Time) error  { return nil }
func (from) SetWriteDeadline(time.Time) error { return nil }
