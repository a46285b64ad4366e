package graphsim

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/graphsim/people"
)

// The device authorization grant (RFC 8628) as Entra ID offers it.
//
// Source: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-device-code
const (
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code"
	// grantDeviceShort is what Microsoft's own libraries still send in its place.
	grantDeviceShort = "device_code"
	devicePath       = "oauth2/v2.0/devicecode"
	// devicePage is where a user enters the code.
	devicePage = "devicelogin"
	// deviceLife and deviceInterval are what Entra ID answers.
	deviceLife     = 15 * time.Minute
	deviceInterval = 5 * time.Second
	// deviceMemory is how long a code that ended is remembered, so that a late
	// poll learns why it is refused.
	deviceMemory = time.Hour
)

// routeDevice is the name of the device authorization endpoint for faults.
const routeDevice = "POST /{tenant}/" + devicePath

// ErrNoDevice is the error for user codes that are not waiting for a user:
// never issued, expired, or answered already.
var ErrNoDevice = errors.New("no device waits with this user code")

// digest stands for a secret in a map, so that looking it up tells nothing
// about it by the time it takes.
type digest [sha256.Size]byte

func digestOf(secret string) digest { return sha256.Sum256([]byte(secret)) }

// device is a device that waits for its user to sign in elsewhere.
type device struct {
	userCode string
	app      string
	scopes   scopes
	expires  time.Time
	polled   time.Time // the latest poll
	// A device is waiting while it is neither declined nor has a user, and
	// spent once tokens were issued.
	user     string // object id
	declined bool
	spent    bool
}

func (d *device) waits(now time.Time) bool {
	return d.user == "" && !d.declined && now.Before(d.expires)
}

// devices holds the device codes of a tenant.
type devices struct {
	mu     sync.Mutex
	byCode map[digest]*device
}

// open makes a device code and the code its user enters.
func (d *devices) open(app string, asked scopes, now time.Time) (deviceCode, userCode string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for code, old := range d.byCode {
		if now.After(old.expires.Add(deviceMemory)) {
			delete(d.byCode, code)
		}
	}
	if d.byCode == nil {
		d.byCode = make(map[digest]*device)
	}
	deviceCode, userCode = rand.Text()+rand.Text(), rand.Text()[:9] // Entra ID's have nine characters too
	d.byCode[digestOf(deviceCode)] = &device{
		userCode: userCode, app: app, scopes: asked, expires: now.Add(deviceLife),
	}
	return deviceCode, userCode
}

// answer lets a user decide about a waiting device.
func (d *devices) answer(userCode string, now time.Time, decide func(*device)) error {
	userCode = strings.ToUpper(strings.TrimSpace(userCode))
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, waiting := range d.byCode {
		if waiting.waits(now) && equal(waiting.userCode, userCode) {
			decide(waiting)
			return nil
		}
	}
	return ErrNoDevice
}

// redeem is one poll of a device: the user who signed in and what the device
// asked for, or the error a device that goes on waiting or gives up expects.
// Entra ID's documentation gives no number for a declined sign-in, so that of
// a declined consent stands here; slow_down has none either and shares that of
// a pending one.
func (d *devices) redeem(code, app string, now time.Time) (user string, asked scopes, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := d.byCode[digestOf(code)]
	switch {
	case found == nil, found.app != app, found.spent:
		return "", scopes{}, refusal("bad_verification_code", 70018, "Invalid verification code: the device_code was not recognized.")
	case found.declined:
		return "", scopes{}, refusal("authorization_declined", 65004, "The end user denied the authorization request.")
	case !now.Before(found.expires):
		return "", scopes{}, refusal("expired_token", 70020, "The provided value for the input parameter 'device_code' is not valid. This device code has expired.")
	case found.user != "":
		found.spent = true
		return found.user, found.scopes, nil
	}
	early := !found.polled.IsZero() && now.Sub(found.polled) < deviceInterval
	found.polled = now
	if early {
		return "", scopes{}, refusal("slow_down", 70016, "OAuth 2.0 device flow error. The device polls more often than the interval allows.")
	}
	return "", scopes{}, refusal("authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
}

// refusal is a 400 of the token endpoint.
func refusal(code string, number int, message string) error {
	return &entraError{http.StatusBadRequest, code, number, message}
}

// serveDevice answers the device authorization endpoint.
func (t *Tenant) serveDevice(w http.ResponseWriter, r *http.Request) {
	fault, armed := t.faults.draw(routeDevice)
	if armed && t.misbehave(w, r, fault, nil) || !t.readForm(w, r) {
		return
	}
	answer, err := t.openDevice(r)
	if err != nil {
		t.refuseToken(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store, no-cache")
	writeJSON(w, http.StatusOK, answer)
}

// openDevice starts a sign-in. Whether the app is a public client is only
// asked when the code is redeemed, as in Entra ID.
func (t *Tenant) openDevice(r *http.Request) (map[string]any, error) {
	form := r.PostForm
	app, err := t.namedApp(form.Get("client_id"))
	if err != nil {
		return nil, err
	}
	asked, err := scopesOf(form)
	if err != nil {
		return nil, err
	}
	code, userCode := t.entra.devices.open(app.ClientID, asked, t.clock.Now())
	page := baseURL(r) + "/" + devicePage
	return map[string]any{
		"device_code": code, "user_code": userCode, "verification_uri": page,
		"expires_in": int(deviceLife / time.Second), "interval": int(deviceInterval / time.Second),
		"message": fmt.Sprintf("To sign in, use a web browser to open the page %s and enter the code %s to authenticate.", page, userCode),
	}, nil
}

// deviceGrant exchanges the code of a device whose user has signed in.
func (t *Tenant) deviceGrant(form url.Values, app App, now time.Time) (delegation, error) {
	if err := required(form, "device_code"); err != nil {
		return delegation{}, err
	}
	user, asked, err := t.entra.devices.redeem(form.Get("device_code"), app.ClientID, now)
	if err != nil {
		return delegation{}, err
	}
	return delegation{user: user, scopes: asked, signedIn: now}, nil
}

// ApproveDevice signs a user in on the device that shows the user code, which
// compares without regard to case. The error is ErrNoDevice if none waits with
// that code, and people.ErrNoUser for unknown users.
func (t *Tenant) ApproveDevice(userCode, user string) error {
	index, ok := t.dir.Find(user)
	if !ok {
		return fmt.Errorf("approving a device for %q: %w", user, people.ErrNoUser)
	}
	id := t.dir.Person(index).ID()
	return t.answerDevice(userCode, func(d *device) { d.user = id })
}

// DeclineDevice refuses the sign-in on the device that shows the user code.
// The error is ErrNoDevice if none waits with that code.
func (t *Tenant) DeclineDevice(userCode string) error {
	return t.answerDevice(userCode, func(d *device) { d.declined = true })
}

func (t *Tenant) answerDevice(userCode string, decide func(*device)) error {
	if err := t.entra.devices.answer(userCode, t.clock.Now(), decide); err != nil {
		return fmt.Errorf("answering the sign-in on a device: %w", err)
	}
	return nil
}

// devicePageBody asks for what ApproveDevice and DeclineDevice take. There is
// no password, as for nothing in the simulator but apps.
var devicePageBody = template.Must(template.New("device").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in on a device</title></head><body>
<h1>Sign in on a device</h1>{{with .}}<p role="status">{{.}}</p>{{end}}
<form method="post"><p><label>Code <input name="code" autocomplete="off" required></label></p>
<p><label>User <input name="user" placeholder="address"></label></p>
<p><button name="do" value="approve">Sign in</button> <button name="do" value="decline">Decline</button></p></form>
</body></html>
`))

// serveDevicePage is the page on which a user enters a code.
func (t *Tenant) serveDevicePage(w http.ResponseWriter, r *http.Request) {
	status, told := http.StatusOK, ""
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		told = "Done. You may close this page."
		if err := t.answerPage(r.PostFormValue("do"), r.PostFormValue("code"), r.PostFormValue("user")); err != nil {
			status, told = http.StatusBadRequest, err.Error()
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = devicePageBody.Execute(w, told) // a client that left is no error of ours
}

func (t *Tenant) answerPage(do, code, user string) error {
	if do == "decline" {
		return t.DeclineDevice(code)
	}
	return t.ApproveDevice(code, user)
}

// controlDevice serves POST /sim/device/{user_code}.
func (t *Tenant) controlDevice(w http.ResponseWriter, r *http.Request) {
	var body struct {
		User    string `json:"user"`
		Decline bool   `json:"decline"`
	}
	if !readControl(w, r, &body) {
		return
	}
	code := r.PathValue("user_code")
	var err error
	switch {
	case body.Decline:
		err = t.DeclineDevice(code)
	case body.User == "":
		controlError(w, http.StatusBadRequest, `nothing to do: "user" or "decline"`)
		return
	default:
		err = t.ApproveDevice(code, body.User)
	}
	if err != nil {
		controlError(w, http.StatusNotFound, "%v", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// controlRevoke serves POST /sim/users/{user}/revoke.
func (t *Tenant) controlRevoke(w http.ResponseWriter, r *http.Request) {
	if err := t.RevokeSignIns(pathUser(r)); err != nil {
		controlError(w, http.StatusNotFound, "%v", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
