package graphsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
)

func TestDiscoveryDocumentsLeadToWorkingEndpointsOverTLS(t *testing.T) {
	tenant := newTenant(t, Config{})
	server, err := tenant.Serve(ServeOptions{})
	require.NoError(t, err)
	transport := &http.Transport{}
	client := &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	tenantID, clientID, secret := tenant.Credentials()
	c := &caller{t: t, tenant: tenant, http: client, root: server.TLSURL, header: http.Header{}}

	_, err = client.Do(c.request(http.MethodGet, server.TLSURL+"/"+tenantID+"/v2.0/.well-known/openid-configuration", nil))
	require.Error(t, err, "the certificate must not be trusted by chance")
	transport.TLSClientConfig = tlsConfig(server.CertPool)

	instance := c.good(server.TLSURL + "/common/discovery/instance?api-version=1.1")
	document := c.good(instance["tenant_discovery_endpoint"].(string))
	require.Equal(t, server.TLSURL+"/"+tenantID+"/v2.0", document["issuer"])
	require.NotEmpty(t, document["authorization_endpoint"])

	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}, "scope": {"https://graph.microsoft.com/.default"}}
	response, err := client.PostForm(document["token_endpoint"].(string), form)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	var issued struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&issued))
	require.Equal(t, "Bearer", issued.Type)
	require.Equal(t, 3600, issued.Expires)

	var keys jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(c.get(document["jwks_uri"].(string)).body, &keys))
	parsed, err := jwt.ParseSigned(issued.Token, []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	var claimed claims
	require.NoError(t, parsed.Claims(&keys, &claimed))
	require.Equal(t, jwt.Audience{"https://graph.microsoft.com"}, claimed.Audience)
	require.Equal(t, clientID, claimed.AppID)
	require.Equal(t, tenantID, claimed.TenantID)
	require.Equal(t, DefaultRoles, claimed.Roles)

	plain := *c
	plain.root, plain.token = server.URL, issued.Token
	require.Equal(t, http.StatusOK, plain.get("/users/"+tenant.User(0).ID+"/presence").status)
	require.Equal(t, 1, tenant.Stats().Tokens)
}

func TestTokenEndpointRefusesWithEntraCodes(t *testing.T) {
	c := inside(t, Config{})
	for name, test := range map[string]struct {
		form   url.Values
		status int
		error  string
		code   float64
	}{
		"a wrong secret":             {url.Values{"client_secret": {"wrong"}}, 401, "invalid_client", 7000215},
		"no secret":                  {url.Values{"client_secret": {""}}, 401, "invalid_client", 7000218},
		"an unknown app":             {url.Values{"client_id": {"8f0b4f0a-6f9d-4c7b-9a51-1f2d3c4b5a69"}}, 400, "unauthorized_client", 700016},
		"no app":                     {url.Values{"client_id": {""}}, 400, "invalid_request", 900144},
		"no grant":                   {url.Values{"grant_type": {""}}, 400, "invalid_request", 900144},
		"an unknown grant":           {url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type", 70003},
		"no scope":                   {url.Values{"scope": {""}}, 400, "invalid_request", 900144},
		"a scope without default":    {url.Values{"scope": {"https://graph.microsoft.com/User.Read"}}, 400, "invalid_scope", 1002012},
		"a scope of OpenID only":     {url.Values{"scope": {"openid"}}, 400, "invalid_scope", 70011},
		"a malformed assertion":      {url.Values{"client_assertion": {"x"}, "client_assertion_type": {assertionJWT}}, 401, "invalid_client", 50027},
		"an unknown assertion type":  {url.Values{"client_assertion": {"x"}, "client_assertion_type": {"saml"}}, 401, "invalid_client", 50027},
		"on behalf of nobody":        {url.Values{"grant_type": {grantBearer}, "requested_token_use": {"on_behalf_of"}}, 400, "invalid_request", 900144},
		"on behalf of a forged user": {url.Values{"grant_type": {grantBearer}, "requested_token_use": {"on_behalf_of"}, "assertion": {"a.b.c"}}, 400, "invalid_grant", 50013},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.requestToken(test.form)
			body := got.json(t)
			require.Equal(t, test.status, got.status, string(got.body))
			require.Equal(t, test.error, body["error"])
			require.Equal(t, []any{test.code}, body["error_codes"])
			require.Contains(t, body["error_description"], "AADSTS")
			require.NotContains(t, string(got.body), c.tenant.cfg.ClientSecret)
		})
	}
	require.Equal(t, http.StatusBadRequest, c.get(c.root+"/nowhere.test/v2.0/.well-known/openid-configuration").status)
	require.Equal(t, http.StatusBadRequest, c.get(c.root+"/"+c.tenant.cfg.TenantID+"/oauth2/v2.0/token").status)
	require.Equal(t, http.StatusMethodNotAllowed, c.post(c.root+"/contoso.test/discovery/v2.0/keys", nil).status)
}

func certificateOf(t *testing.T, key *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func assertion(t *testing.T, algorithm jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, c jwt.Claims) string {
	t.Helper()
	options := (&jose.SignerOptions{ExtraHeaders: header}).WithType("JWT")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	require.NoError(t, err)
	text, err := jwt.Signed(signer).Claims(c).Serialize()
	require.NoError(t, err)
	return text
}

func TestCertificateAssertionIsVerified(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	cert := certificateOf(t, key)
	c := inside(t, Config{Certificates: []*x509.Certificate{cert}})
	tenantID, clientID, _ := c.tenant.Credentials()
	digest := sha256.Sum256(cert.Raw)
	named := map[jose.HeaderKey]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(digest[:])}
	valid := jwt.Claims{
		Issuer: clientID, Subject: clientID, Audience: jwt.Audience{c.root + "/" + tenantID + "/oauth2/v2.0/token"},
		Expiry: jwt.NewNumericDate(time.Now().Add(10 * time.Minute)), ID: "1",
	}
	try := func(text string) answer {
		return c.requestToken(url.Values{"client_secret": {""}, "client_assertion": {text}, "client_assertion_type": {assertionJWT}})
	}
	got := try(assertion(t, jose.PS256, key, named, valid))
	require.Equal(t, http.StatusOK, got.status, string(got.body))

	expired, foreign := valid, valid
	expired.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Hour))
	foreign.Audience = jwt.Audience{"https://elsewhere.test/"}
	for name, text := range map[string]string{
		"signed by another key":   assertion(t, jose.PS256, other, named, valid),
		"without a thumbprint":    assertion(t, jose.PS256, key, nil, valid),
		"expired":                 assertion(t, jose.RS256, key, named, expired),
		"for another audience":    assertion(t, jose.RS256, key, named, foreign),
		"of an unknown federator": assertion(t, jose.RS256, key, named, jwt.Claims{Issuer: "https://issuer.test", Subject: "x"}),
	} {
		require.Equal(t, http.StatusUnauthorized, try(text).status, name)
	}
}

func TestFederatedWorkloadsGetTokens(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := inside(t, Config{Federations: []Federation{
		{Token: "opaque workload token"},
		{Issuer: "https://cluster.test", Subject: "system:serviceaccount:a:b", Key: &key.PublicKey},
	}})
	try := func(text string) int {
		return c.requestToken(url.Values{"client_secret": {""}, "client_assertion": {text}, "client_assertion_type": {assertionJWT}}).status
	}
	claimed := jwt.Claims{
		Issuer: "https://cluster.test", Subject: "system:serviceaccount:a:b", Audience: jwt.Audience{exchangeTarget},
		Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}
	require.Equal(t, http.StatusOK, try("opaque workload token"))
	require.Equal(t, http.StatusUnauthorized, try("opaque workload tokem"))
	require.Equal(t, http.StatusOK, try(assertion(t, jose.ES256, key, nil, claimed)))
	claimed.Subject = "system:serviceaccount:a:c"
	require.Equal(t, http.StatusUnauthorized, try(assertion(t, jose.ES256, key, nil, claimed)))
}

func TestOnBehalfOfActsAsTheUser(t *testing.T) {
	c := inside(t, Config{})
	_, clientID, _ := c.tenant.Credentials()
	me := c.tenant.Organizer()
	assert := func(user, audience string, life time.Duration) answer {
		text, err := c.tenant.IssueUserTokenFor(user, audience, life)
		require.NoError(t, err)
		return c.requestToken(url.Values{"grant_type": {grantBearer}, "requested_token_use": {"on_behalf_of"}, "assertion": {text}})
	}
	got := assert(me.UserPrincipalName, "api://"+clientID, time.Hour)
	require.Equal(t, http.StatusOK, got.status, string(got.body))
	mine := c.as(got.json(t)["access_token"].(string))
	require.Equal(t, me.ID, mine.good("/me")["id"])
	require.Equal(t, me.ID, mine.good("/me/presence")["id"])
	require.Equal(t, http.StatusOK, mine.post("/me/presence/setStatusMessage", `{"statusMessage":{"message":{"content":"x","contentType":"text"},"expiryDateTime":{"dateTime":"2999-01-01T00:00:00","timeZone":"Pacific Standard Time"}}}`).status)
	note := mine.good("/me/presence")["statusMessage"].(map[string]any)
	require.Contains(t, note, "publishedDateTime")
	require.Contains(t, note, "expiryDateTime")
	require.NotContains(t, c.good("/users/" + me.ID + "/presence")["statusMessage"], "expiryDateTime", "the dates are for the user only")
	require.Equal(t, http.StatusForbidden, mine.post("/users/"+c.tenant.User(0).ID+"/presence/clearUserPreferredPresence", nil).status)

	require.Equal(t, http.StatusBadRequest, assert(me.ID, clientID, -time.Hour).status)
	require.Equal(t, http.StatusBadRequest, assert(me.ID, "api://other", time.Hour).status)
	require.Equal(t, http.StatusBadRequest, c.get("/me/presence").status, "/me never works for an app")
}

func TestUserTokenLooksLikeEntra(t *testing.T) {
	c, server := outside(t, Config{})
	me := c.tenant.Organizer()
	text, err := c.tenant.IssueUserToken("sip:"+strings.ToUpper(me.Address()), "api://gateway")
	require.NoError(t, err)
	key, err := c.tenant.entra.key()
	require.NoError(t, err)
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	var claimed claims
	require.NoError(t, parsed.Claims(&key.private.PublicKey, &claimed))
	tenantID, _, _ := c.tenant.Credentials()
	require.Equal(t, server.TLSURL+"/"+tenantID+"/v2.0", claimed.Issuer)
	require.Equal(t, jwt.Audience{"api://gateway"}, claimed.Audience)
	require.Equal(t, me.ID, claimed.ObjectID)
	require.Equal(t, me.UserPrincipalName, claimed.Preferred)
	require.Equal(t, "access_as_user", claimed.Scope)
	require.Equal(t, http.StatusUnauthorized, c.as(text).get("/users").status)
	_, err = c.tenant.IssueUserToken("nobody@contoso.test", "x")
	require.Error(t, err)
}

func TestGraphChecksTokens(t *testing.T) {
	c := inside(t, Config{})
	stranger := inside(t, Config{})
	foreign := c.fetchToken(url.Values{"scope": {"api://other/.default"}})
	head, rest, _ := strings.Cut(c.token, ".")
	for name, token := range map[string]string{
		"none": "", "garbage": "garbage", "another tenant's key": stranger.token, "another audience": foreign,
		"a changed payload": head + "." + "e30" + rest[strings.IndexByte(rest, '.'):],
	} {
		got := c.as(token).get("/users?$top=1")
		require.Equal(t, http.StatusUnauthorized, got.status, name)
		require.Equal(t, "InvalidAuthenticationToken", got.code(t), name)
		require.Contains(t, got.header.Get("WWW-Authenticate"), "Bearer", name)
	}
	own := c.fetchToken(url.Values{"scope": {c.root + "/.default"}})
	require.Equal(t, http.StatusOK, c.as(own).get("/users?$top=1").status, "the simulator's address is an audience")
}

func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{TokenLifetime: time.Minute})
		require.Equal(t, http.StatusOK, c.get("/users?$top=1").status)
		<-time.After(61 * time.Second)
		got := c.get("/users?$top=1")
		require.Equal(t, http.StatusUnauthorized, got.status)
		require.Contains(t, string(got.body), "expired")
	})
}

func TestEveryRouteNeedsItsPermission(t *testing.T) {
	none := inside(t, Config{Roles: []string{}})
	full := inside(t, Config{})
	me, group := full.tenant.Organizer(), full.tenant.dir.Group(0)
	args := strings.NewReplacer("/groups/{id}", "/groups/"+group.ID, "{id}", me.ID, "{size}", "48x48", "{folder}", "contacts")
	for _, route := range full.tenant.graph.routes {
		var body any
		if route.method == http.MethodPost {
			body = map[string]any{"ids": []string{me.ID}}
		}
		got := none.do(route.method, args.Replace(route.path), body)
		require.Equal(t, http.StatusForbidden, got.status, route.name())
		if route.delegatedOnly {
			require.Equal(t, http.StatusForbidden, full.do(route.method, args.Replace(route.path), body).status, route.name())
			continue
		}
		require.Equal(t, "Authorization_RequestDenied", got.code(t))
		require.NotContains(t, []int{401, 403, 404, 405, 500}, full.with("ConsistencyLevel", "eventual").do(route.method, args.Replace(route.path), body).status, route.name())
	}
	readOnly := inside(t, Config{Roles: []string{"Presence.Read.All"}})
	require.Equal(t, http.StatusOK, readOnly.get("/users/"+me.ID+"/presence").status)
	require.Equal(t, http.StatusForbidden, readOnly.post("/users/"+me.ID+"/presence/clearUserPreferredPresence", nil).status)
	basic := inside(t, Config{Roles: []string{permissionBasic}})
	require.Equal(t, http.StatusOK, basic.get("/users?$select=id,mail").status)
	require.Equal(t, http.StatusForbidden, basic.get("/users?$select=imAddresses").status)
}

func TestSecondAppHasItsOwnRights(t *testing.T) {
	c := inside(t, Config{})
	app := App{ClientID: "1b4e28ba-2fa1-41d2-883f-0016d3cca427", Secret: "s", Roles: []string{"User.Read.All"}}
	require.NoError(t, c.tenant.Register(app))
	require.Error(t, c.tenant.Register(App{ClientID: "x"}))
	token := c.fetchToken(url.Values{"client_id": {app.ClientID}, "client_secret": {"s"}})
	require.Equal(t, http.StatusOK, c.as(token).get("/users?$top=1").status)
	require.Equal(t, http.StatusForbidden, c.as(token).get("/organization").status)
}
