package conform_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ucwagate/ucwaapi/representation"
)

func (a *modelApplication) contactsAndGroupsSubscription(x *exchange, operation string) {
	if operation == "stop" {
		a.contactsAndGroups = false
		x.nothing()
		return
	}
	if operation == "start" {
		if _, ok := x.in.String("duration"); !ok {
			x.invalid("duration")
			return
		}
		a.contactsAndGroups = true
	}
	href := a.href + "/people/contactsAndGroupsSubscription"
	r := representation.New("myContactsAndGroupsSubscription", href).Link("startOrRefreshSubscriptionToContactsAndGroups", href+"/start")
	if a.contactsAndGroups {
		r.Set("state", "Connected").Link("stopSubscriptionToContactsAndGroups", href+"/stop")
	} else {
		r.Set("state", "Disconnected")
	}
	if operation == "start" {
		x.created(r)
		return
	}
	x.resource(r)
}

// watched are the members of all subscriptions.
func (a *modelApplication) watched() (all []string) {
	for _, members := range a.subscriptions {
		all = append(all, members...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (a *modelApplication) subscription(id string) *representation.Resource {
	href := a.href + "/people/presenceSubscriptions/" + id
	memberships := a.href + "/people/presenceSubscriptionMemberships?presenceSubscriptionId=" + id
	r := representation.New("presenceSubscription", href).Set("id", id).Link("memberships", memberships)
	if !a.groups[id] {
		r.Link("addToPresenceSubscription", memberships)
	}
	return r
}

func (a *modelApplication) presenceSubscriptions(x *exchange, id string) {
	href := a.href + "/people/presenceSubscriptions"
	if id != "" {
		a.oneSubscription(x, id)
		return
	}
	if x.r.Method == http.MethodGet {
		var list []*representation.Resource
		for _, id := range sortedKeys(a.subscriptions) {
			list = append(list, a.subscription(id))
		}
		x.resource(representation.New("presenceSubscriptions", href).EmbedAll("presenceSubscription", list))
		return
	}
	if n, ok, err := x.in.Int("duration"); !ok || err != nil || n < 10 || n > 30 {
		x.invalid("duration")
		return
	}
	if group, ok := x.in.String("groupId"); ok {
		a.groups[group] = true
		if a.subscriptions[group] == nil {
			a.subscribe(group, []string{"bo@contoso.test"})
		}
		x.created(a.subscription(group))
		return
	}
	uris, _ := x.in.List("uris")
	if len(uris) == 0 {
		x.invalid("uris")
		return
	}
	a.counter++
	id = "s" + strconv.Itoa(a.counter)
	a.subscribe(id, addressesOf(uris))
	x.created(a.subscription(id))
}

func addressesOf(uris []string) (list []string) {
	for _, u := range uris {
		if address := strings.TrimPrefix(strings.ToLower(u), "sip:"); !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	return list
}

func (a *modelApplication) oneSubscription(x *exchange, id string) {
	members, there := a.subscriptions[id]
	switch {
	case !there:
		x.notFound()
	case x.r.Method == http.MethodDelete:
		delete(a.subscriptions, id)
		for _, address := range members {
			a.raise(a.contactEvent("deleted", address))
		}
		a.raise(modelEvent{"people", "deleted", "presenceSubscription", a.href + "/people/presenceSubscriptions/" + id, "", ""})
		x.nothing()
	default:
		x.resource(a.subscription(id))
	}
}

func (a *modelApplication) contactEvent(kind, address string) modelEvent {
	return modelEvent{"people", kind, "contact", a.href + "/people/" + address, "subscribedContacts", a.href + "/people/subscribedContacts"}
}

// subscribe raises what a new subscription yields.
func (a *modelApplication) subscribe(id string, members []string) {
	a.subscriptions[id] = members
	var events []modelEvent
	for _, address := range members {
		events = append(events, a.contactEvent("added", address))
	}
	events = append(events, modelEvent{"people", "added", "presenceSubscription", a.href + "/people/presenceSubscriptions/" + id, "", ""})
	for _, address := range members {
		contact := a.href + "/people/" + address
		events = append(events, modelEvent{"people", "updated", "contactPresence", contact + "/presence", "contact", contact})
	}
	a.raise(events...)
}

func (a *modelApplication) membership(id, address string) *representation.Resource {
	p := a.href + "/people"
	return representation.New("presenceSubscriptionMembership", p+"/presenceSubscriptionMemberships/"+id+","+address).
		Link("contact", p+"/"+address).Link("presenceSubscription", p+"/presenceSubscriptions/"+id)
}

func (a *modelApplication) memberships(x *exchange, item string) {
	if item != "" {
		id, address, _ := strings.Cut(item, ",")
		if !slices.Contains(a.subscriptions[id], address) {
			x.notFound()
			return
		}
		if x.r.Method == http.MethodDelete {
			a.subscriptions[id] = slices.DeleteFunc(a.subscriptions[id], func(s string) bool { return s == address })
			x.nothing()
			return
		}
		x.resource(a.membership(id, address))
		return
	}
	href := a.href + "/people/presenceSubscriptionMemberships"
	id, one := x.in.String("presenceSubscriptionId")
	if one {
		href += "?presenceSubscriptionId=" + id
	}
	var list []*representation.Resource
	if x.r.Method == http.MethodPost {
		uris, ok := x.in.List("contactUris")
		if !ok {
			uris, _ = x.in.List("uris")
		}
		for _, address := range addressesOf(uris) {
			a.subscriptions[id] = append(a.subscriptions[id], address)
			list = append(list, a.membership(id, address))
		}
		x.created(representation.New("presenceSubscriptionMemberships", href).EmbedAll("presenceSubscriptionMembership", list))
		return
	}
	for _, k := range sortedKeys(a.subscriptions) {
		for _, address := range a.subscriptions[k] {
			if !one || k == id {
				list = append(list, a.membership(k, address))
			}
		}
	}
	x.resource(representation.New("presenceSubscriptionMemberships", href).EmbedAll("presenceSubscriptionMembership", list))
}
