package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway/session"
)

func made(t *testing.T, publishes bool, inactive time.Duration) *session.Session {
	t.Helper()
	s := session.New(at(0), session.Limits{})
	require.NoError(t, s.MakeAvailable(session.Availability{
		Owner: "me", Publishes: publishes, Inactive: inactive,
		Communication: session.Communication{Modalities: []string{"Messaging"}},
	}, at(0)))
	return s
}

// taken returns the events that are queued.
func taken(t *testing.T, s *session.Session, now time.Time) []string {
	t.Helper()
	v, err := s.Arrive("", session.Poll{Ack: s.Position("")}, now)
	require.NoError(t, err)
	if v.Package == nil {
		v = s.Release("", v.Ticket, now)
	}
	v2, err := s.Arrive("", session.Poll{Ack: v.Package.NextAck}, now) // it is received
	require.NoError(t, err)
	s.Leave("", v2.Ticket, now)
	return words(v.Package.Events)
}

func TestMakingAvailableIsToldInOnePackage(t *testing.T) {
	s := stored(t, made(t, true, 0))
	require.True(t, s.Available())
	require.ErrorIs(t, s.MakeAvailable(session.Availability{Owner: "me"}, at(1)), session.ErrExists)
	require.Equal(t, []string{"Messaging"}, s.Communication().Modalities)
	require.Equal(t, []string{"communication updated", "me updated", "own presence added", "own note added", "own location added"}, taken(t, s, at(1)))

	s = made(t, false, 0)
	require.Equal(t, []string{"communication updated", "me updated", "own location added"}, taken(t, s, at(1)),
		"what cannot be published is no resource")
}

func TestBeforeMakingAvailableThereIsNothingToReport(t *testing.T) {
	s := session.New(at(0), session.Limits{})
	require.False(t, s.Available())
	_, err := s.ReportActivity(at(1))
	require.ErrorIs(t, err, session.ErrLurking)
	require.ErrorIs(t, s.SetLocation("Home", at(1)), session.ErrLurking)
	_, set := s.Location()
	require.False(t, set)
	_, wanted := s.TakeKeepAlive()
	require.False(t, wanted)
	s.DelayKeepAlive(at(100), at(1))
	require.True(t, s.Deadline().IsZero())
}

// keepAlives lets time pass until end and returns the seconds at which a
// keep-alive was wanted; reports are the seconds of reports of activity.
func keepAlives(t *testing.T, s *session.Session, end float64, reports ...float64) []float64 {
	t.Helper()
	var wanted []float64
	for second := 1.0; second <= end; second++ {
		if len(reports) > 0 && reports[0] == second {
			reports = reports[1:]
			now, err := s.ReportActivity(at(second))
			require.NoError(t, err)
			if now {
				wanted = append(wanted, second)
			}
		}
		if due := s.Deadline(); !due.After(at(second)) {
			require.False(t, s.Tick(at(second)))
			if owner, yes := s.TakeKeepAlive(); yes {
				require.Equal(t, "me", owner)
				wanted = append(wanted, second)
			}
			require.True(t, s.Deadline().After(at(second)), "what was done is not due again")
		}
	}
	return wanted
}

func TestKeepAlivesFollowTheReportsOfActivity(t *testing.T) {
	for _, c := range []struct {
		name     string
		inactive time.Duration
		end      float64
		reports  []float64
		want     []float64
	}{
		{"without a report nothing is kept alive", 0, 3000, nil, nil},
		{"a report every four minutes keeps it alive every four minutes", 0, 1000, []float64{240, 480, 720, 960}, []float64{240, 480, 720, 960}},
		{"a report a moment too late keeps it alive at once", 0, 700, []float64{241, 482}, []float64{241, 482}},
		{"frequent reports cost no more", 0, 1000, []float64{60, 120, 180, 239, 300, 360, 420, 479, 500, 719, 900}, []float64{240, 480, 720, 960}},
		{"one early report keeps it alive once", 0, 2000, []float64{10}, []float64{240}},
		{"activity after a pause is told at once", 0, 2000, []float64{1500}, []float64{1500}},
		{"a longer inactiveTimeout keeps it alive that long", 20 * time.Minute, 2500, nil, []float64{240, 480, 720, 960}},
		{"a shorter one than the fade has no effect", time.Minute, 1000, []float64{200}, []float64{240}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, keepAlives(t, stored(t, made(t, true, c.inactive)), c.end, c.reports...))
		})
	}
}

func TestAnotherApplicationsKeepAliveDelaysTheNext(t *testing.T) {
	s := made(t, true, 0)
	_, err := s.ReportActivity(at(200))
	require.NoError(t, err)
	s.DelayKeepAlive(at(290), at(200))
	require.Equal(t, []float64{290}, keepAlives(t, s, 600))
}

func TestWithoutActivityTheApplicationEnds(t *testing.T) {
	s := made(t, true, 0)
	_, err := s.ReportActivity(at(600))
	require.NoError(t, err)
	require.False(t, s.Tick(at(600+3599)))
	require.Equal(t, at(600+3600), s.Deadline())
	s = stored(t, s)
	require.True(t, s.Tick(at(600+3600)))
	_, err = s.Arrive("", session.Poll{Ack: 1}, at(600+3600))
	require.ErrorIs(t, err, session.ErrExpired, "a P-GET does not replace a report")

	lurker := session.New(at(0), session.Limits{})
	require.False(t, lurker.Tick(at(100_000)), "who never was available need not report")
}

func TestAnOwnChangeIsToldAsOnesOwn(t *testing.T) {
	part := func(k session.Kind) *session.Event { return event(k, session.Updated, session.Medium, "me") }
	all := []*session.Event{part(session.ContactPresence), part(session.ContactNote), part(session.ContactLocation), part(session.ContactSupportedModalities)}
	s := made(t, true, 0)
	taken(t, s, at(1))
	s.Notify(at(2), "me", all...)
	require.Equal(t, []string{"own presence updated", "own note updated", "own location updated"}, taken(t, s, at(3)))
	s.Notify(at(4), "somebody", presence("somebody"))
	require.Empty(t, taken(t, s, at(5)))

	require.NoError(t, s.SetLocation("Home", at(6)))
	require.Equal(t, []string{"own location updated"}, taken(t, s, at(7)))
	s = stored(t, s)
	location, set := s.Location()
	require.True(t, set)
	require.Equal(t, "Home", location)
	s.Notify(at(8), "me", part(session.ContactLocation))
	require.Empty(t, taken(t, s, at(9)), "one's own word stands")
	require.NoError(t, s.SetLocation("", at(10)))
	s.Notify(at(11), "me", part(session.ContactLocation))
	require.Equal(t, []string{"own location updated"}, taken(t, s, at(12)))
}

func TestTheOwnAddressIsWatchedOnceWhateverSubscribesToIt(t *testing.T) {
	interest := func(s *session.Session) [2][]string {
		entered, left := s.TakeInterest()
		return [2][]string{entered, left}
	}
	s := made(t, true, 0)
	require.Equal(t, [2][]string{{"me"}, nil}, interest(s))
	require.Equal(t, []string{"me"}, s.Watched())
	require.Empty(t, s.Subscribed())
	_, err := s.Subscribe("s", []string{"me", "you"}, 30*time.Minute, at(1))
	require.NoError(t, err)
	require.Equal(t, [2][]string{{"you"}, nil}, interest(s))
	require.ElementsMatch(t, []string{"me", "you"}, s.Watched())
	taken(t, s, at(2))
	s.Notify(at(3), "me", presence("me"))
	require.Equal(t, []string{"presence me updated", "own presence updated"}, taken(t, s, at(4)))
	require.NoError(t, s.Unsubscribe("s", at(5)))
	require.Equal(t, [2][]string{nil, {"you"}}, interest(s))
	require.Contains(t, taken(t, s, at(6)), "contact me deleted in subscribed")

	late := session.New(at(0), session.Limits{})
	_, err = late.Subscribe("s", []string{"me"}, 30*time.Minute, at(1))
	require.NoError(t, err)
	require.Equal(t, [2][]string{{"me"}, nil}, interest(late))
	require.NoError(t, late.MakeAvailable(session.Availability{Owner: "me"}, at(2)))
	require.Equal(t, [2][]string{nil, nil}, interest(late), "it is watched already")
	require.NoError(t, late.Unsubscribe("s", at(3)))
	require.Equal(t, [2][]string{nil, nil}, interest(late), "and still")
}

func TestAClockThatWasSetBackTakesKeepAlivesWithIt(t *testing.T) {
	s := made(t, true, 0)
	_, err := s.ReportActivity(at(100))
	require.NoError(t, err)
	require.False(t, s.Tick(at(-1000)))
	require.Equal(t, at(-1000+140), s.Deadline())
}
