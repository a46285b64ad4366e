package demo_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	counted "ucwagate/cmd/ucwagate/internal/metrics"
	"ucwagate/graphsrc/redistest"
)

// logBook keeps a log, a JSON object for each line.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines returns the lines with a message.
func (b *logBook) lines(t testing.TB, message string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		var one map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &one), line)
		if one["msg"] == message {
			list = append(list, one)
		}
	}
	return list
}

// What the user of life says, and nobody may read in a log.
const (
	secretNote     = "gone fishing with the auditors"
	secretLocation = "the hut behind the lake"
	secretGroup    = "people I owe money"
	secretWord     = "not-my-password"
)

// withLists lets users change their contact lists.
func withLists(t testing.TB, c *config.Config) {
	c.Contacts.ListFile = filepath.Join(t.TempDir(), "contacts.yaml")
	c.Contacts.ListWritable = true
}

// life is what a client does on a long day: it is wrong at first, signs in,
// publishes, changes its contact list, reads, and asks in a batch.
func life(t *testing.T, d *demo.Demo) (*client, *node) {
	t.Helper()
	c := newClient(t, d, asJSON)
	require.Equal(t, http.StatusBadRequest, c.ask("/WebTicket/oauthtoken", byPassword(d.Username, secretWord)).status)
	require.Equal(t, http.StatusUnauthorized, c.do(http.MethodGet, "/ucwa/oauth/v1/applications", "", "").status)
	app := c.available(c.application(d), `{"signInAs":"Busy"}`)
	me, people := app.child(t, "me"), app.child(t, "people")
	c.nothing(http.MethodPost, me.link(t, "presence"), asJSON, `{"availability":"DoNotDisturb"}`)
	c.nothing(http.MethodPost, me.link(t, "presence"), asJSON, `{}`)
	require.Equal(t, http.StatusBadRequest, c.do(http.MethodPost, me.link(t, "presence"), asJSON, `{"availability":"`+secretNote+`"}`).status)
	c.nothing(http.MethodPost, me.link(t, "note"), asJSON, `{"message":"`+secretNote+`"}`)
	c.nothing(http.MethodPost, me.link(t, "location"), asJSON, `{"location":"`+secretLocation+`"}`)

	c.nothing(http.MethodPost, people.link(t, "myGroups"), asJSON, fmt.Sprintf(`{"displayName":%q}`, secretGroup))
	group := ""
	for _, g := range c.get(people.link(t, "myGroups")).embedded["group"] {
		if g.text("name") == secretGroup {
			group = g.text("id")
		}
	}
	memberships := people.link(t, "myGroupMemberships")
	res := c.do(http.MethodPost, memberships, asJSON, fmt.Sprintf(`{"contactUri":%q,"groupId":%q}`, d.Contacts[0].URI, group))
	require.Equal(t, http.StatusCreated, res.status, "%s", res.body)
	c.nothing(http.MethodDelete, c.parse(res).href, "", "")
	require.Equal(t, http.StatusNotFound, c.do(http.MethodDelete, c.parse(res).href, "", "").status)
	require.Equal(t, http.StatusBadRequest, c.do(http.MethodPost, memberships, asJSON, `{"contactUri":"`+secretNote+`"}`).status)

	var parts []string
	for _, contact := range d.Contacts {
		at := people.href + "/" + strings.TrimPrefix(contact.URI, "sip:")
		parts = append(parts, part("GET", at+"/presence", "", ""))
		c.get(at)
		c.get(at + "/note")
	}
	parts = append(parts, part("POST", me.href+"/note", "Content-Type: application/json\r\n", `{"message":"`+secretNote+`"}`),
		part("GET", people.href+"/unheard.of@"+d.Domain, "", ""))
	require.Len(t, answers(t, c.batch(app.link(t, "batch"), parts...)), len(parts))
	c.get(people.link(t, "myContacts"))
	c.get(people.link(t, "search") + "?query=" + local(d.Username))
	require.Equal(t, http.StatusNotFound, c.do(http.MethodGet, people.href+"/unheard.of@"+d.Domain, "", "").status)
	require.Equal(t, http.StatusNotFound, c.do(http.MethodGet, "/ana@contoso.com/"+secretWord, "", "").status)
	c.do(http.MethodGet, app.href+"/photos/"+strings.TrimPrefix(d.Contacts[0].URI, "sip:"), "", "")
	c.do("HACK", "/", "", "")

	return c, app
}

// told subscribes to somebody and waits until it is told of a change.
func (c *client) told(t *testing.T, d *demo.Demo, app *node) {
	t.Helper()
	who := d.Contacts[1].URI
	require.Equal(t, http.StatusCreated, c.post(app.child(t, "people").link(t, "presenceSubscriptions"), "uris", []string{who}, 10).status)
	next := app.link(t, "events")
	c.eventsOf(&next, "people")
	simulator(t, d, http.MethodPost, "/sim/presence", fmt.Sprintf(`{"user":%q,"availability":"DoNotDisturb","activity":"Presenting"}`, strings.TrimPrefix(who, "sip:")))
	c.eventsOf(&next, "people")
}

func TestEveryMetricIsFilledByWhatAClientDoes(t *testing.T) {
	redis := redistest.Start(t).Addr()
	d := startWith(t, demo.Options{Users: 50, Helpers: 1, Adjust: func(c *config.Config) {
		withLists(t, c)
		c.Redis.Addresses, c.Redis.Replicas = []string{redis}, 1
	}})
	c, app := life(t, d)
	c.told(t, d, app)
	require.Eventually(t, func() bool { // the user and whom the client watches
		stats, _, _ := d.App.Tenants()[0].Notifications()
		return stats.Accounts[0].Covered == 2
	}, 30*time.Second, 50*time.Millisecond)
	simulator(t, d, http.MethodPost, "/sim/presence", fmt.Sprintf(`{"user":%q,"availability":"Away","activity":"Away"}`, strings.TrimPrefix(d.Contacts[1].URI, "sip:")))
	text := ""
	for _, f := range counted.Families() {
		name := f.Name
		if f.Type == "histogram" {
			name += "_count"
		}
		sample := regexp.MustCompile(`\n` + name + `(\{[^\n]*\})? \S+\n`)
		if strings.HasPrefix(name, "ucwagate_http_") || strings.HasPrefix(name, "ucwagate_pget_") || strings.HasPrefix(name, "ucwagate_wake_") ||
			strings.HasPrefix(name, "ucwagate_batch_") || name == "ucwagate_signins_total" || name == "ucwagate_graph_answers_total" {
			if f.Type != "gauge" {
				sample = regexp.MustCompile(`\n` + name + `(\{[^\n]*\})? [1-9]\d*\n`)
			}
		}
		require.Eventually(t, func() bool { text = metrics(t, d); return sample.MatchString(text) }, 20*time.Second, 50*time.Millisecond, name)
	}
	const route = "/ucwa/oauth/v1/applications/:application"
	for _, line := range []string{
		`ucwagate_http_requests_total{method="GET",route="` + route + `/people/:contact",status="2xx"} 8`,
		`ucwagate_http_requests_total{method="GET",route="` + route + `/people/:contact",status="4xx"} 1`,
		`ucwagate_http_requests_total{method="GET",route="` + route + `/people/:contact/note",status="2xx"} 8`,
		`ucwagate_http_requests_total{method="POST",route="` + route + `/batch",status="2xx"} 1`,
		`ucwagate_http_requests_total{method="POST",route="/WebTicket/oauthtoken",status="4xx"} 1`,
		`ucwagate_http_requests_total{method="GET",route="other",status="4xx"} 1`,
		`ucwagate_http_requests_total{method="other",route="/",status="4xx"} 1`,
		`ucwagate_batch_parts_sum 10`,
		`ucwagate_http_requests_in_flight{kind="pget"} 0`,
	} {
		require.Contains(t, text, "\n"+line+"\n")
	}
	require.NotContains(t, text, route+`/people/:contact/presence",`, "the parts of a batch are no requests of their own")
	require.Contains(t, text, `route="`+config.HookPath(":tenant")+`"`)
	require.NotContains(t, text, "@")
}

func TestTheAccessLogHasALineForEachRequest(t *testing.T) {
	for name, c := range map[string]struct {
		access config.LogAccess
		names  bool
	}{
		"off": {config.AccessOff, false}, "errors": {config.AccessErrors, false}, "all": {config.AccessAll, false}, "all, with names": {config.AccessAll, true},
	} {
		t.Run(name, func(t *testing.T) {
			book := &logBook{}
			d := startWith(t, demo.Options{Logger: book.logger(), Adjust: func(cfg *config.Config) {
				withLists(t, cfg)
				cfg.Log.Access, cfg.Log.Names = c.access, c.names
				cfg.Server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}})
			client, created := life(t, d)
			if c.access == config.AccessAll {
				client.told(t, d, created)
			}
			client.do(http.MethodGet, "/", "", "", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "203.0.113.9") })
			lines := book.lines(t, "request")
			byRoute := make(map[string][]map[string]any)
			for _, l := range lines {
				key := fmt.Sprint(l["method"], " ", l["route"])
				byRoute[key] = append(byRoute[key], l)
				require.Equal(t, "INFO", l["level"])
				require.Contains(t, []any{"127.0.0.1", "203.0.113.9"}, l["peer"])
				require.GreaterOrEqual(t, l["seconds"], 0.0)
				if c.access == config.AccessErrors {
					require.GreaterOrEqual(t, l["status"], 400.0)
				}
				if c.names && l["account"] != nil {
					require.Equal(t, d.Username, l["address"])
				} else {
					require.NotContains(t, l, "address")
				}
			}
			const app = "/ucwa/oauth/v1/applications/:application"
			if c.access == config.AccessOff {
				require.Empty(t, lines)
				return
			}
			missing := byRoute["GET "+app+"/people/:contact"]
			missing = missing[len(missing)-1:]
			require.Equal(t, 404.0, missing[0]["status"])
			require.Equal(t, "simulated", missing[0]["tenant"])
			require.Equal(t, d.Tenant.Organizer().ID, missing[0]["object"])
			require.NotEmpty(t, missing[0]["account"])
			require.NotEmpty(t, missing[0]["application"])
			require.Positive(t, missing[0]["bytes"])
			require.Len(t, byRoute["_OTHER /"], 1)
			require.Equal(t, 405.0, byRoute["_OTHER /"][0]["status"])
			require.Len(t, byRoute["GET "], 1, "no route, and no trace of the path")
			if c.access == config.AccessErrors {
				return
			}
			require.Equal(t, 10.0, byRoute["POST "+app+"/batch"][0]["parts"])
			held := byRoute["GET "+app+"/events"]
			require.GreaterOrEqual(t, held[len(held)-1]["seconds"], 4.0, "a P-GET is a request, as long as it is held")
			require.Empty(t, byRoute["GET "+app+"/people/:contact/presence"], "the parts of a batch have no lines")
			last := lines[len(lines)-1]
			require.Equal(t, "203.0.113.9", last["peer"], "behind a trusted proxy it is the client's address")
			require.NotContains(t, last, "account", "nobody had signed in for that")
		})
	}
}

func TestTheAuditLogTellsWhoChangedWhat(t *testing.T) {
	for _, names := range []bool{false, true} {
		t.Run(fmt.Sprint("names ", names), func(t *testing.T) {
			book := &logBook{}
			d := startWith(t, demo.Options{Logger: book.logger(), Adjust: func(cfg *config.Config) { withLists(t, cfg); cfg.Log.Names = names }})
			c, _ := life(t, d)
			simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{"status":500,"probability":1}}}`)
			res := c.do(http.MethodPost, c.get("/ucwa/oauth/v1/applications").embedded["application"][0].href+"/me/note", asJSON, `{"message":"`+secretNote+`"}`)
			require.GreaterOrEqual(t, res.status, 500)
			var told []string
			for line := range strings.Lines(book.String()) {
				var one struct {
					Msg   string
					Level string
					Audit map[string]any
				}
				require.NoError(t, json.Unmarshal([]byte(line), &one))
				if one.Audit == nil {
					continue
				}
				a := one.Audit
				require.Equal(t, "audit: "+a["action"].(string), one.Msg)
				require.Equal(t, "INFO", one.Level)
				require.Equal(t, "127.0.0.1", a["peer"])
				require.NotEmpty(t, a["account"])
				require.Equal(t, names, a["address"] == d.Username)
				if a["action"] != "sign-in" {
					require.Equal(t, d.Tenant.Organizer().ID, a["object"])
					require.Equal(t, "simulated", a["tenant"])
					require.NotEmpty(t, a["application"])
				}
				said := fmt.Sprint(a["action"], " ", a["result"])
				for _, key := range []string{"value", "code"} {
					if a[key] != nil {
						said += fmt.Sprint(" ", a[key])
					}
				}
				if about, ok := a["about"].(map[string]any); ok {
					who, _ := d.Tenant.Find(strings.TrimPrefix(d.Contacts[0].URI, "sip:"))
					require.Equal(t, who.ID, about["object"])
					require.NotEqual(t, a["account"], about["account"])
					require.Equal(t, names, about["address"] == who.Address())
					said += " about somebody"
				}
				told = append(told, said)
			}
			require.Equal(t, []string{
				"sign-in wrong-password", "sign-in ok", "makeMeAvailable ok Busy", "presence ok DoNotDisturb", "presence ok reset",
				"presence refused BadRequest/ParameterValidationFailure", "note ok set", "location ok set", "createGroup ok",
				"addContact ok about somebody", "removeContact ok about somebody", "removeContact refused NotFound about somebody",
				"addContact refused BadRequest/ParameterValidationFailure", "note ok set", "note failed set ServiceUnavailable",
			}, told)
		})
	}
}
