package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

const ana = "ana@contoso.com"

var limits = storetest.Limits{Idle: time.Hour, Tombstone: time.Hour, Max: 1000}

// impatient is a client that notices soon that a server does not answer.
func impatient(t *testing.T, server *redistest.Server) rueidis.Client {
	t.Helper()
	o := server.Option()
	o.ConnWriteTimeout = 300 * time.Millisecond
	o.Dialer.Timeout = 300 * time.Millisecond
	o.Dialer.KeepAlive = 100 * time.Millisecond
	c, err := rueidis.NewClient(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func openImpatient(t *testing.T, client rueidis.Client, clk *storetest.Clock) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(redisstore.Options{Client: client, Prefix: "p", Clock: clk, Timeout: 300 * time.Millisecond, Idle: limits.Idle})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func create(t *testing.T, s gateway.Store, id string) {
	t.Helper()
	_, created, err := s.Create(t.Context(), gateway.Application{ID: id, Owner: "owner" + id + "@contoso.com", EndpointID: "e"}, 10)
	require.NoError(t, err)
	require.True(t, created)
}

func subscribe(ctx context.Context, s gateway.Store, clk *storetest.Clock, id string, addresses ...string) error {
	return s.Update(ctx, id, func(sess *session.Session) error {
		if len(sess.Subscriptions(clk.Now())) > 0 {
			return nil
		}
		_, err := sess.Subscribe("s", addresses, 30*time.Minute, clk.Now())
		return err
	})
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, 10*time.Second, 5*time.Millisecond, what)
}

// told is what a hook was told.
type told struct{ events chan string }

func hooks() (gateway.Hooks, *told) {
	w := &told{events: make(chan string, 1000)}
	return gateway.Hooks{Interest: func(address string, watched bool) { w.events <- fmt.Sprint(address, " ", watched) }}, w
}

func (w *told) next(t *testing.T) string {
	t.Helper()
	select {
	case e := <-w.events:
		return e
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the hook was told nothing")
		return ""
	}
}

func TestWhileRedisIsFrozenKnownApplicationsAreServedAndOthersAreNot(t *testing.T) {
	server := redistest.Start(t)
	clk := storetest.NewClock()
	s := openImpatient(t, impatient(t, server), clk)
	h, heard := hooks()
	s.Open(h)
	create(t, s, "1")
	require.NoError(t, subscribe(t.Context(), s, clk, "1", ana))
	require.Equal(t, ana+" true", heard.next(t))
	p := s.Park("1", "")
	defer p.Close()
	_, err := s.Use(t.Context(), "1") // it may have been created before the store could hear of its end
	require.NoError(t, err)

	server.Freeze()
	_, err = s.Use(t.Context(), "1")
	require.NoError(t, err, "it was there a moment ago")
	_, err = s.Use(t.Context(), "2")
	require.ErrorIs(t, err, gateway.ErrUnavailable)
	require.ErrorIs(t, s.Update(t.Context(), "1", func(*session.Session) error { return nil }), gateway.ErrUnavailable)
	require.ErrorIs(t, s.Publish(t.Context(), ana, event("")), gateway.ErrUnavailable)
	_, _, err = s.Create(t.Context(), gateway.Application{ID: "3", Owner: ana, EndpointID: "e"}, 10)
	require.ErrorIs(t, err, gateway.ErrUnavailable)
	_, err = s.Due(t.Context(), clk.Now(), 10)
	require.ErrorIs(t, err, gateway.ErrUnavailable)
	_, _, err = s.Claim(t.Context(), "k", time.Minute)
	require.ErrorIs(t, err, gateway.ErrUnavailable)
	given, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Publish(given, ana, event("")), context.Canceled)

	server.Thaw()
	<-p.Wake() // whatever it missed
	eventually(t, "it goes on", func() bool { return s.Publish(t.Context(), ana, event("")) == nil })
	require.NoError(t, s.Update(t.Context(), "1", func(*session.Session) error { return nil }))
	require.Empty(t, heard.events)
}

func TestTrustInAnApplicationEndsSomeTimeAfterRedisWasLost(t *testing.T) {
	server := redistest.Start(t)
	clk := storetest.NewClock()
	s := openImpatient(t, impatient(t, server), clk)
	s.Open(gateway.Hooks{})
	create(t, s, "1")
	clk.Advance(20 * time.Minute) // it counts from when it was lost
	_, err := s.Use(t.Context(), "1")
	require.NoError(t, err)
	server.Kill()
	eventually(t, "nothing can be kept", func() bool {
		return s.Update(t.Context(), "1", func(*session.Session) error { return nil }) != nil
	})
	clk.Advance(4 * time.Minute)
	_, err = s.Use(t.Context(), "1")
	require.NoError(t, err)
	clk.Advance(2 * time.Minute)
	_, err = s.Use(t.Context(), "1")
	require.ErrorIs(t, err, gateway.ErrUnavailable)
}

func TestWhatAReplicaMissedIsMadeUpForWhenItHearsAgain(t *testing.T) {
	server := redistest.Start(t, redistest.AOF())
	clk := storetest.NewClock()
	client := impatient(t, server)
	a, b := openImpatient(t, client, clk), openImpatient(t, client, clk)
	h, heard := hooks()
	a.Open(gateway.Hooks{})
	b.Open(h)
	create(t, a, "1")
	require.NoError(t, subscribe(t.Context(), a, clk, "1", ana))
	require.Equal(t, ana+" true", heard.next(t))
	require.NoError(t, cutPubSub(t.Context(), client))
	require.NoError(t, a.Delete(t.Context(), "1"))
	require.Equal(t, ana+" false", heard.next(t))

	create(t, a, "2")
	_, err := b.Use(t.Context(), "2")
	require.NoError(t, err)
	require.NoError(t, subscribe(t.Context(), a, clk, "2", ana))
	require.Equal(t, ana+" true", heard.next(t))
	p := a.Park("2", "")
	defer p.Close()
	server.Kill()
	server.Restart()
	<-p.Wake()
	eventually(t, "it is live", func() bool { _, err := b.Use(t.Context(), "2"); return err == nil })
	eventually(t, "it is the same", func() bool { return a.Publish(t.Context(), ana, event("1-1")) == nil })
	eventually(t, "it goes on", func() bool { return a.Delete(t.Context(), "2") == nil })
	require.Equal(t, ana+" false", heard.next(t))
}

// cutPubSub closes the connections on which replicas hear.
func cutPubSub(ctx context.Context, c rueidis.Client) error {
	return c.Do(ctx, c.B().ClientKill().TypePubsub().Build()).Error()
}

func TestARedisThatLostItsDataKnowsNobody(t *testing.T) {
	server := redistest.Start(t)
	clk := storetest.NewClock()
	s := openImpatient(t, impatient(t, server), clk)
	h, heard := hooks()
	s.Open(h)
	create(t, s, "1")
	require.NoError(t, subscribe(t.Context(), s, clk, "1", ana))
	require.Equal(t, ana+" true", heard.next(t))
	p := s.Park("1", "")
	defer p.Close()
	server.Kill()
	server.Restart()
	<-p.Wake()
	var ended *gateway.EndedError
	eventually(t, "the application is not there", func() bool {
		_, err := s.Use(t.Context(), "1")
		require.True(t, err == nil || errors.As(err, &ended) || errors.Is(err, gateway.ErrUnavailable), "%v", err)
		return ended != nil
	})
	require.Equal(t, ana+" false", heard.next(t))
	create(t, s, "1")
	require.NoError(t, subscribe(t.Context(), s, clk, "1", ana))
	require.Equal(t, ana+" true", heard.next(t))
}

func TestNothingStaysBehindButWhatEndsByItself(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	clk := storetest.NewClock()
	a, b := openImpatient(t, client, clk), openImpatient(t, client, clk)
	a.Open(gateway.Hooks{})
	b.Open(gateway.Hooks{})
	for i := range 20 {
		id := fmt.Sprint(i)
		create(t, a, id)
		require.NoError(t, subscribe(t.Context(), b, clk, id, ana, "p"+id))
		p := a.Park(id, "")
		require.NoError(t, a.Update(t.Context(), id, func(s *session.Session) error {
			if err := s.MakeAvailable(session.Availability{Owner: "owner" + id + "@contoso.com"}, clk.Now()); err != nil {
				return err
			}
			_, err := s.Arrive("", session.Poll{Ack: s.Position("")}, clk.Now())
			return err
		}))
		require.NoError(t, b.Publish(t.Context(), ana, event(fmt.Sprint(i+1, "-0"))))
		_, _, err := a.Claim(t.Context(), id, time.Minute)
		require.NoError(t, err)
		require.NoError(t, a.Release(t.Context(), id))
		p.Close()
	}
	require.Greater(t, len(keys(t, client)), 100)
	for i := range 20 {
		require.NoError(t, b.Delete(t.Context(), fmt.Sprint(i)))
	}
	// Whoever makes the indexes whole in the beginning may still be at it, and have
	// the claim of it.
	eventually(t, "all other keys are gone", func() bool {
		return !slices.ContainsFunc(keys(t, client), func(key string) bool {
			return !strings.HasSuffix(key, "seq") && !strings.HasSuffix(key, "whole")
		})
	})
}

// keys are all of them; none lives for ever.
func keys(t *testing.T, c rueidis.Client) []string {
	t.Helper()
	list, err := c.Do(t.Context(), c.B().Keys().Pattern("*").Build()).AsStrSlice()
	require.NoError(t, err)
	return slices.DeleteFunc(list, func(key string) bool {
		ttl, err := c.Do(t.Context(), c.B().Pttl().Key(key).Build()).AsInt64()
		require.NoError(t, err)
		if ttl == -2 {
			return true // it is gone by now
		}
		require.Positive(t, ttl, key)
		return false
	})
}

func TestAReplicaThatVanishesLeavesItsApplicationsToTheOthers(t *testing.T) {
	client := redistest.Start(t).Client(t)
	clk, stopped := storetest.NewClock(), storetest.NewClock() // nothing happens any more at the one that has vanished
	lost, s := openImpatient(t, client, stopped), openImpatient(t, client, clk)
	lost.Open(gateway.Hooks{})
	s.Open(gateway.Hooks{})
	create(t, lost, "1")
	require.NoError(t, subscribe(t.Context(), lost, stopped, "1", ana))
	p := lost.Park("1", "")
	require.NoError(t, lost.Update(t.Context(), "1", func(sess *session.Session) error {
		_, err := sess.Arrive("", session.Poll{Ack: sess.Position("")}, stopped.Now())
		return err
	}))
	_, taken, err := lost.Claim(t.Context(), "k", time.Minute)
	require.NoError(t, err)
	require.True(t, taken)
	clk.Advance(27*time.Minute + time.Second)
	ids, err := lost.Due(t.Context(), clk.Now(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ids)
	require.Len(t, waiting(t, client, "1"), 1)

	clk.Advance(31 * time.Second)
	ids, err = s.Due(t.Context(), clk.Now(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ids)
	_, taken, err = s.Claim(t.Context(), "k", time.Minute)
	require.NoError(t, err)
	require.True(t, taken)
	require.NoError(t, s.Publish(t.Context(), ana, &session.Event{Kind: session.ContactPresence, Type: session.Updated, Class: session.High, Key: ana}))
	var v session.Verdict
	require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) (err error) {
		v, err = sess.Arrive("", session.Poll{Ack: sess.Position("")}, clk.Now())
		return err
	}))
	require.NotNil(t, v.Package)
	clk.Advance(2 * time.Hour)
	_, err = s.Use(t.Context(), "1")
	var ended *gateway.EndedError
	require.ErrorAs(t, err, &ended)
	require.Empty(t, waiting(t, client, "1"))
	p.Close()
}

// waiting are the replicas that are told of what happens to an application.
func waiting(t *testing.T, c rueidis.Client, id string) []string {
	t.Helper()
	for _, key := range keys(t, c) {
		if strings.HasSuffix(key, ":wait:"+id) {
			list, err := c.Do(t.Context(), c.B().Hkeys().Key(key).Build()).AsStrSlice()
			require.NoError(t, err)
			return list
		}
	}
	return nil
}

func TestAnInboxIsBounded(t *testing.T) {
	client := redistest.Start(t).Client(t)
	clk := storetest.NewClock()
	s, err := redisstore.New(redisstore.Options{Client: client, Prefix: "p", Clock: clk, Session: session.Limits{Events: 40}})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.Open(gateway.Hooks{})
	create(t, s, "1")
	require.NoError(t, subscribe(t.Context(), s, clk, "1", ana))
	publish := func(n int) {
		for range n {
			require.NoError(t, s.Publish(t.Context(), ana, event("")))
		}
	}
	publish(10)
	ids, err := s.Due(t.Context(), clk.Now(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ids, "its inbox is to be emptied before it is full")
	require.NoError(t, s.Update(t.Context(), "1", func(*session.Session) error { return nil }))
	var ack int64
	require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) error { ack = sess.Position(""); return nil }))
	publish(1000)
	for _, key := range keys(t, client) {
		if strings.HasSuffix(key, ":in:1") {
			n, err := client.Do(t.Context(), client.B().Llen().Key(key).Build()).AsInt64()
			require.NoError(t, err)
			require.LessOrEqual(t, n, int64(80))
		}
	}
	var v session.Verdict
	require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) (err error) {
		v, err = sess.Arrive("", session.Poll{Ack: ack}, clk.Now())
		return err
	}))
	require.NotNil(t, v.Package)
	require.True(t, v.Package.Overflow, "the client is to look anew")
}

func event(revision string) *session.Event {
	return &session.Event{Kind: session.ContactPresence, Type: session.Updated, Class: session.Medium, Key: ana, Revision: revision}
}

func TestReplicasOnAClusterGoOnAfterEachMemberWasRestarted(t *testing.T) {
	cluster := redistest.StartCluster(t)
	o := cluster.Option()
	o.ConnWriteTimeout, o.Dialer.Timeout, o.Dialer.KeepAlive = 300*time.Millisecond, 300*time.Millisecond, 100*time.Millisecond
	client, err := rueidis.NewClient(o)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	clk := storetest.NewClock()
	a, b := openImpatient(t, client, clk), openImpatient(t, client, clk)
	h, heard := hooks()
	a.Open(gateway.Hooks{})
	b.Open(h)
	for i, node := range cluster.Nodes {
		node.Kill()
		node.Restart()
		cluster.AwaitOK(t)
		id, address := fmt.Sprint("1", i), fmt.Sprintf("p%d@contoso.com", i)
		eventually(t, "an application can be created", func() bool {
			_, _, err := a.Create(t.Context(), gateway.Application{ID: id, Owner: id + "@contoso.com", EndpointID: "e"}, 10)
			return err == nil
		})
		eventually(t, "it can subscribe", func() bool { return subscribe(t.Context(), a, clk, id, address) == nil })
		for heard.next(t) != address+" true" { // of others it hears that they are gone with the data
			continue
		}
		p := a.Park(id, "")
		eventually(t, "its P-GET is woken by the other", func() bool {
			var v session.Verdict
			err := a.Update(t.Context(), id, func(sess *session.Session) (err error) {
				if v, err = sess.Arrive("", session.Poll{Ack: sess.Position("")}, clk.Now()); err == nil && v.Package != nil {
					v, err = sess.Arrive("", session.Poll{Ack: v.Package.NextAck}, clk.Now())
				}
				return err
			})
			urgent := &session.Event{Kind: session.ContactPresence, Type: session.Updated, Class: session.High, Key: address}
			return err == nil && b.Publish(t.Context(), address, urgent) == nil && len(p.Wake()) > 0
		})
		p.Close()
	}
}
