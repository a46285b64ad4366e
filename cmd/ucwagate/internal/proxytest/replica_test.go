package proxytest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/app"
	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// fragment reads the part of the gateway's configuration that is shipped with
// a proxy. What is missing in it to be a whole one is put beside it.
func fragment(t testing.TB, name string) config.Server {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "ucwagate.yaml")
	require.NoError(t, os.WriteFile(file, []byte(shipped(t, name, "ucwagate.yaml")+`
signin: {entra: {audiences: ["api://ucwagate"]}}
tenants:
  - name: contoso
    tenant_id: 00000000-0000-0000-0000-00000000bbbb
    domains: [example.com]
    credential: {kind: managed}
`), 0o600))
	loaded, err := config.Load(file, nil)
	require.NoError(t, err)
	require.Empty(t, loaded.Warnings)
	return loaded.Config.Server
}

// seen is what a gateway was asked.
type seen struct {
	method, path, host, from string
	header                   http.Header
	length                   int64
}

// replica is a gateway behind a proxy, with a look at what reaches it.
type replica struct {
	address string
	server  *http.Server

	mu      sync.Mutex
	asked   []seen
	created map[string]bool // ids of applications
	hook    func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// world is a tenant and the gateways that serve it.
type world struct {
	*demo.Demo
	replicas []*replica
}

// gateways starts n gateways for one tenant, configured with the fragment that
// is shipped with a proxy. They share nothing but the keys of tickets.
func gateways(t testing.TB, k kind, n int, adjust ...func(*config.Config)) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server := fragment(t, k.name)
	var cfg config.Config
	key := make([]byte, 32)
	_, err := rand.Read(key)
	require.NoError(t, err)
	w := &world{}
	w.Demo, err = demo.Start(t.Context(), demo.Options{
		Domain: "example.com", Still: true, Refresh: time.Second, Logger: log,
		Adjust: func(c *config.Config) {
			// Its address, and the one the proxy comes from, are the test's own.
			server.Listen, server.DrainTime, server.ShutdownGrace = c.Server.Listen, c.Server.DrainTime, c.Server.ShutdownGrace
			server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			c.Server = server
			c.SignIn.TicketKeys = []config.Secret{config.Secret(base64.StdEncoding.EncodeToString(key))}
			for _, f := range adjust {
				f(c)
			}
			cfg = *c
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close(context.WithoutCancel(t.Context()))) })
	w.replicas = append(w.replicas, serve(t, w.App.Handler()))
	for range n - 1 {
		a, err := app.New(cfg, log)
		require.NoError(t, err)
		require.NoError(t, a.Start(t.Context()))
		t.Cleanup(func() { require.NoError(t, a.Stop(context.WithoutCancel(t.Context()))) })
		w.replicas = append(w.replicas, serve(t, a.Handler()))
	}
	return w
}

// serve puts a handler on a listener of its own.
func serve(t testing.TB, h http.Handler) *replica {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &replica{address: l.Addr().String(), created: map[string]bool{}}
	r.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.serve(w, req, h) }),
		// Like the gateway's own.
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 3 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	done := make(chan struct{})
	go func() { _ = r.server.Serve(l); close(done) }()
	t.Cleanup(func() { _ = r.server.Close(); <-done })
	return r
}

func (r *replica) serve(w http.ResponseWriter, req *http.Request, next http.Handler) {
	r.mu.Lock()
	r.asked = append(r.asked, seen{req.Method, req.URL.Path, req.Host, req.RemoteAddr, req.Header.Clone(), req.ContentLength})
	hook := r.hook
	r.mu.Unlock()
	defer func() {
		if id, ok := strings.CutPrefix(w.Header().Get("Location"), "/ucwa/oauth/v1/applications/"); ok && strings.HasSuffix(req.URL.Path, "/applications") {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.created[id] = true
		}
	}()
	if hook != nil {
		hook(w, req, next)
		return
	}
	next.ServeHTTP(w, req)
}

// intercept has requests pass through f from now on.
func (r *replica) intercept(f func(w http.ResponseWriter, req *http.Request, next http.Handler)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = f
}

// requests returns what was asked whose path ends like that; "" is everything
// but a proxy's health checks.
func (r *replica) requests(pathEnd string) []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []seen
	for _, s := range r.asked {
		check := s.path == "/" && s.header.Get("X-Forwarded-For") == ""
		if !check && strings.HasSuffix(s.path, pathEnd) {
			list = append(list, s)
		}
	}
	return list
}
