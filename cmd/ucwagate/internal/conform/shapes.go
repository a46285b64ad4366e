package conform

// fieldType is the documented type of a property.
type fieldType int

const (
	text fieldType = iota
	boolean
	date
	list
	sipURI
	phone
)

func (t fieldType) String() string {
	return [...]string{"a string", "a boolean", "a date", "a list of strings", "a sip: URI", "a tel: URI"}[t]
}

// field is a documented property of a resource.
type field struct {
	name     string
	is       fieldType
	required bool
	enum     string // the rule of its values, if they are enumerated
}

// shape is what is documented of a resource.
type shape struct {
	fields []field
	// links are those that it always has; linkRule is the rule that says so.
	linkRule string
	links    []string
}

var (
	groupFields = []field{{"id", text, true, ""}, {"name", text, true, ""}}
	groupLinks  = []string{"groupContacts", "subscribeToGroupPresence"}

	personFields = []field{
		{"name", text, true, ""},
		{"uri", sipURI, true, ""},
		{"emailAddresses", list, false, ""},
		{"company", text, false, ""},
		{"department", text, false, ""},
		{"title", text, false, ""},
		{"workPhoneNumber", phone, false, ""},
		{"homePhoneNumber", phone, false, ""},
		{"mobilePhoneNumber", phone, false, ""},
		{"otherPhoneNumber", phone, false, ""},
	}
	noteFields = []field{{"message", text, false, ""}, {"type", text, false, "enums.note-type"}}
)

// shapes are the documented resources, by rel.
var shapes = map[string]shape{
	"application": {
		fields: []field{
			{"culture", text, true, ""},
			{"userAgent", text, true, ""},
			{"endpointId", text, false, ""},
			{"id", text, false, ""},
			{"instanceId", text, false, ""},
			{"type", text, false, "enums.application-type"},
			{"etag", text, false, ""},
		},
		linkRule: "application.links", links: []string{"policies", "batch", "events"},
	},
	"me": {fields: append([]field{
		{"officeLocation", text, false, ""}, {"endpointUri", sipURI, false, ""},
	}, personFields...), linkRule: "me.photo", links: []string{"photo"}},
	"people": {linkRule: "contacts.people", links: []string{
		"presenceSubscriptions", "subscribedContacts", "presenceSubscriptionMemberships", "myGroups", "myGroupMemberships",
		"myContacts", "myPrivacyRelationships", "myContactsAndGroupsSubscription", "search",
	}},
	"contact": {
		fields: append([]field{
			{"type", text, true, "enums.contact-type"},
			{"sourceNetwork", text, true, "enums.source-network"},
			{"office", text, false, ""},
			{"sourceNetworkIconUrl", text, false, ""},
			{"etag", text, false, ""},
		}, personFields...),
		linkRule: "contacts.links", links: []string{
			"contactPhoto", "contactPresence", "contactLocation", "contactNote", "contactSupportedModalities", "contactPrivacyRelationship",
		},
	},
	"contactPresence": {fields: []field{
		{"availability", text, true, "enums.availability"},
		{"deviceType", text, true, "enums.device-type"},
		{"activity", text, false, ""},
		{"lastActive", date, false, ""},
	}},
	"contactNote":                {fields: noteFields},
	"contactLocation":            {fields: []field{{"location", text, false, ""}}},
	"contactSupportedModalities": {fields: []field{{"modalities", list, true, "enums.modality"}}},
	"contactPrivacyRelationship": {fields: []field{{"relationshipLevel", text, true, "enums.relationship-level"}}},
	"presence":                   {fields: []field{{"availability", text, true, "enums.availability"}, {"activity", text, false, ""}}},
	"note":                       {fields: noteFields},
	"location":                   {fields: []field{{"location", text, false, ""}}},
	"pinnedGroup":                {fields: groupFields, linkRule: "groups.links", links: groupLinks},
	"defaultGroup":               {fields: groupFields, linkRule: "groups.links", links: groupLinks},
	"delegatesGroup":             {fields: groupFields, linkRule: "groups.links", links: groupLinks},
	"delegatorsGroup":            {fields: groupFields, linkRule: "groups.links", links: groupLinks},
	"myOrganizationGroup":        {fields: groupFields, linkRule: "groups.links", links: groupLinks},
	"group":                      {fields: groupFields, linkRule: "groups.links", links: groupLinks},
	"distributionGroup": {
		fields:   append([]field{{"uri", sipURI, true, ""}}, groupFields...),
		linkRule: "groups.distribution", links: []string{"expandDistributionGroup", "subscribeToGroupPresence"},
	},
	"myGroupMembership":               {linkRule: "groups.memberships", links: []string{"contact"}},
	"myPrivacyRelationship":           {fields: []field{{"relationshipLevel", text, true, "enums.relationship-level"}}, linkRule: "contacts.privacy-list"},
	"presenceSubscription":            {fields: []field{{"id", text, true, ""}}, linkRule: "subscriptions.links", links: []string{"memberships"}},
	"presenceSubscriptionMembership":  {linkRule: "subscriptions.members", links: []string{"contact", "presenceSubscription"}},
	"myContactsAndGroupsSubscription": {fields: []field{{"state", text, true, "enums.state"}}},
	"search":                          {fields: []field{{"moreResultsAvailable", boolean, true, ""}}},
	"communication": {fields: []field{
		{"supportedModalities", list, true, "enums.modality"},
		{"supportedMessageFormats", list, true, "enums.message-format"},
		{"etag", text, true, ""},
		{"phoneNumber", text, false, ""},
		{"audioPreference", text, false, ""},
	}},
	"policies": {fields: []field{
		{"photos", text, false, "enums.policy"},
		{"saveMessagingHistory", text, false, "enums.policy"},
		{"logging", text, false, "enums.policy"},
		{"emoticons", text, false, "enums.policy"},
		{"htmlMessaging", text, false, "enums.policy"},
		{"telephonyMode", text, false, ""},
		{"loggingLevel", text, false, ""},
	}},
}

// enumerations are the values of the enumerated properties, by rule.
var enumerations = map[string][]string{
	"enums.availability":       {"Away", "BeRightBack", "Busy", "DoNotDisturb", "IdleBusy", "IdleOnline", "Offline", "Online"},
	"enums.device-type":        {"DeskPhone", "Mobile", "PC", "Unknown", "Web"},
	"enums.contact-type":       {"Bot", "Phone", "ReplayBot", "User"},
	"enums.note-type":          {"OutOfOffice", "Personal"},
	"enums.source-network":     {"Everyone", "Federated", "PublicCloud", "SameEnterprise", "Unknown"},
	"enums.relationship-level": {"Blocked", "Colleagues", "External", "FriendsAndFamily", "Unknown", "Workgroup"},
	"enums.state":              {"Connected", "Connecting", "Disconnected", "Disconnecting"},
	"enums.modality":           {"Audio", "Messaging", "PanoramicVideo", "PhoneAudio", "Video", "ApplicationSharing", "DataCollaboration"},
	"enums.message-format":     {"Html", "Plain"},
	"enums.policy":             {"Disabled", "Enabled", "None"},
	"enums.application-type":   {"Browser"},
}

// eventTypes are the types of events.
var eventTypes = []string{"added", "updated", "deleted", "started", "completed"}

// codes are the codes that fit a status.
var codes = map[int][]string{
	400: {"BadRequest"}, 403: {"Forbidden"}, 404: {"NotFound"}, 405: {"MethodNotAllowed"}, 406: {"NotAcceptable"}, 409: {"Conflict"},
	410: {"Gone"}, 412: {"PreconditionFailed", "PreConditionFailed"}, 413: {"EntityTooLarge"}, 415: {"UnsupportedMediaType"},
	428: {"PreconditionRequired"}, 429: {"TooManyRequests"}, 500: {"ServiceFailure", "ExchangeServiceFailure"},
	503: {"ServiceUnavailable"}, 504: {"Timeout", "GatewayTimeout"},
}

// subcodes are those that a presence service can have reason to send.
var subcodes = []string{
	"ParameterValidationFailure", "DeserializationFailure", "UnsupportedMediaType", "APIVersionNotSupported", "ApplicationNotFound",
	"InactiveApplicationExpired", "TooManyApplications", "UserAgentNotAllowed", "MakeMeAvailableRequired", "AnonymousNotAllowed",
	"AlreadyExists", "AnotherOperationPending", "PGetReplaced", "LimitExceeded", "TooManyContacts", "TooManyGroups",
	"OperationNotSupported", "MigrationInProgress", "CallbackChannelError", "InvalidExchangeServerVersion",
	"ProvisioningDataUnavailable", "ExchangeTimeout", "Timeout", "CannotRedirect", "DestinationNotFound", "NotAcceptable", "NotAllowed",
	"Expired", "FederationRequired", "TemporarilyUnavailable", "Unavailable", "Unreachable", "NoLocationFound", "NoDelegatesConfigured",
	"MaxEventCountReached", "UnprocessableEntity",
}
