package redisstore_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/redistest"
)

// parkAt lets a P-GET wait for what comes next at the default channel.
func parkAt(t *testing.T, s gateway.Store, clk *storetest.Clock, id string) gateway.Parked {
	t.Helper()
	p := s.Park(id, "")
	t.Cleanup(p.Close)
	var v session.Verdict
	require.NoError(t, s.Update(t.Context(), id, func(sess *session.Session) (err error) {
		v, err = sess.Arrive("", session.Poll{Ack: sess.Position("")}, clk.Now())
		if err == nil && v.Package == nil {
			v = sess.Release("", v.Ticket, clk.Now())
		}
		if err == nil {
			v, err = sess.Arrive("", session.Poll{Ack: v.Package.NextAck}, clk.Now())
		}
		return err
	}))
	require.NotZero(t, v.Ticket)
	p.Until(v.Until)
	for len(p.Wake()) > 0 {
		<-p.Wake()
	}
	return p
}

func woken(p gateway.Parked) func() bool {
	return func() bool { return len(p.Wake()) > 0 }
}

// pushes says whether a command leaves an event for an application.
func pushes(words []string, id string) bool {
	return runs(words, "wait:"+id, "5") && runs(words, "due", "5")
}

// touches says whether a command asks whether an application is live.
func touches(words []string) bool { return runs(words, "idle", "6") }

// waits opens a store on which the P-GETs of applications wait that watch ana.
func waits(t *testing.T, ids ...string) (*wire, *storetest.Clock, gateway.Store, []gateway.Parked) {
	t.Helper()
	client := &wire{Client: redistest.Start(t).Client(t)}
	clk := storetest.NewClock()
	s := openImpatient(t, client, clk)
	h, heard := hooks()
	s.Open(h)
	var list []gateway.Parked
	for i, id := range ids {
		create(t, s, id)
		require.NoError(t, subscribe(t.Context(), s, clk, id, ana))
		if i == 0 {
			heard.next(t) // so it hears
		}
		_, err := s.Use(t.Context(), id) // nobody is to be woken because Redis has to be asked for it
		require.NoError(t, err)
		list = append(list, parkAt(t, s, clk, id))
	}
	return client, clk, s, list
}

func TestAPGetLooksAgainAfterTheAnswerThatWakesItWasLost(t *testing.T) {
	for name, c := range map[string]struct {
		lost func([]string) bool
		do   func(*testing.T, gateway.Store, *storetest.Clock) error
	}{
		"of an event": {
			lost: func(words []string) bool { return pushes(words, "1") },
			do: func(t *testing.T, s gateway.Store, _ *storetest.Clock) error {
				return s.Publish(t.Context(), ana, event("1-1"))
			},
		},
		"of a change of the session": {
			lost: commits,
			do: func(t *testing.T, s gateway.Store, clk *storetest.Clock) error {
				return s.Update(t.Context(), "1", func(sess *session.Session) error {
					_, err := sess.Subscribe("t", []string{bo}, 30*time.Minute, clk.Now())
					return err
				})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, clk, s, parked := waits(t, "1")
			var asked atomic.Int64
			client.happens(func(words []string) mishap {
				if !touches(words) {
					return mishap{lost: c.lost(words)}
				}
				return mishap{lost: true, after: func() { asked.Add(1) }}
			})
			require.ErrorIs(t, c.do(t, s, clk), gateway.ErrUnavailable)
			eventually(t, "Redis is asked for it", func() bool { return asked.Load() >= 2 })
			require.False(t, woken(parked[0])(), "while Redis does not answer there is nothing to see")
			client.happens(nil)
			eventually(t, "the P-GET looks", woken(parked[0]))
		})
	}
}

func TestAnEventThatComesAgainSinceAnAnswerWasLostWakesInTime(t *testing.T) {
	client, clk, s, parked := waits(t, "1")
	lost := true
	client.happens(func(words []string) mishap {
		return mishap{lost: lost && pushes(words, "1") || touches(words)}
	})
	require.ErrorIs(t, s.Publish(t.Context(), ana, event("1-1")), gateway.ErrUnavailable)
	client.happens(func(words []string) mishap { return mishap{lost: touches(words)} })
	clk.Advance(time.Second)
	require.NoError(t, s.Publish(t.Context(), ana, event("1-1")))
	clk.Advance(3 * time.Second)
	require.False(t, woken(parked[0])())
	clk.Advance(time.Second)
	require.True(t, woken(parked[0])(), "five seconds after it was known first")
	client.happens(nil)
}

func TestAnEventReachesThoseWhosePartOfRedisAnswers(t *testing.T) {
	client, clk, s, parked := waits(t, "1", "2")
	client.happens(func(words []string) mishap { return mishap{lost: pushes(words, "1") || touches(words)} })
	require.ErrorIs(t, s.Publish(t.Context(), ana, event("1-1")), gateway.ErrUnavailable, "it is to come again")
	clk.Advance(5 * time.Second)
	require.False(t, woken(parked[0])())
	require.True(t, woken(parked[1])())
	client.happens(nil)
	eventually(t, "the other looks too", woken(parked[0]))
}
