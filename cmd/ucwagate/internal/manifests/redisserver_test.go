package manifests

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/hookrelay"
	"ucwagate/cmd/ucwagate/internal/redisconn"
)

// usersFile is the list of users of Redis that is shipped.
const usersFile = "../../../../configs/redis/users.acl"

// redisServer is a real server that runs as the container of components/redis
// would: with its arguments, at other paths and another port.
type redisServer struct {
	container container
	port      string
}

func startRedis(t *testing.T) redisServer {
	t.Helper()
	c, ok := server(build(t, shipped(t), "overlays/replicas"))
	require.True(t, ok)
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("password of a test"))
	users, err := os.ReadFile(usersFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users.acl"), []byte(strings.Replace(string(users), "PASSWORD_SHA256", hex.EncodeToString(sum[:]), 1)), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, l.Close())

	move := strings.NewReplacer("/data", dir, "/run/secrets/redis", dir)
	args := []string{"--port", port, "--bind", "127.0.0.1"}
	for _, a := range c.Args {
		args = append(args, move.Replace(a))
	}
	require.Equal(t, []string{"valkey-server"}, c.Command)
	cmd := exec.Command("redis-server", args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start(), "is the Debian package redis-server installed? make deps installs it")
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Log(output.String())
		}
	})
	s := redisServer{c, port}
	require.Eventually(t, func() bool { return s.probe(t, c.StartupProbe.Exec.Command) == nil }, 20*time.Second, 20*time.Millisecond, "the startup probe fails")
	return s
}

// probe runs what a probe runs.
func (s redisServer) probe(t *testing.T, command []string) error {
	t.Helper()
	require.Len(t, command, 3)
	return exec.CommandContext(t.Context(), command[0], command[1], strings.ReplaceAll(command[2], "valkey-cli", "redis-cli -p "+s.port)).Run()
}

// ask is what the server answers to a command.
func (s redisServer) ask(t *testing.T, user string, command ...string) string {
	t.Helper()
	args := []string{"-p", s.port}
	if user != "" {
		args = append(args, "--user", user, "--pass", "password of a test", "--no-auth-warning")
	}
	out, err := exec.CommandContext(t.Context(), "redis-cli", append(args, command...)...).CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

func TestRedisAcceptsItsArgumentsAndItsUsers(t *testing.T) {
	s := startRedis(t)
	require.NoError(t, s.probe(t, s.container.ReadinessProbe.Exec.Command))
	info := s.ask(t, "ucwagate", "INFO", "everything")
	for _, want := range []string{"maxmemory_policy:noeviction", "aof_enabled:1", "maxmemory:402653184"} {
		require.Contains(t, info, want)
	}
	for _, allowed := range [][]string{
		{"SET", "ucwagate:{app:1}:record", "x", "PX", "60000"},
		{"GET", "ucwagate:{app:1}:record"},
		{"PTTL", "ucwagate:directory:contoso:ana@contoso.com"},
		{"XADD", "ucwagate:{contoso:presence}:stream", "MAXLEN", "~", "10", "*", "a", "b"},
		{"XREAD", "COUNT", "1", "STREAMS", "ucwagate:{contoso:presence}:stream", "0"},
		{"EVAL", "return redis.call('hset', KEYS[1], 'at', redis.call('time')[1])", "1", "ucwagate:{contoso:budget}:bucket"},
		{"SCRIPT", "LOAD", "return 1"},
		{"ZADD", "ucwagate:due:0", "1", "a"},
		{"SADD", "ucwagate:{w:a}", "1"},
		{"PEXPIRE", "ucwagate:{w:a}", "60000"},
		{"PUBLISH", "ucwagate:wake:1", "x"},
		{"CLIENT", "SETNAME", "a"},
		{"CLIENT", "ID"},
		{"ROLE"},
		{"TIME"},
		{"PING"},
	} {
		answer := s.ask(t, "ucwagate", allowed...)
		require.NotRegexp(t, `^(NOPERM|ERR|NOAUTH)`, answer, "%v", allowed)
	}
	for _, refused := range [][]string{
		{"SET", "other:key", "x"},
		{"GET", "other:key"},
		{"EVAL", "return redis.call('get', 'other:key')", "0"},
		{"PUBLISH", "other", "x"},
		{"KEYS", "*"},
		{"SCAN", "0"},
		{"RANDOMKEY"},
		{"PUBSUB", "CHANNELS"},
		{"SCRIPT", "FLUSH"},
		{"FLUSHALL"},
		{"CONFIG", "GET", "*"},
		{"CONFIG", "SET", "dir", "/tmp"},
		{"ACL", "LIST"},
		{"CLIENT", "LIST"},
		{"SHUTDOWN"},
		{"MONITOR"},
		{"REPLICAOF", "127.0.0.1", "1"},
		{"MODULE", "LIST"},
	} {
		require.Regexp(t, `^NOPERM|can't access`, s.ask(t, "ucwagate", refused...), "%v", refused)
	}
	// What "ucwagate check" looks at and tries, with the configuration of the pods.
	loaded, err := gateways(build(t, shipped(t), "overlays/replicas"))[0].configuration(t)
	require.NoError(t, err)
	redis := loaded.Config.Redis
	redis.Addresses, redis.PasswordFile, redis.Password = []string{"127.0.0.1:" + s.port}, "", "password of a test"
	report, err := redisconn.Check(t.Context(), redis)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.Empty(t, report.Warnings)

	s.requireRelays(t)

	require.Equal(t, "PONG", s.ask(t, "", "PING"))
	require.Contains(t, s.ask(t, "", "GET", "ucwagate:{app:1}:record"), "NOPERM", "without signing in")
}

// desk takes what is relayed.
type desk struct{ taken, validated atomic.Bool }

func (d *desk) Take([]byte) bool { d.taken.Store(true); return true }
func (d *desk) Validated()       { d.validated.Store(true) }

// requireRelays hands on what Graph delivers, as the user of the gateways may.
func (s redisServer) requireRelays(t *testing.T) {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"127.0.0.1:" + s.port}, Username: "ucwagate", Password: "password of a test",
	})
	require.NoError(t, err)
	defer client.Close()
	r, d := hookrelay.New(hookrelay.Options{Client: client, Prefix: "ucwagate", Tenant: "contoso"}), &desk{}
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	served.Go(func() { r.Serve(ctx, func() bool { return true }, d) })
	defer func() { cancel(); served.Wait() }()
	require.NoError(t, r.Deliver(ctx, []byte("x"), true))
	r.Validated(ctx)
	require.Eventually(t, func() bool { return d.taken.Load() && d.validated.Load() }, 20*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return s.ask(t, "ucwagate", "EXISTS", "ucwagate:{contoso:hook}:queue") == "0" }, 20*time.Second, 20*time.Millisecond)
}
