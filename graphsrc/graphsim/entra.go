package graphsim

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/graphsim/people"
)

// App is an application registered in the tenant.
type App struct {
	ClientID, Secret string
	Roles            []string // application permissions
	Scopes           []string // delegated permissions
	Certificates     []*x509.Certificate
	Federations      []Federation
	// Public allows flows without a secret or an assertion (the device code
	// and its refresh tokens): Entra ID's switch "Allow public client flows".
	Public bool
}

// entra is the tenant's identity platform.
type entra struct {
	tenant   string
	domain   string
	dir      *people.Directory
	lifetime time.Duration
	log      *slog.Logger
	key      func() (*signingKey, error)
	verified verified

	devices   devices
	refreshes refreshes

	mu    sync.Mutex
	apps  map[string]App
	roots []string // of running servers; the first is the authority
	// tokens counts the answers of the token endpoint.
	tokens int
}

func newEntra(cfg Config, dir *people.Directory) *entra {
	e := &entra{
		tenant: cfg.TenantID, domain: cfg.Domain, dir: dir, lifetime: cfg.TokenLifetime, log: cfg.Logger,
		// Making the key takes long enough to wait until a token is wanted.
		key:  sync.OnceValues(newSigningKey),
		apps: make(map[string]App),
	}
	e.apps[cfg.ClientID] = App{
		ClientID: cfg.ClientID, Secret: cfg.ClientSecret, Roles: cfg.Roles, Scopes: cfg.Scopes,
		Certificates: cfg.Certificates, Federations: cfg.Federations, Public: !cfg.Confidential,
	}
	return e
}

// Register adds an application, or replaces the one of that client id.
func (t *Tenant) Register(app App) error {
	app.ClientID = strings.ToLower(app.ClientID)
	if !people.IsGUID(app.ClientID) {
		return fmt.Errorf("registering an application: client id %q is no GUID", app.ClientID)
	}
	t.entra.mu.Lock()
	defer t.entra.mu.Unlock()
	t.entra.apps[app.ClientID] = app
	return nil
}

func (e *entra) app(clientID string) (App, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	app, ok := e.apps[strings.ToLower(clientID)]
	return app, ok
}

func (e *entra) addRoots(authority string, others ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.roots = append(append(e.roots, authority), others...)
}

// issuer is the issuer of version 2 tokens: under the first running server's
// HTTPS root, or under base where the handler runs in a server of others.
func (e *entra) issuer(base string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.roots) > 0 {
		base = e.roots[0]
	}
	return or(base, "https://login."+e.domain) + "/" + e.tenant + "/v2.0"
}

// serveEntra routes the requests of the identity platform.
func (t *Tenant) serveEntra(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	tenant, rest, _ := strings.Cut(path, "/")
	base := baseURL(r)
	switch {
	case strings.EqualFold(path, "common/discovery/instance"):
		onlyGet(w, r, func() { t.serveInstance(w, base, r.Host) })
	case strings.EqualFold(path, devicePage):
		t.serveDevicePage(w, r)
	case !t.entra.knowsTenant(tenant):
		t.entraError(w, r, &entraError{
			http.StatusBadRequest, "invalid_tenant", 90002,
			fmt.Sprintf("Tenant '%s' not found.", tenant),
		})
	case strings.EqualFold(rest, "v2.0/.well-known/openid-configuration"):
		onlyGet(w, r, func() { t.serveOpenID(w, base) })
	case strings.EqualFold(rest, "discovery/v2.0/keys"):
		onlyGet(w, r, func() { t.serveKeys(w) })
	case strings.EqualFold(rest, tokenPath):
		t.serveToken(w, r)
	case strings.EqualFold(rest, devicePath):
		t.serveDevice(w, r)
	default:
		http.NotFound(w, r)
	}
}

func onlyGet(w http.ResponseWriter, r *http.Request, serve func()) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	serve()
}

const tokenPath = "oauth2/v2.0/token"

// baseURL is the root under which the client reached the server.
func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (e *entra) knowsTenant(name string) bool {
	return slices.ContainsFunc([]string{e.tenant, e.domain, "common", "organizations"}, func(own string) bool {
		return strings.EqualFold(own, name)
	})
}

func (t *Tenant) serveInstance(w http.ResponseWriter, base, host string) {
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": base + "/" + t.cfg.TenantID + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []map[string]any{{
			"preferred_network": host, "preferred_cache": host, "aliases": []string{host},
		}},
	})
}

func (t *Tenant) serveOpenID(w http.ResponseWriter, base string) {
	root := base + "/" + t.cfg.TenantID
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                t.entra.issuer(base),
		"token_endpoint":                        root + "/" + tokenPath,
		"authorization_endpoint":                root + "/oauth2/v2.0/authorize",
		"device_authorization_endpoint":         root + "/" + devicePath,
		"jwks_uri":                              root + "/discovery/v2.0/keys",
		"response_types_supported":              []string{"code", "id_token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"scopes_supported":                      openIDScopes,
		"tenant_region_scope":                   "EU",
	})
}

func (t *Tenant) serveKeys(w http.ResponseWriter) {
	key, err := t.entra.key()
	if err != nil {
		http.Error(w, "no key", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, key.public())
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "no answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is no error of ours
}

// entraError is an error of the token endpoint; number is its AADSTS code.
type entraError struct {
	status  int
	code    string
	number  int
	message string
}

func (e *entraError) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.number, e.message) }

func (t *Tenant) entraError(w http.ResponseWriter, r *http.Request, e *entraError) {
	trace, now := newRequestID(), t.clock.Now().UTC()
	correlation := or(r.Header.Get("client-request-id"), newRequestID())
	stamp := now.Format("2006-01-02 15:04:05Z")
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+url.PathEscape(t.cfg.TenantID)+`"`)
	}
	writeJSON(w, e.status, map[string]any{
		"error": e.code,
		"error_description": fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.Error(), trace, correlation, stamp),
		"error_codes": []int{e.number}, "timestamp": stamp, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("%s/error?code=%d", baseURL(r), e.number),
	})
}
