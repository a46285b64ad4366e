package graphsrc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc/budget"
)

func TestTurnsGoRoundOverTheClients(t *testing.T) {
	type entry struct {
		client string
		seat   *seat[int]
		value  int
	}
	rapid.Check(t, func(t *rapid.T) {
		var f fair[int]
		var ring []string // the definition: who is next, and what each has
		queues := make(map[string][]entry)
		leave := func(client string, i int) {
			f.leave(queues[client][i].seat)
			if queues[client] = slices.Delete(queues[client], i, i+1); len(queues[client]) == 0 {
				delete(queues, client)
				ring = slices.DeleteFunc(ring, func(c string) bool { return c == client })
			}
		}
		for n := range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch what := rapid.IntRange(0, 4).Draw(t, "what"); {
			case what < 2 || len(ring) == 0:
				client := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "client")
				one := entry{client, new(seat[int]), n}
				f.push(client, one.seat, n)
				if len(queues[client]) == 0 {
					ring = append(ring, client)
				}
				queues[client] = append(queues[client], one)
			case what < 4:
				client := ring[0]
				if got := f.whose(); got != client {
					t.Fatalf("the turn is %q's, not %q's", client, got)
				}
				if got, want := f.turn(), queues[client][0].value; got != want {
					t.Fatalf("got %d, want %d", got, want)
				}
				ring = append(ring[1:], client)
				leave(client, 0)
			default:
				client := rapid.SampledFrom(ring).Draw(t, "leaves")
				i := rapid.IntRange(0, len(queues[client])-1).Draw(t, "which")
				left := queues[client][i].seat
				leave(client, i)
				f.leave(left) // once more does nothing
			}
			all := 0
			for _, q := range queues {
				all += len(q)
			}
			if len(f.all()) != all || len(f.clients) != len(queues) || f.empty() != (all == 0) {
				t.Fatalf("%d in the queue of %d clients, want %d of %d", len(f.all()), len(f.clients), all, len(queues))
			}
		}
	})
}

func TestManyClientsAreForgotten(t *testing.T) {
	var f fair[int]
	seats := make([]seat[int], 2*keptClients)
	for i := range seats {
		f.push(fmt.Sprint(i), &seats[i], i)
	}
	for !f.empty() {
		f.leave(&seats[f.turn()])
	}
	require.Nil(t, f.clients)
}

// as returns a context of a client.
func as(client string) context.Context {
	return budget.WithClient(context.Background(), client)
}

// requestOf returns which request asked for a person, from 0, or -1.
func requestOf(g *fakeGraph, one string) int {
	return slices.IndexFunc(g.requests(), func(ids []string) bool { return slices.Contains(ids, one) })
}

func TestOneWhoAsksForEverybodyDoesNotDelayAnother(t *testing.T) {
	const crowd = 50_000
	for name, c := range map[string]struct {
		client string
		person int
		last   bool // or with the next request
	}{
		"another client's person goes with the next request":         {"light", crowd, false},
		"whoever names no client is another client, too":             {"", crowd, false},
		"a person of the crowd whom another asks for goes with it":   {"light", crowd - 1, false},
		"the same client's person goes when all before it have left": {"heavy", crowd, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := budget.New(budget.Options{})
				require.NoError(t, err)
				defer b.Close()
				g := &fakeGraph{latency: 100 * time.Millisecond}
				s, err := New(Options{Graph: g, Budget: prepaid{b}})
				require.NoError(t, err)
				defer s.Close()

				var wg sync.WaitGroup
				wg.Go(func() {
					for _, r := range s.Presences(as("heavy"), people(0, crowd)) {
						require.NoError(t, r.Err)
					}
				})
				wait(190 * time.Millisecond) // between two tokens
				sent := len(g.requests())
				require.Positive(t, sent)
				began := time.Now()
				_, err = s.Presence(as(c.client), id(c.person))
				require.NoError(t, err)
				took := time.Since(began)
				wg.Wait()
				if c.last {
					require.Equal(t, crowd/maxBatch, requestOf(g, id(c.person)))
					return
				}
				require.LessOrEqual(t, requestOf(g, id(c.person)), sent)
				require.Less(t, took, 100*time.Millisecond+2*time.Second/45)
			})
		})
	}
}

func TestABatchHasAsManyIdsOfEachClient(t *testing.T) {
	c := start(t, &fakeGraph{}, &fakeBudget{}, nil).coalescer
	c.lanes[budget.Interactive].running = true // nobody else drains
	sizes := map[string]int{"a": 2000, "b": 500, "c": 100, "": 20}
	from := 0
	for client, n := range sizes {
		var keys []userKey
		for _, one := range people(from, from+n) {
			k, _ := parseKey(one)
			keys = append(keys, k)
		}
		from += n
		_, err := c.join(waiterOf(client), budget.Interactive, keys)
		require.NoError(t, err)
	}
	var got []map[string]int
	for batch := c.drain(budget.Interactive); batch != nil; batch = c.drain(budget.Interactive) {
		of := make(map[string]int)
		for _, one := range batch {
			of[one.waiters[0].client]++
		}
		got = append(got, of)
		c.finish(batch, nil)
	}
	require.Equal(t, []map[string]int{
		{"": 20, "c": 100, "a": 265, "b": 265}, {"a": 415, "b": 235}, {"a": 650}, {"a": 650}, {"a": 20},
	}, got)
	require.Empty(t, c.lanes[budget.Interactive].queue.clients)
}

// TestTheQueuesAreInOrderWhateverHappens does random things to a coalescer that
// does not run, and looks into it after each.
func TestTheQueuesAreInOrderWhateverHappens(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		steps := rapid.IntRange(1, 80).Draw(t, "steps")
		c := start(outer, &fakeGraph{}, &fakeBudget{}, nil).coalescer
		for i := range c.lanes {
			c.lanes[i].running = true
		}
		type join struct {
			w     *waiter
			calls []*call
		}
		var joined []join
		var sent []*call
		for range steps {
			switch rnd.IntN(6) {
			case 0, 1, 2:
				w := waiterOf(fmt.Sprint(rnd.IntN(3)))
				w.deadline = w.deadline.Add(time.Duration(rnd.IntN(100)) * time.Second)
				var keys []userKey
				for _, n := range rnd.Perm(12)[:1+rnd.IntN(6)] {
					k, _ := parseKey(id(n))
					keys = append(keys, k)
				}
				calls, err := c.join(w, budget.Lane(rnd.IntN(budget.LaneCount)), keys)
				if err != nil {
					t.Fatal(err)
				}
				joined = append(joined, join{w, calls})
			case 3:
				if len(joined) > 0 {
					i := rnd.IntN(len(joined))
					c.leave(joined[i].w, joined[i].calls)
					joined = slices.Delete(joined, i, i+1)
				}
			case 4:
				if rnd.IntN(2) == 0 {
					sent = append(sent, c.drain(budget.Lane(rnd.IntN(budget.LaneCount)))...)
				} else {
					c.finish(sent, nil)
					sent = nil
				}
			case 5:
				k, _ := parseKey(id(rnd.IntN(12)))
				c.outdate(k)
			}
			if err := queuesInOrder(c); err != nil {
				t.Fatal(err)
			}
		}
		for _, j := range joined {
			c.leave(j.w, j.calls)
		}
		for i := range c.lanes {
			if l := &c.lanes[i]; l.live != 0 || len(l.queue.clients) != 0 || !l.soonest.IsZero() {
				t.Fatalf("%d left in the %s lane", l.live, budget.Lane(i))
			}
		}
	})
}

func queuesInOrder(c *coalescer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var live [budget.LaneCount]int
	seats := make(map[*seat[*call]]bool)
	for k, one := range c.calls {
		if !one.queued {
			continue
		}
		live[one.lane]++
		l := &c.lanes[one.lane]
		var mine, any bool
		for _, w := range one.waiters {
			any = any || w.lane <= one.lane
			if w.seat == nil {
				continue
			}
			mine = true
			seats[w.seat] = true
			if w.seat.value != one || w.seat.party.key != w.client || l.queue.clients[w.client] != w.seat.party {
				return fmt.Errorf("%s: a seat of somebody else", k)
			}
			if w.deadline.Before(l.soonest) {
				return fmt.Errorf("%s: a deadline before the soonest", k)
			}
		}
		if !mine {
			return fmt.Errorf("%s: queued with %d waiters, none has a seat", k, len(one.waiters))
		}
		for _, w := range one.waiters {
			if any && w.lane <= one.lane && w.seat == nil {
				return fmt.Errorf("%s: somebody of the lane has no seat", k)
			}
		}
	}
	taken := 0
	for i := range c.lanes {
		if c.lanes[i].live != live[i] {
			return fmt.Errorf("lane %d: %d queued, %d counted", i, live[i], c.lanes[i].live)
		}
		taken += len(c.lanes[i].queue.all())
	}
	if taken != len(seats) {
		return fmt.Errorf("%d seats are taken, waiters have %d", taken, len(seats))
	}
	return nil
}

func TestWhoeverLooksUpEverybodyDoesNotDelayAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.delay = 100 * time.Millisecond
		s := start(t, g, &fakeBudget{}, func(o *Options) { o.Timeout = time.Hour })
		var wg sync.WaitGroup
		for n := range 5000 {
			wg.Go(func() { _, _ = s.Lookup(as("heavy"), fmt.Sprintf("somebody%d@contoso.com", n)) })
		}
		wait(time.Second)
		// Four searches are under way. The next one to be made is for ours, and
		// what is no principal name takes eight requests more.
		began := time.Now()
		_, err := s.Lookup(as("light"), "ana@contoso.com")
		require.Equal(t, KindNotFound, errKind(err))
		require.Less(t, time.Since(began), 3*time.Second)
		wg.Wait()
		require.Greater(t, time.Since(began), time.Minute, "there was a crowd")
		synctest.Wait()
		require.Empty(t, s.directory.finder.waiting.clients)
	})
}

func TestAnAddressNobodyWaitsForAnyMoreLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.delay = time.Second
		f := start(t, g, &fakeBudget{}, nil).directory.finder
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() { _, _, _ = f.find(ctx, fmt.Sprintf("somebody%d@contoso.com", n)) })
		}
		wait(100 * time.Millisecond)
		synctest.Wait()
		require.False(t, f.waiting.empty())
		cancel()
		wg.Wait()
		synctest.Wait()
		require.True(t, f.waiting.empty())
	})
}

func TestOneWhoWantsEveryPhotoDoesNotDelayAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.photos.shutter = 100 * time.Millisecond
		s := start(t, g, &fakeBudget{}, func(o *Options) { o.Timeout = time.Hour })
		var wg sync.WaitGroup
		for n := range 1000 {
			wg.Go(func() { _, _ = s.Photo(as("heavy"), id(n), 48) })
		}
		wait(time.Second + time.Millisecond)
		for name, n := range map[string]int{"another photo": 1000, "a photo that waits for its turn already": 999} {
			began := time.Now()
			_, err := s.Photo(as("light"), id(n), 48)
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(began), 200*time.Millisecond, name)
		}
		wg.Wait()
		synctest.Wait()
		require.Len(t, g.photos.requests(), 1001)
		require.Equal(t, maxPhotoRequests, g.photos.most)
		require.Equal(t, maxPhotoRequests, s.photos.free)
		require.True(t, s.photos.waiting.empty())
	})
}

// TestARequestIsMadeInTheNameOfItsClient looks at what Graph's side, and so the
// budget, is told.
func TestARequestIsMadeInTheNameOfItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &namingBudget{}
		g := &fakeGraph{}
		s, err := New(Options{Graph: namedGraph{g, b}, Budget: b})
		require.NoError(t, err)
		defer s.Close()
		_, err = s.Presence(as("a"), id(1))
		require.NoError(t, err)
		_, err = s.Presence(context.Background(), id(2))
		require.NoError(t, err)
		_, err = s.Photo(as("b"), id(1), 48)
		require.NoError(t, err)
		_, err = s.Lookup(as("c"), "nobody@contoso.com")
		require.Equal(t, KindNotFound, errKind(err))
		require.Equal(t, []string{presenceClient + "a", presenceClient, "b", "c"}, slices.Compact(b.names()))
	})
}

// namingBudget remembers for whom it was asked.
type namingBudget struct {
	fakeBudget
	nmu   sync.Mutex
	asked []string
}

func (b *namingBudget) Acquire(ctx context.Context, lane budget.Lane) (*budget.Permit, error) {
	b.name(ctx)
	return b.fakeBudget.Acquire(ctx, lane)
}

func (b *namingBudget) name(ctx context.Context) {
	b.nmu.Lock()
	defer b.nmu.Unlock()
	b.asked = append(b.asked, budget.ClientOf(ctx))
}

func (b *namingBudget) names() []string {
	b.nmu.Lock()
	defer b.nmu.Unlock()
	return slices.Clone(b.asked)
}

// namedGraph tells a budget for whom requests are made that have no permit.
type namedGraph struct {
	*fakeGraph
	budget *namingBudget
}

func (g namedGraph) Photo(ctx context.Context, id string, size int, etag string) (Photo, error) {
	g.budget.name(ctx)
	return g.fakeGraph.Photo(ctx, id, size, etag)
}

func (g namedGraph) User(ctx context.Context, id string) (User, error) {
	g.budget.name(ctx)
	return g.fakeGraph.User(ctx, id)
}

func (g namedGraph) FindUsers(ctx context.Context, filter string, top int) ([]User, error) {
	g.budget.name(ctx)
	return g.fakeGraph.FindUsers(ctx, filter, top)
}
