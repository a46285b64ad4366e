package graphsrc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

// fakeShelf is a SharedDirectory in memory.
type fakeShelf struct {
	mu     sync.Mutex
	kept   map[string]LookedUp
	trips  int
	delay  time.Duration
	broken error
}

func (f *fakeShelf) enter(ctx context.Context) error {
	f.mu.Lock()
	f.trips++
	delay, broken := f.delay, f.broken
	f.mu.Unlock()
	if broken != nil {
		return broken
	}
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeShelf) Recall(ctx context.Context, addresses []string) ([]LookedUp, error) {
	if err := f.enter(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []LookedUp
	for _, a := range addresses {
		if one, ok := f.kept[a]; ok && time.Now().Before(one.Until) {
			out = append(out, one)
		}
	}
	return out, nil
}

func (f *fakeShelf) Keep(ctx context.Context, outcomes []LookedUp) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept == nil {
		f.kept = make(map[string]LookedUp)
	}
	for _, one := range outcomes {
		f.kept[one.Address] = one
	}
	return nil
}

func (f *fakeShelf) change(delay time.Duration, broken error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay, f.broken = delay, broken
}

func (f *fakeShelf) made() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trips
}

// fakePart has a role and nothing else in common with others.
type fakePart struct {
	Shared
	role atomic.Int32
}

func (f *fakePart) Role() Role { return Role(f.role.Load()) }

func part(role Role) *fakePart {
	f := &fakePart{}
	f.role.Store(int32(role))
	return f
}

// replica starts a source that shares its look-ups.
func replica(t *testing.T, g Graph, shelf SharedDirectory, p *fakePart) *Source {
	t.Helper()
	return start(t, g, &fakeBudget{}, func(o *Options) { o.SharedDirectory, o.Shared = shelf, p })
}

func populated(n int) (users []User, addresses []string) {
	for i := range n {
		address := fmt.Sprintf("user%d@contoso.com", i)
		users = append(users, User{ID: id(i + 1), UserPrincipalName: address, Mail: address})
		addresses = append(addresses, address)
	}
	return users, addresses
}

// phoneBook finds people by principal name, and many as fast as few.
type phoneBook struct {
	*fakeGraph
	by map[string]User
}

func newPhoneBook(users []User, delay time.Duration) *phoneBook {
	b := &phoneBook{fakeGraph: &fakeGraph{fakeDirectory: fakeDirectory{users: users, delay: delay}}, by: make(map[string]User)}
	for _, u := range users {
		b.by[u.UserPrincipalName] = u
	}
	return b
}

func (b *phoneBook) FindUsers(ctx context.Context, filter string, _ int) ([]User, error) {
	if err := b.enter(ctx, filter); err != nil {
		return nil, err
	}
	var out []User
	for _, m := range literal.FindAllStringSubmatch(filter, -1) {
		if u, ok := b.by[m[1]]; ok {
			out = append(out, u)
		}
	}
	return out, nil
}

// watchAll looks addresses up as a gateway does that is told of them.
func watchAll(t *testing.T, s *Source, addresses []string) {
	t.Helper()
	ctx := budget.WithLane(t.Context(), budget.FirstLook)
	queue := make(chan string)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for a := range queue {
				u, err := s.Lookup(ctx, a)
				if err != nil || u.UserPrincipalName != a {
					t.Error(a, u, err)
				}
			}
		})
	}
	for _, a := range addresses {
		queue <- a
	}
	close(queue)
	wg.Wait()
}

func shuffled(list []string) []string {
	out := append([]string(nil), list...)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func TestThreeReplicasLookUpAsMuchAsOne(t *testing.T) {
	const watched = 3_000
	for _, order := range []struct {
		name string
		of   func([]string) []string
		more int // that much of what one needs
	}{{"in the same order", func(l []string) []string { return l }, 10}, {"in any order", shuffled, 2}} {
		t.Run(order.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				users, addresses := populated(watched)
				g := newPhoneBook(users, 100*time.Millisecond)
				watchAll(t, start(t, g, &fakeBudget{}, nil), addresses)
				one := len(g.questions())
				g.forget()

				shelf := &fakeShelf{delay: time.Millisecond}
				var wg sync.WaitGroup
				for _, role := range []Role{Following, Leading, Following} {
					s := replica(t, g, shelf, part(role))
					wg.Go(func() { watchAll(t, s, order.of(addresses)) })
				}
				wg.Wait()
				t.Log(one, "requests of one,", len(g.questions()), "of three,", shelf.made(), "trips")
				require.LessOrEqual(t, len(g.questions()), one+one/order.more)

				g.forget()
				before := shelf.made()
				watchAll(t, replica(t, g, shelf, part(Leading)), addresses)
				require.Empty(t, g.questions(), "one that starts again")
				require.Less(t, shelf.made()-before, watched/20)
			})
		})
	}
}

func TestManyWhoAskAtOnceAreFewTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users, addresses := populated(3_000)
		shelf := &fakeShelf{}
		var all []LookedUp
		for i := range users {
			all = append(all, LookedUp{addresses[i], &users[i], time.Now().Add(time.Hour)})
		}
		require.NoError(t, shelf.Keep(t.Context(), all))
		shelf.change(10*time.Millisecond, nil)
		g := &fakeGraph{}
		s := replica(t, g, shelf, part(Leading))
		var wg sync.WaitGroup
		for _, a := range addresses {
			wg.Go(func() {
				_, err := s.Lookup(t.Context(), a)
				require.NoError(t, err)
			})
		}
		wg.Wait()
		require.Empty(t, g.questions())
		require.LessOrEqual(t, shelf.made(), 6)
	})
}

func TestWhatAnotherHasFoundHoldsNoLongerThanItDoesThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana}}}
		shelf := &fakeShelf{}
		a, b := replica(t, g, shelf, part(Leading)), replica(t, g, shelf, part(Following))
		look := func(s *Source, address string, want Kind) {
			t.Helper()
			_, err := s.Lookup(t.Context(), address)
			require.Equal(t, want, errKind(err))
			synctest.Wait()
		}
		look(a, "ana@contoso.com", 0)
		look(a, "ghost@contoso.com", KindNotFound)
		g.forget()
		wait(4 * time.Minute)
		look(b, "ana@contoso.com", 0)
		look(b, "ghost@contoso.com", KindNotFound)
		_, err := b.User(t.Context(), ana.ID)
		require.NoError(t, err)
		require.Empty(t, g.questions())
		wait(time.Minute)
		look(b, "ghost@contoso.com", KindNotFound)
		require.NotEmpty(t, g.questions(), "five minutes after it was looked up")
		g.forget()
		wait(54 * time.Minute)
		look(b, "ana@contoso.com", 0)
		require.Empty(t, g.questions())
		wait(time.Minute)
		look(b, "ana@contoso.com", 0)
		require.NotEmpty(t, g.questions(), "an hour after they were looked up")
		g.forget()
		look(a, "ana@contoso.com", 0)
		require.Empty(t, g.questions(), "what was looked up anew")
	})
}

func TestFailuresAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana}}}
		shelf := &fakeShelf{}
		s := replica(t, g, shelf, part(Leading))
		g.breakWith(&Error{Op: "user", Kind: KindForbidden, Status: 403})
		_, err := s.Lookup(t.Context(), "ana@contoso.com")
		require.Equal(t, KindForbidden, errKind(err))
		synctest.Wait()
		require.Empty(t, shelf.kept)
	})
}

func TestAClientDoesNotWaitForTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana, obrien}}}
		shelf := &fakeShelf{delay: 2 * time.Millisecond}
		s := replica(t, g, shelf, part(Following))
		begun := time.Now()
		_, err := s.Lookup(t.Context(), "ana@contoso.com")
		require.NoError(t, err)
		require.Less(t, time.Since(begun), 5*time.Millisecond)

		// Nor if the address is waited for already.
		done := make(chan error)
		go func() {
			_, err := s.Lookup(budget.WithLane(t.Context(), budget.FirstLook), "o'brien@contoso.com")
			done <- err
		}()
		wait(500 * time.Millisecond)
		begun = time.Now()
		_, err = s.Lookup(t.Context(), "o'brien@contoso.com")
		require.NoError(t, err)
		require.Less(t, time.Since(begun), 5*time.Millisecond)
		require.NoError(t, <-done)
		require.Len(t, g.questions(), 2)
		require.Empty(t, s.directory.shared.urgent)
	})
}

func TestAFollowerAsksWhenTheLeaderDoesNot(t *testing.T) {
	for _, c := range []struct {
		name          string
		becomes       Role
		after, before time.Duration
	}{
		{"it goes on following", Following, leaderWait, leaderWait * 3 / 2},
		{"it leads", Leading, 0, time.Second},
		{"it is alone", Alone, 0, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana}}}
				p := part(Following)
				s := replica(t, g, &fakeShelf{}, p)
				begun := time.Now()
				time.AfterFunc(50*time.Millisecond, func() { p.role.Store(int32(c.becomes)) })
				_, err := s.Lookup(budget.WithLane(t.Context(), budget.FirstLook), "ana@contoso.com")
				require.NoError(t, err)
				require.GreaterOrEqual(t, time.Since(begun), c.after)
				require.Less(t, time.Since(begun), c.before)
			})
		})
	}
}

func TestLookUpsGoOnWithoutTheSharedDirectory(t *testing.T) {
	for _, c := range []struct {
		name   string
		delay  time.Duration
		broken error
		within time.Duration
	}{
		{"it fails", 0, errors.New("away"), 10 * time.Millisecond},
		{"it is slow", time.Hour, nil, recallWait + 10*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				users, addresses := populated(20)
				g := &fakeGraph{fakeDirectory: fakeDirectory{users: users}}
				shelf := &fakeShelf{delay: c.delay, broken: c.broken}
				s := replica(t, g, shelf, part(Leading))
				look := func(a string) time.Duration {
					begun := time.Now()
					_, err := s.Lookup(t.Context(), a)
					require.NoError(t, err)
					return time.Since(begun)
				}
				require.LessOrEqual(t, look(addresses[0]), c.within)
				synctest.Wait()
				made := shelf.made()
				for _, a := range addresses[1:10] {
					require.LessOrEqual(t, look(a), 10*time.Millisecond, "it is left alone for a while")
				}
				require.Equal(t, made, shelf.made())
				shelf.change(0, nil)
				wait(2 * directoryRest)
				look(addresses[11])
				synctest.Wait()
				require.Contains(t, shelf.kept, addresses[11], "used again when it is back")
			})
		})
	}
}

func TestASynchronizedDirectoryIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := &fakeShelf{}
		s := start(t, &fakeGraph{}, &fakeBudget{}, func(o *Options) { o.SharedDirectory, o.DirectorySync = shelf, true })
		_, err := s.Lookup(t.Context(), "ghost@contoso.com")
		require.Equal(t, KindNotFound, errKind(err))
		require.Zero(t, shelf.made())
	})
}
