package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"ucwagate/graphsrc/clock"
)

const (
	// PublisherID is the application id of Graph's service of change
	// notifications, the same in every tenant.
	//
	// Source: https://learn.microsoft.com/en-us/graph/change-notifications-with-resource-data
	PublisherID = "0bf30f3b-4a52-48df-9a82-234910c4a086"

	// clockSkew is what Microsoft's own libraries allow between two clocks.
	clockSkew = 5 * time.Minute
	// maxToken bounds a validation token, in bytes; Entra ID's are about two
	// thousand.
	maxToken = 16 << 10
)

var (
	// ErrBadToken is wrapped by the error of a token that proves nothing.
	ErrBadToken = errors.New("the validation token is not accepted")
	// ErrKeysUnavailable is wrapped by the error when the authority's keys cannot
	// be had, so that nothing can be said of a token.
	ErrKeysUnavailable = errors.New("the sign-in service's keys are not available")
)

// TokensConfig says for whom validation tokens are made out.
type TokensConfig struct {
	// Authority is the root URL of the sign-in service, without a tenant, such
	// as https://login.microsoftonline.com.
	Authority string
	// TenantID and ClientID are GUIDs: the tenant and our app registration.
	TenantID, ClientID string
	// HTTPClient fetches the authority's keys; nil means one of the package's
	// own. A client without a time-out gets one of ten seconds.
	HTTPClient *http.Client
	// Clock is nil for the system's.
	Clock clock.Clock
}

// Tokens verifies the validation tokens of deliveries: JSON web tokens by which
// Graph proves that it is the sender. Nothing is fetched before the first token
// comes that claims to be for us. Safe for use by several goroutines.
type Tokens struct {
	tenant, client     string
	issuerV1, issuerV2 string
	keys               *signingKeys
	clk                clock.Clock
}

// NewTokens checks the configuration. It does not use the network.
func NewTokens(cfg TokensConfig) (*Tokens, error) {
	authority := strings.TrimRight(cfg.Authority, "/")
	u, err := url.Parse(authority)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("authority %q: not an https URL", cfg.Authority)
	}
	t := &Tokens{tenant: strings.ToLower(cfg.TenantID), client: strings.ToLower(cfg.ClientID), clk: cfg.Clock}
	if !guid.MatchString(t.tenant) {
		return nil, fmt.Errorf("tenant id %q: not a GUID", cfg.TenantID)
	}
	if !guid.MatchString(t.client) {
		return nil, fmt.Errorf("client id %q: not a GUID", cfg.ClientID)
	}
	if t.clk == nil {
		t.clk = clock.System()
	}
	// That of US Government is the worldwide one; China, which has another, has
	// no presence.
	t.issuerV1 = "https://sts.windows.net/" + t.tenant + "/"
	t.issuerV2 = authority + "/" + t.tenant + "/v2.0"
	t.keys = newSigningKeys(t.issuerV2, []string{t.issuerV1, t.issuerV2}, cfg.HTTPClient, t.clk)
	return t, nil
}

// claims is what is read of a token. Version 1 and 2 name the application that
// it was issued to in different claims.
type claims struct {
	jwt.Claims
	TenantID        string `json:"tid"`
	AppID           string `json:"appid"`
	AuthorizedParty string `json:"azp"`
}

// Verify returns nil if the token is Graph's, for our application in our tenant,
// and valid now. The error wraps ErrBadToken or ErrKeysUnavailable; neither has
// a part of the token in it.
func (t *Tokens) Verify(ctx context.Context, token string) error {
	if len(token) > maxToken {
		return fmt.Errorf("%w: it is too long", ErrBadToken)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || len(parsed.Headers) != 1 {
		return fmt.Errorf("%w: it is not a token signed by RS256", ErrBadToken)
	}
	// What the token says of itself is looked at first: it is not proven yet,
	// but it can be refused for it, without a request for keys.
	var said, proven claims
	if err := parsed.UnsafeClaimsWithoutVerification(&said); err != nil {
		return fmt.Errorf("%w: its claims are malformed", ErrBadToken)
	}
	if err := t.accept(said); err != nil {
		return err
	}
	key, err := t.keys.key(ctx, parsed.Headers[0].KeyID)
	if err != nil {
		return err
	}
	if err := parsed.Claims(key, &proven); err != nil {
		return fmt.Errorf("%w: its signature is wrong", ErrBadToken)
	}
	return t.accept(proven)
}

// accept checks everything but the signature.
func (t *Tokens) accept(c claims) error {
	var publisher string
	switch c.Issuer {
	case t.issuerV1:
		publisher = c.AppID
	case t.issuerV2:
		publisher = c.AuthorizedParty
	default:
		return fmt.Errorf("%w: its issuer is another", ErrBadToken)
	}
	switch {
	case !strings.EqualFold(publisher, PublisherID):
		return fmt.Errorf("%w: it was not issued to the service of change notifications", ErrBadToken)
	case c.TenantID != "" && !strings.EqualFold(c.TenantID, t.tenant):
		return fmt.Errorf("%w: its tenant is another", ErrBadToken)
	case len(c.Audience) != 1 || !strings.EqualFold(c.Audience[0], t.client):
		return fmt.Errorf("%w: its audience is another", ErrBadToken)
	case c.Expiry == nil:
		return fmt.Errorf("%w: it never expires", ErrBadToken)
	}
	if err := c.ValidateWithLeeway(jwt.Expected{Time: t.clk.Now()}, clockSkew); err != nil {
		return fmt.Errorf("%w: it is not valid at this time", ErrBadToken)
	}
	return nil
}

// prove looks for one good token: there is one for each application and tenant
// that the delivery has items of, and ours is one pair.
func (t *Tokens) prove(ctx context.Context, tokens []string) proof {
	result := refuted
	for _, token := range tokens {
		switch err := t.Verify(ctx, token); {
		case err == nil:
			return proven
		case errors.Is(err, ErrKeysUnavailable):
			result = unknown
		}
	}
	return result
}
