package redisshare

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/redistest"
	"ucwagate/mapping"
)

func reading(id uuid.UUID, availability string, age time.Duration) graphsrc.Told {
	return graphsrc.Told{Changed: true, SharedReading: graphsrc.SharedReading{
		ID: id, ReadAt: time.Now().Add(-age), Words: mapping.Presence{Availability: availability, Activity: availability},
	}}
}

// TestRecordsSurviveTheirPeriod tells what leaves a record as it is, together
// with what does not, after a period has ended.
func TestRecordsSurviveTheirPeriod(t *testing.T) {
	const period = time.Second
	server := redistest.Start(t)
	for name, old := range map[string]string{"the same words, read earlier": "Available", "other words, read earlier": "Busy"} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Options{Client: server.Client(t), Tenant: uuid.NewString()})
			require.NoError(t, err)
			s.period = ms(period) // an hour at least, by any option
			stays, moves := uuid.New(), uuid.New()
			time.Sleep(time.Until(time.Now().Truncate(period).Add(period))) // Redis' clock is this machine's
			_, err = s.Tell(t.Context(), []graphsrc.Told{reading(stays, "Available", 0), reading(moves, "Available", 0)})
			require.NoError(t, err)
			time.Sleep(period)
			_, err = s.Tell(t.Context(), []graphsrc.Told{reading(stays, old, time.Minute), reading(moves, "Busy", 0)})
			require.NoError(t, err)
			records, err := s.Recall(t.Context(), []uuid.UUID{stays, moves})
			require.NoError(t, err)
			require.Len(t, records, 2)
			require.Equal(t, "Available", records[0].Words.Availability)
			require.Equal(t, "Busy", records[1].Words.Availability)
		})
	}
}

// TestTheStreamHoldsWhatIsNotReportedAndNotMuchMore tells whole batches.
func TestTheStreamHoldsWhatIsNotReportedAndNotMuchMore(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	s, err := New(Options{Client: client, Tenant: "contoso", Keep: time.Millisecond})
	require.NoError(t, err)
	batch := make([]graphsrc.Told, graphsrc.ShareBatch)
	for i := range batch {
		batch[i] = reading(uuid.New(), "Available", 0)
	}
	tell := func(n int) (entries int64) {
		for range n {
			for i := range batch {
				batch[i].ReadAt = time.Now()
			}
			_, err := s.Tell(t.Context(), batch)
			require.NoError(t, err)
		}
		entries, err := client.Do(t.Context(), client.B().Xlen().Key(s.keys[2]).Build()).AsInt64()
		require.NoError(t, err)
		return entries
	}
	require.EqualValues(t, 20, tell(20), "nobody has reported")
	st, err := s.where(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Do(t.Context(), client.B().Hset().Key(s.keys[1]).FieldValue().FieldValue("mark", st.end.String()).Build()).Error())
	require.Less(t, tell(5), int64(10))
}
