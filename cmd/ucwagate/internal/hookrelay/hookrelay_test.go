package hookrelay_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/hookrelay"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

const soon, tick = 20 * time.Second, time.Millisecond

// still is a clock that stands still for what is read of it, so that what comes is
// too fast sooner or later.
type still struct {
	clock.Clock
	at time.Time
}

func (s still) Now() time.Time { return s.at }

// running is a clock by which an hour passes between any two looks at it: nothing
// is too fast.
type running struct {
	clock.Clock
	hours atomic.Int64
}

func (r *running) Now() time.Time {
	return time.Unix(0, 0).Add(time.Duration(r.hours.Add(1)) * time.Hour)
}

func relay(client rueidis.Client, clk clock.Clock) *hookrelay.Relay {
	return hookrelay.New(hookrelay.Options{Client: client, Prefix: "p", Tenant: "contoso", Clock: clk})
}

// desk is a sink.
type desk struct {
	busy atomic.Bool // takes nothing

	mu          sync.Mutex
	taken       []string
	validations int
}

func (d *desk) Take(delivery []byte) bool {
	if d.busy.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = append(d.taken, string(delivery))
	return true
}

func (d *desk) Validated() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.validations++
}

func (d *desk) has() ([]string, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.taken), d.validations
}

func (d *desk) await(t *testing.T, want ...string) {
	t.Helper()
	require.Eventually(t, func() bool { taken, _ := d.has(); return len(taken) >= len(want) }, soon, tick)
	taken, _ := d.has()
	require.Equal(t, want, taken)
}

// serve has a sink served until the test or the returned function ends it.
func serve(t *testing.T, r *hookrelay.Relay, leads func() bool, d *desk) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	served.Go(func() { r.Serve(ctx, leads, d) })
	end = func() { cancel(); served.Wait() }
	t.Cleanup(end)
	return end
}

func always() bool { return true }

func requireEmpty(t *testing.T, client rueidis.Client) {
	t.Helper()
	require.Eventually(t, func() bool {
		n, err := client.Do(t.Context(), client.B().Dbsize().Build()).AsInt64()
		return err == nil && n == 0
	}, soon, tick, "what was taken is removed")
}

func TestWhatFollowersReceiveReachesTheLeaderOnceAndInOrder(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b, leader := relay(s.Client(t), clock.System()), relay(s.Client(t), clock.System()), relay(s.Client(t), clock.System())
	large := strings.Repeat("x", 1<<20)
	require.NoError(t, a.Deliver(t.Context(), []byte("before anybody leads"), true))
	d := &desk{}
	serve(t, leader, always, d)
	d.await(t, "before anybody leads")
	require.NoError(t, b.Deliver(t.Context(), []byte("\x00\xff not proven"), false))
	require.NoError(t, a.Deliver(t.Context(), []byte(large), true))
	a.Validated(t.Context())
	b.Validated(t.Context())
	require.NoError(t, b.Deliver(t.Context(), []byte("last"), true))
	d.await(t, "before anybody leads", "\x00\xff not proven", large, "last")
	_, validations := d.has()
	require.Equal(t, 2, validations)
	requireEmpty(t, s.Client(t))
}

func TestAValidationLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var log bytes.Buffer
	r, d := hookrelay.New(hookrelay.Options{
		Client: s.Client(t), Prefix: "p", Tenant: "contoso",
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}), &desk{}
	end := serve(t, r, always, d)
	r.Validated(t.Context())
	require.Eventually(t, func() bool { _, n := d.has(); return n == 1 }, soon, tick)
	requireEmpty(t, s.Client(t))
	end()
	require.Empty(t, log.String())
}

func TestWhatTheSinkDoesNotTakeStaysForTheNextLeader(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	first, second := relay(s.Client(t), clock.System()), relay(s.Client(t), clock.System())
	follower := relay(s.Client(t), clock.System())
	full, next := &desk{}, &desk{}
	full.busy.Store(true)
	end := serve(t, first, always, full)
	var leads atomic.Bool
	serve(t, second, leads.Load, next)
	require.NoError(t, follower.Deliver(t.Context(), []byte("one"), true))
	require.NoError(t, follower.Deliver(t.Context(), []byte("two"), true))
	end()
	taken, _ := next.has()
	require.Empty(t, taken, "it does not lead yet")
	leads.Store(true)
	next.await(t, "one", "two")
	taken, _ = full.has()
	require.Empty(t, taken)
	requireEmpty(t, s.Client(t))
}

func TestASinkThatIsFullGetsTheDeliveryAgain(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r, d := relay(s.Client(t), clock.System()), &desk{}
	d.busy.Store(true)
	serve(t, r, always, d)
	require.NoError(t, r.Deliver(t.Context(), []byte("one"), true))
	d.busy.Store(false)
	d.await(t, "one")
}

func TestTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		proven bool
		body   int // of each
		room   int // for as many
	}{
		{"many proven", true, 10, 1024},
		{"large proven", true, 1 << 20, 8},
		{"many others", false, 10, 64},
		{"large others", false, 64 << 10, 8},
		{"a proven one that is too large", true, 1<<20 + 1, 0},
		{"another one that is too large", false, 64<<10 + 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			client := s.Client(t)
			r := relay(client, &running{Clock: clock.System()})
			body := []byte(strings.Repeat("x", c.body))
			for range c.room {
				require.NoError(t, r.Deliver(t.Context(), body, c.proven))
			}
			require.ErrorIs(t, r.Deliver(t.Context(), body, c.proven), hookrelay.ErrFull)
			require.NoError(t, r.Deliver(t.Context(), []byte("y"), !c.proven), "the other kind has room of its own")
			for _, key := range []string{"p:{contoso:hook}:queue", "p:{contoso:hook}:waiting"} {
				left, err := client.Do(t.Context(), client.B().Pttl().Key(key).Build()).AsInt64()
				require.NoError(t, err)
				require.Positive(t, left, key)
				require.LessOrEqual(t, left, hookrelay.Keep.Milliseconds(), key)
			}

			d := &desk{}
			serve(t, r, always, d)
			requireEmpty(t, client)
			taken, _ := d.has()
			require.Len(t, taken, c.room+1)
			require.NoError(t, r.Deliver(t.Context(), body[:min(len(body), 10)], c.proven), "there is room again")
		})
	}
}

func TestStrangersWhoComeTooFastDoNotReachRedis(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := s.Client(t)
	r := relay(client, still{clock.System(), time.Unix(0, 0)})
	for i := range 100 {
		err := r.Deliver(t.Context(), fmt.Append(nil, i), false)
		if i < 10 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, hookrelay.ErrFull)
		}
		r.Validated(t.Context())
	}
	require.NoError(t, r.Deliver(t.Context(), []byte("Graph's"), true))
	n, err := client.Do(t.Context(), client.B().Xlen().Key("p:{contoso:hook}:queue").Build()).AsInt64()
	require.NoError(t, err)
	require.Equal(t, int64(10+5+1), n)
}

func TestWhatHasWaitedTooLongMakesRoom(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := s.Client(t)
	r := relay(client, &running{Clock: clock.System()})
	// As written long ago by one that nobody led after.
	for i := range 64 {
		add := client.B().Xadd().Key("p:{contoso:hook}:queue").Id(fmt.Sprintf("1-%d", i+1)).FieldValue().FieldValue("k", "u").FieldValue("b", "old").Build()
		require.NoError(t, client.Do(t.Context(), add).Error())
	}
	count := client.B().Hset().Key("p:{contoso:hook}:waiting").FieldValue().FieldValue("u", "64").FieldValue("ub", "192").Build()
	require.NoError(t, client.Do(t.Context(), count).Error())
	// Four go for each that comes, until only new ones are left.
	for range 20 {
		require.NoError(t, r.Deliver(t.Context(), []byte("young"), false))
	}
	counts, err := client.Do(t.Context(), client.B().Hmget().Key("p:{contoso:hook}:waiting").Field("u", "ub").Build()).AsStrSlice()
	require.NoError(t, err)
	require.Equal(t, []string{"20", "100"}, counts)
	d := &desk{}
	serve(t, r, always, d)
	d.await(t, slices.Repeat([]string{"young"}, 20)...)
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	follower, leader, d := relay(s.Client(t), clock.System()), relay(s.Client(t), clock.System()), &desk{}
	serve(t, leader, always, d)
	require.NoError(t, follower.Deliver(t.Context(), []byte("one"), true))
	d.await(t, "one")
	requireEmpty(t, s.Client(t))

	s.Freeze()
	asked := time.Now()
	require.Error(t, follower.Deliver(t.Context(), []byte("two"), true))
	follower.Validated(t.Context())
	require.Less(t, time.Since(asked), 3*time.Second, "Graph wants an answer")
	s.Thaw()

	s.Kill()
	require.Error(t, follower.Deliver(t.Context(), []byte("three"), true))
	s.Restart()
	require.Eventually(t, func() bool { return follower.Deliver(t.Context(), []byte("four"), true) == nil }, soon, tick)
	require.Eventually(t, func() bool { taken, _ := d.has(); return slices.Contains(taken, "four") }, soon, tick)
}
