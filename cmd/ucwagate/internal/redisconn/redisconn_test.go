package redisconn_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/redisconn"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

// section is a configuration of Redis at the addresses.
func section(addresses ...string) config.Redis {
	c := config.Default().Redis
	c.Addresses, c.Replicas, c.Timeout = addresses, 2, 500*time.Millisecond
	return c
}

func open(t *testing.T, c config.Redis) *redisconn.Client {
	t.Helper()
	return openObserved(t, c, nil)
}

func openObserved(t *testing.T, c config.Redis, observe func(operation, result string, took time.Duration)) *redisconn.Client {
	t.Helper()
	client, err := redisconn.Open(c, redisconn.Options{Clock: clock.System(), Logger: slog.New(slog.DiscardHandler), Observe: observe})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func set(ctx context.Context, c rueidis.Client, key string) error {
	return c.Do(ctx, c.B().Set().Key(key).Value("value").Build()).Error()
}

func requireWorks(t *testing.T, c *redisconn.Client) {
	t.Helper()
	eventually(t, func() error { return c.State().Err })
	for i := range 20 { // keys of many slots
		key := fmt.Sprint("key", i)
		// A command that writes is not repeated over a connection that broke.
		eventually(t, func() error { return set(t.Context(), c, key) })
		value, err := c.DoCache(t.Context(), c.B().Get().Key(key).Cache(), time.Minute).ToString()
		require.NoError(t, err)
		require.Equal(t, "value", value)
	}
}

// eventually waits until f returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool { err = f(); return err == nil }, 20*time.Second, 5*time.Millisecond, "the last error is %v", &shown{&err})
}

type shown struct{ err *error }

func (s *shown) String() string { return fmt.Sprint(*s.err) }

func TestAServerIsUsed(t *testing.T) {
	t.Parallel()
	c := section(redistest.Start(t).Addr())
	c.Database = 3
	client := open(t, c)
	require.Equal(t, rueidis.ClientModeStandalone, client.Mode())
	requireWorks(t, client)
	require.NoError(t, client.Unreachable(0))
}

func TestAGatewayMayStartBeforeRedisDoes(t *testing.T) {
	t.Parallel()
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		s.Kill()
		client := open(t, section(s.Addr()))
		require.Error(t, set(t.Context(), client, "key"))
		require.Error(t, client.Unreachable(time.Hour), "a gateway that never reached Redis is not ready, whatever the grace")
		s.Restart()
		requireWorks(t, client)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t)
		for _, n := range cluster.Nodes {
			n.Kill()
		}
		c := section(cluster.Addrs()...)
		c.Cluster = true
		client := open(t, c)
		require.Error(t, set(t.Context(), client, "key"))
		for _, r := range client.DoMulti(t.Context(), client.B().Get().Key("a").Build(), client.B().Get().Key("b").Build()) {
			require.Error(t, r.Error())
		}
		require.Error(t, client.Receive(t.Context(), client.B().Subscribe().Channel("c").Build(), func(rueidis.PubSubMessage) {}))
		dedicated, release := client.Dedicate()
		require.Error(t, dedicated.Do(t.Context(), dedicated.B().Get().Key("a").Build()).Error())
		release()
		require.Empty(t, client.Nodes())
		for _, n := range cluster.Nodes {
			n.Restart()
		}
		requireWorks(t, client)
		require.Len(t, client.Nodes(), 3)
	})
}

func TestAClusterIsUsedAndOneMasterLessIsNoticed(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	c := section(cluster.Addrs()[:1]...)
	c.Cluster = true
	client := open(t, c)
	require.Equal(t, rueidis.ClientModeCluster, client.Mode())
	requireWorks(t, client)
	require.Panics(t, func() { client.B().Del().Key("a", "b").Build() }, "keys of one command share a slot")

	cluster.Nodes[2].Kill()
	eventuallyAway(t, client)
	cluster.Nodes[2].Restart()
	requireWorks(t, client)
}

func eventuallyAway(t *testing.T, client *redisconn.Client) {
	t.Helper()
	require.Eventually(t, func() bool { return client.Unreachable(0) != nil }, 20*time.Second, 5*time.Millisecond)
}

func TestAServerThatComesBackIsUsedAgain(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := open(t, section(s.Addr()))
	requireWorks(t, client)
	s.Restart()
	eventually(t, func() error { return set(t.Context(), client, "key") })
	s.Kill()
	eventuallyAway(t, client)
	require.NoError(t, client.Unreachable(time.Hour), "the grace has not passed")
	s.Restart()
	requireWorks(t, client)
}

func TestACommandEndsInTimeAtAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := open(t, section(s.Addr()))
	requireWorks(t, client)
	s.Freeze()
	for range 20 {
		began := time.Now()
		require.Error(t, set(t.Context(), client, "key"))
		require.Error(t, client.Do(t.Context(), client.B().Get().Key("key").Build()).Error())
		require.Less(t, time.Since(began), 5*time.Second, "each has half a second, and one may wait for the connecting of another")
		if client.State().Err != nil {
			break
		}
	}
	eventuallyAway(t, client)
	s.Thaw()
	requireWorks(t, client)
}

func TestACommandThatWaitsIsNotEndedByTheTimeout(t *testing.T) {
	t.Parallel()
	client := open(t, section(redistest.Start(t).Addr()))
	requireWorks(t, client)
	began := time.Now()
	err := client.Do(t.Context(), client.B().Xread().Block(1200).Streams().Key("stream").Id("$").Build()).Error()
	require.True(t, rueidis.IsRedisNil(err), "%v", err)
	require.GreaterOrEqual(t, time.Since(began), 1200*time.Millisecond)
}

func TestASubscriptionEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := open(t, section(s.Addr()))
	requireWorks(t, client)
	subscribed, ended := make(chan struct{}), make(chan error, 1)
	ctx := rueidis.WithOnSubscriptionHook(t.Context(), func(rueidis.PubSubSubscription) { close(subscribed) })
	messages := make(chan string, 1)
	go func() {
		ended <- client.Receive(ctx, client.B().Subscribe().Channel("c").Build(), func(m rueidis.PubSubMessage) { messages <- m.Message })
	}()
	<-subscribed
	require.NoError(t, client.Do(t.Context(), client.B().Publish().Channel("c").Message("word").Build()).Error())
	require.Equal(t, "word", <-messages)
	s.Kill()
	require.Error(t, <-ended)
}

func TestTLSIsSpokenWithACertificate(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.TLS(), redistest.Line("tls-auth-clients yes"))
	c := section(s.TLSAddr())
	c.TLS = config.RedisTLS{
		Enabled: true, CAFile: s.Files.CA, CertFile: s.Files.ClientCertificate, KeyFile: s.Files.ClientKey, ServerName: "localhost",
	}
	requireWorks(t, open(t, c))

	t.Run("none is refused", func(t *testing.T) {
		c := c
		c.TLS.CertFile, c.TLS.KeyFile = "", ""
		client := open(t, c)
		eventuallyAway(t, client)
		require.Error(t, set(t.Context(), client, "key"))
	})
	t.Run("another name is refused", func(t *testing.T) {
		c := c
		c.TLS.ServerName = "redis.example"
		client := open(t, c)
		require.Eventually(t, func() bool { return strings.Contains(client.State().Err.Error(), "x509: ") }, 10*time.Second, 5*time.Millisecond)
	})
	t.Run("files must be good", func(t *testing.T) {
		c := c
		c.TLS.KeyFile = c.TLS.CertFile
		_, err := redisconn.Open(c, redisconn.Options{Clock: clock.System(), Logger: slog.New(slog.DiscardHandler)})
		require.ErrorContains(t, err, "redis.tls: reading the certificate: ")
	})
}

func TestAPasswordFileIsReadForEachConnection(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.User("gate", "first", ""), redistest.Line("user default off"))
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("wrong\n"), 0o600))
	c := section(s.Addr())
	c.Username, c.PasswordFile = "gate", file
	client := open(t, c)
	require.Eventually(t, func() bool {
		err := client.State().Err
		return err != nil && strings.HasPrefix(err.Error(), "WRONGPASS")
	}, 10*time.Second, 5*time.Millisecond)
	require.NotContains(t, client.State().Err.Error(), "wrong")
	require.NoError(t, os.WriteFile(file, []byte("first\n"), 0o600))
	requireWorks(t, client)
}

func TestCommandsAreMeasured(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var mu sync.Mutex
	counted := map[string]int{}
	client := openObserved(t, section(s.Addr()), func(operation, result string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		counted[operation+" "+result]++
		if operation == "xread" {
			require.Equal(t, time.Duration(-1), took)
		} else {
			require.GreaterOrEqual(t, took, time.Duration(0))
		}
	})
	eventually(t, func() error { return client.State().Err })
	ctx := t.Context()
	require.NoError(t, set(ctx, client, "key"))
	for range 3 {
		require.NoError(t, client.DoCache(ctx, client.B().Get().Key("key").Cache(), time.Minute).Error())
	}
	require.Error(t, client.Do(ctx, client.B().Hget().Key("key").Field("f").Build()).Error())
	require.NoError(t, rueidis.NewLuaScript("return 1").Exec(ctx, client, []string{"key"}, nil).Error())
	client.DoMulti(ctx, client.B().Get().Key("key").Build(), client.B().Hget().Key("key").Field("f").Build())
	require.NoError(t, client.Do(ctx, client.B().Sadd().Key("members").Member("m").Build()).Error())
	client.Do(ctx, client.B().Xread().Block(1).Streams().Key("stream").Id("$").Build())
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	require.Error(t, set(canceled, client, "key"))
	s.Freeze()
	require.Error(t, set(ctx, client, "key"))
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, map[string]int{
		"set ok": 1, "get ok": 1, "hget refused": 1, "evalsha ok": 1, "eval ok": 1, "pipeline refused": 1, "other ok": 1, "xread ok": 1,
		"set timeout": 1,
	}, counted)
	for name := range counted {
		require.Contains(t, names(), name)
	}
}

func names() (all []string) {
	for _, operation := range redisconn.Operations() {
		for _, result := range redisconn.Results() {
			all = append(all, operation+" "+result)
		}
	}
	return all
}
