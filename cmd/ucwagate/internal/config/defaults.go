package config

import "time"

// Defaults that are a decision rather than a habit.
const (
	// defaultRefresh is what Microsoft's own toolkit component polls at, and
	// the lower end of what Graph's polling terms leave room for.
	defaultRefresh = 20 * time.Second
	// defaultStaleness lets a short failure of Graph pass unseen, and is short
	// enough that nobody is shown as free long after leaving.
	defaultStaleness = 5 * time.Minute
	// defaultBatchWindow gathers the requests of a client that opens a contact
	// list, and cannot be felt by one that asks for a single person.
	defaultBatchWindow = 5 * time.Millisecond
	// defaultTicketLifetime is what the protocol's documentation states.
	defaultTicketLifetime = 8 * time.Hour
	// defaultCapacity and defaultRate admit 100 + 45 × 30 = 1,450 requests in
	// any 30 s, and 1,495 where latencies differ by a second; the familiar
	// bucket of 1,500 refilled at 50 per second admits 3,000.
	defaultCapacity = 100
	defaultRate     = 45
	// defaultLimit and defaultWindow are Graph's documented limit.
	defaultLimit  = graphLimit
	defaultWindow = graphWindow
	// defaultPerUser leaves room for clients that never delete their
	// application, as most do not.
	defaultPerUser = 40
	// defaultMaxContacts is the default of Lync's contact list.
	defaultMaxContacts = 250
)

// Default returns the configuration that applies where nothing is set. It has
// no tenant and no way to sign in, so it is no valid configuration by itself.
func Default() Config {
	return Config{
		Server: Server{
			Listen:        "127.0.0.1:8080",
			MaxBody:       1 << 20,
			DrainTime:     5 * time.Second,
			ShutdownGrace: 10 * time.Second,
		},
		Internal: Internal{Listen: "127.0.0.1:9090"},
		SignIn: SignIn{
			TicketLifetime:    defaultTicketLifetime,
			AttemptsPerMinute: 10,
			Entra:             Entra{ClockSkew: 2 * time.Minute},
			Command:           Command{Format: "lines", TimeLimit: 5 * time.Second, Concurrency: 4},
			Callback:          Callback{Format: "json", TimeLimit: 5 * time.Second, Concurrency: 4},
		},
		Presence: Presence{
			Refresh:             defaultRefresh,
			Staleness:           defaultStaleness,
			RefreshCeiling:      5 * time.Minute,
			RefreshShare:        0.5,
			CacheSize:           200_000,
			BatchWindow:         defaultBatchWindow,
			UnknownAs:           UnknownOffline,
			Publish:             true,
			OutOfOfficeActivity: true,
		},
		Directory: Directory{
			SyncInterval: 10 * time.Minute,
			TTL:          time.Hour,
			NegativeTTL:  5 * time.Minute,
			CacheSize:    200_000,
		},
		Photos: Photos{
			Enabled:     true,
			CacheSize:   64 << 20,
			TTL:         time.Hour,
			NegativeTTL: 4 * time.Hour,
		},
		Contacts: Contacts{
			Organization: true,
			Groups:       true,
			DefaultGroup: DefaultGroupPeople,
			TTL:          5 * time.Minute,
			MaxContacts:  defaultMaxContacts,
			MaxGroups:    50,
		},
		Subscriptions: Subscriptions{
			PerApplication: 100,
			Members:        250,
			QueuedEvents:   2000,
			Instances:      16,
			SoftReset:      10 * time.Minute,
			Expiry:         15 * time.Minute,
		},
		Applications: Applications{
			PerUser:   defaultPerUser,
			Idle:      time.Hour,
			Activity:  time.Hour,
			Tombstone: time.Hour,
			Max:       100_000,
		},
		Limits:  defaultLimits(),
		Redis:   Redis{Prefix: "ucwagate", Timeout: time.Second},
		Log:     Log{Level: LogInfo, Format: LogJSON, Access: AccessOff},
		Tracing: Tracing{SampleRatio: 0.1, ServiceName: "ucwagate"},
	}
}

// DefaultTenant returns a tenant as it is before its entry of the list is read.
func DefaultTenant() Tenant {
	return Tenant{
		Cloud:         CloudGlobal,
		Credential:    Credential{Kind: CredentialDefault},
		Notifications: Notifications{SafetyNet: 5 * time.Minute},
		Budget: Budget{
			Limit:    defaultLimit,
			Window:   defaultWindow,
			Capacity: defaultCapacity,
			Rate:     defaultRate,
		},
	}
}
