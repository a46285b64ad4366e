package cover

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

// until waits for something for at most that long.
func until(t *testing.T, limit time.Duration, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); pass(time.Minute) {
		require.Less(t, time.Since(began), limit)
	}
}

func TestOnePersonGraphRefusesDoesNotCostTheOthersTheirCoverage(t *testing.T) {
	for _, tt := range []struct {
		name, who      string
		before, people int
	}{
		{"among people of whom nobody is known", "p00123", 0, 300},
		{"the first of them", "p00000", 0, 30},
		{"the last of them", "p00029", 0, 30},
		{"among newcomers", "p00110", 100, 130},
		{"the only newcomer", "p00100", 100, 101},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 1, func(b *bench) {
				b.tenant.helpers[0].refuses = func(p map[string]bool) bool { return p[tt.who] }
			}, func(t *testing.T, b *bench) {
				if tt.before > 0 {
					b.source.watch(ids(0, tt.before)...)
					pass(3 * time.Minute)
					require.Equal(t, tt.before, b.source.coveredOf(ids(0, tt.before)))
				}
				b.source.watch(ids(0, tt.people)...)
				until(t, 12*time.Hour, func() bool { return b.Stats().Barred == 1 })
				until(t, 20*time.Minute, func() bool { return b.source.coveredOf(ids(0, tt.people)) == tt.people-1 })
				require.Zero(t, b.source.coveredOf([]string{tt.who}))
				require.Contains(t, b.log.String(), "because of a person")
				require.NotContains(t, b.log.String(), tt.who, "whose id is personal data")
			})
		})
	}
}

func TestSomeoneProvenWhoHasLeftDoesNotCostTheOthersTheirCoverage(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := covered(t, b)
		h.set(func(h *helper) { h.refuses = func(p map[string]bool) bool { return p["p00003"] } })
		b.tenant.lifecycle(h.drop(), EventRemoved)
		until(t, 12*time.Hour, func() bool { return b.Stats().Barred == 1 })
		until(t, 20*time.Minute, func() bool { return b.source.coveredOf(ids(0, 20)) == 19 })
	})
}

func TestNobodyIsBlamedWhenGraphRefusesEverything(t *testing.T) {
	inBubble(t, 1, func(b *bench) {
		b.tenant.helpers[0].refuses = func(map[string]bool) bool { return true }
	}, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 30)...)
		pass(3 * time.Hour)
		require.Equal(t, 0, b.Stats().Barred)
		b.tenant.helpers[0].set(func(h *helper) { h.refuses = nil })
		pass(16 * time.Minute)
		require.Equal(t, 30, b.source.coveredOf(ids(0, 30)))
	})
}

// endpoint is an Endpoint.
type endpoint struct{ validations atomic.Uint64 }

func (e *endpoint) Validations() uint64 { return e.validations.Load() }

func TestNobodyIsBlamedWhileGraphDoesNotReachTheURL(t *testing.T) {
	const said = "Graph does not reach the notification URL"
	for _, tt := range []struct {
		name     string
		endpoint *endpoint
		reached  bool // the URL is validated nevertheless
		said     bool
	}{
		{"and nothing is known of the endpoint", nil, false, false},
		{"and the endpoint knows", new(endpoint), false, true},
		{"or refuses for another reason", new(endpoint), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 1, func(b *bench) {
				if tt.endpoint != nil {
					b.endpoint = tt.endpoint
				}
			}, func(t *testing.T, b *bench) {
				h := b.tenant.helpers[0]
				b.source.watch(ids(0, 300)...)
				pass(3 * time.Minute)
				require.Equal(t, 300, b.first().Covered)
				h.set(func(h *helper) {
					h.refuses = func(map[string]bool) bool {
						if tt.reached {
							tt.endpoint.validations.Add(1)
						}
						return true
					}
				})
				before := h.count("create")
				b.source.watch(ids(300, 340)...)
				pass(time.Hour)
				require.Zero(t, b.Stats().Barred)
				require.LessOrEqual(t, h.count("create")-before, 20)
				require.Greater(t, h.count("create")-before, 8)
				require.Equal(t, tt.said, strings.Contains(b.log.String(), said))
				require.Equal(t, tt.said, strings.Contains(b.log.String(), "notification_url="+ourURL))
				require.NotContains(t, b.log.String(), "p00", "ids are personal data")

				h.set(func(h *helper) { h.refuses = nil })
				until(t, 20*time.Minute, func() bool { return b.source.coveredOf(ids(0, 340)) == 340 })
				require.Zero(t, b.Stats().Barred)
			})
		})
	}
}

// The URL fails after people were found to be the reason, and before the last of
// them is blamed.
func TestNobodyIsBlamedWhenTheURLFailsDuringTheSearch(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := b.tenant.helpers[0]
		b.source.watch(ids(0, 300)...)
		pass(3 * time.Minute)
		h.set(func(h *helper) { h.refuses = func(p map[string]bool) bool { return p["p00339"] } })
		b.source.watch(ids(300, 340)...)
		creates := len(h.created())
		for len(h.created()) == creates { // the create without newcomers
			pass(time.Second)
		}
		require.Equal(t, 300, b.first().People)
		h.set(func(h *helper) { h.refuses = func(map[string]bool) bool { return true } })
		before := h.count("create")
		pass(time.Hour)
		require.Zero(t, b.Stats().Barred)
		require.LessOrEqual(t, h.count("create")-before, 20)
	})
}

func TestTwoHelperFilesWithOneAccount(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer time.Duration // of creates
		before func(b *bench)
	}{
		{"whose subscriptions are answered at once", 0, nil},
		{"whose subscriptions are answered late", 40 * time.Second, nil},
		{"that has a subscription from before", 40 * time.Second, func(b *bench) { b.tenant.helpers[0].put(ourURL) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 2, func(b *bench) {
				one := b.tenant.helpers[0]
				one.answer = tt.answer
				b.accounts = []Account{{"a", one}, {"b", one}, {"c", b.tenant.helpers[1]}}
				if tt.before != nil {
					tt.before(b)
				}
			}, func(t *testing.T, b *bench) {
				one, other := b.tenant.helpers[0], b.tenant.helpers[1]
				b.source.watch(ids(0, 1600)...)
				pass(8 * time.Minute)
				s := one.only()
				require.NotNil(t, s)
				deleted := one.count("delete")
				for range 24 { // who is said to be covered is subscribed to
					pass(5 * time.Minute)
					require.Same(t, s, one.only(), "nobody deletes it")
					require.Len(t, s.people, 650)
					require.Len(t, other.only().people, 650)
					require.Empty(t, b.check())
					states := map[State]int{}
					covered := 0
					for _, a := range b.Stats().Accounts {
						states[a.State]++
						covered += a.Covered
					}
					require.Equal(t, 1300, covered)
					require.Equal(t, map[State]int{StateLive: 2, StateInUse: 1}, states)
				}
				require.Equal(t, deleted, one.count("delete"))
				require.InDelta(t, 2, strings.Count(b.log.String(), "two helper files hold the same account"), 1)
				require.NotContains(t, b.log.String(), "another gateway")
			})
		})
	}
}

func TestAnAccountOfItsOwnIsUsedAgain(t *testing.T) {
	var files [2]helperFile
	inBubble(t, 2, func(b *bench) {
		for i := range files {
			files[i].Store(b.tenant.helpers[0])
			b.accounts = append(b.accounts, Account{Name: fmt.Sprint(i), Graph: &files[i]})
		}
	}, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 1300)...)
		pass(5 * time.Minute)
		require.Equal(t, 650, b.source.coveredOf(ids(0, 1300)))
		for i, a := range b.Stats().Accounts {
			if a.State == StateInUse {
				files[i].Store(b.tenant.helpers[1])
			}
		}
		pass(15 * time.Minute)
		require.Equal(t, 1300, b.source.coveredOf(ids(0, 1300)))
		require.Empty(t, b.check())
	})
}

// helperFile may come to hold another account.
type helperFile struct{ atomic.Pointer[helper] }

func (f *helperFile) Subscribe(ctx context.Context, r graphsrc.SubscriptionRequest) (graphsrc.Subscription, error) {
	return f.Load().Subscribe(ctx, r)
}

func (f *helperFile) Renew(ctx context.Context, id string, expires time.Time) (graphsrc.Subscription, error) {
	return f.Load().Renew(ctx, id, expires)
}

func (f *helperFile) Unsubscribe(ctx context.Context, id string) error {
	return f.Load().Unsubscribe(ctx, id)
}

func (f *helperFile) Subscriptions(ctx context.Context) ([]graphsrc.Subscription, error) {
	return f.Load().Subscriptions(ctx)
}

func TestASubscriptionIsNobodyElsesWhileACreateIsUnderWay(t *testing.T) {
	a, b := newAccount(Account{Name: "a"}), newAccount(Account{Name: "b"})
	m := &Manager{accounts: []*account{a, b}, notificationURL: ourURL}
	ours := []graphsrc.Subscription{{ID: "s", NotificationURL: ourURL}}
	foreign := []graphsrc.Subscription{{ID: "s", NotificationURL: foreignURL}}
	check := func(all []graphsrc.Subscription, want *account, wantUnsure bool) {
		t.Helper()
		twin, unsure := m.twin(b, all)
		require.Same(t, want, twin)
		require.Equal(t, wantUnsure, unsure)
	}
	check(ours, nil, false)
	a.sub = newSubscription(a, []string{"p"}, "k")
	check(ours, nil, true)
	check(foreign, nil, false)
	check(nil, nil, false)
	a.sub.id, a.sub.accepted = "s", true
	check(ours, a, false)
	check(foreign, nil, false)
	a.sub.end(doomPlan)
	check(ours, a, false)
	a.sub.id = "another"
	check(ours, nil, false)
}

func TestRefusalsBackOffFurtherThanFailures(t *testing.T) {
	for _, tt := range []struct {
		err  error
		last time.Duration
	}{
		{graphError(graphsrc.KindInvalid, http.StatusBadRequest), lastRefusedRetry},
		{graphError(graphsrc.KindUnavailable, http.StatusBadGateway), lastRetry},
	} {
		inBubble(t, 1, nil, func(t *testing.T, b *bench) {
			a := newAccount(Account{Name: "a"})
			for range 20 {
				b.failed(t.Context(), a, "creating a subscription", tt.err)
			}
			wait := time.Until(a.notBefore)
			require.GreaterOrEqual(t, wait, tt.last)
			require.LessOrEqual(t, wait, tt.last*11/10)
		})
	}
}
