package proxytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The names that the shipped configurations serve.
const (
	publicName   = "ucwa.example.com"
	discover     = "lyncdiscover.example.com"
	discoverHere = "lyncdiscoverinternal.example.com"
)

// patience bounds whatever a test waits for.
const patience = 30 * time.Second

// proxy is a running proxy.
type proxy struct {
	place
	roots *x509.CertPool
}

// settle makes the place for a proxy: a folder with certificates, and ports of
// a loopback address that is nobody else's.
func settle(t testing.TB, replicas ...string) (place, *x509.CertPool) {
	t.Helper()
	// Short, because HAProxy's socket is in it.
	dir, err := os.MkdirTemp("", "ucwaproxy")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) // the workers are somebody else
	roots := writeCertificates(t, dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "503.http"), []byte(shipped(t, "haproxy", "503.http")), 0o644))
	var b [3]byte
	_, err = rand.Read(b[:])
	require.NoError(t, err)
	p := place{dir: dir, address: fmt.Sprintf("127.%d.%d.%d", 64+b[0]%128, b[1], 1+b[2]%250)}
	for _, port := range []*string{&p.http, &p.http6, &p.https, &p.https6, &p.peers} {
		l, err := net.Listen("tcp", p.address+":0")
		require.NoError(t, err)
		defer l.Close() // together: no port is drawn twice
		_, *port, err = net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
	}
	for i := range p.replicas {
		p.replicas[i] = replicas[min(i, len(replicas)-1)]
	}
	return p, roots
}

// write puts the shipped file with its changes where the proxy can read it.
func (k kind) write(t testing.TB, p place, more []change) string {
	t.Helper()
	text := replace(t, shipped(t, k.name, k.file), append(k.changes(p), more...))
	file := filepath.Join(p.dir, k.file)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

// start runs the proxy in front of one or two gateways until the test ends.
func (k kind) start(t testing.TB, replicas []*replica, more ...change) *proxy {
	t.Helper()
	addresses := make([]string, len(replicas))
	for i, r := range replicas {
		addresses[i] = r.address
	}
	return k.startAt(t, addresses, more...)
}

func (k kind) startAt(t testing.TB, replicas []string, more ...change) *proxy {
	t.Helper()
	at, roots := settle(t, replicas...)
	file := k.write(t, at, more)
	cmd := exec.Command(k.program, k.run(file, at)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	// It must not outlive a test that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	require.NoError(t, cmd.Start(), "is the Debian package %s installed? make deps installs it", k.name)
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(at.dir, "error.log"))
			access, _ := os.ReadFile(filepath.Join(at.dir, "access.log"))
			t.Logf("%s says: %s\n%s\n%s", k.name, output.Bytes(), log, access)
		}
	})
	for _, port := range []string{at.http, at.https} {
		await(t, at.address+":"+port, ended)
	}
	return &proxy{place: at, roots: roots}
}

// await returns when somebody listens at an address.
func await(t testing.TB, address string, ended <-chan struct{}) {
	t.Helper()
	limit := time.After(patience)
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			require.NoError(t, c.Close())
			return
		}
		select {
		case <-ended:
			require.FailNow(t, "the process ended", "nobody listens at %s", address)
		case <-limit:
			require.FailNow(t, "the process does not listen", "at %s", address)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// writeCertificates makes an authority and a certificate with the three names,
// in the files that the shipped configurations name.
func writeCertificates(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		if parent == nil {
			parent, signer = template, key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert, key
	}
	ca, caKey := issue(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, key := issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{publicName, discover, discoverHere},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})...)
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	for name, content := range map[string][]byte{"fullchain.pem": chain, "privkey.pem": private, "haproxy.pem": append(chain, private...)} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return roots
}
