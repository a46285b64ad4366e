package graphsim

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// exchangeTarget is the usual audience of federated assertions.
const exchangeTarget = "api://AzureADTokenExchange"

// assertionAlgorithms are those Entra ID accepts from clients and federated
// issuers.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

// checkAssertion accepts an assertion signed with a registered certificate,
// or one of a federated issuer.
func (t *Tenant) checkAssertion(r *http.Request, app App, assertion string) error {
	for _, f := range app.Federations {
		if f.Token != "" && equal(f.Token, assertion) {
			return nil
		}
	}
	parsed, err := jwt.ParseSigned(assertion, assertionAlgorithms)
	if err != nil {
		return &entraError{http.StatusUnauthorized, "invalid_client", 50027, "JWT token is invalid or malformed."}
	}
	var unverified jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return &entraError{http.StatusUnauthorized, "invalid_client", 50027, "JWT token is invalid or malformed."}
	}
	if strings.EqualFold(unverified.Issuer, app.ClientID) {
		return t.checkCertificate(r, app, parsed)
	}
	for _, f := range app.Federations {
		if f.Issuer == "" || f.Issuer != unverified.Issuer || f.Subject != unverified.Subject {
			continue
		}
		var c jwt.Claims
		if err := parsed.Claims(f.Key, &c); err != nil {
			return badSignature()
		}
		return validAssertion(c, []string{or(f.Audience, exchangeTarget)}, t.clock.Now())
	}
	return &entraError{http.StatusUnauthorized, "invalid_client", 700213, fmt.Sprintf(
		"No matching federated identity record found for presented assertion subject '%s'.", unverified.Subject)}
}

func badSignature() error {
	return &entraError{
		http.StatusUnauthorized, "invalid_client", 700027,
		"The certificate with identifier used to sign the client assertion is not registered on application, or the signature is invalid.",
	}
}

func (t *Tenant) checkCertificate(r *http.Request, app App, assertion *jwt.JSONWebToken) error {
	for _, cert := range app.Certificates {
		if !namesCertificate(assertion.Headers, cert) {
			continue
		}
		var c jwt.Claims
		if err := assertion.Claims(cert.PublicKey, &c); err != nil {
			return badSignature()
		}
		if now := t.clock.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return badSignature()
		}
		if !strings.EqualFold(c.Subject, app.ClientID) {
			return &entraError{http.StatusUnauthorized, "invalid_client", 700030, "Invalid client assertion subject."}
		}
		endpoint := baseURL(r) + r.URL.Path
		issuer := t.entra.issuer(baseURL(r))
		return validAssertion(c, []string{endpoint, issuer, strings.TrimSuffix(issuer, "v2.0") + tokenPath}, t.clock.Now())
	}
	return badSignature()
}

// namesCertificate reports whether a header's thumbprint is the certificate's.
func namesCertificate(headers []jose.Header, cert *x509.Certificate) bool {
	one, two := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	for _, h := range headers {
		for name, thumbprint := range map[jose.HeaderKey][]byte{"x5t": one[:], "x5t#S256": two[:]} {
			text, _ := h.ExtraHeaders[name].(string)
			if raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "=")); err == nil && bytes.Equal(raw, thumbprint) {
				return true
			}
		}
	}
	return false
}

func validAssertion(c jwt.Claims, audiences []string, now time.Time) error {
	expected := jwt.Expected{AnyAudience: audiences, Time: now}
	if c.Expiry == nil || c.ValidateWithLeeway(expected.WithTime(now), 5*time.Minute) != nil {
		return &entraError{
			http.StatusUnauthorized, "invalid_client", 700024,
			"Client assertion is not within its valid time range, or its audience is wrong.",
		}
	}
	return nil
}
