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
// # Several replicas
//
// With a Lessor the replicas of a gateway lease their tokens from one bucket, and
// the same inequality holds for the sends of all of them together. Let now
//
//	potential = level of the shared bucket
//	          + leases: what the replicas hold of it, granted or not, and have not sent
//	          + shares: level and held of those that pour by themselves
//
// Every step keeps it at C or below, and nothing raises it but time, by r·dt:
//
//	refill   raises the level by the flow below, and never lifts level + leases,
//	         as the shared bucket knows them, above what is not set aside
//	lease    moves tokens from the level to a lease:  the potential stays
//	send     takes one out of a lease:                the potential falls by one
//	return   moves tokens back, before they are void: the potential stays
//	void     drops what a replica holds:              the potential falls
//
// So the sends of all replicas in any interval T are at most C + r·T. What makes
// the steps true although messages are late, lost and doubled:
//
// What the shared bucket believes of a lease is never less than what is held. A
// replica reports what it holds with each ask, as it is before the ask leaves, and
// sends meanwhile only lower that; a report that comes late, or never, leaves the
// belief too high, which only slows the refill. Asks are numbered, one is under way
// at a time, and an ask overtaken by a later one is void, so that no report is
// older than one settled before. An answer that was not heard leased tokens that
// nobody holds: the next report drops them. Tokens to be returned leave the
// replica's hands before the ask is sent, and are lost with it.
//
// A replica voids a lease by its own clock Life after it sent the last ask that was
// answered; the shared bucket forgets it Life + Grace after it settled that ask, or
// a later one, which is after it was sent. So a replica that was frozen, or lost
// its link, has voided what it holds before the bucket counts on it; such a token
// is lost, never doubled. A clock that also runs on while the machine sleeps is
// asked, too. A permit is checked at its send; what a process does between that and
// the wire, should it be frozen just there, counts as latency. An answer that took
// longer than Timeout is not heeded. Grace is for clocks that do not run equally
// fast.
//
// # Replicas that are cut off
//
// A replica that has not heard an answer for Fallback pours its own share by
// itself: C/N and r/N, from nothing, N being LeaseTerms.Replicas. One that never
// heard any sends nothing. For that the shared bucket sets shares aside: with g
// replicas that may be pouring it keeps level + leases at C·(N-g)/N or below, and
// pours r·(N-g)/N. Whose share is set aside, a ghost, is whoever is not known to
// have heard an answer that was given within Detect, by the bucket's clock: an ask
// says which answer was the last heard, and does not count by itself, since one
// whose answers are lost will fall back although it asks. The share is set aside
// before it is poured: a replica has heard nothing for Fallback at the earliest
//
//	Detect                  after the bucket gave the last answer it heard, less
//	  + Timeout             because the answer may have been on its way so long,
//	  + Life + Grace        and then leases of others that are beyond what is left
//	                        have been recalled, or were not renewed and have ended
//
// which LeaseTerms.Validate demands to be below Fallback. A replica that returns
// drops what it has poured when it hears the first answer, and only its next ask,
// which says so, ends the setting aside; until then it is leased nothing. It stops
// pouring Stop after it sent its last ask that was answered, and the bucket sets
// its share aside until Forget, which is longer, after it settled its last one.
//
// No more than N replicas are alive at once, so the ghosts that matter are at most
// N less those heard of. One that was killed, and is not missed yet, must not
// count among these together with its successor: a replica counts once it has been
// there for Detect, when its predecessor is missed. A replica that closes its
// budget says goodbye, and is not missed at all. More than N replicas share the
// bucket all the same, but more of them can then fall back than is set aside for: N
// must count those of a rolling update.
//
// # A shared bucket that has lost its data
//
// is born empty. Nothing flows for Life + Grace, until all leases that it has
// forgotten are void, and while it is young, until Forget, all replicas that it has
// not heard of count as ghosts. A replica that claims tokens it knows nothing of has
// them recalled. One that was in touch with it before says with its next ask how
// long a pause lasts, and what the rate is: both are kept by whoever knows them.
//
// Data that may have gone back to an earlier state are worth no more: after a
// failover that lost writes, or a restart with a snapshot of any age, the bucket may
// know less than all of what is leased, and of who is cut off. So where another
// server serves the data than wrote them, or the same one after a restart, the first
// ask of all empties the bucket, nothing flows for Life + Grace, it is young once
// more, and nobody is believed to be in touch before they are heard of: it is as if
// all was lost. The potential is then what the replicas hold, which was at most C,
// and ends before anything flows. Where the server does not say who it is, the first
// replica shows the same that has heard what the bucket does not know; what was
// leased in the time that was lost can be leased once more until then, which is at
// most one capacity.
//
// # Two servers at once
//
// A server that is cut off from others which have copies of its data may go on
// serving, while one of those has taken over. Each then counts as ghosts all
// replicas that it does not hear, known to it or not, as if it was young: the one
// because it misses a copy, which it notices 5 s after that has become a server of
// its own, or Quiet later if it stood still meanwhile; the other because its data
// were another's, and then because it misses that one's copy. A replica is in touch
// with one of them at a time. So if of N replicas E1 are heard by the one and E2 by
// the other, each in touch for good,
//
//	E1 + E2 + those that are cut off  <=  N
//
// and the parts that they pour, and what is left to those cut off, are no more than
// the plan. A replica that changes from one to the other counts at both, until the
// first has missed it, Detect later, and what is leased beyond the first one's part
// has ended, Life + Grace later; so nothing flows at the second for Fallback, which
// is longer, after it was first asked, and again after somebody has come who has
// heard what it does not know. When the copy is there again the server stays young
// until all are forgotten that may have been with the other.
//
// # The clock of the shared bucket
//
// is read as above: set back it adds nothing, and each time it is set ahead it can
// add one capacity. It never advances by more than Fallback between two asks:
// whoever was silent for so long counts as cut off and is leased nothing, so more
// makes no difference, except that it would forget who may be pouring.
//
// Charges for silent repetitions are reported with the next ask; the report is
// repeated if its answer is lost, so one may be paid twice, never less than once.
// Plans should be the same everywhere. While they are not, in a rolling update of
// the configuration, the smallest capacity and rate of all who are remembered hold.
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
// Lanes and clients are each replica's own. Among replicas whose callers wait, the
// shared bucket gives equal parts, and what is asked for Refresh, or ahead of need,
// it only gives from above the tenth of its capacity.
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
//
// With a Lessor all replicas pause and slow down, whichever was told: it says so
// with its next ask, which leaves at once, and the others hear of it with theirs,
// within a quarter of Renew if they hold leases and within Renew if not. Until then
// they may send what they hold. One that cannot report pauses by itself, and
// reports what is left of the pause when it can.
package budget
