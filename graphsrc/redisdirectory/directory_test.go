package redisdirectory_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/redisdirectory"
	"ucwagate/graphsrc/redistest"
	"ucwagate/graphsrc/sharetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

func directory(tb testing.TB, o rueidis.ClientOption, tenant string) *redisdirectory.Directory {
	tb.Helper()
	client, err := rueidis.NewClient(o)
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	d, err := redisdirectory.New(redisdirectory.Options{Client: client, Tenant: tenant})
	require.NoError(tb, err)
	return d
}

func open(o rueidis.ClientOption) sharetest.OpenDirectory {
	return func(tb testing.TB) (a, b graphsrc.SharedDirectory) {
		tenant := uuid.NewString()
		return directory(tb, o, tenant), directory(tb, o, tenant)
	}
}

func TestRedisDoesWhatAnySharedDirectoryMust(t *testing.T) {
	sharetest.RunDirectory(t, open(redistest.Start(t).Option()))
}

func TestAClusterDoesWhatAnySharedDirectoryMust(t *testing.T) {
	sharetest.RunDirectory(t, open(redistest.StartCluster(t).Option()))
}

func TestTenantsKeepApart(t *testing.T) {
	o := redistest.Start(t).Option()
	a, b := directory(t, o, "a"), directory(t, o, "b")
	require.NoError(t, a.Keep(t.Context(), []graphsrc.LookedUp{{Address: "x@contoso.com", Until: time.Now().Add(time.Hour)}}))
	got, err := b.Recall(t.Context(), []string{"x@contoso.com"})
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestWhatIsNotReadableIsNotKnownAndWhatFailsIsAnError(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	d := directory(t, server.Option(), "a")
	for _, stored := range []string{"", "x", "\x01", "\x01\x02", "\x01\x01short", "\x02\x00", "\x01\x010123456789abcdef\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		key := "ucwagate:directory:a:x@contoso.com"
		require.NoError(t, client.Do(t.Context(), client.B().Set().Key(key).Value(stored).PxMilliseconds(60_000).Build()).Error())
		got, err := d.Recall(t.Context(), []string{"x@contoso.com"})
		require.NoError(t, err)
		require.Empty(t, got, "%q", stored)
	}
	server.Freeze()
	defer server.Thaw()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := d.Recall(ctx, []string{"x@contoso.com"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Error(t, d.Keep(ctx, []graphsrc.LookedUp{{Address: "x@contoso.com", Until: time.Now().Add(time.Hour)}}))
}
