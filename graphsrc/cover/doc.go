// Package cover keeps the change-notification subscriptions of one tenant's
// helper accounts: which watched people each account covers, and the creation,
// renewal, replacement and death of its subscription.
//
// It must never know HTTP, encryption, UCWA or applications: Graph is a
// graphsrc.Subscriber, notifications arrive decoded, and the people are ids.
//
// # What Graph offers
//
// Presence can be subscribed to by a signed-in account only. An account has one
// such subscription, to at most 650 people, for at most an hour. Renewing moves
// its end and nothing else, so other people mean deleting and creating, with a
// gap between. Notifications come within a minute. Some subscriptions fall
// silent: they exist, can be renewed, and deliver nothing for days.
//
// # What covering means
//
// A covered person is pushed, so the source reads them only once per safety-net
// period S, where others are read once per refresh interval F. People are
// covered only while a subscription that is trusted names them: Uncover comes
// before a subscription is deleted, and Cover after it exists and a reading of
// its people was asked for, because what changed in the gap is not notified.
//
// # Planning
//
// Once per Options.Replan (every 5 s while no account has a subscription) the
// watched people are compared with those subscribed to.
//
//   - Whoever is subscribed to stays where they are. Someone still watched loses
//     the place only by falling behind twice the number of places.
//   - New people go to accounts without a subscription first, whose creation
//     disturbs nobody, then to the account with the most free places.
//   - An account's subscription is replaced if that gains at least 10 people and
//     5 % of those it disturbs, or anybody at all for 5 minutes; the unwatched
//     go with it. One with nobody watched left is deleted; one with less than
//     half left is replaced when its renewal is due, and so is one made with an
//     encryption key that is not the current one any more.
//   - An account creates at most one subscription per minute.
//
// # Silence
//
// When a reading shows a change of a covered person, Missed is called. If no
// notification of the person came in the minute before and none comes in the
// minute after, and nothing at all came from the subscription since, this is
// evidence of silence, unless the people were covered, or Graph has said that
// notifications were lost, less than a minute before. Any later notification
// refutes it. The second piece, of another person or the same one, is the
// subscription's death: its people are uncovered and read, and it is deleted and
// created anew.
//
// After the first death the new subscription is trusted at once. From the
// second on, the new one is created after a pause (1 min, doubling up to 30 min)
// and on probation: its people stay uncovered until it has delivered something.
// One that delivers nothing is created anew after 10 min, doubling up to 4 h.
// Trust returns in full with a notification an hour or more after the last death.
//
// Someone missed twice in a row by a subscription that does deliver for others
// is uncovered alone, until a notification about them comes.
//
// # Bounds on staleness
//
//   - A covered person is never staler than S, whatever happens to the
//     subscription; this is the safety net's doing.
//   - After a silent death, the people are uncovered one minute after a reading
//     has found the second change that is evidence, that is within S + 1 min of
//     the second such change of anyone covered; from then on F applies.
//   - A subscription that Graph reports removed, or that cannot be renewed until
//     it ends, is uncovered at once, at the latest when it ends.
//   - Between delete and create, and on probation, F applies.
//
// # Trouble
//
// Each account has a loop of its own, so one in trouble does not delay others.
// An account that must wait for more than 2 minutes gives its people to accounts
// with free places.
//
// A create that Graph refuses twice is tried with those alone whom it has
// accepted before. If it accepts them, half of the others are added at a time,
// until the person it stumbles over is known, who is left out for an hour if
// another create without them is accepted. If it refuses them too, it may not
// reach the URL, or one of them has left the tenant: nobody is left out, halves of
// all are tried, and the pauses double up to 10 min until something is accepted.
//
// A process deletes at its start what an earlier one left under the same
// notification URL. So one account serves one process at a time: replicas need
// helper accounts of their own, or one replica that does this for all. In a
// rolling update in which two processes share helper accounts, the new one
// deletes the subscriptions of the old one, which believes its people covered
// until it finds out: S + 1 min may pass, as with a silent death. So either the
// old process must end before the new one starts (in Kubernetes the strategy
// Recreate), or each has accounts of its own.
//
// Two names for one account of the tenant are found when one of them lists a
// subscription that is another's here. It is never deleted; the account that
// found it is not used, which the log says once per hour, and looks again every 10
// min. While another account waits for the answer to a create, a subscription
// that nobody knows is not deleted either, because it may be the result.
package cover
