package signin

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"ucwagate/graphsrc/clock"
)

// CertificateField is a place in a certificate that names its user.
type CertificateField string

// The fields.
const (
	// CertificateEmail is an e-mail address among the subject alternative names.
	CertificateEmail CertificateField = "email"
	// CertificateUPN is a user principal name among them, as Windows writes it.
	CertificateUPN CertificateField = "upn"
	// CertificateCommonName is the common name of the subject.
	CertificateCommonName CertificateField = "cn"
)

// ClientCertificatesOptions say whose certificates sign in, and as whom. The
// listener verifies them (tls.Config.ClientCAs and ClientAuth): one that it has
// not verified names nobody.
type ClientCertificatesOptions struct {
	// Fingerprints name the user of certificates one by one: SHA-256 of the
	// DER form in hexadecimal, with or without colons → address. They come
	// before the fields.
	Fingerprints map[string]string
	// Fields are the places where the user's name is looked for, in order; the
	// first that is there counts. Empty means that only Fingerprints count.
	Fields []CertificateField
	// Names says how the name in a field becomes an address.
	Names Names
	// Issuers, if not empty, are fingerprints like those above, of authorities:
	// one of them must stand above the user's certificate in the chain. It
	// narrows what the listener trusts to those who may name users.
	Issuers []string
	// Clock is nil for the system's.
	Clock clock.Clock
}

// ClientCertificates takes the identity from the certificate of a TLS
// connection. Safe for use by several goroutines.
type ClientCertificates struct {
	fingerprints map[fingerprint]string // → address
	fields       []CertificateField
	names        names
	issuers      map[fingerprint]bool
	clk          clock.Clock
}

type fingerprint [sha256.Size]byte

// NewClientCertificates checks the options.
func NewClientCertificates(o ClientCertificatesOptions) (*ClientCertificates, error) {
	if len(o.Fingerprints) == 0 && len(o.Fields) == 0 {
		return nil, errors.New("client certificates: neither a field nor a fingerprint says whose a certificate is")
	}
	c := &ClientCertificates{
		fields: slices.Clone(o.Fields), clk: o.Clock,
		fingerprints: make(map[fingerprint]string, len(o.Fingerprints)), issuers: make(map[fingerprint]bool, len(o.Issuers)),
	}
	if c.clk == nil {
		c.clk = clock.System()
	}
	for i, f := range c.fields {
		if f != CertificateEmail && f != CertificateUPN && f != CertificateCommonName {
			return nil, fmt.Errorf("client certificates: field %q: not one of email, upn and cn", f)
		}
		if slices.Contains(c.fields[:i], f) {
			return nil, fmt.Errorf("client certificates: field %q: named twice", f)
		}
	}
	for text, user := range o.Fingerprints {
		print, err := parseFingerprint(text)
		if err != nil {
			return nil, fmt.Errorf("client certificates: %w", err)
		}
		address, err := parseAddress(user)
		if err != nil {
			return nil, fmt.Errorf("client certificates: user %q: %w", user, err)
		}
		if other, ok := c.fingerprints[print]; ok && other != address {
			return nil, fmt.Errorf("client certificates: fingerprint %q: two users", text)
		}
		c.fingerprints[print] = address
	}
	for _, text := range o.Issuers {
		print, err := parseFingerprint(text)
		if err != nil {
			return nil, fmt.Errorf("client certificates: issuer: %w", err)
		}
		c.issuers[print] = true
	}
	var err error
	if c.names, err = newNames(o.Names); err != nil {
		return nil, fmt.Errorf("client certificates: %w", err)
	}
	return c, nil
}

func parseFingerprint(s string) (fingerprint, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil || len(raw) != sha256.Size {
		return fingerprint{}, fmt.Errorf("fingerprint %q: not %d hexadecimal digits (SHA-256)", s, 2*sha256.Size)
	}
	return fingerprint(raw), nil
}

func (*ClientCertificates) method() string { return MethodCertificate }

// identify implements Transport. A certificate that names nobody is as none, so
// that those who have one for another purpose can sign in by other forms.
func (c *ClientCertificates) identify(r *http.Request, _ Peer) testimony {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return testimony{}
	}
	leaf := r.TLS.PeerCertificates[0]
	if refused := c.check(leaf, r.TLS.VerifiedChains); refused != nil {
		return testimony{err: *refused}
	}
	address, refused := c.user(leaf)
	if refused != nil {
		return testimony{err: *refused}
	}
	return testimony{
		id:      Identity{Address: address, Name: displayName(leaf.Subject.CommonName), Method: MethodCertificate, Expires: leaf.NotAfter},
		offered: true,
	}
}

func badCertificate(result Result, reason string) *ErrInvalidToken {
	return &ErrInvalidToken{Diagnostics{codeNoToken, reason}, result}
}

// check looks at what may have changed since the handshake, or was resumed from
// an earlier one, and at what the listener may not have asked for.
func (c *ClientCertificates) check(leaf *x509.Certificate, chains [][]*x509.Certificate) *ErrInvalidToken {
	now := c.clk.Now()
	switch {
	case now.After(leaf.NotAfter):
		return badCertificate(ResultExpired, "The client certificate has expired.")
	case now.Before(leaf.NotBefore):
		return badCertificate(ResultNotYetValid, "The client certificate is not valid yet.")
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || leaf.IsCA:
		return badCertificate(ResultNotAllowed, "The client certificate is not one for signing in.")
	}
	result, reason := ResultWrongIssuer, "The issuer of the client certificate is not accepted."
	for _, chain := range chains {
		if len(chain) == 0 || !chain[0].Equal(leaf) || !c.issued(chain[1:]) {
			continue
		}
		if validAt(chain, now) {
			return nil
		}
		result, reason = ResultExpired, "An issuer of the client certificate has expired."
	}
	return badCertificate(result, reason)
}

func (c *ClientCertificates) issued(above []*x509.Certificate) bool {
	return len(c.issuers) == 0 || slices.ContainsFunc(above, func(ca *x509.Certificate) bool { return c.issuers[sha256.Sum256(ca.Raw)] })
}

func validAt(chain []*x509.Certificate, now time.Time) bool {
	return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return now.After(c.NotAfter) || now.Before(c.NotBefore) })
}

// user returns the address of the certificate's user.
func (c *ClientCertificates) user(leaf *x509.Certificate) (string, *ErrInvalidToken) {
	if address, ok := c.fingerprints[sha256.Sum256(leaf.Raw)]; ok {
		return address, nil
	}
	for _, field := range c.fields {
		found := field.read(leaf)
		if len(found) == 0 {
			continue
		}
		address := ""
		for _, name := range found {
			one, err := c.names.address(name)
			if err != nil {
				return "", badCertificate(ResultMalformed, "The name in the client certificate is no address and cannot be made one.")
			}
			if address != "" && one != address {
				return "", badCertificate(ResultMalformed, "The client certificate names more than one user.")
			}
			address = one
		}
		return address, nil
	}
	return "", badCertificate(ResultUnknownUser, "The client certificate names no user.")
}

// read returns all that a certificate has in the field.
func (f CertificateField) read(leaf *x509.Certificate) []string {
	switch f {
	case CertificateEmail:
		return leaf.EmailAddresses
	case CertificateUPN:
		return principalNames(leaf)
	default:
		// Not Subject.CommonName, which is the last of several.
		var found []string
		for _, attribute := range leaf.Subject.Names {
			if attribute.Type.Equal(oidCommonName) {
				text, _ := attribute.Value.(string) // another type is no name
				found = append(found, text)
			}
		}
		return found
	}
}

var (
	oidCommonName     = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	// oidPrincipalName is szOID_NT_PRINCIPAL_NAME of the Windows headers.
	oidPrincipalName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
)

// principalNames returns the user principal names of a certificate; one that
// cannot be read is an empty name, which is nobody's.
func principalNames(leaf *x509.Certificate) []string {
	var found []string
	for _, e := range leaf.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			found = append(found, otherNames(e.Value)...)
		}
	}
	return found
}

// otherNames reads a subjectAltName (RFC 5280, 4.2.1.6):
//
//	GeneralNames ::= SEQUENCE OF GeneralName
//	otherName    [0] IMPLICIT SEQUENCE { type-id OBJECT IDENTIFIER, value [0] EXPLICIT UTF8String }
func otherNames(der []byte) []string {
	const otherName = cbasn1.Tag(0 | 0x80 | 0x20) // context class, constructed
	outer := cryptobyte.String(der)
	var list cryptobyte.String
	if !outer.ReadASN1(&list, cbasn1.SEQUENCE) || !outer.Empty() {
		return []string{""}
	}
	var found []string
	for !list.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !list.ReadAnyASN1(&name, &tag) {
			return []string{""}
		}
		var id asn1.ObjectIdentifier
		if tag != otherName || !name.ReadASN1ObjectIdentifier(&id) || !id.Equal(oidPrincipalName) {
			continue
		}
		var value, text cryptobyte.String
		if !name.ReadASN1(&value, otherName) || !name.Empty() || !value.ReadASN1(&text, cbasn1.UTF8String) || !value.Empty() {
			return []string{""}
		}
		found = append(found, string(text))
	}
	return found
}
