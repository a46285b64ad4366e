package signin

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

const (
	tenantA  = "84841066-274d-4ec0-a5c1-276be684bdd3"
	tenantB  = "1f0f15b1-0000-4000-8000-0123456789ab"
	clientID = "11112222-3333-4444-9555-666677778888"
	objectID = "6e7b768e-07e2-4810-8459-485f84f8f204"
)

// signingKeys are made once: each takes a tenth of a second.
var signingKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	var keys []*rsa.PrivateKey
	for range 3 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
})

// issuer is an authority over real HTTPS whose keys rotate and which fails to
// order.
type issuer struct {
	*httptest.Server
	discoveries, keyFetches atomic.Int64

	mu     sync.Mutex
	keys   []map[string]any // the key set
	broken func(w http.ResponseWriter)
}

func startIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewTLSServer(i)
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	t.Cleanup(i.Close)
	i.publish(0)
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	tenant, document, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch document {
	case "v2.0/.well-known/openid-configuration":
		i.discoveries.Add(1)
	case "discovery/v2.0/keys":
		i.keyFetches.Add(1)
	default:
		http.NotFound(w, r)
		return
	}
	if i.broken != nil {
		i.broken(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if strings.HasPrefix(document, "v2.0") {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL+"/"+tenant+"/v2.0", i.URL+"/"+tenant+"/discovery/v2.0/keys")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.keys})
}

// publish replaces the key set by the signing keys with the given numbers.
func (i *issuer) publish(numbers ...int) {
	var keys []map[string]any
	for _, n := range numbers {
		data, err := jose.JSONWebKey{Key: signingKeys()[n].Public(), KeyID: kid(n), Use: "sig"}.MarshalJSON()
		if err != nil {
			panic(err)
		}
		var key map[string]any
		if err := json.Unmarshal(data, &key); err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

func (i *issuer) fail(how func(w http.ResponseWriter)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken = how
}

func kid(n int) string { return fmt.Sprintf("key-%d", n) }

func (i *issuer) entra(t testing.TB, clk *shiftedClock, change func(*EntraConfig)) *Entra {
	t.Helper()
	cfg := EntraConfig{
		Authority: i.URL + "/", TenantIDs: []string{strings.ToUpper(tenantA), tenantB}, Audiences: []string{clientID, "https://gw.contoso.test"},
		HTTPClient: i.Client(), Clock: clk,
	}
	if change != nil {
		change(&cfg)
	}
	e, err := NewEntra(cfg)
	require.NoError(t, err)
	return e
}

// claims returns those of a good version 2 token, changed; nil removes one.
func (i *issuer) claims(now time.Time, change map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.URL + "/" + tenantA + "/v2.0", "aud": clientID, "tid": tenantA, "oid": objectID,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"preferred_username": "Ana@Contoso.test", "name": "Ana Ríos", "ver": "2.0",
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t testing.TB, n int, claims map[string]any) string {
	t.Helper()
	return signWith(t, jose.RS256, jose.JSONWebKey{Key: signingKeys()[n], KeyID: kid(n)}, claims)
}

func signWith(t testing.TB, alg jose.SignatureAlgorithm, key jose.JSONWebKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	token, err := signed.CompactSerialize()
	require.NoError(t, err)
	return token
}

func requireInvalid(t *testing.T, err error, reason string) {
	t.Helper()
	var invalid ErrInvalidToken
	require.ErrorAs(t, err, &invalid)
	require.NotErrorIs(t, err, ErrUnavailable)
	require.Equal(t, codeInvalidToken, invalid.Diagnostics.Code)
	require.Contains(t, invalid.Diagnostics.Reason, reason)
}

func TestEntraAccepts(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	now := clk.Now()
	v1 := "https://sts.windows.net/" + tenantA + "/"
	for _, c := range []struct {
		name   string
		change map[string]any
		want   func(*Identity)
	}{
		{"a version 2 token", nil, nil},
		{"a version 1 token", map[string]any{"iss": v1, "aud": "api://" + clientID, "ver": "1.0", "upn": "ana@contoso.test", "preferred_username": nil}, nil},
		{"a version 1 token that names the user in unique_name", map[string]any{"iss": v1, "unique_name": "ana@contoso.test", "preferred_username": nil}, nil},
		{"the directory's name before any other", map[string]any{"upn": "ana@contoso.test", "preferred_username": "else@fabrikam.test"}, nil},
		{"an audience in a list", map[string]any{"aud": []string{"other", "https://gw.contoso.test"}}, nil},
		{"an application id in capitals", map[string]any{"aud": strings.ToUpper(clientID)}, nil},
		{"another configured tenant", map[string]any{"iss": i.URL + "/" + tenantB + "/v2.0", "tid": tenantB}, func(id *Identity) { id.TenantID = tenantB }},
		{"a token without a display name", map[string]any{"name": nil}, func(id *Identity) { id.Name = "" }},
		{"too many groups for one token", map[string]any{"_claim_names": map[string]string{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]string{"endpoint": "https://graph.invalid/"}}}, nil},
		{"a clock two minutes ahead", map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}, nil},
		{"a token expired two minutes ago, within the skew", map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}, func(id *Identity) { id.Expires = time.Unix(now.Add(-2*time.Minute).Unix(), 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := Identity{
				Address: "ana@contoso.test", Name: "Ana Ríos", ObjectID: objectID, TenantID: tenantA,
				Method: MethodEntra, Expires: time.Unix(now.Add(time.Hour).Unix(), 0),
			}
			if c.want != nil {
				c.want(&want)
			}
			got, err := i.entra(t, clk, nil).Verify(t.Context(), sign(t, 0, i.claims(now, c.change)))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, got))
		})
	}
}

func TestEntraRefusesWithoutAskingAnybody(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	now := clk.Now()
	e := i.entra(t, clk, nil)
	for _, c := range []struct {
		name   string
		change map[string]any
		want   string
	}{
		{"a foreign issuer", map[string]any{"iss": "https://evil.test/" + tenantA + "/v2.0"}, "issuer"},
		{"an issuer with a slash too many", map[string]any{"iss": i.URL + "/" + tenantA + "/v2.0/"}, "issuer"},
		{"a foreign tenant", map[string]any{"iss": i.URL + "/" + clientID + "/v2.0", "tid": clientID}, "issuer"},
		{"another tenant than the issuer's", map[string]any{"tid": tenantB}, "tenant"},
		{"no tenant", map[string]any{"tid": nil}, "tenant"},
		{"a foreign audience", map[string]any{"aud": "https://graph.microsoft.com"}, "audience"},
		{"no audience", map[string]any{"aud": nil}, "audience"},
		{"an audience that is a number", map[string]any{"aud": 1}, "malformed"},
		{"an audience in other letter case", map[string]any{"aud": "https://GW.contoso.test"}, "audience"},
		{"an expired token", map[string]any{"exp": now.Add(-DefaultClockSkew - time.Second).Unix()}, "expired"},
		{"no expiry", map[string]any{"exp": nil}, "expiry"},
		{"an expiry past all time", map[string]any{"exp": 1e300}, "expiry"},
		{"a token of tomorrow", map[string]any{"nbf": now.Add(DefaultClockSkew + time.Minute).Unix()}, "not valid yet"},
		{"an application's token", map[string]any{"idtyp": "app"}, "application"},
		{"no user name", map[string]any{"preferred_username": nil}, "names no user"},
		{"a guest's internal name", map[string]any{"preferred_username": nil, "upn": "ana_fabrikam.test#EXT#@contoso.test"}, "names no user"},
		{"a personal account's name", map[string]any{"preferred_username": nil, "unique_name": "live.com#ana@contoso.test"}, "names no user"},
		{"a name that is no address", map[string]any{"preferred_username": "ana"}, "names no user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := e.Verify(t.Context(), sign(t, 0, i.claims(now, c.change)))
			requireInvalid(t, err, c.want)
		})
	}
	for _, token := range []string{"", ".", "..", "a.b.c", "a.b.c.d", "e30.e30.", "e30.bnVsbA.", strings.Repeat("a", maxAccessToken+1)} {
		_, err := e.Verify(t.Context(), token)
		requireInvalid(t, err, "")
	}
	require.Zero(t, i.discoveries.Load()+i.keyFetches.Load())
}

func TestEntraRefusesWhatIsNotSignedByTheAuthority(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	claims := i.claims(clk.Now(), nil)
	good := sign(t, 0, claims)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	other := sign(t, 0, i.claims(clk.Now(), map[string]any{"preferred_username": "bo@contoso.test"}))
	enc := base64.RawURLEncoding
	public, err := jose.JSONWebKey{Key: signingKeys()[0].Public()}.MarshalJSON()
	require.NoError(t, err)

	for _, c := range []struct{ name, token string }{
		{"an unknown key", sign(t, 1, claims)},
		{"an unknown key under a known name", signWith(t, jose.RS256, jose.JSONWebKey{Key: signingKeys()[1], KeyID: kid(0)}, claims)},
		{"an unknown key without a name", signWith(t, jose.RS256, jose.JSONWebKey{Key: signingKeys()[1]}, claims)},
		{"the signature of another token", head + "." + strings.Split(other, ".")[1] + "." + signature},
		{"no signature", head + "." + payload + "."},
		{"no algorithm", enc.EncodeToString([]byte(`{"alg":"none"}`)) + "." + payload + "."},
		{"no algorithm, with a signature", enc.EncodeToString([]byte(`{"alg":"none","kid":"key-0"}`)) + "." + payload + "." + signature},
		{"the public key as a shared secret", signWith(t, jose.HS256, jose.JSONWebKey{Key: public, KeyID: kid(0)}, claims)},
		{"another algorithm of the same key", signWith(t, jose.PS256, jose.JSONWebKey{Key: signingKeys()[0], KeyID: kid(0)}, claims)},
		{"a longer digest", signWith(t, jose.RS512, jose.JSONWebKey{Key: signingKeys()[0], KeyID: kid(0)}, claims)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := i.entra(t, clk, nil).Verify(t.Context(), c.token)
			requireInvalid(t, err, "signature")
		})
	}
	_, err = i.entra(t, clk, nil).Verify(t.Context(), good)
	require.NoError(t, err)
}

func TestAHotTokenCostsNothing(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	e := i.entra(t, clk, nil)
	token := sign(t, 0, i.claims(clk.Now(), nil))
	first, err := e.Verify(t.Context(), token)
	require.NoError(t, err)
	i.Close()
	again, err := e.Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.EqualValues(t, 1, i.keyFetches.Load())

	clk.advance(time.Hour + DefaultClockSkew + time.Second)
	_, err = e.Verify(t.Context(), token)
	requireInvalid(t, err, "expired")
	require.Zero(t, e.verified.EstimatedSize())
}

func TestNewEntraRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  EntraConfig
		want string
	}{
		{"no tenant", EntraConfig{Audiences: []string{"a"}}, "at least one tenant id"},
		{"no audience", EntraConfig{TenantIDs: []string{tenantA}}, "at least one tenant id and one audience"},
		{"an empty audience", EntraConfig{TenantIDs: []string{tenantA}, Audiences: []string{" "}}, "an audience is empty"},
		{"a tenant by its domain", EntraConfig{TenantIDs: []string{"contoso.test"}, Audiences: []string{"a"}}, `tenant id "contoso.test"`},
		{"every tenant", EntraConfig{TenantIDs: []string{"common"}, Audiences: []string{"a"}}, `tenant id "common"`},
		{"an authority without TLS", EntraConfig{Authority: "http://login.test", TenantIDs: []string{tenantA}, Audiences: []string{"a"}}, "not an https URL"},
		{"an authority that is no URL", EntraConfig{Authority: "login.test", TenantIDs: []string{tenantA}, Audiences: []string{"a"}}, "not an https URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewEntra(c.cfg)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestCloudsNameTheirVersion1Issuer(t *testing.T) {
	for authority, want := range map[string]string{
		"":                                 "https://sts.windows.net/" + tenantA + "/",
		"https://login.microsoftonline.us": "https://sts.windows.net/" + tenantA + "/",
		"https://login.partner.microsoftonline.cn":    "https://sts.chinacloudapi.cn/" + tenantA + "/",
		"https://login.partner.microsoftonline.cn///": "https://sts.chinacloudapi.cn/" + tenantA + "/",
	} {
		e, err := NewEntra(EntraConfig{Authority: authority, TenantIDs: []string{tenantA}, Audiences: []string{"a"}})
		require.NoError(t, err)
		require.Contains(t, e.issuers, want)
	}
}
