package redistest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// MasterName is what a Sentinel calls its master.
const MasterName = "main"

// Sentinel is a server that sentinels watch, its replica, and one sentinel,
// which makes the replica the master about two seconds after the master has
// gone. One that comes back is the replica of the other.
type Sentinel struct {
	// Servers are the first master and its replica.
	Servers []*Server
	// Watcher is the sentinel's process.
	Watcher *Server
}

// StartSentinel starts the three and waits until the sentinel knows the replica.
// They end with the test. Options are for both servers.
func StartSentinel(tb testing.TB, o ...Option) *Sentinel {
	tb.Helper()
	s := &Sentinel{Servers: []*Server{Start(tb, append(o, replicated())...)}}
	master := s.Servers[0]
	s.Servers = append(s.Servers, Start(tb, append(o, replicated(), Line(fmt.Sprint("replicaof 127.0.0.1 ", master.port)))...))
	s.Watcher = Start(tb, func(w *options) { w.sentinel = master.sentinelLines() })
	s.AwaitReplica(tb)
	return s
}

// replicated lets the servers speak to one another as this package's user.
func replicated() Option {
	return func(o *options) { o.replicated = true }
}

func (s *Server) sentinelLines() []string {
	return []string{
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1", MasterName, s.port),
		fmt.Sprintf("sentinel auth-user %s %s", MasterName, adminName),
		fmt.Sprintf("sentinel auth-pass %s %s", MasterName, adminPassword),
		fmt.Sprintf("sentinel down-after-milliseconds %s 1000", MasterName),
		fmt.Sprintf("sentinel failover-timeout %s 3000", MasterName),
	}
}

// Option is how a client reaches the master by way of the sentinel.
func (s *Sentinel) Option() rueidis.ClientOption {
	option := s.Servers[0].Option()
	option.InitAddress = []string{s.Watcher.Addr()}
	option.Sentinel = rueidis.SentinelOption{MasterSet: MasterName, TopologyRefreshInterval: time.Second}
	return option
}

// Client is a client of the master that is closed with the test.
func (s *Sentinel) Client(tb testing.TB) rueidis.Client {
	tb.Helper()
	return newClient(tb, s.Option())
}

// AwaitMaster waits until the sentinel says that server is the master.
func (s *Sentinel) AwaitMaster(tb testing.TB, server *Server) {
	tb.Helper()
	s.await(tb, func(ctx context.Context, c rueidis.Client) error {
		at, err := c.Do(ctx, c.B().Arbitrary("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName).Build()).AsStrSlice()
		if err == nil && strings.Join(at, ":") != server.Addr() {
			err = fmt.Errorf("the master is %v", at)
		}
		return err
	})
}

// AwaitReplica waits until another one could take over.
func (s *Sentinel) AwaitReplica(tb testing.TB) {
	tb.Helper()
	s.await(tb, s.knowsReplica)
}

// knowsReplica is true once a failover would succeed: the sentinel looks for
// replicas every ten seconds, and once it has connected.
func (s *Sentinel) knowsReplica(ctx context.Context, c rueidis.Client) error {
	replicas, err := c.Do(ctx, c.B().Arbitrary("SENTINEL", "REPLICAS", MasterName).Build()).ToArray()
	if err != nil {
		return err
	}
	if len(replicas) != 1 {
		return fmt.Errorf("%d replicas are known", len(replicas))
	}
	about, err := replicas[0].AsStrMap()
	if err == nil && (about["flags"] != "slave" || about["master-link-status"] != "ok") {
		err = errors.New("the replica has not synchronized: " + about["flags"])
	}
	return err
}

func (s *Sentinel) await(tb testing.TB, f func(context.Context, rueidis.Client) error) {
	tb.Helper()
	deadline := time.Now().Add(2 * patience)
	for {
		err := s.Watcher.admin(f)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("redistest: waiting for the sentinel: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// sentinelConfig is the sentinel's configuration, which it rewrites itself.
func (s *Server) sentinelConfig() string {
	return strings.Join(append([]string{
		"bind 127.0.0.1", fmt.Sprint("port ", s.port), "daemonize no", "dir " + filepath.ToSlash(s.dir), adminUser(),
	}, s.o.sentinel...), "\n") + "\n"
}
