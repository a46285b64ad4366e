package graphsrc

import (
	"context"
	"time"

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

// Publisher says something about a user's presence. Errors are *Error.
type Publisher interface {
	// Publish performs one action of a user's presence resource; the session of
	// setPresence and clearPresence is the application's own (its client id).
	// lasts is the expiration of a set…Presence action; zero leaves it to Graph.
	// The end of a session that does not exist is no error.
	Publish(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) error
	// Permissions returns the application permissions that the token in use
	// carries; nil if the token does not tell.
	Permissions(ctx context.Context) ([]string, error)
}

// PublishPermission is the application permission that Publisher needs.
const PublishPermission = "Presence.ReadWrite.All"

// Photo is a user's photo in one size.
type Photo struct {
	Content []byte // as Graph sent it; shared, not to be changed
	Type    string // media type, such as image/jpeg
	ETag    string // of Graph, without quotes; empty if it sent none
	// NotModified says that the photo is still the one of the tag asked with;
	// the other fields are empty then.
	NotModified bool
}

// PhotoSizes are the edges of the square photos Graph offers, in pixels,
// ascending.
//
// Source: https://learn.microsoft.com/en-us/graph/api/profilephoto-get
var PhotoSizes = []int{48, 64, 96, 120, 240, 360, 432, 504, 648}

// PhotoReader reads photos. Errors are *Error.
type PhotoReader interface {
	// Photo reads a user's photo in one of PhotoSizes, unless it is still the
	// one with the tag given (empty: none is known). No photo is KindNotFound.
	Photo(ctx context.Context, id string, size int, etag string) (Photo, error)
}

// Searcher searches the directory by advanced queries (ConsistencyLevel:
// eventual). At most top entries are returned; more says that Graph has others.
// Errors are *Error.
type Searcher interface {
	// SearchUsers takes a $search expression, such as "displayName:ana".
	SearchUsers(ctx context.Context, search string, top int) (users []User, more bool, err error)
	// FilterUsers takes a $filter expression that needs an advanced query.
	FilterUsers(ctx context.Context, filter string, top int) (users []User, more bool, err error)
	// SearchGroups takes a $search expression over groups; only groups with a
	// mail address are returned.
	SearchGroups(ctx context.Context, search string, top int) (groups []Group, more bool, err error)
	// Group reads one group by object id.
	Group(ctx context.Context, id string) (Group, error)
}

// SearchQuery is what Source.Search looks for. Text or Mail is set.
type SearchQuery struct {
	// Text is a name or a part of one, a mail or SIP address, or a phone
	// number, as a person types it.
	Text string
	// Mail is a mail address or its beginning.
	Mail string
	// Limit is the most entries returned, users and groups together; at least 1.
	Limit int
}

// SearchResult is what was found: users first, then groups.
type SearchResult struct {
	Users  []User
	Groups []Group
	// More says that there are others beyond the limit.
	More bool
}

// Graph is everything the source reads and says.
type Graph interface {
	PresenceReader
	DirectoryReader
	MailboxReader
	Publisher
	PhotoReader
	Searcher
}
