package redisstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/redistest"
)

func TestAnApplicationWhoseCreationIsNotKnownToHaveSucceededIsNotThere(t *testing.T) {
	server := redistest.Start(t)
	client := &wire{Client: server.Client(t)}
	clk, stopped := storetest.NewClock(), storetest.NewClock()
	s, other := openImpatient(t, client, stopped), openImpatient(t, server.Client(t), clk)
	s.Open(gateway.Hooks{})
	other.Open(gateway.Hooks{})
	count := func() int {
		n, _, err := other.Count(t.Context())
		require.NoError(t, err)
		return n
	}
	a := gateway.Application{ID: "1", Owner: ana, EndpointID: "e"}
	stored := 0
	client.happens(func(words []string) mishap {
		if !runs(words, "idle", "2") {
			return mishap{}
		}
		return mishap{lost: true, after: func() { stored++ }}
	})
	_, _, err := s.Create(t.Context(), a, 10)
	require.ErrorIs(t, err, gateway.ErrUnavailable)
	require.Equal(t, 1, stored)
	require.Zero(t, count(), "it is taken back")

	client.happens(nil)
	create(t, s, "2")
	// Nor is it there for long if it cannot be taken back.
	client.happens(func(words []string) mishap {
		return mishap{lost: runs(words, "idle", "2"), fails: runs(words, "dead", "8")}
	})
	_, _, err = s.Create(t.Context(), a, 10)
	require.ErrorIs(t, err, gateway.ErrUnavailable)
	require.Equal(t, 2, count())
	clk.Advance(3 * time.Minute)
	require.Equal(t, 1, count(), "nobody knows of it")
	clk.Advance(40 * time.Minute)
	_, err = other.Use(t.Context(), "2")
	require.NoError(t, err, "that is known to be there")
}
