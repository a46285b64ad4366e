package ops

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// status is what the page shows: the template and the script print the same
// texts. /status.json is it.
type status struct {
	State   string         `json:"state"`
	Tone    tone           `json:"tone"`
	Version string         `json:"version"`
	Uptime  string         `json:"uptime"`
	Updated string         `json:"updated"`
	Facts   []fact         `json:"facts"`
	Tenants []tenantStatus `json:"tenants"`
	Errors  []errorStatus  `json:"errors"`
}

type tenantStatus struct {
	Name string `json:"name"`
	// Used and Limit are of the window that ends now.
	Used  string       `json:"used"`
	Limit string       `json:"limit"`
	Share string       `json:"share"`
	Tone  tone         `json:"tone"`
	Note  string       `json:"note"` // what is unusual
	Plot  plot         `json:"plot"`
	Facts []fact       `json:"facts"`
	Tiers []tierStatus `json:"tiers"`
}

// fact is one number with its name. How many there are of a kind does not change
// while the process runs: the script puts them where the template has.
type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type tierStatus struct {
	Name     string `json:"name"`
	People   string `json:"people"`
	Interval string `json:"interval"`
}

type errorStatus struct {
	Title string `json:"title"`
	Where string `json:"where"`
	Todo  string `json:"todo"`
	Count string `json:"count"`
	First string `json:"first"`
	Last  string `json:"last"`
}

// tone is a colour, beside a text that says the same.
type tone string

const (
	toneGood tone = "good"
	toneWarn tone = "warn"
	toneBad  tone = "bad"
)

const (
	// shownFor is how long a status is shown again instead of a new one: what
	// it takes to make does not depend on how many look.
	shownFor       = time.Second
	gatewayTimeout = time.Second
	none           = "–"
)

// status returns what is to be shown now.
func (s *Server) status(ctx context.Context) *status {
	s.looking.Lock()
	defer s.looking.Unlock()
	now := s.clk.Now()
	if s.shown != nil && now.Sub(s.shownAt) < shownFor && s.shown.State == s.state() {
		return s.shown
	}
	st := &status{
		State: s.state(), Tone: toneGood, Version: s.version, Uptime: lasting(now.Sub(s.began)), Updated: moment(now),
		Facts: s.facts(ctx), Tenants: []tenantStatus{}, Errors: []errorStatus{},
	}
	if st.State != stateServing {
		st.Tone = toneWarn
	}
	for _, t := range s.tenants {
		st.Tenants = append(st.Tenants, t.status(now))
	}
	for _, e := range s.errors.list() {
		st.Errors = append(st.Errors, e.status(now))
	}
	s.shown, s.shownAt = st, now
	return st
}

// facts are those of the gateway. One who leaves must not spoil what others are
// shown, so the request's end does not matter.
func (s *Server) facts(ctx context.Context) []fact {
	if s.gateway == nil {
		return []fact{}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatewayTimeout)
	defer cancel()
	facts := []fact{{"Parked P-GETs", none}, {"Applications", none}, {"Presence subscriptions", none}}
	g, err := s.gateway.Status(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "the gateway's numbers could not be had for the status page", "error", err)
		s.errors.Record(Problem{Cause: CauseStore})
		return facts
	}
	for i, n := range []int{g.Parked, g.Applications, g.Subscriptions} {
		facts[i].Value = number(n)
	}
	return facts
}

func (t *watched) status(now time.Time) tenantStatus {
	b, p := t.Tenant.Budget(), t.Tenant.Presence()
	st := tenantStatus{
		Name: t.Name, Used: number(b.Used), Limit: number(b.Limit), Plot: draw(t.points(now), now, b.Limit), Tone: toneGood, Tiers: []tierStatus{},
	}
	share := 0.0
	if b.Limit > 0 {
		share = float64(b.Used) / float64(b.Limit)
	}
	st.Share = strconv.Itoa(int(share*100+0.5)) + " %"
	st.Tone, st.Note = judge(b, p, share)
	st.Facts = []fact{
		{"Sweep, planned", lasting(p.Interval)},
		{"Sweep, last", lasting(p.Sweep)},
		{"Age, mean", lasting(p.Mean)},
		{"Age, oldest", lasting(p.Oldest) + " of at most " + lasting(p.Bound)},
		{"Refill", fmt.Sprintf("%.1f of %.1f requests/s", b.Rate, b.PlanRate)},
		{"Callers waiting", number(b.Waiting)},
		{"Throttled by Graph", number(b.Throttled) + " times"},
		{"Notifications", notified(p)},
	}
	for _, tier := range p.Tiers {
		interval := lasting(tier.Interval)
		if tier.Interval > 0 {
			interval = "every " + interval
		}
		st.Tiers = append(st.Tiers, tierStatus{tier.Name, number(tier.People), interval})
	}
	return st
}

// judge says what is unusual about a tenant, the worst only.
func judge(b Budget, p Presence, share float64) (tone, string) {
	switch {
	case b.Paused > 0:
		return toneBad, "Graph has asked to wait: nothing is sent for " + lasting(b.Paused) + "."
	case share > 1:
		return toneBad, "More was sent than this program's share of the limit."
	case p.Behind:
		return toneWarn, "So many people are watched that readings lie further apart than presence.refresh_ceiling."
	case b.Rate < b.PlanRate*0.99:
		return toneWarn, "Slowed down, because Graph has throttled; it speeds up again by itself."
	case share > 0.95:
		return toneWarn, "The budget is nearly used up: refreshing waits for those who ask."
	}
	return toneGood, ""
}

func notified(p Presence) string {
	if len(p.Accounts) == 0 {
		return "not used"
	}
	var states []string
	for _, s := range p.Accounts {
		states = append(states, number(s.Count)+" "+s.Name)
	}
	return strings.Join(states, ", ") + "; " + number(p.Covered) + " people covered"
}

func (e seen) status(now time.Time) errorStatus {
	where := e.Tenant
	if e.Area != "" {
		where = strings.TrimPrefix(where+", "+string(e.Area), ", ")
	}
	if where == "" {
		where = "the gateway"
	}
	return errorStatus{
		Title: advices[e.Cause].title, Where: where, Todo: e.todo(),
		Count: number(e.count), First: ago(e.first, now), Last: ago(e.last, now),
	}
}

// number writes 12345 as 12,345.
func number[N int | uint64](n N) string {
	digits := fmt.Sprint(n)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// lasting writes a time in the two largest units that say something.
func lasting(d time.Duration) string {
	switch {
	case d <= 0:
		return none
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return two(int(d.Minutes()), "min", int(d.Seconds())%60, "s")
	case d < 24*time.Hour:
		return two(int(d.Hours()), "h", int(d.Minutes())%60, "min")
	}
	return two(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}

func two(large int, unit string, small int, smallUnit string) string {
	s := strconv.Itoa(large) + " " + unit
	if small > 0 {
		s += " " + strconv.Itoa(small) + " " + smallUnit
	}
	return s
}

func moment(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }

func ago(t, now time.Time) string {
	if d := now.Sub(t); d >= time.Second {
		return lasting(d) + " ago"
	}
	return "just now"
}
