package redisstore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/redisclock"
	"ucwagate/gateway/redisstore"
	"ucwagate/gateway/session"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redistest"
)

// skewed is a replica on a machine with a clock of its own.
type skewed struct {
	*redisstore.Store
	clk *redisclock.Clock
}

func openSkewed(t *testing.T, client rueidis.Client, own clock.Clock) *skewed {
	t.Helper()
	c, err := redisclock.New(redisclock.Options{Client: client, Prefix: "p", Clock: own})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, c.Look(t.Context()))
	}
	s, err := redisstore.New(redisstore.Options{Client: c.Client(), Prefix: "p", Clock: c, Idle: limits.Idle})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.Open(gateway.Hooks{})
	return &skewed{s, c}
}

// with runs f on the session of application "1".
func (s *skewed) with(t *testing.T, f func(sess *session.Session, now time.Time) error) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) error { return f(sess, s.clk.Now()) }))
}

// TestNothingEndsEarlierOrLaterWhereTheClocksOfReplicasDiffer sends requests now
// here, now there, while the clock of Redis is set as well.
func TestNothingEndsEarlierOrLaterWhereTheClocksOfReplicasDiffer(t *testing.T) {
	client := redistest.Start(t).Client(t)
	for name, ahead := range map[string]time.Duration{"8 s": 8 * time.Second, "30 s": 30 * time.Second, "10 min": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, client.Do(t.Context(), client.B().Flushall().Build()).Error())
			clk, draw := storetest.NewClock(), rand.New(rand.NewPCG(1, 2))
			replicas := []*skewed{openSkewed(t, client, clk), openSkewed(t, client, clk.Ahead(ahead))}
			any := func() *skewed { return replicas[draw.IntN(2)] }
			create(t, replicas[0], "1")
			began := replicas[0].clk.Now()
			near := func(want time.Duration, got time.Time, what string) {
				t.Helper()
				require.WithinDuration(t, began.Add(want), got, 2*time.Second, what)
			}
			any().with(t, func(sess *session.Session, now time.Time) error {
				if err := sess.MakeAvailable(session.Availability{Owner: ana}, now); err != nil {
					return err
				}
				_, err := sess.Subscribe("s", []string{ana}, 30*time.Minute, now)
				return err
			})
			until, taken, err := any().Claim(t.Context(), "k", 30*time.Minute)
			require.NoError(t, err)
			require.True(t, taken)
			near(30*time.Minute, until, "a claim")
			v := park(t, any())
			for passed := time.Duration(0); passed < 29*time.Minute; passed += 10 * time.Second {
				if passed%(3*time.Minute) == 0 && passed > 0 {
					require.NoError(t, client.Do(t.Context(), client.B().Hincrby().Key("p:{clock}").Field("shift").Increment(draw.Int64N(40e6)-20e6).Build()).Error())
					require.NoError(t, any().clk.Look(t.Context()))
				}
				near(passed, any().clk.Now(), "now")
				any().with(t, func(sess *session.Session, now time.Time) error {
					if _, err := sess.ReportActivity(now); err != nil { // which is kept
						return err
					}
					sub, err := sess.Subscription("s", now)
					near(30*time.Minute, sub.Expires, "a subscription")
					return err
				})
				if v.Until.Before(any().clk.Now()) {
					v = park(t, any())
					near(passed+session.DefaultTimeout, v.Until, "a P-GET")
				}
				clk.Advance(10 * time.Second)
			}
			clk.Advance(time.Minute + 3*time.Second)
			any().with(t, func(sess *session.Session, now time.Time) error {
				require.Empty(t, sess.Subscriptions(now))
				return nil
			})
			_, taken, err = any().Claim(t.Context(), "k", time.Minute)
			require.NoError(t, err)
			require.True(t, taken)
		})
	}
}

func TestAReplicaThatStoodStillEndsNothingEarlier(t *testing.T) {
	client := redistest.Start(t).Client(t)
	clk, frozen := storetest.NewClock(), storetest.NewClock()
	late, s := openSkewed(t, client, frozen), openSkewed(t, client, clk)
	create(t, s, "1")
	var expires time.Time
	for passed := range 20 {
		for _, r := range []*skewed{s, late} {
			r.with(t, func(sess *session.Session, now time.Time) error {
				if passed == 0 {
					_, _ = sess.Subscribe("s", []string{ana}, 30*time.Minute, now) // the second time it is there
				}
				sess.SetCommunication(session.Communication{PassThrough: fmt.Sprint(passed, r == late)}, now) // something to keep
				sub, err := sess.Subscription("s", now)
				if expires.IsZero() {
					expires = sub.Expires
				}
				require.Equal(t, expires, sub.Expires)
				return err
			})
		}
		clk.Advance(time.Minute)
	}
	require.Greater(t, s.clk.Now().Sub(late.clk.Now()), 15*time.Minute)
	require.NoError(t, s.clk.Look(t.Context()))
	require.NoError(t, late.clk.Look(t.Context()))
	require.WithinDuration(t, s.clk.Now(), late.clk.Now(), time.Second)
}

// park sends P-GETs until one has nothing to fetch.
func park(t *testing.T, s *skewed) (v session.Verdict) {
	t.Helper()
	s.with(t, func(sess *session.Session, now time.Time) error {
		ack := sess.Position("")
		for {
			var err error
			if v, err = sess.Arrive("", session.Poll{Ack: ack}, now); err != nil {
				return err
			}
			if v.Package == nil && v.Until.Before(now.Add(time.Minute)) {
				v = sess.Release("", v.Ticket, now)
			}
			if v.Package == nil {
				return nil
			}
			ack = v.Package.NextAck
		}
	})
	return v
}
