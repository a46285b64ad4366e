package ticketkey_test

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/ticketkey"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/redistest"
	"ucwagate/ucwaapi/signin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

var identity = signin.Identity{Address: "ana@contoso.com"}

// replica is the tickets of one.
type replica struct {
	clk    *storetest.Clock
	web    *signin.Tickets
	keeper *ticketkey.Keeper

	mu   sync.Mutex
	keys [][]byte
}

func start(t *testing.T, client rueidis.Client) *replica {
	t.Helper()
	clk := storetest.NewClock()
	r := &replica{clk: clk}
	web, _, err := signin.NewLateTickets(0, clk)
	require.NoError(t, err)
	r.web = web
	r.keeper, err = ticketkey.Keep(ticketkey.Options{Client: client, Prefix: "p", Keep: time.Hour, Clock: clk, Learn: r.learn})
	require.NoError(t, err)
	t.Cleanup(r.keeper.Close)
	return r
}

func (r *replica) learn(keys [][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = keys
	return r.web.Learn(keys)
}

func (r *replica) known() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys
}

// requireKeys waits until the replica knows as many, renewing meanwhile.
func (r *replica) requireKeys(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { r.clk.Advance(time.Second); return len(r.known()) == n }, 10*time.Second, 5*time.Millisecond)
}

func (r *replica) ticket(t *testing.T) string {
	t.Helper()
	ticket, _ := r.web.Issue(identity)
	require.NotEmpty(t, ticket)
	return ticket
}

func (r *replica) requireGood(t *testing.T, ticket string) {
	t.Helper()
	id, err := r.web.Verify(ticket)
	require.NoError(t, err)
	require.Equal(t, identity.Address, id.Address)
}

func TestATicketOfOneReplicaIsGoodAtAnother(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b := start(t, s.Client(t)), start(t, s.Client(t))
	a.requireKeys(t, 1)
	b.requireKeys(t, 1)
	ticket := a.ticket(t)
	b.requireGood(t, ticket)
	a.requireGood(t, b.ticket(t))

	a.keeper.Close()
	b.keeper.Close()
	c := start(t, s.Client(t))
	c.requireKeys(t, 1)
	c.requireGood(t, ticket)
}

func TestTheRecordEndsWithItsUse(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := s.Client(t)
	a := start(t, client)
	a.requireKeys(t, 1)
	life := func() int64 {
		ms, err := client.Do(t.Context(), client.B().Pttl().Key("p:ticketkey").Build()).AsInt64()
		require.NoError(t, err)
		return ms
	}
	require.InDelta(t, time.Hour.Milliseconds(), life(), 60_000)
	require.NoError(t, client.Do(t.Context(), client.B().Pexpire().Key("p:ticketkey").Milliseconds(100_000).Build()).Error())
	require.Eventually(t, func() bool { a.clk.Advance(time.Second); return life() > 3_000_000 }, 10*time.Second, 5*time.Millisecond)
}

func TestAReplicaWaitsForRedis(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	option := s.Option()
	option.ForceSingleClient, option.DisableRetry = true, true
	s.Kill()
	client, _ := rueidis.NewClient(option)
	t.Cleanup(client.Close)
	a := start(t, client)
	a.clk.Advance(time.Minute)
	ticket, _ := a.web.Issue(identity)
	require.Empty(t, ticket)
	require.False(t, a.keeper.Known())
	_, err := a.web.Verify("cwt=AAEB")
	require.ErrorIs(t, err, signin.ErrUnavailable)
	s.Restart()
	a.requireKeys(t, 1)
	a.requireGood(t, a.ticket(t))
	require.True(t, a.keeper.Known())
}

func TestReplicasBringBackAKeyThatRedisLost(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	option := s.Option()
	option.ForceSingleClient = true
	client := func() rueidis.Client {
		c, err := rueidis.NewClient(option)
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}
	a := start(t, client())
	a.requireKeys(t, 1)
	old := a.ticket(t)

	s.Restart()
	another := start(t, client())
	another.requireKeys(t, 1) // it made a new one, before a looked
	a.requireKeys(t, 2)
	another.requireKeys(t, 2)
	a.requireGood(t, old)
	another.requireGood(t, old)
	a.requireGood(t, another.ticket(t))
	another.requireGood(t, a.ticket(t))

	s.Restart()
	require.Eventually(t, func() bool {
		a.clk.Advance(time.Second)
		n, err := client().Do(t.Context(), client().B().Exists().Key("p:ticketkey").Build()).AsInt64()
		return err == nil && n == 1
	}, 10*time.Second, 20*time.Millisecond)
	third := start(t, client())
	third.requireKeys(t, 2)
	third.requireGood(t, a.ticket(t))
	third.requireGood(t, old)
}

func TestAForeignRecordIsLeftAlone(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	require.NoError(t, client.Do(t.Context(), client.B().Hset().Key("p:ticketkey").FieldValue().FieldValue("signs", "short").Build()).Error())
	a := start(t, client)
	for range 20 {
		a.clk.Advance(time.Second)
	}
	require.Empty(t, a.known())
}
