package signin

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc/clock"
)

// queueUp has clients wait for their turns, in the order in which they are
// named, while one is under way; it returns the order in which they go.
func queueUp(t *testing.T, clients ...string) []string {
	t.Helper()
	turns := newTurns(1)
	require.NoError(t, turns.take(t.Context(), clock.System(), time.Minute, "first", false))
	var went []string
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			known := c[0] == '+' // a client that is known
			if turns.take(t.Context(), clock.System(), time.Minute, c[:2], known) == nil {
				went = append(went, c)
				turns.done()
			}
		})
		synctest.Wait()
	}
	turns.done()
	all.Wait()
	require.Equal(t, 1, turns.free)
	require.Empty(t, turns.known.byAddress)
	require.Empty(t, turns.others.byAddress)
	return went
}

func TestWhoseTurnItIs(t *testing.T) {
	for _, c := range []struct {
		name          string
		clients, want []string
	}{
		{"nobody waits", nil, nil},
		{"one address goes in order", []string{"-a1", "-a2", "-a3"}, []string{"-a1", "-a2", "-a3"}},
		{"addresses take turns", []string{"-a1", "-a2", "-a3", "-a4", "-b1", "-c1"}, []string{"-a1", "-b1", "-c1", "-a2", "-a3", "-a4"}},
		{"known clients go first", []string{"-a1", "-b1", "+c1"}, []string{"+c1", "-a1", "-b1"}},
		{
			"known clients leave room for others",
			[]string{"-a1", "-a2", "+c1", "+c2", "+c3", "+c4", "+c5"},
			[]string{"+c1", "+c2", "+c3", "-a1", "+c4", "+c5", "-a2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { require.Equal(t, c.want, queueUp(t, c.clients...)) })
		})
	}
}

func TestATurnThatDoesNotComeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		require.NoError(t, turns.take(t.Context(), clock.System(), time.Minute, "a", false))
		err := turns.take(t.Context(), clock.System(), time.Minute, "a", false)
		require.ErrorIs(t, err, ErrUnavailable)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { left <- turns.take(ctx, clock.System(), time.Minute, "a", true) }()
		synctest.Wait()
		leave()
		require.ErrorIs(t, <-left, errBusy)
		turns.done()
		require.NoError(t, turns.take(t.Context(), clock.System(), time.Minute, "b", false))
	})
}

func TestNoTurnIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(rt, "at a time")
		type visit struct {
			address     int
			known       bool
			after, work time.Duration
		}
		visits := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) visit {
			return visit{
				rapid.IntRange(0, 3).Draw(rt, "address"), rapid.Bool().Draw(rt, "known"),
				time.Duration(rapid.IntRange(0, 5000).Draw(rt, "after")) * time.Millisecond,
				time.Duration(rapid.IntRange(0, 3000).Draw(rt, "work")) * time.Millisecond,
			}
		}), 0, 40).Draw(rt, "visits")
		synctest.Test(t, func(t *testing.T) {
			turns := newTurns(n)
			var mu sync.Mutex
			var all sync.WaitGroup
			var under, most int
			for _, v := range visits {
				all.Go(func() {
					<-time.After(v.after)
					err := turns.take(t.Context(), clock.System(), 2*time.Second, strconv.Itoa(v.address), v.known)
					if errors.Is(err, ErrUnavailable) {
						return
					}
					mu.Lock()
					under++
					most = max(most, under)
					mu.Unlock()
					<-time.After(v.work)
					mu.Lock()
					under--
					mu.Unlock()
					turns.done()
				})
			}
			all.Wait()
			require.LessOrEqual(t, most, n)
			require.Equal(t, n, turns.free)
			require.Empty(t, slices.Collect(func(yield func(string) bool) {
				for a := range turns.others.byAddress {
					yield(a)
				}
			}))
		})
	})
}

func TestAFloodFromOneAddressDelaysAnotherByOneCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := slowSource{time.Second}
		tickets, err := NewTickets(nil, 0, nil)
		require.NoError(t, err)
		a, err := New(Options{Tickets: tickets, Passwords: slow, Attempts: NewAttempts(1000, nil)})
		require.NoError(t, err)
		var flood sync.WaitGroup
		ctx, end := context.WithCancel(t.Context())
		for i := range 200 {
			flood.Go(func() { _, _, _ = a.checkPassword(ctx, "user"+strconv.Itoa(i)+"@contoso.test", "wrong", "192.0.2.66") })
		}
		synctest.Wait()
		began := time.Now()
		_, wait, err := a.checkPassword(t.Context(), "ana@contoso.test", "right", "192.0.2.1")
		require.NoError(t, err)
		require.Zero(t, wait)
		require.LessOrEqual(t, time.Since(began), 3*slow.takes)
		end()
		flood.Wait()
	})
}

// slowSource knows one password and takes its time for each.
type slowSource struct{ takes time.Duration }

func (slowSource) Account(user string) string { return user }
func (slowSource) Concurrency() int           { return 1 }

func (s slowSource) CheckPassword(_ context.Context, user, password string) (Identity, error) {
	<-time.After(s.takes)
	if password != "right" {
		return Identity{}, ErrWrongPassword
	}
	return Identity{Address: user}, nil
}
