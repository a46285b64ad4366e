package graphsim

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
)

// call is a request to Graph on its way.
type call struct {
	r    *http.Request
	now  time.Time
	base string // root of links, with version
	principal
	requestID, clientRequestID string
	// args are the path's variables; ids counts those of a bulk read.
	args []string
	ids  int
}

func (t *Tenant) newCall(r *http.Request) *call {
	id := newRequestID()
	return &call{
		r: r, now: t.clock.Now(), base: baseURL(r) + "/v1.0",
		requestID: id, clientRequestID: or(r.Header.Get("client-request-id"), id),
	}
}

// serveGraph takes a request through token, meter, limit and faults to its
// route. Everything that arrives is counted, also what is refused.
func (t *Tenant) serveGraph(w http.ResponseWriter, r *http.Request) {
	c := t.newCall(r)
	w.Header().Set("request-id", c.requestID)
	w.Header().Set("client-request-id", c.clientRequestID)
	w.Header().Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Simulated","Slice":"E","Ring":"1"}}`)

	var refused error
	c.principal, refused = t.authenticate(c)
	to, problem := t.graph.find(c)
	admitted, wait := t.limits.pass(c.appID, to != nil && to.presence, t.clock.Now)
	name := "other"
	var paid charge
	if to != nil {
		name = to.name()
		paid = t.identity.pass(c.appID, to.cost(c), t.clock.Now)
	}
	entry := Entry{Time: c.now, Method: r.Method, Route: name, URL: r.URL.RequestURI(), ClientID: c.appID, RequestID: c.requestID}

	fault, _ := t.faults.draw(name)
	if fault.Reset {
		t.stats.add(entry)
	}
	if t.misbehave(w, r, fault, c) {
		if !fault.Reset {
			t.stats.add(entry)
		}
		return
	}
	var answer reply
	switch {
	case fault.replaces():
		answer = fault.reply(c)
	case refused != nil:
		answer = c.asReply(refused)
	case problem != nil:
		answer = c.asReply(problem)
	case !admitted:
		answer = t.throttled(c, wait)
	case paid.refused:
		answer = t.throttled(c, paid.wait)
	default:
		answer = t.serveRoute(c, to)
	}
	entry.Status, entry.IDs = answer.status, c.ids
	t.stats.add(entry)
	t.tell(w.Header(), c, paid, answer.status)
	t.deliver(w, r, answer, fault)
}

func (t *Tenant) serveRoute(c *call, to *route) reply {
	if to.delegatedOnly && !c.delegated {
		return c.asReply(notDelegated())
	}
	if !to.allows(c) {
		return c.asReply(&graphError{
			status: http.StatusForbidden, code: "Authorization_RequestDenied",
			message: "Insufficient privileges to complete the operation.",
		})
	}
	answer, err := to.serve(c)
	if err != nil {
		return c.asReply(err)
	}
	return answer
}

// authenticate checks the bearer token. The principal is filled in as soon as
// the signature holds, so that also a refused request is counted for its app.
func (t *Tenant) authenticate(c *call) (principal, error) {
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return principal{}, t.unauthorized("Access token is empty.", "")
	}
	key, err := t.entra.key()
	if err != nil {
		return principal{}, err
	}
	claims, err := t.entra.verified.read(token, key)
	switch {
	case errors.Is(err, errMalformed):
		return principal{}, t.unauthorized("CompactToken parsing failed with error code: 80049217", "")
	case err != nil:
		return principal{}, t.unauthorized("Access token validation failure. Invalid signature.", "")
	}
	p := principalOf(claims)
	expected := jwt.Expected{AnyAudience: t.entra.audiences(c.base), Time: c.now}
	switch err := claims.ValidateWithLeeway(expected, 0); {
	case errors.Is(err, jwt.ErrExpired):
		return p, t.unauthorized("Lifetime validation failed, the token is expired.", "")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return p, t.unauthorized("Access token validation failure. Invalid audience.", "")
	case err != nil:
		return p, t.unauthorized("Access token validation failure.", "")
	case claims.TenantID != t.cfg.TenantID:
		return p, t.unauthorized("Access token validation failure. Invalid tenant.", "")
	}
	switch refused, challenge := t.faults.refuse(p); {
	case refused && challenge:
		return p, t.unauthorized("Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenCreatedWithOutdatedPolicies",
			fmt.Sprintf(`{"access_token":{%s:{"essential":true,"value":"%d"}}}`, challengeMark, c.now.Unix()))
	case refused:
		return p, t.unauthorized("Access token has been revoked.", "")
	}
	return p, nil
}

// challengeMark is the claim a challenge asks for; a token request that asks
// for it answers the challenge.
const challengeMark = `"nbf"`

// audiences are the names under which Graph accepts tokens: those of the
// clouds and the addresses of the simulator.
func (e *entra) audiences(base string) jwt.Audience {
	e.mu.Lock()
	defer e.mu.Unlock()
	own := strings.TrimSuffix(base, "/v1.0")
	return jwt.Audience(append(slices.Concat(graphRoots, e.roots), own))
}

func (t *Tenant) unauthorized(message, challenge string) error {
	value := fmt.Sprintf(`Bearer realm="", authorization_uri="%s", client_id="%s"`,
		strings.TrimSuffix(t.entra.issuer(""), "v2.0")+"oauth2/v2.0/authorize", graphAppID)
	if challenge != "" {
		value += fmt.Sprintf(`, error="insufficient_claims", claims="%s"`, base64.StdEncoding.EncodeToString([]byte(challenge)))
	} else {
		value += `, error="invalid_token"`
	}
	return &graphError{
		status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: message,
		header: map[string]string{"WWW-Authenticate": value},
	}
}

// options are the query options of OData a route takes.
type options struct{ values url.Values }

// queryOptions parses the query; options that are not allowed are refused as
// Graph refuses what a resource does not support.
func (c *call) queryOptions(allowed ...string) (options, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return options{}, badRequest("The query string is malformed: %v.", err)
	}
	for name, given := range values {
		if !strings.HasPrefix(name, "$") {
			continue
		}
		if !slices.Contains(allowed, name) {
			return options{}, unsupportedQuery("The query option '%s' is not supported for this resource.", name)
		}
		if len(given) != 1 {
			return options{}, badRequest("Query option '%s' was specified more than once, but it must be specified at most once.", name)
		}
	}
	return options{values}, nil
}

// selected lists the properties of $select, nil if there is no $select.
func (o options) selected() []string {
	var names []string
	for name := range strings.SplitSeq(o.values.Get("$select"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
