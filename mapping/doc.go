// Package mapping translates between the two presence vocabularies: what
// Microsoft Graph says of a person becomes the contactPresence, contactNote and
// contactLocation of UCWA (Translate), and what a UCWA client publishes becomes
// a Graph action (MakeAvailable, Prefer, SetNote and their kin).
//
// Every rule is data. The rows of table.go (Graph to UCWA), publish.go (UCWA to
// Graph) and culture.go (localized texts) are what the code looks up, what
// WriteTable prints and what the tests walk through; no value is decided
// anywhere else.
//
// The package is pure. It must never know of time, network, storage, contexts
// or other packages of this module: the same words and options always give the
// same answer. What needs a clock (lastActive, holding a last good reading,
// keeping a session alive) belongs to the callers; Active and
// Contact.Indefinite tell them when.
//
// Sources: the UCWA enumerations of the UCWA 2.0 reference
// (https://learn.microsoft.com/en-us/skype-sdk/ucwa/), the Graph presence
// resource (https://learn.microsoft.com/en-us/graph/api/resources/presence), the
// numeric availability ranges of Lync, and the presence states of Teams
// (https://learn.microsoft.com/en-us/microsoftteams/presence-admins).
package mapping
