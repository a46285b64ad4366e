package graphsim

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ucwagate/graphsrc/graphsim/people"
)

// The lives of what applications publish ("presence: setPresence" and
// "presence: setUserPreferredPresence", Microsoft Graph reference).
const (
	shortestSession = 5 * time.Minute
	defaultSession  = 5 * time.Minute
	longestSession  = 4 * time.Hour
	busyPreferred   = 24 * time.Hour
	otherPreferred  = 7 * 24 * time.Hour
)

var (
	sessionPairs = []words{
		{"Available", "Available"}, {"Busy", "InACall"}, {"Busy", "InAConferenceCall"}, {"Away", "Away"},
	}
	presentingPair = words{"DoNotDisturb", "Presenting"}
	preferredPairs = []words{
		{"Available", "Available"},
		{"Busy", "Busy"},
		{"DoNotDisturb", "DoNotDisturb"},
		{"BeRightBack", "BeRightBack"},
		{"Away", "Away"},
		{"Offline", "OffWork"},
	}
)

type publication struct {
	SessionID          string `json:"sessionId"`
	Availability       string `json:"availability"`
	Activity           string `json:"activity"`
	ExpirationDuration string `json:"expirationDuration"`
}

// publisher reads what all publishing actions share.
func (t *Tenant) publisher(c *call) (index int, err error) {
	if _, err := c.queryOptions(); err != nil {
		return 0, err
	}
	id := c.args[0]
	if !people.IsGUID(id) {
		return 0, badRequest("The id '%s' is not a GUID. Presence is set by the user's object id.", id)
	}
	index, ok := t.dir.ByID(id)
	if !ok {
		return 0, &graphError{status: http.StatusNotFound, code: "NotFound", message: "The user was not found."}
	}
	return index, nil
}

// pair finds the published words among those allowed, in Graph's spelling.
func (p publication) pair(allowed []words) (words, error) {
	for _, w := range allowed {
		if strings.EqualFold(w.availability, p.Availability) && strings.EqualFold(w.activity, p.Activity) {
			return w, nil
		}
	}
	var pairs []string
	for _, w := range allowed {
		pairs = append(pairs, w.availability+"/"+w.activity)
	}
	return words{}, badRequest("The availability '%s' with the activity '%s' is not supported. Supported are %s.",
		p.Availability, p.Activity, strings.Join(pairs, ", "))
}

// sessionOf reads a request about the app's own presence session of a user.
func (t *Tenant) sessionOf(c *call) (index int, p publication, err error) {
	if index, err = t.publisher(c); err != nil {
		return 0, p, err
	}
	if err = c.readBody(&p); err != nil {
		return 0, p, err
	}
	if !strings.EqualFold(p.SessionID, c.appID) {
		return 0, p, badRequest("The sessionId must be the application's client id.")
	}
	return index, p, nil
}

// setPresence serves POST /users/{id}/presence/setPresence.
func (t *Tenant) setPresence(c *call) (reply, error) {
	index, p, err := t.sessionOf(c)
	if err != nil {
		return reply{}, err
	}
	allowed := sessionPairs
	if t.cfg.AllowPresenting {
		allowed = append(append([]words(nil), allowed...), presentingPair)
	}
	pair, err := p.pair(allowed)
	if err != nil {
		return reply{}, err
	}
	life, err := duration(p.ExpirationDuration, defaultSession)
	if err != nil {
		return reply{}, err
	}
	if life < shortestSession || life > longestSession {
		return reply{}, badRequest("The expirationDuration '%s' must be between PT5M and PT4H.", p.ExpirationDuration)
	}
	t.presences.change(index, func(o *overlay, now time.Time) {
		o.sessions[c.appID] = session{words: pair, since: now, expires: now.Add(life)}
	})
	return done(), nil
}

// clearPresence serves POST /users/{id}/presence/clearPresence.
func (t *Tenant) clearPresence(c *call) (reply, error) {
	index, _, err := t.sessionOf(c)
	if err != nil {
		return reply{}, err
	}
	if !t.presences.endSession(index, c.appID) {
		return reply{}, &graphError{status: http.StatusNotFound, code: "NotFound", message: "The presence session was not found."}
	}
	return done(), nil
}

// endSession removes an app's session and reports whether there was one.
func (p *presences) endSession(index int, app string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.overlays[index]
	if o == nil {
		return false
	}
	now := p.clock.Now()
	p.refresh(index, o, now) // lets go of what has expired
	if _, ok := o.sessions[app]; !ok {
		return false
	}
	delete(o.sessions, app)
	p.refresh(index, o, now)
	if o.empty() {
		delete(p.overlays, index)
	}
	return true
}

// setPreferred serves POST /users/{id}/presence/setUserPreferredPresence.
func (t *Tenant) setPreferred(c *call) (reply, error) {
	index, err := t.publisher(c)
	if err != nil {
		return reply{}, err
	}
	var p publication
	if err := c.readBody(&p); err != nil {
		return reply{}, err
	}
	pair, err := p.pair(preferredPairs)
	if err != nil {
		return reply{}, err
	}
	usual := otherPreferred
	if pair.availability == "Busy" || pair.availability == "DoNotDisturb" {
		usual = busyPreferred
	}
	life, err := duration(p.ExpirationDuration, usual)
	if err != nil {
		return reply{}, err
	}
	t.presences.change(index, func(o *overlay, now time.Time) {
		o.preferred = &preferred{words: pair, expires: now.Add(life)}
	})
	return done(), nil
}

// clearPreferred serves POST /users/{id}/presence/clearUserPreferredPresence.
func (t *Tenant) clearPreferred(c *call) (reply, error) {
	index, err := t.publisher(c)
	if err != nil {
		return reply{}, err
	}
	t.presences.change(index, func(o *overlay, _ time.Time) { o.preferred = nil })
	return done(), nil
}

// longestNote is the length of a status message in Teams, in characters.
const longestNote = 280

// setStatusMessage serves POST /users/{id}/presence/setStatusMessage.
func (t *Tenant) setStatusMessage(c *call) (reply, error) {
	index, err := t.publisher(c)
	if err != nil {
		return reply{}, err
	}
	var body struct {
		StatusMessage *struct {
			Message *struct {
				Content     string `json:"content"`
				ContentType string `json:"contentType"`
			} `json:"message"`
			Expiry *struct {
				DateTime string `json:"dateTime"`
				TimeZone string `json:"timeZone"`
			} `json:"expiryDateTime"`
		} `json:"statusMessage"`
	}
	if err := c.readBody(&body); err != nil {
		return reply{}, err
	}
	set := note{}
	if m := body.StatusMessage; m != nil && m.Message != nil {
		if kind := m.Message.ContentType; kind != "" && !strings.EqualFold(kind, "text") {
			return reply{}, badRequest("The contentType '%s' is not supported for a status message: only text is.", kind)
		}
		if n := len([]rune(m.Message.Content)); n > longestNote {
			return reply{}, badRequest("The status message has %d characters; at most %d are allowed.", n, longestNote)
		}
		set.text = m.Message.Content
		if m.Expiry != nil {
			if set.expires, err = instant(m.Expiry.DateTime, m.Expiry.TimeZone); err != nil {
				return reply{}, err
			}
			if !set.expires.After(c.now) {
				return reply{}, badRequest("The expiryDateTime '%s' is in the past.", m.Expiry.DateTime)
			}
		}
	}
	t.presences.change(index, func(o *overlay, now time.Time) {
		set.published = now
		o.note = &set
	})
	return done(), nil
}

// windowsZones are the names of Windows for a few zones; Graph accepts them
// and those of the time zone database.
var windowsZones = map[string]string{
	"UTC": "UTC", "Pacific Standard Time": "America/Los_Angeles", "Eastern Standard Time": "America/New_York",
	"Central Standard Time": "America/Chicago", "GMT Standard Time": "Europe/London",
	"W. Europe Standard Time": "Europe/Berlin", "Romance Standard Time": "Europe/Paris",
	"Tokyo Standard Time": "Asia/Tokyo", "China Standard Time": "Asia/Shanghai", "India Standard Time": "Asia/Kolkata",
}

// instant reads a dateTimeTimeZone.
func instant(text, zone string) (time.Time, error) {
	location, err := time.LoadLocation(or(windowsZones[zone], zone))
	if err != nil {
		return time.Time{}, badRequest("The time zone '%s' is not known.", zone)
	}
	for _, layout := range []string{"2006-01-02T15:04:05.9999999", time.RFC3339Nano} {
		if at, err := time.ParseInLocation(layout, text, location); err == nil {
			return at, nil
		}
	}
	return time.Time{}, badRequest("The dateTime '%s' is malformed.", text)
}

// iso8601 is the subset of ISO 8601 durations that OData allows.
var iso8601 = regexp.MustCompile(`^P(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,8})(?:\.\d{1,9})?S)?)?$`)

// duration reads an ISO 8601 duration, or is the fallback for none.
func duration(text string, fallback time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	parts := iso8601.FindStringSubmatch(text)
	if parts == nil {
		return 0, badRequest("The expirationDuration '%s' is not an ISO 8601 duration.", text)
	}
	var total time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if parts[i+1] != "" {
			n, err := strconv.Atoi(parts[i+1])
			if err != nil {
				return 0, badRequest("The expirationDuration '%s' is not an ISO 8601 duration.", text)
			}
			total += time.Duration(n) * unit
		}
	}
	if total <= 0 {
		return 0, badRequest("The expirationDuration '%s' must be positive.", text)
	}
	return total, nil
}
