package signin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

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
	// Clock is nil for the system's.
	Clock clock.Clock
	// CacheSize is how many verified tokens are remembered; zero means 10,000.
	CacheSize int
}

// Entra verifies Entra ID access tokens. Nothing is fetched before the first
// token comes, and a token of a foreign issuer never causes a request. Safe
// for use by several goroutines.
type Entra struct {
	authority string
	tenants   []string
	audiences []string
	issuers   map[string]*entraIssuer // by the text of the iss claim
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
	authority, err := parseAuthority(cfg.Authority)
	if err != nil {
		return nil, err
	}
	if len(cfg.TenantIDs) == 0 || len(cfg.Audiences) == 0 {
		return nil, errors.New("Entra ID sign-in needs at least one tenant id and one audience")
	}
	e := &Entra{
		authority: authority,
		issuers:   map[string]*entraIssuer{},
		skew:      max(0, cmp.Or(cfg.ClockSkew, DefaultClockSkew)),
		clk:       cfg.Clock,
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
	for _, t := range cfg.TenantIDs {
		tenant := strings.ToLower(strings.TrimSpace(t))
		if !guid.MatchString(tenant) {
			return nil, fmt.Errorf("tenant id %q: not a GUID (a domain name will not do: tokens carry the id)", t)
		}
		e.tenants = append(e.tenants, tenant)
		v2 := authority + "/" + tenant + "/v2.0"
		v1 := strings.ReplaceAll(cmp.Or(cfg.V1Issuer, v1Issuer(authority)), "{tid}", tenant)
		keys := newKeySource(v2, []string{v2, v1}, cfg.HTTPClient, e.clk)
		for _, issuer := range []string{v2, v1} {
			e.issuers[issuer] = &entraIssuer{issuer: issuer, tenant: tenant, keys: keys}
		}
	}
	e.verified, err = otter.New(&otter.Options[[sha256.Size]byte, *verifiedToken]{
		MaximumSize: cmp.Or(max(0, cfg.CacheSize), defaultTokenCache),
	})
	if err != nil {
		return nil, fmt.Errorf("making the token cache: %w", err)
	}
	return e, nil
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

// Verify returns whose token it is. The error is an ErrInvalidToken, or wraps
// ErrUnavailable when the authority's keys cannot be had and so nothing can be
// said about the token.
func (e *Entra) Verify(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxAccessToken {
		return Identity{}, invalidToken("The token is too long.")
	}
	digest := sha256.Sum256([]byte(token))
	if v, ok := e.verified.GetIfPresent(digest); ok {
		if e.clk.Now().Before(v.until) {
			return v.id, nil
		}
		e.verified.Invalidate(digest)
		return Identity{}, invalidToken(reasonExpired)
	}
	// What the token says of itself is looked at first: it is not proven yet,
	// but it can be refused for it, without a signature check or a request.
	claims, err := unprovenClaims(token)
	if err != nil {
		return Identity{}, invalidToken("The token is malformed.")
	}
	iss, ok := e.issuers[claims.Issuer]
	if !ok {
		return Identity{}, invalidToken("The token's issuer is not accepted.")
	}
	if _, err := e.accept(iss, claims); err != nil {
		return Identity{}, err
	}
	claims, err = e.prove(ctx, iss, token)
	if err != nil {
		return Identity{}, err
	}
	id, err := e.accept(iss, claims)
	if err != nil {
		return Identity{}, err
	}
	e.verified.Set(digest, &verifiedToken{id: id, until: id.Expires.Add(e.skew)})
	return id, nil
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
		return entraClaims{}, invalidToken("The token's signature could not be verified.")
	}
	var claims entraClaims
	if err := proven.Claims(&claims); err != nil {
		return entraClaims{}, invalidToken("The token is malformed.")
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
		return Identity{}, invalidToken("The token's tenant is not accepted.")
	case !slices.ContainsFunc(c.Audience, e.acceptsAudience):
		return Identity{}, invalidToken("The token's audience is not accepted.")
	case c.Expires <= 0 || c.Expires > maxUnixSeconds || c.NotBefore > maxUnixSeconds:
		return Identity{}, invalidToken("The token has no valid time of expiry.")
	case !now.Before(expires.Add(e.skew)):
		return Identity{}, invalidToken(reasonExpired)
	case c.NotBefore > 0 && now.Add(e.skew).Before(time.Unix(int64(c.NotBefore), 0)):
		return Identity{}, invalidToken("The token is not valid yet.")
	case c.Kind == "app":
		return Identity{}, invalidToken("The token is that of an application, not of a user.")
	case len(c.ObjectID) > maxIDLen:
		return Identity{}, invalidToken("The token is malformed.")
	}
	// The directory's own name first: preferred_username of a guest is a name
	// in another directory.
	for _, name := range []string{c.PrincipalName, c.PreferredUsername, c.UniqueName} {
		if address, err := parseAddress(name); err == nil {
			return Identity{
				Address: address, Name: c.Name, ObjectID: strings.ToLower(c.ObjectID), TenantID: iss.tenant,
				Method: MethodEntra, Expires: expires,
			}, nil
		}
	}
	return Identity{}, invalidToken("The token names no user.")
}

func (e *Entra) acceptsAudience(aud string) bool {
	if slices.Contains(e.audiences, aud) {
		return true
	}
	return slices.Contains(e.audiences, strings.ToLower(aud)) && guid.MatchString(strings.ToLower(strings.TrimPrefix(aud, "api://")))
}

// entraClaims is what is read of a token. Version 1 and 2 name the user in
// different claims.
type entraClaims struct {
	Issuer            string   `json:"iss"`
	Audience          audience `json:"aud"`
	Expires           float64  `json:"exp"`
	NotBefore         float64  `json:"nbf"`
	TenantID          string   `json:"tid"`
	ObjectID          string   `json:"oid"`
	Name              string   `json:"name"`
	PrincipalName     string   `json:"upn"`
	PreferredUsername string   `json:"preferred_username"`
	UniqueName        string   `json:"unique_name"`
	Kind              string   `json:"idtyp"`
}

// audience is a string or a list of strings (RFC 7519, 4.1.3).
type audience []string

// UnmarshalJSON accepts both forms.
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	var several []string
	if err := json.Unmarshal(data, &several); err != nil {
		return fmt.Errorf("reading the audience: %w", err)
	}
	*a = several
	return nil
}

func unprovenClaims(token string) (entraClaims, error) {
	_, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return entraClaims{}, errors.New("not three parts")
	}
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return entraClaims{}, fmt.Errorf("decoding the payload: %w", err)
	}
	var claims entraClaims
	if err := json.Unmarshal(data, &claims); err != nil {
		return entraClaims{}, fmt.Errorf("reading the claims: %w", err)
	}
	return claims, nil
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
