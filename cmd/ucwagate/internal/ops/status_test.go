package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/cover"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestTheStatusIsWhatTheSourcesSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		problems := NewErrors(nil)
		s := newServer(t, func(o *Options) { o.Errors = problems })
		s.Start(t.Context())
		s.Started()
		problems.Record(Problem{"contoso", CausePermission, AreaPhotos})
		<-time.After(9 * time.Second)
		synctest.Wait() // the sample of this second
		problems.Record(Problem{Cause: CauseStore})
		var text bytes.Buffer
		require.NoError(t, json.Indent(&text, do(s, "GET", "/status.json").Body.Bytes(), "", " "))
		golden(t, "status.json", text.Bytes())
		golden(t, "status.html", do(s, "GET", "/").Body.Bytes())
		s.Close()
	})
}

func TestManyWhoLookAskTheSourcesOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := contoso()
		s := newServer(t, func(o *Options) { o.Tenants = []NamedTenant{{"contoso", tenant}} })
		var viewers sync.WaitGroup
		for range 20 {
			viewers.Go(func() {
				for range 10 {
					do(s, "GET", "/status.json")
					<-time.After(500 * time.Millisecond)
				}
			})
		}
		viewers.Wait()
		require.Equal(t, 5, tenant.asked)
		s.Started()
		require.Contains(t, do(s, "GET", "/status.json").Body.String(), `"state":"serving"`)
		s.Drain()
		require.Contains(t, do(s, "GET", "/status.json").Body.String(), `"state":"draining"`, "a new state is shown at once")
	})
}

func TestAGatewayThatDoesNotAnswerDoesNotHideTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		problems := NewErrors(nil)
		s := newServer(t, func(o *Options) {
			o.Logger, o.Errors = slog.New(slog.NewTextHandler(&log, nil)), problems
			o.Gateway = gatewayFunc(func(ctx context.Context) (GatewayStatus, error) {
				<-ctx.Done()
				return GatewayStatus{}, errors.New("down")
			})
		})
		body := do(s, "GET", "/status.json").Body.String()
		require.Contains(t, body, `{"name":"Parked P-GETs","value":"–"}`)
		require.Contains(t, body, `"used":"412"`)
		require.Contains(t, body, "The store does not answer")
		require.Contains(t, log.String(), "down")
		require.NotContains(t, do(newServer(t, func(o *Options) { o.Gateway = nil }), "GET", "/").Body.String(), "Parked")
	})
}

func TestWhatIsUnusualIsSaid(t *testing.T) {
	usual := Budget{Used: 100, Limit: 1350, Rate: 45, PlanRate: 45}
	for _, c := range []struct {
		name string
		set  func(*Budget, *Presence)
		tone tone
		note string
	}{
		{"nothing", func(*Budget, *Presence) {}, toneGood, ""},
		{"nothing known", func(b *Budget, _ *Presence) { *b = Budget{} }, toneGood, ""},
		{"a pause", func(b *Budget, _ *Presence) { b.Paused, b.Rate = 12*time.Second, 20 }, toneBad, "Graph has asked to wait: nothing is sent for 12 s."},
		{"too much", func(b *Budget, _ *Presence) { b.Used = 1351 }, toneBad, "More was sent"},
		{"too many watched", func(_ *Budget, p *Presence) { p.Behind = true }, toneWarn, "So many people"},
		{"slowed down", func(b *Budget, _ *Presence) { b.Rate = 22.5 }, toneWarn, "Slowed down"},
		{"nearly all used", func(b *Budget, _ *Presence) { b.Used = 1340 }, toneWarn, "nearly used up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tenant := &fakeTenant{budget: usual}
			c.set(&tenant.budget, &tenant.presence)
			st := (&watched{NamedTenant: NamedTenant{"contoso", tenant}}).status(time.Now())
			require.Equal(t, c.tone, st.Tone)
			require.Contains(t, st.Note, c.note)
			require.Equal(t, c.note == "", st.Note == "")
		})
	}
}

type stats[S any] func() S

func (f stats[S]) Stats() S { return f() }

func TestATenantIsMadeOfItsParts(t *testing.T) {
	tenant := TenantOf(Parts{
		Budget: stats[budget.Stats](func() budget.Stats {
			return budget.Stats{InWindow: 400, Remaining: 950, Rate: 30, PlanRate: 45, PausedFor: time.Second, Throttled: 7, Waiting: [4]int{1, 2, 3, 4}}
		}),
		Source: stats[graphsrc.Stats](func() graphsrc.Stats {
			return graphsrc.Stats{
				Interval: 1, SweepTime: 2, Sweeps: 3, BehindCeiling: true, OldestAge: 4, MeanAge: 5, AgeBound: 6,
				Hot: graphsrc.TierStats{People: 7, Interval: 8}, Normal: graphsrc.TierStats{People: 9, Interval: 10},
				Quiet: graphsrc.TierStats{People: 11, Interval: 12}, Pushed: graphsrc.TierStats{People: 13, Interval: 14},
			}
		}),
		Coverage: stats[cover.Stats](func() cover.Stats {
			return cover.Stats{Accounts: []cover.AccountStats{
				{Name: "ana", State: cover.StateLive, Covered: 600},
				{Name: "bo", State: cover.StateSignedOut},
				{Name: "cy", State: cover.StateLive, Covered: 50},
			}}
		}),
	})
	require.Equal(t, Budget{Used: 400, Limit: 1350, Rate: 30, PlanRate: 45, Paused: time.Second, Throttled: 7, Waiting: 10}, tenant.Budget())
	require.Equal(t, Presence{
		Interval: 1, Sweep: 2, Sweeps: 3, Behind: true, Oldest: 4, Mean: 5, Bound: 6,
		Tiers:    []Tier{{"hot", 7, 8}, {"normal", 9, 10}, {"quiet", 11, 12}, {"pushed", 13, 14}},
		Accounts: []State{{"signed-out", 1}, {"live", 2}}, Covered: 650,
	}, tenant.Presence())
	require.Equal(t, Budget{}, TenantOf(Parts{}).Budget())
	require.Equal(t, Presence{}, TenantOf(Parts{}).Presence())
}

func TestNumbersAndTimesReadWell(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1350: "-1,350", -13: "-13"} {
		require.Equal(t, want, number(n))
	}
	for d, want := range map[time.Duration]string{
		0: none, -time.Second: none, 300 * time.Millisecond: "0.3 s", 12500 * time.Millisecond: "12 s", time.Minute: "1 min",
		61 * time.Second: "1 min 1 s", 3*time.Hour + 5*time.Minute: "3 h 5 min", 50 * time.Hour: "2 d 2 h", 48 * time.Hour: "2 d",
	} {
		require.Equal(t, want, lasting(d))
	}
}
