package conform

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// subscriptions walks through the life of presence subscriptions.
func (w *walk) subscriptions(ctx context.Context) {
	app := w.fresh(ctx)
	people := app.embed("people")
	href := people.link("presenceSubscriptions")
	if href == "" {
		w.skip("presenceSubscriptions", "the link is not offered", "subscriptions.create", "subscriptions.listed", "subscriptions.members", "subscriptions.unknown",
			"subscriptions.add", "subscriptions.remove", "subscriptions.extend", "subscriptions.names", "subscriptions.duration", "subscriptions.empty", "deletion.subscription")
	} else {
		w.adHoc(ctx, people, href)
		w.wrongSubscriptions(ctx, href)
	}
	w.subscribeGroups(ctx, people)
	w.contactsAndGroups(ctx, people.link("myContactsAndGroupsSubscription"))
}

// somebody are the URIs that a walk subscribes to: the user's own and that of a
// person of the contact list, if there is one.
func (w *walk) somebody(ctx context.Context) []string {
	uris := []string{w.ownURI()}
	if people := w.people(ctx); len(people) > 0 {
		uris = append(uris, people[0].text("uri"))
	}
	return uris
}

// subscribe creates a subscription; nil if there is none.
func (w *walk) subscribe(ctx context.Context, href string, in input) *node {
	a := w.do(ctx, w.post(href, in))
	n := w.resource(a, "presenceSubscription", http.StatusCreated)
	if w.check("subscriptions.create", "presenceSubscription", n != nil, "%v", a) {
		w.check("subscriptions.create", "presenceSubscription", a.headers.Get("Location") == n.href, "Location is %q, self %q", a.headers.Get("Location"), n.href)
	}
	return n
}

// domain is the part of the user's address from the @ on.
func (w *walk) domain() string {
	_, domain, _ := strings.Cut(w.ownURI(), "@")
	return "@" + domain
}

func (w *walk) adHoc(ctx context.Context, people *node, href string) {
	uris := w.somebody(ctx)
	// One address twice, in two spellings, and one that nobody has.
	unknown := "sip:" + unique("nobody-") + w.domain()
	a := w.do(ctx, w.post(href, input{{"Uris", append(uris, strings.ToUpper(strings.TrimPrefix(uris[0], "sip:")), unknown)}, {"Duration", 10}}))
	sub := w.resource(a, "presenceSubscription", http.StatusCreated)
	if !w.check("subscriptions.unknown", "presenceSubscription", sub != nil, "%v", a) {
		if sub = w.subscribe(ctx, href, input{{"duration", 10}, {"uris", uris}}); sub == nil {
			return
		}
		unknown = ""
	}
	w.check("subscriptions.names", "presenceSubscription", sub.text("id") != "", "Uris and Duration are not taken")
	w.check("subscriptions.create", "presenceSubscription", sub.href == a.headers.Get("Location"), "Location is %q, self %q", a.headers.Get("Location"), sub.href)
	w.check("subscriptions.links", "presenceSubscription", sub.link("addToPresenceSubscription") != "", "there is no addToPresenceSubscription")
	w.get(ctx, "presenceSubscription", sub.href)
	listed := w.get(ctx, "presenceSubscriptions", href)
	w.check("subscriptions.listed", "presenceSubscriptions", slices.ContainsFunc(listed.embeds("presenceSubscription"), func(n *node) bool { return n.href == sub.href }), "%s is not in it", sub.href)
	w.members(ctx, sub, uris, unknown)
	w.subscribed(ctx, people.link("subscribedContacts"), uris)
	w.add(ctx, sub)
	for _, q := range []request{{method: http.MethodPost, href: sub.href + "?duration=10"}, w.post(sub.href, input{{"duration", 30}})} {
		a := w.do(ctx, q)
		status := a.status
		n := w.resource(a, "presenceSubscription", status)
		w.check("subscriptions.extend", "presenceSubscription", (status == http.StatusOK || status == http.StatusCreated) && n != nil && n.text("id") == sub.text("id"), "%v", a)
	}
	a = w.do(ctx, request{method: http.MethodDelete, href: sub.href})
	if w.check("deletion.subscription", "presenceSubscription", a.status == http.StatusNoContent, "%v", a) {
		w.refused("deletion.subscription", "presenceSubscription", w.send(ctx, request{method: http.MethodGet, href: sub.href}), http.StatusNotFound, "")
		w.refused("deletion.subscription", "presenceSubscription", w.send(ctx, request{method: http.MethodPost, href: sub.href + "?duration=10"}), http.StatusNotFound, "")
	}
}

// members checks the memberships of a new subscription.
func (w *walk) members(ctx context.Context, sub *node, uris []string, unknown string) {
	n := w.get(ctx, "presenceSubscriptionMemberships", sub.link("memberships"))
	items := n.embeds("presenceSubscriptionMembership")
	want := len(uris)
	if unknown != "" {
		want++
	}
	w.check("subscriptions.members", "memberships", len(items) == want, "%d memberships of %d addresses", len(items), want)
	for _, item := range items {
		w.check("subscriptions.members", "memberships", item.link("presenceSubscription") == sub.href, "%s belongs to %s", item.href, item.link("presenceSubscription"))
	}
	if len(items) > 0 {
		w.get(ctx, "presenceSubscriptionMembership", items[0].href)
	}
}

func (w *walk) subscribed(ctx context.Context, href string, uris []string) {
	if href == "" {
		w.skip("subscribedContacts", "the link is not offered", "contacts.subscribed")
		return
	}
	n := w.get(ctx, "subscribedContacts", href)
	if n == nil {
		return
	}
	links := n.linksTo("contact")
	for _, uri := range uris {
		address := "/" + strings.ToLower(strings.TrimPrefix(uri, "sip:"))
		w.check("contacts.subscribed", "subscribedContacts", slices.ContainsFunc(links, func(l string) bool { return strings.HasSuffix(strings.ToLower(l), address) }) && len(n.embedded) == 0,
			"%s is not among %v, or something is embedded", uri, links)
	}
}

// add adds an address to a subscription and takes it out again.
func (w *walk) add(ctx context.Context, sub *node) {
	href := sub.link("addToPresenceSubscription")
	address := unique("somebody-") + w.domain()
	for _, name := range []string{"contactUris", "uris"} {
		a := w.do(ctx, w.post(href, input{{name, []string{"sip:" + name + "-" + address}}}))
		n := w.resource(a, "presenceSubscriptionMemberships", http.StatusCreated)
		id := "subscriptions.add"
		if name == "uris" {
			id = "subscriptions.names"
		}
		items := n.embeds("presenceSubscriptionMembership")
		if !w.check(id, "addToPresenceSubscription", len(items) == 1, "%v", a) {
			continue
		}
		gone := w.do(ctx, request{method: http.MethodDelete, href: items[0].href})
		if w.check("subscriptions.remove", "presenceSubscriptionMembership", gone.status == http.StatusNoContent, "%v", gone) {
			w.refused("subscriptions.remove", "presenceSubscriptionMembership", w.send(ctx, request{method: http.MethodGet, href: items[0].href}), http.StatusNotFound, "")
		}
	}
}

// wrongSubscriptions sends what must be refused.
func (w *walk) wrongSubscriptions(ctx context.Context, href string) {
	uris := []string{w.ownURI()}
	for _, in := range []input{{{"uris", uris}}, {{"uris", uris}, {"duration", 9}}, {{"uris", uris}, {"duration", 31}}, {{"uris", uris}, {"duration", "long"}}} {
		w.named("subscriptions.duration", "presenceSubscriptions", w.send(ctx, w.post(href, in)), "duration")
	}
	for _, in := range []input{{{"duration", 10}}, {{"uris", []string{}}, {"duration", 10}}} {
		w.named("subscriptions.empty", "presenceSubscriptions", w.send(ctx, w.post(href, in)), "uris")
	}
}

// subscribeGroups subscribes to the first group of contacts and to the first
// distributionGroup.
func (w *walk) subscribeGroups(ctx context.Context, people *node) {
	groups := w.quietly(w.send(ctx, request{method: http.MethodGet, href: people.link("myGroups")}))
	done := make(map[bool]bool)
	for _, c := range groups.children() {
		distribution := c.rel == "distributionGroup"
		if done[distribution] || !strings.Contains(c.node.link("subscribeToGroupPresence"), "?") {
			continue
		}
		done[distribution] = true
		w.subscribeGroup(ctx, c.node)
	}
	if len(done) == 0 {
		w.skip("subscribeToGroupPresence", "the link is not offered", "subscriptions.group", "subscriptions.group-again")
	}
}

// subscribeGroup subscribes to a group twice.
func (w *walk) subscribeGroup(ctx context.Context, group *node) {
	first := ""
	for _, id := range []string{"subscriptions.group", "subscriptions.group-again"} {
		a := w.do(ctx, request{method: http.MethodPost, href: group.link("subscribeToGroupPresence") + "&duration=10"})
		if first == "" && group.rel == "distributionGroup" && a.tooLarge() {
			w.check(id, group.rel, true, "")
			w.reason(a, "subscribeToGroupPresence")
			return
		}
		n := w.resource(a, "presenceSubscription", http.StatusCreated)
		if !w.check(id, group.rel, n != nil && n.text("id") == group.text("id") && (first == "" || n.href == first), "%v", a) {
			break
		}
		first = n.href
		w.check("subscriptions.links", "a group's presenceSubscription", n.link("addToPresenceSubscription") == "", "there is addToPresenceSubscription")
	}
	if first != "" {
		w.send(ctx, request{method: http.MethodDelete, href: first})
	}
}

// children returns what a node embeds; nothing of none.
func (n *node) children() []child {
	if n == nil {
		return nil
	}
	return n.embedded
}

func (w *walk) contactsAndGroups(ctx context.Context, href string) {
	const id, where, rel = "subscriptions.contacts-and-groups", "myContactsAndGroupsSubscription", "myContactsAndGroupsSubscription"
	const start, stop = "startOrRefreshSubscriptionToContactsAndGroups", "stopSubscriptionToContactsAndGroups"
	if href == "" {
		w.skip(where, "the link is not offered", id)
		return
	}
	n := w.get(ctx, rel, href)
	if !w.check(id, where, n.link(start) != "" && n.link(stop) == "" && n.text("state") == "Disconnected", "before: %q with the links %v", n.text("state"), n.all()) {
		return
	}
	a := w.do(ctx, request{method: http.MethodPost, href: n.link(start) + "?duration=10"})
	w.check(id, where, w.resource(a, rel, http.StatusCreated) != nil, "%v", a)
	n = w.get(ctx, rel, href)
	if !w.check(id, where, n.link(stop) != "" && strings.HasPrefix(n.text("state"), "Connect"), "started: %q with the links %v", n.text("state"), n.all()) {
		return
	}
	w.named(id, where, w.send(ctx, request{method: http.MethodPost, href: n.link(start)}), "duration")
	a = w.do(ctx, request{method: http.MethodPost, href: n.link(stop)})
	w.check(id, where, a.status == http.StatusNoContent, "%v", a)
	n = w.get(ctx, rel, href)
	w.check(id, where, strings.HasPrefix(n.text("state"), "Disconnect"), "stopped: %q", n.text("state"))
}

// all returns the links of a node; nothing of none.
func (n *node) all() []link {
	if n == nil {
		return nil
	}
	return n.links
}
