package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

const (
	// adminName is a user that every server has, for this package and for the
	// servers among one another.
	adminName     = "redistest"
	adminPassword = "redistest"
	// attempts bounds how often a server is started on another port after it
	// ended early, and patience how long it may take until it answers.
	attempts = 10
	patience = 20 * time.Second
)

// errEnded says that redis-server ended before it answered.
var errEnded = errors.New("redis-server ended early")

// Server is one redis-server process. Its methods are for one goroutine.
type Server struct {
	// Files are the certificates of a server with TLS, else nil.
	Files *Files

	tb            testing.TB
	o             options
	dir           string
	port, tlsPort int

	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
}

// Start starts a server and waits until it answers. It ends with the test.
func Start(tb testing.TB, o ...Option) *Server {
	tb.Helper()
	s := prepare(tb, o...)
	if s.o.tls {
		s.Files = certificates(tb, s.dir)
	}
	var err error
	for range attempts {
		s.port, s.tlsPort = freePort(tb), freePort(tb)
		if err = s.start(); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		tb.Fatalf("redistest: starting redis-server: %v", err)
	}
	return s
}

// prepare makes a server that has no process yet.
func prepare(tb testing.TB, o ...Option) *Server {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		tb.Fatal("redistest: redis-server is not installed: it is in the Debian package redis-server, which `make test` installs")
	}
	s := &Server{tb: tb, dir: tb.TempDir()}
	for _, f := range o {
		f(&s.o)
	}
	tb.Cleanup(s.Kill)
	return s
}

// Addr is the host and port without TLS.
func (s *Server) Addr() string { return address(s.port) }

// TLSAddr is the host and port with TLS, of a server started with TLS.
func (s *Server) TLSAddr() string { return address(s.tlsPort) }

// Option is how a client reaches the server without TLS: as the user of User,
// else with the password of Password. A test may change it before it hands it
// to rueidis.NewClient.
func (s *Server) Option() rueidis.ClientOption {
	option := rueidis.ClientOption{InitAddress: []string{s.Addr()}, Password: s.o.password}
	if u := s.o.user; u != nil {
		option.Username, option.Password = u.name, u.password
	}
	return option
}

// Client is a client that is closed with the test.
func (s *Server) Client(tb testing.TB) rueidis.Client {
	tb.Helper()
	return newClient(tb, s.Option())
}

// Kill ends the process at once, as a crash does. It does nothing to a server
// that has ended.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// Restart starts the server again on its port, after it has been killed where
// it still runs. Without AOF it has lost its data.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	var err error
	for range attempts {
		if err = s.start(); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		s.tb.Fatalf("redistest: starting redis-server again: %v", err)
	}
}

// Freeze stops the process without ending it: connections stay open and are
// accepted, and nothing is answered until Thaw. Only Linux can.
func (s *Server) Freeze() {
	s.tb.Helper()
	if err := freeze(s.cmd.Process); err != nil {
		s.tb.Fatalf("redistest: freezing redis-server: %v", err)
	}
}

// Thaw lets a frozen process go on.
func (s *Server) Thaw() {
	s.tb.Helper()
	if err := thaw(s.cmd.Process); err != nil {
		s.tb.Fatalf("redistest: thawing redis-server: %v", err)
	}
}

// start runs a process until it answers.
func (s *Server) start() error {
	conf := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(conf, []byte(s.config()), 0o600); err != nil {
		return err
	}
	arguments := []string{conf}
	if s.o.sentinel != nil {
		arguments = append(arguments, "--sentinel")
	}
	return s.run(arguments)
}

func (s *Server) run(arguments []string) error {
	log, err := os.Create(filepath.Join(s.dir, "redis.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("redis-server", arguments...)
	cmd.Stdout, cmd.Stderr = log, log
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	s.cmd, s.ended = cmd, ended
	if err := s.untilAnswering(); err != nil {
		s.Kill()
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w:\n%s", err, text[max(0, len(text)-2000):])
	}
	return nil
}

func (s *Server) untilAnswering() error {
	deadline := time.Now().Add(patience)
	for {
		err := s.answers()
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return errEnded
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// answers reports whether this process, not another on the same port, answers
// and has loaded its data.
func (s *Server) answers() error {
	return s.admin(func(ctx context.Context, c rueidis.Client) error {
		if err := c.Do(ctx, c.B().Ping().Build()).Error(); err != nil {
			return err
		}
		info, err := c.Do(ctx, c.B().Info().Section("server").Build()).ToString()
		if err == nil && !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.cmd.Process.Pid)) {
			err = errors.New("another server has the port")
		}
		return err
	})
}

// admin runs f with a client that may do everything to this one server.
func (s *Server) admin(f func(context.Context, rueidis.Client) error) error {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr()}, Username: adminName, Password: adminPassword,
		ForceSingleClient: true, DisableCache: true, DisableRetry: true,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return f(ctx, c)
}

func newClient(tb testing.TB, o rueidis.ClientOption) rueidis.Client {
	tb.Helper()
	c, err := rueidis.NewClient(o)
	if err != nil {
		tb.Fatalf("redistest: connecting to redis-server: %v", err)
	}
	tb.Cleanup(c.Close)
	return c
}

func address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
