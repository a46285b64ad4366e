package graphsim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// ServeOptions say where to listen. Empty addresses stand for a free port of
// the loopback interface.
type ServeOptions struct {
	Addr    string // plain HTTP
	TLSAddr string // HTTPS
}

// Server is a tenant that listens.
type Server struct {
	// URL is the plain HTTP root, for Graph and control.
	URL string
	// TLSURL is the HTTPS root, for the authority: clients of Entra ID insist
	// on HTTPS. Both serve everything.
	TLSURL string
	// CertPool trusts the server's self-signed certificate, and
	// CertificatePEM is that certificate.
	CertPool       *x509.CertPool
	CertificatePEM []byte

	config  *tls.Config
	log     *slog.Logger
	servers []*http.Server
	wait    sync.WaitGroup
	close   sync.Once
}

// Serve opens both listeners and serves the tenant on them until Close.
func (t *Tenant) Serve(opts ServeOptions) (*Server, error) {
	cert, err := selfSigned(t.clock.Now())
	if err != nil {
		return nil, fmt.Errorf("making the simulator's certificate: %w", err)
	}
	const anyPort = "127.0.0.1:0"
	plain, err := net.Listen("tcp", or(opts.Addr, anyPort))
	if err != nil {
		return nil, fmt.Errorf("listening for the simulator: %w", err)
	}
	secure, err := net.Listen("tcp", or(opts.TLSAddr, anyPort))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for the simulator with TLS: %w", err), plain.Close())
	}
	s := &Server{
		URL: "http://" + plain.Addr().String(), TLSURL: "https://" + secure.Addr().String(),
		CertPool: x509.NewCertPool(), CertificatePEM: cert.pem,
	}
	s.CertPool.AddCert(cert.parsed)

	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errors.Join(errors.New("the simulated tenant is closed"), plain.Close(), secure.Close())
	}
	t.servers = append(t.servers, s)
	t.entra.addRoots(s.TLSURL, s.URL)

	handler := t.Handler()
	s.log, s.config = t.log, &tls.Config{Certificates: []tls.Certificate{cert.pair}, MinVersion: tls.VersionTLS12}
	s.run(handler, plain, nil)
	s.run(handler, secure, s.config)
	return s, nil
}

// Front serves the handler of another program by HTTPS with this server's
// certificate, until Close, and returns the root: for whoever the tenant notifies
// and has no HTTPS of their own. It is to be called before Close.
func (s *Server) Front(handler http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening in front of a handler: %w", err)
	}
	s.run(handler, l, s.config)
	return "https://" + l.Addr().String(), nil
}

func (s *Server) run(handler http.Handler, listener net.Listener, config *tls.Config) {
	server := &http.Server{
		Handler: handler, TLSConfig: config.Clone(), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.servers = append(s.servers, server)
	s.wait.Go(func() {
		serve := server.Serve
		if config != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("simulator stopped listening", "error", err)
		}
	})
}

// closeGrace is how long Close lets requests in flight finish.
const closeGrace = time.Second

// Close stops listening, lets requests in flight finish for a moment and then
// cuts them off. Calling it again does nothing.
func (s *Server) Close() {
	s.close.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		for _, server := range s.servers {
			if server.Shutdown(ctx) != nil {
				_ = server.Close() // what Shutdown left open; nothing remains to be done on failure
			}
		}
		s.wait.Wait()
	})
}

type certificate struct {
	pair   tls.Certificate
	parsed *x509.Certificate
	pem    []byte
}

// selfSigned makes a certificate for the loopback names, valid for a year.
func selfSigned(now time.Time) (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, fmt.Errorf("generating a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return certificate{}, fmt.Errorf("drawing a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "simulated tenant"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return certificate{}, fmt.Errorf("signing: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return certificate{}, fmt.Errorf("reading back: %w", err)
	}
	return certificate{
		pair:   tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		parsed: parsed, pem: encodeCertificate(der),
	}, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
