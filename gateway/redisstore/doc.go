// Package redisstore is the engine of gateway.Store that several replicas share:
// everything lives in one Redis, or in the slots of a cluster.
//
// Where things are. All keys begin with the prefix and the number of a shard in
// braces, so that what one script touches lies in one slot:
//
//	{shard of the application's id}
//	  app:<id>    the record, the stored session with its state, who waits
//	  in:<id>     the inbox: events that Publish left, for the next Update to queue
//	  rev:<id>    of each address the newest revision that came into the inbox
//	  wait:<id>   the replicas on which P-GETs wait, and until when that holds
//	  dead:<id>   why an application that has ended did so
//	  due, idle   when sessions have something to do; when applications were used last
//	  subs        how many subscriptions the sessions hold
//	{shard of the address}
//	  w:<address> the applications that watch it, each with a version
//	  w, wseq     the addresses that anybody watches, and the number of the last change of that
//	  wwhole      of which server it was found that these lack nothing
//	  wanew       while that is mended: the applications that were missing and are to look anew
//	{shard of the owner}
//	  o:<owner>, o, oseq, owhole   the same of the applications that make their owner available
//	  own:<owner> the owner's applications, oldest first
//	{shard of the name}
//	  claim:<name>
//
// An Update runs on a session that was decoded before, and one script keeps the
// outcome if the state is still the one it began with and the inbox holds
// nothing else; otherwise it answers with what is there, and the function runs
// once more. Where something comes all the time, what came last stays in the
// inbox after a few attempts, and the session is due for it. A state is a number
// and a random mark: after Redis has lost what it had written last, numbers come
// again.
//
// Publish loads no session: one trip reads who watches, the next pushes into
// their inboxes and wakes. An answer that is lost may have held wakes of P-GETs
// that wait here: they look again once Redis answers for their application.
//
// An index may hold too much, never too little: an address is entered before
// the session that watches it is kept, and left after. Leaving names the version
// that left, so that it does not undo a later coming. Entries of applications
// that have ended are dropped by whoever meets them. Only a member of a cluster
// that loses what it held makes it lack something: then what all sessions watch
// is entered again, and whoever was missing is told to look anew.
//
// Use mostly asks nobody: a replica answers from the records that it has seen,
// and hears of applications that end elsewhere, a moment later. Whatever touches
// a session asks Redis.
//
// What a replica hears is lost while it is cut off, of which it can tell by what
// it says to itself. When it hears again it asks
// for everything anew: its records are not trusted until they were verified, all
// its P-GETs look again, and its view of who is watched is compared.
//
// Whatever expires does so by the time that the replicas have in common, as an
// argument of the scripts: Options.Clock must tell all of them the same. The life that Redis gives keys is several times as long: only a
// gateway that is gone for good leaves it to that.
//
// It must never know what an application means to the protocol, nor how Redis
// is reached.
package redisstore
