package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files are names of PEM files: the authority, the server's certificate for
// localhost and 127.0.0.1 with its key, and a client's, all of the same authority.
type Files struct {
	CA, Certificate, Key         string
	ClientCertificate, ClientKey string

	pool *x509.CertPool
}

type authority struct {
	tb          testing.TB
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func certificates(tb testing.TB, dir string) *Files {
	tb.Helper()
	a := &authority{tb: tb, dir: dir}
	ca := template("redistest authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	f := &Files{pool: x509.NewCertPool()}
	f.CA, _ = a.issue("ca", ca)

	server := template("localhost")
	server.DNSNames, server.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	f.Certificate, f.Key = a.issue("server", server)

	client := template("client")
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	f.ClientCertificate, f.ClientKey = a.issue("client", client)
	f.pool.AddCert(a.certificate)
	return f
}

// issue signs with the authority; the first certificate becomes the authority.
func (a *authority) issue(name string, t *x509.Certificate) (certificateFile, keyFile string) {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.check(err)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	a.check(err)
	if a.certificate == nil {
		a.certificate, err = x509.ParseCertificate(der)
		a.check(err)
		a.key = key
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	a.check(err)
	return a.write(name+".crt", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", keyDER)
}

func (a *authority) write(name, kind string, der []byte) string {
	a.tb.Helper()
	path := filepath.Join(a.dir, name)
	a.check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

func (a *authority) check(err error) {
	a.tb.Helper()
	if err != nil {
		a.tb.Fatalf("redistest: making certificates: %v", err)
	}
}

func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}
