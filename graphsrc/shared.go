package graphsrc

import (
	"context"
	"time"

	"github.com/google/uuid"

	"ucwagate/mapping"
)

// ShareBatch is the most people of one Shared.Tell or Shared.Recall.
const ShareBatch = maxBatch

// Role is the part a source has among those of the same tenant.
type Role int

// The roles.
const (
	// Following: another source reads for all, or is about to.
	Following Role = iota
	// Leading: this source alone reads those who are watched, and reports changes.
	Leading
	// Alone: nobody can be heard, so each reads for itself, and no change is
	// reported until they can. Whoever leads is Alone before they follow, unless
	// they have heard that somebody else leads.
	Alone
)

// String returns the name of the role.
func (r Role) String() string { return [...]string{"following", "leading", "alone"}[r] }

// Shared is what several sources of one tenant have in common: a record of what is
// known of each person, the order in which it became known, and the role of each.
// Whether a reading is a change, and which change it is, is decided there, when
// it is told: so it is one change, whoever read it and however often.
//
// Times are those of the source's clock. It is safe for concurrent use.
type Shared interface {
	// Run takes part until ctx ends, and hands on to m what the others tell. It is
	// called once.
	Run(ctx context.Context, m Member)
	// Role is the role at this moment. It asks nobody, and is Leading only as long
	// as nobody else can be.
	Role() Role
	// Hears says that whatever was told before changes of it may have been
	// reported has been heard. It asks nobody.
	Hears() bool
	// Tell makes readings, at most ShareBatch of different people, known to all.
	// Refused are the records of those of whom something newer is known. After an
	// error some may have been told; telling them again does no harm.
	Tell(ctx context.Context, readings []Told) (refused []SharedReading, err error)
	// Recall returns the records of those of at most ShareBatch people of whom
	// there are any. It fails at once if it is known that nobody can be asked.
	Recall(ctx context.Context, people []uuid.UUID) ([]SharedReading, error)
}

// Member is a source as a Shared sees it. Its methods are called one at a time,
// except Deliver, which is called beside the others.
type Member interface {
	// Hear takes what was told at a time, by this source too, in the order of the
	// telling. It may call Recall and does not wait for anything else.
	Hear(ctx context.Context, readings []Heard)
	// Resync reads the records of all who are watched, because something that was
	// told could not be heard.
	Resync(ctx context.Context) error
	// Shift says that the role has changed.
	Shift(Role)
	// Watched are all who are watched.
	Watched() []uuid.UUID
	// Deliver reports changes of different people that were told at a time. It
	// returns those that may not have been reported, and why: they are delivered
	// again, before any later one of the same people. It is called only by the one
	// who leads.
	Deliver(ctx context.Context, changes []SharedChange) (failed []SharedChange, err error)
}

// SharedReading is what all know of one person.
type SharedReading struct {
	ID       uuid.UUID
	Words    mapping.Presence
	Sequence string
	// ReadAt is when Graph was asked for it, LastActive when the person was last
	// seen active; zero if never.
	ReadAt, LastActive time.Time
	// Refusals is how often in a row Graph has refused to answer for the person;
	// Absent says that it did because they do not exist.
	Refusals uint8
	Absent   bool
	// Revision is that of the last change of the words; Tell ignores it.
	Revision string
}

// Told is a reading that is to be told.
type Told struct {
	SharedReading
	// Before is what the teller last told or heard before; nil: nothing. It counts
	// where nothing else is known.
	Before *mapping.Presence
	// Changed is set if anything but the times differs from what was told or heard
	// before; otherwise there is mostly less to tell.
	Changed bool
	// Insist is set if the sequence number is to be believed although it is older.
	Insist bool
	// Shown asks that the person be told as changed, whether they have or not: they
	// were shown otherwise.
	Shown []Shown
}

// Shown is who asked for somebody (AskedBy; empty: anybody), and when, and was
// shown something else than is known now.
type Shown struct {
	By string
	At time.Time
}

// Heard is a reading that was told.
type Heard struct {
	SharedReading
	// Same says that only ID, ReadAt and Digest are set: the rest is as it was, if
	// that has the digest.
	Same   bool
	Digest uint32
	// Changed says that the words have changed, or may have; ChangedAt is when that
	// was told, zero if they may only.
	Changed   bool
	ChangedAt time.Time
}

// SharedChange is a change of somebody's words, in the order in which all hear of it.
type SharedChange struct {
	After  SharedReading
	Before mapping.Presence
	// First is set if nothing was known before, Unsure if that is not known.
	First, Unsure bool
	// At is when it was told.
	At time.Time
	// Shown is set if the words may not have changed: it is that of Told.
	Shown []Shown
	// Revision is greater than that of any earlier change of the person, compared
	// as two numbers with a dash between them.
	Revision string
}

// Digest is a number that differs if anything but the times and the revision does,
// almost certainly.
func (r *SharedReading) Digest() uint32 {
	d := newDigest()
	w := &r.Words
	for _, s := range [...]string{w.Availability, w.Activity, w.WorkLocation, w.StatusMessage, w.OutOfOfficeMessage, r.Sequence} {
		d.text(s)
	}
	d.flags(w.OutOfOffice, r.Absent, r.Refusals)
	return uint32(d)
}

// digest is FNV-1a.
type digest uint32

func newDigest() digest { return 2166136261 }

func (d *digest) byte(b byte) { *d = (*d ^ digest(b)) * 16777619 }

func (d *digest) text(s string) {
	for i := range len(s) {
		d.byte(s[i])
	}
	d.byte(0xff) // in no text
}

func (d *digest) flags(outOfOffice, absent bool, refusals uint8) {
	var b byte
	if outOfOffice {
		b |= 1
	}
	if absent {
		b |= 2
	}
	d.byte(b)
	d.byte(refusals)
}

// digest is SharedReading.Digest of a record.
func (r *record) digest() uint32 {
	d := newDigest()
	var status, away string
	if r.words.texts != nil {
		status, away = r.words.texts.status, r.words.texts.outOfOffice
	}
	var availability, activity, location string
	if r.known {
		availability, activity, location = r.words.availability.Value(), r.words.activity.Value(), r.words.workLocation.Value()
	}
	for _, s := range [...]string{availability, activity, location, status, away, r.sequence} {
		d.text(s)
	}
	d.flags(r.words.outOfOffice, r.absent, r.strikes)
	return uint32(d)
}
