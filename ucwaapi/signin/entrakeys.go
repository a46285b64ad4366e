package signin

import (
	"bytes"
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

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"ucwagate/graphsrc/clock"
)

const (
	// keysFreshFor is how soon the authority's documents are fetched again at
	// the earliest. A token signed with an unknown key asks for a fetch, so
	// without this anybody could make the gateway flood the authority. Entra
	// ID publishes a key long before it signs with it.
	keysFreshFor = 30 * time.Second
	// keysFailedFor is how long a failed fetch stands before the next.
	keysFailedFor = 5 * time.Second
	// keysMaxAge is after how long the keys are fetched anew even though they
	// still do, so that a withdrawn key loses its power. Once a day is what
	// Entra ID's documentation recommends.
	keysMaxAge = 24 * time.Hour
	// keysRetry is when that is tried again after a failure; until then the
	// old keys serve.
	keysRetry = time.Minute

	documentTimeout = 10 * time.Second
	maxDocument     = 1 << 20 // bytes
)

// keySource has the signing keys of one tenant: from the discovery document of
// its issuer to the key set, each fetched when first needed.
type keySource struct {
	issuer string
	client *http.Client
	clk    clock.Clock
	flight singleflight.Group

	mu    sync.Mutex
	set   *oidc.RemoteKeySet // nil before the first discovery
	renew time.Time          // when to replace it
}

// newKeySource returns the keys of the tenant whose version 2 issuer is given.
// Keys that name another issuer than those in accepted are ignored.
func newKeySource(issuer string, accepted []string, client *http.Client, clk clock.Clock) *keySource {
	own := &http.Client{}
	if client != nil {
		*own = *client
	}
	if own.Timeout == 0 {
		own.Timeout = documentTimeout
	}
	next := own.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	own.Transport = &documents{next: next, clk: clk, accepted: accepted, last: map[string]document{}}
	return &keySource{issuer: issuer, client: own, clk: clk}
}

// verifySignature returns the payload of token if one of the keys has signed
// it. See isOutage for the error.
func (k *keySource) verifySignature(ctx context.Context, token string) ([]byte, error) {
	set, due := k.current()
	if set == nil {
		var err error
		if set, err = k.first(ctx); err != nil {
			return nil, err
		}
	}
	if due {
		fresh, err := k.discover(ctx)
		if err == nil {
			payload, err := fresh.VerifySignature(ctx, token)
			if !isOutage(err) {
				k.install(fresh)
				return payload, err
			}
		}
	}
	return set.VerifySignature(ctx, token)
}

// current returns the keys, nil before the first discovery, and whether the
// caller is to renew them.
func (k *keySource) current() (set *oidc.RemoteKeySet, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clk.Now()
	due = k.set != nil && !now.Before(k.renew)
	if due {
		// One caller pays for the renewal; the others go on with the old keys.
		k.renew = now.Add(keysRetry)
	}
	return k.set, due
}

func (k *keySource) install(set *oidc.RemoteKeySet) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set, k.renew = set, k.clk.Now().Add(keysMaxAge)
}

// first discovers the keys when there are none yet. Callers at the same time
// share one request, which does not end with the first of them.
func (k *keySource) first(ctx context.Context) (*oidc.RemoteKeySet, error) {
	result := k.flight.DoChan("", func() (any, error) {
		if set, _ := k.current(); set != nil {
			return set, nil // a flight ended between the look and this one
		}
		set, err := k.discover(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		k.install(set)
		return set, nil
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*oidc.RemoteKeySet), nil
	case <-ctx.Done():
		return nil, &outageError{fmt.Errorf("waiting for the keys of %s: %w", k.issuer, ctx.Err())}
	}
}

// discover asks the issuer where its keys are. It does not fetch them.
func (k *keySource) discover(ctx context.Context) (*oidc.RemoteKeySet, error) {
	ctx = oidc.ClientContext(ctx, k.client)
	provider, err := oidc.NewProvider(ctx, k.issuer)
	if err != nil {
		return nil, &outageError{fmt.Errorf("discovering the keys of %s: %w", k.issuer, err)}
	}
	var doc struct {
		KeysURL string `json:"jwks_uri"`
	}
	if err := provider.Claims(&doc); err != nil {
		return nil, &outageError{fmt.Errorf("reading the discovery document of %s: %w", k.issuer, err)}
	}
	if u, err := url.Parse(doc.KeysURL); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, &outageError{fmt.Errorf("the discovery document of %s has no https URL in jwks_uri", k.issuer)}
	}
	return oidc.NewRemoteKeySet(ctx, doc.KeysURL), nil
}

// outageError says that the authority's documents cannot be had.
type outageError struct{ err error }

func (e *outageError) Error() string { return e.err.Error() }
func (e *outageError) Unwrap() error { return e.err }

// isOutage tells an error of fetching the keys from one of the token.
func isOutage(err error) bool {
	var outage *outageError
	var transport *url.Error // what an http.Client returns, always
	return errors.As(err, &outage) || errors.As(err, &transport) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// documents is the transport below go-oidc. It bounds how often and how much is
// fetched, turns whatever is not a good document into an error, and leaves out
// keys that are not for our use.
type documents struct {
	next     http.RoundTripper
	clk      clock.Clock
	accepted []string

	mu   sync.Mutex
	last map[string]document // by URL: the discovery document and the key set
}

type document struct {
	body  []byte
	err   error
	until time.Time
}

// RoundTrip implements http.RoundTripper for GET requests.
func (d *documents) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.URL.String()
	d.mu.Lock()
	doc, ok := d.last[key]
	d.mu.Unlock()
	if ok && d.clk.Now().Before(doc.until) {
		return doc.response(req)
	}
	resp, err := d.next.RoundTrip(req)
	if err == nil && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return resp, nil // for the client to follow
	}
	doc = d.read(resp, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.last) >= 8 {
		clear(d.last) // redirects to ever new URLs
	}
	d.last[key] = doc
	return doc.response(req)
}

func (d *documents) read(resp *http.Response, err error) document {
	var body []byte
	if err == nil {
		defer resp.Body.Close()
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
		switch {
		case err != nil:
			err = fmt.Errorf("reading the answer: %w", err)
		case resp.StatusCode != http.StatusOK:
			err = fmt.Errorf("the answer is %s", resp.Status)
		case len(body) > maxDocument:
			err = errors.New("the answer is too long")
		default:
			body, err = d.usable(body)
		}
	}
	now := d.clk.Now()
	if err != nil {
		return document{err: err, until: now.Add(keysFailedFor)}
	}
	return document{body: body, until: now.Add(keysFreshFor)}
}

// usable returns the document without the keys that cannot sign tokens of this
// tenant. A key set in which none is left would lock everybody out and is an
// error instead.
func (d *documents) usable(body []byte) ([]byte, error) {
	var doc struct {
		KeysURL string            `json:"jwks_uri"`
		Keys    []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if doc.KeysURL != "" {
		return body, nil
	}
	doc.Keys = slices.DeleteFunc(doc.Keys, func(key json.RawMessage) bool { return !d.forUse(key) })
	if len(doc.Keys) == 0 {
		return nil, errors.New("the answer has no usable signing key")
	}
	return json.Marshal(map[string]any{"keys": doc.Keys})
}

// forUse accepts RSA keys for signatures. Entra ID names in some keys the
// issuer they sign for: one for consumer accounts must not sign for a tenant.
func (d *documents) forUse(raw json.RawMessage) bool {
	var about struct {
		Type   string `json:"kty"`
		Use    string `json:"use"`
		Issuer string `json:"issuer"`
	}
	var key jose.JSONWebKey
	if json.Unmarshal(raw, &about) != nil || about.Type != "RSA" || about.Use != "" && about.Use != "sig" {
		return false
	}
	if about.Issuer != "" && !strings.Contains(about.Issuer, "{tenantid}") && !slices.Contains(d.accepted, about.Issuer) {
		return false
	}
	return json.Unmarshal(raw, &key) == nil && key.IsPublic() && key.Valid()
}

func (d document) response(req *http.Request) (*http.Response, error) {
	if d.err != nil {
		return nil, d.err
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(bytes.NewReader(d.body)),
		ContentLength: int64(len(d.body)),
		Request:       req,
	}, nil
}
