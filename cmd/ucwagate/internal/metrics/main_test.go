package metrics

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/cover"
	"ucwagate/graphsrc/notify"
	"ucwagate/graphsrc/units"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type stats[S any] func() S

func (f stats[S]) Stats() S { return f() }

func always[S any](s S) stats[S] { return func() S { return s } }

type gatewayFunc func(context.Context) (GatewayStats, error)

func (f gatewayFunc) Stats(ctx context.Context) (GatewayStats, error) { return f(ctx) }

// tenantWithEverything has a different number in every place.
func tenantWithEverything(name string) Tenant {
	return Tenant{
		Name: name,
		Budget: always(budget.Stats{
			Tokens: 41.5, Held: 2, Rate: 22.5, PlanRate: 45, PausedFor: 3500 * time.Millisecond,
			Waiting: [4]int{1, 2, 3, 4}, Clients: [4]int{5, 6, 7, 8}, Sent: [4]uint64{101, 102, 103, 104},
			Resent: 9, Throttled: 10, WorstWindow: 1340, InWindow: 900, Remaining: 450,
			Sharing: budget.SharingStats{State: budget.Shared, Trips: 105, Failed: 106, Leased: 107, Members: 3, Ghosts: 1},
		}),
		Leads: func() bool { return true },
		Units: always(units.Stats{
			Limit: 3500, Level: -1.5, Held: 3, Rate: 200, PlanRate: 350, PausedFor: 2 * time.Second, Waiting: 11, Waited: 12,
			Requests: 13, Spent: 14, Undercharged: 15, Share: 0.85, Slowed: 16, Throttled: 17, MailboxesThrottled: 18,
			WorstWindow: 3000, InWindow: 1200, Mailboxes: 19, MailboxWaiting: 20,
		}),
		Source: always(graphsrc.Stats{
			Hits: 201, Misses: 202, StaleServed: 203, Requests: 204, Failures: 205, IDs: 206, Refused: 207, Changes: 208,
			Regressions: 209, Held: 210, Missing: 211, Foreign: 212, Bisections: 213, Quarantined: 214, Known: 215,
			Watched: 100, Interval: 25 * time.Second,
			Hot: graphsrc.TierStats{People: 10, Interval: 20 * time.Second}, Normal: graphsrc.TierStats{People: 40, Interval: 30 * time.Second},
			Quiet: graphsrc.TierStats{People: 45, Interval: time.Minute}, Pushed: graphsrc.TierStats{People: 5, Interval: 10 * time.Minute},
			Notified: 216, Missed: 217, AgeBound: 61 * time.Second, OldestAge: 59 * time.Second, MeanAge: 15 * time.Second,
			Sweeps: 218, SweepTime: 24500 * time.Millisecond, SweepRequests: 219, BehindCeiling: true,
		}),
		Notifications: always(notify.Stats{
			Validations: 301, Deliveries: 302, Unreadable: 303, QueueFull: 304, Items: 305, Changes: 306, ForeignTenant: 307,
			WrongClientState: 308, Malformed: 309, BadTokens: 310, Unproven: 311, Undecryptable: 312, UnknownEvent: 313, Waiting: 314,
			Lifecycle: map[notify.Event]uint64{notify.ReauthorizationRequired: 1, notify.SubscriptionRemoved: 2, notify.Missed: 4},
		}),
		Coverage: always(cover.Stats{Barred: 401, Accounts: []cover.AccountStats{
			{
				Name: "one", State: cover.StateLive, People: 650, Covered: 600, Created: 1, Renewed: 2, Failed: 3, Notifications: 4, SilentDeaths: 5, Muted: 6,
				Expires: time.UnixMilli(1_700_000_000_250), LastNotification: time.UnixMilli(1_699_999_000_000),
			},
			{
				Name: "two", State: cover.StateLive, People: 50, Covered: 40, Created: 10, Renewed: 20, Failed: 30, SilentDeaths: 50, Muted: 60,
				Expires: time.UnixMilli(1_700_000_009_000), LastNotification: time.UnixMilli(1_699_999_500_000),
			},
			{Name: "three", State: cover.StateSignedOut},
		}}),
	}
}

func everything(t testing.TB) *Metrics {
	t.Helper()
	m := New(Options{
		Build:         Build{Version: "1.2.3", Revision: "abcdef"},
		SignInMethods: []string{"password", "entra"}, SignInResults: []string{"ok", "wrong-password", "unavailable"},
		RedisOperations: []string{"evalsha", "pipeline"}, RedisResults: []string{"ok", "timeout"},
	})
	if err := m.AddTenant(tenantWithEverything("contoso")); err != nil {
		t.Fatal(err)
	}
	m.SetRedis(func() bool { return true })
	m.SetGateway(gatewayFunc(func(context.Context) (GatewayStats, error) {
		return GatewayStats{Applications: 501, Subscriptions: 502, Parked: 503, UnknownWords: 504}, nil
	}))
	return m
}
