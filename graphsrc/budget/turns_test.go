package budget

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// rounds is the definition of whose turn it is, written down without a thought
// for its cost.
type rounds struct {
	slots   [][]string // of the round being served and those after it
	waiters map[string][]*Permit
}

func (r *rounds) clone() *rounds {
	c := &rounds{waiters: make(map[string][]*Permit)}
	for _, one := range r.slots {
		c.slots = append(c.slots, slices.Clone(one))
	}
	for key, list := range r.waiters {
		c.waiters[key] = slices.Clone(list)
	}
	return c
}

func (r *rounds) lastOf(key string) int {
	for i := len(r.slots) - 1; i >= 0; i-- {
		if slices.Contains(r.slots[i], key) {
			return i
		}
	}
	return -1
}

func (r *rounds) push(p *Permit, key string) {
	at := max(r.lastOf(key), 0) + 1
	if len(r.slots) == 0 {
		at = 0
	}
	if at == len(r.slots) {
		r.slots = append(r.slots, nil)
	}
	r.slots[at] = append(r.slots[at], key)
	r.waiters[key] = append(r.waiters[key], p)
}

func (r *rounds) pop() *Permit {
	key := r.slots[0][0]
	p := r.waiters[key][0]
	r.waiters[key] = r.waiters[key][1:]
	r.slots[0] = r.slots[0][1:]
	r.tidy()
	return p
}

func (r *rounds) drop(p *Permit, key string) {
	at := r.lastOf(key)
	r.slots[at] = slices.DeleteFunc(r.slots[at], func(k string) bool { return k == key })
	r.waiters[key] = slices.DeleteFunc(r.waiters[key], func(q *Permit) bool { return q == p })
	r.tidy()
}

func (r *rounds) tidy() {
	r.slots = slices.DeleteFunc(r.slots, func(round []string) bool { return len(round) == 0 })
}

func (r *rounds) rank(key string) int {
	c, p := r.clone(), new(Permit)
	c.push(p, key)
	for n := 1; ; n++ {
		if c.pop() == p {
			return n
		}
	}
}

func TestTurnsAreAsDefined(t *testing.T) {
	deepest := 0
	rapid.Check(t, func(t *rapid.T) {
		var got turns
		want := &rounds{waiters: make(map[string][]*Permit)}
		owner := make(map[*Permit]string)
		var all []*Permit
		key := func() string { return rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "client") }
		gone := func(p *Permit) { all = slices.DeleteFunc(all, func(q *Permit) bool { return q == p }) }
		t.Repeat(map[string]func(*rapid.T){
			"one comes": func(*rapid.T) {
				k, p := key(), new(Permit)
				got.push(p, k)
				want.push(p, k)
				owner[p], all = k, append(all, p)
			},
			"many come": func(*rapid.T) {
				k := key()
				for range rapid.IntRange(1, 300).Draw(t, "how many") {
					p := new(Permit)
					got.push(p, k)
					want.push(p, k)
					owner[p], all = k, append(all, p)
				}
				deepest = max(deepest, len(got.rounds))
			},
			"some are served": func(*rapid.T) {
				for range min(rapid.IntRange(1, 400).Draw(t, "how many"), len(all)) {
					p := got.pop()
					if p != want.pop() {
						t.Fatal("another's turn")
					}
					gone(p)
				}
			},
			"some leave": func(*rapid.T) {
				for range min(rapid.IntRange(1, 20).Draw(t, "how many"), len(all)) {
					p := all[rapid.IntRange(0, len(all)-1).Draw(t, "who")]
					got.drop(p)
					want.drop(p, owner[p])
					gone(p)
				}
			},
			"": func(*rapid.T) {
				if got.waiting != len(all) {
					t.Fatalf("%d wait, counted %d", len(all), got.waiting)
				}
				k := key()
				if a, b := got.rank(k), want.rank(k); a != b {
					t.Fatalf("a newcomer of %q is to be served as number %d, is served as %d", k, a, b)
				}
				clients := 0
				for _, list := range want.waiters {
					if len(list) > 0 {
						clients++
					}
				}
				if len(got.clients) != clients {
					t.Fatalf("%d clients wait, %d remembered", clients, len(got.clients))
				}
			},
		})
	})
	require.Greater(t, deepest, 2*blockSize, "no case was deep enough for the sums to matter")
}

// TestNoClientIsServedMuchMoreOftenThanAnother checks what the comment of turns
// promises, and the order within a client.
func TestNoClientIsServedMuchMoreOftenThanAnother(t *testing.T) {
	const clients = 4
	type ticket struct {
		client, number int
		alone          bool         // nobody else of the client waited when it came
		before         [clients]int // how often the clients had been served then
	}
	rapid.Check(t, func(t *rapid.T) {
		var q turns
		tickets := make(map[*Permit]ticket)
		var came, served, waiting [clients]int
		var lead [clients][clients]int // the most grants one is ahead, over any stretch in which both wait
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if q.waiting == 0 || rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				c := rapid.IntRange(0, clients-1).Draw(t, "client")
				for range rapid.SampledFrom([]int{1, 1, 3, 20}).Draw(t, "how many") {
					p := new(Permit)
					q.push(p, fmt.Sprint(c))
					tickets[p] = ticket{c, came[c], waiting[c] == 0, served}
					came[c]++
					waiting[c]++
				}
				continue
			}
			one := tickets[q.pop()]
			c := one.client
			if one.number != served[c] {
				t.Fatalf("number %d of a client served as number %d", one.number, served[c])
			}
			served[c]++
			waiting[c]--
			for other := range clients {
				if other == c {
					continue
				}
				if n := served[other] - one.before[other]; one.alone && n > 2 {
					t.Fatalf("a lone waiter was served after %d others of one client", n)
				}
				if waiting[other] > 0 {
					lead[c][other]++
				} else {
					lead[c][other] = 0
				}
				lead[other][c] = max(lead[other][c]-1, 0)
				if lead[c][other] > 2 {
					t.Fatalf("%d grants more than another client that waits, too", lead[c][other])
				}
				if waiting[c] == 0 {
					lead[c][other], lead[other][c] = 0, 0
				}
			}
		}
	})
}

func TestWhatARushTookIsGivenBack(t *testing.T) {
	var q turns
	for range 2 {
		for i := range 5 * keptSlots {
			q.push(new(Permit), fmt.Sprint(i))
			q.push(new(Permit), "one")
		}
		for q.waiting > 0 {
			q.pop()
		}
		require.Empty(t, q.clients)
		require.Zero(t, cap(q.rounds))
		require.LessOrEqual(t, q.spares, keptSlots)
	}
}

// crowded returns a budget in whose lanes callers of several clients wait, none
// with a deadline.
func crowded(t *testing.T, rnd *rand.Rand) *Budget {
	b := newBudget(t, Options{})
	b.order.slot = rnd.IntN(wheelSize)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.settle()
	for range rnd.IntN(100) {
		p := &Permit{budget: b, lane: Lane(rnd.IntN(LaneCount))}
		if err := b.enqueue(WithClient(t.Context(), fmt.Sprint(rnd.IntN(1+rnd.IntN(8)))), p, now); err != nil {
			t.Fatal(err)
		}
		go func() {
			<-p.ready
			b.spend(p)
		}()
	}
	return b
}

func TestAForecastIsExactIfNobodyComesOrGoes(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		lane := Lane(rapid.IntRange(0, LaneCount-1).Draw(t, "lane"))
		client := rapid.SampledFrom([]string{"", "0", "1", "5"}).Draw(t, "client")
		synctest.Test(outer, func(t *testing.T) {
			b := crowded(t, rand.New(rand.NewPCG(seed, 1)))
			b.mu.Lock()
			at := b.forecast(lane, client, 0) // no deadline is before that: it looks closely
			b.mu.Unlock()
			ctx, cancel := context.WithTimeout(WithClient(t.Context(), client), time.Duration(at))
			defer cancel()
			_, err := b.Acquire(ctx, lane)
			var e *ExhaustedError
			require.ErrorAs(t, err, &e, "a deadline at the token is hopeless")
			require.Equal(t, time.Duration(at), e.RetryAfter)

			ctx, cancel = context.WithTimeout(WithClient(t.Context(), client), time.Duration(at)+1)
			defer cancel()
			c := acquireAsync(ctx, b, lane)
			wait(time.Duration(at) + 1)
			require.True(t, c.finished())
			require.NoError(t, c.err)
			require.Equal(t, time.Duration(at), c.took)
			wait(time.Minute)
		})
	})
}

// TestAPauseRefusesExactlyTheHopeless lets a pause come over callers of several
// clients: whoever is left is served in time, and whoever is refused could not
// have been.
func TestAPauseRefusesExactlyTheHopeless(t *testing.T) {
	outer := t
	refused, served := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		synctest.Test(outer, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			b := newBudget(t, Options{})
			type one struct {
				*caller
				deadline time.Duration
			}
			var callers []one
			for range rnd.IntN(80) {
				deadline := 2500*time.Millisecond + time.Duration(rnd.IntN(5_000_000))*time.Microsecond
				ctx, cancel := context.WithTimeout(WithClient(t.Context(), fmt.Sprint(rnd.IntN(5))), deadline)
				t.Cleanup(cancel)
				callers = append(callers, one{acquireAsync(ctx, b, Lane(rnd.IntN(LaneCount))), deadline})
			}
			b.Throttled(2*time.Second, true)
			synctest.Wait()
			for _, c := range callers {
				if c.finished() {
					var e *ExhaustedError
					require.ErrorAs(t, c.err, &e)
					require.GreaterOrEqual(t, e.RetryAfter, c.deadline)
					refused++
				} else {
					go func() {
						<-c.done
						if c.err == nil {
							b.spend(c.permit)
						}
					}()
				}
			}
			wait(10 * time.Second)
			for _, c := range callers {
				require.True(t, c.finished())
				require.NotErrorIs(t, c.err, context.DeadlineExceeded, "waited in vain")
				if c.err == nil {
					served++
				}
			}
		})
	})
	require.Positive(t, refused)
	require.Positive(t, served)
}

func TestManyCallersOfOneClientDoNotDelayAnother(t *testing.T) {
	for name, c := range map[string]struct {
		client string
		within time.Duration
	}{
		"another client is served after two of the many":     {"light", 3 * time.Second / 45},
		"whoever says nothing is another client, too":        {"", 3 * time.Second / 45},
		"the client itself is served after what it asks for": {"heavy", 1001 * time.Second / 45},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(t, Options{})
				ctx, cancel := context.WithCancel(WithClient(t.Context(), "heavy"))
				for range 1000 {
					go func() {
						if p, err := b.Acquire(ctx, Interactive); err == nil {
							b.spend(p)
						}
					}()
				}
				synctest.Wait()
				require.Equal(t, 1, b.Stats().Clients[Interactive])
				one := acquireAsync(WithClient(t.Context(), c.client), b, Interactive)
				wait(time.Minute)
				require.True(t, one.finished())
				require.NoError(t, one.err)
				require.InDelta(t, c.within.Seconds(), one.took.Seconds(), 1e-6)
				cancel()
				synctest.Wait()
				require.Equal(t, [LaneCount]int{}, b.Stats().Clients)
			})
		})
	}
}

// TestEveryLaneGetsItsShareOfAnyFortyGrants plays random loads of several clients
// and looks at every stretch of 40 grants.
func TestEveryLaneGetsItsShareOfAnyFortyGrants(t *testing.T) {
	// What a lane gets that has somebody waiting throughout, whatever the others do.
	least := [LaneCount]int{Interactive: 36, Publish: 1, FirstLook: 1, Refresh: 2}
	stretches := [LaneCount]int{}
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var busy [LaneCount]int // of 100 grants, before how many somebody comes
		for lane := range busy {
			busy[lane] = rapid.SampledFrom([]int{0, 3, 50, 97, 200}).Draw(t, Lane(lane).String())
		}
		// So small a bucket has no reserve, and tokens for one grant are for one.
		b := newBudget(outer, Options{Plan: Plan{Limit: 1500, Window: 30 * time.Second, Capacity: 9, Rate: 45}})
		b.Throttled(time.Hour, true) // the only tokens are those put in below
		b.mu.Lock()
		defer b.mu.Unlock()
		var grants []Lane
		var waited [][LaneCount]bool
		for range 400 {
			for lane, often := range busy {
				for n := often; n > 0; n -= 100 {
					if rnd.IntN(100) >= n {
						continue
					}
					ctx := WithClient(context.Background(), fmt.Sprint(rnd.IntN(4)))
					b.bucket.level = 0
					if err := b.enqueue(ctx, &Permit{budget: b, lane: Lane(lane)}, b.settle()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if b.order.empty() {
				continue
			}
			var w [LaneCount]bool
			for lane, n := range b.order.waiting {
				w[lane] = n > 0
			}
			before := b.order.waiting
			_, tokens := b.nextGrant()
			b.bucket.level = tokens * unit
			b.dispatch(b.settle())
			for lane := range before {
				if b.order.waiting[lane] < before[lane] {
					grants = append(grants, Lane(lane))
					waited = append(waited, w)
				}
			}
			b.dropHeld()
		}
		for from := 0; from+wheelSize <= len(grants); from++ {
			var got [LaneCount]int
			throughout := [LaneCount]bool{true, true, true, true}
			for i := from; i < from+wheelSize; i++ {
				got[grants[i]]++
				for lane := range throughout {
					throughout[lane] = throughout[lane] && waited[i][lane]
				}
			}
			for lane, ok := range throughout {
				if !ok {
					continue
				}
				stretches[lane]++
				if got[lane] < least[lane] {
					t.Fatalf("%s got %d of the grants from %d to %d, %v", Lane(lane), got[lane], from, from+wheelSize, grants[from:from+wheelSize])
				}
			}
		}
	})
	for lane, n := range stretches {
		require.Greater(t, n, 1000, "stretches in which the %s lane waited", Lane(lane))
	}
}

func TestClientOfAContext(t *testing.T) {
	require.Empty(t, ClientOf(context.Background()))
	require.Equal(t, "a", ClientOf(WithClient(context.Background(), "a")))
	require.Empty(t, ClientOf(WithClient(WithClient(context.Background(), "a"), "")), "made anonymous again")
}

func TestSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		filled, perToken := b.Spare()
		require.Zero(t, filled)
		require.Equal(t, 22222223*time.Nanosecond, perToken)
		wait(time.Second)
		filled, _ = b.Spare()
		require.InDelta(t, 0.45, filled, 1e-9)
		b.Throttled(time.Second, true)
		filled, perToken = b.Spare()
		require.Zero(t, filled)
		require.InDelta(t, 1/22.5, perToken.Seconds(), 1e-6)
	})
}
