package ucwaapi

import (
	"net/http"
	"slices"
	"strings"

	"ucwagate/gateway"
	"ucwagate/mapping"
)

// access says what a request must show before its handler runs.
type access int

const (
	anyone      access = iota // no sign-in
	signedIn                  // a valid token
	application               // a valid token, and an application of that user in the path
)

// Route is one row of the route table.
type Route struct {
	Method string
	// Rel is the resource or operation that answers.
	Rel string
	// Paths are the path as captures of the real server show it and, behind
	// it, the forms of the reference pages. Those of an application are
	// relative to it. Matching ignores the letter case.
	Paths []string

	// Parameters are what the operation takes in, for OPTIONS and for
	// documentation.
	Parameters []RouteParameter

	access access
	// cookie says that the cookie for photos is as good as a token.
	cookie bool
	// action names what the operation changes, for OnChange; empty: nothing
	// that is told of.
	action string
	serve  func(*Server, *call) error
}

// RouteParameter is one input of an operation; Values are its legal values
// where they are a closed set.
type RouteParameter struct {
	Name   string
	Values []string
}

// The parameters that several operations take.
var (
	durationParam   = text("duration")
	expandParam     = values("expand", "true", "false")
	groupParam      = text("groupId")
	instanceParam   = text("instanceId")
	contactURIParam = text("contactUri")
)

func text(name string) RouteParameter { return RouteParameter{Name: name} }

func values(name string, legal ...string) RouteParameter { return RouteParameter{name, legal} }

func row(method, rel string, paths []string, needs access, serve func(*Server, *call) error, parameters ...RouteParameter) Route {
	return Route{Method: method, Rel: rel, Paths: paths, access: needs, serve: serve, Parameters: parameters}
}

// withCookie is row for what the cookie for photos opens.
func withCookie(r Route) Route {
	r.cookie = true
	return r
}

// routes is the whole surface: what is not here does not exist.
var routes = slices.Concat(discoveryRoutes, applicationRoutes, meRoutes, peopleRoutes, subscriptionRoutes, contactRoutes)

var discoveryRoutes = []Route{
	row(http.MethodGet, "root", rootPaths, anyone, (*Server).root, text("originalDomain")),
	row(http.MethodHead, "root", rootPaths, anyone, (*Server).root),
	row(http.MethodGet, "user", userPaths, signedIn, (*Server).user),
	row(http.MethodHead, "user", userPaths, signedIn, (*Server).user),
	row(http.MethodGet, "xframe", xframePaths, anyone, (*Server).xframe),
	row(http.MethodHead, "xframe", xframePaths, anyone, (*Server).xframe),
}

var (
	rootPaths   = []string{"/", "/root", discoveryPath, discoveryPath + "/root"}
	userPaths   = []string{discoveryPath + "/root/oauth/user", discoveryPath + "/root/user", "/root/user"}
	xframePaths = []string{xframePath, "/xframe", discoveryPath + "/root/xframe"}
)

var applicationRoutes = []Route{
	row(http.MethodGet, "applications", []string{applicationsPath, aliasApplicationsPath}, signedIn, (*Server).applications),
	row(http.MethodPost, "applications", []string{applicationsPath, aliasApplicationsPath}, signedIn, (*Server).createApplication,
		text("culture"), text("endpointId"), instanceParam, values("type", "Browser"), text("userAgent")),
	row(http.MethodGet, "application", []string{""}, application, (*Server).application, instanceParam),
	row(http.MethodDelete, "application", []string{""}, application, (*Server).deleteApplication, instanceParam),
	row(http.MethodGet, "policies", []string{"/policies"}, application, (*Server).policies),
	row(http.MethodPost, "batch", []string{"/batch"}, application, (*Server).batch),
	row(http.MethodPost, "reportMyNetwork", []string{"/reportMyNetwork"}, application, (*Server).reportMyNetwork,
		values("clientNetworkType", "External", "Internal"), text("ip"), text("mac"), text("subnetID")),
	row(http.MethodGet, eventsRel, []string{"/events"}, application, (*Server).events,
		text("ack"), instanceParam, text("low"), text("medium"), text("priority"), text("timeout")),
	row(http.MethodGet, "onlineMeetings", []string{"/onlineMeetings"}, application, (*Server).onlineMeetings),
	row(http.MethodGet, "communication", []string{"/communication"}, application, (*Server).communication),
	row(http.MethodPut, "communication", []string{"/communication"}, application, (*Server).updateCommunication, communicationParams...),
	row(http.MethodGet, "conversations", []string{"/communication/conversations"}, application, (*Server).conversations, text("filter")),
}

var communicationParams = []RouteParameter{
	values("audioPreference", gateway.AudioPreferences()...), text("phoneNumber"),
	values("supportedMessageFormats", gateway.MessageFormats()...), values("supportedModalities", gateway.Modalities()...),
}

var meRoutes = []Route{
	row(http.MethodGet, "me", []string{"/me"}, application, (*Server).me),
	changes("makeMeAvailable", row(http.MethodPost, "makeMeAvailable", []string{"/me/makeMeAvailable", "/communication/makeMeAvailable"}, application, (*Server).makeMeAvailable,
		append([]RouteParameter{text("inactiveTimeout"), values("signInAs", mapping.PreferredNames()...)}, communicationParams...)...)),
	row(http.MethodPost, "reportMyActivity", []string{"/me/reportMyActivity", "/reportMyActivity"}, application, (*Server).reportMyActivity),
	row(http.MethodGet, "presence", []string{"/me/presence"}, application, (*Server).ownPresence),
	changes("presence", row(http.MethodPost, "presence", []string{"/me/presence"}, application, (*Server).publishPresence, values("availability", mapping.PreferredNames()...))),
	row(http.MethodGet, "note", []string{"/me/note"}, application, (*Server).ownNote),
	changes("note", row(http.MethodPost, "note", []string{"/me/note"}, application, (*Server).publishNote, text("message"))),
	row(http.MethodGet, "location", []string{"/me/location"}, application, (*Server).ownLocation),
	changes("location", row(http.MethodPost, "location", []string{"/me/location"}, application, (*Server).publishLocation, text("location"))),
	withCookie(row(http.MethodGet, "photo, contactPhoto", []string{"/photos/:contact", "/people/:contact/contactPhoto"}, application, (*Server).photo, text("size"))),
	withCookie(row(http.MethodGet, "photo", []string{"/photo"}, application, (*Server).ownPhoto, text("size"))),
}

var peopleRoutes = []Route{
	row(http.MethodGet, "people", []string{"/people"}, application, (*Server).people),
	row(http.MethodGet, "search", []string{"/people/search", "/search"}, application, (*Server).search, text("limit"), text("mail"), text("query")),
	row(http.MethodGet, "myContacts, groupContacts", []string{"/people/contacts", "/contacts"}, application, (*Server).contacts, expandParam, groupParam),
	row(http.MethodGet, "myGroups", []string{"/people/groups", "/groups"}, application, (*Server).myGroups, expandParam),
	changes("createGroup", row(http.MethodPost, "myGroups", []string{"/people/groups", "/groups"}, application, (*Server).createGroup, text("displayName"))),
	row(http.MethodGet, "group", groupPaths(""), application, (*Server).group),
	changes("renameGroup", row(http.MethodPut, "group", groupPaths(""), application, (*Server).renameGroup, text("id"), text("name"))),
	changes("deleteGroup", row(http.MethodDelete, "group", groupPaths(""), application, (*Server).deleteGroup)),
	row(http.MethodGet, "expandDistributionGroup", groupPaths("/expandDistributionGroup"), application, (*Server).expandDistributionGroup),
	changes("addToContactList", row(http.MethodPost, "addToContactList", groupPaths("/addToContactList"), application, (*Server).addToContactList, text("displayName"), text("smtpAddress"))),
	changes("removeFromContactList", row(http.MethodPost, "removeFromContactList", groupPaths("/removeFromContactList"), application, (*Server).removeFromContactList, groupParam)),
	row(http.MethodGet, "groupMemberships", groupPaths("/groupMemberships"), application, (*Server).groupMemberships),
	changes("addContact", row(http.MethodPost, "groupMemberships", groupPaths("/groupMemberships"), application, (*Server).addGroupMembership, contactURIParam)),
	row(http.MethodGet, "myGroupMemberships, groupMemberships", []string{"/people/groupMemberships", "/myGroupMemberships"}, application, (*Server).groupMemberships, groupParam),
	changes("addContact", row(http.MethodPost, "myGroupMemberships", []string{"/people/groupMemberships", "/myGroupMemberships"}, application, (*Server).addGroupMembership, contactURIParam, groupParam)),
	changes("removeContactFromAllGroups", row(http.MethodPost, "removeContactFromAllGroups", []string{"/people/groupMemberships/removeContactFromAllGroups", "/myGroupMemberships/removeContactFromAllGroups"}, application, (*Server).removeContactFromAllGroups, contactURIParam)),
	row(http.MethodGet, "myGroupMembership", []string{"/people/groupMemberships/:membership", "/myGroupMemberships/:membership"}, application, (*Server).groupMembership),
	changes("removeContact", row(http.MethodDelete, "myGroupMembership", []string{"/people/groupMemberships/:membership", "/myGroupMemberships/:membership"}, application, (*Server).removeGroupMembership)),
	row(http.MethodGet, "myPrivacyRelationships", []string{"/people/privacyRelationships", "/myPrivacyRelationships"}, application, (*Server).privacyRelationships),
	row(http.MethodGet, "myPrivacyRelationship", []string{"/people/privacyRelationships/:level", "/myPrivacyRelationships/:level"}, application, (*Server).privacyRelationship),
}

func groupPaths(operation string) []string {
	return []string{"/people/groups/:group" + operation, "/groups/:group" + operation}
}

var subscriptionRoutes = []Route{
	row(http.MethodPost, "subscribeToGroupPresence", []string{"/groups/:group/subscribeToGroupPresence"}, application, (*Server).subscribeToGroupPresence, durationParam, groupParam),
	row(http.MethodGet, "presenceSubscriptions", []string{"/people/presenceSubscriptions", "/presenceSubscriptions"}, application, (*Server).presenceSubscriptions),
	row(http.MethodPost, "presenceSubscriptions, subscribeToGroupPresence", []string{"/people/presenceSubscriptions", "/presenceSubscriptions"}, application, (*Server).subscribe, durationParam, groupParam, text("uris")),
	row(http.MethodGet, "presenceSubscription", []string{"/people/presenceSubscriptions/:subscription", "/presenceSubscriptions/:subscription", "/presenceSubscription"}, application, (*Server).presenceSubscription),
	row(http.MethodPost, "presenceSubscription", []string{"/people/presenceSubscriptions/:subscription", "/presenceSubscriptions/:subscription", "/presenceSubscription"}, application, (*Server).extend, durationParam),
	row(http.MethodDelete, "presenceSubscription", []string{"/people/presenceSubscriptions/:subscription", "/presenceSubscriptions/:subscription", "/presenceSubscription"}, application, (*Server).unsubscribe),
	row(http.MethodGet, "presenceSubscriptionMemberships, memberships", []string{"/people/presenceSubscriptionMemberships", "/presenceSubscriptionMemberships", "/presenceSubscription/memberships"}, application, (*Server).memberships, text("presenceSubscriptionId")),
	row(http.MethodPost, "presenceSubscriptionMemberships, addToPresenceSubscription", []string{"/people/presenceSubscriptionMemberships", "/presenceSubscriptionMemberships", "/presenceSubscription/addToPresenceSubscription"}, application, (*Server).addMembers, text("contactUris"), text("presenceSubscriptionId")),
	row(http.MethodGet, "presenceSubscriptionMembership", []string{"/people/presenceSubscriptionMemberships/:membership", "/presenceSubscriptionMemberships/:membership"}, application, (*Server).membership),
	row(http.MethodDelete, "presenceSubscriptionMembership", []string{"/people/presenceSubscriptionMemberships/:membership", "/presenceSubscriptionMemberships/:membership"}, application, (*Server).removeMember),
	row(http.MethodGet, "subscribedContacts", []string{"/people/subscribedContacts", "/subscribedContacts"}, application, (*Server).subscribedContacts),
	row(http.MethodGet, "myContactsAndGroupsSubscription", []string{"/people/contactsAndGroupsSubscription", "/people/myContactsAndGroupsSubscription"}, application, (*Server).contactsAndGroupsSubscription),
	row(http.MethodPost, "startOrRefreshSubscriptionToContactsAndGroups", []string{"/people/contactsAndGroupsSubscription/startOrRefresh", "/people/myContactsAndGroupsSubscription/startOrRefreshSubscriptionToContactsAndGroups"}, application, (*Server).startContactsAndGroups, durationParam),
	row(http.MethodPost, "stopSubscriptionToContactsAndGroups", []string{"/people/contactsAndGroupsSubscription/stop", "/people/myContactsAndGroupsSubscription/stopSubscriptionToContactsAndGroups"}, application, (*Server).stopContactsAndGroups),
}

var contactRoutes = []Route{
	row(http.MethodGet, "contact", []string{"/people/:contact"}, application, (*Server).contact),
	row(http.MethodGet, "contactPresence", []string{"/people/:contact/presence", "/people/:contact/contactPresence"}, application, (*Server).contactPresence),
	row(http.MethodGet, "contactNote", []string{"/people/:contact/note", "/people/:contact/contactNote"}, application, (*Server).contactNote),
	row(http.MethodGet, "contactLocation", []string{"/people/:contact/location", "/people/:contact/contactLocation"}, application, (*Server).contactLocation),
	row(http.MethodGet, "contactSupportedModalities", []string{"/people/:contact/supportedMedia", "/people/:contact/contactSupportedModalities"}, application, (*Server).contactSupportedModalities),
	row(http.MethodGet, "contactPrivacyRelationship", []string{"/people/:contact/privacyRelationship", "/people/:contact/contactPrivacyRelationship"}, application, (*Server).contactPrivacyRelationship),
}

// Routes returns the route table with whole paths, for documentation and tests.
func Routes() []Route {
	list := make([]Route, len(routes))
	for i, r := range routes {
		r.Paths = r.whole()
		list[i] = r
	}
	return list
}

func (r *Route) whole() []string {
	if r.access != application {
		return r.Paths
	}
	paths := make([]string, 0, 2*len(r.Paths))
	for _, prefix := range []string{applicationsPath, aliasApplicationsPath} {
		for _, p := range r.Paths {
			paths = append(paths, prefix+"/:application"+p)
		}
	}
	return paths
}

func (s *Server) register() {
	for i := range routes {
		r := &routes[i]
		for _, p := range r.whole() {
			s.echo.Add(r.Method, strings.ToLower(p), s.handle(r))
		}
	}
}
