package proxytest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/errgroup"

	"ucwagate/graphsrc/graphsim"
)

// program builds the real program.
func program(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ucwagate")
	out, err := exec.Command("go", "build", "-o", file, "ucwagate/cmd/ucwagate").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return file
}

// process is a gateway as an operator runs it.
type process struct {
	t        *testing.T
	program  string
	address  string
	config   string
	cmd      *exec.Cmd
	ended    chan struct{}
	exitCode error
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.program, "serve", "--config", p.config)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(p.config+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer log.Close()
	p.cmd.Stderr = log
	require.NoError(p.t, p.cmd.Start())
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { p.exitCode = cmd.Wait(); close(ended) }(p.cmd, p.ended)
	await(p.t, p.address, p.ended)
}

// stop asks the process to end and waits until it has.
func (p *process) stop() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
		require.NoError(p.t, p.exitCode)
	case <-time.After(patience):
		require.FailNow(p.t, "the gateway does not end")
	}
}

// processes starts n gateways that share a tenant, passwords and the keys of
// tickets, and nothing else.
func processes(t *testing.T, n int) (list []*process, user, password, internal string) {
	t.Helper()
	tenant, err := graphsim.New(graphsim.Config{Domain: "example.com", Users: 60, Still: true})
	require.NoError(t, err)
	sim, err := tenant.Serve(graphsim.ServeOptions{})
	require.NoError(t, err)
	t.Cleanup(tenant.Close)
	tenant.Start(context.WithoutCancel(t.Context()))
	dir := t.TempDir()
	password = "correct horse"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	user = tenant.Organizer().Address()
	key := make([]byte, 32)
	_, err = rand.Read(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), sim.CertificatePEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "htpasswd"), []byte(user+":"+string(hash)+"\n"), 0o600))
	tenantID, clientID, secret := tenant.Credentials()
	file, internal := program(t), commonPort(t, n)
	for i := range n {
		l, err := net.Listen("tcp", host(i)+":0")
		require.NoError(t, err)
		p := &process{t: t, program: file, address: l.Addr().String(), config: filepath.Join(dir, fmt.Sprintf("gateway%d.yaml", i))}
		require.NoError(t, l.Close())
		require.NoError(t, os.WriteFile(p.config, []byte(fmt.Sprintf(`
server: {listen: "%s", public_url: "https://%s", trusted_proxies: [127.0.0.0/8], drain_delay: 5s, drain_time: 2s, shutdown_grace: 5s}
internal: {listen: "%s"}
signin: {htpasswd: htpasswd, attempts_per_minute: 1000, ticket_keys: ["%s"]}
applications: {per_user: 1000}
limits: {requests_per_minute: 0}
tenants:
  - name: simulated
    tenant_id: %s
    domains: [example.com]
    cloud: custom
    graph_url: %s
    authority: %s
    ca_file: ca.pem
    credential: {kind: secret, client_id: %s, secret: "%s"}
`, p.address, publicName, net.JoinHostPort(host(i), internal), base64.StdEncoding.EncodeToString(key), tenantID, sim.URL, sim.TLSURL, clientID, secret)), 0o600))
		p.start()
		t.Cleanup(func() {
			_ = p.cmd.Process.Kill()
			<-p.ended
			if t.Failed() {
				log, _ := os.ReadFile(p.config + ".log")
				t.Logf("gateway says: %s", log)
			}
		})
		list = append(list, p)
	}
	return list, user, password, internal
}

// host is where the ith gateway listens: each has an address of its own, as on
// machines of their own, so that their internal listeners share a port.
func host(i int) string { return fmt.Sprintf("127.0.0.%d", i+1) }

// commonPort finds a port that is free at each of n hosts.
func commonPort(t *testing.T, n int) string {
	t.Helper()
	for range 20 {
		first, err := net.Listen("tcp", host(0)+":0")
		require.NoError(t, err)
		_, port, err := net.SplitHostPort(first.Addr().String())
		require.NoError(t, err)
		free := true
		for i := 1; i < n && free; i++ {
			l, err := net.Listen("tcp", net.JoinHostPort(host(i), port))
			if free = err == nil; free {
				require.NoError(t, l.Close())
			}
		}
		require.NoError(t, first.Close())
		if free {
			return port
		}
	}
	require.FailNow(t, "no port is free at all hosts")
	return ""
}

// TestNobodySeesAFailureDuringARollingRestart restarts two gateways behind
// HAProxy, one after the other, while clients ask for presence without pause. A
// client whose application ended with its replica hears that it is not found,
// and creates another; nothing else may happen to it.
func TestNobodySeesAFailureDuringARollingRestart(t *testing.T) {
	const clients = 50
	gateways, user, password, internal := processes(t, 2)
	// HAProxy asks for readiness, as the comment in the shipped file says.
	p := haproxy.startAt(t, []string{gateways[0].address, gateways[1].address},
		change{"http-check send meth GET uri / ver", "http-check send meth GET uri /readyz ver"},
		change{"default-server check inter", "default-server check port " + internal + " inter"})
	first := newClient(t, p.browser(t, false, "127.0.0.1"))
	first.signIn("https://"+discover+"/", user, password)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var everybody errgroup.Group
	var answered, renewed atomic.Int64
	for range clients {
		c := *first
		c.http = p.browser(t, false, "127.0.0.1")
		everybody.Go(func() error {
			if err := c.begin(); err != nil {
				return err
			}
			for ctx.Err() == nil {
				found, err := c.round(user)
				if err != nil {
					return err
				}
				if found {
					answered.Add(1)
					continue
				}
				renewed.Add(1)
				if err := c.begin(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	more := func() {
		t.Helper()
		until(t, func() bool { return false }, answered.Load()+20*clients, &answered)
	}
	more()
	for i, g := range gateways {
		g.stop()
		more()
		g.start()
		until(t, func() bool { return p.up(t, fmt.Sprintf("ucwa%d", i+1)) }, 0, nil)
		more()
	}
	stop()
	require.NoError(t, everybody.Wait())
	require.Positive(t, renewed.Load(), "somebody has had to start over")
	t.Logf("%d answers, %d applications created anew", answered.Load(), renewed.Load())
}

// round reads a presence, subscribes to it and ends the subscription, requests
// that a proxy may repeat and ones that it may not. It says whether the
// application was there each time.
func (c *client) round(user string) (found bool, err error) {
	people := "/ucwa/oauth/v1/applications/" + fmt.Sprint(c.app["id"]) + "/people"
	subscription := ""
	for _, step := range []struct {
		method, href, body string
		want               int
	}{
		{http.MethodGet, people + "/" + user + "/presence", "", http.StatusOK},
		{http.MethodPost, people + "/presenceSubscriptions", `{"duration":10,"uris":["sip:` + user + `"]}`, http.StatusCreated},
		{http.MethodDelete, "", "", http.StatusNoContent},
	} {
		if step.href == "" {
			step.href = subscription
		}
		a, err := c.try(step.method, step.href, step.body)
		switch {
		case err != nil:
			return false, fmt.Errorf("a request during the restart: %w", err)
		case a.status == http.StatusNotFound && strings.Contains(string(a.body), "ApplicationNotFound"):
			return false, nil
		case a.status != step.want:
			return false, fmt.Errorf("%s %s: %d %s", step.method, step.href, a.status, a.body)
		}
		subscription = a.header.Get("Location")
	}
	return true, nil
}

// begin creates an application.
func (c *client) begin() error {
	a, err := c.try(http.MethodPost, c.apps, `{"userAgent":"proxytest","endpointId":"1","culture":"en-US"}`)
	if err != nil {
		return fmt.Errorf("creating an application: %w", err)
	}
	if a.status != http.StatusCreated {
		return fmt.Errorf("creating an application: %d %s", a.status, a.body)
	}
	return json.Unmarshal(a.body, &c.app)
}

// until waits until something is so, or a count has been reached.
func until(t *testing.T, so func() bool, count int64, of *atomic.Int64) {
	t.Helper()
	limit := time.After(2 * patience)
	for !so() && (of == nil || of.Load() < count) {
		select {
		case <-limit:
			require.FailNow(t, "it takes too long")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// up asks HAProxy whether a server is in use.
func (p *proxy) up(t *testing.T, server string) bool {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(p.dir, "admin.sock"))
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "show stat -1 4 -1\n")
	require.NoError(t, err)
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if f := strings.Split(lines.Text(), ","); len(f) > 17 && f[1] == server {
			return f[17] == "UP"
		}
	}
	require.NoError(t, lines.Err())
	return false
}
