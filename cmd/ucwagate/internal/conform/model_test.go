package conform_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ucwagate/ucwaapi/representation"
)

// The model is a small server that keeps every rule: one user, two colleagues,
// nothing behind it. Mutations of its answers show that a broken rule is found.
const (
	modelUser     = "ana@contoso.test"
	modelPassword = "a right password"
	modelToken    = "cwt=AAEBmodel"
	modelGUID     = "0b5c1fd4-2f1d-4bd4-9f5b-3a6f1d0c7a11"
	applications  = "/ucwa/oauth/v1/applications"
	discovery     = "/Autodiscover/AutodiscoverService.svc/root"
)

var colleagues = map[string]string{"ana@contoso.test": "Ana Ruiz", "bo@contoso.test": "Bo Berg", "cy@contoso.test": "Cy Young"}

// reply is an answer before it is written; mutations change it.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	chunked bool
}

// mutation breaks the answers that it applies to.
type mutation func(*http.Request, *reply)

type model struct {
	mu   sync.Mutex
	apps map[string]*modelApplication
	last int
	base string
	ends chan struct{}
	// note is the user's, notes all that were published.
	note  string
	notes []string
}

type modelApplication struct {
	href, endpoint    string
	available         bool
	etag              int
	instances         map[string]bool
	subscriptions     map[string][]string // id → members
	groups            map[string]bool     // ids of subscriptions that are a group's
	counter           int
	contactsAndGroups bool
	queue             []modelEvent
	sent              *modelPackage
	next              int
	parked            *modelParked
	arrived           chan struct{} // closed when something is queued
}

type modelEvent struct{ sender, kind, rel, href, inRel, inHref string }

type modelPackage struct {
	ack    int
	events []modelEvent
}

type modelParked struct {
	priority int
	replaced chan struct{}
}

// newModel serves the model with mutations.
func newModel(t *testing.T, mutations ...mutation) (*httptest.Server, *model) {
	m := &model{apps: make(map[string]*modelApplication), ends: make(chan struct{})}
	s := httptest.NewServer(m.handler(mutations))
	m.base = s.URL
	t.Cleanup(func() { close(m.ends); s.Close() })
	return s, m
}

func (m *model) handler(mutations []mutation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		res := m.serve(r, body)
		r.Body = io.NopCloser(bytes.NewReader(body)) // mutations may look at it
		for _, f := range mutations {
			f(r, res)
		}
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && len(res.body) > 0 {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write(res.body)
			_ = z.Close()
			res.body = b.Bytes()
			res.header.Set("Content-Encoding", "gzip")
		}
		h := w.Header()
		for name, values := range res.header {
			h[name] = values
		}
		if res.status == http.StatusNoContent || res.status == http.StatusNotModified {
			w.WriteHeader(res.status)
			return
		}
		if !res.chunked {
			h.Set("Content-Length", strconv.Itoa(len(res.body)))
		}
		w.WriteHeader(res.status)
		if res.chunked {
			w.(http.Flusher).Flush()
		}
		_, _ = w.Write(res.body)
	})
}

// exchange is one request on its way through the model.
type exchange struct {
	r    *http.Request
	body []byte
	in   *representation.Input
	res  *reply
	xml  bool
	kind string // Content-Type of a resource
}

func (m *model) serve(r *http.Request, body []byte) *reply {
	x := &exchange{r: r, body: body, res: &reply{status: http.StatusOK, header: http.Header{}}}
	f := representation.Negotiate(r.Header["Accept"])
	x.xml, x.kind = f.XML, f.ContentType
	x.header("X-MS-Server-Fqdn", "model.contoso.test", "X-MS-UcwaVersion", "2.0", "Cache-Control", "no-cache", "Vary", "Accept-Encoding")
	path := strings.TrimPrefix(r.URL.Path, "/")
	path = "/" + strings.TrimPrefix(path, "/")
	lower := strings.ToLower(path)
	switch {
	case lower == "/" || lower == strings.ToLower(discovery):
		x.discovery(representation.New("root", m.base+discovery).Link("user", m.base+discovery+"/oauth/user?originalDomain=contoso.test").Link("xframe", m.base+"/XFrame.html"))
	case lower == "/webticket/oauthtoken":
		x.token()
	case lower == "/xframe.html":
		x.raw("text/html", "<!DOCTYPE html><html></html>")
	case strings.Contains(path, "/photos/") && strings.Contains(r.Header.Get("Cookie"), "cwt_ucwa=photo"):
		m.inApplication(x, path)
	case r.Header.Get("Authorization") != "Bearer "+modelToken:
		x.challenge(m.base)
	case lower == strings.ToLower(discovery+"/oauth/user"):
		x.discovery(representation.New("user", m.base+discovery+"/user").Link("applications", m.base+applications).Link("xframe", m.base+"/XFrame.html"))
	default:
		if v, err := strconv.ParseFloat(r.Header.Get("X-MS-RequiresMinResourceVersion"), 64); err == nil && v > 2 {
			x.refuse(http.StatusNotFound, "NotFound", "APIVersionNotSupported")
			break
		}
		m.inApplication(x, path)
	}
	return x.res
}

func (x *exchange) header(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		x.res.header[pairs[i]] = []string{pairs[i+1]}
	}
}

func (x *exchange) raw(contentType, body string) {
	x.header("Content-Type", contentType)
	x.res.body = []byte(body)
}

func (x *exchange) discovery(r *representation.Resource) {
	x.header("Pragma", "no-cache", "Expires", "-1", "X-Content-Type-Options", "nosniff")
	x.resource(r)
	x.header("Content-Type", strings.TrimSuffix(x.kind, "; charset=utf-8"))
}

func (x *exchange) resource(r *representation.Resource) {
	x.header("Content-Type", x.kind)
	if tag := r.ETag(); tag != "" {
		x.header("ETag", `"`+tag+`"`)
		if match := x.r.Header.Get("If-None-Match"); x.r.Method == http.MethodGet && strings.Trim(strings.TrimPrefix(match, "W/"), `"`) == tag {
			x.res.status = http.StatusNotModified
			return
		}
	}
	if x.xml {
		x.res.body = representation.AppendXML(nil, r)
	} else {
		x.res.body = representation.AppendJSON(nil, r)
	}
}

func (x *exchange) created(r *representation.Resource) {
	x.res.status = http.StatusCreated
	x.header("Location", r.Href)
	x.resource(r)
}

func (x *exchange) nothing() { x.res.status = http.StatusNoContent }

func (x *exchange) refuse(status int, code, subcode string, parameters ...string) {
	e := &representation.Reason{Code: code, Subcode: subcode, Message: "No."}
	for _, p := range parameters {
		e.Parameters = append(e.Parameters, representation.Parameter{Name: p, Reason: "is wrong"})
	}
	x.res.status = status
	x.header("Content-Type", x.kind)
	if x.xml {
		x.res.body = representation.AppendReasonXML(nil, e)
	} else {
		x.res.body = representation.AppendReasonJSON(nil, e)
	}
}

func (x *exchange) invalid(parameters ...string) {
	x.refuse(http.StatusBadRequest, "BadRequest", "ParameterValidationFailure", parameters...)
}

func (x *exchange) notFound() { x.refuse(http.StatusNotFound, "NotFound", "") }

func (x *exchange) challenge(base string) {
	x.res.status = http.StatusUnauthorized
	x.raw("text/html", "<html></html>")
	x.res.header["WWW-Authenticate"] = []string{
		`MsRtcOAuth href="` + base + `/WebTicket/oauthtoken",grant_type="password"`,
		`Bearer trusted_issuers="x@model", client_id="y", authorization_uri="` + base + `/WebTicket/oauthtoken"`,
	}
	x.res.header["X-Ms-diagnostics"] = []string{`28020;source="model.contoso.test";reason="No token."`}
}

func (x *exchange) token() {
	x.header("Cache-Control", "no-store", "Pragma", "no-cache")
	x.raw("application/json", "")
	refuse := func(e string) {
		x.res.status = http.StatusBadRequest
		x.header("X-Ms-diagnostics", `28029;source="model";reason="No."`)
		x.res.body = []byte(`{"error":"` + e + `"}`)
	}
	body := string(x.body)
	switch {
	case !strings.Contains(body, "grant_type"):
		refuse("invalid_request")
	case !strings.Contains(body, "password"):
		refuse("unsupported_grant_type")
	case strings.Contains(body, "right+password-"):
		refuse("invalid_grant")
	default:
		x.res.body = []byte(`{"access_token":"` + modelToken + `","expires_in":28800,"token_type":"Bearer"}`)
	}
}

// contactResource is one of the colleagues.
func contactResource(app, address string) *representation.Resource {
	href := app + "/people/" + address
	r := representation.New("contact", href).Set("uri", "sip:"+address).Set("sourceNetwork", "SameEnterprise").
		SetList("emailAddresses", []string{address}).Set("workPhoneNumber", "tel:+15550100").Set("type", "User").Set("name", colleagues[address]).
		Link("contactPhoto", app+"/photos/"+address)
	for _, part := range [][2]string{
		{"contactPresence", "presence"},
		{"contactLocation", "location"},
		{"contactNote", "note"},
		{"contactSupportedModalities", "supportedMedia"},
		{"contactPrivacyRelationship", "privacyRelationship"},
	} {
		r.Link(part[0], href+"/"+part[1])
	}
	return r.Tag()
}

func (x *exchange) contact(app, rest string) {
	address, part, _ := strings.Cut(rest, "/")
	address = strings.ToLower(address)
	if colleagues[address] == "" {
		x.refuse(http.StatusNotFound, "NotFound", "DestinationNotFound")
		return
	}
	href := app + "/people/" + rest
	switch part {
	case "":
		x.resource(contactResource(app, address))
	case "presence":
		x.resource(representation.New("contactPresence", href).Set("availability", "Busy").Set("deviceType", "PC").Set("activity", "in-a-meeting").
			SetTime("lastActive", time.UnixMilli(1700000000123)))
	case "note":
		x.resource(representation.New("contactNote", href).Set("message", "Fish & chips").Set("type", "Personal"))
	case "location":
		x.resource(representation.New("contactLocation", href).Set("location", ""))
	case "supportedMedia":
		x.resource(representation.New("contactSupportedModalities", href).SetList("modalities", []string{"Messaging"}))
	default:
		if x.r.Method == http.MethodPut {
			x.notAllowed()
			return
		}
		x.resource(representation.New("contactPrivacyRelationship", href).Set("relationshipLevel", "Workgroup"))
	}
}

func (x *exchange) notAllowed() {
	x.header("Allow", "GET")
	x.refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "")
}

// photo shows the picture of everybody but Cy.
func (x *exchange) photo(address string) {
	if address == "cy@contoso.test" {
		x.notFound()
		return
	}
	x.header("Cache-Control", "private", "ETag", `"photo"`, "Expires", "Thu, 01 Jan 2099 00:00:00 GMT")
	if x.r.Header.Get("If-None-Match") == `"photo"` {
		x.res.status = http.StatusNotModified
		return
	}
	x.raw("image/jpeg", "\xff\xd8\xff\xe0 a face")
}

// search finds colleagues.
func (x *exchange) search(app string) {
	query, ok := x.in.String("query")
	if !ok {
		x.invalid("query")
		return
	}
	limit, _, _ := x.in.Int("limit")
	r := representation.New("search", app+"/people/search?"+x.r.URL.RawQuery)
	var hits []*representation.Resource
	query = strings.ToLower(strings.TrimPrefix(strings.ToLower(query), "sip:"))
	for _, address := range []string{"ana@contoso.test", "bo@contoso.test", "cy@contoso.test"} {
		if strings.Contains(address+" "+strings.ToLower(colleagues[address]), query) {
			hits = append(hits, contactResource(app, address))
		}
	}
	more := limit > 0 && len(hits) > limit
	if more {
		hits = hits[:limit]
	}
	r.SetBool("moreResultsAvailable", more)
	if len(hits) > 0 {
		r.EmbedAll("contact", hits)
	}
	x.resource(r)
}

// contactsOf lists people.
func (x *exchange) contactsOf(app, rel, href string, members []string) {
	r := representation.New(rel, href)
	if expand, _ := x.in.String("expand"); expand == "false" {
		var hrefs []string
		for _, a := range members {
			hrefs = append(hrefs, app+"/people/"+a)
		}
		x.resource(r.LinkAll("contact", hrefs))
		return
	}
	list := []*representation.Resource{}
	for _, a := range members {
		list = append(list, contactResource(app, a))
	}
	x.resource(r.EmbedAll("contact", list))
}

// groupsOf are the groups of the model, by id.
func groupsOf(app string) []*representation.Resource {
	one := func(rel, id string) *representation.Resource {
		href := app + "/people/groups/" + id
		r := representation.New(rel, href)
		if rel == "distributionGroup" {
			r.Set("uri", "sip:all@contoso.test")
		}
		r.Set("id", id).Set("name", id)
		if rel == "distributionGroup" {
			r.Link("expandDistributionGroup", href+"/expandDistributionGroup")
		} else {
			r.Link("groupContacts", app+"/people/contacts?groupId="+id)
		}
		return r.Link("subscribeToGroupPresence", app+"/people/presenceSubscriptions?groupId="+id)
	}
	return []*representation.Resource{one("pinnedGroup", "pinned"), one("defaultGroup", "default"), one("group", "friends"), one("distributionGroup", "all")}
}

func (x *exchange) myGroups(app string) {
	r := representation.New("myGroups", app+"/people/groups")
	g := groupsOf(app)
	if expand, _ := x.in.String("expand"); expand == "false" {
		x.resource(r.Link("pinnedGroup", g[0].Href).Link("defaultGroup", g[1].Href).LinkAll("group", []string{g[2].Href}).LinkAll("distributionGroup", []string{g[3].Href}))
		return
	}
	x.resource(r.Embed(g[0]).Embed(g[1]).EmbedAll("group", g[2:3]).EmbedAll("distributionGroup", g[3:]))
}

func (x *exchange) group(app, rest string) {
	id, expand, _ := strings.Cut(rest, "/")
	for _, g := range groupsOf(app) {
		if strings.HasSuffix(g.Href, "/"+id) {
			if expand != "" {
				g.EmbedAll("contact", []*representation.Resource{contactResource(app, "bo@contoso.test")})
			}
			x.resource(g)
			return
		}
	}
	x.notFound()
}

// batch answers the parts of a batch one after the other.
func (m *model) batch(x *exchange) {
	_, boundary, found := strings.Cut(x.r.Header.Get("Content-Type"), "boundary=")
	boundary = strings.Trim(boundary, `"`)
	pieces := strings.Split("\r\n"+string(x.body), "\r\n--"+boundary)
	if !found || len(pieces) < 3 {
		x.refuse(http.StatusBadRequest, "BadRequest", "DeserializationFailure")
		return
	}
	var b strings.Builder
	for _, piece := range pieces[1 : len(pieces)-1] {
		_, inner, _ := strings.Cut(piece, "\r\n\r\n")
		line, rest, _ := strings.Cut(inner, "\r\n")
		fields := strings.Fields(line)
		part := httptest.NewRequest(fields[0], fields[1], nil)
		_, accept, _ := strings.Cut(rest, "Accept: ")
		accept, _, _ = strings.Cut(accept, "\r\n")
		part.Header.Set("Accept", accept)
		part.Header.Set("Authorization", "Bearer "+modelToken)
		var res *reply
		if p := part.URL.Path; strings.Contains(p, "/photos/") || strings.HasSuffix(p, "/events") || strings.HasSuffix(p, "/batch") {
			y := &exchange{r: part, res: &reply{header: http.Header{}}, kind: "application/json"}
			y.refuse(http.StatusForbidden, "Forbidden", "")
			res = y.res
		} else {
			res = m.serve(part, nil)
		}
		fmt.Fprintf(&b, "--out\r\nContent-Type: application/http; msgtype=response\r\n\r\nHTTP/1.1 %d %s\r\nCache-Control: no-cache\r\nContent-Type: %s\r\n\r\n%s\r\n",
			res.status, http.StatusText(res.status), res.header.Get("Content-Type"), res.body)
	}
	x.raw(`multipart/batching; boundary="out"`, b.String()+"--out--\r\n")
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
