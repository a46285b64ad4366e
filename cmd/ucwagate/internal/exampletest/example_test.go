package exampletest

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/cmd/ucwagate/internal/ucwaclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	folder = "../../../../docs/examples"
	// patience bounds whatever a test waits for.
	patience = 2 * time.Minute
)

// examples are the clients that can run here.
var examples = []struct {
	name    string
	command func(t *testing.T) []string
}{
	{"curl", script("bash", "curl/watch.sh")},
	{"Go", func(t *testing.T) []string {
		program := filepath.Join(t.TempDir(), "watch")
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, folder+"/go").CombinedOutput()
		require.NoError(t, err, "%s", out)
		return []string{program}
	}},
	{"JavaScript", script("node", "javascript/watch.mjs")},
	{"Python", script("python3", "python/watch.py")},
}

func script(interpreter, file string) func(*testing.T) []string {
	return func(*testing.T) []string { return []string{interpreter, filepath.Join(folder, file)} }
}

func TestEachExamplePrintsWhatChangesWhateverHappensMeanwhile(t *testing.T) {
	d, err := demo.Start(t.Context(), demo.Options{Still: true, Refresh: time.Second, Adjust: func(cfg *config.Config) {
		cfg.Applications.PerUser = 1 // one more ends an example's
	}})
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, d.Close(context.WithoutCancel(t.Context())))
	})
	for i, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			user, watched := address(d.Contacts[i]), address(d.Contacts[len(examples)+i])
			move(t, d, watched, "Busy", "InAMeeting")
			m := newMiddle(t, d.BaseURL, asleep, cut, stranger, behind, resumed)
			p := start(t, d.Password, append(e.command(t), m.URL+"/", user, watched)...)

			p.await(watched + " Busy in-a-meeting")
			move(t, d, watched, "DoNotDisturb", "Presenting")
			p.await(watched + " DoNotDisturb presenting")
			another(t, d, user)
			p.await("beginning anew: 410")
			move(t, d, watched, "Away", "Away")
			p.await(watched + " Away")
			p.interrupt()

			require.Equal(t, []string{watched + " Busy in-a-meeting", watched + " DoNotDisturb presenting", watched + " Away"}, p.about(watched),
				"each change is printed once")
			require.Equal(t, []string{
				"create", "subscribe", // then the ticket is not good any more
				"create", "subscribe", // which takes over the application of the same endpoint
				"subscribe",                  // events were missed
				"extend", "extend", "extend", // all three are about to expire
				"subscribe",           // the client was silent for long
				"create", "subscribe", // the application was ended
				"delete",
			}, m.seen())
		})
	}
}

func address(c demo.Contact) string { return strings.TrimPrefix(c.URI, "sip:") }

// move changes somebody's presence in the simulated tenant, as POST
// /sim/presence does for whoever has no program.
func move(t *testing.T, d *demo.Demo, user, availability, activity string) {
	t.Helper()
	body := strings.NewReader(`{"user":"` + user + `","availability":"` + availability + `","activity":"` + activity + `"}`)
	res, err := http.Post(d.SimulatorURL+"/sim/presence", "application/json", body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// another creates one more application of a user, which ends the first.
func another(t *testing.T, d *demo.Demo, user string) {
	t.Helper()
	c, err := ucwaclient.SignIn(t.Context(), http.DefaultClient, d.BaseURL, user, d.Password)
	require.NoError(t, err)
	_, err = c.CreateApplication(t.Context(), "another", "another", "en-US")
	require.NoError(t, err)
}

// process is a running example.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of both outputs; closed when they end
	said  []string
}

// start runs an example in a process group of its own, as a shell does.
func start(t *testing.T, password string, command ...string) *process {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p := &process{t: t, cmd: exec.Command(command[0], command[1:]...), lines: make(chan string)}
	p.cmd.Env = append(os.Environ(), "UCWA_PASSWORD="+password)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, p.cmd.Start(), "is it installed? make deps installs what is missing")
	require.NoError(t, w.Close())
	over := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case p.lines <- s.Text():
			case <-over:
			}
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		close(over)
		_ = p.cmd.Wait()
		<-ended
		_ = r.Close()
		if t.Failed() {
			t.Logf("it said:\n%s", strings.Join(p.said, "\n"))
		}
	})
	return p
}

// await returns when the example has said a line that begins so.
func (p *process) await(begin string) {
	p.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			require.True(p.t, ok, "it ended before it said %q", begin)
			p.said = append(p.said, line)
			if strings.HasPrefix(line, begin) {
				return
			}
		case <-limit:
			require.FailNow(p.t, "it does not say", "%q", begin)
		}
	}
}

// interrupt does what Ctrl-C does and waits for the end.
func (p *process) interrupt() {
	p.t.Helper()
	require.NoError(p.t, syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT))
	limit := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				require.NoError(p.t, p.cmd.Wait(), "it ends in peace")
				return
			}
			p.said = append(p.said, line)
		case <-limit:
			require.FailNow(p.t, "it does not end")
		}
	}
}

// about returns the lines about somebody.
func (p *process) about(who string) []string {
	return slices.DeleteFunc(slices.Clone(p.said), func(line string) bool { return !strings.HasPrefix(line, who+" ") })
}
