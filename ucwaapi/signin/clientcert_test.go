package signin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string, notAfter time.Time) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key}
}

// issue returns a certificate for signing in, changed.
func (a authority) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Ana R."}, EmailAddresses: []string{"Ana@Contoso.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// principalName makes a subjectAltName of the given user principal names, and
// of an otherName of another kind.
func principalName(t testing.TB, names ...string) pkix.Extension {
	t.Helper()
	const contextZero = cbasn1.Tag(0xa0)
	var b cryptobyte.Builder
	other := func(list *cryptobyte.Builder, id asn1.ObjectIdentifier, text string) {
		list.AddASN1(contextZero, func(name *cryptobyte.Builder) {
			name.AddASN1ObjectIdentifier(id)
			name.AddASN1(contextZero, func(value *cryptobyte.Builder) {
				value.AddASN1(cbasn1.UTF8String, func(s *cryptobyte.Builder) { s.AddBytes([]byte(text)) })
			})
		})
	}
	b.AddASN1(cbasn1.SEQUENCE, func(list *cryptobyte.Builder) {
		other(list, asn1.ObjectIdentifier{1, 2, 3}, "bo@contoso.test")
		for _, n := range names {
			other(list, oidPrincipalName, n)
		}
	})
	der, err := b.Bytes()
	require.NoError(t, err)
	return pkix.Extension{Id: oidSubjectAltName, Value: der}
}

func printOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// with returns a request over TLS with a certificate that the listener has
// verified along chain.
func with(leaf *x509.Certificate, chains ...[]*x509.Certificate) *http.Request {
	r := requestWith()
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: chains}
	return r
}

func TestClientCertificates(t *testing.T) {
	ca := newAuthority(t, "people", time.Now().Add(24*time.Hour))
	other := newAuthority(t, "people", time.Now().Add(24*time.Hour)) // of the same name
	dying := newAuthority(t, "dying", time.Now().Add(time.Minute))
	plainOnes := ca.issue(t, nil)
	all := []CertificateField{CertificateEmail, CertificateUPN, CertificateCommonName}
	names := Names{DefaultDomain: "contoso.test"}
	email := func(list ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.EmailAddresses = list }
	}
	common := func(cn string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.EmailAddresses, c.Subject.CommonName = nil, cn }
	}
	upn := func(list ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.EmailAddresses, c.Subject.CommonName, c.ExtraExtensions = nil, "", []pkix.Extension{principalName(t, list...)}
		}
	}
	for _, c := range []struct {
		name   string
		o      ClientCertificatesOptions
		change func(*x509.Certificate)
		ca     authority
		later  time.Duration
		want   string
		result Result // where want is empty
	}{
		{"an e-mail address among the alternative names", ClientCertificatesOptions{Fields: all}, nil, ca, 0, "ana@contoso.test", ""},
		{"a user principal name", ClientCertificatesOptions{Fields: all}, upn("Ana@contoso.test"), ca, 0, "ana@contoso.test", ""},
		{"a common name that is a bare user name", ClientCertificatesOptions{Fields: all, Names: names}, common("ana"), ca, 0, "ana@contoso.test", ""},
		{"the fingerprint before any field", ClientCertificatesOptions{Fields: all, Fingerprints: map[string]string{printOf(plainOnes.Leaf): "bo@contoso.test"}}, nil, authority{}, 0, "bo@contoso.test", ""},
		{"the order of the fields", ClientCertificatesOptions{Fields: []CertificateField{CertificateCommonName, CertificateEmail}, Names: names}, func(c *x509.Certificate) { c.Subject.CommonName = "bo" }, ca, 0, "bo@contoso.test", ""},
		{"two spellings of one e-mail address", ClientCertificatesOptions{Fields: all}, email("ana@contoso.test", "ANA@contoso.test"), ca, 0, "ana@contoso.test", ""},
		{"an issuer that is required", ClientCertificatesOptions{Fields: all, Issuers: []string{printOf(ca.cert)}}, nil, ca, 0, "ana@contoso.test", ""},

		{"another issuer of the same name than the one required", ClientCertificatesOptions{Fields: all, Issuers: []string{printOf(ca.cert)}}, nil, other, 0, "", ResultWrongIssuer},
		{"the certificate itself is not its issuer", ClientCertificatesOptions{Fields: all, Issuers: []string{printOf(plainOnes.Leaf)}}, nil, authority{}, 0, "", ResultWrongIssuer},
		{"a certificate that has expired", ClientCertificatesOptions{Fields: all}, nil, ca, 2 * time.Hour, "", ResultExpired},
		{"an issuer that has expired", ClientCertificatesOptions{Fields: all}, nil, dying, 30 * time.Minute, "", ResultExpired},
		{"a certificate of tomorrow", ClientCertificatesOptions{Fields: all}, nil, ca, -2 * time.Hour, "", ResultNotYetValid},
		{"a server's certificate", ClientCertificatesOptions{Fields: all}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, ca, 0, "", ResultNotAllowed},
		{"a certificate for any purpose", ClientCertificatesOptions{Fields: all}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, ca, 0, "", ResultNotAllowed},
		{"a certificate without a purpose", ClientCertificatesOptions{Fields: all}, func(c *x509.Certificate) { c.ExtKeyUsage = nil }, ca, 0, "", ResultNotAllowed},
		{"an authority's own certificate", ClientCertificatesOptions{Fields: all}, func(c *x509.Certificate) { c.IsCA = true }, ca, 0, "", ResultNotAllowed},
		{"two e-mail addresses", ClientCertificatesOptions{Fields: all}, email("ana@contoso.test", "bo@contoso.test"), ca, 0, "", ResultMalformed},
		{"two principal names", ClientCertificatesOptions{Fields: all}, upn("ana@contoso.test", "bo@contoso.test"), ca, 0, "", ResultMalformed},
		{"a principal name with a zero byte", ClientCertificatesOptions{Fields: all}, upn("ana@contoso.test\x00.evil.test"), ca, 0, "", ResultMalformed},
		{"a principal name in look-alike letters", ClientCertificatesOptions{Fields: all}, upn("b\u043e@contoso.test"), ca, 0, "", ResultMalformed},
		{"a common name with a zero byte", ClientCertificatesOptions{Fields: all}, common("ana@contoso.test\x00@evil.test"), ca, 0, "", ResultMalformed},
		{"a common name that is a display name", ClientCertificatesOptions{Fields: all, Names: names}, common("Ana R."), ca, 0, "", ResultMalformed},
		{"a bare name without a default domain", ClientCertificatesOptions{Fields: all}, common("ana"), ca, 0, "", ResultMalformed},
		{"two common names", ClientCertificatesOptions{Fields: all, Names: names}, func(c *x509.Certificate) {
			c.EmailAddresses = nil
			c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: "ana"}, {Type: oidCommonName, Value: "bo"}}}
		}, ca, 0, "", ResultMalformed},
		{"no name in the only field", ClientCertificatesOptions{Fields: []CertificateField{CertificateUPN}}, nil, ca, 0, "", ResultUnknownUser},
		{"a fingerprint of another certificate", ClientCertificatesOptions{Fingerprints: map[string]string{printOf(ca.cert): "ana@contoso.test"}}, nil, ca, 0, "", ResultUnknownUser},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := newShiftedClock()
			clk.advance(c.later)
			c.o.Clock = clk
			form, err := NewClientCertificates(c.o)
			require.NoError(t, err)
			leaf, ca := plainOnes.Leaf, ca
			if c.ca.cert != nil {
				ca = c.ca
				leaf = ca.issue(t, c.change).Leaf
			}
			a := newAuthenticator(t, Options{Transports: []Transport{form}})
			id, _, err := through(a, with(leaf, []*x509.Certificate{leaf, ca.cert}))
			if c.want != "" {
				require.NoError(t, err)
				require.Equal(t, c.want, id.Address)
				require.Equal(t, MethodCertificate, id.Method)
				require.Equal(t, leaf.NotAfter, id.Expires)
				return
			}
			var invalid ErrInvalidToken
			require.ErrorIs(t, err, ErrNoCredentials)
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, c.result, invalid.Result)
			require.NotEmpty(t, invalid.Diagnostics.Reason)
		})
	}

	form, err := NewClientCertificates(ClientCertificatesOptions{Fields: all})
	require.NoError(t, err)
	a := newAuthenticator(t, Options{Transports: []Transport{form}, Passwords: testPasswords(t)})
	unverified := with(plainOnes.Leaf)
	foreign := with(plainOnes.Leaf, []*x509.Certificate{other.cert})
	for name, r := range map[string]*http.Request{"not verified": unverified, "no TLS": requestWith(), "a chain of another leaf": foreign} {
		_, _, err := through(a, r)
		require.ErrorIs(t, err, ErrNoCredentials, name)
	}
	// A certificate that names nobody does not stand in the way of a ticket.
	server := ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	ticket, _ := a.tickets.Issue(ana)
	r := with(server.Leaf, []*x509.Certificate{server.Leaf, ca.cert})
	r.Header.Set("Authorization", "Bearer "+ticket)
	id, _, err := through(a, r)
	require.NoError(t, err)
	require.Equal(t, ana.Address, id.Address)
}

func TestNewClientCertificatesRefuses(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name string
		o    ClientCertificatesOptions
		want string
	}{
		{"nothing that says whose it is", ClientCertificatesOptions{}, "neither a field nor a fingerprint"},
		{"an unknown field", ClientCertificatesOptions{Fields: []CertificateField{"dn"}}, `field "dn"`},
		{"a field twice", ClientCertificatesOptions{Fields: []CertificateField{"cn", "cn"}}, "named twice"},
		{"a short fingerprint", ClientCertificatesOptions{Fingerprints: map[string]string{"abcd": "ana@contoso.test"}}, "not 64 hexadecimal digits"},
		{"a fingerprint of nobody", ClientCertificatesOptions{Fingerprints: map[string]string{sum: "ana"}}, "not an address"},
		{"a fingerprint of two", ClientCertificatesOptions{Fingerprints: map[string]string{sum: "ana@contoso.test", strings.ToUpper(sum): "bo@contoso.test"}}, "two users"},
		{"an issuer by its name", ClientCertificatesOptions{Fields: []CertificateField{"cn"}, Issuers: []string{"CN=people"}}, "issuer"},
		{"a bad default domain", ClientCertificatesOptions{Fields: []CertificateField{"cn"}, Names: Names{DefaultDomain: "x y"}}, "default domain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewClientCertificates(c.o)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestAClientCertificateOverRealTLS(t *testing.T) {
	ca, foreign := newAuthority(t, "people", time.Now().Add(time.Hour)), newAuthority(t, "people", time.Now().Add(time.Hour))
	form, err := NewClientCertificates(ClientCertificatesOptions{Fields: []CertificateField{CertificateUPN}})
	require.NoError(t, err)
	a := newAuthenticator(t, Options{Transports: []Transport{form}})
	srv := httptest.NewUnstartedServer(a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := a.Authenticate(r)
		if err != nil {
			a.Challenge(w, r, gatewayBase(r), DiagnosticsFor(err))
			return
		}
		_, _ = io.WriteString(w, id.Address)
	})))
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	srv.TLS = &tls.Config{ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12}
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.StartTLS()
	defer srv.Close()
	get := func(certs ...tls.Certificate) (string, error) {
		transport := srv.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = certs
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(srv.URL)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return resp.Status, nil
		}
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	byUPN := func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{principalName(t, "ana@contoso.test")} }
	got, err := get(ca.issue(t, byUPN))
	require.NoError(t, err)
	require.Equal(t, "ana@contoso.test", got)
	got, err = get()
	require.NoError(t, err)
	require.Equal(t, "401 Unauthorized", got)
	got, err = get(foreign.issue(t, byUPN))
	if err == nil { // the client may find no certificate that the server would take, and send none
		require.Equal(t, "401 Unauthorized", got)
	}
}

func FuzzCertificateNames(f *testing.F) {
	for _, names := range [][]string{nil, {"ana@contoso.test"}, {"a", "b"}, {"\x00"}} {
		f.Add(principalName(f, names...).Value, "ana@contoso.test", "Ana")
	}
	f.Add([]byte{0x30, 0x80, 0, 0}, "", "\xff")
	form, err := NewClientCertificates(ClientCertificatesOptions{
		Fields: []CertificateField{CertificateUPN, CertificateEmail, CertificateCommonName}, Names: Names{DefaultDomain: "contoso.test"},
	})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, san []byte, email, common string) {
		leaf := &x509.Certificate{
			Extensions: []pkix.Extension{{Id: oidSubjectAltName, Value: san}}, EmailAddresses: []string{email},
			Subject: pkix.Name{CommonName: common, Names: []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: common}, {Type: oidCommonName, Value: 7}}},
		}
		address, refused := form.user(leaf)
		if refused != nil {
			require.Empty(t, address)
			return
		}
		again, err := parseAddress(address)
		require.NoError(t, err)
		require.Equal(t, again, address)
		// Whoever it is stands in the first field that has anything.
		source := principalNames(leaf)
		if len(source) == 0 {
			source = []string{email}
		}
		require.True(t, slices.ContainsFunc(source, func(s string) bool {
			one, err := form.names.address(s)
			return err == nil && one == address
		}))
	})
}
