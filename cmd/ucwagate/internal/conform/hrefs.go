package conform

import (
	"regexp"
	"slices"
	"strings"
)

// applicationsPath is what every href under an application begins with: one
// client cuts off so many characters.
const applicationsPath = "/ucwa/oauth/v1/applications/"

var (
	withQuestionMark    = []string{"events", "next", "resync", "resume", "subscribeToGroupPresence"}
	withoutQuestionMark = []string{
		"presenceSubscription", "myGroupMemberships", "removeContactFromAllGroups", "startOrRefreshSubscriptionToContactsAndGroups",
	}
	contactParts = []string{
		"contact", "contactPresence", "contactLocation", "contactNote", "contactSupportedModalities", "contactPrivacyRelationship", "contactPhoto",
	}
	contactHref = regexp.MustCompile(`^[A-Za-z0-9_\-/@.]+/[A-Za-z0-9_\-.]+@[A-Za-z0-9_\-.]+(/[A-Za-z]+)?$`)
)

// inspectHrefs checks the hrefs of one resource, not of what it embeds.
func (w *walk) inspectHrefs(n *node) {
	switch n.rel {
	case "root", "user", "redirect":
		return // their links are absolute; discovery checks them
	}
	w.inspectHref(n.rel, n.rel, n.href, true)
	for _, l := range n.links {
		w.inspectHref(n.rel, l.rel, l.href, false)
	}
}

// inspectHref checks a link of a rel that is seen in a resource.
func (w *walk) inspectHref(where, rel, href string, self bool) {
	if !w.check("href.relative", where, strings.HasPrefix(href, "/") && !strings.HasPrefix(href, "//"), "%s is %s", rel, href) {
		return
	}
	w.check("href.prefix", where, strings.HasPrefix(href, applicationsPath) && len(href) > len(applicationsPath), "%s is %s", rel, href)
	if slices.Contains(withQuestionMark, rel) {
		w.check("href.question-mark", rel, strings.Contains(href, "?"), "%s", href)
	}
	if slices.Contains(withoutQuestionMark, rel) || rel == "search" && !self {
		w.check("href.no-question-mark", rel, !strings.Contains(href, "?"), "%s", href)
	}
	if slices.Contains(contactParts, rel) {
		w.check("href.contact", rel, contactHref.MatchString(href), "%s", href)
	}
}
