package gateway_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

// slowly is a store that takes its time to tell who watches of a change.
type slowly struct {
	gateway.Store
	takes time.Duration
}

func (s *slowly) Publish(ctx context.Context, address string, events ...*session.Event) error {
	pass(s.takes)
	return s.Store.Publish(ctx, address, events...)
}

func TestTheGatewayTellsHowLateAPGetIsWoken(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration // until those who watch are told
		late  time.Duration
	}{
		{"not at all while the client wants to wait", 3 * time.Second, 0},
		{"by what is beyond that", 7 * time.Second, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told []time.Duration
			store := &slowly{}
			inBubble(t, "me ana", func(w *world) {
				me := w.client("me")
				me.subscribe("ana")
				me.settle()
				told, store.takes = nil, c.takes
				p := me.pget(session.Poll{})
				go w.source.say("Busy", "ana")
				<-p.done
				require.NoError(w.t, p.err)
				require.Equal(w.t, []string{"contactPresence updated ana"}, said(p.pack))
				require.Equal(w.t, []time.Duration{c.late}, told)

				require.Equal(w.t, p.pack, me.fetch(session.Poll{Ack: p.pack.Ack}), "the same package once more")
				require.Empty(w.t, me.next(), "nothing, when the time-out ends")
				require.Len(w.t, told, 1)
			}, func(s *settings) {
				s.OnWake = func(late time.Duration) { told = append(told, late) }
				s.wrap = func(inner gateway.Store) gateway.Store { store.Store = inner; return store }
			})
		})
	}
}

// ahead is a clock that shows a later time than the system's.
type ahead struct {
	clock.Clock
	by time.Duration
}

func (a ahead) Now() time.Time { return a.Clock.Now().Add(a.by) }

func TestAChangeIsAsOldAsItsSourceSaysWhateverClockTimesTheSessions(t *testing.T) {
	for _, by := range []time.Duration{0, time.Minute, -time.Minute} {
		t.Run(by.String(), func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				me := w.client("me")
				me.subscribe("ana")
				me.settle()
				w.source.age = 3 * time.Second
				p, began := me.pget(session.Poll{}), time.Now()
				w.source.say("Busy", "ana")
				<-p.done
				require.NoError(w.t, p.err)
				require.Equal(w.t, 2*time.Second, p.ended.Sub(began), "of the five for which it is held back")
			}, func(s *settings) { s.Clock, s.SourceClock = ahead{clock.System(), by}, clock.System() })
		})
	}
}
