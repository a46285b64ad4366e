package ucwaapi

import (
	"net/http"
	"strings"
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

	access access
	serve  func(*Server, *call) error
}

// routes is the whole surface: what is not here does not exist.
var routes = []Route{
	{http.MethodGet, "root", []string{"/", "/root", discoveryPath, discoveryPath + "/root"}, anyone, (*Server).root},
	{http.MethodHead, "root", []string{"/", "/root", discoveryPath, discoveryPath + "/root"}, anyone, (*Server).root},
	{http.MethodGet, "user", []string{discoveryPath + "/root/oauth/user", discoveryPath + "/root/user", "/root/user"}, signedIn, (*Server).user},
	{http.MethodHead, "user", []string{discoveryPath + "/root/oauth/user", discoveryPath + "/root/user", "/root/user"}, signedIn, (*Server).user},
	{http.MethodPost, "applications", []string{applicationsPath, aliasApplicationsPath}, signedIn, (*Server).createApplication},

	{http.MethodGet, "application", []string{""}, application, (*Server).application},
	{http.MethodDelete, "application", []string{""}, application, (*Server).deleteApplication},
	{http.MethodGet, "me", []string{"/me"}, application, (*Server).me},
	{http.MethodGet, "onlineMeetings", []string{"/onlineMeetings"}, application, (*Server).onlineMeetings},
	{http.MethodGet, "communication", []string{"/communication"}, application, (*Server).communication},
	{http.MethodGet, "conversations", []string{"/communication/conversations"}, application, (*Server).conversations},
	{http.MethodGet, "people", []string{"/people"}, application, (*Server).people},
	{http.MethodGet, "myContacts, groupContacts", []string{"/people/contacts", "/contacts"}, application, (*Server).contacts},
	{http.MethodGet, "myGroups", []string{"/people/groups", "/groups"}, application, (*Server).myGroups},
	{http.MethodGet, "group", []string{"/people/groups/:group", "/groups/:group"}, application, (*Server).group},
	{http.MethodGet, "expandDistributionGroup", []string{"/people/groups/:group/expandDistributionGroup", "/groups/:group/expandDistributionGroup"}, application, (*Server).expandDistributionGroup},
	{http.MethodPost, "subscribeToGroupPresence", []string{"/groups/:group/subscribeToGroupPresence"}, application, (*Server).subscribeToGroupPresence},
	{http.MethodGet, "presenceSubscriptions", []string{"/people/presenceSubscriptions", "/presenceSubscriptions"}, application, (*Server).presenceSubscriptions},
	{http.MethodPost, "presenceSubscriptions, subscribeToGroupPresence", []string{"/people/presenceSubscriptions", "/presenceSubscriptions"}, application, (*Server).subscribe},
	{http.MethodGet, "presenceSubscription", []string{"/people/presenceSubscriptions/:subscription", "/presenceSubscriptions/:subscription", "/presenceSubscription"}, application, (*Server).presenceSubscription},
	{http.MethodPost, "presenceSubscription", []string{"/people/presenceSubscriptions/:subscription", "/presenceSubscriptions/:subscription", "/presenceSubscription"}, application, (*Server).extend},
	{http.MethodDelete, "presenceSubscription", []string{"/people/presenceSubscriptions/:subscription", "/presenceSubscriptions/:subscription", "/presenceSubscription"}, application, (*Server).unsubscribe},
	{http.MethodGet, "presenceSubscriptionMemberships, memberships", []string{"/people/presenceSubscriptionMemberships", "/presenceSubscriptionMemberships", "/presenceSubscription/memberships"}, application, (*Server).memberships},
	{http.MethodPost, "presenceSubscriptionMemberships, addToPresenceSubscription", []string{"/people/presenceSubscriptionMemberships", "/presenceSubscriptionMemberships", "/presenceSubscription/addToPresenceSubscription"}, application, (*Server).addMembers},
	{http.MethodGet, "presenceSubscriptionMembership", []string{"/people/presenceSubscriptionMemberships/:membership", "/presenceSubscriptionMemberships/:membership"}, application, (*Server).membership},
	{http.MethodDelete, "presenceSubscriptionMembership", []string{"/people/presenceSubscriptionMemberships/:membership", "/presenceSubscriptionMemberships/:membership"}, application, (*Server).removeMember},
	{http.MethodGet, "subscribedContacts", []string{"/people/subscribedContacts", "/subscribedContacts"}, application, (*Server).subscribedContacts},
	{http.MethodGet, "myContactsAndGroupsSubscription", []string{"/people/contactsAndGroupsSubscription", "/people/myContactsAndGroupsSubscription"}, application, (*Server).contactsAndGroupsSubscription},
	{http.MethodPost, "startOrRefreshSubscriptionToContactsAndGroups", []string{"/people/contactsAndGroupsSubscription/startOrRefresh", "/people/myContactsAndGroupsSubscription/startOrRefreshSubscriptionToContactsAndGroups"}, application, (*Server).startContactsAndGroups},
	{http.MethodPost, "stopSubscriptionToContactsAndGroups", []string{"/people/contactsAndGroupsSubscription/stop", "/people/myContactsAndGroupsSubscription/stopSubscriptionToContactsAndGroups"}, application, (*Server).stopContactsAndGroups},
	{http.MethodGet, "events", []string{"/events"}, application, (*Server).events},
	{http.MethodGet, "contact", []string{"/people/:contact"}, application, (*Server).contact},
	{http.MethodGet, "contactPresence", []string{"/people/:contact/presence", "/people/:contact/contactPresence"}, application, (*Server).contactPresence},
	{http.MethodGet, "contactNote", []string{"/people/:contact/note", "/people/:contact/contactNote"}, application, (*Server).contactNote},
	{http.MethodGet, "contactLocation", []string{"/people/:contact/location", "/people/:contact/contactLocation"}, application, (*Server).contactLocation},
	{http.MethodGet, "contactSupportedModalities", []string{"/people/:contact/supportedMedia", "/people/:contact/contactSupportedModalities"}, application, (*Server).contactSupportedModalities},
	{http.MethodGet, "contactPrivacyRelationship", []string{"/people/:contact/privacyRelationship", "/people/:contact/contactPrivacyRelationship"}, application, (*Server).contactPrivacyRelationship},
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
