package replicatest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"ucwagate/graphsrc/graphsim"
)

// patience bounds whatever the test waits for.
const patience = 2 * time.Minute

// refresh is how often everybody who is watched is read.
const refresh = 10 * time.Second

// world is a tenant, gateways and the proxy in front of them.
type world struct {
	tenant   *graphsim.Tenant
	gateways []*gateway
	url      string // of the proxy
	password string // of everybody
}

// build starts a tenant of some people, and a gateway for each way to Redis, a
// part of its configuration. Everybody at home in the tenant may sign in.
func build(t *testing.T, people int, ways ...string) *world {
	t.Helper()
	w := &world{password: "correct horse"}
	var err error
	w.tenant, err = graphsim.New(graphsim.Config{Domain: "example.com", Users: people * 5 / 4, Still: true})
	require.NoError(t, err)
	sim, err := w.tenant.Serve(graphsim.ServeOptions{})
	require.NoError(t, err)
	t.Cleanup(w.tenant.Close)
	w.tenant.Start(context.WithoutCancel(t.Context()))

	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(w.password), bcrypt.MinCost)
	require.NoError(t, err)
	var passwords bytes.Buffer
	for _, user := range users(w.tenant, people) {
		fmt.Fprintf(&passwords, "%s:%s\n", user, hash)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "htpasswd"), passwords.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), sim.CertificatePEM, 0o600))
	program := filepath.Join(dir, "ucwagate")
	out, err := exec.Command("go", "build", "-o", program, "ucwagate/cmd/ucwagate").CombinedOutput()
	require.NoError(t, err, "%s", out)

	w.url = "http://" + freeAddress(t)
	tenantID, clientID, secret := w.tenant.Credentials()
	for i, way := range ways {
		g := &gateway{t: t, program: program, address: freeAddress(t), internal: freeAddress(t), config: filepath.Join(dir, fmt.Sprintf("gateway%d.yaml", i))}
		require.NoError(t, os.WriteFile(g.config, fmt.Appendf(nil, `
server: {listen: "%s", public_url: "%s", trusted_proxies: [127.0.0.0/8], drain_delay: 4s, drain_time: 2s, shutdown_grace: 5s}
internal: {listen: "%s"}
signin: {htpasswd: htpasswd, attempts_per_minute: 1000}
applications: {per_user: 1000}
limits: {requests_per_minute: 0, anonymous_per_minute: 0}
presence: {refresh: %s}
redis: {%s, replicas: %d}
tenants:
  - name: simulated
    tenant_id: %s
    domains: [example.com]
    cloud: custom
    graph_url: %s
    authority: %s
    ca_file: ca.pem
    credential: {kind: secret, client_id: %s, secret: "%s"}
`, g.address, w.url, g.internal, refresh, way, len(ways), tenantID, sim.URL, sim.TLSURL, clientID, secret), 0o600))
		g.start()
		t.Cleanup(g.end)
		w.gateways = append(w.gateways, g)
	}
	for _, g := range w.gateways {
		g.awaitReady()
	}
	w.distribute(t, dir, w.url[len("http://"):])
	return w
}

// users are the addresses of the first people who are at home in the tenant: some
// are not.
func users(tenant *graphsim.Tenant, n int) (all []string) {
	for i := 0; len(all) < n; i++ {
		if address := strings.ToLower(tenant.User(i).Address()); strings.HasSuffix(address, "@"+tenant.Domain()) {
			all = append(all, address)
		}
	}
	return all
}

// gateway is one replica, as an operator runs it.
type gateway struct {
	t                                  *testing.T
	program, config, address, internal string
	cmd                                *exec.Cmd
	ended                              chan struct{}
}

func (g *gateway) start() {
	g.t.Helper()
	log, err := os.OpenFile(g.config+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(g.t, err)
	defer log.Close()
	g.cmd = exec.Command(g.program, "serve", "--config", g.config)
	g.cmd.Stderr = log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(g.t, g.cmd.Start())
	g.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(g.cmd, g.ended)
}

// replace ends the process as a rollout does, and starts another.
func (g *gateway) replace() {
	g.t.Helper()
	g.signal(syscall.SIGTERM)
	select {
	case <-g.ended:
		require.True(g.t, g.cmd.ProcessState.Success(), "%s", g.cmd.ProcessState)
	case <-time.After(patience):
		require.FailNow(g.t, "the gateway does not end")
	}
	g.start()
	g.awaitReady()
}

// kill ends the process as the kernel does when memory runs out.
func (g *gateway) kill() {
	require.NoError(g.t, g.cmd.Process.Kill())
	<-g.ended
}

func (g *gateway) signal(s syscall.Signal) { require.NoError(g.t, g.cmd.Process.Signal(s)) }

func (g *gateway) end() {
	_ = g.cmd.Process.Kill()
	<-g.ended
	if g.t.Failed() {
		log, _ := os.ReadFile(g.config + ".log")
		g.t.Logf("%s says: %s", g.address, log[max(0, len(log)-4000):])
	}
}

// awaitReady returns when the gateway says that it is ready.
func (g *gateway) awaitReady() {
	g.t.Helper()
	said := ""
	eventually(g.t, func() bool {
		select {
		case <-g.ended:
			require.FailNow(g.t, "the gateway has ended")
		default:
		}
		res, err := http.Get("http://" + g.internal + "/readyz")
		if err != nil {
			said = err.Error()
			return false
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		said = string(body)
		return res.StatusCode == http.StatusOK
	}, func() string { return said })
}

// distribute runs a proxy that sends each request to the next gateway that says
// it is ready.
func (w *world) distribute(t *testing.T, dir, listen string) {
	t.Helper()
	var text bytes.Buffer
	fmt.Fprintf(&text, `
global
    maxconn 4000
defaults
    mode http
    timeout connect 1s
    timeout client 1830s
    timeout server 1830s
    timeout check 2s
    option redispatch
    retries 3
frontend clients
    bind %s
    default_backend gateways
backend gateways
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 1s fall 2 rise 1
    retry-on conn-failure empty-response
`, listen)
	for i, g := range w.gateways {
		_, port, err := net.SplitHostPort(g.internal)
		require.NoError(t, err)
		fmt.Fprintf(&text, "    server gateway%d %s port %s\n", i, g.address, port)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	require.NoError(t, os.WriteFile(file, text.Bytes(), 0o600))
	cmd := exec.Command("haproxy", "-db", "-f", file)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	require.NoError(t, cmd.Start(), "is the Debian package haproxy installed? make deps installs it")
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy says: %s", output.Bytes())
		}
	})
	eventually(t, func() bool {
		res, err := http.Get("http://" + listen + "/")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	}, func() string { return "the proxy does not answer" })
}

// freeAddress names a port of this machine that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// eventually returns when something has come about.
func eventually(t *testing.T, so func() bool, said func() string) {
	t.Helper()
	limit := time.After(patience)
	for !so() {
		select {
		case <-limit:
			require.FailNow(t, "it does not come about", said())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
