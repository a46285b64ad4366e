package ops

// Cause is a kind of problem.
type Cause string

// The causes.
const (
	CausePermission    Cause = "permission"
	CauseCredential    Cause = "credential"
	CauseThrottled     Cause = "throttled"
	CauseBudget        Cause = "budget"
	CauseGraph         Cause = "graph"
	CauseTimeout       Cause = "timeout"
	CauseRequest       Cause = "request"
	CauseMalformed     Cause = "malformed"
	CauseName          Cause = "name"
	CauseCertificate   Cause = "certificate"
	CauseNetwork       Cause = "network"
	CauseProxy         Cause = "proxy"
	CauseSignInKeys    Cause = "sign-in keys"
	CausePasswords     Cause = "passwords"
	CauseStore         Cause = "store"
	CauseAccount       Cause = "helper account"
	CauseNotifications Cause = "notifications"
	CauseInternal      Cause = "internal"
)

// advice is what the page says of a cause.
type advice struct{ title, todo string }

// advices is the table of what to do.
var advices = map[Cause]advice{
	CausePermission: {
		"Graph refuses: a permission is missing (403)",
		"Grant the application permission, with an administrator's consent, in Entra ID: App registrations, API permissions. It is noticed within two minutes. If it is granted, a policy of the tenant may close single mailboxes to applications.",
	},
	CauseCredential: {
		"The gateway's own sign-in to Entra ID fails (401)",
		"Look whether the secret or certificate of the app registration has expired or was replaced, and whether tenant_id and client_id belong together; with a workload or managed identity, look at its federated credential. Conditional access for workload identities refuses like this, too.",
	},
	CauseThrottled: {
		"Graph says: too many requests (429)",
		"Other programs use the same app registration. Give the gateway a registration of its own, or leave the others their share with budget.other_programs. The gateway has slowed down and speeds up again by itself.",
	},
	CauseBudget: {
		"The budget was used up: a client was told to come back later",
		"More is asked than Graph's limit admits. Watch fewer people, raise presence.refresh, lower presence.refresh_share, or have changes notified, which needs no reading.",
	},
	CauseGraph: {
		"Graph fails (5xx)",
		"Nothing is to be done here if it passes; what is known goes on to be served up to presence.staleness. Look at the service health page of Microsoft 365 if it lasts.",
	},
	CauseTimeout: {
		"No answer in time",
		"Look at the way to Graph: a proxy, a firewall that drops packets, a slow line. If all else is quick, Graph is slow; that passes.",
	},
	CauseRequest: {
		"Graph refuses a request as wrong (4xx)",
		"Look whether the tenant's cloud is configured rightly. If it is, the log has Graph's words and the request-id: report it.",
	},
	CauseMalformed: {
		"An answer that is none of Graph's",
		"A proxy or a captive portal between here and Graph answers in its place. Let the gateway reach Graph directly.",
	},
	CauseName: {
		"The name of a host cannot be resolved",
		"Look at the DNS of this machine or pod, and whether the tenant's cloud is configured rightly; in Kubernetes, whether a network policy lets DNS through.",
	},
	CauseCertificate: {
		"A server's certificate is not trusted",
		"A proxy that inspects TLS needs its authority configured (ca_file); otherwise the machine's root certificates or its clock are out of date.",
	},
	CauseNetwork: {
		"The network is out of order",
		"Open the way to Graph and Entra ID, port 443, in the firewall or network policy.",
	},
	CauseProxy: {
		"The proxy asks for a sign-in (407)",
		"Let the gateway pass the proxy without one, or set HTTPS_PROXY with a user and password.",
	},
	CauseSignInKeys: {
		"Entra ID's signing keys cannot be had",
		"Tokens of Entra ID cannot be checked until they can; web tickets go on to work. Open the way to the sign-in service, port 443.",
	},
	CausePasswords: {
		"Passwords cannot be checked",
		"Look whether the program of signin.command or the service of signin.callback works and answers in time; the log has the error. With neither, more passwords are sent than this machine can check. Web tickets go on to work.",
	},
	CauseStore: {
		"The store does not answer",
		"Look whether the Redis server runs and is reached, whether its password is right and its memory full.",
	},
	CauseAccount: {
		"A helper account has to be signed in again",
		"Run the command that signs a helper account in. Until then its people are read as often as all others.",
	},
	CauseNotifications: {
		"Notifications of Graph are refused",
		"If the log says that they are not genuine, somebody else has found the URL, which does no harm. Otherwise look whether the certificate and the URL are those that Graph was told.",
	},
	CauseInternal: {
		"Something unexpected happened",
		"The log has the details: report it.",
	},
}

// Area is what was asked of Graph.
type Area string

// The areas. The empty one says nothing.
const (
	AreaPresence      Area = "presence"
	AreaPublishing    Area = "publishing of presence"
	AreaPhotos        Area = "photos"
	AreaUsers         Area = "users"
	AreaGroups        Area = "groups"
	AreaMembers       Area = "members of groups"
	AreaMemberships   Area = "groups of a user"
	AreaPeople        Area = "relevant people"
	AreaContacts      Area = "personal contacts"
	AreaSubscriptions Area = "subscriptions to presence"
)

// permissions are the least that allow an area.
//
// Source: the permission tables of the operations in
// https://learn.microsoft.com/en-us/graph/api/overview
var permissions = map[Area]string{
	AreaPresence:    "Presence.Read.All",
	AreaPublishing:  "Presence.ReadWrite.All",
	AreaPhotos:      "ProfilePhoto.Read.All",
	AreaUsers:       "User.Read.All",
	AreaGroups:      "Group.Read.All",
	AreaMembers:     "GroupMember.Read.All",
	AreaMemberships: "Directory.Read.All",
	AreaPeople:      "People.Read.All",
	AreaContacts:    "Contacts.Read",
	// Delegated: a helper account's.
	AreaSubscriptions: "Presence.Read.All (delegated)",
}

// Problem is one event; every field comes from a closed set.
type Problem struct {
	Tenant string // its name in the configuration; empty: none or all
	Cause  Cause
	Area   Area
}

// todo is the advice for a problem, with the permission where one is missing.
func (p Problem) todo() string {
	text := advices[p.Cause].todo
	if permission := permissions[p.Area]; p.Cause == CausePermission && permission != "" {
		return "Missing: " + permission + ". " + text
	}
	return text
}
