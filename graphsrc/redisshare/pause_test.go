package redisshare_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redisshare"
	"ucwagate/graphsrc/redistest"
	"ucwagate/graphsrc/sharetest"
)

// stoppable is the clock of a process that is stopped for a while: nothing is
// called back meanwhile, and the time has passed when it goes on.
type stoppable struct {
	clock.Clock
	mu    sync.Mutex
	stop  bool
	waits []func()
}

func (c *stoppable) AfterFunc(d time.Duration, f func()) clock.Timer {
	return c.Clock.AfterFunc(d, func() {
		c.mu.Lock()
		if c.stop {
			c.waits = append(c.waits, f)
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		f()
	})
}

func (c *stoppable) set(stop bool) {
	c.mu.Lock()
	c.stop = stop
	waits := c.waits
	c.waits = nil
	c.mu.Unlock()
	for _, f := range waits {
		f()
	}
}

// stuck is a member whose reporting takes as long as the test wants.
type stuck struct {
	sharetest.Recorder
	entered, goOn chan struct{}
}

func (s *stuck) Deliver(ctx context.Context, changes []graphsrc.SharedChange) ([]graphsrc.SharedChange, error) {
	s.entered <- struct{}{}
	select {
	case <-s.goOn:
	case <-ctx.Done():
		return changes, ctx.Err()
	}
	return s.Recorder.Deliver(ctx, changes)
}

func TestWhoeverWasStoppedDoesNotActInALostTerm(t *testing.T) {
	server := redistest.Start(t)
	clk := &stoppable{Clock: clock.System()}
	a := share(t, server.Option(), "contoso", func(o *redisshare.Options) { o.Clock = clk })
	b := share(t, server.Option(), "contoso", nil)
	first, second := &stuck{entered: make(chan struct{}, 100), goOn: make(chan struct{})}, &sharetest.Recorder{}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() { a.Run(ctx, first) })
	eventually(t, func() bool { return a.Role() == graphsrc.Leading }, "the first leads")
	wg.Go(func() { b.Run(ctx, second) })
	eventually(t, func() bool { return second.Resyncs() > 0 }, "the second follows")

	id := uuid.New()
	say := func(s *redisshare.Share, words string) {
		r := graphsrc.Told{SharedReading: graphsrc.SharedReading{ID: id, ReadAt: time.Now()}, Changed: true}
		r.Words.Availability = words
		_, err := s.Tell(t.Context(), []graphsrc.Told{r})
		require.NoError(t, err)
	}
	say(b, "Available")
	say(b, "Busy")
	<-first.entered
	clk.set(true) // in the middle of reporting the first of them
	eventually(t, func() bool { return b.Role() == graphsrc.Leading }, "the second leads")
	require.NotEqual(t, graphsrc.Leading, a.Role())
	eventually(t, func() bool { return len(second.Delivered()) == 2 }, "it reports both")
	close(first.goOn)
	clk.set(false)
	say(b, "Away")
	eventually(t, func() bool { return len(second.Delivered()) == 3 }, "it goes on")
	got := first.Delivered()
	require.Len(t, got, 1, "what it was about to report, and no more")
	require.Equal(t, second.Delivered()[0].Revision, got[0].Revision, "which can be told")
}

func TestWhoeverLedDoesNotFollowBeforeItIsKnownWhoLeads(t *testing.T) {
	server := redistest.Start(t)
	s := share(t, server.Option(), "contoso", nil)
	member := &sharetest.Recorder{}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() { s.Run(ctx, member) })
	eventually(t, func() bool { return s.Role() == graphsrc.Leading }, "it leads")
	server.Freeze()
	eventually(t, func() bool {
		role := s.Role()
		require.NotEqual(t, graphsrc.Following, role)
		return role == graphsrc.Alone
	}, "it is alone")
	server.Thaw()
	eventually(t, func() bool { return s.Role() == graphsrc.Leading }, "it leads again")
}

func TestWhoeverWasStoppedAsksForTheRecords(t *testing.T) {
	server := redistest.Start(t)
	clk := &stoppable{Clock: clock.System()}
	s := share(t, server.Option(), "contoso", func(o *redisshare.Options) { o.Clock = clk })
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() { s.Run(ctx, &sharetest.Recorder{}) })
	eventually(t, func() bool { return s.Role() == graphsrc.Leading }, "it leads")
	_, err := s.Tell(t.Context(), []graphsrc.Told{{SharedReading: graphsrc.SharedReading{ID: uuid.UUID{1}, ReadAt: time.Now()}, Changed: true}})
	require.NoError(t, err)

	clk.set(true)
	eventually(t, func() bool { return s.Role() == graphsrc.Alone }, "time has passed")
	require.False(t, s.Hears())
	records, err := s.Recall(t.Context(), []uuid.UUID{{1}})
	require.NoError(t, err)
	require.Len(t, records, 1)
	clk.set(false)

	eventually(t, func() bool { return s.Role() == graphsrc.Leading }, "it leads again")
	server.Freeze()
	eventually(t, func() bool { return s.Role() == graphsrc.Alone }, "it does not know who leads")
	eventually(t, func() bool { // once a heartbeat is not answered
		_, err = s.Recall(t.Context(), []uuid.UUID{{1}})
		return err != nil && !errors.Is(err, context.DeadlineExceeded)
	}, "nobody waits for somebody who is known to be silent")
	server.Thaw()
}
