package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/ucwaclient"
	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ucwagate": main})
}

// TestCommands runs the scripts of testdata/script against the real program.
func TestCommands(t *testing.T) {
	redis := redistest.Start(t).Addr()
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(e *testscript.Env) error {
		e.Setenv("REDIS", redis)
		return nil
	}})
}

// program starts the program itself and returns its first line of output.
func program(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	// testscript.Main runs the command whose name the program is called by.
	link := filepath.Join(t.TempDir(), "ucwagate")
	require.NoError(t, os.Symlink(cmd.Path, link))
	cmd.Path, cmd.Args[0] = link, link
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd, line
}

func TestTheDemonstrationPrintsOneJSONObjectAndEndsOnASignal(t *testing.T) {
	cmd, line := program(t, "demo", "--listen", "127.0.0.1:0", "--users", "50", "--domain", "example.test", "--still", "--print", "json")
	var info struct {
		BaseURL, Username, Password, Domain, SimulatorURL string
		Contacts                                          []struct{ URI, Name, Availability string }
	}
	require.NoError(t, json.Unmarshal([]byte(line), &info))
	require.Equal(t, "example.test", info.Domain)
	require.NotEmpty(t, info.Contacts)
	for _, url := range []string{info.BaseURL + "/", info.SimulatorURL + "/sim/stats", info.SimulatorURL + "/sim/presence", info.SimulatorURL + "/sim/faults"} {
		res, err := http.Get(url)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode, url)
		require.True(t, json.Valid(body), "%s: %s", url, body)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("the program does not end")
	}
}

func TestServePingAndCheckAgainstASimulatedTenant(t *testing.T) {
	dir := t.TempDir()
	_, line := program(t, "simulate", "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0", "--ca-file", filepath.Join(dir, "ca.pem"), "--still")
	var sim map[string]string
	require.NoError(t, json.Unmarshal([]byte(line), &sim))
	file := filepath.Join(dir, "ucwagate.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
signin:
  entra: {audiences: ["api://ucwagate"]}
tenants:
  - name: simulated
    tenant_id: `+sim["tenant_id"]+`
    domains: [`+sim["domain"]+`]
    cloud: custom
    graph_url: `+sim["graph_url"]+`
    authority: `+sim["authority"]+`
    ca_file: ca.pem
    credential: {kind: secret, client_id: `+sim["client_id"]+`}
`), 0o600))
	t.Setenv("UCWAGATE_TENANTS_0_CREDENTIAL_SECRET", sim["secret"])
	self := func(args ...string) string {
		link := filepath.Join(t.TempDir(), "ucwagate")
		require.NoError(t, os.Symlink(os.Args[0], link))
		out, err := exec.CommandContext(t.Context(), link, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NotContains(t, string(out), sim["secret"])
		return string(out)
	}
	require.Contains(t, self("check", "--config", file), "simulated")
	ping := self("graph", "ping", "--config", file)
	for _, want := range []string{"valid until", "Presence.Read.All       granted", "Presence.ReadWrite.All  granted", "one presence", "of 1500 requests left"} {
		require.Contains(t, ping, want)
	}
}

// TestWaitingClientsAreReleasedOnASignal parks P-GETs and ends the program:
// each gets an answer with a link to go on, and no connection is cut.
func TestWaitingClientsAreReleasedOnASignal(t *testing.T) {
	cmd, line := program(t, "demo", "--listen", "127.0.0.1:0", "--users", "50", "--still", "--print", "json")
	var info struct{ BaseURL, Username, Password string }
	require.NoError(t, json.Unmarshal([]byte(line), &info))
	client, err := ucwaclient.SignIn(t.Context(), http.DefaultClient, info.BaseURL, info.Username, info.Password)
	require.NoError(t, err)
	type answer struct {
		p   *ucwaclient.Package
		err error
	}
	answers := make(chan answer)
	const waiting = 20
	for i := range waiting {
		app, err := client.CreateApplication(t.Context(), "test", strconv.Itoa(i), "en-US")
		require.NoError(t, err)
		go func() {
			p, err := app.Next(t.Context())
			answers <- answer{p, err}
		}()
	}
	// The requests have no other way to show that they are held.
	select {
	case a := <-answers:
		t.Fatalf("a request for events is not held: %+v", a)
	case <-time.After(500 * time.Millisecond):
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	for range waiting {
		a := <-answers
		require.NoError(t, a.err)
		require.Empty(t, a.p.Events)
		require.False(t, a.p.Resynced)
	}
	require.NoError(t, cmd.Wait())
}

// TestWatchPrintsEveryChange runs the watch command against the demonstration.
func TestWatchPrintsEveryChange(t *testing.T) {
	_, line := program(t, "demo", "--listen", "127.0.0.1:0", "--users", "50", "--still", "--print", "json")
	var info struct {
		BaseURL, Username, Password, SimulatorURL string
		Contacts                                  []struct{ URI, Availability string }
	}
	require.NoError(t, json.Unmarshal([]byte(line), &info))
	t.Setenv("UCWAGATE_WATCH_PASSWORD", info.Password)
	who := strings.TrimPrefix(info.Contacts[0].URI, "sip:")
	link := filepath.Join(t.TempDir(), "ucwagate")
	require.NoError(t, os.Symlink(os.Args[0], link))
	cmd := exec.CommandContext(t.Context(), link, "watch", "--url", info.BaseURL, "--user", info.Username, who, info.Contacts[1].URI)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for range 2 {
		require.True(t, lines.Scan())
	}
	res, err := http.Post(info.SimulatorURL+"/sim/presence", "application/json",
		strings.NewReader(`{"user":"`+who+`","availability":"DoNotDisturb","activity":"Presenting"}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.True(t, lines.Scan())
	require.True(t, strings.HasSuffix(lines.Text(), who+" DoNotDisturb presenting"), lines.Text())
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
}
