package conform

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// operations are the rels that are no resources, or resources without a GET.
var operations = map[string]bool{
	"batch": true, "makeMeAvailable": true, "reportMyActivity": true, "reportMyNetwork": true, "subscribeToGroupPresence": true,
	"addToPresenceSubscription": true, "startOrRefreshSubscriptionToContactsAndGroups": true, "stopSubscriptionToContactsAndGroups": true,
	"resetContactPrivacyRelationship": true, "removeContactFromAllGroups": true, "addToContactList": true, "removeFromContactList": true,
	// Held, not a resource, or in need of a parameter: sections of their own.
	"events": true, "photo": true, "contactPhoto": true, "search": true, "phones": true, "callForwardingSettings": true,
}

// target is the rel of what a link leads to.
func target(rel string) string {
	switch rel {
	case "memberships", "presenceSubscriptionMemberships":
		return "presenceSubscriptionMemberships"
	case "groupMemberships":
		return "myGroupMemberships"
	case "expandDistributionGroup":
		return "distributionGroup"
	}
	return rel
}

const (
	// perRel bounds how many resources of one kind a crawl visits: a contact
	// list can be long, and the tenth contact shows nothing new.
	perRel = 4
	// crawlMinutes is how long the subscription of a crawl lasts; it ends with
	// the application.
	crawlMinutes = 10
)

// crawl visits what can be reached from the application and calls visit for
// each link; visit returns the resource there.
func (w *walk) crawl(visit func(link) *node) {
	queue := []link{{rel: "application", href: w.app.href}}
	seen := make(map[string]bool)
	count := make(map[string]int)
	for len(queue) > 0 {
		l := queue[0]
		queue = queue[1:]
		if operations[l.rel] || seen[l.href] || count[l.rel] >= perRel {
			continue
		}
		seen[l.href] = true
		count[l.rel]++
		if n := visit(l); n != nil {
			queue = append(queue, n.hrefs()...)
		}
	}
}

// resources visits everything with what is checked on every answer, and
// remembers some people for the sections that follow.
func (w *walk) resources(ctx context.Context) {
	w.subscribeSomebody(ctx)
	w.crawl(func(l link) *node {
		n := w.follow(ctx, l)
		if l.rel == "contact" && n != nil {
			w.contactNodes = append(w.contactNodes, n)
		}
		return n
	})
}

// subscribeSomebody makes a subscription, so that there is one to visit.
func (w *walk) subscribeSomebody(ctx context.Context) {
	if subscriptions := w.app.embed("people").link("presenceSubscriptions"); subscriptions != "" {
		w.send(ctx, w.post(subscriptions, input{{"duration", crawlMinutes}, {"uris", []string{w.ownURI()}}}))
	}
}

// ownURI is the SIP URI of the user.
func (w *walk) ownURI() string {
	if uri := w.app.embed("me").text("uri"); uri != "" {
		return uri
	}
	return "sip:" + w.User
}

// people returns some people of the contact list, the user not among them.
func (w *walk) people(ctx context.Context) []*node {
	if w.contactNodes == nil {
		a := w.send(ctx, request{method: http.MethodGet, href: w.app.embed("people").link("myContacts")})
		if a.status == http.StatusOK {
			w.contactNodes = w.quietly(a).embeds("contact")
		}
	}
	return slices.DeleteFunc(slices.Clone(w.contactNodes), func(n *node) bool { return strings.EqualFold(n.text("uri"), w.ownURI()) })
}

// quietly reads a resource without a word; nil if it cannot be read.
func (w *walk) quietly(a *answer) *node {
	if a.isXML() {
		if e, err := readXML(a.body); err == nil {
			return xmlNode(e)
		}
		return nil
	}
	if v, err := readJSON(a.body); err == nil {
		return jsonNode(v)
	}
	return nil
}

// compareAll visits everything in both representations and compares them.
func (w *walk) compareAll(ctx context.Context) {
	w.subscribeSomebody(ctx)
	w.crawl(func(l link) *node {
		refused := 0
		in := func(accept string) *node {
			a := w.send(ctx, request{method: http.MethodGet, href: l.href, accept: accept})
			if l.within == "distributionGroup" && a.tooLarge() {
				refused++
			}
			if a.status != http.StatusOK || a.isXML() != (accept == typeXML) {
				return nil
			}
			return w.quietly(a)
		}
		j, x := in(typeJSON), in(typeXML)
		if j == nil || x == nil {
			// Refused in both because of its size, it has nothing to compare.
			w.check("both.properties", target(l.rel), refused == 2, "GET %s does not work in both", l.href)
			return nil
		}
		if len(differences(j, x)) > 0 { // it may have changed in between
			x = in(typeXML)
			j = in(typeJSON)
			if j == nil || x == nil {
				return nil
			}
		}
		found := differences(j, x)
		for _, rule := range []string{"both.properties", "both.links", "both.embedded"} {
			i := slices.IndexFunc(found, func(f fault) bool { return f.rule == rule })
			if i < 0 {
				w.check(rule, j.rel, true, "")
				continue
			}
			w.check(rule, j.rel, false, "%s", found[i].seen)
		}
		return j
	})
}

// differences compares one resource in JSON and XML.
func differences(j, x *node) (list []fault) {
	differ := func(rule, format string, args ...any) { list = append(list, fault{rule, fmt.Sprintf(format, args...)}) }
	if j.rel != x.rel || j.href != x.href {
		differ("both.properties", "%s in JSON is %s in XML", fqn(j), fqn(x))
	}
	for _, p := range j.properties {
		q := x.property(p.name)
		switch {
		case q == nil:
			differ("both.properties", "%s of %s is not in XML", p.name, fqn(j))
		case !same(p, *q):
			differ("both.properties", "%s of %s is %q %q in JSON and %q %q in XML", p.name, fqn(j), p.text, p.list, q.text, q.list)
		}
	}
	for _, q := range x.properties {
		if j.property(q.name) == nil {
			differ("both.properties", "%s of %s is not in JSON", q.name, fqn(j))
		}
	}
	if !slices.Equal(sorted(j.links), sorted(x.links)) {
		differ("both.links", "%s links %v in JSON and %v in XML", fqn(j), sorted(j.links), sorted(x.links))
	}
	if len(j.embedded) != len(x.embedded) {
		differ("both.embedded", "%s embeds %d resources in JSON and %d in XML", fqn(j), len(j.embedded), len(x.embedded))
		return list
	}
	for i, c := range j.embedded {
		if c.rel != x.embedded[i].rel {
			differ("both.embedded", "resource %d of %s is a %s in JSON and a %s in XML", i, fqn(j), c.rel, x.embedded[i].rel)
			continue
		}
		list = append(list, differences(c.node, x.embedded[i].node)...)
	}
	return list
}

// same compares a property in JSON with one in XML.
func same(j, x property) bool {
	if j.kind == kindList || x.kind == kindList {
		return j.kind == x.kind && slices.Equal(j.list, x.list)
	}
	if j.kind == kindBoolean {
		return strings.EqualFold(j.text, x.text)
	}
	if jt, ok := instant(j.text); ok {
		xt, ok := instant(x.text)
		return ok && jt.Equal(xt)
	}
	return j.text == x.text
}

func sorted(links []link) []link {
	return slices.SortedFunc(slices.Values(links), func(a, b link) int {
		return strings.Compare(a.rel+" "+a.href+" "+a.revision, b.rel+" "+b.href+" "+b.revision)
	})
}
