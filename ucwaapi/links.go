package ucwaapi

import (
	"net/url"
	"strconv"
	"strings"
)

// applicationsPath is what every href under an application begins with. One
// known client strips these 27 characters and puts another prefix in front.
const (
	applicationsPath      = "/ucwa/oauth/v1/applications"
	aliasApplicationsPath = "/ucwa/v1/applications"
	discoveryPath         = "/Autodiscover/AutodiscoverService.svc"
	xframePath            = "/Autodiscover/XFrame/XFrame.html"
)

// links builds the hrefs of one application. They are relative to the host,
// because one known client throws on absolute event links, and use the paths
// that captures of the real server show.
type links struct{ id string }

func linksOf(applicationID string) links { return links{id: applicationID} }

func (l links) application() string { return applicationsPath + "/" + l.id }

// instance is the application as one of its instances sees it.
func (l links) instance(id string) string {
	if id == "" {
		return l.application()
	}
	return l.application() + "?instanceId=" + query(id)
}

func (l links) me() string              { return applicationsPath + "/" + l.id + "/me" }
func (l links) people() string          { return applicationsPath + "/" + l.id + "/people" }
func (l links) onlineMeetings() string  { return applicationsPath + "/" + l.id + "/onlineMeetings" }
func (l links) communication() string   { return applicationsPath + "/" + l.id + "/communication" }
func (l links) policies() string        { return l.application() + "/policies" }
func (l links) batch() string           { return l.application() + "/batch" }
func (l links) reportMyNetwork() string { return l.application() + "/reportMyNetwork" }

func (l links) makeMeAvailable() string  { return l.me() + "/makeMeAvailable" }
func (l links) reportMyActivity() string { return l.me() + "/reportMyActivity" }
func (l links) ownPresence() string      { return l.me() + "/presence" }
func (l links) ownNote() string          { return l.me() + "/note" }
func (l links) ownLocation() string      { return l.me() + "/location" }

// photos is what the cookie for photos is good for.
func (l links) photos() string              { return l.application() + "/photos" }
func (l links) photo(address string) string { return l.photos() + "/" + pathAddress(address) }

// search carries no '?': clients append their own.
func (l links) search() string { return l.people() + "/search" }

func (l links) groupMemberships() string { return l.people() + "/groupMemberships" }

// membershipsOfGroup carries no '?' either: clients append their own.
func (l links) membershipsOfGroup(group string) string { return l.group(group) + "/groupMemberships" }

func (l links) groupMembership(group, address string) string {
	return l.groupMemberships() + "/" + url.PathEscape(group) + "," + pathAddress(address)
}

func (l links) removeContactFromAllGroups() string {
	return l.groupMemberships() + "/removeContactFromAllGroups"
}

func (l links) privacyRelationships() string { return l.people() + "/privacyRelationships" }

func (l links) privacyRelationship(level string) string {
	return l.privacyRelationships() + "/" + strings.ToLower(level)
}

func (l links) addToContactList(group string) string { return l.group(group) + "/addToContactList" }

func (l links) removeFromContactList(group string) string {
	return l.group(group) + "/removeFromContactList"
}

func (l links) conversations() string {
	return applicationsPath + "/" + l.id + "/communication/conversations?filter=active"
}
func (l links) myGroups() string { return applicationsPath + "/" + l.id + "/people/groups" }
func (l links) group(id string) string {
	return applicationsPath + "/" + l.id + "/people/groups/" + url.PathEscape(id)
}
func (l links) myContacts() string { return applicationsPath + "/" + l.id + "/people/contacts" }

func (l links) expandDistributionGroup(id string) string {
	return l.group(id) + "/expandDistributionGroup"
}

func (l links) groupContacts(id string) string {
	return applicationsPath + "/" + l.id + "/people/contacts?groupId=" + query(id)
}

// contact keeps the plain SIP address in the path, always in lower case:
// sample code matches a contact and its presence by their URLs.
func (l links) contact(address string) string {
	return applicationsPath + "/" + l.id + "/people/" + pathAddress(address)
}

func (l links) contactPart(address, part string) string {
	return applicationsPath + "/" + l.id + "/people/" + pathAddress(address) + "/" + part
}

// events always carries a '?': sample code appends its own parameters with '&'.
func (l links) events(ack int64, instance string) string {
	href := l.application() + "/events?ack=" + strconv.FormatInt(ack, 10)
	if instance != "" {
		href += "&instanceId=" + query(instance)
	}
	return href
}

// presenceSubscriptions is also where a group is subscribed to, with groupId.
func (l links) presenceSubscriptions() string { return l.people() + "/presenceSubscriptions" }

func (l links) subscribeToGroupPresence(group string) string {
	return l.presenceSubscriptions() + "?groupId=" + query(group)
}

func (l links) presenceSubscription(id string) string {
	return l.presenceSubscriptions() + "/" + url.PathEscape(id)
}

func (l links) memberships() string { return l.people() + "/presenceSubscriptionMemberships" }

func (l links) membershipsOf(subscription string) string {
	return l.memberships() + "?presenceSubscriptionId=" + query(subscription)
}

func (l links) membership(subscription, address string) string {
	return l.memberships() + "/" + url.PathEscape(subscription) + "," + pathAddress(address)
}

func (l links) subscribedContacts() string { return l.people() + "/subscribedContacts" }

func (l links) contactsAndGroupsSubscription() string {
	return l.people() + "/contactsAndGroupsSubscription"
}

// query escapes a parameter. A space is %20, not '+': the gateway reads '+' in a
// query as it stands, because clients write it so.
func query(value string) string {
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

// pathAddress escapes an address for a path. The usual ones need no escape:
// clients trip over %40.
func pathAddress(address string) string {
	for i := range len(address) {
		if c := address[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("@._-", rune(c)) {
			return url.PathEscape(address)
		}
	}
	return address
}
