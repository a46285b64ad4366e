// Package storetest is the contract of gateway.Store as a test suite. Every
// engine runs it over a constructor of its own.
package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

// Limits are what a store under test is opened with.
type Limits struct {
	Idle, Tombstone time.Duration
	Max             int
	Session         session.Limits
}

// Open opens an empty store that lives by clk. It registers its own cleanup.
type Open func(t *testing.T, clk clock.Clock, l Limits) gateway.Store

var limits = Limits{Idle: time.Hour, Tombstone: 2 * time.Hour, Max: 1000}

// Run runs the suite. Early says that the engine may have a P-GET look again
// before anything is due, because it hears of things from another process.
func Run(t *testing.T, early bool, open Open) {
	for name, test := range map[string]func(*testing.T, gateway.Store, *Clock){
		"an application is there until it is deleted":            deleted,
		"an unused application ends and is remembered, then not": idle,
		"use keeps an application alive":                         used,
		"the same endpoint gets the same application":            sameEndpoint,
		"another culture or user agent replaces the endpoint's":  replaced,
		"the oldest makes room and is remembered":                evicted,
		"users do not share endpoints or limits":                 apart,
		"concurrent creations respect the limit":                 concurrent,
	} {
		t.Run(name, func(t *testing.T) {
			clk := NewClock()
			s := open(t, clk, limits)
			s.Open(gateway.Hooks{})
			test(t, s, clk)
		})
	}
	for name, test := range sessionTests {
		t.Run(name, func(t *testing.T) {
			clk := NewClock()
			f := newFixture(open(t, clk, limits), clk)
			f.early = early
			test(t, f)
			f.mu.Lock()
			defer f.mu.Unlock()
			require.Empty(t, f.wrong, "what the hook was told")
		})
	}
	t.Run("a full store refuses, and takes again when there is room", func(t *testing.T) {
		s := open(t, NewClock(), Limits{Idle: time.Hour, Tombstone: time.Hour, Max: 2})
		s.Open(gateway.Hooks{})
		full(t, s)
	})
}

func app(id, owner, endpoint string) gateway.Application {
	return gateway.Application{ID: id, Owner: owner, EndpointID: endpoint, Culture: "en-US", UserAgent: "test"}
}

func mustCreate(t *testing.T, s gateway.Store, a gateway.Application, limit int) {
	t.Helper()
	got, created, err := s.Create(t.Context(), a, limit)
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, a, got)
}

func requireEnded(t *testing.T, s gateway.Store, id string, why gateway.Ended, owner string) {
	t.Helper()
	_, err := s.Use(t.Context(), id)
	var ended *gateway.EndedError
	require.ErrorAs(t, err, &ended)
	require.Equal(t, gateway.EndedError{Why: why, Owner: owner}, *ended)
}

func deleted(t *testing.T, s gateway.Store, _ *Clock) {
	a := app("1", "ana@contoso.com", "e")
	mustCreate(t, s, a, 10)
	got, err := s.Use(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, a, got)
	n, _, err := s.Count(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, s.Delete(t.Context(), "1"))
	require.NoError(t, s.Delete(t.Context(), "1"), "deleting twice is no error")
	requireEnded(t, s, "1", gateway.EndedUnknown, "")
	requireEnded(t, s, "never", gateway.EndedUnknown, "")
	n, _, err = s.Count(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func idle(t *testing.T, s gateway.Store, clk *Clock) {
	mustCreate(t, s, app("1", "ana@contoso.com", "e"), 10)
	clk.Advance(limits.Idle - time.Second)
	_, err := s.Use(t.Context(), "1")
	require.NoError(t, err)
	clk.Advance(limits.Idle)
	requireEnded(t, s, "1", gateway.EndedIdle, "ana@contoso.com")
	clk.Advance(limits.Tombstone / 2)
	requireEnded(t, s, "1", gateway.EndedIdle, "ana@contoso.com")
	clk.Advance(limits.Tombstone)
	requireEnded(t, s, "1", gateway.EndedUnknown, "")
	n, _, err := s.Count(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func used(t *testing.T, s gateway.Store, clk *Clock) {
	mustCreate(t, s, app("1", "ana@contoso.com", "e"), 10)
	for range 10 {
		clk.Advance(limits.Idle / 2)
		_, err := s.Use(t.Context(), "1")
		require.NoError(t, err)
	}
}

func sameEndpoint(t *testing.T, s gateway.Store, clk *Clock) {
	first := app("1", "ana@contoso.com", "e")
	mustCreate(t, s, first, 10)
	got, created, err := s.Create(t.Context(), app("2", "ana@contoso.com", "e"), 10)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, first, got)
	requireEnded(t, s, "2", gateway.EndedUnknown, "")

	clk.Advance(limits.Idle)
	mustCreate(t, s, app("3", "ana@contoso.com", "e"), 10)
	requireEnded(t, s, "1", gateway.EndedIdle, "ana@contoso.com")
}

func replaced(t *testing.T, s gateway.Store, _ *Clock) {
	mustCreate(t, s, app("1", "ana@contoso.com", "e"), 10)
	other := app("2", "ana@contoso.com", "e")
	other.Culture = "de-DE"
	mustCreate(t, s, other, 10)
	requireEnded(t, s, "1", gateway.EndedUnknown, "")
	other = app("3", "ana@contoso.com", "e")
	other.Culture, other.UserAgent = "de-DE", "newer"
	mustCreate(t, s, other, 10)
	requireEnded(t, s, "2", gateway.EndedUnknown, "")
}

func evicted(t *testing.T, s gateway.Store, _ *Clock) {
	for i := range 4 {
		mustCreate(t, s, app(fmt.Sprint(i), "ana@contoso.com", fmt.Sprint("e", i)), 3)
	}
	requireEnded(t, s, "0", gateway.EndedTooMany, "ana@contoso.com")
	for _, id := range []string{"1", "2", "3"} {
		_, err := s.Use(t.Context(), id)
		require.NoError(t, err)
	}
}

func apart(t *testing.T, s gateway.Store, _ *Clock) {
	mustCreate(t, s, app("1", "ana@contoso.com", "e"), 1)
	mustCreate(t, s, app("2", "bo@contoso.com", "e"), 1)
	for _, id := range []string{"1", "2"} {
		_, err := s.Use(t.Context(), id)
		require.NoError(t, err)
	}
}

func concurrent(t *testing.T, s gateway.Store, _ *Clock) {
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			id := fmt.Sprint(i)
			_, _, err := s.Create(context.Background(), app(id, "ana@contoso.com", fmt.Sprint("e", i%25)), 10)
			if err == nil {
				_, _ = s.Use(context.Background(), id)
				if i%5 == 0 {
					_ = s.Delete(context.Background(), id)
				}
			}
		})
	}
	wg.Wait()
	n, _, err := s.Count(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, n, 10)
}

func full(t *testing.T, s gateway.Store) {
	mustCreate(t, s, app("1", "ana@contoso.com", "e"), 10)
	mustCreate(t, s, app("2", "bo@contoso.com", "e"), 10)
	_, _, err := s.Create(t.Context(), app("3", "cy@contoso.com", "e"), 10)
	require.ErrorIs(t, err, gateway.ErrFull)
	require.NoError(t, s.Delete(t.Context(), "1"))
	mustCreate(t, s, app("3", "cy@contoso.com", "e"), 10)
}
