package graphsrc

import (
	"context"

	"ucwagate/mapping"
)

// Presence is one reading of one person.
type Presence struct {
	// ID is the user's object id, lower case.
	ID string
	// Words is what Graph said, untranslated.
	Words mapping.Presence
	// Sequence is sequenceNumber: it sorts as bytes, and is empty in the
	// government clouds.
	Sequence string
}

// User is a person of the directory. Fields are empty where the directory has
// nothing, or the permission does not show it.
type User struct {
	ID                string // object id, lower case
	DisplayName       string
	UserPrincipalName string
	Mail              string
	IMAddresses       []string // usually without "sip:"
	ProxyAddresses    []string // "SMTP:…", "smtp:…", "sip:…"; upper case marks the primary
	OtherMails        []string
	JobTitle          string
	Department        string
	CompanyName       string
	OfficeLocation    string
	BusinessPhones    []string
	MobilePhone       string
	UserType          string // "Member", "Guest" or empty
	// Removed is set on an entry of a delta page whose user is gone.
	Removed bool
}

// UserFields are the properties of User as Graph spells them, for $select.
var UserFields = []string{
	"id", "displayName", "userPrincipalName", "mail", "imAddresses", "proxyAddresses", "otherMails",
	"jobTitle", "department", "companyName", "officeLocation", "businessPhones", "mobilePhone", "userType",
}

// Group is a group of the directory that a user belongs to.
type Group struct {
	ID          string
	DisplayName string
	Mail        string
	// Unified is true for a Microsoft 365 group.
	Unified bool
}

// ContactFolder is a folder of personal contacts in a user's mailbox.
type ContactFolder struct {
	ID          string
	DisplayName string
}

// MailboxContact is an entry of a mailbox (a personal contact, or a person of
// the people API): a name and the addresses under which a user may be found.
type MailboxContact struct {
	DisplayName string
	// Addresses holds IM addresses first, then mail addresses, without scheme.
	Addresses []string
}

// UsersPage is one page of /users/delta.
type UsersPage struct {
	Users []User
	// Next continues this round, Delta begins the next one; one of them is
	// set. Both are whole URLs made by Graph.
	Next, Delta string
}

// PresenceReader reads presence. Each method is one logical request; every
// physical send it causes passes the budget. Errors are *Error.
type PresenceReader interface {
	// Presence reads one user: GET /users/{id}/presence.
	Presence(ctx context.Context, id string) (Presence, error)
	// Presences reads up to 650 users at once: POST
	// /communications/getPresencesByUserId. The answer holds what Graph
	// returned, in Graph's order: entries may be missing, doubled or foreign.
	Presences(ctx context.Context, ids []string) ([]Presence, error)
}

// DirectoryReader reads users and groups. Errors are *Error; a user that does
// not exist is KindNotFound.
type DirectoryReader interface {
	// User reads one user by object id or user principal name.
	User(ctx context.Context, idOrUPN string) (User, error)
	// FindUsers returns at most top users that an OData filter selects.
	FindUsers(ctx context.Context, filter string, top int) ([]User, error)
	// UsersDelta reads one page of /users/delta; an empty link begins a round.
	// A token that Graph no longer knows is KindGone.
	UsersDelta(ctx context.Context, link string) (UsersPage, error)
	// Manager is KindNotFound where there is none.
	Manager(ctx context.Context, id string) (User, error)
	DirectReports(ctx context.Context, id string, limit int) ([]User, error)
	// MemberOf returns the groups (not roles or units) a user is a direct member of.
	MemberOf(ctx context.Context, id string, limit int) ([]Group, error)
	GroupMembers(ctx context.Context, groupID string, limit int) ([]User, error)
}

// MailboxReader reads what a user's mailbox knows of other people.
type MailboxReader interface {
	People(ctx context.Context, id string, limit int) ([]MailboxContact, error)
	ContactFolders(ctx context.Context, id string, limit int) ([]ContactFolder, error)
	// Contacts returns the contacts of a folder; an empty folderID means the
	// default folder.
	Contacts(ctx context.Context, id, folderID string, limit int) ([]MailboxContact, error)
}

// Graph is everything the source reads.
type Graph interface {
	PresenceReader
	DirectoryReader
	MailboxReader
}
