package metrics

import "ucwagate/graphsrc/budget"

// sharingTable is of the budget that replicas share.
var sharingTable = newTable(perTenant,
	gaugeBy("ucwagate_budget_sharing", "1 for where this replica takes its tokens from: the bucket of all (shared), its own part while Redis is away (fallback), or nowhere (waiting).", "state",
		func(s *budget.SharingStats, to sink) {
			for _, state := range []budget.SharingState{budget.Shared, budget.Fallback, budget.Waiting} {
				to.value(truth(s.State == state), state.String())
			}
		}),
	gauge("ucwagate_budget_members", "Replicas that share the budget, as this one last heard.",
		func(s *budget.SharingStats) float64 { return float64(s.Members) }),
	gauge("ucwagate_budget_ghosts", "Replicas that are silent, whose part of the budget is set aside because they may be using it.",
		func(s *budget.SharingStats) float64 { return float64(s.Ghosts) }),
	counterBy("ucwagate_budget_trips_total", "Times this replica asked Redis for tokens, or told what it had sent, by result.", "result",
		func(s *budget.SharingStats, to sink) {
			to.value(float64(s.Trips), "ok")
			to.value(float64(s.Failed), "failed")
		}),
	counter("ucwagate_budget_leased_tokens_total", "Tokens that this replica took from the bucket of all.",
		func(s *budget.SharingStats) uint64 { return s.Leased }),
)

// leaderTable is of the presence that replicas share.
var leaderTable = newTable(perTenant,
	gauge("ucwagate_presence_leader", "1 while this replica reads the presence of those who are watched for all replicas.",
		func(leads *bool) float64 { return truth(*leads) }),
)

// redisTable is of the way to Redis.
var redisTable = newTable(nil,
	gauge("ucwagate_redis_up", "1 while Redis takes writes.", func(up *bool) float64 { return truth(*up) }),
)

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
