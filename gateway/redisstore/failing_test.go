package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/redisstore"
	"ucwagate/gateway/session"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/redistest"
)

// failing is a client to whom Redis does not answer while more than one command
// is sent at once.
type failing struct {
	rueidis.Client
	multi atomic.Bool
}

func (f *failing) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	if !f.multi.Load() {
		return f.Client.DoMulti(ctx, multi...)
	}
	return slices.Repeat([]rueidis.RedisResult{rueidis.NewErrorResult(errors.New("the connection is lost"))}, len(multi))
}

func TestAnAddressThatCouldNotBeReleasedIsReleasedLater(t *testing.T) {
	client := &failing{Client: redistest.Start(t).Client(t)}
	clk := storetest.NewClock()
	s := openImpatient(t, client, clk)
	h, heard := hooks()
	s.Open(h)
	create(t, s, "1")
	require.NoError(t, subscribe(t.Context(), s, clk, "1", ana))
	require.Equal(t, ana+" true", heard.next(t))
	client.multi.Store(true)
	require.ErrorIs(t, s.Update(t.Context(), "1", func(sess *session.Session) error {
		_, err := sess.Subscribe("t", []string{"bo@contoso.com"}, 10*time.Minute, clk.Now())
		return err
	}), gateway.ErrUnavailable, "nobody may watch who is not in the index")
	require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) error { return sess.Unsubscribe("s", clk.Now()) }))
	client.multi.Store(false)
	require.Empty(t, heard.events)
	clk.Advance(time.Minute)
	require.Equal(t, ana+" false", heard.next(t))
}

// stepping is a clock that is set back after it was read once.
type stepping struct {
	*storetest.Clock
	ahead atomic.Int64
}

func (c *stepping) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.ahead.Swap(0))) }

func TestAClockThatIsSetBackWhileAnApplicationIsReadKeepsNobody(t *testing.T) {
	client := redistest.Start(t).Client(t)
	clk := storetest.NewClock()
	a, late := openImpatient(t, client, clk), &stepping{Clock: clk}
	b, err := redisstore.New(redisstore.Options{Client: client, Prefix: "p", Clock: late, Idle: limits.Idle})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	create(t, a, "1")
	clk.Advance(limits.Idle - time.Second)
	late.ahead.Store(int64(2 * time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = b.Use(ctx, "1")
	require.NoError(t, err, "it has a second left")
}
