package msgraph

import (
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// platformTimeout bounds one request of a user's sign-in.
const platformTimeout = 15 * time.Second

// Platform is where users of a tenant sign in.
type Platform struct {
	// Authority is the URL of the tenant's authority.
	Authority string
	// Resource is what the scopes of Graph begin with: a slash and the name of
	// a permission follow. The short form without it would mean the Graph of
	// the global cloud.
	Resource string
	// Custom says that the authority is not one of Microsoft's, which no
	// instance discovery knows.
	Custom bool
	// HTTP sends token requests: it trusts Config.RootCAs, follows no redirect
	// and bounds each request. Its owner closes its idle connections.
	HTTP *http.Client
}

// Platform returns where users sign in to the application, or every fault of
// the part of cfg that says so; the credential is no part of it.
func (cfg Config) Platform() (Platform, error) {
	ep, err := cfg.endpoints()
	if err = errors.Join(err, cfg.needIDs()); err != nil {
		return Platform{}, err
	}
	odd := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '.'
	}
	if strings.ContainsFunc(cfg.TenantID, odd) {
		return Platform{}, errors.New("TenantID is neither a directory id nor a domain")
	}
	client := tokenClient(newTransport(cfg.RootCAs))
	client.Timeout = platformTimeout
	return Platform{
		Authority: ep.authority + "/" + cfg.TenantID,
		Resource:  strings.TrimSuffix(ep.scope, "/.default"),
		Custom:    ep.custom,
		HTTP:      client,
	}, nil
}
