package session

import "sync/atomic"

// Kind says what an event is about: the rel of its link.
type Kind uint8

// The kinds of events that presence work raises. Key of the event is an
// address, a subscription id or a group id, as named here.
const (
	ContactPresence               Kind = iota + 1 // key: address; in the contact
	ContactNote                                   // key: address; in the contact
	ContactLocation                               // key: address; in the contact
	ContactSupportedModalities                    // key: address; in the contact
	PresenceSubscription                          // key: subscription id
	Contact                                       // key: address; in a list (see In)
	Group                                         // key: group id; in myGroups, or nothing for updated
	ContactsAndGroupsSubscription                 // key: empty
	CommunicationResource                         // key: empty; from the sender communication
	Me                                            // key: empty; from the sender me, like the rest
	OwnPresence                                   // key: empty
	OwnNote                                       // key: empty
	OwnLocation                                   // key: empty
)

// Type is what happened to the target of an event.
type Type uint8

// The types. Resources know no others; started and completed belong to
// operations.
const (
	Added Type = iota + 1
	Updated
	Deleted
)

// String returns the word of the wire.
func (t Type) String() string { return [...]string{"", "added", "updated", "deleted"}[t] }

// Class is how urgent an event is (UCWA: real-time, high, medium, low). Only
// medium and low have aggregation timers; the others release a P-GET at once.
type Class uint8

// The classes.
const (
	High Class = iota + 1
	Medium
	Low
)

// In is the list that the target of a Contact or Group event entered or left.
type In uint8

// The lists.
const (
	Nowhere            In = iota
	SubscribedContacts    // Contact
	MyContacts            // Contact
	InGroup               // Contact; the event's Group names which
	MyGroups              // Group
)

// Event is one event. It does not change after it was made and is shared by
// every application that it is queued for.
type Event struct {
	Kind  Kind  `json:"k"`
	Type  Type  `json:"t"`
	Class Class `json:"c"`
	In    In    `json:"i,omitempty"`
	// Key names the target; see Kind.
	Key string `json:"y,omitempty"`
	// Group is the id of the group, and GroupRel its rel (pinnedGroup, group,
	// …), of an event in a group or about one.
	Group    string `json:"g,omitempty"`
	GroupRel string `json:"r,omitempty"`
	// Since is when what the event tells became known, in Unix nanoseconds; 0:
	// when it is queued. Aggregation timers and Verdict.Late count from it, so
	// that whoever is told last of many does not wait longer, nor seem prompt.
	Since int64 `json:"s,omitempty"`

	// Revision names the change that the event tells of, so that an engine that
	// is told of it twice queues it once; empty: it is told once. Of two in the
	// form "<number>-<number>" the one whose numbers are larger is newer. It is
	// for the way into a queue, and not kept there.
	Revision string `json:"-"`

	// Communication is what an event about the communication resource embeds.
	Communication *Communication `json:"m,omitempty"`

	// Encoded is a place where whoever sends the event keeps its encoding, so
	// that a change is encoded once for all who wait for it.
	Encoded atomic.Pointer[any] `json:"-"`
}
