package signin

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const appID = "aaaabbbb-0000-cccc-1111-dddd2222eeee"

func TestEntraScopesRolesAndApplications(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	now := clk.Now()
	scopes := func(c *EntraConfig) { c.Scopes = []string{"Presence.Access", "access_as_user"} }
	roles := func(c *EntraConfig) { c.Roles = []string{"Presence.User"} }
	both := func(c *EntraConfig) { scopes(c); roles(c) }
	apps := func(c *EntraConfig) {
		c.Applications = map[string]string{strings.ToUpper(appID): "SIP:Bot@contoso.test"}
	}
	appsWithRoles := func(c *EntraConfig) { apps(c); both(c) }
	// Of an application, in the two forms in which it is told.
	marked := map[string]any{"idtyp": "app", "azp": appID, "preferred_username": nil, "name": nil}
	unmarked := map[string]any{"sub": objectID, "appid": strings.ToUpper(appID), "preferred_username": nil}
	plus := func(m map[string]any, kv ...any) map[string]any {
		out := map[string]any{}
		for k, v := range m {
			out[k] = v
		}
		for n := 0; n < len(kv); n += 2 {
			out[kv[n].(string)] = kv[n+1]
		}
		return out
	}
	for _, c := range []struct {
		name      string
		configure func(*EntraConfig)
		claims    map[string]any
		want      string // address
		err       any
		reason    string
	}{
		{"one of the scopes is enough", scopes, map[string]any{"scp": "User.Read access_as_user"}, "ana@contoso.test", nil, ""},
		{"one of the roles is enough", roles, map[string]any{"roles": []string{"Other", "Presence.User"}}, "ana@contoso.test", nil, ""},
		{"a scope and a role where both are needed", both, map[string]any{"scp": "Presence.Access", "roles": []string{"Presence.User"}}, "ana@contoso.test", nil, ""},
		{"an application that was given an address", apps, marked, "bot@contoso.test", nil, ""},
		{"an application whose token does not say that it is one", apps, unmarked, "bot@contoso.test", nil, ""},
		{"an application with a role, which needs no scope", appsWithRoles, plus(marked, "roles", []string{"Presence.User"}), "bot@contoso.test", nil, ""},

		{"another scope", scopes, map[string]any{"scp": "User.Read"}, "", new(ErrForbidden), "scopes"},
		{"a scope that only begins so", scopes, map[string]any{"scp": "Presence.Access.All"}, "", new(ErrForbidden), "scopes"},
		{"a scope in other letter case", scopes, map[string]any{"scp": "presence.access"}, "", new(ErrForbidden), "scopes"},
		{"an ID token, which has no scope", scopes, map[string]any{"nonce": "x"}, "", new(ErrForbidden), "scopes"},
		{"the scope among the roles", scopes, map[string]any{"roles": []string{"Presence.Access"}}, "", new(ErrForbidden), "scopes"},
		{"another role", roles, map[string]any{"roles": []string{"Presence.Admin"}}, "", new(ErrForbidden), "roles"},
		{"no role", roles, nil, "", new(ErrForbidden), "roles"},
		{"a scope without the role", both, map[string]any{"scp": "Presence.Access"}, "", new(ErrForbidden), "roles"},
		{"a role without the scope", both, map[string]any{"roles": []string{"Presence.User"}}, "", new(ErrForbidden), "scopes"},
		{"an application that was given no address", scopes, marked, "", new(ErrInvalidToken), "of an application"},
		{"another application than the one that was", apps, plus(marked, "azp", clientID), "", new(ErrInvalidToken), "of an application"},
		{"another application in the newer claim", apps, plus(marked, "azp", clientID, "appid", appID), "", new(ErrInvalidToken), "of an application"},
		{"an application without the role", appsWithRoles, marked, "", new(ErrForbidden), "roles"},
		{"an application that calls itself a user", apps, plus(marked, "azp", clientID, "preferred_username", "ana@contoso.test"), "", new(ErrInvalidToken), "of an application"},
		{"a user of an application that was given an address is that user", apps, map[string]any{"azp": appID, "idtyp": "user"}, "ana@contoso.test", nil, ""},
		{"a user without a name is not the application", apps, plus(unmarked, "scp", "User.Read"), "", new(ErrInvalidToken), "names no user"},
		{"a device", apps, plus(unmarked, "idtyp", "device"), "", new(ErrInvalidToken), "names no user"},
		{"roles that are no list", roles, map[string]any{"roles": 1}, "", new(ErrInvalidToken), "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := i.entra(t, clk, c.configure).Verify(t.Context(), sign(t, 0, i.claims(now, c.claims)))
			if c.err != nil {
				require.ErrorAs(t, err, c.err)
				require.Contains(t, DiagnosticsFor(err).Reason, c.reason)
				require.Equal(t, codeInvalidToken, DiagnosticsFor(err).Code)
				require.Zero(t, id)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, id.Address)
			if c.want == "bot@contoso.test" {
				require.Equal(t, Identity{Address: c.want, Method: MethodEntraApp, Expires: time.Unix(now.Add(time.Hour).Unix(), 0)}, id)
			}
		})
	}
}

func TestEntraOfSeveralAuthorities(t *testing.T) {
	worldwide, national, clk := startIssuer(t), startIssuer(t), newShiftedClock()
	now := clk.Now()
	national.publish(1)
	e := worldwide.entra(t, clk, func(c *EntraConfig) {
		c.TenantIDs = []string{tenantA}
		c.Others = []EntraAuthority{{Authority: national.URL, V1Issuer: "https://sts.national.test/{tid}/", TenantIDs: []string{tenantB}, HTTPClient: national.Client()}}
	})
	verify := func(i *issuer, key int, iss, tenant string) error {
		id, err := e.Verify(t.Context(), sign(t, key, i.claims(now, map[string]any{"iss": iss, "tid": tenant})))
		if err == nil {
			require.Equal(t, tenant, id.TenantID)
		}
		return err
	}
	require.NoError(t, verify(worldwide, 0, worldwide.URL+"/"+tenantA+"/v2.0", tenantA))
	require.NoError(t, verify(national, 1, national.URL+"/"+tenantB+"/v2.0", tenantB))
	require.NoError(t, verify(national, 1, "https://sts.national.test/"+tenantB+"/", tenantB), "version 1")
	requireInvalid(t, verify(national, 1, national.URL+"/"+tenantA+"/v2.0", tenantA), "issuer")
	requireInvalid(t, verify(worldwide, 0, worldwide.URL+"/"+tenantB+"/v2.0", tenantB), "issuer")
	requireInvalid(t, verify(worldwide, 0, national.URL+"/"+tenantB+"/v2.0", tenantB), "signature")
	requireInvalid(t, verify(worldwide, 0, "https://sts.windows.net/"+tenantB+"/", tenantB), "issuer")

	_, _, authorization := e.challenge()
	require.Equal(t, worldwide.URL+"/organizations/oauth2/authorize", authorization)
	one := worldwide.entra(t, clk, nil)
	require.Len(t, one.issuers, 4)
}

func TestNewEntraRefusesAccessRulesThatSayNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*EntraConfig)
		want   string
	}{
		{"an empty scope", func(c *EntraConfig) { c.Scopes = []string{""} }, `scope or role ""`},
		{"two scopes in one", func(c *EntraConfig) { c.Scopes = []string{"a b"} }, `scope or role "a b"`},
		{"an empty role", func(c *EntraConfig) { c.Roles = []string{""} }, `scope or role ""`},
		{"an application by its name", func(c *EntraConfig) { c.Applications = map[string]string{"bot": "bot@contoso.test"} }, `application "bot"`},
		{"an application as nobody", func(c *EntraConfig) { c.Applications = map[string]string{appID: "bot"} }, `as "bot"`},
		{"a further authority without a tenant", func(c *EntraConfig) { c.Others = []EntraAuthority{{}} }, "no tenant id"},
		{"a further authority without TLS", func(c *EntraConfig) { c.Others = []EntraAuthority{{Authority: "http://a.test"}} }, "not an https URL"},
		{"a tenant under two authorities", func(c *EntraConfig) {
			c.Others = []EntraAuthority{{Authority: "https://a.test", TenantIDs: []string{strings.ToUpper(tenantA)}}}
		}, "named under two authorities"},
		{"two tenants with one version 1 issuer", func(c *EntraConfig) {
			c.V1Issuer, c.TenantIDs = "https://sts.test/", []string{tenantA, tenantB}
		}, "that of two tenants"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := EntraConfig{TenantIDs: []string{tenantA}, Audiences: []string{"a"}}
			c.change(&cfg)
			_, err := NewEntra(cfg)
			require.ErrorContains(t, err, c.want)
		})
	}
	e, err := NewEntra(EntraConfig{TenantIDs: []string{tenantA, strings.ToUpper(tenantA)}, Audiences: []string{"a"}})
	require.NoError(t, err)
	require.Equal(t, []string{tenantA}, e.tenants)
}
