package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"ucwagate/graphsrc/clock"
)

const (
	// keysMaxAge is after how long the keys are fetched anew although they
	// still do, so that a withdrawn key loses its power. Once a day is what
	// Entra ID's documentation recommends.
	keysMaxAge = 24 * time.Hour
	// keysPause is the least time between two fetches, whatever tokens come.
	// Entra ID publishes a key long before it signs with it.
	keysPause = time.Minute

	documentTimeout = 10 * time.Second
	maxDocument     = 1 << 20 // bytes
)

// signingKeys has the public keys by which the authority's tokens are verified,
// fetched when first needed. Known keys serve through an outage.
type signingKeys struct {
	issuer   string   // whose discovery document leads to the keys
	accepted []string // issuers that a key may be bound to
	client   *http.Client
	clk      clock.Clock

	turn chan struct{} // holds one token, for the one who fetches

	mu      sync.Mutex
	known   map[string]*jose.JSONWebKey // by key id
	fetched time.Time                   // when known was fetched
	tried   time.Time                   // when the last fetch ended, well or not
	outage  error                       // of the last fetch
}

func newSigningKeys(issuer string, accepted []string, client *http.Client, clk clock.Clock) *signingKeys {
	own := &http.Client{}
	if client != nil {
		*own = *client
	}
	if own.Timeout == 0 {
		own.Timeout = documentTimeout
	}
	return &signingKeys{issuer: issuer, accepted: accepted, client: own, clk: clk, turn: make(chan struct{}, 1)}
}

// key returns the key with that id. The error wraps ErrBadToken if the authority
// has no such key, ErrKeysUnavailable if that is not known.
func (s *signingKeys) key(ctx context.Context, id string) (*jose.JSONWebKey, error) {
	key, mayFetch, _ := s.look(id)
	switch {
	case key != nil && !mayFetch:
		return key, nil
	case key != nil:
		select {
		case s.turn <- struct{}{}: // one caller pays for the renewal
		default:
			return key, nil // the others go on with what there is
		}
	default:
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, ctx.Err())
		}
	}
	defer func() { <-s.turn }()
	if _, mayFetch, _ = s.look(id); mayFetch { // nobody else has just done it
		s.fetch(ctx)
	}
	key, _, outage := s.look(id)
	switch {
	case key != nil:
		return key, nil
	case outage != nil:
		return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, outage)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, ctx.Err())
	}
	return nil, fmt.Errorf("%w: its key is unknown", ErrBadToken)
}

// look returns the key if it is known, whether a fetch is wanted and allowed,
// and why the last one failed.
func (s *signingKeys) look(id string) (key *jose.JSONWebKey, mayFetch bool, outage error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clk.Now()
	key = s.known[id]
	wanted := key == nil || now.Sub(s.fetched) >= keysMaxAge
	return key, wanted && (s.tried.IsZero() || now.Sub(s.tried) >= keysPause), s.outage
}

// fetch replaces the keys if it can. The caller has the turn.
func (s *signingKeys) fetch(ctx context.Context) {
	known, err := s.download(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.known, s.fetched = known, s.clk.Now()
	case ctx.Err() != nil:
		return // a caller who left says nothing of the authority
	}
	s.tried, s.outage = s.clk.Now(), err
}

// download goes from the discovery document to the keys.
func (s *signingKeys) download(ctx context.Context) (map[string]*jose.JSONWebKey, error) {
	var doc struct {
		KeysURL string `json:"jwks_uri"`
	}
	if err := s.get(ctx, s.issuer+"/.well-known/openid-configuration", &doc); err != nil {
		return nil, fmt.Errorf("fetching the discovery document: %w", err)
	}
	if u, err := url.Parse(doc.KeysURL); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the discovery document has no https URL in jwks_uri")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, doc.KeysURL, &set); err != nil {
		return nil, fmt.Errorf("fetching the keys: %w", err)
	}
	known := map[string]*jose.JSONWebKey{}
	for _, raw := range set.Keys {
		if key := s.usable(raw); key != nil {
			known[key.KeyID] = key
		}
	}
	if len(known) == 0 {
		return nil, errors.New("the key set has no usable signing key") // taking it would refuse everything
	}
	return known, nil
}

// usable returns the key if it is an RSA key for signatures, nil otherwise.
// Entra ID names in some keys the issuer they sign for: one for consumer
// accounts must not sign for a tenant.
func (s *signingKeys) usable(raw json.RawMessage) *jose.JSONWebKey {
	var about struct {
		Type   string `json:"kty"`
		Use    string `json:"use"`
		Issuer string `json:"issuer"`
	}
	if json.Unmarshal(raw, &about) != nil || about.Type != "RSA" || about.Use != "" && about.Use != "sig" {
		return nil
	}
	if about.Issuer != "" && !strings.Contains(about.Issuer, "{tenantid}") && !slices.Contains(s.accepted, about.Issuer) {
		return nil
	}
	key := new(jose.JSONWebKey)
	if json.Unmarshal(raw, key) != nil || key.KeyID == "" || !key.IsPublic() || !key.Valid() {
		return nil
	}
	return key
}

// get reads a JSON document of at most maxDocument bytes.
func (s *signingKeys) get(ctx context.Context, from string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err // it says method and URL
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer: %w", err)
	case resp.Request.URL.Scheme != "https":
		return errors.New("the answer came by a redirect from a URL that is not https")
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the answer is %s", resp.Status)
	case len(body) > maxDocument:
		return errors.New("the answer is too long")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}
