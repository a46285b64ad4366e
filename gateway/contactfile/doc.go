// Package contactfile keeps contact lists in one YAML file of the operator:
// for each owner the pinned contacts, the others (the default group), groups
// of the owner's own, and distribution groups. Where the operator allows it,
// owners change their lists; the file stays the only place where they are kept.
//
//	contacts:
//	  ana@contoso.com:                  # the owner, in any letter case
//	    pinned: [bob@contoso.com]
//	    others: [cleo@contoso.com]      # the default group
//	    groups:
//	      - id: g-3f2a                  # lower-case letters, digits, hyphens; may be left out
//	        name: Project
//	        members: [dan@contoso.com]
//	    distributionGroups:
//	      - address: team@contoso.com
//	        name: Team                  # may be left out: the address
//
// # Reading
//
// The file is looked at again at most once a second, when a list is asked for.
// What has become unreadable or wrong is logged once, and the last good
// content stays in force. Addresses are user@domain in lower case without a
// scheme; an address repeated in a list counts once. Limits bind what owners
// add, not what the operator wrote.
//
// A group without an id has one derived from its owner and name, the same on
// every replica, until the first change of that owner's lists writes it down.
//
// # Writing
//
// A change takes the lock of the file (path + ".lock", which stays in the
// folder), reads the file again, edits it, and puts the new text in its place
// by renaming, so that a reader sees the old text or the new one and replicas
// that share a volume lose nothing. The folder must therefore be writable, and
// a container must mount the folder, not the single file. The owner and the
// permission bits of the file are kept; a new file is readable by its owner
// alone, as contact lists are personal data. An operator who edits the file
// while the gateway runs should rename the new text into place too, or take
// the lock.
//
// The whole file is parsed and written at each change: some 100 ms of one core
// per MiB, and more where most lines have comments. Changes of one file wait
// for each other; readers do not wait.
//
// Comments survive, except those on a line that a change removes. Blank lines
// between entries, and indentation other than two spaces, do not. Where the
// library cannot write a comment back without harm to the lists, all comments
// go; references (*name) and merges (<<) are refused, as a change of one place
// would change the others.
//
// The package must never know HTTP, representations of UCWA, or Graph's
// objects: it knows owners, groups and addresses.
package contactfile
