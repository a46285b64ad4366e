package signin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/maypok86/otter/v2"

	"ucwagate/graphsrc/clock"
)

const (
	// DefaultAuthority is the sign-in service of the worldwide cloud.
	DefaultAuthority = "https://login.microsoftonline.com"
	// DefaultClockSkew is what Microsoft's own libraries allow between two clocks.
	DefaultClockSkew = 5 * time.Minute

	defaultTokenCache = 10_000
	maxAccessToken    = 16 << 10 // bytes; Entra ID's are about two thousand
	maxUnixSeconds    = 253402300799
)

// EntraConfig says whose access tokens are accepted.
type EntraConfig struct {
	// Authority is the root URL of the sign-in service, without a tenant;
	// empty means DefaultAuthority.
	Authority string
	// V1Issuer is the issuer named by tokens of version 1, with {tid} in place
	// of the tenant's id. Empty means that of the authority's cloud:
	// https://sts.windows.net/{tid}/, in China https://sts.chinacloudapi.cn/{tid}/.
	V1Issuer string
	// TenantIDs are the ids (GUIDs) of the tenants whose users may sign in; at
	// least one.
	TenantIDs []string
	// Audiences are the accepted values of a token's audience: application ids
	// and App ID URIs; at least one. An id stands for its api://id too, and
	// the other way round.
	Audiences []string
	// ClockSkew is by how much the clocks may differ; zero means
	// DefaultClockSkew, less than zero none.
	ClockSkew time.Duration
	// HTTPClient fetches the authority's documents; nil means one of the
	// package's own. A client without a time-out gets one of ten seconds.
	HTTPClient *http.Client
	// Others are further authorities, such as those of national clouds. The
	// challenge sends clients to the first one, above.
	Others []EntraAuthority
	// Scopes, if not empty, are delegated permissions (scp) of which a user's
	// token must have at least one, such as Presence.Access. Name one: it also
	// keeps out ID tokens, which are for the client and not for the gateway.
	Scopes []string
	// Roles, if not empty, are app roles (roles) of which every token must have
	// at least one: assigned to the user, or to the application whose token it
	// is.
	Roles []string
	// Applications are the applications that may sign in without a user, each
	// with the address as which it does: application id → address. All others
	// are refused.
	Applications map[string]string
	// Clock is nil for the system's.
	Clock clock.Clock
	// CacheSize is how many verified tokens are remembered; zero means 10,000.
	CacheSize int
}

// EntraAuthority is a sign-in service and the tenants whose tokens of it are
// accepted. The fields mean what those of EntraConfig do.
type EntraAuthority struct {
	Authority  string
	V1Issuer   string
	TenantIDs  []string
	HTTPClient *http.Client
}

// Entra verifies Entra ID access tokens. Nothing is fetched before the first
// token comes, and a token of a foreign issuer never causes a request. Safe
// for use by several goroutines.
type Entra struct {
	authority string
	tenants   []string
	audiences []string
	issuers   map[string]*entraIssuer // by the text of the iss claim
	scopes    []string
	roles     []string
	apps      map[string]string // application id → address
	skew      time.Duration
	clk       clock.Clock
	// verified has the identity by the digest of the token. Entries past their
	// time are dropped when asked for, or make room when the cache is full.
	verified *otter.Cache[[sha256.Size]byte, *verifiedToken]
}

// entraIssuer is one spelling of a tenant's issuer.
type entraIssuer struct {
	issuer string
	tenant string
	keys   *keySource // shared by the spellings of one tenant
}

type verifiedToken struct {
	id    Identity
	until time.Time // expiry and skew
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// NewEntra checks the configuration and returns a verifier. It does not use
// the network.
func NewEntra(cfg EntraConfig) (*Entra, error) {
	if len(cfg.TenantIDs) == 0 || len(cfg.Audiences) == 0 {
		return nil, errors.New("Entra ID sign-in needs at least one tenant id and one audience")
	}
	e := &Entra{
		issuers: map[string]*entraIssuer{}, apps: map[string]string{},
		scopes: slices.Clone(cfg.Scopes), roles: slices.Clone(cfg.Roles),
		skew: max(0, cmp.Or(cfg.ClockSkew, DefaultClockSkew)),
		clk:  cfg.Clock,
	}
	if e.clk == nil {
		e.clk = clock.System()
	}
	for _, a := range cfg.Audiences {
		if strings.TrimSpace(a) == "" {
			return nil, errors.New("an audience is empty")
		}
		e.audiences = append(e.audiences, audienceForms(a)...)
	}
	for _, word := range slices.Concat(e.scopes, e.roles) {
		if word == "" || strings.ContainsFunc(word, unicode.IsSpace) {
			return nil, fmt.Errorf("scope or role %q: empty, or with a space in it", word)
		}
	}
	for id, address := range cfg.Applications {
		app := strings.ToLower(strings.TrimSpace(id))
		user, err := parseAddress(address)
		if !guid.MatchString(app) || err != nil {
			return nil, fmt.Errorf("application %q as %q: not an application id (a GUID) and an address", id, address)
		}
		e.apps[app] = user
	}
	first := EntraAuthority{cfg.Authority, cfg.V1Issuer, cfg.TenantIDs, cfg.HTTPClient}
	for _, a := range append([]EntraAuthority{first}, cfg.Others...) {
		if err := e.trust(a); err != nil {
			return nil, err
		}
	}
	var err error
	e.verified, err = otter.New(&otter.Options[[sha256.Size]byte, *verifiedToken]{
		MaximumSize: cmp.Or(max(0, cfg.CacheSize), defaultTokenCache),
	})
	if err != nil {
		return nil, fmt.Errorf("making the token cache: %w", err)
	}
	return e, nil
}

// trust adds an authority.
func (e *Entra) trust(a EntraAuthority) error {
	authority, err := parseAuthority(a.Authority)
	if err != nil {
		return err
	}
	if len(a.TenantIDs) == 0 {
		return fmt.Errorf("authority %q: no tenant id", authority)
	}
	if e.authority == "" {
		e.authority = authority
	}
	var own []string
	for _, t := range a.TenantIDs {
		tenant := strings.ToLower(strings.TrimSpace(t))
		if !guid.MatchString(tenant) {
			return fmt.Errorf("tenant id %q: not a GUID (a domain name will not do: tokens carry the id)", t)
		}
		if slices.Contains(own, tenant) {
			continue
		}
		if slices.Contains(e.tenants, tenant) {
			return fmt.Errorf("tenant id %q: named under two authorities", t)
		}
		own = append(own, tenant)
		v2 := authority + "/" + tenant + "/v2.0"
		v1 := strings.ReplaceAll(cmp.Or(a.V1Issuer, v1Issuer(authority)), "{tid}", tenant)
		keys := newKeySource(v2, []string{v2, v1}, a.HTTPClient, e.clk)
		for _, issuer := range []string{v2, v1} {
			if other, ok := e.issuers[issuer]; ok && other.keys != keys {
				return fmt.Errorf("issuer %q: that of two tenants; a version 1 issuer needs {tid} in it", issuer)
			}
			e.issuers[issuer] = &entraIssuer{issuer: issuer, tenant: tenant, keys: keys}
		}
	}
	e.tenants = append(e.tenants, own...)
	return nil
}

func parseAuthority(s string) (string, error) {
	s = strings.TrimRight(cmp.Or(strings.TrimSpace(s), DefaultAuthority), "/")
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("authority %q: not an https URL", s)
	}
	return s, nil
}

// v1Issuer returns the issuer of version 1 tokens in the authority's cloud. That
// of US Government is the worldwide one.
func v1Issuer(authority string) string {
	if strings.HasSuffix(authority, ".cn") {
		return "https://sts.chinacloudapi.cn/{tid}/"
	}
	return "https://sts.windows.net/{tid}/"
}

// audienceForms returns the audience a and, where it is an application id or
// made from one, its other form: Entra ID puts the bare id into version 2
// tokens and the App ID URI into version 1 tokens of the same application.
func audienceForms(a string) []string {
	id := strings.ToLower(strings.TrimPrefix(a, "api://"))
	if guid.MatchString(id) {
		return []string{id, "api://" + id}
	}
	return []string{a}
}

// Verify returns whose token it is. The error is an ErrInvalidToken, or an
// ErrForbidden for a good token without a scope or role that is needed, or wraps
// ErrUnavailable when the authority's keys cannot be had and so nothing can be
// said about the token.
func (e *Entra) Verify(ctx context.Context, token string) (Identity, error) {
	id, _, err := e.verify(ctx, token)
	return id, err
}

// verify is Verify; first says that the token was proven now and not before.
func (e *Entra) verify(ctx context.Context, token string) (id Identity, first bool, err error) {
	if len(token) > maxAccessToken {
		return Identity{}, false, invalidToken(ResultMalformed, "The token is too long.")
	}
	digest := sha256.Sum256([]byte(token))
	if v, ok := e.verified.GetIfPresent(digest); ok {
		if e.clk.Now().Before(v.until) {
			return v.id, false, nil
		}
		e.verified.Invalidate(digest)
		return Identity{}, false, invalidToken(ResultExpired, reasonExpired)
	}
	// What the token says of itself is looked at first: it is not proven yet,
	// but it can be refused for it, without a signature check or a request.
	claims, err := unprovenClaims(token)
	if err != nil {
		return Identity{}, false, invalidToken(ResultMalformed, "The token is malformed.")
	}
	iss, ok := e.issuers[claims.Issuer]
	if !ok {
		return Identity{}, false, invalidToken(ResultWrongIssuer, "The token's issuer is not accepted.")
	}
	if _, err := e.accept(iss, claims); err != nil {
		return Identity{}, false, err
	}
	claims, err = e.prove(ctx, iss, token)
	if err != nil {
		return Identity{}, false, err
	}
	id, err = e.accept(iss, claims)
	if err != nil {
		return Identity{}, false, err
	}
	e.verified.Set(digest, &verifiedToken{id: id, until: id.Expires.Add(e.skew)})
	return id, true, nil
}

// prove checks signature and issuer and returns what the token then says.
func (e *Entra) prove(ctx context.Context, iss *entraIssuer, token string) (entraClaims, error) {
	keys := &keysOfOneCall{source: iss.keys}
	proven, err := oidc.NewVerifier(iss.issuer, keys, &oidc.Config{
		SupportedSigningAlgs: []string{oidc.RS256},
		SkipClientIDCheck:    true, // several audiences, checked by accept
		SkipExpiryCheck:      true, // the skew is configured, checked by accept
	}).Verify(ctx, token)
	if keys.outage != nil {
		return entraClaims{}, fmt.Errorf("%w: %w", ErrUnavailable, keys.outage)
	}
	if err != nil {
		return entraClaims{}, invalidToken(ResultBadSignature, "The token's signature could not be verified.")
	}
	var claims entraClaims
	if err := proven.Claims(&claims); err != nil {
		return entraClaims{}, invalidToken(ResultMalformed, "The token is malformed.")
	}
	return claims, nil
}

// keysOfOneCall hands the verifier the keys of one tenant and keeps apart why a
// signature could not be checked; the verifier's own error does not.
type keysOfOneCall struct {
	source *keySource
	outage error
}

func (k *keysOfOneCall) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.source.verifySignature(ctx, token)
	if isOutage(err) {
		k.outage = err
	}
	return payload, err
}

const reasonExpired = "The token has expired."

// accept checks everything but the signature, and reads the identity.
func (e *Entra) accept(iss *entraIssuer, c entraClaims) (Identity, error) {
	now := e.clk.Now()
	expires := time.Unix(int64(c.Expires), 0)
	switch {
	case c.Issuer != iss.issuer || !strings.EqualFold(c.TenantID, iss.tenant):
		return Identity{}, invalidToken(ResultWrongIssuer, "The token's tenant is not accepted.")
	case !slices.ContainsFunc(c.Audience, e.acceptsAudience):
		return Identity{}, invalidToken(ResultWrongAudience, "The token's audience is not accepted.")
	case c.Expires <= 0 || c.Expires > maxUnixSeconds || c.NotBefore > maxUnixSeconds:
		return Identity{}, invalidToken(ResultMalformed, "The token has no valid time of expiry.")
	case !now.Before(expires.Add(e.skew)):
		return Identity{}, invalidToken(ResultExpired, reasonExpired)
	case c.NotBefore > 0 && now.Add(e.skew).Before(time.Unix(int64(c.NotBefore), 0)):
		return Identity{}, invalidToken(ResultNotYetValid, "The token is not valid yet.")
	case len(c.ObjectID) > maxIDLen:
		return Identity{}, invalidToken(ResultMalformed, "The token is malformed.")
	}
	if c.ofApplication() {
		return e.acceptApplication(c, expires)
	}
	// The directory's own name first: preferred_username of a guest is a name
	// in another directory.
	for _, name := range []string{c.PrincipalName, c.PreferredUsername, c.UniqueName} {
		address, err := parseAddress(name)
		if err != nil {
			continue
		}
		if len(e.scopes) > 0 && !anyOf(e.scopes, strings.Fields(c.Scopes)) {
			return Identity{}, insufficient("The token has none of the scopes that are needed.")
		}
		if len(e.roles) > 0 && !anyOf(e.roles, c.Roles) {
			return Identity{}, insufficient("The user has none of the roles that are needed.")
		}
		return Identity{
			Address: address, Name: c.Name, ObjectID: strings.ToLower(c.ObjectID), TenantID: iss.tenant,
			Method: MethodEntra, Expires: expires,
		}, nil
	}
	return Identity{}, invalidToken(ResultUnknownUser, "The token names no user.")
}

// acceptApplication reads the identity of an application's token: that of the
// address it was given. The ids in the token are those of the application and
// not of a person, so the identity has none.
func (e *Entra) acceptApplication(c entraClaims, expires time.Time) (Identity, error) {
	app := strings.ToLower(cmp.Or(c.AuthorizedParty, c.ApplicationID))
	address, ok := e.apps[app]
	if !ok {
		return Identity{}, invalidToken(ResultNotAllowed, "The token is that of an application, not of a user.")
	}
	if len(e.roles) > 0 && !anyOf(e.roles, c.Roles) {
		return Identity{}, insufficient("The application has none of the roles that are needed.")
	}
	return Identity{Address: address, Method: MethodEntraApp, Expires: expires}, nil
}

// insufficient refuses a token that is good and not enough; a new one would
// have no more in it, so it is not answered by a challenge.
func insufficient(reason string) ErrForbidden {
	return ErrForbidden{Diagnostics{codeInvalidToken, reason}, ResultNotAllowed}
}

func anyOf(wanted, there []string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(there, w) })
}

func (e *Entra) acceptsAudience(aud string) bool {
	if slices.Contains(e.audiences, aud) {
		return true
	}
	return slices.Contains(e.audiences, strings.ToLower(aud)) && guid.MatchString(strings.ToLower(strings.TrimPrefix(aud, "api://")))
}

// challenge returns what the 401 says of Entra ID: the issuers trusted, in the
// form in which the servers of old name Entra ID's token service for a tenant,
// the application to ask a token for, and where. The path of authorization_uri
// is the one that client libraries cut off to get the authority.
func (e *Entra) challenge() (issuers, clientID, authorizationURI string) {
	realm := "organizations"
	if len(e.tenants) == 1 {
		realm = e.tenants[0]
	}
	for i, t := range e.tenants {
		if i > 0 {
			issuers += ","
		}
		issuers += tokenServicePrincipal + "@" + t
	}
	return issuers, e.audiences[0], e.authority + "/" + realm + "/oauth2/authorize"
}
