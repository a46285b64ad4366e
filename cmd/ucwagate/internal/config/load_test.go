package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// secretWord stands in every fixture where a secret belongs, or where one
// might land by mistake.
const secretWord = "hunter2"

// minimal are the variables of the smallest valid configuration.
var minimal = []string{
	"UCWAGATE_SIGNIN_ENTRA_AUDIENCES=api://ucwa",
	"UCWAGATE_TENANTS_0_NAME=contoso",
	"UCWAGATE_TENANTS_0_TENANT_ID=11111111-1111-1111-1111-111111111111",
	"UCWAGATE_TENANTS_0_DOMAINS=contoso.com",
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-file +now); go test -update writes it anew:\n%s", path, diff)
	}
}

// write puts a configuration file into a folder of its own.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ucwagate.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// fixtureEnv reads the lines "# env: NAME=value" of a fixture.
func fixtureEnv(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var environ []string
	for line := range strings.Lines(string(content)) {
		if variable, ok := strings.CutPrefix(line, "# env: "); ok {
			environ = append(environ, strings.TrimRight(variable, "\n"))
		}
	}
	return environ
}

func TestEachBadConfigurationIsRefusedWithItsMessage(t *testing.T) {
	t.Parallel()
	fixtures, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, fixtures)
	for _, fixture := range fixtures {
		t.Run(strings.TrimSuffix(filepath.Base(fixture), ".yaml"), func(t *testing.T) {
			t.Parallel()
			loaded, err := Load(fixture, fixtureEnv(t, fixture))
			problems, ok := errors.AsType[Problems](err)
			require.True(t, ok, "the error is %T", err)
			require.NotEmpty(t, problems)
			require.NotContains(t, err.Error(), secretWord)
			golden(t, strings.TrimSuffix(fixture, ".yaml")+".golden", err.Error()+"\n")

			var printed bytes.Buffer
			require.NoError(t, loaded.Print(&printed), "what is wrong can still be printed")
			require.NotContains(t, printed.String(), secretWord)
		})
	}
}

func TestAFileThatIsNotThereIsTheOnlyProblem(t *testing.T) {
	t.Parallel()
	_, err := Load("testdata/none.yaml", nil)
	require.EqualError(t, err, "testdata/none.yaml: cannot be read: no such file or directory")
}

func TestAFileThatIsTooLargeIsNotRead(t *testing.T) {
	t.Parallel()
	path := write(t, strings.Repeat("#", maxFile+1))
	_, err := Load(path, nil)
	require.EqualError(t, err, path+": cannot be read: "+path+" is larger than 1MiB")
}

func TestTheEnvironmentAloneIsEnough(t *testing.T) {
	t.Parallel()
	loaded, err := Load("", minimal)
	require.NoError(t, err)

	want := Default()
	want.SignIn.Entra.Audiences = []string{"api://ucwa"}
	tenant := DefaultTenant()
	tenant.Name, tenant.TenantID, tenant.Domains = "contoso", "11111111-1111-1111-1111-111111111111", []string{"contoso.com"}
	want.Tenants = []Tenant{tenant}
	require.Empty(t, cmp.Diff(want, loaded.Config, cmpopts.EquateEmpty(), cmpopts.EquateComparable()))
}

func TestWithoutFileOrVariablesThereIsNoTenantAndNoSignIn(t *testing.T) {
	t.Parallel()
	_, err := Load("", nil)
	require.EqualError(t, err, strings.Join([]string{
		"signin: nobody could sign in; set htpasswd, command, callback, entra.audiences, proxy, certificates or fixed (UCWAGATE_SIGNIN_HTPASSWD, for one)",
		"tenants: is required: at least one tenant, in the file or by UCWAGATE_TENANTS_0_NAME and the like",
	}, "\n"))
}

func TestTheEnvironmentGoesBeforeTheFileAndTheFileBeforeTheDefault(t *testing.T) {
	t.Parallel()
	path := write(t, `
presence: {refresh: 30s, staleness: 10m}
tenants:
  - budget: {rate: 20}
    domains: [one.example]
`)
	loaded, err := Load(path, append([]string{
		"UCWAGATE_PRESENCE_STALENESS=20m",
		"UCWAGATE_TENANTS_0_BUDGET_RATE=10",
		"UCWAGATE_TENANTS_1_NAME=second",
		"UCWAGATE_TENANTS_1_TENANT_ID=22222222-2222-2222-2222-222222222222",
		"UCWAGATE_TENANTS_1_DOMAINS=two.example, three.example",
	}, minimal...))
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, loaded.Config.Presence.Refresh)
	require.Equal(t, 20*time.Minute, loaded.Config.Presence.Staleness)
	require.Equal(t, 5*time.Millisecond, loaded.Config.Presence.BatchWindow)
	require.Len(t, loaded.Config.Tenants, 2)
	require.InDelta(t, 10, loaded.Config.Tenants[0].Budget.Rate, 0)
	require.Equal(t, []string{"contoso.com"}, loaded.Config.Tenants[0].Domains, "a list is replaced, not merged")
	require.Equal(t, []string{"two.example", "three.example"}, loaded.Config.Tenants[1].Domains)
	require.Equal(t, CloudGlobal, loaded.Config.Tenants[1].Cloud, "a tenant of the environment has the defaults too")

	require.Equal(t, Origin{File: path, Line: 2}, loaded.Origin("presence.refresh"))
	require.Equal(t, Origin{Env: "UCWAGATE_PRESENCE_STALENESS"}, loaded.Origin("presence.staleness"))
	require.Equal(t, Origin{}, loaded.Origin("presence.batch_window"))
	require.Equal(t, Origin{Env: "UCWAGATE_TENANTS_1_NAME"}, loaded.Origin("tenants[1].name"))
}

func TestWhatKubernetesPutsIntoTheEnvironmentIsLeftAlone(t *testing.T) {
	t.Parallel()
	_, err := Load("", append([]string{
		"UCWAGATE_CONFIG=/etc/ucwagate/ucwagate.yaml",
		"UCWAGATE_SERVICE_HOST=10.0.0.7",
		"UCWAGATE_SERVICE_PORT=8080",
		"UCWAGATE_SERVICE_PORT_HTTP=8080",
		"UCWAGATE_PORT=tcp://10.0.0.7:8080",
		"UCWAGATE_PORT_8080_TCP=tcp://10.0.0.7:8080",
		"UCWAGATE_PORT_8080_TCP_PROTO=tcp",
		"UCWAGATE_PORT_8080_TCP_PORT=8080",
		"UCWAGATE_PORT_8080_TCP_ADDR=10.0.0.7",
		"UCWAGATE_METRICS_SERVICE_HOST=10.0.0.8",
		"UCWAGATE_METRICS_PORT=tcp://10.0.0.8:9090",
		"PATH=/bin", "NOEQUALS",
	}, minimal...))
	require.NoError(t, err)

	_, err = Load("", append([]string{"UCWAGATE_SERVER_PORT=8080"}, minimal...))
	require.EqualError(t, err, "env UCWAGATE_SERVER_PORT: unknown variable; the nearest valid name is UCWAGATE_SERVER_LISTEN")
}

func TestValuesAreBroughtIntoOneForm(t *testing.T) {
	t.Parallel()
	loaded, err := Load(write(t, `
server:
  max_body: 1048576
  public_url: HTTPS://UCWA.Example.com
  trusted_proxies: [10.0.0.0/8, 192.0.2.1, "::ffff:192.0.2.2", "2001:db8::/32"]
  shutdown_grace: 90s
tenants:
  - name: 0123
    tenant_id: AAAAAAAA-1111-1111-1111-111111111111
    domains: &domains [Contoso.COM]
    cloud: Custom
    graph_url: http://127.0.0.1:9000/root/
    authority: https://LOGIN.example/
    budget: {capacity: 0x20, rate: 4e1}
signin: {entra: {audiences: *domains}}
directory:
`), nil)
	require.NoError(t, err)
	c := loaded.Config
	require.Equal(t, Size(1<<20), c.Server.MaxBody)
	require.Equal(t, "https://ucwa.example.com", c.Server.PublicURL)
	require.Equal(t, "[10.0.0.0/8 192.0.2.1/32 192.0.2.2/32 2001:db8::/32]", strings.ReplaceAll(strings.Join(strings.Fields(prefixes(c)), " "), ",", ""))
	require.Equal(t, 90*time.Second, c.Server.ShutdownGrace)
	tenant := c.Tenants[0]
	require.Equal(t, "0123", tenant.Name)
	require.Equal(t, "aaaaaaaa-1111-1111-1111-111111111111", tenant.TenantID)
	require.Equal(t, []string{"contoso.com"}, tenant.Domains)
	require.Equal(t, CloudCustom, tenant.Cloud)
	require.Equal(t, "http://127.0.0.1:9000/root", tenant.GraphURL)
	require.Equal(t, "https://login.example", tenant.Authority)
	require.Equal(t, 32, tenant.Budget.Capacity)
	require.InDelta(t, 40, tenant.Budget.Rate, 0)
}

func prefixes(c Config) string {
	texts := make([]string, len(c.Server.TrustedProxies))
	for i, p := range c.Server.TrustedProxies {
		texts[i] = p.String()
	}
	return "[" + strings.Join(texts, " ") + "]"
}

func TestARelativePathCountsFromTheFolderOfTheFile(t *testing.T) {
	t.Parallel()
	path := write(t, "signin: {htpasswd: users}\n")
	users := filepath.Join(filepath.Dir(path), "users")
	require.NoError(t, os.WriteFile(users, nil, 0o600))
	loaded, err := Load(path, minimal)
	require.NoError(t, err)
	require.Equal(t, users, loaded.Config.SignIn.Htpasswd)

	_, err = Load(path, append([]string{"UCWAGATE_SIGNIN_HTPASSWD=users"}, minimal...))
	require.EqualError(t, err, `env UCWAGATE_SIGNIN_HTPASSWD: signin.htpasswd: "users" cannot be read: no such file or directory`)
}

func TestAWorkloadTakesFromTheVariablesOfTheSDKWhatIsNotSet(t *testing.T) {
	t.Parallel()
	_, err := Load("", append([]string{
		"UCWAGATE_TENANTS_0_CREDENTIAL_KIND=workload",
		"AZURE_CLIENT_ID=app",
		"AZURE_FEDERATED_TOKEN_FILE=/var/run/token",
	}, minimal...))
	require.NoError(t, err)
}

func TestAnEagerRefreshIsAWarning(t *testing.T) {
	t.Parallel()
	loaded, err := Load("", append([]string{"UCWAGATE_PRESENCE_REFRESH=1s"}, minimal...))
	require.NoError(t, err)
	require.EqualError(t, loaded.Warnings, "env UCWAGATE_PRESENCE_REFRESH: presence.refresh: is below 5s; Graph's terms frown on eager polling")

	loaded, err = Load("", append([]string{"UCWAGATE_PRESENCE_REFRESH=5s"}, minimal...))
	require.NoError(t, err)
	require.Empty(t, loaded.Warnings)
}

func TestBelievingEverybodyIsAWarning(t *testing.T) {
	t.Parallel()
	for networks, warned := range map[string]bool{"0.0.0.0/0": true, "10.0.0.1,::/0": true, "10.0.0.0/8": false} {
		loaded, err := Load("", append([]string{"UCWAGATE_SERVER_TRUSTED_PROXIES=" + networks}, minimal...))
		require.NoError(t, err)
		if !warned {
			require.Empty(t, loaded.Warnings)
			continue
		}
		require.ErrorContains(t, loaded.Warnings, "server.trusted_proxies: names everybody")
	}
}

func TestAUserOfNoTenantIsAWarning(t *testing.T) {
	t.Parallel()
	for variable, warned := range map[string]string{
		"UCWAGATE_SIGNIN_FIXED_ADDRESS=sign@elsewhere.example": "signin.fixed.address",
		"UCWAGATE_SIGNIN_DEFAULT_DOMAIN=elsewhere.example":     "signin.default_domain",
		"UCWAGATE_SIGNIN_FIXED_ADDRESS=sign@contoso.com":       "",
		"UCWAGATE_SIGNIN_DEFAULT_DOMAIN=contoso.com":           "",
		"UCWAGATE_SIGNIN_FIXED_ADDRESS=Sign@Contoso.COM":       "",
	} {
		loaded, err := Load("", append([]string{variable}, minimal...))
		require.NoError(t, err)
		if warned == "" {
			require.Empty(t, loaded.Warnings, variable)
			continue
		}
		require.ErrorContains(t, loaded.Warnings, warned+": is of no domain in tenants[].domains")
	}
}

func FuzzLoad(f *testing.F) {
	fixtures, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(f, err)
	for _, fixture := range append(fixtures, "testdata/full.yaml") {
		content, err := os.ReadFile(fixture)
		require.NoError(f, err)
		f.Add(content)
	}
	f.Add([]byte("tenants: &t [*t]"))
	f.Add([]byte("tenants: [&t {credential: *t, budget: *t}]"))
	f.Add([]byte("presence: !!int {refresh: !!bool x}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := write(t, string(content))
		loaded, err := Load(path, nil)
		var printed bytes.Buffer
		require.NoError(t, loaded.Print(&printed))
		if err != nil {
			problems, ok := errors.AsType[Problems](err)
			require.True(t, ok, "the error is %T: %v", err, err)
			require.NotEmpty(t, problems)
			require.Equal(t, len(problems), strings.Count(err.Error(), "\n")+1, "a problem is one line:\n%s", err)
			return
		}
		again, err := Load(write(t, printed.String()), nil)
		if err != nil {
			// Masked keys are no keys; everything else must load again.
			require.NotEmpty(t, loaded.Config.SignIn.TicketKeys, "%v\n%s", err, printed.String())
			return
		}
		require.Empty(t, cmp.Diff(loaded.Config, again.Config, cmpopts.EquateEmpty(), cmpopts.EquateComparable()))
	})
}
