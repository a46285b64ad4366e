package graphsim

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/graphsim/limit"
)

// identityWindow is the window of the identity service's limit.
const identityWindow = 10 * time.Second

// identityLimit is how many resource units the identity service admits per app
// and tenant in a window.
//
// Source: https://learn.microsoft.com/en-us/graph/throttling-limits#identity-and-access-service-limits
func identityLimit(users int) int {
	switch {
	case users < 50:
		return 3_500
	case users <= 500:
		return 5_000
	default:
		return 8_000
	}
}

// warnFrom is the part of the limit from which answers tell how much is used,
// mostTold the most they tell.
const (
	warnFrom = 0.8
	mostTold = 1.8
)

// cost is how many units a request on the route is charged; 0 where the
// identity service is not asked.
func (r *route) cost(c *call) int {
	if r.units == 0 {
		return 0
	}
	units := r.units
	query := c.r.URL.Query()
	if query.Has("$select") {
		units--
	}
	if query.Has("$expand") {
		units++
	}
	if top, err := strconv.Atoi(query.Get("$top")); err == nil && top < 20 {
		units--
	}
	return max(units, 1)
}

// identityCosts are the units of routes that do not cost one.
//
// Source: as for identityLimit
var identityCosts = map[string]int{
	"/users":               2,
	"/users/{id}/memberOf": 2, "/users/{id}/memberOf/microsoft.graph.group": 2, "/users/{id}/transitiveMemberOf": 2,
	"/groups/{id}/members": 3, "/groups/{id}/members/microsoft.graph.user": 3,
	"/groups/{id}/transitiveMembers": 5, "/groups/{id}/transitiveMembers/microsoft.graph.user": 5,
}

// ofOthers are the routes that the Outlook services and the one of
// subscriptions answer.
var ofOthers = []string{"/users/{id}/photo", "/users/{id}/people", "/users/{id}/contact", "/subscriptions"}

// setUnits says what the routes of the directory cost.
func setUnits(routes []*route) {
	for _, r := range routes {
		other := r.presence
		for _, prefix := range ofOthers {
			other = other || strings.HasPrefix(r.path, prefix)
		}
		if other {
			continue
		}
		r.units = max(identityCosts[r.path], 1)
	}
}

// identityGates count the units of each app.
type identityGates struct {
	limit int // 0: none

	mu    sync.Mutex
	gates map[string]*limit.Units
	spent int
}

func newIdentityGates(cfg Config) *identityGates {
	g := &identityGates{gates: make(map[string]*limit.Units)}
	if !cfg.NoIdentityLimit {
		g.limit = or(cfg.IdentityUnits, identityLimit(cfg.Users))
	}
	return g
}

// charge is what a request was charged.
type charge struct {
	units   int
	refused bool
	wait    time.Duration
	used    float64 // part of the limit
}

// pass charges a request of an app. now is read under the lock, so that it
// never goes back from one request to the next.
func (g *identityGates) pass(app string, units int, now func() time.Time) charge {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spent += units
	if g.limit == 0 || units == 0 {
		return charge{units: units}
	}
	gate := g.gates[app]
	if gate == nil {
		gate = limit.NewUnits(g.limit, identityWindow)
		g.gates[app] = gate
	}
	admitted, wait, used := gate.Pass(now(), units)
	return charge{units: units, refused: !admitted, wait: wait, used: used}
}

func (g *identityGates) totals() (spent, worst int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, gate := range g.gates {
		worst = max(worst, gate.Worst())
	}
	return g.spent, worst
}

func (g *identityGates) resetTotals() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spent = 0
	for _, gate := range g.gates {
		gate.ResetWorst()
	}
}

// tell sets the headers by which the identity service speaks of its limit.
func (t *Tenant) tell(h http.Header, c *call, paid charge, status int) {
	if paid.units == 0 {
		return
	}
	if status >= 200 && status < 300 {
		h.Set("x-ms-resource-unit", strconv.Itoa(paid.units))
	}
	if paid.used >= warnFrom {
		h.Set("x-ms-throttle-limit-percentage", strconv.FormatFloat(min(paid.used, mostTold), 'f', 2, 64))
	}
	if paid.refused && status == http.StatusTooManyRequests {
		h.Set("x-ms-throttle-scope", "Tenant_Application/ReadWrite/"+c.appID+"/"+t.cfg.TenantID)
		h.Set("x-ms-throttle-information", "ResourceUnitLimitExceeded")
	}
}
