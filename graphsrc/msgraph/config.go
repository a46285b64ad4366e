package msgraph

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
)

// The values of Config.Cloud.
const (
	CloudGlobal   = "global"    // worldwide, and the US government community cloud
	CloudUSGov    = "usgov"     // US government L4 (GCC High)
	CloudUSGovDoD = "usgov-dod" // US government L5 (DoD)
	CloudChina    = "china"     // operated by 21Vianet; it has no presence
	CloudCustom   = "custom"    // Config.GraphURL and Config.Authority
)

// The values of Credential.Kind.
const (
	CredentialSecret      = "secret"      // client secret
	CredentialCertificate = "certificate" // client certificate with its private key
	CredentialWorkload    = "workload"    // federated token of a Kubernetes service account
	CredentialManaged     = "managed"     // identity of the Azure machine or service
	CredentialDefault     = "default"     // whichever of azidentity's default chain works
)

// Config says which tenant to speak to, where, and as whom.
type Config struct {
	// TenantID is the directory id or a verified domain. Required for secret
	// and certificate; workload falls back to AZURE_TENANT_ID.
	TenantID string
	// ClientID is the application id. Required for secret and certificate;
	// workload falls back to AZURE_CLIENT_ID; managed needs it for a
	// user-assigned identity only; default takes it from the environment.
	ClientID string
	// Cloud is one of the Cloud constants; empty is CloudGlobal.
	Cloud string
	// GraphURL is the root of Graph without "/v1.0" and Authority the root of
	// Entra ID without the tenant, for CloudCustom only. Both are https;
	// GraphURL may be http on a loopback address.
	GraphURL, Authority string
	Credential          Credential
	// RootCAs are the roots trusted for Graph and the authority; nil means the
	// system's.
	RootCAs *x509.CertPool
}

// Credential is how the application proves itself. It prints as its kind.
type Credential struct {
	// Kind is one of the Credential constants.
	Kind string
	// Secret is the client secret (secret).
	Secret string
	// Certificate holds certificate and private key as PEM, or as PFX with the
	// older encryption that azidentity reads (certificate).
	Certificate []byte
	// CertificatePassword opens a PFX (certificate).
	CertificatePassword string
	// SendChain sends the certificate chain with each token request, which
	// subject name and issuer authentication needs (certificate).
	SendChain bool
	// TokenFile holds the federated token; empty is AZURE_FEDERATED_TOKEN_FILE
	// (workload).
	TokenFile string
}

// String keeps the secret out of anything printed.
func (c Credential) String() string { return "credential " + c.Kind }

// GoString keeps the secret out of %#v.
func (c Credential) GoString() string { return c.String() }

// LogValue keeps the secret out of logs.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.Kind) }

// clouds are the national clouds and their roots.
//
// Source: https://learn.microsoft.com/en-us/graph/deployments
var clouds = map[string]struct{ graph, authority string }{
	CloudGlobal:   {"https://graph.microsoft.com", "https://login.microsoftonline.com"},
	CloudUSGov:    {"https://graph.microsoft.us", "https://login.microsoftonline.us"},
	CloudUSGovDoD: {"https://dod-graph.microsoft.us", "https://login.microsoftonline.us"},
	CloudChina:    {"https://microsoftgraph.chinacloudapi.cn", "https://login.chinacloudapi.cn"},
}

// apiVersion is the part of the URL between Graph's root and a resource.
const apiVersion = "/v1.0"

// endpoints are the roots in force.
type endpoints struct {
	base      *url.URL // with apiVersion, without a slash at the end
	authority string
	scope     string // what a token is asked for
	custom    bool
}

// endpoints returns the roots of the configured cloud, or every fault of them.
func (cfg Config) endpoints() (endpoints, error) {
	name := cfg.Cloud
	if name == "" {
		name = CloudGlobal
	}
	ep := endpoints{custom: name == CloudCustom}
	graph := cfg.GraphURL
	ep.authority = cfg.Authority
	if !ep.custom {
		known, ok := clouds[name]
		if !ok {
			return ep, fmt.Errorf("cloud %q is none of global, usgov, usgov-dod, china, custom", name)
		}
		if graph != "" || ep.authority != "" {
			return ep, fmt.Errorf("GraphURL and Authority belong to cloud custom, not to %s", name)
		}
		graph, ep.authority = known.graph, known.authority
	}
	root, graphErr := parseRoot("GraphURL", graph)
	authority, authorityErr := parseRoot("Authority", ep.authority)
	if err := errors.Join(graphErr, authorityErr); err != nil {
		return ep, err
	}
	if root.Scheme != "https" && !isLoopback(root.Hostname()) {
		graphErr = errors.New("GraphURL is http, which is for loopback addresses only")
	}
	if strings.HasSuffix(root.Path, apiVersion) {
		graphErr = fmt.Errorf("GraphURL ends in %s: give the root only", apiVersion)
	}
	if authority.Scheme != "https" {
		authorityErr = errors.New("the Authority is not https, which azidentity refuses")
	}
	ep.authority = authority.String()
	ep.scope = root.Scheme + "://" + root.Host + "/.default"
	ep.base = &url.URL{Scheme: root.Scheme, Host: root.Host, Path: root.Path + apiVersion}
	return ep, errors.Join(graphErr, authorityErr)
}

// parseRoot reads the URL of a service root; name is the field it stands in.
func parseRoot(name, text string) (*url.URL, error) {
	if text == "" {
		return nil, fmt.Errorf("%s is missing", name)
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil {
		return nil, fmt.Errorf("%s is not a URL", name)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		return nil, fmt.Errorf("%s is not an absolute http or https URL", name)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s has a user, a query or a fragment", name)
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// sameOrigin reports whether two URLs lead to the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// Authority returns the root of Entra ID of a cloud known by name, or an empty
// text for any other.
func Authority(cloud string) string { return clouds[cloud].authority }
