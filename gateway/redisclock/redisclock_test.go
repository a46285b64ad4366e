package redisclock_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/gateway/redisclock"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

// near is how near the clocks of the tests come: theirs stand still while Redis'
// does not.
const near = time.Second

type fixture struct {
	*testing.T
	client rueidis.Client
}

func start(t *testing.T) *fixture { return &fixture{t, redistest.Start(t).Client(t)} }

func (f *fixture) replica(own clock.Clock) *redisclock.Clock {
	f.Helper()
	c, err := redisclock.New(redisclock.Options{Client: f.client, Clock: own})
	require.NoError(f, err)
	return c
}

// settled is a replica that is there for long.
func (f *fixture) settled(own clock.Clock) *redisclock.Clock {
	f.Helper()
	c := f.replica(own)
	for range 3 {
		f.look(c)
	}
	return c
}

func (f *fixture) look(all ...*redisclock.Clock) {
	f.Helper()
	for _, c := range all {
		require.NoError(f, c.Look(f.Context()))
	}
}

// move moves the clock of Redis: the script knows it by its distance to the rest only.
func (f *fixture) move(by time.Duration) {
	f.Helper()
	require.NoError(f, f.client.Do(f.Context(), f.client.B().Hincrby().Key("ucwagate:{clock}").Field("shift").Increment(by.Microseconds()).Build()).Error())
}

func (f *fixture) requireAt(want time.Time, all ...*redisclock.Clock) {
	f.Helper()
	for i, c := range all {
		require.WithinDuration(f, want, c.Now(), near, "replica %d", i)
	}
}

func TestReplicasWhoseClocksDifferTellOneTime(t *testing.T) {
	f, clk := start(t), storetest.NewClock()
	a, b := f.settled(clk.Ahead(30*time.Second)), f.settled(clk.Ahead(-45*time.Second))
	began := a.Now()
	f.requireAt(time.Now(), a, b)
	for i := range 20 {
		clk.Advance(time.Minute)
		want := began.Add(time.Duration(i+1) * time.Minute)
		f.requireAt(want, a, b)
		f.look(b, a)
		f.requireAt(want, a, b)
	}
}

func TestTheCommonTimeRunsOnWhenTheClockOfRedisMoves(t *testing.T) {
	for name, by := range map[string]time.Duration{"ahead": 20 * time.Second, "back": -20 * time.Second, "far back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			f, clk := start(t), storetest.NewClock()
			a, b := f.settled(clk.Ahead(8*time.Second)), f.settled(clk)
			clk.Advance(10 * time.Second)
			f.look(a)
			want := a.Now()
			f.move(by)
			young := f.replica(clk)
			f.look(young, b, a, young)
			f.requireAt(want, a, b, young)
			require.NoError(t, f.client.Do(t.Context(), f.client.B().Flushall().Build()).Error())
			f.look(young, b, a, young, f.settled(clk))
			f.requireAt(want, a, b, young)
		})
	}
}

func TestAReplicaThatStoodStillFollowsTheOthers(t *testing.T) {
	f, clk, frozen := start(t), storetest.NewClock(), storetest.NewClock()
	a, b := f.settled(frozen), f.settled(clk)
	clk.Advance(time.Minute)
	f.look(b)
	want := b.Now()
	f.look(a, b, a)
	f.requireAt(want, a, b)
}

func TestAReplicaWhoseOwnTimeWasSetFollowsTheOthers(t *testing.T) {
	f, clk, set := start(t), storetest.NewClock(), storetest.NewClock()
	a, b := f.settled(set), f.settled(clk)
	want := b.Now()
	f.look(a, b)
	set.Set(set.Now().Add(-time.Hour)) // without a monotonic reading there is nothing else to count by
	f.look(a, b, a)
	f.requireAt(want, a, b)
}

func TestBeforeTheTimeIsKnownNothingIsSent(t *testing.T) {
	f, clk := start(t), storetest.NewClock()
	c := f.replica(clk.Ahead(time.Hour))
	require.Error(t, c.Unknown())
	client := c.Client()
	set := func(ctx context.Context) []error {
		command := func() rueidis.Completed { return client.B().Incr().Key("k").Build() }
		errs := []error{client.Do(ctx, command()).Error()}
		for _, r := range client.DoMulti(ctx, command(), command()) {
			errs = append(errs, r.Error())
		}
		cached := func() rueidis.Cacheable { return client.B().Get().Key("k").Cache() }
		errs = append(errs, client.DoCache(ctx, cached(), time.Minute).Error())
		return append(errs, client.DoMultiCache(ctx, rueidis.CT(cached(), time.Minute))[0].Error())
	}
	for _, err := range set(t.Context()) {
		require.ErrorContains(t, err, "the common time is not known yet")
	}
	n, err := f.client.Do(t.Context(), f.client.B().Dbsize().Build()).AsInt64()
	require.NoError(t, err)
	require.Zero(t, n)
	f.look(c)
	for _, err := range set(t.Context()) {
		require.NoError(t, err)
	}
	require.NoError(t, c.Unknown())
}

func TestTheTimeIsLookedUpByItself(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	server.Kill()
	c, err := redisclock.New(redisclock.Options{Client: client, Prefix: "p", Clock: clock.System(), Timeout: 200 * time.Millisecond})
	require.NoError(t, err)
	c.Start()
	defer c.Close()
	require.Error(t, c.Unknown())
	server.Restart()
	require.Eventually(t, func() bool { return c.Unknown() == nil }, 10*time.Second, 5*time.Millisecond)
	require.WithinDuration(t, time.Now(), c.Now(), near)
}
