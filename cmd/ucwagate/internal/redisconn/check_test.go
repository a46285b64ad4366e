package redisconn_test

import (
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

func TestAFitServerHasNoProblems(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
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
		s := redistest.Start(t, redistest.Line("maxmemory-policy allkeys-lru"))
		report, err := redisconn.Check(t.Context(), section(s.Addr()))
		require.NoError(t, err)
		require.Empty(t, report.Problems)
		require.Equal(t, []string{
			s.Addr() + " may throw keys away when its memory is full (maxmemory-policy allkeys-lru): set it to noeviction",
		}, report.Warnings)
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
			c := section(redistest.Start(t, redistest.User("gate", "secret", rules)).Addr())
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
	cluster := redistest.StartCluster(t)
	c := section(cluster.Addrs()...)
	c.Cluster = true
	requireFit(t, c)
	requireProblem(t, section(cluster.Nodes[0].Addr()), "is a member of a cluster: set redis.cluster")
}

func TestSentinelsAreUsedAndChecked(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
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
