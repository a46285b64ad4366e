package redistest

import (
	"crypto/tls"
	"fmt"
	"strings"
)

type options struct {
	password string
	user     *user
	tls      bool
	aof      bool
	cluster  bool
	lines    []string

	replicated bool
	sentinel   []string // the lines of a sentinel, which has no others
}

type user struct{ name, password, rules string }

// An Option changes how a server is started.
type Option func(*options)

// Password demands a password of the default user.
func Password(password string) Option {
	return func(o *options) { o.password = password }
}

// User adds an ACL user, and Client signs in as that user. The rules are those
// of ACL SETUSER, such as "~ucwagate:* &ucwagate:* +@all"; "" allows everything.
// The default user remains as it is: Line("user default off") ends it.
func User(name, password, rules string) Option {
	if rules == "" {
		rules = "~* &* +@all"
	}
	return func(o *options) { o.user = &user{name, password, rules} }
}

// TLS serves TLS on a second port beside the plain one, with a certificate of
// an authority made for the test. Clients need no certificate; see Line to
// demand one ("tls-auth-clients yes").
func TLS() Option {
	return func(o *options) { o.tls = true }
}

// AOF writes every change to a file before it is answered, so that Restart brings
// all data back.
func AOF() Option {
	return func(o *options) { o.aof = true }
}

// Line adds a line of redis.conf, such as "maxmemory 10mb". It comes after
// those of this package, so it wins.
func Line(line string) Option {
	return func(o *options) { o.lines = append(o.lines, line) }
}

func clustered() Option {
	return func(o *options) { o.cluster = true }
}

// config is the redis.conf of s on its ports.
func (s *Server) config() string {
	if s.o.sentinel != nil {
		return s.sentinelConfig()
	}
	lines := []string{
		"bind 127.0.0.1",
		fmt.Sprint("port ", s.port),
		"daemonize no",
		`save ""`,
		"dir " + s.dir,
		// A user of this package's own, whatever the test does to the others.
		adminUser(),
	}
	if s.o.aof {
		// What is written outlives the process; a disk that is busy holds nobody up.
		lines = append(lines, "appendonly yes", "appendfsync no")
	}
	if s.o.password != "" {
		lines = append(lines, "requirepass "+s.o.password)
	}
	if u := s.o.user; u != nil {
		lines = append(lines, fmt.Sprintf("user %s on >%s %s", u.name, u.password, u.rules))
	}
	if s.o.tls {
		lines = append(
			lines, fmt.Sprint("tls-port ", s.tlsPort), "tls-auth-clients optional",
			"tls-cert-file "+s.Files.Certificate, "tls-key-file "+s.Files.Key, "tls-ca-cert-file "+s.Files.CA,
		)
	}
	if s.o.replicated {
		lines = append(lines, "masteruser "+adminName, "masterauth "+adminPassword, "repl-diskless-sync-delay 0")
	}
	if s.o.cluster {
		lines = append(
			lines, "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 10000",
			"cluster-announce-ip 127.0.0.1",
		)
	}
	return strings.Join(append(lines, s.o.lines...), "\n") + "\n"
}

func adminUser() string { return fmt.Sprintf("user %s on >%s ~* &* +@all", adminName, adminPassword) }

// TLSConfig trusts the server's authority. It is nil for a server without TLS.
func (s *Server) TLSConfig() *tls.Config {
	if s.Files == nil {
		return nil
	}
	return &tls.Config{RootCAs: s.Files.pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}
