// Package scale shows what the gateway makes of Graph's presence limit with
// whole tenants: a thousand to a million watched people.
//
//	Load ──▶ graphsrc.Source ──▶ budget.Transport ──▶ Service ──▶ Tenant
//	  │          (as in production)                   latency,     who is in
//	  └─────▶ one GET each ──────▶ (the same)         limit,       which state
//	          (what it is compared with)              faults
//
// The source, its scheduler and the budget are the ones that serve; the model
// begins where the network does. Everything runs on package time, so that a
// testing/synctest bubble turns hours into seconds: nothing here works outside
// of one in reasonable time.
//
// It owns the model of the tenant, of the service's limit and of the load, and
// how the outcome is shown. It must never know how requests are scheduled.
package scale
