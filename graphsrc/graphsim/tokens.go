package graphsim

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// graphAppID is the application id of Microsoft Graph itself, which may stand
// as audience in place of its address.
const graphAppID = "00000003-0000-0000-c000-000000000000"

// graphRoots are the audiences by which the clouds name Graph.
var graphRoots = []string{
	graphAppID, "https://graph.microsoft.com", "https://graph.microsoft.us",
	"https://dod-graph.microsoft.us", "https://microsoftgraph.chinacloudapi.cn",
}

// claims are those of an access token, of version 1 (Graph) or 2 (others).
type claims struct {
	jwt.Claims
	TenantID  string   `json:"tid,omitempty"`
	AppID     string   `json:"appid,omitempty"`
	ObjectID  string   `json:"oid,omitempty"`
	Name      string   `json:"name,omitempty"`
	Preferred string   `json:"preferred_username,omitempty"`
	UPN       string   `json:"upn,omitempty"`
	Roles     []string `json:"roles,omitempty"`
	Scope     string   `json:"scp,omitempty"`
	AppIDV2   string   `json:"azp,omitempty"`
	IDType    string   `json:"idtyp,omitempty"`
	Version   string   `json:"ver,omitempty"`
	// Challenge marks a token that was issued in answer to a claims challenge.
	Challenge bool `json:"xms_challenge,omitempty"`
}

// signingKey signs all tokens of a tenant.
type signingKey struct {
	private *rsa.PrivateKey
	id      string
	signer  jose.Signer
}

// signingBits is the key length Entra ID uses.
const signingBits = 2048

func newSigningKey() (*signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, signingBits)
	if err != nil {
		return nil, fmt.Errorf("generating the signing key: %w", err)
	}
	id := rand.Text()
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: private, KeyID: id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("preparing the signing key: %w", err)
	}
	return &signingKey{private: private, id: id, signer: signer}, nil
}

// public is the key set published under discovery/v2.0/keys.
func (k *signingKey) public() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
		Key: &k.private.PublicKey, KeyID: k.id, Algorithm: string(jose.RS256), Use: "sig",
	}}}
}

func (k *signingKey) sign(c claims) (string, error) {
	text, err := jwt.Signed(k.signer).Claims(c).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return text, nil
}

var (
	errMalformed = errors.New("the token is malformed")
	errSignature = errors.New("the signature is invalid")
)

// verified remembers tokens whose signature was checked, because clients send
// the same token for an hour. It forgets everything when full.
type verified struct {
	mu     sync.Mutex
	tokens map[string]claims
}

const maxVerified = 1024

// read checks a token's form and signature, not its claims.
func (v *verified) read(token string, key *signingKey) (claims, error) {
	v.mu.Lock()
	known, ok := v.tokens[token]
	v.mu.Unlock()
	if ok {
		return known, nil
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return claims{}, errMalformed
	}
	var c claims
	if err := parsed.Claims(&key.private.PublicKey, &c); err != nil {
		return claims{}, errSignature
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tokens == nil || len(v.tokens) >= maxVerified {
		v.tokens = make(map[string]claims)
	}
	v.tokens[strings.Clone(token)] = c
	return c, nil
}

// stamp fills in the claims every token has.
func (e *entra) stamp(c claims, audience string, now time.Time, lifetime time.Duration) claims {
	c.Audience = jwt.Audience{audience}
	c.TenantID = e.tenant
	c.IssuedAt = jwt.NewNumericDate(now)
	c.NotBefore = jwt.NewNumericDate(now.Add(-5 * time.Minute))
	c.Expiry = jwt.NewNumericDate(now.Add(lifetime))
	c.ID = rand.Text()
	return c
}

// IssueUserToken makes an access token of version 2 as Entra ID issues it to
// a client in which the user has signed in. audience is the client id of the
// API the token is for, or its application id URI. The issuer is that of the
// running server (see Serve).
func (t *Tenant) IssueUserToken(user, audience string) (string, error) {
	return t.IssueUserTokenFor(user, audience, t.cfg.TokenLifetime)
}

// IssueUserTokenFor is IssueUserToken with another lifetime, which may be
// negative to make an expired token.
func (t *Tenant) IssueUserTokenFor(user, audience string, lifetime time.Duration) (string, error) {
	index, ok := t.dir.Find(user)
	if !ok {
		return "", fmt.Errorf("issuing a token: no user %q", user)
	}
	u := t.dir.User(index)
	key, err := t.entra.key()
	if err != nil {
		return "", err
	}
	c := claims{
		ObjectID: u.ID, Name: u.DisplayName, Preferred: u.UserPrincipalName,
		Scope: "access_as_user", AppIDV2: t.cfg.ClientID, Version: "2.0",
	}
	c.Issuer = t.entra.issuer("")
	c.Subject = u.ID
	return key.sign(t.entra.stamp(c, audience, t.clock.Now(), lifetime))
}

// principal is who sent a Graph request.
type principal struct {
	appID     string
	userID    string // object id of the user of a delegated token
	grants    []string
	delegated bool
	challenge bool
	expires   time.Time // of the token
}

func (p principal) may(anyOf []string) bool {
	return slices.ContainsFunc(p.grants, func(grant string) bool { return slices.Contains(anyOf, grant) })
}

// principalOf is the caller of a token that verified.
func principalOf(c claims) principal {
	p := principal{appID: strings.ToLower(or(c.AppID, c.AppIDV2)), grants: c.Roles, challenge: c.Challenge, expires: c.Expiry.Time()}
	if c.Scope != "" {
		p.delegated, p.userID, p.grants = true, c.ObjectID, strings.Fields(c.Scope)
	}
	return p
}
