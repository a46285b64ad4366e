package conform

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// contacts looks at the contact list and at single contacts.
func (w *walk) contacts(ctx context.Context) {
	list := w.app.embed("people").link("myContacts")
	if list == "" {
		w.skip("myContacts", "the link is not offered", "contacts.embedded", "contacts.expand", "contacts.same", "contacts.privacy-put")
		return
	}
	n := w.get(ctx, "myContacts", list)
	w.embedsContacts(n, "myContacts")
	a := w.do(ctx, request{method: http.MethodGet, href: appended(list, "expand", "false")})
	if short := w.resource(a, "myContacts", http.StatusOK); short != nil {
		w.check("contacts.expand", "myContacts", len(short.embeds("contact")) == 0 && len(short.linksTo("contact")) == len(n.embeds("contact")),
			"%d links and %d resources, instead of %d links", len(short.linksTo("contact")), len(short.embeds("contact")), len(n.embeds("contact")))
	}
	people := n.embeds("contact")
	if len(people) == 0 {
		w.skip("contact", "there is nobody in the contact list", "contacts.same", "contacts.privacy-put")
		return
	}
	embedded := people[0]
	alone := w.get(ctx, "contact", embedded.href)
	if alone == nil {
		return
	}
	found := differences(embedded, alone)
	w.check("contacts.same", "contact", len(found) == 0, "%v", found)
	w.contactParts(ctx, alone)
}

// embedsContacts checks that a list of contacts has its array.
func (w *walk) embedsContacts(n *node, where string) {
	if n == nil {
		return
	}
	array, there := n.arrays["contact"]
	w.check("contacts.embedded", where, n.arrays == nil || there && array, "%s has no array contact", n.href)
}

// contactParts reads what a contact links, and tries to change the privacy.
func (w *walk) contactParts(ctx context.Context, contact *node) {
	for _, rel := range []string{"contactPresence", "contactLocation", "contactNote", "contactSupportedModalities"} {
		if href := contact.link(rel); href != "" {
			w.get(ctx, rel, href)
		}
	}
	href := contact.link("contactPrivacyRelationship")
	if href == "" {
		w.skip("contactPrivacyRelationship", "the link is not offered", "contacts.privacy-put")
		return
	}
	privacy := w.get(ctx, "contactPrivacyRelationship", href)
	if privacy.link("resetContactPrivacyRelationship") != "" {
		w.skip("contactPrivacyRelationship", "the level can be changed here", "contacts.privacy-put")
		return
	}
	body, contentType := w.encoded(input{{"relationshipLevel", "Colleagues"}}, "resource")
	a := w.send(ctx, request{method: http.MethodPut, href: href, body: body, contentType: contentType, header: map[string]string{"If-Match": "*"}})
	w.refused("contacts.privacy-put", "contactPrivacyRelationship", a, http.StatusMethodNotAllowed, "")
}

// systemGroups are the groups that are no arrays.
var systemGroups = []string{"pinnedGroup", "defaultGroup", "delegatesGroup", "delegatorsGroup", "myOrganizationGroup"}

// groups looks at myGroups and at what is in it.
func (w *walk) groups(ctx context.Context) {
	people := w.app.embed("people")
	if href := people.link("myGroupMemberships"); href != "" {
		w.get(ctx, "myGroupMemberships", href)
	} else {
		w.skip("myGroupMembership", "the link is not offered", "groups.memberships")
	}
	href := people.link("myGroups")
	if href == "" {
		w.skip("myGroups", "the link is not offered", "groups.system", "groups.arrays", "groups.order", "groups.links", "groups.distribution", "groups.expand", "groups.expansion", "groups.contacts")
		return
	}
	n := w.get(ctx, "myGroups", href)
	if n == nil {
		return
	}
	for _, rel := range systemGroups[:2] {
		w.check("groups.system", "myGroups", n.embed(rel) != nil, "there is no %s", rel)
	}
	w.groupOrder(n)
	a := w.do(ctx, request{method: http.MethodGet, href: appended(href, "expand", "false")})
	if short := w.resource(a, "myGroups", http.StatusOK); short != nil {
		w.check("groups.expand", "myGroups", len(short.embedded) == 0 && len(short.links) == len(n.embedded), "%d links and %d resources, instead of %d links", len(short.links), len(short.embedded), len(n.embedded))
	}
	seen := make(map[string]bool)
	for _, c := range n.embedded {
		if seen[c.rel] {
			continue
		}
		seen[c.rel] = true
		w.group(ctx, c.rel, c.node.href)
	}
	if !seen["distributionGroup"] {
		w.skip("distributionGroup", "there is none", "groups.distribution", "groups.expansion")
	}
}

// groupOrder checks the order of what myGroups embeds, and its arrays.
func (w *walk) groupOrder(n *node) {
	if n.arrays != nil {
		for _, rel := range []string{"group", "distributionGroup"} {
			array, there := n.arrays[rel]
			w.check("groups.arrays", "myGroups", there && array, "there is no array %s", rel)
		}
	}
	arrays := false
	for _, c := range n.embedded {
		single := slices.Contains(systemGroups, c.rel)
		w.check("groups.order", "myGroups", !single || !arrays, "%s comes after an array", c.rel)
		arrays = arrays || !single
	}
}

// group reads one group and its members.
func (w *walk) group(ctx context.Context, rel, href string) {
	g := w.get(ctx, rel, href)
	if contacts := g.link("groupContacts"); contacts != "" {
		a := w.do(ctx, request{method: http.MethodGet, href: contacts})
		n := w.resource(a, "groupContacts", http.StatusOK)
		w.check("groups.contacts", rel, n != nil && n.rel == "groupContacts", "%v", a)
		w.embedsContacts(n, "groupContacts")
	}
	if expand := g.link("expandDistributionGroup"); expand != "" {
		a := w.do(ctx, request{method: http.MethodGet, href: expand})
		if a.tooLarge() {
			w.check("groups.expansion", rel, true, "")
			w.reason(a, "expandDistributionGroup")
			return
		}
		n := w.resource(a, "distributionGroup", http.StatusOK)
		w.check("groups.expansion", rel, n != nil && (n.arrays == nil || n.arrays["contact"] || n.arrays["distributionGroup"]), "%v", a)
	}
}

// search looks for a person of the contact list, or for the user.
func (w *walk) search(ctx context.Context) {
	href := w.app.embed("people").link("search")
	if href == "" {
		w.skip("search", "the link is not offered", "search.name", "search.address", "search.result", "search.limit", "search.nothing", "search.missing")
		return
	}
	name, uri := w.app.embed("me").text("name"), w.ownURI()
	if people := w.people(ctx); len(people) > 0 {
		name, uri = people[0].text("name"), people[0].text("uri")
	}
	address := strings.TrimPrefix(uri, "sip:")
	if name == "" || address == "" {
		w.skip("search", "nobody has a name", "search.name", "search.address", "search.result", "search.limit")
		return
	}
	hits := func(id, query string) *node {
		a := w.do(ctx, request{method: http.MethodGet, href: href + "?query=" + query + "&limit=100"})
		n := w.resource(a, "search", http.StatusOK)
		found := slices.ContainsFunc(n.embeds("contact"), func(c *node) bool { return strings.EqualFold(c.text("uri"), uri) })
		w.check(id, "search", found, "%q does not find %s: %v", query, uri, a)
		return n
	}
	_, escaped, _ := strings.Cut(appended("", "q", name), "=")
	hits("search.name", escaped)
	for _, query := range []string{address, "sip:" + address, strings.ReplaceAll("sip:"+address, "@", "%40"), strings.ToUpper(address)} {
		if n := hits("search.address", query); n != nil {
			w.check("search.result", "search", strings.Contains(n.href, "?query="), "self is %s", n.href)
		}
	}
	a := w.do(ctx, request{method: http.MethodGet, href: href + "?query=" + escaped[:1] + "&limit=1"})
	if n := w.resource(a, "search", http.StatusOK); n != nil {
		w.check("search.limit", "search", len(n.embedded) <= 2 && len(n.embeds("contact")) <= 1, "limit=1 finds %d", len(n.embedded))
	}
	a = w.do(ctx, request{method: http.MethodGet, href: href + "?query=" + unique("nobody")})
	if n := w.resource(a, "search", http.StatusOK); n != nil {
		w.check("search.nothing", "search", n.arrays == nil && len(n.embedded) == 0 || n.arrays != nil && !strings.Contains(string(a.body), "_embedded"), "%v", a)
	}
	a = w.send(ctx, request{method: http.MethodGet, href: href})
	w.named("search.missing", "search", a, "query")
}
