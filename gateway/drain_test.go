package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

func TestADrainReleasesAllWhoWaitSpreadOverItsTime(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		const spread = 20 * time.Second
		clients := make([]*client, 200)
		waiting := make([]*pget, len(clients))
		for i := range clients {
			clients[i] = w.client("me")
			waiting[i] = clients[i].pget(session.Poll{})
		}
		pass(time.Second)
		began := time.Now()
		w.Drain(spread)
		synctest.Wait()
		var quarters [4]int
		for i, p := range waiting {
			<-p.done
			require.NoError(w.t, p.err)
			require.Equal(w.t, session.Package{Ack: clients[i].ack, Rel: session.Next, NextAck: clients[i].ack + 1}, *p.pack)
			after := p.ended.Sub(began)
			require.Positive(w.t, after)
			require.LessOrEqual(w.t, after, spread)
			quarters[min(int(after*4/spread), 3)]++
		}
		for _, n := range quarters {
			require.Greater(w.t, n, 15, "of 200: %v", quarters)
		}
	}, func(s *settings) { s.Limits.ApplicationsPerUser = 1000 })
}

func TestAPGetThatArrivesDuringADrainIsGoneByItsEnd(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		const spread = 20 * time.Second
		began := time.Now()
		w.Drain(spread)
		w.Drain(time.Hour) // counts for nothing
		var late []*pget
		arrivals := []time.Duration{time.Second, 10 * time.Second, 19 * time.Second, 19900 * time.Millisecond, spread, 25 * time.Second}
		for _, at := range arrivals {
			pass(time.Until(began.Add(at)))
			for range 20 {
				late = append(late, w.client("me").pget(session.Poll{}))
			}
		}
		for i, p := range late {
			require.False(w.t, p.parked())
			require.NoError(w.t, p.err)
			require.Equal(w.t, session.Package{Ack: 1, Rel: session.Next, NextAck: 2}, *p.pack)
			require.LessOrEqual(w.t, p.ended.Sub(began), max(spread, arrivals[i/20]))
		}
	}, func(s *settings) { s.Limits.ApplicationsPerUser = 1000 })
}

func TestADrainTakesAlongWhatIsQueued(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		me := w.client("me")
		p := me.pget(session.Poll{Medium: time.Minute})
		me.subscribe("ana")
		synctest.Wait()
		w.Drain(0)
		synctest.Wait()
		require.False(w.t, p.parked())
		require.NoError(w.t, p.err)
		require.Len(w.t, p.pack.Events, 3)
		require.Equal(w.t, session.Next, p.pack.Rel)
	})
}

func TestAPGetThatWaitsForItsTurnInADrainCanStillEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(w *world, me *client, p *pget)
		want func(w *world, err error)
	}{
		{"with its client", func(_ *world, _ *client, p *pget) { p.cancel() }, func(w *world, err error) {
			require.ErrorIs(w.t, err, context.Canceled)
		}},
		{"with the gateway", func(w *world, _ *client, _ *pget) { w.Close() }, func(w *world, err error) { require.NoError(w.t, err) }},
		{"with its application", func(w *world, me *client, _ *pget) {
			require.NoError(w.t, w.DeleteApplication(w.t.Context(), me.Principal, me.app.ID, ""))
			pass(time.Hour)
		}, func(w *world, err error) { requireReason(w.t, gateway.ApplicationNotFound, err) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me", func(w *world) {
				me := w.client("me")
				p := me.pget(session.Poll{})
				w.Drain(time.Hour)
				synctest.Wait()
				c.end(w, me, p)
				require.False(w.t, p.parked())
				c.want(w, p.err)
			})
		})
	}
}
