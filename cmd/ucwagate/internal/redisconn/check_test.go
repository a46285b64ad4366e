package redisconn_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/redisconn"
	"ucwagate/graphsrc/redistest"
)

func requireProblem(t *testing.T, c config.Redis, want string) {
	t.Helper()
	report, err := redisconn.Check(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, report.Problems, 1, "%q", report.Problems)
	require.Contains(t, report.Problems[0], want)
}

func requireFit(t *testing.T, c config.Redis) {
	t.Helper()
	report, err := redisconn.Check(t.Context(), c)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.Empty(t, report.Warnings)
	require.Regexp(t, `^(Redis|Valkey) \d+\.\d+`, report.Server)
}

func requireWarning(t *testing.T, c config.Redis, want string) {
	t.Helper()
	report, err := redisconn.Check(t.Context(), c)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.Equal(t, []string{want}, report.Warnings)
}

// withoutInfo is the address of a server whose scripts know no INFO.
func withoutInfo(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", address)
			if err != nil {
				_ = near.Close()
				return
			}
			all.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
			all.Go(func() {
				defer far.Close()
				for buffer := make([]byte, 1<<16); ; {
					n, err := near.Read(buffer)
					if err != nil {
						return
					}
					if _, err := far.Write(bytes.ReplaceAll(buffer[:n], []byte("call('INFO'"), []byte("call('NONE'"))); err != nil {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

func TestAFitServerHasNoProblems(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.AOF())
	requireFit(t, section(s.Addr()))
	keys, err := s.Client(t).Do(t.Context(), s.Client(t).B().Dbsize().Build()).AsInt64()
	require.NoError(t, err)
	require.Zero(t, keys, "nothing is left behind")
}

func TestACheckSaysWhatIsWrongWithAServer(t *testing.T) {
	t.Parallel()
	plain := redistest.Start(t)
	t.Run("away", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		s.Kill()
		_, err := redisconn.Check(t.Context(), section(s.Addr()))
		require.ErrorContains(t, err, "connecting to Redis: dial tcp")
	})
	t.Run("no cluster", func(t *testing.T) {
		t.Parallel()
		c := section(plain.Addr())
		c.Cluster = true
		requireProblem(t, c, "is not a member of a cluster, and redis.cluster is set")
	})
	t.Run("no sentinel", func(t *testing.T) {
		t.Parallel()
		c := section(plain.Addr())
		c.Sentinel = "main"
		_, err := redisconn.Check(t.Context(), c)
		require.ErrorContains(t, err, "(redis.addresses are no sentinels?)")
	})
	t.Run("evicts", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t, redistest.AOF(), redistest.Line("maxmemory-policy allkeys-lru"))
		report, err := redisconn.Check(t.Context(), section(s.Addr()))
		require.NoError(t, err)
		require.Empty(t, report.Problems)
		require.Equal(t, []string{
			s.Addr() + " may throw keys away when its memory is full (maxmemory-policy allkeys-lru): set it to noeviction",
		}, report.Warnings)
	})
	t.Run("forgets", func(t *testing.T) {
		t.Parallel()
		requireWarning(t, section(plain.Addr()), plain.Addr()+" keeps at most a snapshot over a restart (appendonly no): set appendonly yes")
	})
	t.Run("scripts without INFO", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t, redistest.AOF())
		report, err := redisconn.Check(t.Context(), section(withoutInfo(t, s.Addr())))
		require.NoError(t, err)
		require.Empty(t, report.Problems)
		require.Len(t, report.Warnings, 1)
		require.Contains(t, report.Warnings[0], "scripts may not use INFO, so neither the budget nor the lists of who watches whom notice a failover")
	})
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		_, err := redisconn.Check(t.Context(), section(redistest.Start(t, redistest.Password("secret")).Addr()))
		require.ErrorContains(t, err, "NOAUTH")
	})
	for rules, want := range map[string]string{
		"~other:* &* +@all":                     "the gateway may not write and read keys: NOPERM",
		"~ucwagate:* &* +@all -publish":         "the gateway may not publish: NOPERM",
		"~ucwagate:* &other:* +@all -publish":   "the gateway may not publish: NOPERM",
		"~ucwagate:* &* +@all -zadd":            "the gateway may not use the commands that scripts use: ",
		"~ucwagate:* &ucwagate:* +@all -xread":  "the gateway may not read streams: NOPERM",
		"~ucwagate:* &ucwagate:* +@all -@admin": "",
	} {
		t.Run("user "+rules, func(t *testing.T) {
			t.Parallel()
			c := section(redistest.Start(t, redistest.AOF(), redistest.User("gate", "secret", rules)).Addr())
			c.Username, c.Password = "gate", "secret"
			if want == "" {
				requireFit(t, c)
				return
			}
			report, err := redisconn.Check(t.Context(), c)
			require.NoError(t, err)
			require.NotEmpty(t, report.Problems)
			require.Contains(t, report.Problems[0], want)
		})
	}
}

func TestAClusterIsChecked(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.AOF())
	c := section(cluster.Addrs()...)
	c.Cluster = true
	requireFit(t, c)
	requireProblem(t, section(cluster.Nodes[0].Addr()), "is a member of a cluster: set redis.cluster")
}

func TestSentinelsAreUsedAndChecked(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, redistest.AOF())
	c := section(s.Watcher.Addr())
	c.Sentinel = redistest.MasterName
	requireFit(t, c)
	requireProblem(t, section(s.Servers[1].Addr()), "is a replica, which takes no writes")

	other := c
	other.Sentinel = "other"
	_, err := redisconn.Check(t.Context(), other)
	require.ErrorContains(t, err, `(the sentinels know no master "other")`)

	client := open(t, c)
	requireWorks(t, client)
	s.Servers[0].Kill()
	eventuallyAway(t, client)
	s.AwaitMaster(t, s.Servers[1])
	requireWorks(t, client)
	replica := open(t, section(s.Servers[1].Addr()))
	requireWorks(t, replica)
}

func TestAMasterThatTakesWritesWithoutItsReplicasIsAWarning(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, redistest.AOF())
	third := redistest.Start(t, redistest.Line("replicaof "+strings.Replace(s.Servers[0].Addr(), ":", " ", 1)))
	admin := s.Servers[0].Client(t)
	eventually(t, func() error {
		info, err := admin.Do(t.Context(), admin.B().Info().Section("replication").Build()).ToString()
		if err == nil && strings.Count(info, "state=online") < 2 {
			err = errors.New(third.Addr() + " is not there yet")
		}
		return err
	})
	c := section(s.Watcher.Addr())
	c.Sentinel = redistest.MasterName
	report, err := redisconn.Check(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, report.Warnings, 1)
	require.Contains(t, report.Warnings[0], "goes on taking writes where it is cut off from its 2 replicas")
	require.NoError(t, admin.Do(t.Context(), admin.B().ConfigSet().ParameterValue().ParameterValue("min-replicas-to-write", "1").Build()).Error())
	requireFit(t, c)
}
