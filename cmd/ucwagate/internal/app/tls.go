package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"ucwagate/cmd/ucwagate/internal/listen"
)

// openTLS reads the certificate, if the listener is to speak HTTPS.
func (a *App) openTLS() error {
	c := a.cfg.Server
	if c.CertFile == "" {
		return nil
	}
	certificate, err := listen.OpenCertificate(c.CertFile, c.KeyFile, a.clock, a.log)
	if err != nil {
		return fmt.Errorf("server.certificate_file, server.key_file: %w", err)
	}
	a.tls = certificate.Config()
	file := a.cfg.SignIn.Certificates.CAFile
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("signin.certificates.ca_file: %w", err)
	}
	a.tls.ClientCAs = x509.NewCertPool()
	if !a.tls.ClientCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("signin.certificates.ca_file: %s holds no certificate", file)
	}
	// Who has none may sign in in another way.
	a.tls.ClientAuth = tls.VerifyClientCertIfGiven
	return nil
}

// redirect opens the listener that sends clients to HTTPS, if there is to be one.
// Strangers reach it as they reach the other: it has the same limits.
func (a *App) redirect(ctx context.Context, connections int) error {
	if a.cfg.Server.RedirectListen == "" {
		return nil
	}
	opened, err := listen.Open(ctx, a.cfg.Server.RedirectListen)
	if err != nil {
		return fmt.Errorf("opening the redirecting listener: %w", err)
	}
	a.redirectAddr = opened.Addr()
	_, port, _ := net.SplitHostPort(a.addr.String()) // none for a socket
	server, l := a.guarded(a.redirected(toHTTPS(a.cfg.Server.PublicURL, port)), opened, connections)
	a.serveBeside("redirecting listener", l, server)
	a.log.InfoContext(ctx, "sending clients to HTTPS", "address", opened.Addr().String())
	return nil
}

// toHTTPS sends clients to the same path of publicURL, or of the host they have
// asked, at port. Only a request that may be repeated is: whatever else has been
// sent was sent in clear already.
func toHTTPS(publicURL, port string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "this gateway is reached by HTTPS", http.StatusForbidden)
			return
		}
		root := publicURL
		if root == "" {
			// Hostname takes the brackets of an IPv6 address away.
			host := (&url.URL{Host: r.Host}).Hostname()
			switch {
			case port != "" && port != "443":
				host = net.JoinHostPort(host, port)
			case strings.Contains(host, ":"):
				host = "[" + host + "]"
			}
			root = "https://" + host
		}
		http.Redirect(w, r, root+r.URL.RequestURI(), http.StatusMovedPermanently)
	})
}
