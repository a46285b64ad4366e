package conform

const clients = "known clients"

// signInRules are about the way from the start URL to an application.
var signInRules = []Rule{
	{"discovery.root", ClassDiscovery, "discovery answers 200 without credentials", "autodiscovery"},
	{"discovery.links", ClassDiscovery, "root links user, or a redirect", "root"},
	{"discovery.xframe", ClassDiscovery, "root and user link the same xframe", "xframe"},
	{"discovery.absolute", ClassDiscovery, "the links of root and user are absolute, with the scheme that the client used", "root"},
	{"discovery.one-host", ClassDiscovery, "user, token service, applications and xframe share one scheme and host", clients},
	{"discovery.no-port", ClassDiscovery, "no link names the default port", clients},
	{"discovery.query", ClassDiscovery, "the user link carries a query", clients},
	{"discovery.user", ClassDiscovery, "user answers 200 to a token and links applications", "user"},
	{"discovery.user-self", ClassDiscovery, "the self link of user ends in /root/user", "user"},
	{"discovery.headers", ClassDiscovery, "discovery says Cache-Control: no-cache, Pragma: no-cache, Expires: -1 and X-Content-Type-Options: nosniff", "autodiscovery"},
	{"discovery.content-type", ClassDiscovery, "discovery answers application/json, or application/xml to who asks for it", "autodiscovery"},

	{"challenge.status", ClassChallenge, "a request without a valid token is answered 401", "authentication"},
	{"challenge.html", ClassChallenge, "the body of a challenge is text/html", "authentication"},
	{"challenge.lines", ClassChallenge, "there are two challenges, MsRtcOAuth and Bearer, each on a line of its own", "authentication"},
	{"challenge.spelling", ClassChallenge, "the header is spelled WWW-Authenticate", clients},
	{"challenge.ms-rtc-oauth", ClassChallenge, `the line reads MsRtcOAuth href="…",grant_type="…", to the letter`, clients},
	{"challenge.first-url", ClassChallenge, "no URL stands in the headers before that of MsRtcOAuth", clients},
	{"challenge.quoted", ClassChallenge, `every challenge has parameters, each as name="value"`, clients},
	{"challenge.parameters", ClassChallenge, "href, grant_type, client_id, trusted_issuers and authorization_uri each occur once over all challenges and are not empty", clients},
	{"challenge.password", ClassChallenge, "the grant type password is offered", "authentication"},
	{"challenge.vary", ClassChallenge, "a challenge varies by Accept-Encoding", "authentication"},
	{"challenge.diagnostics", ClassChallenge, `X-Ms-diagnostics reads <number>;source="…";reason="…", and is spelled so`, "authentication"},
	{"challenge.head", ClassChallenge, "HEAD on user answers the challenge", clients},

	{"token.status", ClassToken, "the token service answers 200 to the right password", "authentication"},
	{"token.access-token", ClassToken, "access_token is a string that begins with cwt=", "authentication"},
	{"token.type", ClassToken, "token_type is Bearer", "authentication"},
	{"token.expires-in", ClassToken, "expires_in is a number of seconds above 0", "authentication"},
	{"token.no-store", ClassToken, "every answer of the token service says Cache-Control: no-store and Pragma: no-cache", "authentication"},
	{"token.content-type", ClassToken, "every answer of the token service is application/json", "authentication"},
	{"token.wrong-password", ClassToken, "a wrong password is answered 400 with the error invalid_grant", "authentication"},
	{"token.diagnostics", ClassToken, "a refusal carries X-Ms-diagnostics", "authentication"},
	{"token.grant-type", ClassToken, "an unknown grant_type is answered 400 with the error unsupported_grant_type, a missing one with invalid_request", "authentication"},
	{"token.tolerance", ClassToken, "the token service takes charset='utf-8', a sip: user name, an unescaped body and multipart/form-data", clients},

	{"xframe.page", ClassXFrame, "xframe answers 200 text/html without credentials", "xframe"},
	{"xframe.framable", ClassXFrame, "nothing forbids to frame xframe: no X-Frame-Options, no frame-ancestors 'none' or 'self'", "xframe"},

	{"application.created", ClassApplication, "POST on applications answers 201", "applications"},
	{"application.location", ClassApplication, "Location of a 201 is the self link", clients},
	{"application.links", ClassApplication, "application links policies, batch and events", "application"},
	{"application.embeds", ClassApplication, "application embeds me, people, onlineMeetings and communication", "application"},
	{"application.id", ClassApplication, "application has an id", clients},
	{"application.echo", ClassApplication, "application repeats culture, userAgent and endpointId", "application"},
	{"application.make-me-available", ClassApplication, "me of a new application links makeMeAvailable", clients},
	{"application.cookie", ClassApplication, "POST on applications and GET of application set the cookie cwt_ucwa for the path {application}/photos, HttpOnly, and with https Secure, SameSite=None and Partitioned", "contactPhoto"},
	{"application.again", ClassApplication, "the same endpointId, culture and userAgent get the same application", clients},
	{"application.instances", ClassApplication, "an instanceId has a channel of its own: 201, 200 when it is known, and it is in self and events", "multi-tab"},
	{"application.list", ClassApplication, "GET on applications lists the user's applications in the array application", "applications2"},
	{"application.options", ClassApplication, `OPTIONS on applications answers 200 {"metadata":[{"httpMethod":…,"parameters":[{"name":…}]}]}`, "applications"},

	{"deletion.subscription", ClassDeletion, "DELETE of a presenceSubscription answers 204, then it is 404 NotFound without a subcode", "presenceSubscription"},
	{"deletion.application", ClassDeletion, "DELETE of an application answers 204", "application"},
	{"deletion.gone", ClassDeletion, "whatever was below a deleted application is 404 ApplicationNotFound", "application"},
}

// formRules are about what all answers have in common.
var formRules = []Rule{
	{"href.works", ClassHref, "a GET on an advertised link answers 200; one of a distributionGroup that is too large, 403 TooManyContacts", "web links"},
	{"href.relative", ClassHref, "everything under the application is relative and begins with /", clients},
	{"href.prefix", ClassHref, "everything under the application begins with /ucwa/oauth/v1/applications/", clients},
	{"href.question-mark", ClassHref, "events, next, resync, resume and subscribeToGroupPresence contain a ?", clients},
	{"href.no-question-mark", ClassHref, "presenceSubscription, search, myGroupMemberships, removeContactFromAllGroups and startOrRefreshSubscriptionToContactsAndGroups contain no ?", clients},
	{"href.contact", ClassHref, "a contact and its parts have hrefs of letters, digits and _ - / @ . with the plain SIP address", clients},
	{"href.last-dot", ClassHref, "contact and contactPresence agree up to the last dot", "contactPresence"},

	{"types.property", ClassTypes, "every property has its documented type", "representations"},
	{"types.required", ClassTypes, "what is not optional is there", "representations"},
	{"types.uri", ClassTypes, "uri begins with sip:, a phone number with tel:", "contact"},
	{"types.link", ClassTypes, "a link has an href; revision and title are strings", "web links"},

	{"enums.availability", ClassEnums, "availability is one of the eight", "contactPresence"},
	{"enums.device-type", ClassEnums, "deviceType is a ContactDeviceType", "contactPresence"},
	{"enums.contact-type", ClassEnums, "type of a contact is a ContactType", "contact"},
	{"enums.note-type", ClassEnums, "type of a note is a NoteType", "contactNote"},
	{"enums.source-network", ClassEnums, "sourceNetwork is a SourceNetwork", "contact"},
	{"enums.relationship-level", ClassEnums, "relationshipLevel is a PrivacyRelationshipLevel", "contactPrivacyRelationship"},
	{"enums.state", ClassEnums, "state is a SubscriptionState", "myContactsAndGroupsSubscription"},
	{"enums.modality", ClassEnums, "every modality is a ModalityType", "contactSupportedModalities"},
	{"enums.message-format", ClassEnums, "every message format is a MessageFormat", "communication"},
	{"enums.policy", ClassEnums, "a switch among the policies is a GenericPolicy", "policies"},
	{"enums.application-type", ClassEnums, "type of an application is Browser", "application"},
	{"enums.error-code", ClassEnums, "code is an ErrorCode and fits the status", "synchronous errors"},
	{"enums.error-subcode", ClassEnums, "subcode is an ErrorSubcode", "synchronous errors"},

	{"arrays.multi", ClassArrays, "a rel that is multi-valued by definition is always an array", "representations"},
	{"arrays.single", ClassArrays, "a rel that is not multi-valued never is an array, nor occurs twice", "representations"},

	{"dates.json", ClassDates, `a date in JSON reads "\/Date(milliseconds)\/" with its slashes escaped`, "contactPresence"},
	{"dates.xml", ClassDates, "a date in XML is ISO 8601 with an offset and at most 7 digits of fraction", "contactPresence"},

	{"nulls.none", ClassNulls, "what is absent is left out, never null or nil", clients},

	{"identity.self", ClassIdentity, "every resource has a self link, embedded ones too", "web links"},
	{"identity.rel", ClassIdentity, "rel is that of the link that was followed, without the number of a revision", "web links"},
	{"identity.href", ClassIdentity, "the self link of a resource is the link that was followed", "web links"},

	{"both.properties", ClassBoth, "JSON and XML carry the same properties", "representations"},
	{"both.links", ClassBoth, "JSON and XML carry the same links", "representations"},
	{"both.embedded", ClassBoth, "JSON and XML embed the same resources", "representations"},

	{"json.syntax", ClassJSON, "a JSON body is one object in UTF-8 without a byte order mark, and no name occurs twice in it", "representations"},

	{"xml.syntax", ClassXML, `an XML body is well-formed and begins with <?xml version="1.0" encoding="utf-8"?>`, "representations"},
	{"xml.namespace", ClassXML, "the document element declares the UCWA namespace, and nothing below it declares one", "representations"},
	{"xml.order", ClassXML, "links come first, then properties and lists, then resources", "representations"},
	{"xml.elements", ClassXML, "a resource has only link, property, propertyList and resource in it, with rel and href or name, and item in a list", "representations"},
	{"xml.self", ClassXML, "rel and href of a resource are its self link: there is no link self", "representations"},
	{"xml.rel-property", ClassXML, "rel is repeated as a property", "contactPresence"},
	{"xml.boolean", ClassXML, "a boolean in XML is True or False", "representations"},

	{"headers.answer", ClassHeaders, "a request gets an answer", "HTTP"},
	{"headers.length", ClassHeaders, "an answer has a Content-Length and is never chunked", clients},
	{"headers.no-body", ClassHeaders, "204 and 304 have no body, and 204 no Content-Type", "HTTP"},
	{"headers.content-type", ClassHeaders, "Content-Type is the one asked for, with charset=utf-8 and no quotes", clients},
	{"headers.vendor-type", ClassHeaders, "who asks for a vendor type gets it", "representations"},
	{"headers.any-type", ClassHeaders, "who accepts anything, nothing in particular or what there is not, gets JSON", clients},
	{"headers.no-cache", ClassHeaders, "Cache-Control is no-cache", "caching"},
	{"headers.server-fqdn", ClassHeaders, "X-MS-Server-Fqdn names the server", "HTTP"},
	{"headers.version", ClassHeaders, "X-MS-UcwaVersion names the version", "resource versioning"},
	{"headers.etag", ClassHeaders, "application, contact and communication have a quoted ETag, the same value as etag in the body", "caching"},
	{"headers.not-modified", ClassHeaders, "If-None-Match with that ETag, quoted, unquoted or weak, is answered 304; with another, 200", "caching"},
	{"headers.gzip", ClassHeaders, "who asks for gzip gets it, the same bytes, with their length", clients},
	{"headers.plain", ClassHeaders, "who does not ask for gzip gets none", clients},

	{"errors.shape", ClassErrors, "an error in JSON is a bare object with code, in XML a reason element of the UCWA namespace with plain child elements", "synchronous errors"},
	{"errors.content-type", ClassErrors, "an error comes in the representation asked for", "synchronous errors"},
	{"errors.parameters", ClassErrors, "400 ParameterValidationFailure names every wrong parameter, and nothing else has parameters", "synchronous errors"},
}
