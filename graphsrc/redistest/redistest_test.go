package redistest_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

func TestARestartedServerHasLostItsDataUnlessItWritesThemToDisk(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options []redistest.Option
		keeps   bool
	}{{"in memory", nil, false}, {"on disk", []redistest.Option{redistest.AOF()}, true}} {
		t.Run(test.name, func(t *testing.T) {
			s := redistest.Start(t, test.options...)
			address := s.Addr()
			set(t, s.Client(t), "key", "value")
			s.Kill()
			_, err := rueidis.NewClient(s.Option())
			require.Error(t, err)
			s.Restart()
			require.Equal(t, address, s.Addr())
			value, err := get(t, s.Client(t), "key")
			if test.keeps {
				require.NoError(t, err)
				require.Equal(t, "value", value)
			} else {
				require.True(t, rueidis.IsRedisNil(err))
			}
			s.Restart()
			require.NoError(t, ping(t.Context(), s.Client(t)))
		})
	}
}

func TestAFrozenServerAnswersNothingUntilItIsThawed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	set(t, c, "key", "value")
	s.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ping(ctx, c), context.DeadlineExceeded)
	s.Thaw()
	value, err := get(t, c, "key")
	require.NoError(t, err)
	require.Equal(t, "value", value)
}

func TestAPasswordIsDemanded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Password("correct"))
	require.NoError(t, ping(t.Context(), s.Client(t)))
	option := s.Option()
	option.Password = "wrong"
	_, err := rueidis.NewClient(option)
	require.ErrorContains(t, err, "WRONGPASS")
}

func TestAUserMayDoWhatTheRulesAllow(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.User("gate", "secret", "~mine:* &* +@all"), redistest.Line("user default off"))
	c := s.Client(t)
	set(t, c, "mine:key", "value")
	_, err := get(t, c, "other")
	require.ErrorContains(t, err, "NOPERM")
	option := s.Option()
	option.Username, option.Password = "", ""
	_, err = rueidis.NewClient(option)
	require.ErrorContains(t, err, "NOAUTH")
}

func TestTLSIsServedBesideThePlainPort(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.TLS())
	require.NoError(t, ping(t.Context(), s.Client(t)))
	option := s.Option()
	option.InitAddress, option.TLSConfig = []string{s.TLSAddr()}, s.TLSConfig()
	c, err := rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, ping(t.Context(), c))
	for _, file := range []string{s.Files.CA, s.Files.ClientCertificate, s.Files.ClientKey} {
		_, err := os.Stat(file)
		require.NoError(t, err)
	}
}

func TestAClusterServesEverySlotAndTakesAMemberBack(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.AOF())
	c := cluster.Client(t)
	for i := range 100 {
		set(t, c, fmt.Sprint("key", i), fmt.Sprint(i))
	}
	require.Len(t, c.Nodes(), 3)
	cluster.Nodes[1].Restart()
	cluster.AwaitOK(t)
	for i := range 100 {
		value, err := get(t, c, fmt.Sprint("key", i))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), value)
	}
}

func TestASentinelMakesTheReplicaTheMaster(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	c := s.Client(t)
	set(t, c, "key", "value")
	copies, err := c.Do(t.Context(), c.B().Wait().Numreplicas(1).Timeout(5000).Build()).AsInt64()
	require.NoError(t, err)
	require.EqualValues(t, 1, copies)
	s.Servers[0].Kill()
	s.AwaitMaster(t, s.Servers[1])
	require.Eventually(t, func() bool { value, err := get(t, c, "key"); return err == nil && value == "value" }, 10*time.Second, 10*time.Millisecond)
}

func set(t *testing.T, c rueidis.Client, key, value string) {
	t.Helper()
	require.NoError(t, c.Do(t.Context(), c.B().Set().Key(key).Value(value).Build()).Error())
}

func get(t *testing.T, c rueidis.Client, key string) (string, error) {
	t.Helper()
	return c.Do(t.Context(), c.B().Get().Key(key).Build()).ToString()
}

func ping(ctx context.Context, c rueidis.Client) error {
	return c.Do(ctx, c.B().Ping().Build()).Error()
}
