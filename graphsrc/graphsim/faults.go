package graphsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// Faults is the fault dial. The zero value is a tenant without faults.
type Faults struct {
	// Routes are faults by route name (as in Stats.ByRoute, with or without
	// the method); "*" means every route of Graph, and a named route goes
	// before it.
	Routes map[string]RouteFault `json:"routes,omitempty"`
	// Bulk bends the answers of getPresencesByUserId.
	Bulk BulkFault `json:"bulk,omitzero"`
	// Presence bends presence objects wherever they are read.
	Presence PresenceFault `json:"presence,omitzero"`
	// Sequence bends sequenceNumber: "regress", "equal" or "longer".
	Sequence string `json:"sequence,omitempty"`
	// UnknownUsers decides what presence reads say about ids that are no
	// user's: "omit" (the default; a single read answers 404),
	// "presenceUnknown", "offline", or "error" for a refusal of the request.
	UnknownUsers string `json:"unknownUsers,omitempty"`
	// Throttle shapes the answers of the request limit itself.
	Throttle ThrottleFault `json:"throttle,omitzero"`
	Auth     AuthFault     `json:"auth,omitzero"`
	Delta    DeltaFault    `json:"delta,omitzero"`
	// Notify bends change notifications.
	Notify NotifyFault `json:"notify,omitzero"`
}

// RouteFault is what goes wrong on a route.
type RouteFault struct {
	// Status answers with this status instead of serving the request; 0
	// serves it.
	Status int `json:"status,omitempty"`
	// Probability that a request is hit, 0 to 1; absent means 1.
	Probability *float64 `json:"probability,omitempty"`
	// Count is how many requests are hit until the fault is used up; 0 means
	// no end.
	Count int `json:"count,omitempty"`
	// RetryAfter is the value of Retry-After, or "date" (an HTTP date five
	// seconds ahead), "past" (one a minute ago), or "none".
	RetryAfter text `json:"retryAfter,omitempty"`
	// Body is "json" (the default), "json-without-message", "html", "empty",
	// "truncated" (JSON that breaks off) or "garbage"; without a Status it
	// comes with 200.
	Body string `json:"body,omitempty"`
	// DelayMs delays the answer by milliseconds.
	DelayMs int `json:"delayMs,omitempty"`
	// Reset drops the connection without an answer.
	Reset bool `json:"reset,omitempty"`
	// SlowBody sends the answer in pieces of 1 KiB, this many milliseconds
	// apart.
	SlowBody int `json:"slowBody,omitempty"`
	// TruncatedGzip sends a gzip answer that lacks its second half.
	TruncatedGzip bool `json:"truncatedGzip,omitempty"`
}

// BulkFault bends the list of a bulk read. Drop and Duplicate are
// probabilities per entry.
type BulkFault struct {
	Permute   bool    `json:"permute,omitempty"`
	Drop      float64 `json:"drop,omitempty"`
	Duplicate float64 `json:"duplicate,omitempty"`
	// Extra adds an entry nobody asked for.
	Extra bool `json:"extra,omitempty"`
	// UpperCase writes ids in upper case.
	UpperCase bool `json:"upperCase,omitempty"`
}

// PresenceFault bends presence objects.
type PresenceFault struct {
	// UnknownWords answers with availabilities and activities nobody has
	// heard of, CamelCase with known ones that begin in lower case.
	UnknownWords bool `json:"unknownWords,omitempty"`
	CamelCase    bool `json:"camelCase,omitempty"`
	// Nulls answers null for everything that may be null.
	Nulls bool `json:"nulls,omitempty"`
	// Gov leaves out what the government clouds leave out.
	Gov bool `json:"gov,omitempty"`
}

// ThrottleFault shapes the limit's own 429. RetryAfter is as in RouteFault,
// and empty for whole seconds rounded up, or "exact" for a fraction.
type ThrottleFault struct {
	RetryAfter text   `json:"retryAfter,omitempty"`
	Body       string `json:"body,omitempty"`
}

// AuthFault makes Graph refuse good tokens.
type AuthFault struct {
	// Status401 refuses them with 401.
	Status401 bool `json:"status401,omitempty"`
	// Claims adds a claims challenge; a token got in answer to it passes.
	Claims bool `json:"claims,omitempty"`
	// Once ends the fault after one refusal.
	Once bool `json:"once,omitempty"`
	// TokenExpiry is the life of new tokens in seconds; 0 means as configured.
	TokenExpiry int `json:"tokenExpiry,omitempty"`
	// RefreshOnce refuses a refresh token once it has been used.
	RefreshOnce bool `json:"refreshOnce,omitempty"`
}

// DeltaFault bends /users/delta.
type DeltaFault struct {
	// Gone answers 410 to every token.
	Gone bool `json:"gone,omitempty"`
	// Expired answers 400 syncStateNotFound to every token.
	Expired bool `json:"expired,omitempty"`
	// EmptyPages puts an empty page with a nextLink before every page.
	EmptyPages bool `json:"emptyPages,omitempty"`
	// Replay repeats the last entry of a page on the next one.
	Replay bool `json:"replay,omitempty"`
}

// text is a JSON string or number.
type text string

func (t *text) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] != '"' {
		var number json.Number
		if err := json.Unmarshal(raw, &number); err != nil {
			return fmt.Errorf("a string or a number is wanted: %w", err)
		}
		*t = text(number)
		return nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("a string or a number is wanted: %w", err)
	}
	*t = text(s)
	return nil
}

var (
	bodies       = []string{"", "json", "json-without-message", "html", "empty", "truncated", "garbage"}
	sequences    = []string{"", "regress", "equal", "longer"}
	unknownUsers = []string{"", "omit", "presenceUnknown", "offline", "error"}
)

// validate names the first thing that is wrong, with what would be right.
func (f Faults) validate(routes []string) error {
	for name, fault := range f.Routes {
		if name != everyRoute && !slices.ContainsFunc(routes, func(r string) bool { return namesRoute(name, r) }) {
			return fmt.Errorf("routes: %q is no route; there are %q and %s", name, everyRoute, strings.Join(routes, ", "))
		}
		if err := fault.validate(); err != nil {
			return fmt.Errorf("routes: %q: %w", name, err)
		}
	}
	for what, p := range map[string]float64{"bulk.drop": f.Bulk.Drop, "bulk.duplicate": f.Bulk.Duplicate} {
		if p < 0 || p > 1 {
			return fmt.Errorf("%s: %v is no probability from 0 to 1", what, p)
		}
	}
	if err := f.Notify.validate(); err != nil {
		return err
	}
	if f.Auth.TokenExpiry < 0 {
		return fmt.Errorf("auth.tokenExpiry: %d seconds: must not be negative", f.Auth.TokenExpiry)
	}
	for _, choice := range []struct {
		what, have string
		allowed    []string
	}{
		{"sequence", f.Sequence, sequences},
		{"unknownUsers", f.UnknownUsers, unknownUsers},
		{"throttle.body", f.Throttle.Body, bodies},
	} {
		if !slices.Contains(choice.allowed, choice.have) {
			return fmt.Errorf("%s: %q: allowed are %s", choice.what, choice.have, strings.Join(choice.allowed[1:], ", "))
		}
	}
	return nil
}

func (f RouteFault) validate() error {
	switch {
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("status %d: must be 200 to 599", f.Status)
	case f.Probability != nil && (*f.Probability < 0 || *f.Probability > 1):
		return fmt.Errorf("probability %v: must be 0 to 1", *f.Probability)
	case f.Count < 0 || f.DelayMs < 0 || f.SlowBody < 0:
		return fmt.Errorf("count, delayMs and slowBody must not be negative")
	case !slices.Contains(bodies, f.Body):
		return fmt.Errorf("body %q: allowed are %s", f.Body, strings.Join(bodies[1:], ", "))
	}
	return nil
}

// parseFaults decodes JSON; members that do not exist are an error that lists
// those that do.
func parseFaults(raw []byte, routes []string) (Faults, error) {
	var f Faults
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return Faults{}, fmt.Errorf("reading faults: %w; allowed are %s", err,
			strings.Join(fieldNames("", reflect.TypeFor[Faults]()), ", "))
	}
	if decoder.More() {
		return Faults{}, fmt.Errorf("reading faults: more than one JSON value")
	}
	return f, f.validate(routes)
}

// fieldNames lists the JSON members of a struct and of the structs in it.
func fieldNames(prefix string, of reflect.Type) []string {
	var names []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		path := prefix + name
		if inner.Kind() == reflect.Map {
			inner, path = inner.Elem(), path+".<route or *>"
		}
		if inner.Kind() == reflect.Struct {
			names = append(names, fieldNames(path+".", inner)...)
			continue
		}
		names = append(names, path)
	}
	return names
}

const everyRoute = "*"

// namesRoute reports whether a key of Faults.Routes means a route.
func namesRoute(key, route string) bool {
	_, path, _ := strings.Cut(route, " ")
	return strings.EqualFold(key, route) || strings.EqualFold(key, path)
}

// faultDial holds the faults in force.
type faultDial struct {
	routes []string

	mu     sync.Mutex
	faults Faults
	used   map[string]int // hits by key of Faults.Routes
	random *rand.Rand
	reads  int // presence objects read under a sequence fault
}

func newFaultDial(seed uint64) *faultDial {
	return &faultDial{used: make(map[string]int), random: rand.New(rand.NewPCG(seed, 0xfa017))}
}

// SetFaults replaces all faults. It returns an error that names the allowed
// values if the faults make no sense, and changes nothing then.
func (t *Tenant) SetFaults(f Faults) error {
	if err := f.validate(t.faults.routes); err != nil {
		return fmt.Errorf("setting faults: %w", err)
	}
	t.faults.set(f)
	return nil
}

// Faults returns the faults in force.
func (t *Tenant) Faults() Faults { return t.faults.get() }

func (d *faultDial) set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults, d.used, d.reads = f, make(map[string]int), 0
}

func (d *faultDial) get() Faults {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults
}

// draw decides whether a request on a route is hit, and by what.
func (d *faultDial) draw(route string) (RouteFault, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(d.faults.Routes)) {
		if namesRoute(key, route) {
			return d.hit(key, d.faults.Routes[key])
		}
	}
	if fault, ok := d.faults.Routes[everyRoute]; ok && route != routeToken && route != routeDevice {
		return d.hit(everyRoute, fault)
	}
	return RouteFault{}, false
}

// hit runs with the lock held.
func (d *faultDial) hit(key string, fault RouteFault) (RouteFault, bool) {
	if fault.Count > 0 && d.used[key] >= fault.Count {
		return RouteFault{}, false
	}
	if fault.Probability != nil && d.random.Float64() >= *fault.Probability {
		return RouteFault{}, false
	}
	d.used[key]++
	return fault, true
}

// refuse reports whether a good token is refused, and whether with a claims
// challenge.
func (d *faultDial) refuse(p principal) (refused, challenge bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	auth := d.faults.Auth
	if !auth.Status401 && !auth.Claims || auth.Claims && p.challenge {
		return false, false
	}
	if auth.Once {
		d.faults.Auth = AuthFault{TokenExpiry: auth.TokenExpiry, RefreshOnce: auth.RefreshOnce}
	}
	return true, auth.Claims
}

func (d *faultDial) tokenLifetime(configured time.Duration) time.Duration {
	return or(time.Duration(d.get().Auth.TokenExpiry)*time.Second, configured)
}

// chance is true with probability p.
func (d *faultDial) chance(p float64) bool {
	if p <= 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.Float64() < p
}

func (d *faultDial) shuffle(n int, swap func(i, j int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.random.Shuffle(n, swap)
}

// nextRead numbers the presence objects read under a sequence fault.
func (d *faultDial) nextRead() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	return d.reads
}
