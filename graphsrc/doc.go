// Package graphsrc owns everything said to Microsoft Graph: which question
// leaves when, how many of them, what is remembered of the answers, and what
// a failure means.
//
// It must never know UCWA, applications, subscriptions or HTTP serving, and it
// never imports the Graph SDK: package msgraph does, behind the interface
// [Graph] declared here.
//
// # Asking for presence
//
//	Presence(id) ──▶ cache ── fresh ───────────────────────────▶ Reading
//	                   │ missing or older than Fresh
//	                   ▼
//	               coalescer   one queue per lane; an id asked for twice is
//	                   │       one entry, queued or already on its way
//	                   ▼
//	               permit      waits for the budget in the caller's lane,
//	                   │       and only then empties the queue (late binding:
//	                   ▼       the scarcer the budget, the fuller the batch)
//	               Graph       ≤ 650 ids in one request, a lone id by GET
//	                   │
//	                   ▼
//	               apply       the one place where an answer becomes what is
//	                           known of a person (order, unknown words, age)
//
// # Watching
//
//	Watch(ids) ──▶ watchlist ── not fresh ──▶ looker ─────┐ first-look lane
//	                   │                                  ▼
//	                   └─ first due ──▶ refresher ──▶ coalescer ──▶ apply
//	                      a request every                             │ words differ,
//	                      U / ⌈n/650⌉                                 ▼ person watched
//	                                                                Change
//
// Only people somebody watches are read unasked. Interactive reads feed the same
// apply: whoever reads a watched person, the difference is reported, and the
// person goes to the back of the order. Failures change nothing that is known;
// ages grow, and the first good reading afterwards is compared with the last
// good one before.
//
// A sweep, as many readings as n people are watched, takes U = max(WatchFloor,
// ⌈n/650⌉/RefreshRate), evenly spread. While that is WatchFloor everybody is read
// once in it. When it is more, the same requests are divided unequally:
//
//	hot     a client asked, or the words changed, less than 5 min ago     T
//	normal  everybody else                                              2·T
//	quiet   neither of the two for 2 h; Offline or unknown, for 30 min  4·T
//
// where T is the shortest time for which that needs no more than RefreshRate, and
// no interval is below WatchFloor or above max(U, min(2·U, WatchCeiling)). So hot
// people are read up to four times as often as without tiers, never less
// often, and a quiet person waits for two sweeps at most. Whoever is due first is
// in the next request, which is always filled up to 650; nobody is read
// unasked within WatchFloor of the last reading. Being asked for takes effect at
// once, the rest with the next reading.
//
// No reading grows older than Stats.AgeBound, at most 3·U, whoever joins, leaves
// or changes tier, as long as Graph answers and the lane has its rate; without
// such turmoil none older than the interval of its tier. When a client asks for
// somebody about whom Graph was not asked for 1.5·U, Graph is asked, so tiers make
// no answer older.
//
// # Publishing
//
//	Publish(id) ──▶ Graph ──▶ outdate ──▶ cache: no longer fresh
//	                publish      │        coalescer: a request for the person that is
//	                lane         │        under way is superseded; those who wait for it
//	                             │        wait for one that leaves now
//	                             └──▶ watched: first look ──▶ apply ──▶ Change
//
// So whoever asks after Publish has returned reads what was true then or later,
// and no watcher hears of the older state afterwards.
//
// # Several sources
//
//	answer ──▶ apply ──▶ Shared.Tell ──▶ every source: Hear ──▶ apply
//	                          │
//	                          └────────▶ the one that leads: Deliver ──▶ Change
//
// Where several processes serve a tenant, Options.Shared is what their sources have
// in common. One of them leads: it alone runs the refresher and reports changes, so a
// sweep costs what it costs one source, and a change is reported once, whoever read
// it. The others keep the same people in the same order, from what they hear, and
// any of them can go on when it ends. Whoever misses somebody looks into the shared
// records before Graph is asked. Cut off from the others, each reads for itself,
// and tells later what it has learned.
//
// # Photos and searches
//
// Photos are remembered by user and size in a fixed number of bytes, compared
// with Graph's by their tag when their time is over, and asked for four at a
// time, below everybody's question for presence. A search passes over the
// synchronized directory, whose users lie there with their names and addresses
// folded (lower case, no diacritics), in about a millisecond; without one it
// is an advanced query. Groups are always searched by asking.
//
// # What a failure means
//
// Every error that leaves the package is an [*Error]. While Graph fails, a
// presence younger than Options.Stale is served and marked so; a user, group
// or contact list once read is served until it leaves the cache, because a
// directory ages slowly. A 400 or 404 on a batch is halved until the id that
// causes it stands alone; that id reads as PresenceUnknown and is asked for
// less and less often, down to once an hour.
//
// A failed presence request is repeated once, through the budget. After three
// failures in a row nobody asks for a second, so that a dead Graph costs a few
// sends a second whatever the demand; the failure of a directory or contact
// question is remembered for a second, one by one. A missing permission hides
// what needs it for two minutes.
package graphsrc
