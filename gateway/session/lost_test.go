package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway/session"
)

// parkedAt returns a session with a subscription, in whose channel "" a P-GET of
// priority 1 waits since start, for whose answer the default time is allowed.
func parkedAt(t *testing.T) (*session.Session, session.Verdict) {
	t.Helper()
	s := session.New(start, session.Limits{})
	_, err := s.Subscribe("s", []string{"ana"}, 30*time.Minute, start)
	require.NoError(t, err)
	drain(t, s, start)
	v, err := s.Arrive("", session.Poll{Ack: s.Position(""), Priority: 1, Name: 7}, start)
	require.NoError(t, err)
	require.NotZero(t, v.Ticket)
	return s, v
}

// overdueAt is when a P-GET of start is not believed in any more: a minute after
// its answer was due.
const overdueAt = 180 + 60

func TestAPGetThatNobodyHoldsKeepsNobodyOut(t *testing.T) {
	s, _ := parkedAt(t)
	require.Equal(t, at(overdueAt), s.Deadline())
	ack := s.Position("")
	require.Equal(t, session.Verdict{Replaced: true}, arrive(t, s, ack, at(overdueAt-1)))
	s = stored(t, s)
	v := arrive(t, s, ack, at(overdueAt))
	require.NotZero(t, v.Ticket, "a lower priority is no reason any more")
	require.Equal(t, at(overdueAt+180), v.Until)
	require.Equal(t, []session.Wake{{At: at(overdueAt)}}, s.TakeWakes(at(overdueAt)), "whoever holds the other nevertheless has to learn it")
	require.Len(t, s.Subscriptions(at(1000)), 1)
}

func TestAPGetThatNobodyHoldsKeepsNothingAlive(t *testing.T) {
	t.Run("from its end on there is silence", func(t *testing.T) {
		s, _ := parkedAt(t)
		require.False(t, s.Tick(at(overdueAt)))
		s = stored(t, s)
		require.Equal(t, at(180+600), s.Deadline())
		require.False(t, s.Tick(at(180+599)))
		require.Equal(t, []string{"ana"}, s.Subscribed())
		require.False(t, s.Tick(at(180+600)))
		require.Empty(t, s.Subscribed())
		require.Equal(t, at(180+900), s.Deadline())
		p := arrive(t, stored(t, s), 2, at(180+899)).Package
		require.Equal(t, session.Resume, p.Rel)
		require.True(t, s.Tick(at(180+900)))
		_, err := s.Arrive("", session.Poll{Ack: 2}, at(180+900))
		require.ErrorIs(t, err, session.ErrExpired)
	})
	t.Run("a client that is told to give way to it is no silent one", func(t *testing.T) {
		s, _ := parkedAt(t)
		require.True(t, arrive(t, s, 2, at(200)).Replaced)
		require.False(t, s.Tick(at(overdueAt)))
		require.False(t, s.Tick(at(200+599)))
		require.Equal(t, []string{"ana"}, s.Subscribed())
		require.False(t, s.Tick(at(200+600)))
		require.Empty(t, s.Subscribed())
		require.True(t, s.Tick(at(200+900)))
	})
	t.Run("its channel makes room for another", func(t *testing.T) {
		s := session.New(start, session.Limits{Channels: 1})
		_, err := s.OpenChannel("a", start)
		require.NoError(t, err)
		_, err = s.Arrive("a", session.Poll{Ack: 1}, start)
		require.NoError(t, err)
		_, err = s.OpenChannel("b", at(overdueAt-1))
		require.ErrorIs(t, err, session.ErrTooMany)
		_, err = s.OpenChannel("b", at(overdueAt))
		require.NoError(t, err)
	})
}

func TestAPGetThatIsHeldAfterAllIsAnswered(t *testing.T) {
	for name, before := range map[string]func(*session.Session){
		"when nobody has noticed": func(*session.Session) {},
		"when it passed for lost": func(s *session.Session) { require.False(t, s.Tick(at(7200))) },
	} {
		t.Run(name, func(t *testing.T) {
			s, v := parkedAt(t)
			before(s)
			p := s.Look("", v.Ticket, at(7200)).Package
			require.NotNil(t, p, "nobody could be asked for two hours")
			require.Equal(t, session.Next, p.Rel)
			require.False(t, s.Tick(at(7200+899)))
			require.True(t, s.Tick(at(7200+900)), "the silence begins with the answer")
		})
	}
}

func TestTheTimeForWhichAPGetCouldNotBeLetInIsNoSilence(t *testing.T) {
	begin := func(t *testing.T) *session.Session {
		s, v := parkedAt(t)
		s.Leave("", v.Ticket, start)
		return s
	}
	late := func(s *session.Session, came float64) (session.Verdict, error) {
		return s.Arrive("", session.Poll{Ack: 2, Since: at(came)}, at(came+1200))
	}
	t.Run("it came in time", func(t *testing.T) {
		s := begin(t)
		v, err := late(s, 599)
		require.NoError(t, err)
		require.NotZero(t, v.Ticket)
		require.Len(t, s.Subscriptions(at(599+1200)), 1)
	})
	t.Run("it came after the soft reset", func(t *testing.T) {
		s := begin(t)
		v, err := late(s, 600)
		require.NoError(t, err)
		require.Equal(t, session.Resume, v.Package.Rel)
		require.Empty(t, s.Subscribed())
	})
	t.Run("it came too late", func(t *testing.T) {
		_, err := late(begin(t), 900)
		require.ErrorIs(t, err, session.ErrExpired)
	})
	t.Run("it came before the last one left", func(t *testing.T) {
		s := begin(t)
		v, err := late(s, -5)
		require.NoError(t, err)
		require.NotZero(t, v.Ticket)
	})
}

func TestAPGetIsWithdrawnByItsName(t *testing.T) {
	s, v := parkedAt(t)
	s.Withdraw("", 0, at(1))
	s.Withdraw("", 8, at(1))
	s.Withdraw("other", 7, at(1))
	require.Equal(t, v.Ticket, s.Look("", v.Ticket, at(1)).Ticket)
	s = stored(t, s)
	s.Withdraw("", 7, at(2))
	require.True(t, s.Look("", v.Ticket, at(2)).Replaced)
	require.False(t, s.Tick(at(2+899)))
	require.True(t, s.Tick(at(2+900)))
}
