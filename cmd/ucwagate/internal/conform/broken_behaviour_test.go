package conform_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/conform"
)

// brokenBehaviour is the second half of the table.
func brokenBehaviour() map[string]brokenServer {
	return map[string]brokenServer{
		"me reports activity from the start":             {rule: "me.before", f: swap(`"makeMeAvailable":{"href"`, `"reportMyActivity":{"href":"/ucwa/oauth/v1/applications/1/x"},"makeMeAvailable":{"href"`)},
		"me has no photo":                                {rule: "me.photo", f: swapMatch(`"photo":\{[^}]*\},?`, "")},
		"presence answers too early":                     {rule: "me.early", f: at("/presence", when(409, pretend(200, "{}")))},
		"makeMeAvailable has a body":                     {rule: "me.make-available", f: at("/makeMeAvailable", status(204, 201)), also: []string{"application.location"}},
		"note is not added":                              {rule: "me.package", f: at("/events", swapMatch(`\{"link":\{"rel":"note","href":"[^"]*"\},"type":"added"\},`, ""))},
		"communication is not embedded":                  {rule: "me.communication", f: at("/events", swapMatch(`,"_embedded":\{"communication":.*?\},"type"`, `,"type"`))},
		"another resource is embedded":                   {rule: "events.event", f: at("/events", swap(`"_embedded":{"communication"`, `"_embedded":{"conversation"`)), also: []string{"me.communication"}},
		"me still offers makeMeAvailable":                {rule: "me.after", f: swap(`"presence":{"href"`, `"makeMeAvailable":{"href":"/ucwa/oauth/v1/applications/1/x"},"presence":{"href"`)},
		"makeMeAvailable may be called twice":            {rule: "me.again", f: at("/makeMeAvailable", status(409, 204)), also: []string{"headers.no-body"}},
		"modalities are forgotten":                       {rule: "me.modalities", f: swap(`"supportedModalities":["Messaging"]`, `"supportedModalities":[]`)},
		"reportMyActivity wants JSON":                    {rule: "me.report-activity", f: reportWantsJSON},
		"reportMyActivity has one path":                  {rule: "me.report-activity-path", f: onePath},
		"a note is not published":                        {rule: "me.publish", f: at("/me/note", swapMatch(`"message":"conform[^"]*"`, `"message":""`))},
		"a contact has no note":                          {rule: "contacts.links", f: swapMatch(`"contactNote":\{[^}]*\},`, "")},
		"people has no search":                           {rule: "contacts.people", f: swapMatch(`,"search":\{[^}]*\}`, "")},
		"an empty list of contacts is left out":          {rule: "contacts.embedded", f: at("/contacts", swapMatch(`"_embedded":\{"contact":\[.*\]\},`, "")), also: []string{"contacts.expand"}},
		"expand does nothing for contacts":               {rule: "contacts.expand", f: at("/contacts", asked("expand", swapMatch(`"contact":\[.*?\]`, `"contact":[]`)))},
		"an embedded contact is an excerpt":              {rule: "contacts.same", f: at("/contacts", swap(`"workPhoneNumber":"tel:+15550100",`, ""))},
		"subscribedContacts forgets somebody":            {rule: "contacts.subscribed", f: at("/subscribedContacts", swapMatch(`\{"href":"[^"]*ana@contoso.test"\},`, ""))},
		"a PUT on the privacy is ignored":                {rule: "contacts.privacy-put", f: at("/privacyRelationship", status(405, 200))},
		"a relationship is with nobody":                  {rule: "contacts.privacy-list", f: at("/privacyRelationships", swap(`"contact":`, `"contacts":`)), also: []string{"arrays.single"}},
		"there is no pinnedGroup":                        {rule: "groups.system", f: at("/groups", swap(`"pinnedGroup":`, `"myOrganizationGroup":`)), also: []string{"identity.rel"}},
		"an empty array of groups is left out":           {rule: "groups.arrays", f: at("/groups", swapMatch(`"group":\[.*?\],"dist`, `"dist`)), also: []string{"groups.expand"}},
		"the arrays come first":                          {rule: "groups.order", f: at("/groups", swapMatch(`"_embedded":\{(.*?),"group":(\[.*?\]),"distributionGroup":(\[.*?\])\}`, `"_embedded":{"group":$2,"distributionGroup":$3,$1}`))},
		"a group has no members":                         {rule: "groups.links", f: at("/groups/pinned", swapMatch(`"groupContacts":\{[^}]*\},`, ""))},
		"a distribution group has members":               {rule: "groups.distribution", f: at("/groups/all", swap(`"expandDistributionGroup"`, `"groupContacts"`)), also: []string{"identity.rel", "groups.contacts", "identity.href"}},
		"expand does nothing for groups":                 {rule: "groups.expand", f: at("/groups", asked("expand", swapMatch(`"group":\[.*?\],`, "")))},
		"an expanded group is empty":                     {rule: "groups.expansion", f: at("/expandDistributionGroup", swap(`"contact":[`, `"contacts":[`)), also: []string{"identity.rel", "arrays.single"}},
		"a group is not expanded, and not for its size":  {rule: "groups.expansion", f: at("/expandDistributionGroup", refuse("Forbidden", "LimitExceeded")), also: []string{"href.works"}},
		"a group is too large with another status":       {rule: "groups.expansion", f: at("/expandDistributionGroup", both(refuse("Conflict", "TooManyContacts"), status(403, 409))), also: []string{"href.works"}},
		"a list of contacts is too large":                {rule: "href.works", f: at("/contacts", asked("groupId=friends", refuse("Forbidden", "TooManyContacts"))), also: []string{"groups.contacts"}},
		"a group of contacts is too large":               {rule: "subscriptions.group", f: asked("groupId=pinned", on("POST", refuse("Forbidden", "TooManyContacts")))},
		"a distribution group is not subscribed to":      {rule: "subscriptions.group", f: asked("groupId=all", on("POST", refuse("Forbidden", "OperationNotSupported")))},
		"the refusal of a large group has another shape": {rule: "groups.expansion", f: at("/expandDistributionGroup", pretend(403, `{"code":"Forbidden","subcode":"TooManyContacts","limit":"250"}`)), also: []string{"href.works"}},
		"contacts of a group are myContacts":             {rule: "groups.contacts", f: at("/contacts", swap(`"groupContacts"`, `"myContacts"`)), also: []string{"identity.rel"}},
		"a membership is of no group":                    {rule: "groups.memberships", f: at("/groupMemberships", swap(`"pinnedGroup"`, `"nothing"`))},
		"search knows no names":                          {rule: "search.name", f: at("/search", asked("query=Bo", swapMatch(`bo@`, `cy@`)))},
		"search knows no addresses":                      {rule: "search.address", f: at("/search", asked("sip:", pretend(200, `{"moreResultsAvailable":false,"_links":{"self":{"href":"/ucwa/oauth/v1/applications/1/people/search?query=x"}},"rel":"search"}`)))},
		"a search forgets its query":                     {rule: "search.result", f: at("/search", swapMatch(`/people/search\?[^"]*"`, `/people/search"`))},
		"limit does not limit":                           {rule: "search.limit", f: at("/search", asked("limit=1", swapMatch(`"contact":\[(\{.*\})\]`, `"contact":[$1,$1]`)))},
		"nothing found is an empty array":                {rule: "search.nothing", f: at("/search", asked("nobody", swap(`"rel":"search"`, `"_embedded":{"contact":[]},"rel":"search"`)))},
		"a search for nothing finds nothing":             {rule: "search.missing", f: at("/search", status(400, 404)), also: []string{"enums.error-code", "errors.parameters"}},
		"a photo is a PNG":                               {rule: "photos.image", f: when(200, ofAna(set("Content-Type", "image/png"))), also: []string{"photos.size", "headers.no-cache"}},
		"a photo may be cached by all":                   {rule: "photos.headers", f: ofAna(set("Cache-Control", "no-cache"))},
		"a photo comes again and again":                  {rule: "photos.not-modified", f: ofAna(when(304, pretend(200, "\xff\xd8\xff")))},
		"the cookie is not enough":                       {rule: "photos.cookie", f: noCookie},
		"a photo has one size":                           {rule: "photos.size", f: asked("size=", pretend(400, ""))},
		"no photo is an empty photo":                     {rule: "photos.missing", f: at("/photos/cy@contoso.test", pretend(204, "")), also: []string{"headers.no-body"}},
		"the batch is multipart/mixed":                   {rule: "batch.answer", f: at("/batch", swapHeader("Content-Type", "multipart/batching", "multipart/mixed"))},
		"the parts have another type":                    {rule: "batch.framing", f: at("/batch", swap("; msgtype=response", ";msgtype=response"))},
		"lines end in LF":                                {rule: "batch.framing", f: at("/batch", swap("Cache-Control: no-cache\r\n", "Cache-Control: no-cache\n"))},
		"Content-Type comes first":                       {rule: "batch.content-type-last", f: at("/batch", swapMatch("(Cache-Control: no-cache\r\n)(Content-Type: [^\r]*\r\n)", "$2$1"))},
		"a body in a batch has lines":                    {rule: "batch.one-line", f: at("/batch", swap(`,"rel":"me"`, ",\r\n\"rel\":\"me\""))},
		"the parts come out of order":                    {rule: "batch.order", f: at("/batch", swapMatch(`"rel":"me"`, `"rel":"people"`))},
		"a photo is served in a batch":                   {rule: "batch.forbidden", f: at("/batch", swap("HTTP/1.1 403", "HTTP/1.1 200"))},
		"a quoted boundary is not understood":            {rule: "batch.tolerance", f: at("/batch", quotedBoundary)},
		"a malformed batch is an empty one":              {rule: "batch.malformed", f: at("/batch", status(400, 200))},
		"communication begins with its rel":              {rule: "stubs.communication", f: at("/communication", swapMatch(`^\{`, `{"x":"y",`)), also: []string{"errors.shape"}},
		"there are no meetings":                          {rule: "stubs.meetings", f: at("/onlineMeetings", pretend(404, `{"code":"NotFound"}`)), also: []string{"href.works", "deletion.gone"}},
		"a PUT answers 204":                              {rule: "stubs.put", f: on("PUT", at("/communication", when(200, pretend(204, "")))), also: []string{"headers.no-body"}},
		"a PUT needs no If-Match":                        {rule: "stubs.put-required", f: status(428, 200)},
		"a PUT takes any ETag":                           {rule: "stubs.put-failed", f: status(412, 200)},
		"a PUT needs no GUID":                            {rule: "stubs.put-pass-through", f: at("/communication", status(400, 200))},
		"a report of the network is nothing":             {rule: "policies.network", f: at("/reportMyNetwork", status(201, 204)), also: []string{"headers.no-body"}},

		"a subscription answers 200":            {rule: "subscriptions.create", f: at("/presenceSubscriptions", on("POST", status(201, 200))), also: subscriptionRules},
		"a group's subscription can grow":       {rule: "subscriptions.links", f: swapMatch(`("memberships":(\{[^}]*presenceSubscriptionId=pinned"\}))`, `$1,"addToPresenceSubscription":$2`)},
		"subscriptions are not listed":          {rule: "subscriptions.listed", f: at("/presenceSubscriptions", on("GET", swapMatch(`"presenceSubscription":\[.*\]`, `"presenceSubscription":[]`)))},
		"an address is in it twice":             {rule: "subscriptions.members", f: at("/presenceSubscriptionMemberships", on("GET", swapMatch(`"presenceSubscriptionMembership":\[(\{.*?"rel":"[a-zA-Z]*"\})`, `"presenceSubscriptionMembership":[$1,$1`)))},
		"nobody fails everybody":                {rule: "subscriptions.unknown", f: at("/presenceSubscriptions", odd("nobody-")), also: []string{"subscriptions.names", "errors.shape", "subscriptions.create"}},
		"an addition answers 200":               {rule: "subscriptions.add", f: at("/presenceSubscriptionMemberships", status(201, 200)), also: []string{"subscriptions.names"}},
		"a membership stays":                    {rule: "subscriptions.remove", f: kept},
		"an extension makes another":            {rule: "subscriptions.extend", f: asked("duration=10", at("/s1", swap(`"id":"s1"`, `"id":"s2"`)))},
		"uris are needed where they are added":  {rule: "subscriptions.names", f: at("/presenceSubscriptionMemberships", odd(`"uris"`))},
		"a group's subscription has its own id": {rule: "subscriptions.group", f: at("/presenceSubscriptions", swap(`"id":"pinned"`, `"id":"x"`))},
		"a group is subscribed to once":         {rule: "subscriptions.group-again", f: asked("groupId", afterwards(201, pretend(409, reasonJSON("Conflict", "AlreadyExists"))))},
		"9 minutes are taken":                   {rule: "subscriptions.duration", f: at("/presenceSubscriptions", odd(`:9}`)), also: []string{"errors.shape", "errors.parameters"}},
		"no uris are taken":                     {rule: "subscriptions.empty", f: at("/presenceSubscriptions", swap(`"uris"`, `"list"`))},
		"the list stays connected":              {rule: "subscriptions.contacts-and-groups", f: at("/stop", status(204, 200)), also: []string{"headers.length"}},

		"there is no list of senders":          {rule: "events.shape", f: at("/events", swap(`"sender":[]`, `"sender":{}`)), also: []string{"events.resync"}},
		"a sender comes twice":                 {rule: "events.one-block", f: at("/events", swapMatch(`"sender":\[(\{.*\})\]\}$`, `"sender":[$1,$1]}`)), also: []string{"events.subscribed", "me.package"}},
		"next skips a number":                  {rule: "events.ack", f: at("/events", swapMatch(`("next":\{"href":"[^"]*ack=)[0-9]+`, `${1}7`)), also: append([]string{"events.timers", "events.priority", "events.replaced", "events.unsubscribed", "events.own-address"}, channelRules...)},
		"the subscription comes first":         {rule: "events.subscribed", f: at("/events", swapMatch(`(\{"link":\{"rel":"contact",.*)(\{"link":\{"rel":"presenceSubscription","href":"[^"]*"\},"type":"added"\}),`, "$2,$1"))},
		"a contact has gone without an in":     {rule: "events.unsubscribed", f: at("/events", swapMatch(`,"in":\{[^}]*\},"type":"deleted"`, `,"type":"deleted"`))},
		"a presence has no in":                 {rule: "events.event", f: at("/events", swapMatch(`,"in":\{[^}]*\},"type":"updated"`, `,"type":"updated"`)), also: []string{"events.subscribed", "events.own-address"}},
		"one's own presence is not told":       {rule: "events.own-address", f: at("/events", swapMatch(`,?\{"link":\{"rel":"contactPresence","href":"[^"]*ana@[^}]*\},"in":\{[^}]*\},"type":"updated"\}`, ``)), also: []string{"events.replay", "json.syntax", "events.shape"}},
		"a package is not sent again":          {rule: "events.replay", f: at("/events", afterwards(200, swapMatch(`"type":"updated"`, `"type":"added"`)))},
		"a wrong number is an error":           {rule: "events.resync", f: at("/events", asked("ack=99999", pretend(400, reasonJSON("BadRequest", ""))))},
		"resync comes with next":               {rule: "events.resync", f: at("/events", swapMatch(`("resync":(\{[^}]*\}))`, `$1,"next":$2`))},
		"the application says it is elsewhere": {rule: "events.position", f: on("GET", swapMatch(`"events":\{"href":"([^"]*)ack=[0-9]+`, `"events":{"href":"${1}ack=9`))},
		"a timer out of range is refused":      {rule: "events.timers", f: asked("medium=100000", pretend(400, reasonJSON("BadRequest", "")))},
		"who is replaced gets nothing":         {rule: "events.replaced", f: asked("priority=2", when(409, pretend(200, "{}"))), also: []string{"events.shape", "enums.error-code"}},
		"who is less important gets something": {rule: "events.priority", f: asked("priority=1", when(409, swap("PGetReplaced", "AnotherOperationPending")))},
	}
}

var subscriptionRules = []string{"subscriptions.unknown", "subscriptions.names", "subscriptions.group", "subscriptions.group-again"}

func reportWantsJSON(r *http.Request, res *reply) {
	if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
		at("/reportMyActivity", status(204, 415))(r, res)
	}
}

func onePath(r *http.Request, res *reply) {
	if !strings.HasSuffix(r.URL.Path, "/me/reportMyActivity") {
		at("/reportMyActivity", status(204, 404))(r, res)
	}
}

// ofAna limits a mutation to one photo.
func ofAna(f mutation) mutation { return at("/photos/ana@contoso.test", f) }

func noCookie(r *http.Request, res *reply) {
	if r.Header.Get("Cookie") != "" {
		res.status = http.StatusUnauthorized
	}
}

func quotedBoundary(r *http.Request, res *reply) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/batching; ") {
		res.status = http.StatusBadRequest
	}
}

// kept shows a membership that was deleted.
func kept(r *http.Request, res *reply) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, ",") && res.status == http.StatusNotFound {
		res.status = http.StatusOK
	}
}

// allBroken is the whole table.
func allBroken() map[string]brokenServer {
	all := brokenServers()
	maps.Copy(all, brokenBehaviour())
	return all
}

// TestEveryRuleHasABrokenServer keeps the table of broken servers complete.
func TestEveryRuleHasABrokenServer(t *testing.T) {
	covered := map[string]bool{
		"both.properties": true, "both.links": true, "both.embedded": true, // a test of their own
		"token.status": true, "headers.answer": true, "discovery.user": true, "token.diagnostics": true, "token.content-type": true, // see TestAWalkEndsWhereItCannotGoOn
		"discovery.no-port": true, // the default port is not a test's to use
	}
	for _, b := range allBroken() {
		covered[b.rule] = true
	}
	var missing []string
	for _, r := range conform.Rules() {
		if !covered[r.ID] {
			missing = append(missing, r.ID)
		}
	}
	require.Empty(t, missing)
}
