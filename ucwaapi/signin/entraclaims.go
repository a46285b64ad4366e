package signin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// entraClaims is what is read of a token. Version 1 and 2 name the user in
// different claims.
type entraClaims struct {
	Issuer            string   `json:"iss"`
	Audience          audience `json:"aud"`
	Expires           float64  `json:"exp"`
	NotBefore         float64  `json:"nbf"`
	TenantID          string   `json:"tid"`
	ObjectID          string   `json:"oid"`
	Name              string   `json:"name"`
	PrincipalName     string   `json:"upn"`
	PreferredUsername string   `json:"preferred_username"`
	UniqueName        string   `json:"unique_name"`
	Kind              string   `json:"idtyp"`
	Scopes            string   `json:"scp"` // separated by spaces
	Roles             []string `json:"roles"`
	AuthorizedParty   string   `json:"azp"`   // the client's application id, version 2
	ApplicationID     string   `json:"appid"` // the same, version 1
	Subject           string   `json:"sub"`
}

// ofApplication says whether no user is behind the token. The claim that says
// so is optional; without it, object id and subject are the same there
// (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
func (c *entraClaims) ofApplication() bool {
	if c.Kind != "" {
		return c.Kind == "app"
	}
	return c.ObjectID != "" && c.ObjectID == c.Subject && c.Scopes == "" &&
		c.PrincipalName == "" && c.PreferredUsername == "" && c.UniqueName == ""
}

// audience is a string or a list of strings (RFC 7519, 4.1.3).
type audience []string

// UnmarshalJSON accepts both forms.
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	var several []string
	if err := json.Unmarshal(data, &several); err != nil {
		return fmt.Errorf("reading the audience: %w", err)
	}
	*a = several
	return nil
}

func unprovenClaims(token string) (entraClaims, error) {
	_, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return entraClaims{}, errors.New("not three parts")
	}
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return entraClaims{}, fmt.Errorf("decoding the payload: %w", err)
	}
	var claims entraClaims
	if err := json.Unmarshal(data, &claims); err != nil {
		return entraClaims{}, fmt.Errorf("reading the claims: %w", err)
	}
	return claims, nil
}
