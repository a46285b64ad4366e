package metrics

import (
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/units"
)

// labelTenant is the tenant's name in the configuration.
const labelTenant = "tenant"

var perTenant = []string{labelTenant}

func eachLane[N int | uint64](counts *[budget.LaneCount]N, to sink) {
	for lane, n := range counts {
		to.value(float64(n), budget.Lane(lane).String())
	}
}

var budgetTable = newTable(perTenant,
	gauge("ucwagate_graph_budget_tokens", "Tokens in the bucket, each good for a request to Graph; below zero while silent repeats are paid back.",
		func(s *budget.Stats) float64 { return s.Tokens }),
	gauge("ucwagate_graph_budget_held_permits", "Permits granted and neither sent nor returned yet.",
		func(s *budget.Stats) float64 { return float64(s.Held) }),
	gauge("ucwagate_graph_budget_refill_tokens_per_second", "Present refill; throttling lowers it, quiet raises it again.",
		func(s *budget.Stats) float64 { return s.Rate }),
	gauge("ucwagate_graph_budget_plan_tokens_per_second", "Planned refill.",
		func(s *budget.Stats) float64 { return s.PlanRate }),
	gauge("ucwagate_graph_budget_paused_seconds", "How long nothing is sent because Graph has asked to wait; 0: requests are sent.",
		func(s *budget.Stats) float64 { return s.PausedFor.Seconds() }),
	gauge("ucwagate_graph_budget_window_requests", "Requests sent in the window of the limit that ends now.",
		func(s *budget.Stats) float64 { return float64(s.InWindow) }),
	gauge("ucwagate_graph_budget_window_remaining_requests", "What this program's share of the limit leaves above the requests of the present window.",
		func(s *budget.Stats) float64 { return float64(s.Remaining) }),
	gauge("ucwagate_graph_budget_worst_window_requests", "Most requests ever sent in any one window of the limit since the start.",
		func(s *budget.Stats) float64 { return float64(s.WorstWindow) }),
	gaugeBy("ucwagate_graph_budget_waiting_callers", "Callers that wait for a permit.", "lane",
		func(s *budget.Stats, to sink) { eachLane(&s.Waiting, to) }),
	gaugeBy("ucwagate_graph_budget_waiting_clients", "Different clients among the callers that wait for a permit.", "lane",
		func(s *budget.Stats, to sink) { eachLane(&s.Clients, to) }),
	counterBy("ucwagate_graph_requests_total", "Requests physically sent to Graph, silent repeats included.", "lane",
		func(s *budget.Stats, to sink) { eachLane(&s.Sent, to) }),
	counter("ucwagate_graph_repeated_requests_total", "Requests that the HTTP transport sent once more by itself.",
		func(s *budget.Stats) uint64 { return s.Resent }),
	counter("ucwagate_graph_throttled_answers_total", "Answers of Graph that say too many requests.",
		func(s *budget.Stats) uint64 { return s.Throttled }),
)

var unitsTable = newTable(perTenant,
	gauge("ucwagate_graph_units_level", "Resource units of the identity service in the bucket; below zero while something is paid afterwards.",
		func(s *units.Stats) float64 { return s.Level }),
	gauge("ucwagate_graph_units_limit", "Resource units that the identity service admits in a window.",
		func(s *units.Stats) float64 { return float64(s.Limit) }),
	gauge("ucwagate_graph_units_held", "Resource units held by requests that have not left.",
		func(s *units.Stats) float64 { return float64(s.Held) }),
	gauge("ucwagate_graph_units_refill_per_second", "Present refill of resource units.",
		func(s *units.Stats) float64 { return s.Rate }),
	gauge("ucwagate_graph_units_plan_per_second", "Planned refill of resource units.",
		func(s *units.Stats) float64 { return s.PlanRate }),
	gauge("ucwagate_graph_units_paused_seconds", "How long no directory request is sent because the service has asked to wait; 0: they are sent.",
		func(s *units.Stats) float64 { return s.PausedFor.Seconds() }),
	gauge("ucwagate_graph_units_window", "Resource units spent in the window that ends now.",
		func(s *units.Stats) float64 { return float64(s.InWindow) }),
	gauge("ucwagate_graph_units_worst_window", "Most resource units ever spent in any one window since the start.",
		func(s *units.Stats) float64 { return float64(s.WorstWindow) }),
	gauge("ucwagate_graph_units_reported_ratio", "Part of the limit that the service last said was used; 0 if it has not, which it does from 0.8 on.",
		func(s *units.Stats) float64 { return s.Share }),
	gauge("ucwagate_graph_units_waiting_requests", "Directory requests that wait for resource units.",
		func(s *units.Stats) float64 { return float64(s.Waiting) }),
	counter("ucwagate_graph_units_waited_requests_total", "Directory requests that had to wait for resource units.",
		func(s *units.Stats) uint64 { return s.Waited }),
	counter("ucwagate_graph_units_requests_total", "Requests that have left through the bucket of resource units.",
		func(s *units.Stats) uint64 { return s.Requests }),
	counter("ucwagate_graph_units_spent_total", "Resource units spent.",
		func(s *units.Stats) uint64 { return s.Spent }),
	counter("ucwagate_graph_units_undercharged_total", "Resource units that the service charged beyond the published table.",
		func(s *units.Stats) uint64 { return s.Undercharged }),
	counter("ucwagate_graph_units_slowdowns_total", "Slowings because the service said that most of the limit is used.",
		func(s *units.Stats) uint64 { return s.Slowed }),
	counter("ucwagate_graph_units_throttled_answers_total", "Throttling answers of the identity service.",
		func(s *units.Stats) uint64 { return s.Throttled }),
	counter("ucwagate_graph_mailbox_throttled_answers_total", "Throttling answers about single mailboxes.",
		func(s *units.Stats) uint64 { return s.MailboxesThrottled }),
	gauge("ucwagate_graph_mailboxes", "Mailboxes whose limit is remembered.",
		func(s *units.Stats) float64 { return float64(s.Mailboxes) }),
	gauge("ucwagate_graph_mailbox_waiting_requests", "Requests that wait for the limit of a mailbox.",
		func(s *units.Stats) float64 { return float64(s.MailboxWaiting) }),
)
