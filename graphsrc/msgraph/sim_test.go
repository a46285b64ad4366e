package msgraph

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/graphsim"
)

// simulate returns a client of a simulated tenant in which nobody moves.
func simulate(t testing.TB, cfg graphsim.Config) (*Client, *graphsim.Tenant, *meter) {
	cfg.Still = true
	tenant, err := graphsim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(tenant.Close)
	server, err := tenant.Serve(graphsim.ServeOptions{})
	require.NoError(t, err)
	tenantID, clientID, secret := tenant.Credentials()
	c, m, _ := start(t, Config{
		TenantID: tenantID, ClientID: clientID, Cloud: CloudCustom,
		GraphURL: server.TLSURL, Authority: server.TLSURL, RootCAs: server.CertPool,
		Credential: Credential{Kind: CredentialSecret, Secret: secret},
	})
	return c, tenant, m
}
