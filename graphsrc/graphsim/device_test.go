package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/graphsim/people"
)

const everyOpenID = "openid profile offline_access "

// postForm posts a form to an endpoint of the identity platform.
func (c *caller) postForm(path string, form url.Values) answer {
	c.t.Helper()
	target := c.root + "/" + c.tenant.cfg.TenantID + "/oauth2/v2.0/" + path
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	require.NoError(c.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.send(r)
}

func (c *caller) clientID() string {
	_, id, _ := c.tenant.Credentials()
	return id
}

// openDevice starts a device code sign-in.
func (c *caller) openDevice(scope string) (deviceCode, userCode string) {
	c.t.Helper()
	got := c.postForm("devicecode", url.Values{"client_id": {c.clientID()}, "scope": {scope}})
	require.Equal(c.t, http.StatusOK, got.status, string(got.body))
	body := got.json(c.t)
	return body["device_code"].(string), body["user_code"].(string)
}

func (c *caller) pollDevice(deviceCode string) answer {
	c.t.Helper()
	return c.postForm("token", url.Values{
		"grant_type": {grantDevice}, "client_id": {c.clientID()}, "device_code": {deviceCode}, "client_info": {"1"},
	})
}

func (c *caller) refresh(token string) answer {
	c.t.Helper()
	return c.postForm("token", url.Values{"grant_type": {"refresh_token"}, "client_id": {c.clientID()}, "refresh_token": {token}})
}

// signedIn is the caller with a delegated token of a user.
func (c *caller) signedIn(user string) *caller {
	c.t.Helper()
	code, userCode := c.openDevice(everyOpenID + "https://graph.microsoft.com/Presence.Read.All")
	require.NoError(c.t, c.tenant.ApproveDevice(userCode, user))
	got := c.pollDevice(code)
	require.Equal(c.t, http.StatusOK, got.status, string(got.body))
	return c.as(got.json(c.t)["access_token"].(string))
}

// requireRefused checks an error of the identity platform.
func requireRefused(t *testing.T, got answer, code string, number int) {
	t.Helper()
	require.Equal(t, http.StatusBadRequest, got.status, string(got.body))
	body := got.json(t)
	require.Equal(t, code, body["error"])
	require.Equal(t, []any{float64(number)}, body["error_codes"])
}

func TestDeviceCodeLeadsToDelegatedTokens(t *testing.T) {
	c, server := outside(t, Config{Still: true})
	user := c.tenant.Organizer()
	document := c.good(c.root + "/" + c.tenant.cfg.TenantID + "/v2.0/.well-known/openid-configuration")
	require.Equal(t, c.root+"/"+c.tenant.cfg.TenantID+"/oauth2/v2.0/devicecode", document["device_authorization_endpoint"])

	opened := c.postForm("devicecode", url.Values{"client_id": {c.clientID()}, "scope": {everyOpenID + "https://graph.microsoft.com/Presence.Read.All"}}).json(t)
	require.EqualValues(t, 900, opened["expires_in"])
	require.EqualValues(t, 5, opened["interval"])
	require.Equal(t, server.URL+"/devicelogin", opened["verification_uri"])
	require.Contains(t, opened["message"], opened["user_code"])

	code, userCode := opened["device_code"].(string), opened["user_code"].(string)
	requireRefused(t, c.pollDevice(code), "authorization_pending", 70016)
	approved := c.post("/sim/device/"+strings.ToLower(userCode), map[string]string{"user": user.UserPrincipalName})
	require.Equal(t, http.StatusNoContent, approved.status, string(approved.body))
	got := c.pollDevice(code)
	require.Equal(t, http.StatusOK, got.status, string(got.body))
	body := got.json(t)
	require.Contains(t, strings.Fields(body["scope"].(string)), "https://graph.microsoft.com/Presence.Read.All")
	requireRefused(t, c.pollDevice(code), "bad_verification_code", 70018)

	var keys jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(c.get(document["jwks_uri"].(string)).body, &keys))
	read := func(name string) claims {
		parsed, err := jwt.ParseSigned(body[name].(string), []jose.SignatureAlgorithm{jose.RS256})
		require.NoError(t, err)
		var read claims
		require.NoError(t, parsed.Claims(&keys, &read))
		require.Equal(t, user.ID, read.ObjectID)
		require.Equal(t, user.UserPrincipalName, read.UPN)
		require.Equal(t, c.tenant.cfg.TenantID, read.TenantID)
		return read
	}
	access := read("access_token")
	require.Equal(t, strings.Join(DefaultScopes, " "), access.Scope)
	require.Equal(t, c.clientID(), access.AppID)
	require.Equal(t, jwt.Audience{c.clientID()}, read("id_token").Audience)
	info, err := base64.RawURLEncoding.DecodeString(body["client_info"].(string))
	require.NoError(t, err)
	require.JSONEq(t, `{"uid":"`+user.ID+`","utid":"`+c.tenant.cfg.TenantID+`"}`, string(info))

	delegated := c.as(body["access_token"].(string))
	require.Equal(t, user.ID, delegated.good("/me")["id"])
	bulk := delegated.post("/communications/getPresencesByUserId", map[string][]string{"ids": ids(t, c.tenant, 0, 5)})
	require.Equal(t, http.StatusOK, bulk.status, string(bulk.body))
	require.Len(t, list(t, bulk.json(t)), 5)
}

func TestDeviceThatWaitsOrGivesUpIsToldWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{Still: true})
		user := c.tenant.Organizer().ID
		after := func(d time.Duration) { <-time.After(d) }

		code, userCode := c.openDevice("Presence.Read.All")
		requireRefused(t, c.pollDevice(code), "authorization_pending", 70016)
		requireRefused(t, c.pollDevice(code), "slow_down", 70016)
		after(deviceInterval)
		requireRefused(t, c.pollDevice(code), "authorization_pending", 70016)
		require.ErrorIs(t, c.tenant.ApproveDevice(userCode, "nobody@nowhere.test"), people.ErrNoUser)
		require.ErrorIs(t, c.tenant.ApproveDevice("ABCDEFGHI", user), ErrNoDevice)
		require.Equal(t, http.StatusNoContent, c.post("/sim/device/"+userCode, map[string]bool{"decline": true}).status)
		requireRefused(t, c.pollDevice(code), "authorization_declined", 65004)
		require.ErrorIs(t, c.tenant.ApproveDevice(userCode, user), ErrNoDevice)
		require.Equal(t, http.StatusNotFound, c.post("/sim/device/"+userCode, map[string]string{"user": user}).status)
		require.Equal(t, http.StatusBadRequest, c.post("/sim/device/"+userCode, map[string]string{}).status)

		code, userCode = c.openDevice("Presence.Read.All")
		after(deviceLife)
		requireRefused(t, c.pollDevice(code), "expired_token", 70020)
		require.ErrorIs(t, c.tenant.ApproveDevice(userCode, user), ErrNoDevice)
		requireRefused(t, c.pollDevice("forged"), "bad_verification_code", 70018)

		code, userCode = c.openDevice("Calls.Initiate.All")
		require.NoError(t, c.tenant.ApproveDevice(userCode, user))
		requireRefused(t, c.pollDevice(code), "invalid_grant", 65001)
		code, userCode = c.openDevice("https://elsewhere.test/Read")
		require.NoError(t, c.tenant.ApproveDevice(userCode, user))
		requireRefused(t, c.pollDevice(code), "invalid_resource", 500011)
		two := c.postForm("devicecode", url.Values{"client_id": {c.clientID()}, "scope": {"https://a.test/x https://b.test/y"}})
		requireRefused(t, two, "invalid_request", 28000)
		requireRefused(t, c.postForm("devicecode", url.Values{"scope": {"x"}}), "invalid_request", 900144)
	})
}

func TestOnlyPublicClientsSignInWithoutASecret(t *testing.T) {
	c := inside(t, Config{Still: true, Confidential: true})
	code, userCode := c.openDevice("Presence.Read.All")
	require.NoError(t, c.tenant.ApproveDevice(userCode, c.tenant.Organizer().ID))
	got := c.pollDevice(code)
	require.Equal(t, http.StatusUnauthorized, got.status)
	require.Equal(t, []any{float64(7000218)}, got.json(t)["error_codes"])
	_, _, secret := c.tenant.Credentials()
	got = c.postForm("token", url.Values{
		"grant_type": {"device_code"}, "client_id": {c.clientID()}, "client_secret": {secret}, "device_code": {code},
	})
	require.Equal(t, http.StatusOK, got.status, string(got.body))
	require.NotContains(t, got.json(t), "refresh_token", "nobody asked for offline access")
	require.NotContains(t, got.json(t), "id_token")
}

func TestRefreshTokensRotateAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{Still: true})
		user := c.tenant.Organizer().UserPrincipalName
		start := func() string {
			code, userCode := c.openDevice(everyOpenID + "Presence.Read.All")
			require.NoError(t, c.tenant.ApproveDevice(userCode, user))
			return c.pollDevice(code).json(t)["refresh_token"].(string)
		}
		next := func(token string) string {
			got := c.refresh(token)
			require.Equal(t, http.StatusOK, got.status, string(got.body))
			require.Equal(t, c.tenant.Organizer().ID, c.as(got.json(t)["access_token"].(string)).good("/me")["id"])
			return got.json(t)["refresh_token"].(string)
		}
		first := start()
		second := next(first)
		require.NotEqual(t, first, second)
		next(first) // within the grace
		<-time.After(DefaultRefreshGrace)
		requireRefused(t, c.refresh(first), "invalid_grant", 70000)
		third := next(second)

		require.NoError(t, c.tenant.SetFaults(Faults{Auth: AuthFault{RefreshOnce: true}}))
		requireRefused(t, c.refresh(second), "invalid_grant", 70000)
		fourth := next(third)
		requireRefused(t, c.refresh(third), "invalid_grant", 70000)

		require.Equal(t, http.StatusNoContent, c.post("/sim/users/"+user+"/revoke", nil).status)
		requireRefused(t, c.refresh(fourth), "invalid_grant", 50173)
		require.Equal(t, http.StatusNotFound, c.post("/sim/users/nobody/revoke", nil).status)
		requireRefused(t, c.refresh("forged"), "invalid_grant", 9002313)
		widen := func(scope string) answer {
			return c.postForm("token", url.Values{"grant_type": {"refresh_token"}, "client_id": {c.clientID()}, "refresh_token": {start()}, "scope": {scope}})
		}
		other := widen("https://graph.microsoft.com/User.Read").json(t)
		require.Contains(t, strings.Fields(other["scope"].(string)), "https://graph.microsoft.com/User.Read")
		require.NotContains(t, other, "refresh_token", "the refresh did not ask for one")
		requireRefused(t, widen("Calls.Initiate.All"), "invalid_grant", 65001)

		idle := start()
		<-time.After(DefaultRefreshLifetime)
		requireRefused(t, c.refresh(idle), "invalid_grant", 700082)

		stranger := App{ClientID: people.GUID(1, "other"), Scopes: DefaultScopes, Public: true}
		require.NoError(t, c.tenant.Register(stranger))
		got := c.postForm("token", url.Values{"grant_type": {"refresh_token"}, "client_id": {stranger.ClientID}, "refresh_token": {start()}})
		requireRefused(t, got, "invalid_grant", 70000)
	})
}

func TestUserMayAnswerOnThePageOfTheDevice(t *testing.T) {
	c := inside(t, Config{Still: true})
	code, userCode := c.openDevice("Presence.Read.All")
	page := c.get(c.root + "/devicelogin")
	require.Equal(t, http.StatusOK, page.status)
	require.Contains(t, string(page.body), `name="code"`)
	enter := func(form url.Values) answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.root+"/devicelogin", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return c.send(r)
	}
	require.Equal(t, http.StatusBadRequest, enter(url.Values{"code": {"<b>"}, "user": {"nobody"}, "do": {"approve"}}).status)
	require.Equal(t, http.StatusBadRequest, enter(url.Values{"code": {"wrong"}, "do": {"decline"}}).status)
	require.Equal(t, http.StatusOK, enter(url.Values{"code": {userCode}, "user": {c.tenant.Organizer().Mail}, "do": {"approve"}}).status)
	require.Equal(t, http.StatusOK, c.pollDevice(code).status)
	require.Equal(t, http.StatusMethodNotAllowed, c.do(http.MethodDelete, c.root+"/devicelogin", nil).status)
}
