package notify

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID     = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	clientID     = "8e460676-ae3f-4b1e-8790-ee0fb5d6148f"
	anaID        = "4e9b4f6e-1d2c-4b3a-9f8e-7d6c5b4a3f2e"
	benID        = "0b7c6d5e-4f3a-4291-8a7b-6c5d4e3f2a1b"
	subscription = "76222963-cc7b-42d2-882d-8aaa69cb2ba3"
	secret       = "the-secret-of-the-subscription"
)

// testKeys are RSA keys that the tests sign and decrypt with, made once.
var testKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	made := make([]*rsa.PrivateKey, 3)
	for i := range made {
		key, err := rsa.GenerateKey(rand.Reader, keyBits)
		if err != nil {
			panic(err)
		}
		made[i] = key
	}
	return made
})

// shiftedClock is the system's clock moved by hand. It serves where a real
// network is involved, in whose company a synctest bubble's clock stands still.
type shiftedClock struct {
	clock.Clock
	shift atomic.Int64
}

func newShiftedClock() *shiftedClock { return &shiftedClock{Clock: clock.System()} }

func (c *shiftedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.shift.Load())) }

func (c *shiftedClock) advance(d time.Duration) { c.shift.Add(int64(d)) }

// sealing encrypts as Graph does; each function stands for a step that a test
// can do otherwise.
type sealing struct {
	dataKey []byte
	iv      func(dataKey []byte) []byte
	pad     func(plain []byte) []byte
	sign    func(dataKey, data []byte) []byte
	wrap    func(public *rsa.PublicKey, dataKey []byte) ([]byte, error)
}

func newSealing() *sealing {
	s := &sealing{
		dataKey: make([]byte, 32),
		iv:      func(dataKey []byte) []byte { return dataKey[:16] },
		pad: func(plain []byte) []byte {
			n := 16 - len(plain)%16
			return append(slices.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...)
		},
		sign: func(dataKey, data []byte) []byte {
			mac := hmac.New(sha256.New, dataKey)
			mac.Write(data)
			return mac.Sum(nil)
		},
		wrap: func(public *rsa.PublicKey, dataKey []byte) ([]byte, error) {
			return rsa.EncryptOAEP(sha1.New(), rand.Reader, public, dataKey, nil)
		},
	}
	_, _ = rand.Read(s.dataKey)
	return s
}

func (s *sealing) seal(t testing.TB, certificateDER []byte, id, plain string) EncryptedContent {
	t.Helper()
	certificate, err := x509.ParseCertificate(certificateDER)
	require.NoError(t, err)
	block, err := aes.NewCipher(s.dataKey)
	require.NoError(t, err)
	padded := s.pad([]byte(plain))
	data := make([]byte, len(padded))
	cipher.NewCBCEncrypter(block, s.iv(s.dataKey)).CryptBlocks(data, padded)
	wrapped, err := s.wrap(certificate.PublicKey.(*rsa.PublicKey), s.dataKey)
	require.NoError(t, err)
	return EncryptedContent{
		Data:          base64.StdEncoding.EncodeToString(data),
		DataSignature: base64.StdEncoding.EncodeToString(s.sign(s.dataKey, data)),
		DataKey:       base64.StdEncoding.EncodeToString(wrapped),
		CertificateID: id,
	}
}

// seal encrypts for the current key of the ring.
func seal(t testing.TB, k *Keyring, plain string) EncryptedContent {
	t.Helper()
	der, id := k.Current()
	return newSealing().seal(t, der, id, plain)
}

func presenceJSON(id, availability, activity string) string {
	return fmt.Sprintf(`{"@odata.id":"users/%s/presence","@odata.type":"#microsoft.graph.presence","id":%q,"availability":%q,"activity":%q}`,
		id, id, availability, activity)
}

// issuer is the sign-in service: its documents, and tokens signed by testKeys. It
// is a handler for a server and a transport of its own for synctest bubbles.
type issuer struct {
	root    string
	fetches atomic.Int64 // of the keys

	mu        sync.Mutex
	published []map[string]any
	fault     http.HandlerFunc
}

func newIssuer(root string, published ...int) *issuer {
	i := &issuer{root: root}
	i.publish(published...)
	return i
}

func (i *issuer) publish(keys ...int) {
	var set []map[string]any
	for _, n := range keys {
		raw, err := json.Marshal(jose.JSONWebKey{Key: testKeys()[n].Public(), KeyID: fmt.Sprint("key", n), Use: "sig"})
		if err != nil {
			panic(err)
		}
		var key map[string]any
		if err := json.Unmarshal(raw, &key); err != nil {
			panic(err)
		}
		set = append(set, key)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = set
}

func (i *issuer) mark(key int, with map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.Copy(i.published[key], with)
}

func (i *issuer) fail(how http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = how
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch r.URL.Path {
	case "/" + tenantID + "/v2.0/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"jwks_uri": i.root + "/keys"})
	case "/keys":
		i.fetches.Add(1)
		if i.fault != nil {
			i.fault(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.published})
	default:
		http.NotFound(w, r)
	}
}

func (i *issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	i.ServeHTTP(rec, req)
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// tokens returns a verifier that fetches without a network.
func (i *issuer) tokens(t testing.TB, clk clock.Clock) *Tokens {
	t.Helper()
	tokens, err := NewTokens(TokensConfig{
		Authority: i.root, TenantID: tenantID, ClientID: clientID, HTTPClient: &http.Client{Transport: i}, Clock: clk,
	})
	require.NoError(t, err)
	return tokens
}

// goodClaims are those of a version 1 token at that time, changed as said; nil
// takes a claim away.
func goodClaims(now time.Time, changed map[string]any) map[string]any {
	claims := map[string]any{
		"iss": "https://sts.windows.net/" + tenantID + "/", "aud": clientID, "appid": PublisherID, "tid": tenantID,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "ver": "1.0",
	}
	maps.Copy(claims, changed)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// token signs claims with the n-th test key.
func token(t testing.TB, n int, claims map[string]any) string {
	t.Helper()
	return signed(t, jose.SigningKey{Algorithm: jose.RS256, Key: testKeys()[n]}, fmt.Sprint("key", n), claims)
}

func signed(t testing.TB, key jose.SigningKey, id string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id))
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	jws, err := signer.Sign(payload)
	require.NoError(t, err)
	compact, err := jws.CompactSerialize()
	require.NoError(t, err)
	return compact
}

// tape is a sink that keeps everything.
type tape struct {
	hold chan struct{} // when not nil, what is told waits until it is closed

	mu      sync.Mutex
	changes []graphsrc.PresenceChange
	events  []string
}

func (s *tape) Changed(changes []graphsrc.PresenceChange) {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, changes...)
}

func (s *tape) Lifecycle(id string, event Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, id+" "+string(event))
}

func (s *tape) told() ([]graphsrc.PresenceChange, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.changes), slices.Clone(s.events)
}

// take returns what was told since it was last called.
func (s *tape) take() ([]graphsrc.PresenceChange, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, events := s.changes, s.events
	s.changes, s.events = nil, nil
	return changes, events
}

// secrets are the subscriptions known, by id; the empty id is one being made.
type secrets map[string]string

func (s secrets) Knows(id, clientState string) bool {
	for known, state := range s {
		if (known == id || known == "") && state == clientState {
			return true
		}
	}
	return false
}

// notification is an item as Graph sends it, changed as said.
func notification(changed map[string]any) map[string]any {
	item := map[string]any{
		"subscriptionId": subscription, "clientState": secret, "changeType": "updated", "tenantId": tenantID,
		"resource": "communications/presences/" + anaID, "subscriptionExpirationDateTime": "2023-09-14T10:00:00.0000000Z",
		"resourceData": map[string]any{
			"@odata.id": "users/" + anaID + "/presence", "@odata.type": "#microsoft.graph.presence", "id": anaID,
		},
		"organizationId": tenantID,
	}
	maps.Copy(item, changed)
	maps.DeleteFunc(item, func(_ string, v any) bool { return v == nil })
	return item
}

func body(t testing.TB, tokens []string, items ...map[string]any) string {
	t.Helper()
	doc := map[string]any{"value": items}
	if tokens != nil {
		doc["validationTokens"] = tokens
	}
	raw, err := json.Marshal(doc)
	require.NoError(t, err)
	return string(raw)
}

// post delivers without a network and returns the answer.
func post(r *Receiver, target, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, target, strings.NewReader(body)))
	return rec
}

// settle waits until the workers have nothing left to do.
func settle(t testing.TB, r *Receiver) {
	t.Helper()
	require.Eventually(t, func() bool { return r.Stats().Waiting == 0 }, 10*time.Second, time.Millisecond)
}
