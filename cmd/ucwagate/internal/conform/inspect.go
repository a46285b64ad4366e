package conform

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The subjects of what is checked on all requests and answers.
const (
	anyRequest = "every request"
	anyAnswer  = "every answer"
)

// inspectHeaders checks what the headers of every answer must be like.
func (w *walk) inspectHeaders(a *answer) {
	where := a.place()
	if !w.check("headers.answer", anyRequest, a.status != 0, "%v", a) {
		return
	}
	if a.status == http.StatusNoContent || a.status == http.StatusNotModified {
		w.check("headers.no-body", anyAnswer, len(a.raw) == 0 && (a.status != http.StatusNoContent || a.headers.Get("Content-Type") == ""),
			"%v with Content-Type %q", a, a.headers.Get("Content-Type"))
	} else {
		w.check("headers.length", anyAnswer, !a.chunked && a.headers.Get("Content-Length") != "" && (a.method == http.MethodHead || a.headers.Get("Content-Length") == strconv.Itoa(len(a.raw))),
			"%s %s: Content-Length %q of %d bytes, chunked %v", a.method, a.href, a.headers.Get("Content-Length"), len(a.raw), a.chunked)
	}
	if a.header["Accept-Encoding"] == "" {
		w.check("headers.plain", anyAnswer, a.headers.Get("Content-Encoding") == "", "%s %s: Content-Encoding %q", a.method, a.href, a.headers.Get("Content-Encoding"))
	}
	if where != "ucwa" || a.status == http.StatusUnauthorized {
		return
	}
	if a.mediaType() != typeJPEG && a.accept != typeJPEG {
		w.check("headers.no-cache", anyAnswer, strings.Contains(a.headers.Get("Cache-Control"), "no-cache"), "%s %s: Cache-Control %q", a.method, a.href, a.headers.Get("Cache-Control"))
	}
	w.check("headers.server-fqdn", anyAnswer, a.headers.Get("X-MS-Server-Fqdn") != "", "%s %s has none", a.method, a.href)
	w.check("headers.version", anyAnswer, a.headers.Get("X-MS-UcwaVersion") != "", "%s %s has none", a.method, a.href)
}

// place says whether an answer is one of UCWA or of discovery.
func (a *answer) place() string {
	path := a.href
	if u, err := url.Parse(a.href); err == nil {
		path = u.Path
	}
	if strings.Contains(strings.ToLower(path), "/ucwa/") {
		return "ucwa"
	}
	return "discovery"
}

var goodContentType = map[Format]*regexp.Regexp{
	JSON: regexp.MustCompile(`^application/json; ?charset=utf-8$`),
	XML:  regexp.MustCompile(`^application/xml; ?charset=utf-8$`),
}

// get reads a resource that is expected to have a rel, and checks all that is
// documented of it. It returns nil if there is none.
func (w *walk) get(ctx context.Context, rel, href string) *node {
	a := w.do(ctx, request{method: http.MethodGet, href: href})
	return w.resource(a, rel, http.StatusOK)
}

// follow reads what a link of a resource leads to, as get does. What a
// distributionGroup links may be refused because the group is too large.
func (w *walk) follow(ctx context.Context, l link) *node {
	a := w.do(ctx, request{method: http.MethodGet, href: l.href})
	rel := target(l.rel)
	if l.within == "distributionGroup" && a.tooLarge() {
		w.check("href.works", rel, true, "")
		w.reason(a, l.rel)
		return nil
	}
	return w.resource(a, rel, http.StatusOK)
}

// resource checks the answer that must carry a resource of a rel, and returns
// it; nil if it does not.
func (w *walk) resource(a *answer, rel string, status int) *node {
	if a.method == http.MethodGet && a.place() == "ucwa" && !w.check("href.works", rel, a.status == status, "%v", a) || a.status != status {
		return nil
	}
	n := w.parse(a, rel)
	if n == nil {
		return nil
	}
	w.check("identity.rel", rel, n.rel == rel, "%s is a %q", a.href, n.rel)
	if a.method == http.MethodGet {
		w.check("identity.href", rel, n.href == a.href || sameIdentity(n, a.href), "%s calls itself %s", a.href, n.href)
	}
	w.inspect(n)
	return n
}

// sameIdentity excuses the resources whose self link is another than the one
// that was followed: a search repeats the query, user ends in /root/user, an
// expanded group is the group, and a list without resources is the list.
func sameIdentity(n *node, asked string) bool {
	switch n.rel {
	case "root", "user", "search":
		return true
	case "distributionGroup":
		return strings.HasPrefix(asked, n.href)
	}
	stripped := strings.NewReplacer("?expand=false", "", "&expand=false", "").Replace(asked)
	return n.href == stripped
}

// parse reads the body of a resource and records what is wrong with its form.
func (w *walk) parse(a *answer, where string) *node {
	f := JSON
	if a.isXML() {
		f = XML
	}
	if a.place() == "ucwa" && (a.accept == "" || a.accept == typeJSON || a.accept == typeXML) {
		want := w.format
		if a.accept == typeXML {
			want = XML
		} else if a.accept == typeJSON {
			want = JSON
		}
		w.check("headers.content-type", anyAnswer, goodContentType[want].MatchString(a.headers.Get("Content-Type")), "%s %s: %q", a.method, a.href, a.headers.Get("Content-Type"))
	}
	var n *node
	if f == XML {
		n = w.parseXML(a, where)
	} else {
		n = w.parseJSON(a, where)
	}
	return n
}

func (w *walk) parseJSON(a *answer, where string) *node {
	v, err := readJSON(a.body)
	if !w.check("json.syntax", where, err == nil, "%v: %v", a, err) {
		return nil
	}
	name, null := v.anyNull()
	w.check("nulls.none", where, !null, "%s of %s is null", name, a.href)
	return w.faultless(jsonNode(v), []string{"types.property", "types.link", "identity.self", "arrays.multi", "arrays.single"})
}

func (w *walk) parseXML(a *answer, where string) *node {
	e, err := readXML(a.body)
	if !w.check("xml.syntax", where, err == nil, "%v: %v", a, err) {
		return nil
	}
	wrong := e.namespaceFault(true)
	w.check("xml.namespace", where, wrong == "" || strings.HasPrefix(wrong, "there is a nil"), "%s: %s", a.href, wrong)
	w.check("nulls.none", where, !strings.HasPrefix(wrong, "there is a nil"), "%s: %s", a.href, wrong)
	if !w.check("xml.elements", where, e.name.Local == "resource", "%s is a <%s>", a.href, e.name.Local) {
		return nil
	}
	return w.faultless(xmlNode(e), []string{"types.link", "identity.self", "arrays.single", "xml.order", "xml.elements", "xml.self", "xml.rel-property"})
}

// faultless records for a resource and what it embeds whether these rules are
// kept.
func (w *walk) faultless(n *node, rules []string) *node {
	n.each(func(n *node) {
		for _, f := range n.faults {
			w.check(f.rule, n.rel, false, "%s", f.seen)
		}
		for _, rule := range rules {
			if !slices.ContainsFunc(n.faults, func(f fault) bool { return f.rule == rule }) {
				w.check(rule, n.rel, true, "")
			}
		}
	})
	return n
}

// inspect checks a resource and all that it embeds against what is documented.
func (w *walk) inspect(n *node) {
	for _, c := range n.embedded {
		w.check("identity.rel", c.node.rel, c.rel == c.node.rel, "%s embeds as %s a %s", n.rel, c.rel, c.node.rel)
	}
	n.each(func(n *node) {
		w.inspectHrefs(n)
		s, known := shapes[n.rel]
		if !known {
			return
		}
		if s.linkRule != "" {
			missing := n.missing(s.links...)
			w.check(s.linkRule, n.rel, len(missing) == 0, "%s has no %s", n.href, strings.Join(missing, ", "))
		}
		for i := range s.fields {
			w.inspectField(n, &s.fields[i])
		}
		w.inspectSpecial(n)
	})
}

// inspectSpecial checks what the table of shapes has no column for.
func (w *walk) inspectSpecial(n *node) {
	switch n.rel {
	case "distributionGroup":
		w.check("groups.distribution", n.rel, n.link("groupContacts") == "", "%s has groupContacts", n.href)
	case "myGroupMembership":
		in := 0
		for _, rel := range []string{"group", "defaultGroup", "pinnedGroup", "delegatesGroup"} {
			in += len(n.linksTo(rel))
		}
		w.check("groups.memberships", n.rel, in == 1, "%s links %d groups", n.href, in)
	case "myPrivacyRelationship":
		w.check("contacts.privacy-list", n.rel, n.arrays["contact"] || n.arrays == nil, "%s has no links contact", n.href)
	case "contact":
		base, presence := n.href, n.link("contactPresence")
		same := presence == "" || beforeLastDot(base) == beforeLastDot(presence)
		w.check("href.last-dot", n.rel, same, "%s and %s", base, presence)
	}
}

func beforeLastDot(s string) string {
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		return s[:i]
	}
	return s
}

func (w *walk) inspectField(n *node, f *field) {
	where := n.rel + "." + f.name
	p := n.property(f.name)
	if p == nil {
		if f.required {
			w.check("types.required", n.rel, false, "%s has no %s", n.href, f.name)
		}
		return
	}
	w.check("types.required", n.rel, true, "")
	inJSON := n.arrays != nil
	w.check("types.property", n.rel, fits(p, f.is, inJSON), "%s of %s is %v %q, not %v", f.name, n.href, p.kind, p.text, f.is)
	switch f.is {
	case boolean:
		if !inJSON {
			w.check("xml.boolean", where, p.text == "True" || p.text == "False", "%q", p.text)
		}
	case sipURI:
		w.check("types.uri", n.rel, strings.HasPrefix(p.text, "sip:"), "%s of %s is %q", f.name, n.href, p.text)
	case phone:
		w.check("types.uri", n.rel, strings.HasPrefix(p.text, "tel:"), "%s of %s is %q", f.name, n.href, p.text)
	case date:
		if inJSON {
			w.check("dates.json", where, jsonDate.MatchString(p.raw), "%s", p.raw)
		} else {
			w.check("dates.xml", where, xmlDate.MatchString(p.text), "%s", p.text)
		}
	}
	if f.enum == "" {
		return
	}
	values := p.list
	if p.kind != kindList {
		values = []string{p.text}
	}
	for _, v := range values {
		w.check(f.enum, n.rel, slices.Contains(enumerations[f.enum], v), "%s of %s is %q", f.name, n.href, v)
	}
}

var (
	jsonDate = regexp.MustCompile(`^"\\/Date\(-?[0-9]+\)\\/"$`)
	xmlDate  = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,7})?(Z|[+-][0-9]{2}:[0-9]{2})$`)
	dateText = regexp.MustCompile(`^/Date\((-?[0-9]+)\)/$`)
)

// fits says whether a property is of a type. XML knows texts and lists only.
func fits(p *property, t fieldType, inJSON bool) bool {
	switch t {
	case list:
		return p.kind == kindList
	case boolean:
		_, err := strconv.ParseBool(p.text)
		return err == nil && (!inJSON || p.kind == kindBoolean)
	}
	return p.kind == kindText
}

// instant reads a date of either representation.
func instant(s string) (time.Time, bool) {
	if m := dateText.FindStringSubmatch(s); m != nil {
		ms, err := strconv.ParseInt(m[1], 10, 64)
		return time.UnixMilli(ms), err == nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.Truncate(time.Millisecond), err == nil
}

// fqn says what a resource is and where, for a line.
func fqn(n *node) string { return fmt.Sprintf("%s %s", n.rel, n.href) }
