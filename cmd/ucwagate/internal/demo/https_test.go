package demo_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // PEM of the certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	issued := a.issue(template)
	a.cert, a.key = issued.Leaf, issued.PrivateKey.(*ecdsa.PrivateKey)
	a.file, _ = a.files(issued)
	return a
}

// issue makes a certificate after a template; the first one signs itself.
func (a *authority) issue(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	template.NotBefore = template.NotAfter.Add(-2 * time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(a.t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// files writes a certificate and its key.
func (a *authority) files(c tls.Certificate) (cert, key string) {
	a.t.Helper()
	dir := a.t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600))
	require.NoError(a.t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return cert, key
}

// server issues the certificate of a gateway and lets it speak HTTPS.
func (a *authority) server(c *config.Config) {
	c.Server.CertFile, c.Server.KeyFile = a.files(a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "gateway"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}))
}

// user issues the certificate of a user.
func (a *authority) user(change func(*x509.Certificate)) *tls.Certificate {
	template := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	change(template)
	c := a.issue(template)
	return &c
}

func named(commonName string, mail ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.CommonName, c.EmailAddresses = commonName, mail }
}

// trusting is a client that trusts an authority and shows a certificate; nil
// shows none. It shows it even to who does not ask for one of its issuer.
func trusting(t *testing.T, a *authority, show *tls.Certificate) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	conf := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if show != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return show, nil }
	}
	transport := &http.Transport{TLSClientConfig: conf}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func TestTheListenerSpeaksHTTPS(t *testing.T) {
	ca := newAuthority(t, "CA")
	d := start(t, ca.server)
	require.True(t, strings.HasPrefix(d.BaseURL, "https://127.0.0.1:"), d.BaseURL)
	for _, accept := range []string{asJSON, asXML} {
		c := newClient(t, d, accept)
		c.via = trusting(t, ca, nil)
		root := c.get("/")
		require.True(t, strings.HasPrefix(root.link(t, "user"), d.BaseURL+"/"), "hrefs are those of the connection")
		tokenURL, grants := c.grants()
		require.Equal(t, d.BaseURL+"/WebTicket/oauthtoken", tokenURL)
		require.Equal(t, []string{"password"}, grants)
		c.keep(c.ask(tokenURL, byPassword(d.Username, d.Password)))
		require.Equal(t, "sip:"+d.Username, c.reach(d).text("uri"))
	}
	plain, err := http.DefaultClient.Do(mustRequest(t, http.MethodGet, "http"+strings.TrimPrefix(d.BaseURL, "https")+"/"))
	require.NoError(t, err)
	require.NoError(t, plain.Body.Close())
	require.Equal(t, http.StatusBadRequest, plain.StatusCode, "nothing is answered in clear")
	old := trusting(t, ca, nil)
	old.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11
	_, err = old.Do(mustRequest(t, http.MethodGet, d.BaseURL+"/"))
	require.Error(t, err, "TLS 1.1 is not spoken")
}

func mustRequest(t *testing.T, method, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	require.NoError(t, err)
	return r
}

// addresses finds in a log where something listens.
type addresses struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (a *addresses) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.Write(p)
}

func (a *addresses) of(t *testing.T, message string) string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for line := range bytes.Lines(a.text.Bytes()) {
		var entry struct{ Msg, Address string }
		require.NoError(t, json.Unmarshal(line, &entry))
		if entry.Msg == message {
			return entry.Address
		}
	}
	require.FailNow(t, "nothing listens", message)
	return ""
}

func TestClientsAreSentToHTTPS(t *testing.T) {
	ca := newAuthority(t, "CA")
	for name, publicURL := range map[string]string{"of the host they have asked": "", "of the public URL": "https://ucwa.example.com"} {
		t.Run(name, func(t *testing.T) {
			log := &addresses{}
			d, err := demo.Start(t.Context(), demo.Options{Still: true, Logger: slog.New(slog.NewJSONHandler(log, nil)), Adjust: func(c *config.Config) {
				ca.server(c)
				c.Server.RedirectListen, c.Server.PublicURL = "127.0.0.1:0", publicURL
			}})
			require.NoError(t, err)
			defer func() { require.NoError(t, d.Close(context.WithoutCancel(t.Context()))) }()
			at := "http://" + log.of(t, "sending clients to HTTPS")
			u, err := url.Parse(d.BaseURL)
			require.NoError(t, err)
			client := trusting(t, ca, nil)
			answer := func(method, path, host string) (int, http.Header) {
				r := mustRequest(t, method, at+path)
				r.Host = host
				res, err := client.Do(r)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				return res.StatusCode, res.Header
			}
			for host, root := range map[string]string{
				"": d.BaseURL, "ucwa.contoso.test": "https://ucwa.contoso.test:" + u.Port(), "ucwa.contoso.test:80": "https://ucwa.contoso.test:" + u.Port(),
				"[::1]": "https://[::1]:" + u.Port(), "[::1]:80": "https://[::1]:" + u.Port(),
			} {
				if publicURL != "" {
					root = publicURL
				}
				for _, path := range []string{"/", "/Autodiscover/AutodiscoverService.svc/root?originalDomain=contoso.test&x=a%2Fb%20c", "//evil.example/a", "/%2e%2e/ucwa"} {
					for _, method := range []string{http.MethodGet, http.MethodHead} {
						status, header := answer(method, path, host)
						require.Equal(t, http.StatusMovedPermanently, status)
						require.Equal(t, root+path, header.Get("Location"))
					}
				}
			}
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
				status, header := answer(method, "/WebTicket/oauthtoken", "")
				require.Equal(t, http.StatusForbidden, status, method)
				require.Empty(t, header.Get("Location"), "what was sent in clear is not asked for again")
			}
			if publicURL == "" {
				c := newClient(t, d, asJSON)
				c.via = trusting(t, ca, nil)
				_, header := answer(http.MethodGet, "/", "")
				require.Equal(t, "root", c.get(header.Get("Location")).rel)
				require.Contains(t, metrics(t, d), `ucwagate_http_requests_total{method="GET",route="redirect",status="3xx"} 21`, "who still comes in clear is counted apart")
			}
		})
	}
}

func TestTheListenerThatSendsToHTTPSHasLimitsToo(t *testing.T) {
	ca, log := newAuthority(t, "CA"), &addresses{}
	d, err := demo.Start(t.Context(), demo.Options{Still: true, Logger: slog.New(slog.NewJSONHandler(log, nil)), Adjust: func(c *config.Config) {
		ca.server(c)
		c.Server.RedirectListen = "127.0.0.1:0"
		c.Limits.BodyTime, c.Limits.Connections = short, 20
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close(context.WithoutCancel(t.Context()))) }()
	clear := &demo.Demo{Info: demo.Info{BaseURL: "http://" + log.of(t, "sending clients to HTTPS")}}
	heard := open(t, clear, "127.0.0.2").say("POST /WebTicket/oauthtoken HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx").rest(t)
	require.True(t, strings.HasPrefix(heard, "HTTP/1.1 403"), "a body that does not come ends it: %.300s", heard)
	for range 40 {
		open(t, clear, "127.0.0.2") // held, without a request
	}
	requireMet(t, d, "idle-connection")
	heard = open(t, clear, "127.0.0.3").say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").rest(t)
	require.True(t, strings.HasPrefix(heard, "HTTP/1.1 301"), "who comes after them is served: %.300s", heard)
}

func TestACertificateSaysWhoItsUserIs(t *testing.T) {
	me, other := people(t)
	ca, foreign := newAuthority(t, "CA"), newAuthority(t, "CA")
	single := ca.user(named("device 17"))
	sum := sha256.Sum256(single.Certificate[0])
	d := start(t, func(c *config.Config) {
		ca.server(c)
		c.SignIn.Htpasswd, c.SignIn.DomainTable = "", []string{"CONTOSO=" + c.Tenants[0].Domains[0]}
		c.SignIn.Certificates = config.Certificates{
			CAFile: ca.file, Fields: []string{"email", "cn"}, Fingerprints: []string{hex.EncodeToString(sum[:]) + "=" + me.Address()},
		}
		c.Access.SignInDeny = []string{other.Address()}
	})
	const user = "/Autodiscover/AutodiscoverService.svc/root/oauth/user"
	expired := func(c *x509.Certificate) {
		named(me.Address())(c)
		c.NotAfter = time.Now().Add(-time.Minute)
	}
	servers := func(c *x509.Certificate) {
		named(me.Address())(c)
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for name, e := range map[string]struct {
		show   *tls.Certificate
		in     bool
		status int // 0: there is no connection
	}{
		"by an e-mail address":                                        {ca.user(named("Somebody", me.Address())), true, 0},
		"by the common name":                                          {ca.user(named(me.Address())), true, 0},
		"by a Windows name":                                           {ca.user(named(`CONTOSO\` + local(me.Address()))), true, 0},
		"by its fingerprint":                                          {single, true, 0},
		"by the first field, whatever the second says":                {ca.user(named(other.Address(), me.Address())), true, 0},
		"and one of another authority of the same name ends it":       {foreign.user(named(me.Address())), false, 0},
		"and one that has expired ends it":                            {ca.user(expired), false, 0},
		"and one for servers ends it":                                 {ca.user(servers), false, 0},
		"and no certificate is nobody's":                              {nil, false, 401},
		"and one that names no user is nobody's":                      {ca.user(named("Somebody")), false, 401},
		"and one that names two users is nobody's":                    {ca.user(named("Somebody", me.Address(), other.Address())), false, 401},
		"and one without any name is nobody's":                        {ca.user(named("")), false, 401},
		"and who is known and may not sign in is refused":             {ca.user(named(other.Address())), false, 403},
		"and one of a domain that is not served is refused":           {ca.user(named("ana@elsewhere.example")), false, 403},
		"and a name in a certificate by fingerprint is not asked for": {ca.user(named("device 17")), false, 401},
	} {
		t.Run(name, func(t *testing.T) {
			for _, accept := range []string{asJSON, asXML} {
				c := newClient(t, d, accept)
				c.via = trusting(t, ca, e.show)
				if !e.in && e.status == 0 {
					_, err := c.via.Do(mustRequest(t, http.MethodGet, d.BaseURL+"/"))
					require.ErrorContains(t, err, "tls: ")
					continue
				}
				if e.in {
					require.Equal(t, "sip:"+me.Address(), c.reach(d).text("uri"), "the connection is enough")
					c.keep(c.ask("/WebTicket/oauthtoken", windows))
					require.Equal(t, "sip:"+me.Address(), c.reach(d).text("uri"), "and so is a ticket for it")
					stolen := &client{t: t, base: c.base, accept: accept, token: c.token, via: trusting(t, ca, nil)}
					require.Equal(t, http.StatusUnauthorized, stolen.do(http.MethodGet, user, "", "").status, "which is good with the certificate only")
					continue
				}
				res := c.do(http.MethodGet, user, "", "")
				require.Equal(t, http.StatusBadRequest, c.ask("/WebTicket/oauthtoken", windows).status)
				if e.status == http.StatusForbidden {
					requireReason(t, res, http.StatusForbidden, "Forbidden", "")
					continue
				}
				require.Equal(t, e.status, res.status, "%s", res.body)
				require.Len(t, res.header.Values("WWW-Authenticate"), 2)
			}
		})
	}
}

func TestWhoHasNoCertificateUsesAPassword(t *testing.T) {
	me, other := people(t)
	ca := newAuthority(t, "CA")
	d := start(t, func(c *config.Config) {
		ca.server(c)
		c.SignIn.Certificates = config.Certificates{CAFile: ca.file, Fields: []string{"cn"}}
	})
	c := newClient(t, d, asJSON)
	for name, show := range map[string]*tls.Certificate{"no certificate": nil, "one for another purpose": ca.user(named("Somebody"))} {
		c.via = trusting(t, ca, show)
		tokenURL, grants := c.grants()
		require.Equal(t, []string{"password"}, grants, name)
		c.keep(c.ask(tokenURL, byPassword(d.Username, d.Password)))
		require.Equal(t, "sip:"+me.Address(), c.reach(d).text("uri"))
	}
	// A certificate and a password are to be of one user.
	c.via = trusting(t, ca, ca.user(named(other.Address())))
	require.Equal(t, http.StatusBadRequest, c.ask("/WebTicket/oauthtoken", byPassword(d.Username, d.Password)).status)
	for _, accept := range []string{asJSON, asXML} {
		c.accept = accept
		requireReason(t, c.do(http.MethodGet, "/Autodiscover/AutodiscoverService.svc/root/oauth/user", "", ""), http.StatusForbidden, "Forbidden", "")
	}
}
