package demo_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// internal asks the listener for operators.
func internal(t testing.TB, d *demo.Demo, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.StatusURL+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

func metrics(t testing.TB, d *demo.Demo) string {
	t.Helper()
	status, text := internal(t, d, "/metrics")
	require.Equal(t, http.StatusOK, status)
	return "\n" + text
}

func TestTheGatewayIsAliveStartedAndReady(t *testing.T) {
	d := start(t, nil)
	for path, says := range map[string]string{"/livez": "", "/startupz": "", "/readyz": "ready\n[+] Microsoft Graph, tenant simulated\n"} {
		status, text := internal(t, d, path)
		require.Equal(t, http.StatusOK, status, "%s: %s", path, text)
		require.Contains(t, text, says)
	}
	c := newClient(t, d, asJSON)
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/status.json", "/debug/pprof/"} {
		require.Equal(t, http.StatusNotFound, c.do(http.MethodGet, path, "", "").status, "%s is not for clients", path)
	}
	status, _ := internal(t, d, "/debug/pprof/")
	require.Equal(t, http.StatusNotFound, status, "profiles are served where the configuration says so")
	status, _ = internal(t, d, "/ucwa/oauth/v1/applications")
	require.Equal(t, http.StatusNotFound, status, "operators' and clients' paths do not mix")
}

func TestTheGatewayIsNotReady(t *testing.T) {
	for name, e := range map[string]struct {
		begin func(t *testing.T) *demo.Demo
		why   string
	}{
		"while Entra refuses the secret": {func(t *testing.T) *demo.Demo {
			return start(t, func(c *config.Config) { c.Tenants[0].Credential.Secret = "wrong-secret" })
		}, "there is no token: "},
		"without the permission to read presence": {func(t *testing.T) *demo.Demo {
			return startWith(t, demo.Options{Roles: []string{"User.Read.All"}})
		}, "the permission Presence.Read.All is not granted"},
	} {
		t.Run(name, func(t *testing.T) {
			d := e.begin(t)
			status, text := internal(t, d, "/readyz")
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.Contains(t, text, "not ready\n[-] Microsoft Graph, tenant simulated: "+e.why)
			require.NotContains(t, text, "wrong-secret")
			for _, path := range []string{"/livez", "/startupz", "/", "/status.json", "/metrics"} {
				status, text = internal(t, d, path)
				require.Equal(t, http.StatusOK, status, "%s: it runs all the same", path)
				require.NotContains(t, text, "wrong-secret")
			}
			require.Equal(t, "root", newClient(t, d, asJSON).get("/").rel)
		})
	}
}

func TestOnceReadyTheGatewayStaysReady(t *testing.T) {
	d := start(t, nil)
	status, _ := internal(t, d, "/readyz")
	require.Equal(t, http.StatusOK, status)
	simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{"status":503,"probability":1}}}`)
	status, text := internal(t, d, "/readyz")
	require.Equal(t, http.StatusOK, status, "what is known is still served: %s", text)
}

func TestTheMetricsCount(t *testing.T) {
	d := start(t, nil)
	require.Contains(t, metrics(t, d), "\nucwagate_applications 0\n")
	c := newClient(t, d, asJSON)
	require.Equal(t, http.StatusBadRequest, c.ask("/WebTicket/oauthtoken", byPassword(d.Username, "wrong")).status)
	require.Equal(t, http.StatusBadRequest, c.ask("/WebTicket/oauthtoken", byPassword("nobody@"+d.Domain, "wrong")).status)
	app := c.application(d)
	next := app.link(t, "events")
	text := metrics(t, d)
	for _, line := range []string{
		"\nucwagate_applications 1\n", "\nucwagate_presence_subscriptions 0\n", "\nucwagate_parked_pgets 0\n",
		"\n" + `ucwagate_signins_total{method="password",result="ok"} 1` + "\n",
		"\n" + `ucwagate_signins_total{method="password",result="wrong-password"} 1` + "\n",
		"\n" + `ucwagate_signins_total{method="password",result="unknown-user"} 1` + "\n",
		"\n# TYPE ucwagate_presence_age_bound_seconds ", "\n" + `ucwagate_presence_age_bound_seconds{tenant="simulated"} `, "\nucwagate_build_info{",
	} {
		require.Contains(t, text, line)
	}

	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+next, nil)
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+c.token)
			if res, err := http.DefaultClient.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}
	}()
	require.Eventually(t, func() bool { return strings.Contains(metrics(t, d), "\nucwagate_parked_pgets 1\n") }, 10*time.Second, 20*time.Millisecond)
	leave()
	<-left
	require.Eventually(t, func() bool { return strings.Contains(metrics(t, d), "\nucwagate_parked_pgets 0\n") }, 10*time.Second, 20*time.Millisecond)
	res := c.post(app.child(t, "people").link(t, "presenceSubscriptions"), "uris", []string{d.Contacts[0].URI}, 10)
	require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
	require.Contains(t, metrics(t, d), "\nucwagate_presence_subscriptions 1\n")
	c.nothing(http.MethodDelete, app.href, "", "")
	text = metrics(t, d)
	require.Contains(t, text, "\nucwagate_applications 0\n")
	require.Contains(t, text, "\nucwagate_presence_subscriptions 0\n")
}

func TestOperatorsSeeNobodysNameOrAddress(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	c.ask("/WebTicket/oauthtoken", byPassword("nobody.atall@"+d.Domain, "wrong-word"))
	app := c.available(c.application(d), "")
	people := app.child(t, "people")
	var uris []string
	for _, contact := range d.Contacts {
		uris = append(uris, contact.URI)
		c.get(people.href + "/" + strings.TrimPrefix(contact.URI, "sip:") + "/presence")
	}
	require.Equal(t, http.StatusCreated, c.post(people.link(t, "presenceSubscriptions"), "uris", uris, 10).status)
	c.get(people.link(t, "search") + "?query=" + local(d.Username))
	// Errors of Graph are shown too: they name requests, and requests name people.
	for _, fault := range []string{`"status":403`, `"status":500`, `"reset":true`, `"status":200,"body":"garbage"`} {
		simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{`+fault+`,"probability":1}}}`)
		c.do(http.MethodGet, app.href+"/photos/"+strings.TrimPrefix(d.Contacts[0].URI, "sip:"), "", "")
		c.do(http.MethodGet, people.href+"/unheard.of@"+d.Domain, "", "")
		c.do(http.MethodGet, people.link(t, "search")+"?query=looked.for", "", "")
		c.do(http.MethodPost, app.child(t, "me").href+"/note", asJSON, `{"message":"my note"}`)
	}
	me := d.Tenant.Organizer()
	hidden := []string{
		"@" + d.Domain, "sip:", me.ID, local(me.Address()), me.DisplayName, me.Surname, "nobody.atall", "wrong-word", "unheard.of",
		"looked.for", "my note", d.Password, c.token, app.text("id"),
	}
	for _, contact := range d.Contacts {
		who, ok := d.Tenant.Find(strings.TrimPrefix(contact.URI, "sip:"))
		require.True(t, ok)
		hidden = append(hidden, local(contact.URI), contact.Name, who.ID)
	}
	_, _, secret := d.Tenant.Credentials()
	hidden = append(hidden, secret)
	for _, path := range []string{"/metrics", "/", "/status.json", "/readyz"} {
		status, text := internal(t, d, path)
		require.Equal(t, http.StatusOK, status, path)
		for _, word := range hidden {
			if word != "" {
				require.NotContains(t, strings.ToLower(text), strings.ToLower(word), path)
			}
		}
	}
	_, text := internal(t, d, "/status.json")
	require.Contains(t, text, "500", "the errors themselves are shown")
}

func TestStoppingIsToldBeforeItHappens(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Server.DrainDelay = time.Second })
	c := newClient(t, d, asJSON)
	app := c.application(d)
	status, _ := internal(t, d, "/readyz")
	require.Equal(t, http.StatusOK, status)
	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- d.App.Stop(context.WithoutCancel(t.Context())) }()
	require.Eventually(t, func() bool { status, _ := internal(t, d, "/readyz"); return status == http.StatusServiceUnavailable }, 10*time.Second, 5*time.Millisecond)
	_, text := internal(t, d, "/readyz")
	require.Equal(t, "draining\n", text)
	status, _ = internal(t, d, "/livez")
	require.Equal(t, http.StatusOK, status, "who drains is not to be killed")
	require.Equal(t, "application", c.get(app.href).rel, "whoever is there is still served")
	require.Equal(t, "root", newClient(t, d, asJSON).get("/").rel, "and so is whoever comes")
	require.NoError(t, <-stopped)
	require.GreaterOrEqual(t, time.Since(began), time.Second)
	for _, gone := range []string{d.BaseURL, d.StatusURL} {
		_, err := http.DefaultClient.Do(mustRequest(t, http.MethodGet, gone+"/"))
		require.Error(t, err, "nobody listens any more")
	}
}

func TestStoppingDoesNotWaitLongerThanItIsGiven(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Server.DrainDelay = 10 * time.Minute })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	require.NoError(t, d.App.Stop(ctx))
	require.Less(t, time.Since(began), 30*time.Second)
}
