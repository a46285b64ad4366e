package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway/session"
)

func TestAnEngineSeesWhoWaitsAndForHowLongEventsAreHeldBack(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	s := session.New(now, session.Limits{})
	require.Empty(t, s.Waiting())
	v, err := s.Arrive("", session.Poll{Ack: 1, Medium: 7 * time.Second, Low: 20 * time.Second}, now)
	require.NoError(t, err)
	require.Equal(t, []session.Waiting{{Until: v.Until, Medium: 7 * time.Second, Low: 20 * time.Second}}, s.Waiting())
	s.Enqueue(now, &session.Event{Kind: session.ContactPresence, Type: session.Updated, Class: session.Medium, Key: "a"})
	require.Equal(t, now.Add(7*time.Second), s.Waiting()[0].Until)
	s.Leave("", v.Ticket, now)
	require.Empty(t, s.Waiting())
}

func TestThePackageThatWasSentIsFoundUntilItsReceiptIsProved(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	s := session.New(now, session.Limits{})
	v, err := s.Arrive("", session.Poll{Ack: 1}, now)
	require.NoError(t, err)
	require.Nil(t, s.Sent("", 1))
	p := s.Release("", v.Ticket, now).Package
	require.Equal(t, p, s.Sent("", 1))
	require.Nil(t, s.Sent("", 2))
	require.Nil(t, s.Sent("other", 1))
	_, err = s.Arrive("", session.Poll{Ack: 2}, now)
	require.NoError(t, err)
	require.Nil(t, s.Sent("", 1))
}

func TestEventsThatWereLostLeadToAResync(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	s := session.New(now, session.Limits{})
	v, err := s.Arrive("", session.Poll{Ack: 1}, now)
	require.NoError(t, err)
	s.Overflow(now)
	require.Equal(t, []session.Wake{{At: now}}, s.TakeWakes(now))
	p := s.Look("", v.Ticket, now).Package
	require.Equal(t, session.Resync, p.Rel)
	require.True(t, p.Overflow)
	require.Equal(t, int64(2), p.NextAck)
}

func TestAStateIsTheSameWhateverTimeItSawLast(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	s := session.New(now, session.Limits{})
	_, err := s.Subscribe("s", []string{"a@contoso.com", `"seen":1`}, 30*time.Minute, now)
	require.NoError(t, err)
	s.TakeInterest()
	stored := func() []byte {
		b, err := s.MarshalBinary()
		require.NoError(t, err)
		return b
	}
	before := stored()
	s.Subscriptions(now.Add(3 * time.Second))
	require.NotEqual(t, string(before), string(stored()))
	require.True(t, session.SameState(before, stored()))
	require.NoError(t, s.RemoveMember("s", "a@contoso.com", now))
	s.TakeInterest()
	require.False(t, session.SameState(before, stored()))
	require.False(t, session.SameState(nil, nil))
}
