package notify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/clock"
)

const authority = "https://login.test"

func TestConfigurationOfTokens(t *testing.T) {
	for _, c := range []struct {
		name, authority, tenant, client string
		good                            bool
	}{
		{"as it should be", authority, tenantID, clientID, true},
		{"a slash at the end", authority + "/", strings.ToUpper(tenantID), strings.ToUpper(clientID), true},
		{"no https", "http://login.test", tenantID, clientID, false},
		{"no host", "https://", tenantID, clientID, false},
		{"a password", "https://a:b@login.test", tenantID, clientID, false},
		{"a query", "https://login.test?a=b", tenantID, clientID, false},
		{"no URL", "https://login.test\x00", tenantID, clientID, false},
		{"a domain as the tenant", authority, "contoso.com", clientID, false},
		{"no client", authority, tenantID, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewTokens(TokensConfig{Authority: c.authority, TenantID: c.tenant, ClientID: c.client})
			require.Equal(t, c.good, err == nil, "%v", err)
		})
	}
}

func TestClaims(t *testing.T) {
	v2 := map[string]any{"iss": authority + "/" + tenantID + "/v2.0", "appid": nil, "azp": PublisherID, "ver": "2.0"}
	now := time.Now()
	for _, c := range []struct {
		name    string
		changed map[string]any
		good    bool
	}{
		{"a token of version 1", nil, true},
		{"a token of version 2", v2, true},
		{"ids in upper case", map[string]any{"aud": strings.ToUpper(clientID), "appid": strings.ToUpper(PublisherID), "tid": strings.ToUpper(tenantID)}, true},
		{"an audience in a list", map[string]any{"aud": []string{clientID}}, true},
		{"no tid", map[string]any{"tid": nil}, true},
		{"expired within the skew", map[string]any{"exp": now.Add(-4 * time.Minute).Unix()}, true},
		{"not yet valid within the skew", map[string]any{"nbf": now.Add(4 * time.Minute).Unix()}, true},
		{"expired", map[string]any{"exp": now.Add(-6 * time.Minute).Unix()}, false},
		{"never expiring", map[string]any{"exp": nil}, false},
		{"an expiry that is no number", map[string]any{"exp": "tomorrow"}, false},
		{"not yet valid", map[string]any{"nbf": now.Add(6 * time.Minute).Unix()}, false},
		{"issued in the future", map[string]any{"iat": now.Add(6 * time.Minute).Unix()}, false},
		{"another audience", map[string]any{"aud": benID}, false},
		{"our audience among others", map[string]any{"aud": []string{clientID, benID}}, false},
		{"an audience that begins like ours", map[string]any{"aud": clientID + "0"}, false},
		{"no audience", map[string]any{"aud": nil}, false},
		{"another publisher", map[string]any{"appid": clientID}, false},
		{"no publisher", map[string]any{"appid": nil}, false},
		{"version 1 with the publisher in azp", map[string]any{"appid": nil, "azp": PublisherID}, false},
		{"version 2 with the publisher in appid", map[string]any{"iss": v2["iss"], "ver": "2.0"}, false},
		{"another tenant's issuer", map[string]any{"iss": "https://sts.windows.net/" + benID + "/"}, false},
		{"an issuer without its slash", map[string]any{"iss": "https://sts.windows.net/" + tenantID}, false},
		{"an issuer of another service", map[string]any{"iss": "https://login.evil/" + tenantID + "/v2.0"}, false},
		{"no issuer", map[string]any{"iss": nil}, false},
		{"another tenant's id", map[string]any{"tid": benID}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newIssuer(authority, 0)
			err := i.tokens(t, nil).Verify(t.Context(), token(t, 0, goodClaims(now, c.changed)))
			if c.good {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrBadToken)
			require.Zero(t, i.fetches.Load(), "no request for a token that says it is not for us")
		})
	}
}

func TestSignatures(t *testing.T) {
	public, err := x509.MarshalPKIXPublicKey(testKeys()[0].Public())
	require.NoError(t, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	claims := goodClaims(time.Now(), nil)
	good := token(t, 0, claims)
	part := strings.Split(good, ".")
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	unsigned := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
	}
	for _, c := range []struct{ name, token string }{
		{"alg none", unsigned(`{"alg":"none","kid":"key0"}`)},
		{"alg None", unsigned(`{"alg":"None","kid":"key0"}`)},
		{"alg none with a signature", unsigned(`{"alg":"none","kid":"key0"}`) + part[2]},
		{"RS256 without a signature", unsigned(`{"alg":"RS256","kid":"key0"}`)},
		{"HS256 with the public key as the secret", signed(t, jose.SigningKey{Algorithm: jose.HS256, Key: publicPEM}, "key0", claims)},
		{"HS256 with the public key's DER form", signed(t, jose.SigningKey{Algorithm: jose.HS256, Key: public}, "key0", claims)},
		{"PS256", signed(t, jose.SigningKey{Algorithm: jose.PS256, Key: testKeys()[0]}, "key0", claims)},
		{"RS512", signed(t, jose.SigningKey{Algorithm: jose.RS512, Key: testKeys()[0]}, "key0", claims)},
		{"another key under a known id", signed(t, jose.SigningKey{Algorithm: jose.RS256, Key: testKeys()[1]}, "key0", claims)},
		{"a known key under an unknown id", signed(t, jose.SigningKey{Algorithm: jose.RS256, Key: testKeys()[0]}, "keyX", claims)},
		{"a known key without an id", signed(t, jose.SigningKey{Algorithm: jose.RS256, Key: testKeys()[0]}, "", claims)},
		{"an unpublished key", token(t, 2, claims)},
		{"other claims under the signature", part[0] + "." + base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte(`"ver":"1.0"`), []byte(`"ver":"9.9"`), 1)) + "." + part[2]},
		{"a key of its own", embedded(t, claims)},
		{"the JSON form", `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`},
		{"two parts", part[0] + "." + part[1]},
		{"four parts", good + "." + part[2]},
		{"nothing", ""},
		{"a length beyond all measure", good + strings.Repeat("A", maxToken)},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newIssuer(authority, 0, 1)
			tokens := i.tokens(t, nil)
			err := tokens.Verify(t.Context(), c.token)
			require.ErrorIs(t, err, ErrBadToken)
			for _, p := range part {
				require.NotContains(t, err.Error(), p)
			}
			require.NoError(t, tokens.Verify(t.Context(), good))
		})
	}
}

// embedded signs with a key that the token brings along.
func embedded(t *testing.T, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: testKeys()[2]},
		(&jose.SignerOptions{EmbedJWK: true}).WithHeader("kid", "key0"))
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	jws, err := signer.Sign(payload)
	require.NoError(t, err)
	compact, err := jws.CompactSerialize()
	require.NoError(t, err)
	return compact
}

func TestKeysThatAreNotForTheTenantAreIgnored(t *testing.T) {
	for _, c := range []struct {
		name    string
		mark    map[string]any
		trusted bool
	}{
		{"a key of consumer accounts", map[string]any{"issuer": "https://login.test/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"}, false},
		{"an encryption key", map[string]any{"use": "enc"}, false},
		{"a symmetric key", map[string]any{"kty": "oct", "k": "c2VjcmV0"}, false},
		{"a key that is none", map[string]any{"n": 1}, false},
		{"a key without an id", map[string]any{"kid": ""}, false},
		{"a key of every tenant", map[string]any{"issuer": "https://login.test/{tenantid}/v2.0"}, true},
		{"a key of the tenant", map[string]any{"issuer": "https://sts.windows.net/" + tenantID + "/"}, true},
		{"a key without a use", map[string]any{"use": ""}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newIssuer(authority, 0, 1)
			i.mark(1, c.mark)
			tokens := i.tokens(t, nil)
			require.NoError(t, tokens.Verify(t.Context(), token(t, 0, goodClaims(time.Now(), nil))))
			err := tokens.Verify(t.Context(), token(t, 1, goodClaims(time.Now(), nil)))
			if c.trusted {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrBadToken)
			}
		})
	}
}

func TestKeysAreFetchedOnceAMinuteAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(authority, 0)
		tokens := i.tokens(t, clock.System())
		verify := func(n int) error { return tokens.Verify(t.Context(), token(t, n, goodClaims(time.Now(), nil))) }
		require.NoError(t, verify(0))
		i.publish(0, 1)
		for range 20 {
			require.ErrorIs(t, verify(1), ErrBadToken)
		}
		require.EqualValues(t, 1, i.fetches.Load())
		<-time.After(keysPause)
		require.NoError(t, verify(1))
		require.NoError(t, verify(0))
		require.EqualValues(t, 2, i.fetches.Load())

		i.publish(1) // a withdrawn key loses its power within a day
		<-time.After(keysMaxAge - time.Second)
		require.NoError(t, verify(0))
		<-time.After(time.Second)
		require.NoError(t, verify(1))
		require.ErrorIs(t, verify(0), ErrBadToken)
		require.EqualValues(t, 3, i.fetches.Load())
	})
}

func TestKnownKeysServeThroughAnOutage(t *testing.T) {
	for _, c := range []struct {
		name string
		how  http.HandlerFunc
	}{
		{"a 503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"an HTML page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>sign in to the network</html>") }},
		{"an empty key set", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) }},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), maxDocument+1)) }},
		{"a redirect to plain HTTP", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Scheme == "https" {
				http.Redirect(w, r, "http://login.test/keys", http.StatusFound)
				return
			}
			fmt.Fprint(w, `{"keys":[{"kty":"RSA"}]}`)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(authority, 0)
				tokens := i.tokens(t, clock.System())
				verify := func(n int) error { return tokens.Verify(t.Context(), token(t, n, goodClaims(time.Now(), nil))) }
				i.fail(c.how)
				require.ErrorIs(t, verify(0), ErrKeysUnavailable)
				asked := i.fetches.Load()
				require.ErrorIs(t, verify(0), ErrKeysUnavailable)
				require.Equal(t, asked, i.fetches.Load(), "an outage is not hammered")
				i.fail(nil)
				<-time.After(keysPause)
				require.NoError(t, verify(0))

				i.fail(c.how)
				<-time.After(keysMaxAge)
				require.NoError(t, verify(0), "old keys serve")
				require.ErrorIs(t, verify(1), ErrKeysUnavailable, "an unknown key may be a new one")
				i.fail(nil)
				i.publish(1)
				<-time.After(keysPause)
				require.NoError(t, verify(1))
				require.ErrorIs(t, verify(0), ErrBadToken)
			})
		})
	}
}

func TestADiscoveryDocumentMustLeadToHTTPS(t *testing.T) {
	i := newIssuer(authority, 0)
	tokens := i.tokens(t, nil)
	i.root = "http://login.test"
	require.ErrorIs(t, tokens.Verify(t.Context(), token(t, 0, goodClaims(time.Now(), nil))), ErrKeysUnavailable)
	require.Zero(t, i.fetches.Load())
}

func TestManyFirstTokensShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(authority, 0)
		tokens := i.tokens(t, clock.System())
		good := token(t, 0, goodClaims(time.Now(), nil))
		slow := &slowTransport{next: i, wait: time.Second}
		tokens.keys.client.Transport = slow
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := tokens.Verify(t.Context(), good); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, i.fetches.Load())

		// When the keys are due for renewal, one caller pays for it.
		<-time.After(keysMaxAge)
		good = token(t, 0, goodClaims(time.Now(), nil))
		wg.Go(func() {
			if err := tokens.Verify(t.Context(), good); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		start := time.Now()
		require.NoError(t, tokens.Verify(t.Context(), good))
		require.Zero(t, time.Since(start))
		wg.Wait()
		require.EqualValues(t, 2, i.fetches.Load())
	})
}

func TestACallerWhoLeavesDoesNotSpoilTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(authority, 0)
		tokens := i.tokens(t, clock.System())
		tokens.keys.client.Transport = &slowTransport{next: i, wait: time.Second}
		good := token(t, 0, goodClaims(time.Now(), nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var waiting error
		var wg sync.WaitGroup
		wg.Go(func() { waiting = tokens.Verify(ctx, good) })
		require.ErrorIs(t, tokens.Verify(ctx, good), ErrKeysUnavailable)
		wg.Wait()
		require.ErrorIs(t, waiting, ErrKeysUnavailable)
		require.NoError(t, tokens.Verify(t.Context(), good), "at once, not after a pause")
	})
}

// slowTransport waits before each answer.
type slowTransport struct {
	next http.RoundTripper
	wait time.Duration
}

func (s *slowTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(s.wait):
		return s.next.RoundTrip(req)
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func TestKeysComeOverRealHTTPS(t *testing.T) {
	i := newIssuer("", 0)
	server := httptest.NewTLSServer(i)
	defer server.Close()
	i.root = server.URL
	clk := newShiftedClock()
	tokens, err := NewTokens(TokensConfig{
		Authority: server.URL + "/", TenantID: tenantID, ClientID: clientID, HTTPClient: server.Client(), Clock: clk,
	})
	require.NoError(t, err)
	good := token(t, 0, goodClaims(clk.Now(), nil))
	require.NoError(t, tokens.Verify(t.Context(), good))
	clk.advance(time.Hour + clockSkew + time.Second)
	require.ErrorIs(t, tokens.Verify(t.Context(), good), ErrBadToken)

	distrusting, err := NewTokens(TokensConfig{Authority: server.URL, TenantID: tenantID, ClientID: clientID})
	require.NoError(t, err)
	good = token(t, 0, goodClaims(time.Now(), nil))
	require.ErrorIs(t, distrusting.Verify(t.Context(), good), ErrKeysUnavailable)
}
