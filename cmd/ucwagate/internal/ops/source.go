package ops

import (
	"context"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/cover"
)

// NamedTenant is a tenant and its name in the configuration.
type NamedTenant struct {
	Name   string
	Tenant Tenant
}

// Tenant tells how one tenant is doing.
type Tenant interface {
	// Budget is asked once a second and must be cheap.
	Budget() Budget
	// Presence is asked while somebody looks, once a second at most.
	Presence() Presence
}

// Budget is how much of Graph's limit is used.
type Budget struct {
	// Used is how many requests were sent in the window that ends now, Limit
	// how many this program may send in it.
	Used, Limit int
	// Rate and PlanRate are the present and the planned refill per second.
	Rate, PlanRate float64
	// Paused is how long nothing is sent because Graph has asked to wait.
	Paused time.Duration
	// Throttled counts Graph's answers that said so.
	Throttled uint64
	// Waiting is how many callers wait for a permit.
	Waiting int
}

// Presence is how fresh what is known is.
type Presence struct {
	// Interval is the planned time of a sweep, Sweep what the last took (0:
	// none is complete), Sweeps how many are complete.
	Interval, Sweep time.Duration
	Sweeps          uint64
	// Behind says that Interval is above the configured ceiling.
	Behind bool
	// Oldest and Mean are the ages of what is known of watched people, Bound
	// is what Oldest should not exceed.
	Oldest, Mean, Bound time.Duration
	// Tiers are the people watched, by how often they are read.
	Tiers []Tier
	// Accounts counts helper accounts by the state of their subscription;
	// empty where changes are not notified.
	Accounts []State
	// Covered is how many people's changes are notified.
	Covered int
}

// Tier is people who are read equally often.
type Tier struct {
	Name     string
	People   int
	Interval time.Duration
}

// State is how many are in a state.
type State struct {
	Name  string
	Count int
}

// Gateway tells what the gateway keeps.
type Gateway interface {
	// Status is asked while somebody looks, once a second at most. It may fail,
	// or take until ctx ends.
	Status(ctx context.Context) (GatewayStatus, error)
}

// GatewayStatus is what the gateway keeps: applications and presence
// subscriptions of UCWA clients, and P-GETs that wait in this process.
type GatewayStatus struct{ Applications, Subscriptions, Parked int }

// Parts are those of a tenant that TenantOf asks. What is nil shows as nothing.
type Parts struct {
	Budget   interface{ Stats() budget.Stats }
	Source   interface{ Stats() graphsrc.Stats }
	Coverage interface{ Stats() cover.Stats }
}

// TenantOf returns the Tenant that the parts make.
func TenantOf(p Parts) Tenant { return parts{p} }

type parts struct{ of Parts }

// Budget implements Tenant.
func (p parts) Budget() Budget {
	if p.of.Budget == nil {
		return Budget{}
	}
	s := p.of.Budget.Stats()
	b := Budget{
		Used: s.InWindow, Limit: s.InWindow + s.Remaining, Rate: s.Rate, PlanRate: s.PlanRate, Paused: s.PausedFor, Throttled: s.Throttled,
	}
	for _, n := range s.Waiting {
		b.Waiting += n
	}
	return b
}

// Presence implements Tenant.
func (p parts) Presence() Presence {
	var out Presence
	if p.of.Source != nil {
		s := p.of.Source.Stats()
		out = Presence{
			Interval: s.Interval, Sweep: s.SweepTime, Sweeps: s.Sweeps, Behind: s.BehindCeiling,
			Oldest: s.OldestAge, Mean: s.MeanAge, Bound: s.AgeBound,
			Tiers: []Tier{
				{"hot", s.Hot.People, s.Hot.Interval},
				{"normal", s.Normal.People, s.Normal.Interval},
				{"quiet", s.Quiet.People, s.Quiet.Interval},
				{"pushed", s.Pushed.People, s.Pushed.Interval},
			},
		}
	}
	if p.of.Coverage == nil {
		return out
	}
	counts := map[cover.State]int{}
	for _, a := range p.of.Coverage.Stats().Accounts {
		counts[a.State]++
		out.Covered += a.Covered
	}
	for _, state := range cover.States() {
		if n := counts[state]; n > 0 {
			out.Accounts = append(out.Accounts, State{string(state), n})
		}
	}
	return out
}
