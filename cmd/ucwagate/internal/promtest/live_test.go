package promtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/cmd/ucwagate/internal/ucwaclient"
	"ucwagate/graphsrc/redistest"
)

// patience bounds whatever a test waits for.
const patience = 60 * time.Second

// quiet are the expressions that have nothing to show of a gateway that is
// well, and why.
var quiet = map[string]string{
	`min by (tenant) (ucwagate_notification_subscription_expiry_timestamp_seconds`: "the first subscription is made when people are planned for, once a minute",
	`go_gc_gomemlimit_bytes{job=~"$job", instance=~"$instance"} < 1e15`:            "the test sets no GOMEMLIMIT",
	`changes(process_start_time_seconds`:                                           "nothing has started anew",
}

// prometheus is a running one.
type prometheus struct{ url string }

// scraping runs a Prometheus with the shipped files until the test ends. Only
// the target, the addresses and how often it looks are other ones.
func scraping(t testing.TB, target string) *prometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	require.NoError(t, err, "is the Debian package prometheus installed? make deps installs it")
	var b [3]byte
	_, err = rand.Read(b[:])
	require.NoError(t, err)
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 64+b[0]%128, b[1], 1+b[2]%250)) // nobody else's
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	text := string(shipped(t, "prometheus.yaml"))
	for from, to := range map[string]string{
		"targets: [127.0.0.1:9090]": "targets: [" + target + "]", "scrape_interval: 15s": "scrape_interval: 1s",
		"evaluation_interval: 15s": "evaluation_interval: 1s", "scrape_timeout: 10s": "scrape_timeout: 1s", "[127.0.0.1:9093]": "[]",
	} {
		require.Contains(t, text, from, "what the test replaces is not in the shipped file")
		text = strings.Replace(text, from, to, 1)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(text), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), shipped(t, "alerts.yaml"), 0o600))
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	// It must not outlive a test that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	require.NoError(t, cmd.Start())
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
			t.Logf("prometheus says: %s", output.Bytes())
		}
	})
	return &prometheus{url: "http://" + address}
}

// ask asks the HTTP API; it returns false while there is no answer, and fails
// the test if the answer is an error.
func (p *prometheus) ask(t testing.TB, path string, data any) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode == http.StatusServiceUnavailable {
		if err == nil {
			_ = res.Body.Close()
		}
		return false
	}
	defer res.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
	require.Equal(t, "success", answer.Status, "%s: %s", path, answer.Error)
	require.NoError(t, json.Unmarshal(answer.Data, data))
	return true
}

// series evaluates an expression and returns how many series it has.
func (p *prometheus) series(t testing.TB, expr string) int {
	t.Helper()
	var data struct{ Result []json.RawMessage }
	p.ask(t, "/api/v1/query?query="+url.QueryEscape(expr), &data)
	return len(data.Result)
}

// busy is a client that uses the gateway until ctx ends: it signs in, rightly
// and wrongly, subscribes, and waits for changes that it has made.
func busy(ctx context.Context, d *demo.Demo) error {
	c, err := ucwaclient.SignIn(ctx, http.DefaultClient, d.BaseURL, d.Username, d.Password)
	if err != nil {
		return err
	}
	app, err := c.CreateApplication(ctx, "promtest", "1", "en-US")
	if err != nil {
		return err
	}
	who := d.Contacts[0].URI
	if _, err := app.Subscribe(ctx, []string{who}, 30); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if _, err := ucwaclient.SignIn(ctx, http.DefaultClient, d.BaseURL, d.Username, "wrong"); err == nil {
			return fmt.Errorf("signed in with a wrong password")
		}
		word := [2]string{"Busy", "DoNotDisturb"}[n%2]
		body := fmt.Sprintf(`{"user":%q,"availability":%q,"activity":%q}`, strings.TrimPrefix(who, "sip:"), word, [2]string{"InAMeeting", "Presenting"}[n%2])
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.SimulatorURL+"/sim/presence", strings.NewReader(body))
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		events, err := app.Next(ctx)
		if err != nil {
			return err
		}
		for _, e := range events.Events {
			if e.Link.Rel == "contactPresence" {
				if _, err := app.Presence(ctx, e.Link.Href); err != nil {
					return err
				}
			}
		}
	}
}

// evaluable puts values into a panel's expression as Grafana does.
var evaluable = strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$job", "ucwagate", "$instance", ".*", "$tenant", "simulated")

// replicasRow is the row of the dashboard that is empty without Redis.
const replicasRow = "Replicas (empty without Redis)"

func TestAPrometheusReadsTheGateway(t *testing.T) {
	readTheGateway(t, nil)
}

func TestAPrometheusReadsAReplica(t *testing.T) {
	redis := redistest.Start(t).Addr()
	readTheGateway(t, func(c *config.Config) { c.Redis.Addresses, c.Redis.Replicas = []string{redis}, 1 })
}

// readTheGateway has every panel filled and every rule evaluated with a busy
// gateway; without Redis one row is empty.
func readTheGateway(t *testing.T, withRedis func(*config.Config)) {
	d, err := demo.Start(t.Context(), demo.Options{
		Still: true, Refresh: time.Second, Helpers: 1, Logger: slog.New(slog.DiscardHandler), Adjust: withRedis,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, d.Close(context.WithoutCancel(t.Context())))
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- busy(ctx, d) }()
	t.Cleanup(func() {
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
	})
	p := scraping(t, strings.TrimPrefix(d.StatusURL, "http://"))
	expressions, empty, row := map[string]string{}, map[string]string{}, ""
	for _, panel := range dashboard(t).Panels {
		if panel.Type == "row" {
			row = panel.Title
		}
		for _, target := range panel.Targets {
			if row == replicasRow && withRedis == nil {
				empty[target.Expr] = panel.Title
				continue
			}
			expressions[target.Expr] = panel.Title
		}
	}
	require.Equal(t, withRedis == nil, len(empty) > 0)
	for _, a := range dashboard(t).Annotations.List {
		expressions[a.Expr] = a.Name
	}
	for name := range foreign {
		expressions[name] = "a metric that is not the gateway's own"
	}
	silent := func(expr string) bool {
		for start := range quiet {
			if strings.HasPrefix(expr, start) {
				return true
			}
		}
		return false
	}
	missing := func() (list []string) {
		for expr, title := range expressions {
			if p.series(t, evaluable.Replace(expr)) == 0 && !silent(expr) {
				list = append(list, title+": "+expr)
			}
		}
		return list
	}
	var without []string
	if !assert.Eventually(t, func() bool { without = missing(); return len(without) == 0 }, patience, 500*time.Millisecond) {
		require.Empty(t, without, "panels without data")
	}
	require.Eventually(t, func() bool { return rulesAreEvaluated(t, p) }, patience, 200*time.Millisecond)
	require.Zero(t, p.series(t, `ALERTS{alertstate="firing"}`), "nothing is wrong with it")
	for expr, title := range empty {
		require.Zero(t, p.series(t, evaluable.Replace(expr)), title)
	}
}

// rulesAreEvaluated says whether each was; one that cannot be fails the test.
func rulesAreEvaluated(t testing.TB, p *prometheus) bool {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.ask(t, "/api/v1/rules", &data)
	n := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			require.Empty(t, r.LastError, r.Name)
			if r.Health == "ok" {
				n++
			}
		}
	}
	return n == len(alerts(t).all())
}
