package demo_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/ucwaapi"
)

// TestNoLogHasASecretOrSaysWhoAnybodyIs runs the gateway with everything that it
// can log, through good and bad days of Graph.
func TestNoLogHasASecretOrSaysWhoAnybodyIs(t *testing.T) {
	book, to := &logBook{}, newReceiver(t)
	d := startWith(t, demo.Options{Helpers: 1, Logger: book.logger(), Adjust: traced(to.URL, 1, func(c *config.Config) {
		withLists(t, c)
		c.Log.Access, c.Log.Level = config.AccessAll, config.LogDebug
		c.Directory.Sync = true
	})})
	c, app := life(t, d)
	entra := newClient(t, d, asJSON)
	entra.token = "eyJhbGciOiJSUzI1NiJ9.eyJub3QiOiJhIHRva2VuIn0.c2lnbmF0dXJl"
	require.Equal(t, http.StatusUnauthorized, entra.do(http.MethodGet, "/ucwa/oauth/v1/applications", "", "").status)
	entra.token = c.token + "x"
	require.Equal(t, http.StatusUnauthorized, entra.do(http.MethodGet, "/ucwa/oauth/v1/applications", "", "").status)
	c.ask("/WebTicket/oauthtoken?username="+d.Username+"&password="+secretWord, byPassword("somebody.else@"+d.Domain, secretWord))
	people, me := app.child(t, "people"), app.child(t, "me")
	for _, fault := range []string{`"status":403`, `"status":404`, `"status":429`, `"status":500`, `"reset":true`, `"status":200,"body":"garbage"`, `"status":400,"body":"json"`} {
		simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{"*":{`+fault+`,"probability":1}}}`)
		c.do(http.MethodGet, app.href+"/photos/"+strings.TrimPrefix(d.Contacts[3].URI, "sip:"), "", "")
		c.do(http.MethodGet, people.href+"/unheard.of.again@"+d.Domain, "", "")
		c.do(http.MethodGet, people.href+"/"+strings.TrimPrefix(d.Contacts[4].URI, "sip:")+"/presence", "", "")
		c.do(http.MethodGet, people.link(t, "search")+"?query=unheard.of", "", "")
		c.do(http.MethodGet, people.link(t, "myContacts"), "", "")
		c.do(http.MethodPost, me.href+"/note", asJSON, `{"message":"`+secretNote+`"}`)
		c.do(http.MethodPost, me.href+"/presence", asJSON, `{"availability":"Away"}`)
	}
	simulator(t, d, http.MethodPut, "/sim/faults", `{"routes":{}}`)
	c.do(http.MethodDelete, app.href, "", "")
	require.NoError(t, d.App.Stop(t.Context()))

	personal := hidden(t, d, c, app)
	secrets := []string{secretNote, secretLocation, secretGroup, secretWord, d.Password, c.token, "cwt=", "Bearer ", entra.token, "eyJhbGciOiJSUzI1NiJ9"}
	_, _, secret := d.Tenant.Credentials()
	secrets = append(secrets, secret)
	id := strings.TrimPrefix(app.href, "/ucwa/oauth/v1/applications/")
	require.NotEmpty(t, book.lines(t, "request"))
	for line := range strings.Lines(book.String()) {
		for _, word := range secrets {
			require.NotContains(t, line, word)
		}
		var one struct{ Level string }
		require.NoError(t, json.Unmarshal([]byte(line), &one))
		if one.Level == "DEBUG" {
			continue
		}
		// Object ids and applications are what logs call people by.
		for _, word := range personal {
			if who, ok := d.Tenant.Find(word); word != id && (!ok || who.ID != word) {
				require.NotContains(t, strings.ToLower(line), strings.ToLower(word))
			}
		}
	}
}

func TestThePageOfOperationsNamesEveryAction(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/operations.md")
	require.NoError(t, err)
	for _, action := range ucwaapi.Actions() {
		require.Contains(t, string(page), "`"+action+"`")
	}
}
