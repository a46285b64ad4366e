package graphsim

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"ucwagate/graphsrc/graphsim/people"
)

const (
	grantRefresh = "refresh_token"
	// refreshMemory is how long a token that ended is remembered, so that its
	// bearer learns why it is refused.
	refreshMemory = time.Hour
)

// openIDScopes are the scopes that name no resource.
var openIDScopes = []string{"openid", "profile", "email", "offline_access"}

// scopes is what a sign-in asks for.
type scopes struct {
	openID   []string
	resource string   // the audience
	asked    []string // of the resource, as they were written
}

// scopesOf reads the scopes of a form. They may name one resource; those
// without a resource are Graph's.
func scopesOf(form url.Values) (scopes, error) {
	if err := required(form, "scope"); err != nil {
		return scopes{}, err
	}
	var s scopes
	for scope := range strings.FieldsSeq(form.Get("scope")) {
		if slices.Contains(openIDScopes, scope) {
			s.openID = append(s.openID, scope)
			continue
		}
		resource, _ := cutScope(scope)
		if s.resource != "" && s.resource != resource {
			return scopes{}, refusal("invalid_request", 28000,
				"Provided value for the input parameter scope is not valid because it contains more than one resource.")
		}
		s.resource, s.asked = resource, append(s.asked, scope)
	}
	return s, nil
}

// cutScope splits a scope into its resource and its name.
func cutScope(scope string) (resource, name string) {
	if cut := strings.LastIndex(scope, "/"); cut > 0 {
		return strings.TrimSuffix(scope[:cut], "/"), scope[cut+1:]
	}
	return graphRoots[1], scope
}

func (s scopes) has(openID string) bool { return slices.Contains(s.openID, openID) }

// granted is the scope member of the answer: what was asked for as it was
// written, and whatever else the app may do with the resource.
func (s scopes) granted(all []string) string {
	prefix := ""
	if len(s.asked) > 0 {
		if cut := strings.LastIndex(s.asked[0], "/"); cut > 0 {
			prefix = s.asked[0][:cut+1]
		}
	}
	list := slices.Clone(s.asked)
	for _, name := range all {
		if scope := prefix + name; !slices.ContainsFunc(list, func(other string) bool { return strings.EqualFold(other, scope) }) {
			list = append(list, scope)
		}
	}
	for _, name := range s.openID {
		if name != "offline_access" { // is told by the refresh token
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

// consented reports whether everything asked for is among what was granted to
// the app.
func (s scopes) consented(all []string) bool {
	for _, scope := range s.asked {
		_, name := cutScope(scope)
		if name != ".default" && !slices.ContainsFunc(all, func(own string) bool { return strings.EqualFold(own, name) }) {
			return false
		}
	}
	return len(all) > 0
}

// delegation is a user's leave for an app to act for them.
type delegation struct {
	user     string // object id
	scopes   scopes
	signedIn time.Time
}

// refreshToken continues a delegation.
type refreshToken struct {
	delegation
	app     string
	epoch   int // revocations of the user's sign-ins when it was issued
	expires time.Time
	used    time.Time // when its successor was issued; zero before
}

// revocation is the latest of a user's.
type revocation struct {
	at    time.Time
	epoch int
}

// refreshes holds the refresh tokens of a tenant.
type refreshes struct {
	mu      sync.Mutex
	tokens  map[digest]*refreshToken
	revoked map[string]revocation // by object id
}

func (s *refreshes) issue(app string, d delegation, now time.Time, life, grace time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, old := range s.tokens {
		ended := old.expires
		if !old.used.IsZero() && old.used.Add(grace).Before(ended) {
			ended = old.used.Add(grace)
		}
		if now.After(ended.Add(refreshMemory)) {
			delete(s.tokens, key)
		}
	}
	if s.tokens == nil {
		s.tokens = make(map[digest]*refreshToken)
	}
	token := "1." + rand.Text() + rand.Text()
	s.tokens[digestOf(token)] = &refreshToken{
		delegation: d, app: app, epoch: s.revoked[d.user].epoch, expires: now.Add(life),
	}
	return token
}

// redeem uses a refresh token. It keeps working for grace after its first use.
func (s *refreshes) redeem(token, app string, now time.Time, grace time.Duration) (delegation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.tokens[digestOf(token)]
	switch {
	case found == nil:
		return delegation{}, refusal("invalid_grant", 9002313, "Invalid request. Request is malformed or invalid: the refresh token is not known.")
	case found.app != app:
		return delegation{}, refusal("invalid_grant", 70000, "Provided grant is invalid or malformed: the refresh token was issued to another application.")
	case found.epoch != s.revoked[found.user].epoch:
		return delegation{}, refusal("invalid_grant", 50173, fmt.Sprintf(
			"The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. The grant was issued on '%s' and the TokensValidFrom date (before which tokens are not valid) for this user is '%s'.",
			found.signedIn.UTC().Format(time.RFC3339Nano), s.revoked[found.user].at.UTC().Format(time.RFC3339Nano)))
	case !now.Before(found.expires):
		return delegation{}, refusal("invalid_grant", 700082, fmt.Sprintf(
			"The refresh token has expired due to inactivity. It became invalid on %s.", found.expires.UTC().Format(time.RFC3339)))
	case !found.used.IsZero() && !now.Before(found.used.Add(grace)):
		return delegation{}, refusal("invalid_grant", 70000, "Provided grant is invalid or malformed: the refresh token has been replaced by a newer one.")
	}
	if found.used.IsZero() {
		found.used = now
	}
	return found.delegation, nil
}

// refreshGrant exchanges a refresh token. The form may ask for other scopes
// than the sign-in did.
func (t *Tenant) refreshGrant(form url.Values, app App, now time.Time) (delegation, error) {
	if err := required(form, "refresh_token"); err != nil {
		return delegation{}, err
	}
	d, err := t.entra.refreshes.redeem(form.Get("refresh_token"), app.ClientID, now, t.refreshGrace())
	if err != nil || form.Get("scope") == "" {
		return d, err
	}
	d.scopes, err = scopesOf(form)
	return d, err
}

// refreshGrace is how long a refresh token works after its first use.
func (t *Tenant) refreshGrace() time.Duration {
	if t.faults.get().Auth.RefreshOnce {
		return 0
	}
	return t.cfg.RefreshGrace
}

// delegate issues the tokens of a delegation: an access token with every
// scope the app was granted, as Entra ID does whatever of them is asked for,
// and with the OpenID scopes an id token and a refresh token.
func (t *Tenant) delegate(r *http.Request, app App, d delegation, now time.Time) (map[string]any, error) {
	index, ok := t.dir.ByID(d.user)
	if !ok {
		return nil, refusal("invalid_grant", 50034, "The user account does not exist in the directory.")
	}
	user := t.dir.User(index)
	resource := or(d.scopes.resource, graphRoots[1])
	if !slices.Contains(t.entra.audiences(baseURL(r)+"/v1.0"), resource) {
		return nil, refusal("invalid_resource", 500011, fmt.Sprintf(
			"The resource principal named %s was not found in the tenant.", resource))
	}
	if !d.scopes.consented(app.Scopes) {
		return nil, refusal("invalid_grant", 65001, fmt.Sprintf(
			"The user or administrator has not consented to use the application with ID '%s'. Send an interactive authorization request for this user and resource.", app.ClientID))
	}
	access := t.newGraphClaims(app, r.PostForm)
	access.Scope, access.IDType = strings.Join(app.Scopes, " "), "user"
	access.name(user)
	answer, err := t.accessAnswer(access, resource, now)
	if err != nil {
		return nil, err
	}
	answer["scope"] = d.scopes.granted(app.Scopes)
	if d.scopes.has("openid") {
		if answer["id_token"], err = t.idToken(r, app, user, now); err != nil {
			return nil, err
		}
	}
	if d.scopes.has("offline_access") {
		answer["refresh_token"] = t.entra.refreshes.issue(app.ClientID, d, now, t.cfg.RefreshLifetime, t.refreshGrace())
	}
	if r.PostForm.Get("client_info") == "1" {
		raw, err := json.Marshal(map[string]string{"uid": user.ID, "utid": t.cfg.TenantID})
		if err != nil {
			return nil, fmt.Errorf("writing the client info: %w", err)
		}
		answer["client_info"] = base64.RawURLEncoding.EncodeToString(raw)
	}
	return answer, nil
}

// name writes the user into the claims.
func (c *claims) name(user User) {
	c.ObjectID, c.Subject = user.ID, user.ID
	c.Name, c.UPN, c.Preferred = user.DisplayName, user.UserPrincipalName, user.UserPrincipalName
}

// idToken tells the app who has signed in.
func (t *Tenant) idToken(r *http.Request, app App, user User, now time.Time) (string, error) {
	key, err := t.entra.key()
	if err != nil {
		return "", err
	}
	c := claims{Version: "2.0", Claims: jwt.Claims{Issuer: t.entra.issuer(baseURL(r))}}
	c.name(user)
	return key.sign(t.entra.stamp(c, app.ClientID, now, time.Hour))
}

// RevokeSignIns makes every refresh token issued to the user so far invalid,
// for all apps, as an administrator or a new password does. Access tokens live
// on until they expire. The error is people.ErrNoUser for unknown users.
func (t *Tenant) RevokeSignIns(user string) error {
	index, ok := t.dir.Find(user)
	if !ok {
		return fmt.Errorf("revoking the sign-ins of %q: %w", user, people.ErrNoUser)
	}
	s := &t.entra.refreshes
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revoked == nil {
		s.revoked = make(map[string]revocation)
	}
	id := t.dir.Person(index).ID()
	s.revoked[id] = revocation{at: t.clock.Now(), epoch: s.revoked[id].epoch + 1}
	return nil
}
