package demo_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
)

const audience = "api://ucwagate"

func TestAnEntraAccessTokenSignsIn(t *testing.T) {
	d := start(t, func(c *config.Config) {
		c.SignIn.Entra.Audiences = []string{audience}
		c.SignIn.Entra.ClockSkew = 0 // none at all, not a default
	})
	me := d.Tenant.User(3)
	c := newClient(t, d, asJSON)
	bearer := func(forAudience string, lifetime time.Duration) int {
		token, err := d.Tenant.IssueUserTokenFor(me.UserPrincipalName, forAudience, lifetime)
		require.NoError(t, err)
		c.token = token
		return c.do(http.MethodGet, "/Autodiscover/AutodiscoverService.svc/root/oauth/user", "", "").status
	}
	require.Equal(t, http.StatusUnauthorized, bearer("api://another", time.Hour), "a token for another audience")
	require.Equal(t, http.StatusUnauthorized, bearer(audience, -time.Minute), "an expired token")
	require.Equal(t, http.StatusOK, bearer(audience, time.Hour))
	app := c.create("/ucwa/oauth/v1/applications", "entra")
	require.Equal(t, me.DisplayName, app.child(t, "me").text("name"))

	genuine := c.token
	dot := strings.LastIndexByte(genuine, '.')
	c.token = genuine[:dot+1] + strings.Repeat("A", len(genuine)-dot-1)
	require.Equal(t, http.StatusUnauthorized, c.do(http.MethodGet, app.href, "", "").status, "a token whose signature is not the authority's")
}

func TestAWrongPasswordIsRefusedAndSoonSlowedDown(t *testing.T) {
	d := start(t, func(c *config.Config) { c.SignIn.AttemptsPerMinute = 3 })
	c := newClient(t, d, asJSON)
	attempt := func(password string) response {
		return c.do(http.MethodPost, "/WebTicket/oauthtoken", "application/x-www-form-urlencoded",
			"grant_type=password&username="+d.Username+"&password="+password)
	}
	for range 3 {
		res := attempt("wrong")
		require.Equal(t, http.StatusBadRequest, res.status)
		require.JSONEq(t, `{"error":"invalid_grant"}`, string(res.body))
		require.Empty(t, res.header.Get("Retry-After"))
		require.NotEmpty(t, res.header["X-Ms-Diagnostics"])
	}
	require.NotEmpty(t, attempt("wrong").header.Get("Retry-After"))
}
