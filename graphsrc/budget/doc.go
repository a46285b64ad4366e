// Package budget is the one door through which physical requests leave for
// Microsoft Graph: a token bucket with lanes, and an http.RoundTripper that
// spends one token for every send.
//
// It owns the promise that no window of time, wherever it is laid, holds more
// sends than the plan allows (Graph admits 1,500 presence requests in 30 s per
// application and tenant, failed and throttled ones included). It must never
// know what a request means: it sees lanes, tokens, statuses and Retry-After,
// and neither URLs nor bodies, users or presence.
//
// # Why the promise holds
//
// Call level the tokens in the bucket, held the permits granted and not yet
// sent, and potential their sum. The bucket keeps three rules:
//
//	refill   raises level by rate·dt, and never lifts the potential above C
//	grant    moves one token from level to held: the potential stays
//	return   moves it back:                     the potential stays
//	send     takes one out of held:             the potential falls by one
//
// So the sends of any interval of length T are at most the potential at its
// beginning plus what was poured in: C + r·T. That counts sends, not grants: how
// long a permit was held makes no difference. If requests take between Lmin and
// Lmax to arrive, the arrivals of an interval T were sent in an interval of
// T + (Lmax-Lmin), and the server sees at most C + r·(T + Lmax - Lmin). Plan.Validate
// demands that for a spread of LatencyMargin. A new bucket starts with a potential
// of zero, so what a process and its successors send obeys the same bound
// however often they are restarted, as long as no two of them live at once.
//
// The arithmetic is exact: levels and rates are integers, and nothing is rounded
// on the way.
//
// What the bucket cannot prevent it pays back: when net/http silently repeats a
// request on a fresh connection, the repetition is charged afterwards, even if
// the level falls below zero.
//
// Time is what the clock's readings differ by. The system's readings are
// monotonic: setting the time of day, by any amount and in any direction, moves
// nothing, and a machine that sleeps earns nothing meanwhile. Of a clock without
// monotonic readings the bound holds when it is set back; each time it is set
// ahead it can add one capacity.
//
// # Lanes
//
// Waiters queue in four lanes. A token goes to the highest lane that waits, except
// that out of every 40 tokens handed to waiters
//
//	two go to Refresh, if it waits;
//	one goes to Publish and one to FirstLook, if they wait; where one of them
//	does not, or is itself the highest and has had others, its share is the
//	other's.
//
// Of any 40 consecutive grants during which a lane has somebody waiting, whatever
// comes and goes in the others, it gets at least
//
//	Interactive   36   90 %
//	Publish        1   2.5 %; 2 if FirstLook does not wait
//	FirstLook      1   2.5 %; 2 if Publish does not wait, or leads throughout
//	Refresh        2   5 %
//
// and the highest lane, while it stays the same, never less than 36. Beyond that a
// higher lane waits for no lower one: Refresh, the only lane with endless demand,
// also leaves a tenth of the capacity in the bucket, so that a lone interactive
// request finds a token there and leaves at once. (A Refresh token due by the rule above may come out of that tenth, so the
// reserve cannot starve it.)
//
// # Clients
//
// Within a lane those who wait are served in rounds over the clients they are for
// (WithClient), first come first served within a client. A caller who is alone
// waits for at most two grants of each other client, however many callers those
// have, and clients that wait together get the same, give or take two grants.
// Whoever names no client is one client with all others who do not. A client is
// remembered while it has somebody in the queue, and no longer.
//
// The forecast that refuses a hopeless deadline plays exactly this order, lanes and
// clients, from the queue of the moment. It is exact if nobody comes or goes;
// newcomers of a higher lane, and other clients whom a caller with others of its own
// before it must let pass, can still make a caller late who was admitted.
//
// # Throttling
//
// A throttling answer closes the tap for all lanes: the bucket is emptied, permits
// granted but not sent become void, nothing flows in until the pause is over, and
// the rate is halved (never below a tenth of the plan). Callers in the queue whose
// deadline has thereby become hopeless are told at once. Each quiet window after
// the pause gives a tenth of the planned rate back, up to the plan.
package budget
