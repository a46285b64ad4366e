// Package redisshare is graphsrc.Shared on Redis: it owns what the sources of one
// tenant in several processes know in common, the order in which they learned it,
// and who of them leads.
//
// It must never know Graph, subscriptions or UCWA, and it never decides what to
// believe of an answer: a source does, and the first to tell is right.
//
// # Keys
//
// All of a tenant are in one slot, and all end by themselves.
//
//	leader     who leads, for the time of a lease
//	meta       epoch  made anew when the data is lost
//	           term   counts the leaders
//	           n      counts the entries of the stream
//	           last   the id of the newest
//	           mark   up to where changes were delivered: id and count of an entry
//	stream     what was told in the last minute, one entry for each Tell
//	records:0  what is known of each person, by the 16 bytes of the id.
//	records:1  Written is always the one of the current period, of an hour at least;
//	           who has not been read in the last one is forgotten with it.
//
// # Telling
//
// One script compares the readings with the records. The words of a record change
// in the same step in which the entry is appended that says so, so the entries are
// the changes: each once, in the order in which all hear of them, and the id of the
// entry is the revision. A reading of somebody who has not changed is 23 bytes: id,
// a digest of the rest, age. Times travel as ages and are kept by the clock of
// Redis, whose distance from the own one is measured with each heartbeat.
//
//	record  read at  digest  refusals  active at  revision    sequence    words
//	bytes      13       4        1         13     1 and ~15   1 and ~20     ~30
//
// # Hearing
//
// Everybody follows the stream, and counts. An entry that does not have the next
// number shows that some are missing, whatever the reason: then the records are
// read again, from which nothing can be missing.
//
// # Leading
//
// Who leads knows by its own clock until when nobody else can, and the term fences
// what it writes. It reports the changes behind the mark and moves the mark. A new
// leader begins at the mark: what its predecessor reported but did not mark comes
// again with the same revision. Where the stream does not reach back to the mark,
// everybody whose record has a later revision is reported. Changes that cannot be
// reported while those of others can are owed: they are tried again and again, and
// the mark stays before them.
//
// A client that hears of a change may ask another process than the one that told
// it. So changes are reported a moment after they were told (Options.Delay), and
// everybody knows at any time whether all has been heard that was told before that
// moment: a read of the stream waits for a part of it at most. Who does not know it
// looks into the records.
package redisshare
