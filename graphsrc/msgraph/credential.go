package msgraph

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// newCredential builds azidentity's credential of the configured kind. No
// error of it contains the secret, the certificate or its password.
func newCredential(cfg Config, ep endpoints, transport *http.Transport) (azcore.TokenCredential, error) {
	options := policy.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: ep.authority},
		Transport: tokenClient(witness{transport}),
		// The default would name the operating system and the Go version.
		Telemetry: policy.TelemetryOptions{Disabled: true},
		Retry: policy.RetryOptions{
			MaxRetries: 1, TryTimeout: 10 * time.Second,
			RetryDelay: 300 * time.Millisecond, MaxRetryDelay: 2 * time.Second,
		},
	}
	switch cfg.Credential.Kind {
	case CredentialSecret, CredentialCertificate:
		if err := cfg.needIDs(); err != nil {
			return nil, err
		}
	}
	switch cfg.Credential.Kind {
	case CredentialSecret:
		return newSecret(cfg, ep, options)
	case CredentialCertificate:
		return newCertificate(cfg, ep, options)
	case CredentialWorkload:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: ep.custom,
			TenantID: cfg.TenantID, ClientID: cfg.ClientID, TokenFilePath: cfg.Credential.TokenFile,
		})
	case CredentialManaged:
		return newManaged(cfg, options, transport)
	case CredentialDefault:
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: ep.custom, TenantID: cfg.TenantID,
		})
	}
	return nil, fmt.Errorf("credential kind %q is none of secret, certificate, workload, managed, default", cfg.Credential.Kind)
}

func (cfg Config) needIDs() error {
	var errs []error
	if cfg.TenantID == "" {
		errs = append(errs, errors.New("TenantID is missing"))
	}
	if cfg.ClientID == "" {
		errs = append(errs, errors.New("ClientID is missing"))
	}
	return errors.Join(errs...)
}

func newSecret(cfg Config, ep endpoints, options policy.ClientOptions) (azcore.TokenCredential, error) {
	if cfg.Credential.Secret == "" {
		return nil, errors.New("the client secret is missing")
	}
	return azidentity.NewClientSecretCredential(cfg.TenantID, cfg.ClientID, cfg.Credential.Secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: ep.custom})
}

func newCertificate(cfg Config, ep endpoints, options policy.ClientOptions) (azcore.TokenCredential, error) {
	if len(cfg.Credential.Certificate) == 0 {
		return nil, errors.New("the client certificate is missing")
	}
	certs, key, err := azidentity.ParseCertificates(cfg.Credential.Certificate, []byte(cfg.Credential.CertificatePassword))
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate (PEM, or PFX written with openssl pkcs12 -export -legacy): %w", err)
	}
	return azidentity.NewClientCertificateCredential(cfg.TenantID, cfg.ClientID, certs, key,
		&azidentity.ClientCertificateCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: ep.custom,
			SendCertificateChain: cfg.Credential.SendChain,
		})
}

// newManaged leaves azidentity its own retries, which fit the metadata service
// of a machine that is just starting, and hands it a bare http.Client, because
// the variant for Service Fabric refuses any other.
func newManaged(cfg Config, options policy.ClientOptions, transport *http.Transport) (azcore.TokenCredential, error) {
	options.Retry = policy.RetryOptions{}
	options.Transport = tokenClient(transport)
	managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	if cfg.ClientID != "" {
		managed.ID = azidentity.ClientID(cfg.ClientID)
	}
	return azidentity.NewManagedIdentityCredential(managed)
}

// tokenClient sends token requests. A redirect is returned, not followed: the
// request carries a secret or an assertion.
func tokenClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkTokenFile says why the federated token cannot be read, for azidentity
// wraps that reason where it cannot be told from others.
func checkTokenFile(cfg Config) error {
	if cfg.Credential.Kind != CredentialWorkload {
		return nil
	}
	name := cfg.Credential.TokenFile
	if name == "" {
		name = os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
	}
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("reading the federated token: %w", err)
	}
	return file.Close()
}
