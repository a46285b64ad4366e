package signin

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// How an identity was proven.
const (
	// MethodPassword marks an identity proven by name and password at the
	// token service.
	MethodPassword = "password"
	// MethodEntra marks an identity proven by a user's Entra ID access token.
	MethodEntra = "entra"
	// MethodEntraApp marks one proven by an application's Entra ID access token.
	MethodEntraApp = "entra-app"
	// MethodProxy marks one that a trusted reverse proxy states.
	MethodProxy = "proxy"
	// MethodCertificate marks one proven by the certificate of a TLS connection.
	MethodCertificate = "certificate"
	// MethodFixed marks the one identity of a listener.
	MethodFixed = "fixed"
)

// transportMethods are the methods in which the connection is the proof.
var transportMethods = []string{MethodProxy, MethodCertificate, MethodFixed}

// Identity is who signed in.
type Identity struct {
	// Address is the person's SIP address: user@domain, lower case, without
	// the scheme.
	Address string
	// Name is the display name, empty where the proof carries none.
	Name string
	// ObjectID and TenantID are the person's and the tenant's ids in Entra ID,
	// lower case; both are empty where the proof does not carry them. Where they
	// are given they are the stable key of the person: an address can be
	// changed and given to another.
	ObjectID, TenantID string
	// Method is one of the Method constants.
	Method string
	// Expires is when the proof ends. The zero time means that the proof sets
	// no end of its own.
	Expires time.Time
}

// maxAddress is the longest address accepted, in bytes: the protocol's limit
// for a contact URI.
const maxAddress = 250

// sameUser reports whether two identities are of one user: by their ids where
// both have them, else by address.
func sameUser(a, b Identity) bool {
	if a.ObjectID != "" && b.ObjectID != "" {
		return a.ObjectID == b.ObjectID && a.TenantID == b.TenantID
	}
	return a.Address != "" && a.Address == b.Address
}

var errAddress = errors.New("not an address of the form user@domain")

// parseAddress returns the address in s in the form of Identity.Address. It
// accepts a leading "sip:" and any letter case. A letter outside ASCII whose
// small letter is an ASCII one, such as the Kelvin sign, is refused: it would
// make two names one.
func parseAddress(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII && unicode.ToLower(r) <= unicode.MaxASCII }) {
		return "", errAddress
	}
	s = trimScheme(strings.ToLower(strings.TrimSpace(s)))
	user, domain, ok := strings.Cut(s, "@")
	if !ok || user == "" || !validDomain(domain) || len(s) > maxAddress || !validUser(user) {
		return "", errAddress
	}
	return s, nil
}

// trimScheme removes a leading "sip:" from the lower-case text s.
func trimScheme(s string) string {
	return strings.TrimSpace(strings.TrimPrefix(s, "sip:"))
}

// validUser refuses in the part before the @ whatever separates something in a
// URL, a SIP address or a header. The # of a guest's principal name
// (ana_fabrikam.com#EXT#@contoso.com) is among it: such a name is no SIP address.
func validUser(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("\"<>()[]:;,\\/?#%&=@", r)
	})
}

// validDomain accepts letters, digits, hyphens and dots, with no empty label.
func validDomain(s string) bool {
	if s == "" || slices.Contains(strings.Split(s, "."), "") {
		return false
	}
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.M, r) && r != '-' && r != '.'
	})
}
