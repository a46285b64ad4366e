package redisshare_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/redisshare"
	"ucwagate/graphsrc/redistest"
	"ucwagate/graphsrc/sharetest"
)

const lease = 500 * time.Millisecond

// share makes a part with a client of its own.
func share(tb testing.TB, o rueidis.ClientOption, tenant string, change func(*redisshare.Options)) *redisshare.Share {
	tb.Helper()
	client, err := rueidis.NewClient(o)
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	options := redisshare.Options{Client: client, Tenant: tenant, Lease: lease, Delay: 5 * time.Millisecond}
	if change != nil {
		change(&options)
	}
	s, err := redisshare.New(options)
	require.NoError(tb, err)
	return s
}

func TestRedisDoesWhatAnySharedMust(t *testing.T) {
	server := redistest.Start(t)
	sharetest.Run(t, func(testing.TB) sharetest.Join {
		tenant := uuid.NewString()
		return func(tb testing.TB) graphsrc.Shared { return share(tb, server.Option(), tenant, nil) }
	})
}

func TestAClusterDoesWhatAnySharedMust(t *testing.T) {
	cluster := redistest.StartCluster(t)
	sharetest.Run(t, func(testing.TB) sharetest.Join {
		tenant := uuid.NewString()
		return func(tb testing.TB) graphsrc.Shared { return share(tb, cluster.Option(), tenant, nil) }
	})
}
