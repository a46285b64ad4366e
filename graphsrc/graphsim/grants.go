package graphsim

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
)

// maxForm bounds a token request.
const maxForm = 64 << 10

// The names OAuth 2.0 gives to grants and assertions (RFC 6749, 7523, 8693).
const (
	grantClient  = "client_credentials"
	grantBearer  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	assertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// serveToken answers the token endpoint.
func (t *Tenant) serveToken(w http.ResponseWriter, r *http.Request) {
	fault, armed := t.faults.draw(routeToken)
	if armed && t.misbehave(w, r, fault, nil) {
		return
	}
	if !t.readForm(w, r) {
		return
	}
	answer, err := t.grant(r)
	if err != nil {
		t.refuseToken(w, r, err)
		return
	}
	t.entra.mu.Lock()
	t.entra.tokens++
	t.entra.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store, no-cache")
	writeJSON(w, http.StatusOK, answer)
}

// readForm parses the form of a POST; it answers what is wrong and is false
// then.
func (t *Tenant) readForm(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost {
		t.entraError(w, r, &entraError{
			http.StatusBadRequest, "invalid_request", 900561,
			"The endpoint only accepts POST requests.",
		})
		return false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		t.entraError(w, r, &entraError{http.StatusBadRequest, "invalid_request", 90013, "Invalid input received from the user."})
		return false
	}
	return true
}

func (t *Tenant) refuseToken(w http.ResponseWriter, r *http.Request, err error) {
	var e *entraError
	if !errors.As(err, &e) {
		e = &entraError{http.StatusInternalServerError, "server_error", 90033, err.Error()}
	}
	t.log.Debug("simulated token refused", "code", e.number)
	t.entraError(w, r, e)
}

// grant authenticates the app and issues the token it asks for.
func (t *Tenant) grant(r *http.Request) (map[string]any, error) {
	form := r.PostForm
	if err := required(form, "grant_type"); err != nil {
		return nil, err
	}
	kind := form.Get("grant_type")
	if kind == grantDeviceShort {
		kind = grantDevice
	}
	app, err := t.authenticateApp(r, kind == grantDevice || kind == grantRefresh)
	if err != nil {
		return nil, err
	}
	now := t.clock.Now()
	var d delegation
	switch kind {
	case grantClient, grantBearer:
		return t.grantApp(form, app, now)
	case grantDevice:
		d, err = t.deviceGrant(form, app, now)
	case grantRefresh:
		d, err = t.refreshGrant(form, app, now)
	default:
		err = refusal("unsupported_grant_type", 70003, fmt.Sprintf("The app requested an unsupported grant type '%s'.", kind))
	}
	if err != nil {
		return nil, err
	}
	return t.delegate(r, app, d, now)
}

// grantApp issues a token to a confidential app, for itself or for the user
// whose token it presents.
func (t *Tenant) grantApp(form url.Values, app App, now time.Time) (map[string]any, error) {
	audience, scope, err := audienceOf(form)
	if err != nil {
		return nil, err
	}
	c := t.newGraphClaims(app, form)
	switch form.Get("grant_type") {
	case grantClient:
		if !strings.HasSuffix(scope, "/.default") {
			return nil, refusal("invalid_scope", 1002012, fmt.Sprintf(
				"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", scope))
		}
		c.Roles, c.IDType, c.ObjectID, c.Subject = app.Roles, "app", app.ClientID, app.ClientID
	case grantBearer:
		user, err := t.onBehalfOf(form, app, now)
		if err != nil {
			return nil, err
		}
		c.Scope, c.IDType, c.ObjectID, c.Subject = strings.Join(app.Scopes, " "), "user", user.ID, user.ID
		c.Name, c.UPN = user.DisplayName, user.UserPrincipalName
	}
	return t.accessAnswer(c, audience, now)
}

// newGraphClaims are the claims every access token begins with.
func (t *Tenant) newGraphClaims(app App, form url.Values) claims {
	c := claims{AppID: app.ClientID, Version: "1.0", Challenge: strings.Contains(form.Get("claims"), challengeMark)}
	c.Issuer = "https://sts.windows.net/" + t.cfg.TenantID + "/"
	return c
}

// accessAnswer signs an access token and is the token endpoint's answer.
func (t *Tenant) accessAnswer(c claims, audience string, now time.Time) (map[string]any, error) {
	key, err := t.entra.key()
	if err != nil {
		return nil, err
	}
	lifetime := t.faults.tokenLifetime(t.entra.lifetime)
	token, err := key.sign(t.entra.stamp(c, audience, now, lifetime))
	if err != nil {
		return nil, err
	}
	answer := map[string]any{
		"token_type": "Bearer", "access_token": token,
		"expires_in": int(lifetime / time.Second), "ext_expires_in": int(lifetime / time.Second),
	}
	if c.Scope != "" {
		answer["scope"] = c.Scope
	}
	return answer, nil
}

func required(form url.Values, name string) error {
	if form.Get(name) != "" {
		return nil
	}
	return &entraError{
		http.StatusBadRequest, "invalid_request", 900144,
		fmt.Sprintf("The request body must contain the following parameter: '%s'.", name),
	}
}

// audienceOf finds the one resource among the scopes; those of OpenID name none.
func audienceOf(form url.Values) (audience, scope string, err error) {
	if err := required(form, "scope"); err != nil {
		return "", "", err
	}
	for s := range strings.FieldsSeq(form.Get("scope")) {
		if slices.Contains(openIDScopes, s) {
			continue
		}
		if cut := strings.LastIndex(s, "/"); cut > 0 {
			return strings.TrimSuffix(s[:cut], "/"), s, nil
		}
		return graphRoots[1], s, nil
	}
	return "", "", &entraError{
		http.StatusBadRequest, "invalid_scope", 70011,
		fmt.Sprintf("The provided request must include a 'scope' input parameter. The scope %s is not valid.", form.Get("scope")),
	}
}

// namedApp finds a registered app.
func (t *Tenant) namedApp(clientID string) (App, error) {
	if clientID == "" {
		return App{}, required(url.Values{}, "client_id")
	}
	app, ok := t.entra.app(clientID)
	if !ok {
		return App{}, refusal("unauthorized_client", 700016, fmt.Sprintf(
			"Application with identifier '%s' was not found in the directory '%s'.", clientID, t.cfg.TenantID))
	}
	return app, nil
}

// authenticateApp checks the secret or the assertion of the calling app. A
// flow for public clients needs neither if the app allows such flows.
func (t *Tenant) authenticateApp(r *http.Request, publicFlow bool) (App, error) {
	form := r.PostForm
	clientID, secret := form.Get("client_id"), form.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		clientID, secret = user, password
	}
	app, err := t.namedApp(clientID)
	if err != nil {
		return App{}, err
	}
	switch assertion := form.Get("client_assertion"); {
	case assertion != "":
		if kind := form.Get("client_assertion_type"); kind != assertionJWT {
			return App{}, &entraError{
				http.StatusUnauthorized, "invalid_client", 50027,
				fmt.Sprintf("Invalid client_assertion_type '%s'.", kind),
			}
		}
		return app, t.checkAssertion(r, app, assertion)
	case secret == "" && publicFlow && app.Public:
		return app, nil
	case secret == "":
		return App{}, &entraError{
			http.StatusUnauthorized, "invalid_client", 7000218,
			"The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
		}
	case app.Secret == "" || !equal(secret, app.Secret):
		return App{}, &entraError{
			http.StatusUnauthorized, "invalid_client", 7000215,
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.",
		}
	}
	return app, nil
}

// equal compares secrets in time that tells neither content nor length.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// onBehalfOf checks the user's token that an app exchanges for one of its own.
func (t *Tenant) onBehalfOf(form url.Values, app App, now time.Time) (User, error) {
	if form.Get("requested_token_use") != "on_behalf_of" {
		return User{}, &entraError{
			http.StatusBadRequest, "invalid_request", 900144,
			"The request body must contain the following parameter: 'requested_token_use'.",
		}
	}
	if err := required(form, "assertion"); err != nil {
		return User{}, err
	}
	key, err := t.entra.key()
	if err != nil {
		return User{}, err
	}
	c, err := t.entra.verified.read(form.Get("assertion"), key)
	if err != nil {
		return User{}, &entraError{
			http.StatusBadRequest, "invalid_grant", 50013,
			"Assertion failed signature validation.",
		}
	}
	audience := jwt.Expected{AnyAudience: jwt.Audience{app.ClientID, "api://" + app.ClientID}, Time: now}
	switch err := c.ValidateWithLeeway(audience, 0); {
	case errors.Is(err, jwt.ErrExpired):
		return User{}, &entraError{http.StatusBadRequest, "invalid_grant", 500133, "Assertion is not within its valid time range."}
	case err != nil:
		return User{}, &entraError{http.StatusBadRequest, "invalid_grant", 50013, "Assertion audience does not match the client application."}
	}
	index, ok := t.dir.ByID(c.ObjectID)
	if !ok {
		return User{}, &entraError{http.StatusBadRequest, "invalid_grant", 50034, "The user account does not exist in the directory."}
	}
	return t.dir.User(index), nil
}
