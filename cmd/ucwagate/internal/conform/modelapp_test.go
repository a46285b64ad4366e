package conform_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"ucwagate/ucwaapi/representation"
)

// inApplication serves what needs the token.
func (m *model) inApplication(x *exchange, path string) {
	var body []byte
	if x.r.Method != http.MethodGet && !strings.HasSuffix(path, "/batch") {
		body = x.body
	}
	var err error
	if x.in, err = representation.ParseInput(x.r.URL.RawQuery, x.r.Header.Get("Content-Type"), body); errors.Is(err, representation.ErrUnsupportedMediaType) {
		x.refuse(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "UnsupportedMediaType")
		return
	} else if err != nil {
		x.refuse(http.StatusBadRequest, "BadRequest", "DeserializationFailure")
		return
	}
	if strings.HasSuffix(path, "/events") {
		m.events(x, strings.TrimSuffix(path, "/events"))
		return
	}
	if strings.HasSuffix(path, "/batch") {
		m.batch(x)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if path == applications {
		m.applications(x)
		return
	}
	id, rest, _ := strings.Cut(strings.TrimPrefix(path, applications+"/"), "/")
	a := m.apps[id]
	if a == nil {
		x.refuse(http.StatusNotFound, "NotFound", "ApplicationNotFound")
		return
	}
	m.serveApplication(x, a, id, rest)
}

func (m *model) applications(x *exchange) {
	switch x.r.Method {
	case http.MethodOptions:
		x.raw("application/json; charset=utf-8", `{"metadata":[{"httpMethod":"POST","parameters":[{"name":"culture"}]}]}`)
		return
	case http.MethodGet:
		var list []*representation.Resource
		for _, id := range sortedKeys(m.apps) {
			list = append(list, m.apps[id].resource(id, ""))
		}
		x.resource(representation.New("applications", applications).EmbedAll("application", list))
		return
	}
	var wrong []string
	for _, name := range []string{"culture", "userAgent", "endpointId"} {
		if s, _ := x.in.String(name); s == "" || len(s) > 100 {
			wrong = append(wrong, name)
		}
	}
	if wrong != nil {
		x.invalid(wrong...)
		return
	}
	endpoint, _ := x.in.String("endpointId")
	instance, _ := x.in.String("instanceId")
	id := ""
	for k, a := range m.apps {
		if a.endpoint == endpoint {
			id = k
		}
	}
	if id == "" {
		m.last++
		id = strconv.Itoa(1000 + m.last)
		m.apps[id] = &modelApplication{
			href: applications + "/" + id, endpoint: endpoint, next: 1, etag: 1, arrived: make(chan struct{}),
			instances: map[string]bool{}, subscriptions: map[string][]string{}, groups: map[string]bool{},
		}
	}
	a := m.apps[id]
	known := instance != "" && a.instances[instance]
	a.instances[instance] = true
	a.cookie(x)
	x.created(a.resource(id, instance))
	if known {
		x.res.status = http.StatusOK
	}
}

func (a *modelApplication) cookie(x *exchange) {
	x.header("Set-Cookie", "cwt_ucwa=photo; path="+a.href+"/photos; secure; HttpOnly")
}

func (a *modelApplication) position() int {
	if a.sent != nil {
		return a.sent.ack
	}
	return a.next
}

func (a *modelApplication) resource(id, instance string) *representation.Resource {
	self, events, kind := a.href, fmt.Sprintf("%s/events?ack=%d", a.href, a.position()), ""
	if instance != "" {
		kind = "Browser"
		self, events = self+"?instanceId="+instance, events+"&instanceId="+instance
	}
	return representation.New("application", self).Set("culture", "en-US").Set("userAgent", "ucwagate-conform").Set("endpointId", a.endpoint).
		SetNonEmpty("instanceId", instance).SetNonEmpty("type", kind).Set("id", id).
		Link("policies", a.href+"/policies").Link("batch", a.href+"/batch").Link("events", events).Link("reportMyNetwork", a.href+"/reportMyNetwork").Tag().
		Embed(a.me()).Embed(a.people()).Embed(representation.New("onlineMeetings", a.href+"/onlineMeetings")).Embed(a.communication())
}

func (a *modelApplication) me() *representation.Resource {
	me := a.href + "/me"
	r := representation.New("me", me).Set("name", colleagues[modelUser]).Set("uri", "sip:"+modelUser).Link("photo", a.href+"/photos/"+modelUser)
	if !a.available {
		return r.Link("makeMeAvailable", me+"/makeMeAvailable")
	}
	return r.Link("presence", me+"/presence").Link("note", me+"/note").Link("location", me+"/location").Link("reportMyActivity", me+"/reportMyActivity")
}

func (a *modelApplication) people() *representation.Resource {
	p := a.href + "/people"
	return representation.New("people", p).Link("presenceSubscriptions", p+"/presenceSubscriptions").Link("subscribedContacts", p+"/subscribedContacts").
		Link("presenceSubscriptionMemberships", p+"/presenceSubscriptionMemberships").Link("myGroups", p+"/groups").Link("myGroupMemberships", p+"/groupMemberships").
		Link("myContacts", p+"/contacts").Link("myPrivacyRelationships", p+"/privacyRelationships").
		Link("myContactsAndGroupsSubscription", p+"/contactsAndGroupsSubscription").Link("search", p+"/search")
}

func (a *modelApplication) communication() *representation.Resource {
	r := representation.New("communication", a.href+"/communication")
	if a.available {
		r.SetList("supportedModalities", []string{"Messaging"})
	} else {
		r.SetList("supportedModalities", nil)
	}
	return r.SetList("supportedMessageFormats", []string{"Plain"}).Set(modelGUID, "please pass this in a PUT request").
		Link("conversations", a.href+"/communication/conversations?filter=active").Tag()
}

func (m *model) serveApplication(x *exchange, a *modelApplication, id, rest string) {
	switch {
	case rest == "" && x.r.Method == http.MethodDelete:
		delete(m.apps, id)
		x.nothing()
	case rest == "":
		a.cookie(x)
		instance, _ := x.in.String("instanceId")
		x.resource(a.resource(id, instance))
	case rest == "me":
		x.resource(a.me())
	case rest == "me/makeMeAvailable":
		a.makeAvailable(x)
	case strings.HasPrefix(rest, "me/") || rest == "reportMyActivity":
		m.mine(x, a, rest)
	case rest == "people" && x.r.Method != http.MethodGet:
		x.notAllowed()
	case rest == "people":
		x.resource(a.people())
	case rest == "onlineMeetings":
		x.resource(representation.New("onlineMeetings", a.href+"/onlineMeetings"))
	case rest == "communication/conversations":
		x.resource(representation.New("conversations", a.href+"/communication/conversations?filter=active").EmbedAll("conversation", nil))
	case rest == "communication":
		a.putCommunication(x)
	case rest == "policies":
		x.resource(representation.New("policies", a.href+"/policies").Set("photos", "Enabled"))
	case rest == "reportMyNetwork":
		if _, ok := x.in.String("clientNetworkType"); !ok {
			x.invalid("clientNetworkType")
			return
		}
		x.header("Location", a.href+"/reportMyNetwork")
		x.res.status = http.StatusCreated
	case strings.HasPrefix(rest, "photos/"):
		x.photo(strings.TrimPrefix(rest, "photos/"))
	default:
		a.servePeople(x, strings.TrimPrefix(rest, "people/"))
	}
}

func (a *modelApplication) makeAvailable(x *exchange) {
	if a.available {
		x.refuse(http.StatusConflict, "Conflict", "AlreadyExists")
		return
	}
	a.available = true
	me := a.href + "/me"
	a.raise(modelEvent{"communication", "updated", "communication", a.href + "/communication", "", ""}, modelEvent{"me", "updated", "me", me, "", ""},
		modelEvent{"me", "added", "presence", me + "/presence", "", ""}, modelEvent{"me", "added", "note", me + "/note", "", ""}, modelEvent{"me", "added", "location", me + "/location", "", ""})
	x.nothing()
}

func (m *model) mine(x *exchange, a *modelApplication, rest string) {
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	href := a.href + "/" + rest
	switch {
	case !a.available:
		x.refuse(http.StatusConflict, "Conflict", "MakeMeAvailableRequired")
	case x.r.Method == http.MethodPost:
		if message, _ := x.in.String("message"); name == "note" {
			m.note = message
			m.notes = append(m.notes, message)
			a.raise(modelEvent{"me", "updated", "note", href, "", ""})
		}
		x.nothing()
	case name == "presence":
		x.resource(representation.New(name, href).Set("availability", "Online"))
	case name == "note":
		x.resource(representation.New(name, href).Set("message", m.note).Set("type", "Personal"))
	default:
		x.resource(representation.New(name, href).Set("location", "Madrid"))
	}
}

func (a *modelApplication) putCommunication(x *exchange) {
	if x.r.Method == http.MethodPut {
		match := x.r.Header.Get("If-Match")
		_, passed := x.in.String(modelGUID)
		switch {
		case match == "":
			x.refuse(http.StatusPreconditionRequired, "PreconditionRequired", "")
			return
		case strings.Trim(match, `"`) != a.communication().ETag():
			x.refuse(http.StatusPreconditionFailed, "PreconditionFailed", "")
			return
		case !passed:
			x.invalid(modelGUID)
			return
		}
	}
	x.resource(a.communication())
}

func (a *modelApplication) servePeople(x *exchange, rest string) {
	p := a.href + "/people"
	first, below, _ := strings.Cut(rest, "/")
	switch first {
	case "contacts":
		if group, ok := x.in.String("groupId"); ok {
			x.contactsOf(a.href, "groupContacts", p+"/contacts?groupId="+group, []string{"bo@contoso.test"})
			return
		}
		x.contactsOf(a.href, "myContacts", p+"/contacts", []string{"bo@contoso.test", "cy@contoso.test"})
	case "groups":
		if below == "" {
			x.myGroups(a.href)
			return
		}
		x.group(a.href, below)
	case "groupMemberships":
		x.resource(representation.New("myGroupMemberships", p+"/groupMemberships").EmbedAll("myGroupMembership", []*representation.Resource{a.groupMembership()}))
	case "groupMembership":
		x.resource(a.groupMembership())
	case "privacyRelationships":
		x.resource(representation.New("myPrivacyRelationships", p+"/privacyRelationships").EmbedAll("myPrivacyRelationship", []*representation.Resource{a.privacy()}))
	case "privacyRelationship":
		x.resource(a.privacy())
	case "contactsAndGroupsSubscription":
		a.contactsAndGroupsSubscription(x, below)
	case "search":
		x.search(a.href)
	case "subscribedContacts":
		var hrefs []string
		for _, address := range a.watched() {
			hrefs = append(hrefs, p+"/"+address)
		}
		x.resource(representation.New("subscribedContacts", p+"/subscribedContacts").LinkAll("contact", hrefs))
	case "presenceSubscriptions":
		a.presenceSubscriptions(x, below)
	case "presenceSubscriptionMemberships":
		a.memberships(x, below)
	default:
		x.contact(a.href, rest)
	}
}

func (a *modelApplication) groupMembership() *representation.Resource {
	return representation.New("myGroupMembership", a.href+"/people/groupMembership").Link("contact", a.href+"/people/bo@contoso.test").Link("pinnedGroup", a.href+"/people/groups/pinned")
}

func (a *modelApplication) privacy() *representation.Resource {
	return representation.New("myPrivacyRelationship", a.href+"/people/privacyRelationship").Set("relationshipLevel", "Workgroup").LinkAll("contact", []string{a.href + "/people/bo@contoso.test"})
}
