package listen_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/listen"
	"ucwagate/graphsrc/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each connection with what it sends, and ends with the listener.
func echo(t *testing.T, l net.Listener) {
	t.Helper()
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
	})
}

func requireEcho(t *testing.T, network, address string) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), network, address)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	answer := make([]byte, 5)
	_, err = io.ReadFull(c, answer)
	require.NoError(t, err)
	require.Equal(t, "hello", string(answer))
}

func TestATCPAddressIsListenedOn(t *testing.T) {
	l, err := listen.Open(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, "tcp", l.Addr().Network())
	echo(t, l)
	requireEcho(t, "tcp", l.Addr().String())
	_, err = listen.Open(t.Context(), l.Addr().String())
	require.ErrorContains(t, err, "address already in use")
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	for name, address := range map[string]string{
		"a host without a port":          "127.0.0.1",
		"a socket in no folder":          "unix:" + filepath.Join(t.TempDir(), "none", "s"),
		"a socket with too long a path":  "unix:" + filepath.Join(t.TempDir(), strings.Repeat("x", 120)),
		"a port that is out of range":    "127.0.0.1:70000",
		"a socket without a path at all": "unix:" + t.TempDir(),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := listen.Open(t.Context(), address)
			require.Error(t, err)
		})
	}
}

// socketPath is short: a socket's path has 107 bytes at most.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "listen")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "s")
}

func TestASocketIsForTheOwnerAndTheGroup(t *testing.T) {
	path := socketPath(t)
	l, err := listen.Open(t.Context(), listen.UnixPrefix+path)
	require.NoError(t, err)
	require.Equal(t, "unix", l.Addr().Network())
	require.Equal(t, path, l.Addr().String())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o660, info.Mode())
	echo(t, l)
	requireEcho(t, "unix", path)
	require.NoError(t, l.Close())
	require.NoFileExists(t, path, "who closes it takes the file away")
}

func TestASocketThatADeadProcessLeftIsReplaced(t *testing.T) {
	path := socketPath(t)
	dead, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	_, err = os.Lstat(path)
	require.NoError(t, err, "the file is left")

	l, err := listen.Open(t.Context(), listen.UnixPrefix+path)
	require.NoError(t, err)
	echo(t, l)
	requireEcho(t, "unix", path)
}

func TestASocketThatSomebodyListensOnIsLeftToThem(t *testing.T) {
	path := socketPath(t)
	l, err := listen.Open(t.Context(), listen.UnixPrefix+path)
	require.NoError(t, err)
	echo(t, l)
	_, err = listen.Open(t.Context(), listen.UnixPrefix+path)
	require.EqualError(t, err, "somebody listens on "+path+" already")
	requireEcho(t, "unix", path)
}

func TestWhatIsNoSocketIsNotReplaced(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, path string){
		"a plain file": func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600)) },
		"a folder":     func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
		"a link":       func(t *testing.T, path string) { require.NoError(t, os.Symlink("elsewhere", path)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			put(t, path)
			before, err := os.Lstat(path)
			require.NoError(t, err)
			_, err = listen.Open(t.Context(), listen.UnixPrefix+path)
			require.EqualError(t, err, path+" is there and is no socket")
			after, err := os.Lstat(path)
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after))
		})
	}
}

// frozen is a clock that a test moves.
type frozen struct {
	clock.Clock
	mu  sync.Mutex
	now time.Time
}

func (f *frozen) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *frozen) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

// pair is a certificate and its key as files have them.
type pair struct{ cert, key []byte }

func newPair(t *testing.T, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pair{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

// stage is a TLS listener whose certificate follows files of a test.
type stage struct {
	t         *testing.T
	clk       *frozen
	cert, key string
	address   string
	log       lines
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what was logged since it was called last.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

func newStage(t *testing.T, first pair) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{t: t, clk: &frozen{now: time.Now()}, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	s.write(first)
	c, err := listen.OpenCertificate(s.cert, s.key, s.clk, slog.New(slog.NewTextHandler(&s.log, nil)))
	require.NoError(t, err)
	l, err := listen.Open(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	s.address = l.Addr().String()
	echo(t, tls.NewListener(l, c.Config()))
	return s
}

// replace puts a file in another's place, as whoever renews certificates does.
func (s *stage) replace(path string, content []byte) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(path+".new", content, 0o600))
	require.NoError(s.t, os.Rename(path+".new", path))
}

func (s *stage) write(p pair) {
	s.t.Helper()
	s.replace(s.key, p.key)
	s.replace(s.cert, p.cert)
}

// shown is whose certificate a new connection is shown.
func (s *stage) shown() string {
	s.t.Helper()
	name, err := s.dial(s.t.Context())
	require.NoError(s.t, err)
	return name
}

func (s *stage) dial(ctx context.Context) (string, error) {
	// The certificates sign themselves; the test looks at who they are of.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	c, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestANewCertificateIsShownToNewConnections(t *testing.T) {
	s := newStage(t, newPair(t, "first.example"))
	require.Equal(t, "first.example", s.shown())
	open, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", s.address)
	require.NoError(t, err)
	defer func() { require.NoError(t, open.Close()) }()

	s.write(newPair(t, "second.example"))
	s.clk.pass(time.Second - 1)
	require.Equal(t, "first.example", s.shown(), "the files are looked at once a second at most")
	s.clk.pass(1)
	require.Equal(t, "second.example", s.shown())
	require.Contains(t, s.log.take(), "is another one now")

	s.clk.pass(time.Hour)
	require.Equal(t, "second.example", s.shown())
	require.Empty(t, s.log.take(), "what has not changed is not read again")
	_, err = open.Write([]byte("x"))
	require.NoError(t, err, "connections that were open stay open")
}

func TestAClockThatIsSetBackDoesNotKeepACertificate(t *testing.T) {
	s := newStage(t, newPair(t, "first.example"))
	s.write(newPair(t, "second.example"))
	s.clk.pass(-time.Hour)
	require.Equal(t, "second.example", s.shown())
}

func TestFilesThatCannotBeUsedLeaveTheCertificateAsItIs(t *testing.T) {
	first, second := newPair(t, "first.example"), newPair(t, "second.example")
	for name, e := range map[string]struct {
		spoil func(s *stage)
		says  string
	}{
		"a certificate that is no PEM":    {func(s *stage) { s.replace(s.cert, []byte("certificate")) }, "cannot be used"},
		"an empty certificate":            {func(s *stage) { s.replace(s.cert, nil) }, "cannot be used"},
		"a certificate that is cut off":   {func(s *stage) { s.replace(s.cert, second.cert[:len(second.cert)/2]) }, "cannot be used"},
		"a key that is no PEM":            {func(s *stage) { s.replace(s.key, []byte("key")) }, "cannot be used"},
		"the certificate without its key": {func(s *stage) { s.replace(s.cert, second.cert) }, "cannot be used"},
		"the key without its certificate": {func(s *stage) { s.replace(s.key, second.key) }, "cannot be used"},
		"no certificate any more":         {func(s *stage) { require.NoError(s.t, os.Remove(s.cert)) }, "cannot be found"},
		"no key any more":                 {func(s *stage) { require.NoError(s.t, os.Remove(s.key)) }, "cannot be found"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, first)
			e.spoil(s)
			for range 3 {
				s.clk.pass(time.Minute)
				require.Equal(t, "first.example", s.shown())
			}
			log := s.log.take()
			require.Equal(t, 1, strings.Count(log, "\n"), "it is logged once: %s", log)
			require.Contains(t, log, "level=WARN")
			require.Contains(t, log, e.says)
			require.NotContains(t, log, "PRIVATE KEY")

			s.write(second)
			s.clk.pass(time.Second)
			require.Equal(t, "second.example", s.shown(), "the pair counts when it is whole")
			require.Contains(t, s.log.take(), "is another one now")

			e.spoil(s)
			s.replace(s.key, []byte("key"))
			s.clk.pass(time.Second)
			require.Equal(t, "second.example", s.shown())
			require.Contains(t, s.log.take(), "level=WARN", "what is wrong anew is logged anew")
		})
	}
}

// TestAKeyThatBecomesReadableIsRead has a failure that goes away without a change
// of the file: its stamp is as it was.
func TestAKeyThatBecomesReadableIsRead(t *testing.T) {
	s := newStage(t, newPair(t, "first.example"))
	second := newPair(t, "second.example")
	s.replace(s.cert, second.cert)
	elsewhere := filepath.Join(t.TempDir(), "key.pem")
	stamp := time.Now().Add(-time.Minute).Truncate(time.Second)
	require.NoError(t, os.WriteFile(elsewhere, make([]byte, len(second.key)), 0o600))
	require.NoError(t, os.Chtimes(elsewhere, stamp, stamp))
	require.NoError(t, os.Rename(elsewhere, s.key))
	s.clk.pass(time.Second)
	require.Equal(t, "first.example", s.shown())

	f, err := os.OpenFile(s.key, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(second.key)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.Chtimes(s.key, stamp, stamp))
	s.clk.pass(time.Second)
	require.Equal(t, "second.example", s.shown())
}

func TestACertificateMustBeThereAtTheStart(t *testing.T) {
	dir, good := t.TempDir(), newPair(t, "first.example")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	open := func() error {
		_, err := listen.OpenCertificate(cert, key, clock.System(), slog.New(slog.DiscardHandler))
		return err
	}
	require.ErrorIs(t, open(), fs.ErrNotExist)
	require.NoError(t, os.WriteFile(cert, good.cert, 0o600))
	require.ErrorIs(t, open(), fs.ErrNotExist)
	require.NoError(t, os.WriteFile(key, newPair(t, "another.example").key, 0o600))
	require.ErrorContains(t, open(), "reading the certificate")
	require.NoError(t, os.WriteFile(key, good.key, 0o600))
	require.NoError(t, open())
}

func TestConnectionsBeginWhileTheCertificateChanges(t *testing.T) {
	s := newStage(t, newPair(t, "a.example"))
	pairs := []pair{newPair(t, "b.example"), newPair(t, "a.example")}
	var dialing sync.WaitGroup
	for range 4 {
		dialing.Go(func() {
			for range 25 {
				s.clk.pass(time.Second)
				if _, err := s.dial(t.Context()); err != nil {
					t.Errorf("a connection failed: %v", err)
					return
				}
			}
		})
	}
	for i := range 20 {
		s.write(pairs[i%2])
	}
	dialing.Wait()
	s.write(pairs[0])
	s.clk.pass(time.Second)
	require.Equal(t, "b.example", s.shown())
}
