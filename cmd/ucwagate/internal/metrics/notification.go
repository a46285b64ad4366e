package metrics

import (
	"time"

	"ucwagate/graphsrc/cover"
	"ucwagate/graphsrc/notify"
)

var lifecycleEvents = [...]notify.Event{notify.ReauthorizationRequired, notify.SubscriptionRemoved, notify.Missed}

var notificationTable = newTable(perTenant,
	counter("ucwagate_notification_validations_total", "Validations of the URL for notifications that were answered.",
		func(s *notify.Stats) uint64 { return s.Validations }),
	counter("ucwagate_notification_deliveries_total", "Deliveries, whatever became of them; each holds one notification or many.",
		func(s *notify.Stats) uint64 { return s.Deliveries }),
	counterBy("ucwagate_notification_refused_deliveries_total", "Deliveries and validations refused: not readable or too large, or put off because the queue was full or too many were being read.", "reason",
		func(s *notify.Stats, to sink) {
			to.value(float64(s.Unreadable), "unreadable")
			to.value(float64(s.QueueFull), "queue_full")
			to.value(float64(s.Busy), "busy")
		}),
	counter("ucwagate_notification_items_total", "Notifications read, whatever became of them.",
		func(s *notify.Stats) uint64 { return s.Items }),
	counterBy("ucwagate_notification_results_total", "What became of notifications: a change or a lifecycle event, or nothing because they could not be trusted or understood.", "result",
		func(s *notify.Stats, to sink) {
			var lifecycle uint64
			for _, event := range lifecycleEvents {
				lifecycle += s.Lifecycle[event]
			}
			to.value(float64(s.Changes), "change")
			to.value(float64(lifecycle), "lifecycle")
			to.value(float64(s.UnknownEvent), "unknown_event")
			to.value(float64(s.ForeignTenant), "foreign_tenant")
			to.value(float64(s.WrongClientState), "wrong_client_state")
			to.value(float64(s.Malformed), "malformed")
			to.value(float64(s.Repeated), "repeated")
			to.value(float64(s.BadTokens), "bad_token")
		}),
	counterBy("ucwagate_notification_unopened_total", "Notifications whose content was not opened: they say at most that something changed.", "reason",
		func(s *notify.Stats, to sink) {
			to.value(float64(s.Unproven), "unproven")
			to.value(float64(s.Undecryptable), "undecryptable")
		}),
	counterBy("ucwagate_notification_lifecycle_events_total", "Lifecycle notifications, by Graph's name of the event.", "event",
		func(s *notify.Stats, to sink) {
			for _, event := range lifecycleEvents {
				to.value(float64(s.Lifecycle[event]), string(event))
			}
		}),
	gauge("ucwagate_notification_waiting_items", "Notifications queued or being worked on.",
		func(s *notify.Stats) float64 { return float64(s.Waiting) }),
)

// The names of accounts are no labels: they may be names of people.
var coverageTable = newTable(perTenant,
	gaugeBy("ucwagate_notification_accounts", "Helper accounts, by the state of their subscription to presence.", "state",
		func(s *cover.Stats, to sink) {
			counts := map[cover.State]int{}
			for _, a := range s.Accounts {
				counts[a.State]++
			}
			for _, state := range cover.States() {
				to.value(float64(counts[state]), string(state))
			}
		}),
	gauge("ucwagate_notification_subscribed_people", "People whom subscriptions to presence name.",
		func(s *cover.Stats) float64 {
			return float64(total(s, func(a *cover.AccountStats) uint64 { return uint64(a.People) }))
		}),
	gauge("ucwagate_notification_covered_people", "People whose changes are trusted to be notified.",
		func(s *cover.Stats) float64 {
			return float64(total(s, func(a *cover.AccountStats) uint64 { return uint64(a.Covered) }))
		}),
	gauge("ucwagate_notification_barred_people", "People to whom Graph refused to subscribe in the last hour.",
		func(s *cover.Stats) float64 { return float64(s.Barred) }),
	counter("ucwagate_notification_subscriptions_created_total", "Subscriptions to presence made.",
		func(s *cover.Stats) uint64 {
			return total(s, func(a *cover.AccountStats) uint64 { return a.Created })
		}),
	counter("ucwagate_notification_subscriptions_renewed_total", "Renewals of subscriptions to presence.",
		func(s *cover.Stats) uint64 {
			return total(s, func(a *cover.AccountStats) uint64 { return a.Renewed })
		}),
	counter("ucwagate_notification_subscription_failures_total", "Requests about subscriptions to presence that failed.",
		func(s *cover.Stats) uint64 {
			return total(s, func(a *cover.AccountStats) uint64 { return a.Failed })
		}),
	counter("ucwagate_notification_silent_deaths_total", "Subscriptions given up because they delivered nothing.",
		func(s *cover.Stats) uint64 {
			return total(s, func(a *cover.AccountStats) uint64 { return a.SilentDeaths })
		}),
	counter("ucwagate_notification_muted_people_total", "People uncovered because nothing was delivered about them alone.",
		func(s *cover.Stats) uint64 {
			return total(s, func(a *cover.AccountStats) uint64 { return a.Muted })
		}),
	gaugeBy("ucwagate_notification_subscription_expiry_timestamp_seconds", "When the first of the subscriptions ends unless it is renewed; left out without any.", "",
		func(s *cover.Stats, to sink) {
			var first time.Time
			for _, a := range s.Accounts {
				if !a.Expires.IsZero() && (first.IsZero() || a.Expires.Before(first)) {
					first = a.Expires
				}
			}
			timestamp(first, to)
		}),
	gaugeBy("ucwagate_notification_last_timestamp_seconds", "When the last notification came; left out before the first.", "",
		func(s *cover.Stats, to sink) {
			var last time.Time
			for _, a := range s.Accounts {
				if a.LastNotification.After(last) {
					last = a.LastNotification
				}
			}
			timestamp(last, to)
		}),
)

func total(s *cover.Stats, of func(*cover.AccountStats) uint64) (sum uint64) {
	for i := range s.Accounts {
		sum += of(&s.Accounts[i])
	}
	return sum
}

func timestamp(t time.Time, to sink) {
	if !t.IsZero() {
		to.value(float64(t.UnixMilli()) / 1000)
	}
}
