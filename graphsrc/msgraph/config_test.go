package msgraph

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCloudsHaveTheirRoots(t *testing.T) {
	for cloud, want := range map[string][3]string{
		"":            {"https://graph.microsoft.com/v1.0", "https://login.microsoftonline.com", "https://graph.microsoft.com/.default"},
		CloudGlobal:   {"https://graph.microsoft.com/v1.0", "https://login.microsoftonline.com", "https://graph.microsoft.com/.default"},
		CloudUSGov:    {"https://graph.microsoft.us/v1.0", "https://login.microsoftonline.us", "https://graph.microsoft.us/.default"},
		CloudUSGovDoD: {"https://dod-graph.microsoft.us/v1.0", "https://login.microsoftonline.us", "https://dod-graph.microsoft.us/.default"},
		CloudChina:    {"https://microsoftgraph.chinacloudapi.cn/v1.0", "https://login.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn/.default"},
	} {
		ep, err := Config{Cloud: cloud}.endpoints()
		require.NoError(t, err)
		require.Equal(t, want, [3]string{ep.base.String(), ep.authority, ep.scope})
	}
	ep, err := Config{Cloud: CloudCustom, GraphURL: "http://127.0.0.1:80/tenant/", Authority: "https://[::1]:1/"}.endpoints()
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:80/tenant/v1.0", ep.base.String())
	require.Equal(t, "http://127.0.0.1:80/.default", ep.scope)
	require.Equal(t, "https://[::1]:1", ep.authority)
}

func TestEveryFaultOfAConfigurationIsNamed(t *testing.T) {
	secret := Credential{Kind: CredentialSecret, Secret: testSecret}
	for name, tc := range map[string]struct {
		cfg  Config
		want []string
	}{
		"nothing at all":               {Config{}, []string{"credential kind"}},
		"an unknown cloud":             {Config{Cloud: "mars", TenantID: "t", ClientID: "c", Credential: secret}, []string{`cloud "mars"`}},
		"roots for a known cloud":      {Config{GraphURL: "https://x", TenantID: "t", ClientID: "c", Credential: secret}, []string{"belong to cloud custom"}},
		"a custom cloud without roots": {Config{Cloud: CloudCustom, Credential: secret}, []string{"GraphURL is missing", "Authority is missing", "TenantID is missing", "ClientID is missing"}},
		"plain http over a network": {
			Config{Cloud: CloudCustom, GraphURL: "http://graph.example.test", Authority: "http://127.0.0.1", TenantID: "t", ClientID: "c", Credential: secret},
			[]string{"GraphURL is http", "Authority is not https"},
		},
		"roots that are none": {
			Config{Cloud: CloudCustom, GraphURL: "https://h/v1.0/", Authority: "ftp://h", TenantID: "t", ClientID: "c", Credential: secret},
			[]string{"Authority is not an absolute"},
		},
		"a version in the root": {
			Config{Cloud: CloudCustom, GraphURL: "https://h/v1.0/", Authority: "https://h", TenantID: "t", ClientID: "c", Credential: secret},
			[]string{"give the root only"},
		},
		"a user in the root": {
			Config{Cloud: CloudCustom, GraphURL: "https://u:p@h", Authority: "https://h", TenantID: "t", ClientID: "c", Credential: secret},
			[]string{"GraphURL has a user"},
		},
		"no secret":       {Config{TenantID: "t", ClientID: "c", Credential: Credential{Kind: CredentialSecret}}, []string{"secret is missing"}},
		"no certificate":  {Config{TenantID: "t", ClientID: "c", Credential: Credential{Kind: CredentialCertificate}}, []string{"certificate is missing"}},
		"no such format":  {Config{TenantID: "t", ClientID: "c", Credential: Credential{Kind: CredentialCertificate, Certificate: []byte("x"), CertificatePassword: testSecret}}, []string{"reading the client certificate"}},
		"an odd tenant":   {Config{TenantID: "t/../x", ClientID: "c", Credential: secret}, []string{"tenant"}},
		"an unknown kind": {Config{Credential: Credential{Kind: "password"}}, []string{`kind "password"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.cfg, nil, nil)
			require.Error(t, err)
			for _, text := range tc.want {
				require.ErrorContains(t, err, text)
			}
			require.NotContains(t, err.Error(), testSecret)
		})
	}
}

func TestCredentialsFromTheEnvironmentNeedNoIDs(t *testing.T) {
	t.Setenv("AZURE_CLIENT_ID", testClient)
	t.Setenv("AZURE_TENANT_ID", testTenant)
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", "/nonexistent")
	for _, kind := range []string{CredentialWorkload, CredentialManaged, CredentialDefault} {
		c, err := New(Config{Credential: Credential{Kind: kind}}, nil, nil)
		require.NoError(t, err, kind)
		c.Close()
	}
	c, err := New(Config{ClientID: testClient, Credential: Credential{Kind: CredentialManaged}}, nil, nil)
	require.NoError(t, err)
	c.Close()
}

func TestACredentialPrintsAsItsKind(t *testing.T) {
	credential := Credential{Kind: CredentialSecret, Secret: testSecret, CertificatePassword: testSecret}
	log := &bytes.Buffer{}
	slog.New(slog.NewTextHandler(log, nil)).Info("x", "credential", credential)
	text := log.String() + fmt.Sprintf("%v %+v %#v %s", credential, credential, credential, credential) +
		fmt.Sprintf("%v %+v %#v", Config{Credential: credential}, Config{Credential: credential}, Config{Credential: credential})
	require.NotContains(t, text, testSecret)
	require.Contains(t, text, CredentialSecret)
}
