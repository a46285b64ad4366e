package graphsim

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/graphsim/limit"
	"ucwagate/graphsrc/graphsim/people"
)

// Limit is a request limit per app and tenant.
type Limit = limit.Rule

// The models of a Limit.
const (
	Sliding = limit.Sliding
	Fixed   = limit.Fixed
	Bucket  = limit.Bucket
)

// User is everything the tenant's directory says about a person.
type User = people.User

// Defaults of Config.
const (
	DefaultDomain        = "contoso.test"
	DefaultUsers         = 200
	DefaultSeed          = 1
	DefaultPace          = 1.0
	DefaultTokenLifetime = time.Hour
	// DefaultRefreshLifetime is how long Entra ID lets a refresh token live
	// without being used.
	DefaultRefreshLifetime = 90 * 24 * time.Hour
	// DefaultRefreshGrace is shorter than what Entra ID documents, which
	// leaves used refresh tokens alone but wants clients to forget them: a
	// client that does not is found out.
	DefaultRefreshGrace = 10 * time.Minute
	// DefaultNotificationLatency is well within the average of ten seconds
	// that Graph documents for presence.
	DefaultNotificationLatency = time.Second
	// DefaultDeltaPage is the number of entries of a /users/delta page.
	DefaultDeltaPage = 200
	// DefaultLogSize is how many requests Log remembers.
	DefaultLogSize = 20_000
)

// DocumentedLimit is what Graph publishes for presence: 1,500 requests in
// 30 seconds per application per tenant ("Get presence", Microsoft Graph
// documentation). Whether the window slides is not documented.
var DocumentedLimit = Limit{Requests: 1500, Window: 30 * time.Second, Model: Sliding}

// DefaultRoles are the application permissions of an app that may use every
// route.
var DefaultRoles = []string{
	"Presence.Read.All", "Presence.ReadWrite.All", "User.Read.All", "Directory.Read.All", "Group.Read.All",
	"GroupMember.Read.All", "People.Read.All", "Contacts.Read", "ProfilePhoto.Read.All", "Organization.Read.All",
}

// DefaultScopes are the delegated permissions an on-behalf-of token carries.
var DefaultScopes = []string{
	"Presence.Read.All", "Presence.ReadWrite", "User.Read", "User.Read.All", "Directory.Read.All", "Group.Read.All",
	"GroupMember.Read.All", "People.Read.All", "Contacts.Read", "ProfilePhoto.Read.All", "Organization.Read.All",
}

// Config describes a tenant. The zero value of a field means its default.
type Config struct {
	// Domain is the default domain of all addresses; DefaultDomain.
	Domain string
	// TenantID and ClientID are GUIDs drawn from Seed if empty, ClientSecret
	// is random.
	TenantID, ClientID, ClientSecret string
	// Users is the number of people, 10 to 1,000,000; DefaultUsers.
	Users int
	// Seed decides who they are and what they do; DefaultSeed.
	Seed uint64
	// Still means that nobody changes presence without being told.
	Still bool
	// Pace multiplies the speed of the workday: at 1, one percent of the
	// people (but at least one in two seconds) change each second.
	Pace float64
	// Roles are the application permissions granted to the app; DefaultRoles
	// if nil. An empty, non-nil list grants none.
	Roles []string
	// Scopes are the delegated permissions granted to the app; DefaultScopes
	// if nil.
	Scopes []string
	// Certificates may sign the app's client assertions.
	Certificates []*x509.Certificate
	// Federations are what workloads may present in place of a secret.
	Federations []Federation
	// Confidential forbids the app the flows of public clients (App.Public),
	// which it may use otherwise.
	Confidential bool
	// Limit applies to all presence routes together, per app; DocumentedLimit.
	Limit Limit
	// IdentityUnits is how many resource units an app may spend on the
	// directory in 10 s; what Graph documents for a tenant of so many Users if 0.
	// NoIdentityLimit switches that limit off.
	IdentityUnits   int
	NoIdentityLimit bool
	// TokenLifetime is the life of an access token; DefaultTokenLifetime.
	TokenLifetime time.Duration
	// RefreshLifetime is the life of a refresh token; DefaultRefreshLifetime.
	RefreshLifetime time.Duration
	// RefreshGrace is how long a refresh token keeps working after its first
	// use gave a new one; DefaultRefreshGrace. AuthFault.RefreshOnce makes it
	// none.
	RefreshGrace time.Duration
	// NotificationLatency is how often changes of presence are looked for on
	// behalf of subscriptions, and so about the time until a notification
	// leaves; DefaultNotificationLatency.
	NotificationLatency time.Duration
	// NotificationClient delivers notifications; if it is nil,
	// NotificationRootCAs says whose certificates are trusted (nil: those the
	// host trusts).
	NotificationClient  *http.Client
	NotificationRootCAs *x509.CertPool
	// AllowPresenting makes setPresence accept DoNotDisturb/Presenting, which
	// newer documentation suggests and older excludes.
	AllowPresenting bool
	// DeltaPage is the size of a /users/delta page; DefaultDeltaPage.
	DeltaPage int
	// LogSize is how many requests Log remembers; DefaultLogSize.
	LogSize int
	Clock   clock.Clock
	Logger  *slog.Logger
}

// Federation is an outside identity that may act as the app: either any
// bearer of Token, or whoever presents an assertion of Issuer for Subject
// that verifies under Key.
type Federation struct {
	// Token is compared as a whole, in constant time, if not empty.
	Token string
	// Issuer, Subject and Audience must equal the assertion's claims; an empty
	// Audience stands for api://AzureADTokenExchange.
	Issuer, Subject, Audience string
	// Key is the issuer's public key (*rsa.PublicKey or *ecdsa.PublicKey).
	Key any
}

// complete fills in defaults and collects all that is wrong.
func (c Config) complete() (Config, error) {
	c.Domain = strings.ToLower(or(c.Domain, DefaultDomain))
	c.Users = or(c.Users, DefaultUsers)
	c.Seed = or(c.Seed, DefaultSeed)
	c.Pace = or(c.Pace, DefaultPace)
	c.TenantID = strings.ToLower(or(c.TenantID, people.GUID(c.Seed, "tenant")))
	c.ClientID = strings.ToLower(or(c.ClientID, people.GUID(c.Seed, "client")))
	c.ClientSecret = or(c.ClientSecret, rand.Text())
	c.TokenLifetime = or(c.TokenLifetime, DefaultTokenLifetime)
	c.RefreshLifetime = or(c.RefreshLifetime, DefaultRefreshLifetime)
	c.RefreshGrace = or(c.RefreshGrace, DefaultRefreshGrace)
	c.NotificationLatency = or(c.NotificationLatency, DefaultNotificationLatency)
	c.DeltaPage = or(c.DeltaPage, DefaultDeltaPage)
	c.LogSize = or(c.LogSize, DefaultLogSize)
	c.Limit.Requests = or(c.Limit.Requests, DocumentedLimit.Requests)
	c.Limit.Window = or(c.Limit.Window, DocumentedLimit.Window)
	c.Limit.Model = or(c.Limit.Model, DocumentedLimit.Model)
	if c.Roles == nil {
		c.Roles = slices.Clone(DefaultRoles)
	}
	if c.Scopes == nil {
		c.Scopes = slices.Clone(DefaultScopes)
	}
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, c.validate()
}

func (c Config) validate() error {
	problems := []error{c.Limit.Validate()}
	if c.Pace < 0 {
		problems = append(problems, fmt.Errorf("pace %v: must not be negative", c.Pace))
	}
	if c.TokenLifetime < time.Second {
		problems = append(problems, fmt.Errorf("token lifetime %v: at least one second", c.TokenLifetime))
	}
	if c.RefreshLifetime < time.Second || c.RefreshGrace < 0 {
		problems = append(problems, fmt.Errorf("refresh lifetime %v and grace %v: at least one second, and not negative", c.RefreshLifetime, c.RefreshGrace))
	}
	if c.NotificationLatency < time.Millisecond {
		problems = append(problems, fmt.Errorf("notification latency %v: at least one millisecond", c.NotificationLatency))
	}
	if c.IdentityUnits < 0 {
		problems = append(problems, fmt.Errorf("identity units %d: must not be negative", c.IdentityUnits))
	}
	if c.DeltaPage < 1 || c.LogSize < 1 {
		problems = append(problems, fmt.Errorf("delta page %d and log size %d: at least 1", c.DeltaPage, c.LogSize))
	}
	for what, id := range map[string]string{"tenant": c.TenantID, "client": c.ClientID} {
		if !people.IsGUID(id) {
			problems = append(problems, fmt.Errorf("%s id %q: must be a GUID", what, id))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("configuring a simulated tenant: %w", err)
	}
	return nil
}

// or is value, or fallback if value is zero.
func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
