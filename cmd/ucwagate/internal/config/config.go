package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is the whole configuration. A Config that Load returned without an
// error keeps every rule of the tags below and of rules.go.
//
// Tags: key is the YAML key; min and max bound a value, both included; oneof
// lists the legal words; format names an entry of the table formats; required
// options have no usable default; doc is the text of the reference page.
type Config struct {
	Server        Server        `key:"server" doc:"The HTTP side, and what the gateway calls itself."`
	Internal      Internal      `key:"internal" doc:"A listener for operators: health, metrics and a status page. It shows no personal data and asks nobody who they are: keep it away from strangers."`
	SignIn        SignIn        `key:"signin" doc:"How users prove who they are. At least one way must be set, or nobody could sign in; several may be."`
	Access        Access        `key:"access" doc:"Who may sign in, publish, and read whom. An entry is an address, a domain, *.domain for those below it, group:name, or * for everybody. Who signs in is known by the address they sign in with (for Entra ID the user principal name), who is read by their SIP address. What is refused is answered 403."`
	Tenants       []Tenant      `key:"tenants" doc:"The Microsoft Entra tenants served, at least one. The domain of an address picks its tenant."`
	Presence      Presence      `key:"presence" doc:"How presence is read, kept and shown."`
	Directory     Directory     `key:"directory" doc:"How addresses become users."`
	Photos        Photos        `key:"photos" doc:"Photos of people; reading them needs the Graph permission ProfilePhoto.Read.All."`
	Contacts      Contacts      `key:"contacts" doc:"Where contact lists and groups come from. A source for which a Graph permission is missing hides itself."`
	Subscriptions Subscriptions `key:"subscriptions" doc:"Presence subscriptions and the event channel."`
	Applications  Applications  `key:"applications" doc:"How many UCWA applications there may be, and how long they live."`
	Limits        Limits        `key:"limits" doc:"What one client, or all together, can make the gateway do and hold (docs/limits.md). 0 is no bound where it may be set."`
	Redis         Redis         `key:"redis" doc:"The Redis that several replicas share (docs/scaling.md): applications and their events, the budget, presence that was read, the key of web tickets. Redis 6.2 or later, or Valkey. A single replica needs none."`
	Log           Log           `key:"log" doc:"What is written to standard error (docs/operations.md)."`
	Tracing       Tracing       `key:"tracing" doc:"OpenTelemetry traces of clients' requests and of requests to Graph (docs/operations.md). Off without an endpoint."`
}

// Server is the HTTP side.
type Server struct {
	Listen         string         `key:"listen" format:"listen_or_socket" doc:"Address and port to listen on, or unix:/path of a socket. An empty host means every interface, port 0 any free port."`
	CertFile       string         `key:"certificate_file" format:"file" doc:"PEM file of the certificate chain; with key_file the listener speaks HTTPS. Both are read again when they change."`
	KeyFile        string         `key:"key_file" format:"file" doc:"PEM file of the private key of certificate_file."`
	RedirectListen string         `key:"redirect_listen" format:"listen" doc:"Address and port of a plain HTTP listener that sends everybody to HTTPS. Empty: none."`
	PublicURL      string         `key:"public_url" format:"origin" doc:"Scheme and host that clients use, such as https://ucwa.example.com, without a path. When set, every absolute href uses it; when empty, the host of the request."`
	TrustedProxies []netip.Prefix `key:"trusted_proxies" doc:"Addresses or CIDR networks of the reverse proxies whose X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-For and traceparent are believed. Empty: nobody's."`
	TrustedSocket  bool           `key:"trusted_socket" doc:"Believe the same of whoever connects to the unix socket of listen: without it all of them are one client."`
	AllowedOrigins []string       `key:"allowed_origins" format:"origin" doc:"Origins (scheme, host, port) of the web pages that may use the gateway, such as https://intranet.example.com. Empty: none but pages of the gateway's own host; programs that are no web pages are not affected."`
	ServerName     string         `key:"server_name" format:"host" doc:"Name sent as X-MS-Server-Fqdn. Empty: the host name of the machine."`
	MaxBody        Size           `key:"max_body" min:"1KiB" max:"64MiB" doc:"Largest request body accepted."`
	DrainDelay     time.Duration  `key:"drain_delay" min:"0s" max:"10m" doc:"How long the gateway says it is not ready, and still serves, after the signal to stop: longer than it takes a load balancer to notice."`
	DrainTime      time.Duration  `key:"drain_time" min:"0s" max:"10m" doc:"Over how long waiting requests for events are released after the signal to stop, so that their clients do not all come back in one moment."`
	ShutdownGrace  time.Duration  `key:"shutdown_grace" min:"0s" max:"10m" doc:"How long requests may take to end after the signal to stop."`
}

// Internal is the listener for operators.
type Internal struct {
	Listen    string `key:"listen" format:"listen" doc:"Address and port of /livez, /readyz, /startupz, /metrics and the status page (/). Empty: none."`
	Profiling bool   `key:"profiling" doc:"Serve /debug/pprof/ there too."`
}

// SignIn says who may sign in.
type SignIn struct {
	Htpasswd          string        `key:"htpasswd" format:"file" doc:"File of password entries, one user@domain:bcrypt-hash per line. Empty: no sign-in by password."`
	TicketLifetime    time.Duration `key:"ticket_lifetime" min:"1m" max:"24h" doc:"How long a web ticket is valid. The protocol suggests 8h."`
	TicketKeys        []Secret      `key:"ticket_keys" doc:"One or two base64 keys of at least 32 bytes that sign web tickets: the first signs, both verify. Empty, and no ticket_keys_file: a key is made at start, so tickets end with the process and are good at one replica only."`
	TicketKeysFile    string        `key:"ticket_keys_file" format:"file" doc:"The same keys in a file, one per line; in place of ticket_keys."`
	AttemptsPerMinute int           `key:"attempts_per_minute" min:"1" max:"1000" doc:"Wrong passwords admitted per minute from one client address, and three times as many for one account."`
	DefaultDomain     string        `key:"default_domain" format:"domain" doc:"Domain of names that come without one, from the command, the callback, the proxy or a certificate. Empty: such names are refused."`
	DomainTable       []string      `key:"domain_table" format:"domain_entry" doc:"Domains of names such as CONTOSO\\ana, as CONTOSO=contoso.com."`
	PortableTickets   bool          `key:"portable_tickets" doc:"A web ticket given for the identity of a connection (proxy, certificates, fixed) is good over other connections too: for a proxy that states its users to the token service alone."`
	Command           Command       `key:"command" doc:"A program that checks passwords: name and password on its standard input, exit status 0 if they are right."`
	Callback          Callback      `key:"callback" doc:"A web service that checks passwords."`
	Proxy             Proxy         `key:"proxy" doc:"A reverse proxy that signs users in and states who they are in a header."`
	Certificates      Certificates  `key:"certificates" doc:"Users who show a certificate (mutual TLS); needs server.certificate_file."`
	Fixed             Fixed         `key:"fixed" doc:"One identity for every request, for a sidecar: whoever reaches the listener is that user. server.listen must be a loopback address or a socket."`
	Entra             Entra         `key:"entra" doc:"Access tokens of Entra ID as bearer tokens."`
}

// Entra is sign-in by an access token of Entra ID.
type Entra struct {
	Audiences []string      `key:"audiences" format:"word" doc:"Values accepted as the audience (aud) of an access token, such as api://0000-… or a client id. Empty: Entra tokens are not accepted."`
	ClockSkew time.Duration `key:"clock_skew" min:"0s" max:"10m" doc:"How far the clocks of Entra ID and of the gateway may differ."`
	Scopes    []string      `key:"scopes" format:"word" doc:"Delegated permissions (scp) of which a user's token must have one. Name one: it also keeps out ID tokens, which are not for the gateway."`
	Roles     []string      `key:"roles" format:"word" doc:"App roles (roles) of which a token must have one. Empty: none is needed."`
	Apps      []string      `key:"applications" format:"app_entry" doc:"Applications that may sign in without a user, each with the address as which it does: application id=address."`
}

// Command is a program that checks passwords.
type Command struct {
	Argv        []string      `key:"argv" doc:"The program, by its absolute path, and its arguments; no shell. Empty: no program."`
	Format      string        `key:"format" oneof:"lines,json" doc:"What it reads: two lines, or a JSON object with user and password."`
	TimeLimit   time.Duration `key:"time_limit" min:"100ms" max:"30s" doc:"How long a check may take."`
	Concurrency int           `key:"concurrency" min:"1" max:"256" doc:"How many run at a time."`
	Remember    time.Duration `key:"remember" min:"0s" max:"1m" doc:"How long a right password is not asked for again."`
}

// Callback is a web service that checks passwords.
type Callback struct {
	URL               string        `key:"url" format:"callback" doc:"Where user and password are posted: https, or http on a loopback address. 2xx is right, 401 and 403 are wrong. Empty: none."`
	Format            string        `key:"format" oneof:"json,form" doc:"What is posted."`
	AuthorizationFile string        `key:"authorization_file" format:"file" doc:"File that holds the value of the header Authorization with which the gateway proves who it is. Empty: none is sent."`
	TimeLimit         time.Duration `key:"time_limit" min:"100ms" max:"30s" doc:"How long a check may take."`
	Concurrency       int           `key:"concurrency" min:"1" max:"256" doc:"How many are under way at a time."`
	Remember          time.Duration `key:"remember" min:"0s" max:"1m" doc:"How long a right password is not asked for again."`
}

// Proxy is a reverse proxy that signs users in.
type Proxy struct {
	Headers       []string       `key:"headers" format:"word" doc:"Headers that carry the user's name, such as X-Forwarded-User. All their spellings are removed from every request of anybody else. Empty: no proxy is believed."`
	NameHeader    string         `key:"name_header" format:"word" doc:"Header with the display name. Empty: none."`
	Trusted       []netip.Prefix `key:"trusted" doc:"Addresses or CIDR networks of the proxies: of the connection itself, whatever headers say. Required with headers, unless trusted_socket is true."`
	TrustedSocket bool           `key:"trusted_socket" doc:"Believe whoever connects to the unix socket of server.listen."`
}

// Certificates is sign-in by client certificate.
type Certificates struct {
	CAFile       string   `key:"ca_file" format:"file" doc:"PEM file of the authorities whose client certificates are accepted. Empty: certificates are not asked for."`
	Fields       []string `key:"fields" format:"certificate_field" doc:"Where the user's name is, in this order: email, upn, cn."`
	Fingerprints []string `key:"fingerprints" format:"fingerprint_entry" doc:"Users of single certificates: SHA-256 fingerprint=address."`
	Issuers      []string `key:"issuers" format:"fingerprint" doc:"SHA-256 fingerprints of the authorities that may name users. Empty: all of ca_file."`
}

// Fixed is one identity for everybody.
type Fixed struct {
	Address string   `key:"address" format:"address" doc:"The user's address. Empty: nobody is signed in this way."`
	Name    string   `key:"name" doc:"The display name."`
	Hosts   []string `key:"hosts" format:"host" doc:"Host names that requests may name besides localhost and loopback addresses."`
}

// Access says who may do what. Entries are an address, a domain, *.domain for
// those below it, group:name, or * for everybody.
type Access struct {
	SignInAllow  []string `key:"sign_in_allow" doc:"Who may sign in. Empty: everybody of the tenants' domains."`
	SignInDeny   []string `key:"sign_in_deny" doc:"Who may not, whatever sign_in_allow says."`
	PublishAllow []string `key:"publish_allow" doc:"Who may set their presence and note, of those who may sign in. Empty: everybody. A location stays with the application and is not published."`
	PublishDeny  []string `key:"publish_deny" doc:"Who may not, whatever publish_allow says."`
	Read         []string `key:"read" format:"read_rule" doc:"Who may read whom: allow READERS > PEOPLE, or deny READERS > PEOPLE, with spaces between entries. Readers named by an allow rule may read nobody else; deny goes before allow. Everybody may read themselves."`
	ReadNobody   bool     `key:"read_nobody" doc:"Refuse what no rule of read allows."`
	Groups       []string `key:"groups" format:"group_entry" doc:"Files of groups, name=path, with an address or a domain a line."`
}

// Tenant is one Entra tenant with its domains, its credential and its share of
// Graph's limit.
type Tenant struct {
	Name          string        `key:"name" format:"label" required:"true" doc:"Label in logs and metrics, unique."`
	TenantID      string        `key:"tenant_id" format:"guid" required:"true" doc:"The tenant's id (a GUID), unique."`
	Domains       []string      `key:"domains" format:"domain" required:"true" doc:"SIP domains of the tenant; no domain may stand in two tenants."`
	Cloud         Cloud         `key:"cloud" oneof:"global,usgov,usgov-dod,china,custom" doc:"The Microsoft cloud that holds the tenant. china is known, but has no presence in Graph and is refused."`
	GraphURL      string        `key:"graph_url" format:"graph" doc:"Root of Graph without the version, for cloud custom only. https, or http on a loopback address."`
	Authority     string        `key:"authority" format:"authority" doc:"Authority that issues tokens, for cloud custom only. https without a path."`
	CAFile        string        `key:"ca_file" format:"file" doc:"PEM file of further root certificates, trusted besides the system's when speaking to Graph and to the authority."`
	Credential    Credential    `key:"credential" doc:"How the gateway proves who it is."`
	Notifications Notifications `key:"notifications" doc:"Change notifications, in addition to reading presence (docs/notifications.md). Off without helpers."`
	Budget        Budget        `key:"budget" doc:"What may be sent to Graph. Graph admits 1,500 presence requests in any 30 s per app and tenant; capacity + rate × window must not exceed limit − other_programs."`
}

// Cloud names one of Microsoft's clouds.
type Cloud string

// The clouds. Tokens of one are no good in another.
const (
	CloudGlobal   Cloud = "global"
	CloudUSGov    Cloud = "usgov"     // L4, GCC High
	CloudUSGovDoD Cloud = "usgov-dod" // L5
	CloudChina    Cloud = "china"     // 21Vianet: Graph has no presence there, so Load refuses it
	CloudCustom   Cloud = "custom"    // graph_url and authority
)

// Credential is how the gateway proves who it is to Entra ID.
type Credential struct {
	Kind                    CredentialKind `key:"kind" oneof:"secret,certificate,workload,managed,default" doc:"default walks the chain of the Azure SDK (environment, workload identity, managed identity, developer tools), which costs time at start: name the kind in production."`
	ClientID                string         `key:"client_id" format:"word" doc:"Client id of the app registration, or of a user-assigned managed identity. For workload, empty means AZURE_CLIENT_ID."`
	Secret                  Secret         `key:"secret" doc:"Client secret, for kind secret; better from the environment than from the file."`
	SecretFile              string         `key:"secret_file" format:"file" doc:"File that holds the client secret; in place of secret."`
	CertificateFile         string         `key:"certificate_file" format:"file" doc:"PEM or PKCS#12 file with certificate and private key, for kind certificate."`
	CertificatePasswordFile string         `key:"certificate_password_file" format:"file" doc:"File that holds the password of certificate_file."`
	SendChain               bool           `key:"send_chain" doc:"Send the certificate chain (x5c) too, which subject name and issuer authentication needs."`
	TokenFile               string         `key:"token_file" format:"file" doc:"File of the federated token, for kind workload. Empty: the file that AZURE_FEDERATED_TOKEN_FILE names."`
}

// CredentialKind is a way to authenticate as an application.
type CredentialKind string

// The kinds of credential.
const (
	CredentialSecret      CredentialKind = "secret"
	CredentialCertificate CredentialKind = "certificate"
	CredentialWorkload    CredentialKind = "workload"
	CredentialManaged     CredentialKind = "managed"
	CredentialDefault     CredentialKind = "default"
)

// Notifications says how Graph tells the gateway of changes.
type Notifications struct {
	Helpers   []string      `key:"helpers" format:"path" doc:"Files that keep the sign-ins of helper accounts, made by ucwagate helper sign-in. Graph notifies in the name of users only, and of 650 people for each of them. Two gateways must not share an account, but replicas with one Redis have the same files, in a folder that all can write to."`
	URL       string        `key:"url" format:"hook" doc:"Where Graph reaches this gateway from the internet, by https. Empty: server.public_url with the path /graph/notifications/ and the tenant's name, which is where the gateway expects notifications."`
	ClientID  string        `key:"client_id" format:"guid" doc:"App registration that the helper accounts sign in to; it must allow public client flows. Empty: that of the credential."`
	SafetyNet time.Duration `key:"safety_net" min:"1m" max:"1h" doc:"How often people are read whose changes Graph notifies; not below presence.refresh. Their notes and locations, of which Graph does not notify, are as old as that."`
}

// Budget is the share of Graph's limit that one tenant's requests may use.
type Budget struct {
	Limit         int           `key:"limit" min:"1" max:"1500" doc:"Requests admitted in any window."`
	Window        time.Duration `key:"window" min:"1s" max:"10m" doc:"The window that limit speaks of. Shorter than 30s only with a limit that keeps any 30 s within 1,500."`
	Capacity      int           `key:"capacity" min:"1" max:"1500" doc:"Capacity of the token bucket: the largest burst. The bucket starts empty."`
	Rate          float64       `key:"rate" min:"0.1" max:"1500" doc:"Tokens added per second."`
	OtherPrograms int           `key:"other_programs" min:"0" max:"1499" doc:"Requests per window left to other programs that use the same app registration."`
}

// Presence is how presence is read, kept and shown.
type Presence struct {
	Refresh             time.Duration `key:"refresh" min:"1s" max:"1h" doc:"Shortest time between two readings of a watched person. Graph's terms frown on eager polling: below 5s is for tests against a simulator, 20s is what Microsoft's own toolkit does."`
	Staleness           time.Duration `key:"staleness" min:"1s" max:"24h" doc:"How old a presence may be and still be served while Graph cannot be reached; not below refresh."`
	RefreshCeiling      time.Duration `key:"refresh_ceiling" min:"1s" max:"24h" doc:"When the budget makes two readings of a watched person lie further apart than this, the log says so; not below refresh."`
	RefreshShare        float64       `key:"refresh_share" min:"0.01" max:"0.9" doc:"Share of the budget's rate that reading watched people again may use; the more people are watched, the longer the time between two readings."`
	CacheSize           int           `key:"cache_size" min:"100" max:"10000000" doc:"People whose presence is kept in memory, about 400 bytes each."`
	BatchWindow         time.Duration `key:"batch_window" min:"0s" max:"1s" doc:"How far apart requests leave at least when many are asked for; what is asked meanwhile leaves as one. A lone question never waits."`
	UnknownAs           UnknownAs     `key:"unknown_as" oneof:"Offline,None" doc:"The availability shown for a person whose presence Graph does not know. None only for clients that know that word."`
	Publish             bool          `key:"publish" doc:"Users may set their own presence and note. Needs the Graph permission Presence.ReadWrite.All; without it, or with false, presence is read only."`
	OutOfOfficeActivity bool          `key:"out_of_office_activity" doc:"Show the activity out-of-office, which is not in the documented list of UCWA but which many clients know."`
}

// UnknownAs is the UCWA availability that stands for an unknown presence.
type UnknownAs string

// The words for an unknown presence.
const (
	UnknownOffline UnknownAs = "Offline"
	UnknownNone    UnknownAs = "None"
)

// Directory is how addresses become users.
type Directory struct {
	Sync         bool          `key:"sync" doc:"Keep the whole directory in memory by /users/delta, instead of looking up each address when it is first asked for."`
	SyncInterval time.Duration `key:"sync_interval" min:"1m" max:"24h" doc:"Time between two delta readings, with sync."`
	StateFile    string        `key:"state_file" format:"path" doc:"With sync: file that keeps the directory over a restart, which then reads only what has changed; one file for each tenant, with the tenant's name behind it. It holds names, addresses and phone numbers. Empty: nothing is kept."`
	TTL          time.Duration `key:"ttl" min:"1s" max:"168h" doc:"How long the user found for an address is believed."`
	NegativeTTL  time.Duration `key:"negative_ttl" min:"0s" max:"24h" doc:"How long it is believed that nobody has an address."`
	CacheSize    int           `key:"cache_size" min:"100" max:"10000000" doc:"Addresses kept in memory."`
}

// Photos says how photos are served.
type Photos struct {
	Enabled     bool          `key:"enabled" doc:"Serve photos; with false they are refused (403)."`
	CacheSize   Size          `key:"cache_size" min:"1MiB" max:"16GiB" doc:"Photos kept in memory."`
	TTL         time.Duration `key:"ttl" min:"1m" max:"168h" doc:"How long a photo is served before Graph is asked whether it has changed."`
	NegativeTTL time.Duration `key:"negative_ttl" min:"1m" max:"168h" doc:"How long it is believed that somebody has no photo."`
}

// Contacts is where contact lists and groups come from.
type Contacts struct {
	Organization   bool          `key:"organization" doc:"Group My Organization: manager, peers and reports."`
	Groups         bool          `key:"groups" doc:"One distribution group for each Microsoft 365 group of the user."`
	ContactFolders bool          `key:"contact_folders" doc:"One group for each contact folder of the mailbox; needs the permission Contacts.Read."`
	DefaultGroup   DefaultGroup  `key:"default_group" oneof:"people,contacts,none" doc:"What fills the default group: the people Graph finds relevant (People.Read.All), the default contact folder (Contacts.Read), or nothing."`
	PinnedFile     string        `key:"pinned_file" format:"file" doc:"File of pinned contacts, one owner: address, address a line, or *: … for everybody (docs/contact-lists.md). Empty: none."`
	ListFile       string        `key:"list_file" format:"path" doc:"File of contact lists: pinned contacts, groups and members of each user (docs/contact-lists.md). Empty: none. It need not be there yet if list_writable is true; its folder must."`
	ListWritable   bool          `key:"list_writable" doc:"Users may change their lists in list_file through UCWA; a missing file is made. Else such requests are refused (403)."`
	TTL            time.Duration `key:"ttl" min:"10s" max:"24h" doc:"How long a list read from Graph is served from memory."`
	MaxContacts    int           `key:"max_contacts" min:"1" max:"1000" doc:"Longest contact list; Lync's default is 250."`
	MaxGroups      int           `key:"max_groups" min:"1" max:"500" doc:"Most groups of one user that are read from one source, and that a user may have in list_file."`
}

// DefaultGroup is a source of the default group.
type DefaultGroup string

// The sources of the default group.
const (
	DefaultGroupPeople   DefaultGroup = "people"
	DefaultGroupContacts DefaultGroup = "contacts"
	DefaultGroupNone     DefaultGroup = "none"
)

// Subscriptions bounds presence subscriptions and the event channel.
type Subscriptions struct {
	PerApplication int           `key:"per_application" min:"1" max:"10000" doc:"Presence subscriptions of one application; one more is refused (403 LimitExceeded)."`
	Members        int           `key:"members" min:"1" max:"10000" doc:"People in one presence subscription; more are refused (403 LimitExceeded)."`
	QueuedEvents   int           `key:"queued_events" min:"100" max:"1000000" doc:"Events kept for a client that does not fetch them; beyond it the client is told to resynchronize."`
	Instances      int           `key:"instances" min:"1" max:"1000" doc:"Event channels of one application: tabs of a browser."`
	SoftReset      time.Duration `key:"soft_reset" min:"1m" max:"24h" doc:"How long after its last request for events a silent client loses its subscriptions."`
	Expiry         time.Duration `key:"expiry" min:"1m" max:"24h" doc:"How long after its last request for events a silent client loses its application; not below soft_reset. The protocol says 15m."`
	NextWithResync bool          `key:"next_with_resync" doc:"Offer the link next beside resync, for clients that know no other; the documentation has resync alone."`
}

// Applications bounds the UCWA applications.
type Applications struct {
	PerUser   int           `key:"per_user" min:"1" max:"1000" doc:"Applications of one user; one more ends the oldest. Most clients never delete theirs."`
	Idle      time.Duration `key:"idle" min:"1m" max:"24h" doc:"How long an application without an event channel lives after its last request."`
	Activity  time.Duration `key:"activity" min:"10m" max:"3h55m" doc:"How long an application lives whose user was made available and has not reported activity since."`
	Tombstone time.Duration `key:"tombstone" min:"0s" max:"24h" doc:"How long an ended application still answers 410 with the reason, before it answers 404."`
	Max       int           `key:"max" min:"1" max:"10000000" doc:"Applications in all; not below per_user."`
}

// Log is what is written to standard error.
type Log struct {
	Level  LogLevel  `key:"level" oneof:"debug,info,warn,error" doc:"Lowest level written."`
	Format LogFormat `key:"format" oneof:"json,text" doc:"Form of a line."`
	Access LogAccess `key:"access" oneof:"off,errors,all" doc:"The access log, a line for each request: of none, of those answered 400 or above or broken off by a fault, or of all. Needs level info or debug."`
	Names  bool      `key:"names" doc:"Write addresses of people into the access log and the audit log. Without it they have a pseudonym and an object id."`
}

// LogAccess says which requests have a line in the access log.
type LogAccess string

// The kinds of access log.
const (
	AccessOff    LogAccess = "off"
	AccessErrors LogAccess = "errors"
	AccessAll    LogAccess = "all"
)

// Tracing says where traces go.
type Tracing struct {
	Endpoint    string  `key:"endpoint" format:"collector" doc:"Where spans are sent by OTLP over HTTP: URL of a collector, such as http://127.0.0.1:4318. Without a path it is /v1/traces. Empty: no traces."`
	HeadersFile string  `key:"headers_file" format:"file" doc:"File of headers that go with the spans, one Name: value a line, such as an authorization. Empty: none."`
	SampleRatio float64 `key:"sample_ratio" min:"0" max:"1" doc:"Part of the traces begun here that are recorded. A request from server.trusted_proxies that carries a trace (traceparent) is recorded as it says."`
	ServiceName string  `key:"service_name" format:"word" doc:"The service's name in traces."`
}

// LogLevel is the lowest level of a line that is written.
type LogLevel string

// The levels.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// Slog returns the level for package log/slog; what is not a level is info.
func (l LogLevel) Slog() slog.Level {
	switch l {
	case LogDebug:
		return slog.LevelDebug
	case LogWarn:
		return slog.LevelWarn
	case LogError:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// LogFormat is the form of a log line.
type LogFormat string

// The forms.
const (
	LogJSON LogFormat = "json"
	LogText LogFormat = "text"
)
