package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/graphsim"
)

// helperPlace is a simulated tenant, a configuration for it, and the program.
type helperPlace struct {
	t      *testing.T
	tenant *graphsim.Tenant
	config string
	file   string // of the account
	link   string
}

// newHelperPlace writes a configuration; credential is that of the tenant, in
// which CLIENT stands for the client id.
func newHelperPlace(t *testing.T, credential string) *helperPlace {
	tenant, err := graphsim.New(graphsim.Config{Still: true})
	require.NoError(t, err)
	t.Cleanup(tenant.Close)
	server, err := tenant.Serve(graphsim.ServeOptions{})
	require.NoError(t, err)
	dir := t.TempDir()
	p := &helperPlace{
		t: t, tenant: tenant, config: filepath.Join(dir, "ucwagate.yaml"),
		file: filepath.Join(dir, "ana.json"), link: filepath.Join(dir, "ucwagate"),
	}
	// testscript.Main runs the command whose name the program is called by.
	require.NoError(t, os.Symlink(os.Args[0], p.link))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), server.CertificatePEM, 0o600))
	tenantID, clientID, _ := tenant.Credentials()
	require.NoError(t, os.WriteFile(p.config, []byte(`
signin:
  entra: {audiences: ["api://ucwagate"]}
tenants:
  - name: simulated
    tenant_id: `+tenantID+`
    domains: [`+tenant.Domain()+`]
    cloud: custom
    graph_url: `+server.URL+`
    authority: `+server.TLSURL+`
    ca_file: ca.pem
    credential: `+strings.ReplaceAll(credential, "CLIENT", clientID)+`
`), 0o600))
	return p
}

// run runs the program to its end.
func (p *helperPlace) run(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(p.t.Context(), p.link, append([]string{"helper"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

var userCode = regexp.MustCompile(`enter the code (\S+) to authenticate`)

// signIn runs the sign-in of an account whose person does what the program
// says on standard error.
func (p *helperPlace) signIn(act func(code string) error, args ...string) (stdout, stderr string, err error) {
	var out bytes.Buffer
	args = append([]string{"helper", "sign-in", "--config", p.config}, args...)
	if p.file != "" {
		args = append(args, "--file", p.file)
	}
	cmd := exec.CommandContext(p.t.Context(), p.link, args...)
	cmd.Stdout = &out
	pipe, err := cmd.StderrPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, cmd.Start())
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		stderr += lines.Text() + "\n"
		if found := userCode.FindStringSubmatch(lines.Text()); found != nil {
			require.NoError(p.t, act(found[1]))
		}
	}
	err = cmd.Wait()
	return out.String(), stderr, err
}

func (p *helperPlace) as(user graphsim.User) func(string) error {
	return func(code string) error { return p.tenant.ApproveDevice(code, user.UserPrincipalName) }
}

func TestAHelperAccountIsSignedInListedAndSignedOut(t *testing.T) {
	p := newHelperPlace(t, `{kind: secret, client_id: CLIENT, secret: very-secret}`)
	ana, ben := p.tenant.User(0), p.tenant.User(1)
	out, _, err := p.signIn(p.as(ana))
	require.NoError(t, err)
	require.Contains(t, out, ana.UserPrincipalName+" ("+ana.ID+") is signed in. "+p.file+" keeps the sign-in.\n")
	require.Contains(t, out, "90 days after each use")

	out, _, err = p.run("list", p.file)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^FILE +ACCOUNT +OBJECT ID +SIGNED IN +LAST ROTATION +KEPT UNTIL$`, out)
	require.Regexp(t, regexp.QuoteMeta(p.file)+` +`+regexp.QuoteMeta(ana.UserPrincipalName)+` +`+ana.ID+` +\d{4}-\S+Z +\d{4}-\S+Z +\d{4}-\d\d-\d\d\n`, out)

	_, errs, err := p.signIn(p.as(ben), "--tenant", "simulated")
	require.NoError(t, err)
	require.Contains(t, errs, "warning: "+ana.UserPrincipalName+" was signed in in this file until now")

	other := filepath.Join(filepath.Dir(p.file), "other.json")
	out, errs, err = p.run("list", p.file, other)
	require.Error(t, err)
	require.Contains(t, out, ben.UserPrincipalName)
	require.Contains(t, errs, other+": nobody is signed in")

	out, _, err = p.run("sign-out", p.file)
	require.NoError(t, err)
	require.Contains(t, out, ben.UserPrincipalName+" is signed out")
	require.NoFileExists(t, p.file)
	_, errs, err = p.run("sign-out", p.file)
	require.Error(t, err)
	require.Contains(t, errs, "nobody is signed in")
	_, _, err = p.run("sign-out", p.config)
	require.Error(t, err, "it is not the file of an account")
	require.FileExists(t, p.config)
}

func TestAHelperAccountThatIsDeclinedLeavesNoFile(t *testing.T) {
	p := newHelperPlace(t, `{kind: secret, client_id: CLIENT, secret: very-secret}`)
	out, errs, err := p.signIn(p.tenant.DeclineDevice)
	require.Error(t, err)
	require.Empty(t, out)
	require.Contains(t, errs, "the sign-in was declined")
	require.NotContains(t, errs, "Trace ID")
	require.NoFileExists(t, p.file)
}

func TestAHelperAccountNeedsTheIDOfAnAppRegistration(t *testing.T) {
	// The client id of a managed identity is none.
	p := newHelperPlace(t, `{kind: managed, client_id: 00000000-0000-0000-0000-0000000000aa}`)
	_, errs, err := p.run("sign-in", "--config", p.config, "--file", p.file)
	require.Error(t, err)
	require.Contains(t, errs, "tenant simulated: its credential, of kind managed, names no app registration that users sign in to: give --client-id")
	_, clientID, _ := p.tenant.Credentials()
	_, _, err = p.signIn(p.as(p.tenant.User(0)), "--client-id", clientID)
	require.NoError(t, err)
}

func TestTheTenantOfAHelperAccountIsNamed(t *testing.T) {
	p := newHelperPlace(t, `{kind: secret, client_id: CLIENT, secret: very-secret}`)
	_, errs, err := p.run("sign-in", "--config", p.config, "--file", p.file, "--tenant", "nobody")
	require.Error(t, err)
	require.Contains(t, errs, `there is no tenant "nobody"; there is simulated`)
	more, err := os.ReadFile(p.config)
	require.NoError(t, err)
	more = append(more, []byte(`
  - name: second
    tenant_id: 00000000-0000-0000-0000-0000000000bb
    domains: [second.test]
    credential: {kind: secret, client_id: 00000000-0000-0000-0000-0000000000aa, secret: very-secret}
`)...)
	require.NoError(t, os.WriteFile(p.config, more, 0o600))
	_, errs, err = p.run("sign-in", "--config", p.config, "--file", p.file)
	require.Error(t, err)
	require.Contains(t, errs, "there are several tenants: give --tenant (simulated, second)")
	_, _, err = p.signIn(p.as(p.tenant.User(0)), "--tenant", "simulated")
	require.NoError(t, err)
	_, errs, err = p.run("sign-in", "--config", p.config, "--tenant", "simulated")
	require.Error(t, err)
	require.Contains(t, errs, "tenant simulated: its configuration names no notifications.helpers: give --file")
}

func TestTheConfigurationNamesTheFilesOfHelperAccounts(t *testing.T) {
	p := newHelperPlace(t, `{kind: secret, client_id: CLIENT, secret: very-secret}`)
	_, errs, err := p.run("list", "--config", p.config)
	require.Error(t, err)
	require.Contains(t, errs, "the configuration names no helper accounts")
	more, err := os.ReadFile(p.config)
	require.NoError(t, err)
	more = append(more, []byte("    notifications: {helpers: [one.json, two.json], url: https://ucwa.example.com/graph/notifications/simulated}\n")...)
	require.NoError(t, os.WriteFile(p.config, more, 0o600))
	p.file = ""
	for i, name := range []string{"one.json", "two.json"} {
		out, _, err := p.signIn(p.as(p.tenant.User(i)))
		require.NoError(t, err)
		require.Contains(t, out, name+" keeps the sign-in.")
	}
	_, errs, err = p.run("sign-in", "--config", p.config)
	require.Error(t, err)
	require.Contains(t, errs, "somebody is signed in in each of its notifications.helpers: give --file to replace one")
	out, _, err := p.run("list", "--config", p.config)
	require.NoError(t, err)
	require.Regexp(t, `one\.json +`+regexp.QuoteMeta(p.tenant.User(0).UserPrincipalName)+`[^\n]+\n.*two\.json +`+regexp.QuoteMeta(p.tenant.User(1).UserPrincipalName), out)
}
