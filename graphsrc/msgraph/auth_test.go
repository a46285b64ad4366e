package msgraph

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

const emptyBatch = `{"value":[]}`

func TestEachCredentialGetsAToken(t *testing.T) {
	tokenFile := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(tokenFile, []byte("federated.token.value"), 0o600))
	for name, tc := range map[string]struct {
		credential Credential
		check      func(t *testing.T, form url.Values)
	}{
		"secret": {Credential{Kind: CredentialSecret, Secret: testSecret}, func(t *testing.T, form url.Values) {
			require.Equal(t, testSecret, form.Get("client_secret"))
		}},
		"workload": {Credential{Kind: CredentialWorkload, TokenFile: tokenFile}, func(t *testing.T, form url.Values) {
			require.Equal(t, "federated.token.value", form.Get("client_assertion"))
		}},
		"certificate": {Credential{Kind: CredentialCertificate, Certificate: newCertificatePEM(t)}, func(t *testing.T, form url.Values) {
			require.NotContains(t, assertionHeader(t, form), "x5c")
		}},
		"certificate with its chain": {Credential{Kind: CredentialCertificate, Certificate: newCertificatePEM(t), SendChain: true}, func(t *testing.T, form url.Values) {
			require.Contains(t, assertionHeader(t, form), "x5c")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, always(200, emptyBatch))
			cfg := f.config()
			cfg.Credential = tc.credential
			c, m, _ := start(t, cfg)
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					_, err := c.Presences(t.Context(), []string{idAna})
					require.NoError(t, err)
				})
			}
			group.Wait()
			require.EqualValues(t, 8, m.sends.Load())
			require.Len(t, f.tokenRequests(), 1, "all calls share one token request")
			form := f.tokenRequests()[0]
			require.Equal(t, "client_credentials", form.Get("grant_type"))
			require.Equal(t, testClient, form.Get("client_id"))
			require.Contains(t, form.Get("scope"), f.server.URL+"/.default")
			require.Contains(t, form.Get("claims"), "xms_cc", "claims challenges are announced as understood")
			tc.check(t, form)
		})
	}
}

func TestTokenShowsItsEndAndPermissions(t *testing.T) {
	c, _, m := serve(t, nil)
	expires, roles, err := c.Token(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), expires, time.Minute)
	require.Equal(t, []string{"Presence.Read.All", "User.Read.All"}, roles)
	require.Zero(t, m.sends.Load())
	for _, opaque := range []string{"", "opaque", "a.b.c", "a.!.c", "a.W10.c"} {
		require.Nil(t, rolesOf(opaque), opaque)
	}
}

func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	t.Run("without a challenge by a token past the cache", func(t *testing.T) {
		refuse := 1
		c, f, m := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if refuse > 0 {
				refuse--
				w.Header().Set("WWW-Authenticate", `Bearer realm="", claims=unquoted`)
				reply(w, 401, `{}`)
				return
			}
			reply(w, 200, emptyBatch)
		})
		_, err := c.Presences(t.Context(), []string{idAna})
		require.NoError(t, err)
		require.EqualValues(t, 2, m.sends.Load())
		require.Len(t, f.tokenRequests(), 2)
		sent := f.sent()
		require.Equal(t, sent[0].body, sent[1].body, "the body is sent again in full")
		require.NotEqual(t, sent[0].header.Get("Authorization"), sent[1].header.Get("Authorization"))
		_, err = c.Presences(t.Context(), []string{idAna})
		require.NoError(t, err, "the new token stays in use")
		require.Len(t, f.tokenRequests(), 2)
	})
	t.Run("with a challenge by a token with its claims", func(t *testing.T) {
		challenge := base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}`))
		refuse := true
		c, f, m := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if refuse {
				refuse = false
				w.Header().Set("WWW-Authenticate", `Bearer realm="", error="insufficient_claims", claims="`+challenge+`"`)
				reply(w, 401, `{}`)
				return
			}
			reply(w, 200, emptyBatch)
		})
		_, err := c.Presences(t.Context(), []string{idAna})
		require.NoError(t, err)
		require.EqualValues(t, 2, m.sends.Load())
		forms := f.tokenRequests()
		require.Len(t, forms, 2)
		require.Contains(t, forms[1].Get("claims"), "1700000000")
		require.Contains(t, forms[1].Get("claims"), "xms_cc")
	})
}

func TestTokensAreNotAskedForAtTheRateOfRefusals(t *testing.T) {
	for name, header := range map[string]string{
		"without a challenge": "",
		"with a challenge":    `Bearer claims="` + base64.StdEncoding.EncodeToString([]byte(`{"access_token":{}}`)) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, always(401, `{}`, "WWW-Authenticate", header))
			c, m, clk := start(t, f.config())
			for range 4 {
				_, err := c.Presences(t.Context(), []string{idAna})
				requireKind(t, graphsrc.KindUnauthorized, err)
			}
			require.LessOrEqual(t, m.sends.Load(), int64(8))
			require.Len(t, f.tokenRequests(), 2)
			clk.advance(2 * renewEvery)
			_, err := c.Presences(t.Context(), []string{idAna})
			requireKind(t, graphsrc.KindUnauthorized, err)
			require.Len(t, f.tokenRequests(), 3)
		})
	}
}

func TestWithoutATokenNothingIsSent(t *testing.T) {
	const raw = `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Trace ID: secret-trace"}`
	for name, tc := range map[string]struct {
		status   int
		body     string
		kind     graphsrc.Kind
		code     string
		wait     time.Duration
		requests int
	}{
		"a wrong secret":           {401, raw, graphsrc.KindUnauthorized, "AADSTS7000215", 0, 1},
		"an authority in trouble":  {503, `secret-trace`, graphsrc.KindUnavailable, "", 0, 2},
		"an authority that limits": {429, `secret-trace`, graphsrc.KindUnavailable, "", 30 * time.Second, 1},
		"an answer without sense":  {200, `secret-trace`, graphsrc.KindUnauthorized, "", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, always(200, emptyBatch))
			broken := true
			f.onToken(func(w http.ResponseWriter, _ url.Values) bool {
				if broken {
					if tc.wait > 0 {
						w.Header().Set("Retry-After", "30")
					}
					reply(w, tc.status, tc.body)
				}
				return broken
			})
			log := &bytes.Buffer{}
			clk := &handClock{}
			m := &meter{}
			c, err := newClient(f.config(), m.wrap, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), clk)
			require.NoError(t, err)
			defer c.Close()
			for range 3 {
				_, err := c.Presences(t.Context(), []string{idAna})
				e := requireKind(t, tc.kind, err)
				require.Equal(t, tc.code, e.Code)
				require.Equal(t, tc.wait, e.RetryAfter)
				require.Contains(t, e.Error(), tc.code)
				for _, secret := range []string{"secret-trace", testSecret, "Trace ID"} {
					require.NotContains(t, e.Error(), secret)
					require.NotContains(t, log.String(), secret)
				}
			}
			require.Zero(t, m.sends.Load())
			require.Len(t, f.tokenRequests(), tc.requests, "a failure is held for a while")
			f.onToken(nil)
			clk.advance(failureHoldMax)
			_, err = c.Presences(t.Context(), []string{idAna})
			require.NoError(t, err)
		})
	}
}

func TestAMissingTokenFileIsNamed(t *testing.T) {
	f := newFake(t, nil)
	cfg := f.config()
	cfg.Credential = Credential{Kind: CredentialWorkload, TokenFile: filepath.Join(t.TempDir(), "absent")}
	c, _, _ := start(t, cfg)
	_, _, err := c.Token(t.Context())
	requireKind(t, graphsrc.KindUnauthorized, err)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAnAuthorityThatHangsCostsACallerOnlyItsOwnPatience(t *testing.T) {
	f := newFake(t, always(200, emptyBatch))
	release := make(chan struct{})
	f.onToken(func(http.ResponseWriter, url.Values) bool {
		<-release
		return false
	})
	c, m, _ := start(t, f.config())
	patient := make(chan error, 1)
	go func() {
		_, err := c.Presences(t.Context(), []string{idAna})
		patient <- err
	}()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := c.Presences(ctx, []string{idAna})
		cancel()
		requireKind(t, graphsrc.KindTimeout, err)
	}
	require.Zero(t, m.sends.Load())
	close(release)
	require.NoError(t, <-patient, "a caller that leaves does not take the token request with it")
	require.Len(t, f.tokenRequests(), 1)
}

func TestAnAuthorityOutOfReachIsUnavailable(t *testing.T) {
	f := newFake(t, nil)
	closed := httptest.NewTLSServer(http.NotFoundHandler())
	closed.Close()
	cfg := f.config()
	cfg.Authority = closed.URL
	c, _, _ := start(t, cfg)
	_, _, err := c.Token(t.Context())
	requireKind(t, graphsrc.KindUnavailable, err)
}

func TestAnOldTokenServesWhileTheAuthorityIsDown(t *testing.T) {
	f := newFake(t, always(200, emptyBatch))
	c, _, clk := start(t, f.config())
	_, _, err := c.Token(t.Context())
	require.NoError(t, err)
	clk.advance(time.Hour - expiryMargin/2)
	// The credential keeps real time, so the authority has to be out of its reach.
	c.tokens.credential = failing{}
	for range 2 {
		_, err = c.Presences(t.Context(), []string{idAna})
		require.NoError(t, err)
	}
	clk.advance(expiryMargin)
	_, err = c.Presences(t.Context(), []string{idAna})
	requireKind(t, graphsrc.KindTimeout, err)
}

func TestAfterCloseNoTokenIsToBeHad(t *testing.T) {
	f := newFake(t, nil)
	c, err := New(f.config(), nil, nil)
	require.NoError(t, err)
	c.Close()
	_, _, err = c.Token(t.Context())
	requireKind(t, graphsrc.KindTimeout, err)
}

func TestAPanicOfTheCredentialIsAFailure(t *testing.T) {
	c, _, m := serve(t, always(200, emptyBatch))
	c.tokens.credential = nil
	_, err := c.Presences(t.Context(), []string{idAna})
	requireKind(t, graphsrc.KindUnauthorized, err)
	require.Zero(t, m.sends.Load())
}

// failing is a credential whose authority never answers in time.
type failing struct{}

func (failing) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, context.DeadlineExceeded
}

func assertionHeader(t *testing.T, form url.Values) map[string]any {
	head, _, ok := strings.Cut(form.Get("client_assertion"), ".")
	require.True(t, ok)
	data, err := base64.RawURLEncoding.DecodeString(head)
	require.NoError(t, err)
	var header map[string]any
	require.NoError(t, json.Unmarshal(data, &header))
	return header
}

func newCertificatePEM(t *testing.T) []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
}
