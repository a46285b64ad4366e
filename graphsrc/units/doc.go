// Package units keeps what is asked of Graph's directory and mailboxes within
// their own limits, which are not counted in requests:
//
//   - The identity service charges resource units, by kind of request, and
//     admits 3,500, 5,000 or 8,000 of them in 10 s per application and tenant,
//     by the size of the tenant.
//   - The Outlook services (photos, personal contacts, people) admit 10,000
//     requests in 10 min per application and mailbox, and 4 at once.
//
// It owns the table of costs, the bucket of units and the turns at mailboxes, as
// an http.RoundTripper that belongs outside of package budget's: a request
// waits for its units first, and takes a token of the budget when it may leave.
// Presence passes untouched. It must never know what an answer says: it sees
// methods, paths, statuses and headers.
//
// # Why the promise holds
//
// As in package budget: level are the units in the bucket, held those of
// requests that wait to leave, potential the sum of both.
//
//	refill  raises level by rate·dt, and never lifts the potential above C
//	grant   moves units from level to held: the potential stays
//	send    takes them out of held:         the potential falls
//
// So whatever leaves in an interval of length T costs at most C + r·T, and a plan
// is C + r·(T + spread of latency) ≤ limit. A new bucket is empty, so restarts
// cannot add up. A request that leaves without having been asked for (net/http
// repeats one after a broken connection), and one that Graph charges more for
// than the table says (x-ms-resource-unit), is paid afterwards, out of a level
// that may fall below zero; one that costs less gives nothing back.
//
// # Signals
//
// x-ms-throttle-limit-percentage from 0.8 on makes the rate follow what was
// really used, and less of it the nearer the limit is; a 429 closes the bucket
// for Retry-After and halves the rate. Each quiet window gives a tenth of the
// planned rate back.
//
// # Sources
//
// https://learn.microsoft.com/en-us/graph/throttling-limits#identity-and-access-service-limits
// https://learn.microsoft.com/en-us/graph/throttling-limits#outlook-service-limits
package units
