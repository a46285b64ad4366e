package cover

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

// inBubble runs a test with a manager for some accounts.
func inBubble(t *testing.T, accounts int, prepare func(*bench), run func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, accounts, prepare)
		defer b.end()
		run(t, b)
		require.Empty(t, b.tenant.broken)
	})
}

func (b *bench) first() AccountStats { return b.Stats().Accounts[0] }

func TestWatchedPeopleAreCoveredSoonAfterTheyAreReread(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		require.Equal(t, StateIdle, b.first().State)
		b.source.watch(ids(0, 3)...)
		pass(30 * time.Second)
		require.Equal(t, 3, b.source.coveredOf(ids(0, 3)))
		require.Equal(t, StateLive, b.first().State)
		h := b.tenant.helpers[0]
		b.source.mu.Lock()
		read := b.source.reread["p00001"]
		b.source.mu.Unlock()
		require.False(t, read.Before(h.created()[0]), "read before the subscription existed")

		b.tenant.change("p00001")
		pass(3 * time.Second)
		require.Empty(t, b.source.stale())
		require.EqualValues(t, 1, b.first().Notifications)
	})
}

func TestEveryAccountTakesUpTo650PeopleAndTheMostDeservingComeFirst(t *testing.T) {
	inBubble(t, 2, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 1400)...)
		pass(2 * time.Minute)
		require.Equal(t, 1300, b.source.coveredOf(ids(0, 1300)))
		require.Equal(t, 0, b.source.coveredOf(ids(1300, 1400)))
		b.source.unwatch(ids(0, 40)...)
		pass(3 * time.Minute)
		require.Equal(t, 1300, b.source.coveredOf(ids(40, 1340)))
		for _, h := range b.tenant.helpers {
			require.LessOrEqual(t, h.count("create"), 2)
		}
	})
}

func TestAFewNewPeopleWaitFiveMinutesAndManyDoNot(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := b.tenant.helpers[0]
		b.source.watch(ids(0, 100)...)
		pass(time.Minute)
		b.source.watch(ids(100, 103)...)
		pass(4 * time.Minute)
		require.Equal(t, 0, b.source.coveredOf(ids(100, 103)))
		pass(4 * time.Minute)
		require.Equal(t, 103, b.source.coveredOf(ids(0, 103)))
		require.Equal(t, 2, h.count("create"))
		b.source.watch(ids(103, 120)...)
		pass(90 * time.Second)
		require.Equal(t, 120, b.source.coveredOf(ids(0, 120)))
		for i, at := range h.created() {
			if i > 0 {
				require.GreaterOrEqual(t, at.Sub(h.created()[i-1]), time.Minute)
			}
		}
	})
}

func TestASubscriptionNobodyNeedsIsDeleted(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		pass(time.Minute)
		require.NotNil(t, b.tenant.helpers[0].only())
		b.source.unwatch(ids(0, 20)...)
		pass(2 * time.Minute)
		require.Nil(t, b.tenant.helpers[0].only())
		require.Equal(t, StateIdle, b.first().State)
	})
}

func TestSubscriptionsAreRenewedForDaysWithoutAGap(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		pass(time.Minute)
		s := b.tenant.helpers[0].only()
		for range 48 {
			pass(time.Hour)
			require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
		}
		require.Same(t, s, b.tenant.helpers[0].only())
		require.Greater(t, b.first().Renewed, uint64(48))
	})
}

func TestANotificationThatOvertakesTheAnswerOfTheCreateIsKnown(t *testing.T) {
	inBubble(t, 1, func(b *bench) { b.tenant.helpers[0].answer = 20 * time.Second }, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		for b.tenant.helpers[0].only() == nil {
			pass(time.Second)
		}
		s := b.tenant.helpers[0].only()
		b.tenant.change("p00007")
		pass(3 * time.Second)
		require.EqualValues(t, 1, b.first().Notifications)
		require.Equal(t, 0, b.first().Covered, "nobody is covered before the answer")
		require.False(t, b.Knows(s.ID, "guess"))
		require.False(t, b.Knows("another", s.secret))
		b.source.mu.Lock()
		require.Equal(t, "v1", b.source.known["p00007"])
		b.source.mu.Unlock()
		pass(20 * time.Second)
		require.Equal(t, 20, b.first().Covered)
	})
}

func TestALateNotificationOfAReplacedSubscriptionLeadsToAReading(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		pass(time.Minute)
		old := b.tenant.helpers[0].only()
		b.source.watch(ids(20, 60)...)
		pass(2 * time.Minute)
		require.NotSame(t, old, b.tenant.helpers[0].only())
		require.True(t, b.Knows(old.ID, old.secret))
		b.Changed([]graphsrc.PresenceChange{{ID: "P00003", Availability: "outdated", SubscriptionID: old.ID}})
		b.source.mu.Lock()
		require.NotEqual(t, "outdated", b.source.known["p00003"])
		require.Equal(t, time.Now(), b.source.reread["p00003"])
		b.source.mu.Unlock()
		pass(6 * time.Minute)
		require.False(t, b.Knows(old.ID, old.secret))
	})
}

func TestLifecycleEvents(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, b *bench, s *modelSub)
	}{
		{"reauthorizationRequired renews at once", func(t *testing.T, b *bench, s *modelSub) {
			b.tenant.lifecycle(s, EventReauthorize)
			pass(time.Second)
			require.EqualValues(t, 1, b.first().Renewed)
			require.Equal(t, 20, b.first().Covered)
		}},
		{"a storm of reauthorizationRequired renews every 30 s", func(t *testing.T, b *bench, s *modelSub) {
			for range 300 {
				b.tenant.lifecycle(s, EventReauthorize)
				pass(time.Second)
			}
			require.InDelta(t, 10, b.tenant.helpers[0].count("renew"), 1)
		}},
		{"subscriptionRemoved uncovers at once and creates anew", func(t *testing.T, b *bench, _ *modelSub) {
			gone := b.tenant.helpers[0].drop()
			b.tenant.lifecycle(gone, EventRemoved)
			synctest.Wait()
			require.Equal(t, 0, b.source.coveredOf(ids(0, 20)))
			pass(5 * time.Second)
			require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
			require.EqualValues(t, 2, b.first().Created)
		}},
		{"a storm of subscriptionRemoved creates once per minute", func(t *testing.T, b *bench, _ *modelSub) {
			h := b.tenant.helpers[0]
			for range 100 {
				if gone := h.drop(); gone != nil {
					b.tenant.lifecycle(gone, EventRemoved)
				}
				pass(5 * time.Second)
			}
			at := h.created()
			require.Greater(t, len(at), 5)
			for i := range at[1:] {
				require.GreaterOrEqual(t, at[i+1].Sub(at[i]), createGap-time.Second)
			}
		}},
		{"missed reads the people again and is no evidence of silence", func(t *testing.T, b *bench, s *modelSub) {
			s.silent = true
			b.tenant.change(ids(0, 20)...)
			b.tenant.lifecycle(s, EventMissed)
			pass(5 * time.Second)
			require.Empty(t, b.source.stale())
			pass(10 * time.Minute)
			require.EqualValues(t, 0, b.first().SilentDeaths)
		}},
		{"an unknown event changes nothing", func(t *testing.T, b *bench, s *modelSub) {
			b.tenant.lifecycle(s, "somethingNew")
			pass(time.Minute)
			require.EqualValues(t, 1, b.first().Created)
			require.Equal(t, 20, b.first().Covered)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 1, nil, func(t *testing.T, b *bench) {
				b.source.watch(ids(0, 20)...)
				pass(2 * time.Minute)
				tt.run(t, b, b.tenant.helpers[0].only())
			})
		})
	}
}

func TestASubscriptionThatIsGoneAtItsRenewalIsMadeAnew(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		pass(2 * time.Minute)
		b.tenant.helpers[0].drop()
		pass(40 * time.Minute)
		require.EqualValues(t, 2, b.first().Created)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
	})
}

func TestARenewalThatFailsTillTheEndUncoversInTime(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		h := b.tenant.helpers[0]
		b.source.watch(ids(0, 20)...)
		pass(time.Minute)
		h.set(func(h *helper) { h.down = graphError(graphsrc.KindUnavailable, http.StatusBadGateway) })
		pass(45 * time.Minute)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)), "the subscription still lives")
		pass(10 * time.Minute)
		require.Equal(t, 0, b.source.coveredOf(ids(0, 20)))
		require.Equal(t, StateBackOff, b.first().State)
		h.set(func(h *helper) { h.down = nil })
		pass(7 * time.Minute)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
	})
}

func TestTheKeyIsRotatedWithTheNextRenewal(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		pass(time.Minute)
		b.keys.set("k2", false)
		pass(20 * time.Minute)
		require.Equal(t, "k1", b.tenant.helpers[0].only().keyID)
		pass(20 * time.Minute)
		require.Equal(t, "k2", b.tenant.helpers[0].only().keyID)
		b.keys.set("", true)
		pass(time.Hour)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)), "a key that cannot be read ends nothing")
	})
}

func TestASubscriptionMostOfWhosePeopleAreUnwatchedIsReplacedWithTheRenewal(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		pass(time.Minute)
		b.source.unwatch(ids(5, 20)...)
		pass(20 * time.Minute)
		require.Len(t, b.tenant.helpers[0].only().people, 20)
		pass(20 * time.Minute)
		require.Len(t, b.tenant.helpers[0].only().people, 5)
	})
}

func TestWhatAnEarlierProcessLeftIsDeletedAtTheStart(t *testing.T) {
	inBubble(t, 1, func(b *bench) { b.tenant.helpers[0].put(ourURL) }, func(t *testing.T, b *bench) {
		pass(time.Second)
		require.Nil(t, b.tenant.helpers[0].only(), "even while nobody is watched")
	})
}

func TestAnAccountInUseElsewhereIsReportedAndLeftAlone(t *testing.T) {
	inBubble(t, 1, func(b *bench) { b.tenant.helpers[0].put(foreignURL) }, func(t *testing.T, b *bench) {
		h := b.tenant.helpers[0]
		b.source.watch(ids(0, 20)...)
		pass(30 * time.Second)
		require.Equal(t, StateInUse, b.first().State)
		require.Contains(t, b.log.String(), "in use by another gateway")
		pass(50 * time.Minute)
		require.Equal(t, foreignURL, h.only().NotificationURL)
		require.InDelta(t, 6, h.count("create"), 1)
		h.drop()
		pass(12 * time.Minute)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
		require.Equal(t, StateLive, b.first().State)
	})
}

func TestACreateWhoseAnswerIsLostLeavesNothingBehind(t *testing.T) {
	inBubble(t, 1, func(b *bench) {
		b.tenant.helpers[0].faults["create"] = []fault{{graphError(graphsrc.KindTimeout, 0), true}}
	}, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		pass(time.Minute)
		require.Equal(t, 20, b.source.coveredOf(ids(0, 20)))
		require.Equal(t, 2, b.tenant.helpers[0].count("create"))
	})
}

func TestTroubleOfAnAccount(t *testing.T) {
	signIn := &graphsrc.Error{Op: "test", Kind: graphsrc.KindUnauthorized, Err: graphsrc.ErrSignInNeeded}
	slow := graphError(graphsrc.KindThrottled, http.StatusTooManyRequests)
	slow.RetryAfter = 90 * time.Second
	endless := graphError(graphsrc.KindUnavailable, http.StatusServiceUnavailable)
	endless.RetryAfter = 24 * time.Hour
	tests := []struct {
		name   string
		down   error
		state  State
		logged string
		times  int // in an hour
		back   time.Duration
	}{
		{"signed out is tried every 5 minutes and said once per hour", signIn, StateSignedOut, "ucwagate helper sign-in", 1, 6 * time.Minute},
		{"forbidden is tried every 30 minutes", graphError(graphsrc.KindForbidden, 403), StateBackOff, "Presence.Read.All", 2, 31 * time.Minute},
		{"throttled waits as long as Graph says", slow, StateBackOff, "a helper account failed", 21, 6 * time.Minute},
		{"an endless Retry-After is bounded", endless, StateBackOff, "a helper account failed", 6, 11 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 2, func(b *bench) { b.tenant.helpers[0].down = tt.down }, func(t *testing.T, b *bench) {
				h := b.tenant.helpers[0]
				b.source.watch(ids(0, 700)...)
				pass(59 * time.Minute)
				require.Equal(t, tt.state, b.first().State)
				require.InDelta(t, tt.times, strings.Count(b.log.String(), tt.logged), float64(tt.times)/3)
				if tt.state == StateSignedOut {
					require.InDelta(t, 12, b.signIns.Load(), 2, "each try tells of it")
				} else {
					require.Zero(t, b.signIns.Load())
				}
				require.Equal(t, 650, b.source.coveredOf(ids(0, 700)), "the other account is full")
				h.set(func(h *helper) { h.down = nil })
				pass(tt.back + 2*time.Minute)
				require.Equal(t, 700, b.source.coveredOf(ids(0, 700)))
			})
		})
	}
}

func TestAnAccountInTroubleGivesItsPeopleToAnother(t *testing.T) {
	inBubble(t, 2, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 100)...)
		pass(time.Minute)
		require.NotNil(t, b.tenant.helpers[0].only())
		b.tenant.helpers[0].set(func(h *helper) {
			h.down = &graphsrc.Error{Op: "test", Kind: graphsrc.KindUnauthorized, Err: graphsrc.ErrSignInNeeded}
		})
		b.tenant.lifecycle(b.tenant.helpers[0].drop(), EventRemoved)
		pass(2 * time.Minute)
		require.Equal(t, 100, b.source.coveredOf(ids(0, 100)))
		require.Len(t, b.tenant.helpers[1].only().people, 100)
	})
}

func TestCloseUncoversAndDeletesWithinFiveSeconds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(h *helper)
		left    int
		within  time.Duration
	}{
		{"a subscription", func(*helper) {}, 0, time.Second},
		{"a subscription being created", func(h *helper) { h.answer = time.Hour }, 0, time.Second},
		{"nothing if Graph fails", func(*helper) {}, 1, time.Second},
		{"nothing if Graph hangs", func(*helper) {}, 1, closeTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, 1, func(b *bench) { tt.prepare(b.tenant.helpers[0]) })
				h := b.tenant.helpers[0]
				b.source.watch(ids(0, 20)...)
				pass(25 * time.Second)
				s := h.only()
				require.NotNil(t, s)
				h.set(func(h *helper) {
					h.hangs = tt.within == closeTimeout
					if tt.left > 0 {
						h.faults["delete"] = []fault{{err: graphError(graphsrc.KindUnavailable, 503)}}
					}
				})
				began := time.Now()
				b.end()
				require.LessOrEqual(t, time.Since(began), tt.within)
				require.Equal(t, 0, b.source.coveredOf(ids(0, 20)))
				h.set(func(h *helper) { require.Len(t, h.live(), tt.left) })
				require.False(t, b.Knows(s.ID, s.secret))
				b.Changed([]graphsrc.PresenceChange{{ID: "p00001", Availability: "late", SubscriptionID: s.ID}})
				b.Lifecycle(s.ID, EventRemoved)
				b.Close()
			})
		})
	}
}

func TestCloseOfManyAccountsWhoseGraphHangsTakesFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, 12, func(b *bench) {
			for _, h := range b.tenant.helpers[6:] {
				h.answer = time.Hour // their creates are under way
			}
		})
		b.source.watch(ids(0, 12*graphsrc.SubscriptionSize)...)
		pass(25 * time.Second)
		for _, h := range b.tenant.helpers {
			require.NotNil(t, h.only())
			h.set(func(h *helper) { h.hangs = true })
		}
		began := time.Now()
		b.end()
		require.LessOrEqual(t, time.Since(began), closeTimeout)
		require.Equal(t, 0, b.source.coveredOf(b.source.Watched(12*graphsrc.SubscriptionSize)))
	})
}

func TestASuspendedMachineNoticesThatItsSubscriptionHasEnded(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		b.source.watch(ids(0, 20)...)
		pass(2 * time.Minute)
		b.tenant.helpers[0].drop()
		b.clock.set(2 * time.Hour)
		pass(time.Minute)
		require.Equal(t, 0, b.source.coveredOf(ids(0, 20)))
		b.tenant.broken = nil // for the model, the lifetimes asked for are too long
	})
}

func TestOptionsNameEverythingThatIsWrong(t *testing.T) {
	_, err := New(Options{
		Accounts:        []Account{{Name: "a"}, {Name: "a"}, {}},
		NotificationURL: "http://plain", LifecycleURL: "https://", Replan: time.Second,
	})
	for _, want := range []string{
		"people are missing", "keys are missing", `"a" is there twice`, "account 3 has no name", "account 1 cannot subscribe",
		"notification URL", "lifecycle URL", "planning every 1s",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = New(Options{})
	require.ErrorContains(t, err, "no helper account")
}

func TestEveryStateIsListedOnce(t *testing.T) {
	seen := make(map[State]bool)
	for _, s := range States() {
		require.False(t, seen[s], fmt.Sprint(s))
		seen[s] = true
	}
	require.Len(t, seen, 8)
}
