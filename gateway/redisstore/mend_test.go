package redisstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// impatientOf is a client of a cluster that notices soon that a member does not answer.
func impatientOf(t *testing.T, cluster *redistest.Cluster) rueidis.Client {
	t.Helper()
	o := cluster.Option()
	o.ConnWriteTimeout, o.Dialer.Timeout, o.Dialer.KeepAlive = 300*time.Millisecond, 300*time.Millisecond, 100*time.Millisecond
	client, err := rueidis.NewClient(o)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// shown is what the hooks say now.
type shown struct {
	mu   sync.Mutex
	said map[string]bool
	no   []string // of whom it was said that nobody watches or shows them
}

func (s *shown) hooks() gateway.Hooks {
	s.said = make(map[string]bool)
	say := func(name string, some bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.said[name] = some
		if !some {
			s.no = append(s.no, name)
		}
	}
	return gateway.Hooks{Interest: say, Available: func(owner string, available bool) { say("owner "+owner, available) }}
}

func (s *shown) has(names ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if !s.said[name] {
			return false
		}
	}
	return true
}

func (s *shown) gone() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.no...)
}

const crowd = 20 // applications, each of which watches as many people

// crowded are applications of which each watches the same people and shows its
// owner. acks are what their clients ask for next.
func crowded(t *testing.T, s *redisstore.Store, clk *storetest.Clock) (people, owners []string, acks map[string]int64) {
	t.Helper()
	acks = make(map[string]int64)
	for i := range crowd {
		people = append(people, fmt.Sprintf("p%d@contoso.com", i))
	}
	for i := range crowd {
		id := fmt.Sprint(i)
		owner := "owner" + id + "@contoso.com"
		create(t, s, id)
		require.NoError(t, subscribe(t.Context(), s, clk, id, people...))
		require.NoError(t, s.Update(t.Context(), id, func(sess *session.Session) error {
			acks[id] = sess.Position("")
			return sess.MakeAvailable(session.Availability{Owner: owner}, clk.Now())
		}))
		owners = append(owners, "owner "+owner)
	}
	return people, owners, acks
}

// take asks for what an application's channel has next after ack.
func take(t *testing.T, s *redisstore.Store, clk *storetest.Clock, id string, ack int64) *session.Package {
	t.Helper()
	var v session.Verdict
	require.NoError(t, s.Update(t.Context(), id, func(sess *session.Session) (err error) {
		v, err = sess.Arrive("", session.Poll{Ack: ack}, clk.Now())
		if err == nil && v.Package == nil {
			v = sess.Release("", v.Ticket, clk.Now())
		}
		return err
	}))
	return v.Package
}

// survivors are the applications that are still there.
func survivors(t *testing.T, s *redisstore.Store) (ids []string) {
	t.Helper()
	for i := range crowd {
		var ended *gateway.EndedError
		err := s.Update(t.Context(), fmt.Sprint(i), func(*session.Session) error { return nil })
		if !errors.As(err, &ended) {
			require.NoError(t, err)
			ids = append(ids, fmt.Sprint(i))
		}
	}
	return ids
}

func TestApplicationsHearAgainAfterAMemberOfTheClusterLostItsData(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := impatientOf(t, cluster)
	for i := range cluster.Nodes {
		t.Run(fmt.Sprint("member ", i), func(t *testing.T) { testMember(t, cluster, cluster.Nodes[i], client) })
	}
}

func testMember(t *testing.T, cluster *redistest.Cluster, node *redistest.Server, client rueidis.Client) {
	clk := storetest.NewClock()
	prefix := newPrefix()
	openOne := func() *redisstore.Store {
		s, err := redisstore.New(redisstore.Options{Client: client, Prefix: prefix, Clock: clk, Timeout: 300 * time.Millisecond})
		require.NoError(t, err)
		t.Cleanup(s.Close)
		return s
	}
	a, b := openOne(), openOne()
	var seen shown
	a.Open(gateway.Hooks{})
	b.Open(seen.hooks())
	people, owners, acks := crowded(t, a, clk)
	eventually(t, "all are watched", func() bool { return seen.has(append(people, owners...)...) })
	eventually(t, "it is known who is watched", func() bool { return whole(t, client, prefix) == 2*64 })

	node.Kill()
	node.Restart()
	cluster.AwaitOK(t)
	eventually(t, "it goes on", func() bool { _, _, err := a.Count(t.Context()); return err == nil })
	clk.Advance(time.Minute) // the sweeps
	eventually(t, "it is known again", func() bool { return whole(t, client, prefix) == 2*64 })

	ids := survivors(t, a)
	require.NotEmpty(t, ids)
	require.Less(t, len(ids), crowd)
	next := make(map[string]int64)
	for _, id := range ids {
		p := take(t, a, clk, id, acks[id])
		require.NotNil(t, p, id)
		require.True(t, p.Overflow, "%s may have missed something", id)
		next[id] = p.NextAck
	}
	for n, address := range people {
		require.NoError(t, b.Publish(t.Context(), address, &session.Event{
			Kind: session.ContactPresence, Type: session.Updated, Class: session.High, Key: address, Revision: fmt.Sprint(n+1, "-1"),
		}))
	}
	for _, id := range ids {
		p := take(t, a, clk, id, next[id])
		require.NotNil(t, p, id)
		require.Len(t, p.Events, len(people), id)
	}
	require.True(t, seen.has(people...))
	for _, name := range seen.gone() {
		require.NotContains(t, people, name, "somebody has watched all the time")
		for _, id := range ids {
			require.NotEqual(t, "owner owner"+id+"@contoso.com", name)
		}
	}
	a.Close()
	b.Close()
}

// whole is of how many shards of the indexes it is known that they lack nothing.
func whole(t *testing.T, client rueidis.Client, prefix string) (n int) {
	t.Helper()
	for _, node := range client.Nodes() {
		list, err := node.Do(t.Context(), node.B().Keys().Pattern(prefix+":*whole").Build()).AsStrSlice()
		if err == nil {
			n += len(list)
		}
	}
	return n
}

// mends says whether a command enters applications again.
func mends(words []string) bool {
	return strings.HasPrefix(words[0], "EVAL") && slices.ContainsFunc(words, func(key string) bool { return strings.HasSuffix(key, "}:wanew") })
}

// unknow lets the index know nothing of an address any more, nor that it was whole.
func unknow(t *testing.T, client rueidis.Client, address string) {
	t.Helper()
	key := keyOf(t, client, ":w:"+address)
	shard := strings.TrimSuffix(key, "w:"+address)
	require.NoError(t, client.Do(t.Context(), client.B().Srem().Key(shard+"w").Member(address).Build()).Error())
	require.NoError(t, client.Do(t.Context(), client.B().Del().Key(key, shard+"wwhole").Build()).Error())
}

// position is what the client of an application asks for next.
func position(t *testing.T, s *redisstore.Store, id string) (ack int64) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), id, func(sess *session.Session) error { ack = sess.Position(""); return nil }))
	return ack
}

func TestWhoeverWasEnteredAgainIsToldThoughNobodyHeardOfIt(t *testing.T) {
	for name, gone := range map[string]bool{"the reply is lost": false, "the replica is gone": true} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			client, healer := server.Client(t), &wire{Client: server.Client(t)}
			clk := storetest.NewClock()
			a, b := openImpatient(t, healer, clk), openImpatient(t, client, clk)
			a.Open(gateway.Hooks{})
			eventually(t, "it is known who is watched", func() bool { return whole(t, client, "p") == 2*64 })
			create(t, a, "1")
			require.NoError(t, subscribe(t.Context(), a, clk, "1", ana))
			ack := position(t, a, "1")
			happened := make(chan struct{}, 1)
			healer.happens(func(words []string) mishap {
				switch {
				case len(happened) > 0:
					return mishap{fails: gone}
				case !mends(words):
					return mishap{}
				}
				return mishap{lost: true, after: func() { happened <- struct{}{} }}
			})
			unknow(t, client, ana)
			clk.Advance(time.Minute) // a sweep
			eventually(t, "it is mended", func() bool { return len(happened) > 0 })
			require.NotEqual(t, 2*64, whole(t, client, "p"))
			if gone {
				b.Open(gateway.Hooks{})
			}
			clk.Advance(61 * time.Second) // somebody else may begin
			eventually(t, "it is known again", func() bool { return whole(t, client, "p") == 2*64 })
			p := take(t, b, clk, "1", ack)
			require.NotNil(t, p)
			require.True(t, p.Overflow, "it may have missed something")
			for _, key := range keys(t, client) {
				require.NotContains(t, key, "wanew", "all were told")
			}
		})
	}
}

// baseOf begins the keys of the shard in which an application or an address is,
// given what its key ends with.
func baseOf(t *testing.T, client rueidis.Client, suffix string) string {
	t.Helper()
	for _, node := range client.Nodes() {
		list, err := node.Do(t.Context(), node.B().Keys().Pattern("*"+suffix).Build()).AsStrSlice()
		require.NoError(t, err)
		if len(list) > 0 {
			return strings.TrimSuffix(list[0], suffix)
		}
	}
	require.FailNow(t, "there is no such key", suffix)
	return ""
}

// goBack has a shard mended as one whose server lacks what was written last.
func goBack(t *testing.T, client rueidis.Client, clk *storetest.Clock, base string) {
	t.Helper()
	const another = "0 another"
	require.NoError(t, client.Do(t.Context(), client.B().Set().Key(base+"wwhole").Value(another).PxMilliseconds(3_600_000).Build()).Error())
	clk.Advance(time.Minute) // a sweep
	eventually(t, "it is mended", func() bool {
		found, err := client.Do(t.Context(), client.B().Get().Key(base+"wwhole").Build()).ToString()
		return err == nil && found != another
	})
}

func TestWhoeverMayHaveLostAPushWithTheirMemberOfAClusterIsTold(t *testing.T) {
	for name, inCluster := range map[string]bool{"a cluster": true, "a single server": false} {
		t.Run(name, func(t *testing.T) {
			var client rueidis.Client
			if inCluster {
				client = redistest.StartCluster(t).Client(t)
			} else {
				client = redistest.Start(t).Client(t)
			}
			clk := storetest.NewClock()
			s := openImpatient(t, client, clk)
			s.Open(gateway.Hooks{})
			eventually(t, "it is known who is watched", func() bool { return whole(t, client, "p") == 2*64 })
			acks := make(map[string]int64)
			for _, id := range []string{"1", "2"} { // in two shards
				create(t, s, id)
				require.NoError(t, subscribe(t.Context(), s, clk, id, ana))
				acks[id] = position(t, s, id)
			}
			base := baseOf(t, client, "app:1")
			require.NotEqual(t, base, baseOf(t, client, "app:2"))
			require.NoError(t, s.Publish(t.Context(), ana, &session.Event{
				Kind: session.ContactPresence, Type: session.Updated, Class: session.High, Key: ana, Revision: "1-1",
			}))
			require.NoError(t, client.Do(t.Context(), client.B().Del().Key(base+"in:1", base+"rev:1").Build()).Error())
			goBack(t, client, clk, base)

			p := take(t, s, clk, "1", acks["1"])
			require.NotNil(t, p)
			require.Equal(t, inCluster, p.Overflow, "of a single server all is lost together, and whoever has pushed does so again")
			p = take(t, s, clk, "2", acks["2"])
			require.NotNil(t, p)
			require.False(t, p.Overflow)
		})
	}
}

func TestWhoeverASessionThatWentBackWatchesAgainIsEnteredAgain(t *testing.T) {
	client := redistest.Start(t).Client(t)
	clk := storetest.NewClock()
	s := openImpatient(t, client, clk)
	var seen shown
	s.Open(seen.hooks())
	eventually(t, "it is known who is watched", func() bool { return whole(t, client, "p") == 2*64 })
	create(t, s, "1")
	require.NoError(t, subscribe(t.Context(), s, clk, "1", bo))
	base := baseOf(t, client, "app:1")
	require.NotEqual(t, base, baseOf(t, client, "w:"+bo), "they are not with one member")
	saved, err := client.Do(t.Context(), client.B().Dump().Key(base+"app:1").Build()).ToString()
	require.NoError(t, err)
	require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) error { return sess.Unsubscribe("s", clk.Now()) }))
	eventually(t, "nobody watches", func() bool { return len(seen.gone()) == 1 })
	require.NoError(t, client.Do(t.Context(), client.B().Restore().Key(base+"app:1").Ttl(3_600_000).SerializedValue(saved).Replace().Build()).Error())
	goBack(t, client, clk, base)
	eventually(t, "somebody watches again", func() bool { return seen.has(bo) })
}

// mendMany lets a store enter again what 250 applications watch, in three parts. at
// is what happens to its commands meanwhile: in which part, and whether one begins
// that part. Another store stands by.
func mendMany(t *testing.T, clk *storetest.Clock, at func(part int, begins bool) mishap) (healer, other *redisstore.Store) {
	t.Helper()
	server := redistest.Start(t)
	client, way := server.Client(t), &wire{Client: server.Client(t)}
	healer, other = openImpatient(t, way, clk), openImpatient(t, client, clk)
	healer.Open(gateway.Hooks{})
	eventually(t, "it is known who is watched", func() bool { return whole(t, client, "p") == 2*64 })
	for i := range 250 {
		id := fmt.Sprint(i)
		create(t, other, id)
		require.NoError(t, subscribe(t.Context(), other, clk, id, ana))
	}
	var mu sync.Mutex
	part := 0
	way.happens(func(words []string) mishap {
		mu.Lock()
		defer mu.Unlock()
		begins := words[0] == "EVALSHA" && mends(words)
		if begins {
			part++
		}
		return at(part, begins)
	})
	unknow(t, client, ana)
	clk.Advance(time.Minute) // a sweep
	return healer, other
}

func claimed(t *testing.T, s *redisstore.Store) bool {
	t.Helper()
	_, taken, err := s.Claim(t.Context(), "mend the indexes", time.Minute)
	require.NoError(t, err)
	return !taken
}

func TestAnotherReplicaGoesOnMendingSoonButNotWhileOneIsAtIt(t *testing.T) {
	clk := storetest.NewClock()
	lost := make(chan struct{})
	_, other := mendMany(t, clk, func(part int, begins bool) mishap {
		if begins {
			clk.Set(clk.Now().Add(50 * time.Second))
			if part == 3 {
				close(lost)
			}
		}
		return mishap{fails: part >= 3}
	})
	<-lost
	require.True(t, claimed(t, other), "it was at it a moment ago")
	clk.Set(clk.Now().Add(time.Minute))
	require.False(t, claimed(t, other))
}

func TestAReplicaThatIsClosedLeavesTheMendingToAnother(t *testing.T) {
	clk := storetest.NewClock()
	begun := make(chan struct{})
	healer, other := mendMany(t, clk, func(part int, begins bool) mishap {
		if begins && part == 1 {
			close(begun)
		}
		return mishap{}
	})
	<-begun
	healer.Close()
	require.False(t, claimed(t, other))
}

func TestWhatNobodyUsesYetIsMendedAtOnce(t *testing.T) {
	client := redistest.Start(t).Client(t)
	s, err := redisstore.New(redisstore.Options{Client: client, Prefix: "p", Clock: storetest.NewClock(), Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.Open(gateway.Hooks{})
	eventually(t, "nobody is waited for", func() bool { return whole(t, client, "p") == 2*64 })
}
