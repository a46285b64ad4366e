package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/redistest"
)

// partial is a client of whom a member is away: the one that has the keys in
// which stands slot, if that is not empty.
type partial struct {
	rueidis.Client
	slot atomic.Value
}

func newPartial(c rueidis.Client) *partial {
	p := &partial{Client: c}
	p.slot.Store("")
	return p
}

var errAway = errors.New("the member is away")

func (p *partial) away(c rueidis.Completed) bool {
	slot, _ := p.slot.Load().(string)
	return slot != "" && strings.Contains(strings.Join(c.Commands(), " "), slot)
}

func (p *partial) Do(ctx context.Context, c rueidis.Completed) rueidis.RedisResult {
	if p.away(c) {
		return rueidis.NewErrorResult(errAway)
	}
	return p.Client.Do(ctx, c)
}

func (p *partial) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	results := make([]rueidis.RedisResult, len(multi))
	var there []rueidis.Completed
	var of []int
	for i, c := range multi {
		if results[i] = rueidis.NewErrorResult(errAway); !p.away(c) {
			there, of = append(there, c), append(of, i)
		}
	}
	if len(there) > 0 {
		for i, r := range p.Client.DoMulti(ctx, there...) {
			results[of[i]] = r
		}
	}
	return results
}

// lastUses are when applications were used last, as far as Redis knows, by shard.
func lastUses(t *testing.T, c rueidis.Client) (all [64][]time.Time) {
	t.Helper()
	for shard := range all {
		scores, err := c.Do(t.Context(), c.B().Zrange().Key(fmt.Sprintf("p:{%d}:idle", shard)).Min("0").Max("-1").Withscores().Build()).AsZScores()
		require.NoError(t, err)
		for _, z := range scores {
			all[shard] = append(all[shard], time.UnixMicro(int64(z.Score)).UTC())
		}
	}
	return all
}

func TestOneMemberThatIsAwayKeepsNobodyFromTheOthers(t *testing.T) {
	client := newPartial(redistest.Start(t).Client(t))
	clk := storetest.NewClock()
	s := openImpatient(t, client, clk)
	s.Open(gateway.Hooks{})
	for i := range 600 {
		id := strconv.Itoa(i)
		create(t, s, id)
		defer s.Park(id, "").Close()
	}
	require.NoError(t, subscribe(t.Context(), s, clk, "1", ana))
	client.slot.Store("{0}")
	clk.Advance(time.Minute)
	for shard, uses := range lastUses(t, client.Client) {
		for _, used := range uses {
			if shard == 0 {
				require.True(t, used.Before(clk.Now()))
				continue
			}
			require.Equal(t, clk.Now(), used, "it has a P-GET, which is to be noted")
		}
	}
	clk.Advance(27 * time.Minute)
	ids, err := s.Due(t.Context(), clk.Now(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ids)
}

// shardOf is the shard of an application, as it stands in the keys.
func shardOf(t *testing.T, c rueidis.Client, id string) string {
	t.Helper()
	return strings.TrimSuffix(strings.TrimPrefix(keyOf(t, c, ":app:"+id), "p:"), ":app:"+id)
}

func TestWhatFellDueWhereAMemberWasAwayForLongComesAfterWhoeverWaited(t *testing.T) {
	client := newPartial(redistest.Start(t).Client(t))
	clk := storetest.NewClock()
	s := openImpatient(t, client, clk)
	s.Open(gateway.Hooks{})
	byShard := make(map[string][]string)
	var away string // a shard that has three
	for i := 0; away == ""; i++ {
		id := strconv.Itoa(i)
		create(t, s, id)
		require.NoError(t, subscribe(t.Context(), s, clk, id, ana))
		shard := shardOf(t, client, id)
		if byShard[shard] = append(byShard[shard], id); len(byShard[shard]) == 3 {
			away = shard
		}
	}
	n := 0
	for shard, ids := range byShard {
		if shard != away {
			n += len(ids)
		}
	}
	due := func(limit int) []string {
		t.Helper()
		ids, err := s.Due(t.Context(), clk.Now(), limit)
		if client.slot.Load() == "" || len(ids) > 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, gateway.ErrUnavailable)
		}
		return ids
	}
	require.Empty(t, due(1000))
	clk.Advance(27*time.Minute - 10*time.Second)
	client.slot.Store(away)
	require.Empty(t, due(1000))
	clk.Advance(10 * time.Second)
	require.Len(t, due(1000), n, "the others are reached")
	clk.Advance(20 * time.Second)
	require.Empty(t, due(1000))

	client.slot.Store("")
	require.Empty(t, due(2), "whoever was held comes first")
	require.Empty(t, due(2), "also where that is more than is returned at once")
	clk.Advance(29 * time.Second)
	require.Len(t, due(1000), n, "the others come again")
	clk.Advance(time.Second)
	require.ElementsMatch(t, byShard[away], due(1000))

	client.slot.Store(away)
	clk.Advance(time.Second)
	require.Empty(t, due(1000))
	clk.Advance(28 * time.Second)
	client.slot.Store("")
	clk.Advance(time.Second)
	require.Len(t, due(1000), n+3, "that was not for long")
}

func TestWhatWasUsedWhileRedisWasAwayForLongIsNotEndedByWhoeverIsBackFirst(t *testing.T) {
	server := redistest.Start(t)
	client := newPartial(server.Client(t))
	early, late := storetest.NewClock(), storetest.NewClock()
	first, other := openImpatient(t, client, early), openImpatient(t, server.Client(t), late)
	first.Open(gateway.Hooks{})
	other.Open(gateway.Hooks{})
	create(t, other, "1")
	create(t, other, "2")
	defer other.Park("1", "").Close()
	early.Advance(3 * time.Minute) // it has reached Redis for some time
	client.slot.Store("p:")
	early.Advance(limits.Idle)
	late.Set(early.Now()) // the sweeps of the other failed as well
	client.slot.Store("")
	early.Advance(2 * time.Minute)
	late.Advance(2 * time.Minute)
	early.Advance(3 * time.Minute)
	n, _, err := first.Count(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "one has a P-GET, the other is idle")
	_, err = other.Use(t.Context(), "1")
	require.NoError(t, err)
}

// apart is a client whose connections to hear on lead to a server that nobody
// else speaks to, as after a failover of which that server has not learned.
type apart struct {
	rueidis.Client
	old rueidis.Client
	yet atomic.Bool // it is still taken for the right one
}

func (a *apart) Dedicate() (rueidis.DedicatedClient, func()) {
	if a.yet.Load() {
		return a.old.Dedicate()
	}
	return a.Client.Dedicate()
}

func TestAConnectionOnWhichNothingIsHeardIsMadeAnew(t *testing.T) {
	server := redistest.Start(t)
	client := &apart{Client: server.Client(t), old: redistest.Start(t).Client(t)}
	client.yet.Store(true)
	clk := storetest.NewClock()
	s, other := openImpatient(t, client, clk), openImpatient(t, server.Client(t), clk)
	s.Open(gateway.Hooks{})
	other.Open(gateway.Hooks{})
	listens := func(c rueidis.Client) bool {
		channels, err := c.Do(t.Context(), c.B().PubsubChannels().Pattern("p:wake:*").Build()).AsStrSlice()
		require.NoError(t, err)
		return len(channels) > 0
	}
	eventually(t, "it listens", func() bool { return listens(client.old) })
	create(t, s, "1")
	client.yet.Store(false)
	p := s.Park("1", "")
	defer p.Close()
	eventually(t, "it listens where the others speak", func() bool { return !listens(client.old) })
	eventually(t, "it looks for what it has missed", func() bool { return len(p.Wake()) > 0 })
	require.NoError(t, other.Delete(t.Context(), "1"))
	eventually(t, "it hears of an end", func() bool { _, err := s.Use(t.Context(), "1"); return err != nil })
}

func TestWhoMissedOneThingLooksForAll(t *testing.T) {
	client := redistest.Start(t).Client(t)
	clk := storetest.NewClock()
	s := openImpatient(t, client, clk)
	create(t, s, "1")
	p := s.Park("1", "")
	defer p.Close()
	require.NoError(t, client.Do(t.Context(), client.B().Set().Key("p:{3}:wseq").Value("4").Build()).Error())
	s.Open(gateway.Hooks{})
	say := func(number int) {
		text := fmt.Sprintf("w 3 %d\n+%s", number, ana)
		require.NoError(t, client.Do(t.Context(), client.B().Publish().Channel("p:interest").Message(text).Build()).Error())
	}
	eventually(t, "it listens", func() bool { return len(p.Wake()) > 0 })
	<-p.Wake()
	say(1)
	say(2)
	say(4) // 3 was said in between
	eventually(t, "it looks for what it has missed", func() bool { return len(p.Wake()) > 0 })
}
