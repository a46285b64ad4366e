// Package listen opens the listeners of the gateway: TCP, a unix socket, TLS
// whose certificate follows its files.
//
// It must never know what is served.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"ucwagate/graphsrc/clock"
)

// UnixPrefix begins the address of a unix socket; its path follows.
const UnixPrefix = "unix:"

// keepAliveIdle is how long a connection is quiet before it is probed. Parked
// P-GETs are quiet for minutes; probing thousands of them every 15 s, as is Go's
// default, would be most of the traffic.
const keepAliveIdle = 75 * time.Second

// Open opens a TCP address (host:port) or a unix socket (unix:/path). A socket's
// file is made for the owner and the group (0660); one that a dead process has
// left is replaced, one that somebody listens on is not.
func Open(ctx context.Context, address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, UnixPrefix)
	if !unix {
		c := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle}}
		return c.Listen(ctx, "tcp", address)
	}
	if err := removeDead(ctx, path); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the socket to the group: %w", err), l.Close())
	}
	return l, nil
}

// removeDead removes a socket that nobody listens on.
func removeDead(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("somebody listens on %s already", path), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("finding out whether somebody listens on %s: %w", path, err)
	}
	return os.Remove(path)
}

// lookAgain is how often the files of a certificate are looked at, at most.
const lookAgain = time.Second

// Certificate is a certificate that follows its files: it is looked at them when
// a connection begins. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	clk               clock.Clock
	log               *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	good    *tls.Certificate
	seen    [2]stamp // of the files that good is from
	bad     [2]stamp // of the files that were said to be no good
	missing bool     // it was said that there are no files
}

type stamp struct {
	modified time.Time
	size     int64
	file     fs.FileInfo
}

func (s stamp) same(o stamp) bool {
	return s.modified.Equal(o.modified) && s.size == o.size && os.SameFile(s.file, o.file)
}

// OpenCertificate reads a certificate chain and its private key, both PEM.
// Afterwards files that cannot be used leave the certificate as it is, and are
// logged once.
func OpenCertificate(certFile, keyFile string, clk clock.Clock, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, clk: clk, log: log, looked: clk.Now()}
	seen, err := c.stat()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	c.seen, c.good = seen, &pair
	return c, nil
}

// Config returns a configuration that shows the certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}
}

func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clk.Now()
	if d := now.Sub(c.looked); d >= 0 && d < lookAgain {
		return c.good
	}
	c.looked = now
	seen, err := c.stat()
	if err != nil {
		if !c.missing {
			c.log.Warn("the files of the server's certificate cannot be found; the certificate stays", "file", c.certFile, "error", err)
		}
		c.missing = true
		return c.good
	}
	c.missing = false
	if same(seen, c.seen) {
		return c.good
	}
	// A pair that cannot be used is read again and again: half of it may not be
	// there yet, or may not be readable yet, which the stamp does not tell.
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		if !same(seen, c.bad) {
			c.log.Warn("the new files of the server's certificate cannot be used; the old one stays", "file", c.certFile, "error", err)
		}
		c.bad = seen
		return c.good
	}
	c.good, c.seen, c.bad = &pair, seen, [2]stamp{}
	c.log.Info("the server's certificate is another one now", "file", c.certFile)
	return c.good
}

func same(a, b [2]stamp) bool { return a[0].same(b[0]) && a[1].same(b[1]) }

func (c *Certificate) stat() (seen [2]stamp, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return seen, fmt.Errorf("reading the certificate: %w", err)
		}
		seen[i] = stamp{info.ModTime(), info.Size(), info}
	}
	return seen, nil
}
