package config

import "strings"

// HookPath is where a gateway expects the notifications of a tenant.
func HookPath(tenant string) string { return "/graph/notifications/" + tenant }

// HookURL is where Graph is told to deliver the notifications of a tenant; empty
// if that is not known.
func (c Config) HookURL(t Tenant) string {
	switch {
	case t.Notifications.URL != "":
		return t.Notifications.URL
	case strings.HasPrefix(c.Server.PublicURL, "https://"):
		return c.Server.PublicURL + HookPath(t.Name)
	}
	return ""
}

// HelperClientID is the app registration that helper accounts of a tenant sign in
// to; empty if there is none. Nobody can sign in to a managed identity.
func (t Tenant) HelperClientID() string {
	if t.Notifications.ClientID != "" || t.Credential.Kind == CredentialManaged {
		return t.Notifications.ClientID
	}
	return t.Credential.ClientID
}
