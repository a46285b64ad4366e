package graphsim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// set puts faults through the control endpoint.
func (c *caller) set(faults string) {
	c.t.Helper()
	got := c.do(http.MethodPut, "/sim/faults", faults)
	require.Equal(c.t, http.StatusOK, got.status, string(got.body))
}

func TestRouteFaultsAnswerInEveryForm(t *testing.T) {
	c, _ := outside(t, Config{})
	for body, check := range map[string]func(answer){
		"json": func(a answer) { require.Equal(t, "ServiceUnavailable", a.code(t)) },
		"json-without-message": func(a answer) {
			require.NotContains(t, a.json(t)["error"], "message")
		},
		"html":      func(a answer) { require.Contains(t, a.header.Get("Content-Type"), "text/html") },
		"empty":     func(a answer) { require.Empty(t, a.body) },
		"truncated": func(a answer) { require.False(t, json.Valid(a.body)); require.NotEmpty(t, a.body) },
		"garbage":   func(a answer) { require.False(t, json.Valid(a.body)) },
	} {
		c.set(`{"routes":{"*":{"status":503,"body":"` + body + `"}}}`)
		got := c.get("/users")
		require.Equal(t, http.StatusServiceUnavailable, got.status)
		require.Empty(t, got.header.Get("Retry-After"))
		check(got)
	}
	c.set(`{"routes":{"GET /users":{"status":429,"retryAfter":2.5}}}`)
	got := c.get("/users")
	require.Equal(t, "2.5", got.header.Get("Retry-After"))
	require.Equal(t, "TooManyRequests", got.code(t))
	require.Equal(t, http.StatusOK, c.get("/organization").status, "only the named route is hit")
	c.set(`{"routes":{"/users":{"status":429,"retryAfter":"date"}}}`)
	at, err := http.ParseTime(c.get("/users").header.Get("Retry-After"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(5*time.Second), at, 3*time.Second)
	c.set(`{"routes":{"/users":{"body":"garbage"}}}`)
	require.Equal(t, http.StatusOK, c.get("/users").status)
	c.set(`{}`)
	require.Len(t, c.values("/users"), 100)
}

func TestRouteFaultsCountAndAreLikelyAsTold(t *testing.T) {
	c := inside(t, Config{})
	c.set(`{"routes":{"*":{"status":500,"count":3}}}`)
	for i := range 5 {
		want := http.StatusOK
		if i < 3 {
			want = http.StatusInternalServerError
		}
		require.Equal(t, want, c.get("/organization").status)
	}
	c.set(`{"routes":{"*":{"status":500,"probability":0.3},"GET /users":{"status":504,"probability":0}}}`)
	hit := 0
	for range 500 {
		if c.get("/organization").status == http.StatusInternalServerError {
			hit++
		}
		require.Equal(t, http.StatusOK, c.get("/users?$top=1").status, "the named route goes before the star")
	}
	require.InDelta(t, 150, hit, 50)
	require.Equal(t, 500+500+5, c.tenant.Stats().Requests)
}

func TestConnectionIsReset(t *testing.T) {
	c, server := outside(t, Config{})
	c.set(`{"routes":{"*":{"reset":true,"count":1}}}`)
	response, err := c.http.Do(c.request(http.MethodPost, "/communications/getPresencesByUserId", `{"ids":["x"]}`))
	if err == nil {
		require.NoError(t, response.Body.Close())
	}
	require.Error(t, err)
	require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF), err)
	require.Equal(t, 0, c.tenant.Log()[0].Status)

	transport := &http.Transport{TLSClientConfig: tlsConfig(server.CertPool), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	c.set(`{"routes":{"*":{"reset":true}}}`)
	secure := *c
	secure.root, secure.http = server.TLSURL, &http.Client{Transport: transport}
	response, err = secure.http.Do(secure.request(http.MethodPost, "/users", `{}`))
	if err == nil {
		require.NoError(t, response.Body.Close())
	}
	require.Error(t, err, "over HTTP/2 the stream is reset")
}

func TestTruncatedGzipIsNoticedByTheReader(t *testing.T) {
	c, _ := outside(t, Config{})
	c.set(`{"routes":{"*":{"truncatedGzip":true}}}`)
	got := c.with("Accept-Encoding", "gzip").get("/users")
	require.Equal(t, "gzip", got.header.Get("Content-Encoding"))
	unzip, err := gzip.NewReader(bytes.NewReader(got.body))
	require.NoError(t, err)
	_, err = io.ReadAll(unzip)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestDelaysAndSlowBodiesTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inside(t, Config{})
		c.set(`{"routes":{"*":{"delayMs":1500}}}`)
		start := time.Now()
		require.Equal(t, http.StatusOK, c.get("/users").status)
		require.Equal(t, 1500*time.Millisecond, time.Since(start))
		c.set(`{"routes":{"*":{"slowBody":10}}}`)
		start = time.Now()
		got := c.get("/users")
		require.Equal(t, http.StatusOK, got.status)
		pieces := (len(got.body) + slowPiece - 1) / slowPiece
		require.Equal(t, time.Duration(pieces)*10*time.Millisecond, time.Since(start))
	})
}

func TestTokenEndpointMisbehavesOnlyByItsOwnName(t *testing.T) {
	c := inside(t, Config{})
	c.set(`{"routes":{"*":{"status":500}}}`)
	c.fetchToken(nil)
	c.set(`{"routes":{"POST /{tenant}/oauth2/v2.0/token":{"status":503,"retryAfter":"1","count":1}}}`)
	got := c.requestToken(nil)
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.Equal(t, "1", got.header.Get("Retry-After"))
	c.fetchToken(nil)
}

func TestBulkAnswersAreBent(t *testing.T) {
	c := inside(t, Config{Users: 500, Still: true})
	asked := ids(t, c.tenant, 0, 400)
	read := func() []string {
		var got []string
		for _, p := range list(t, c.post("/communications/getPresencesByUserId", map[string]any{"ids": asked}).json(t)) {
			got = append(got, p["id"].(string))
		}
		return got
	}
	require.Equal(t, asked, read())
	c.set(`{"bulk":{"permute":true}}`)
	permuted := read()
	require.NotEqual(t, asked, permuted)
	require.ElementsMatch(t, asked, permuted)
	c.set(`{"bulk":{"drop":0.5}}`)
	require.InDelta(t, 200, len(read()), 60)
	c.set(`{"bulk":{"duplicate":0.5}}`)
	require.InDelta(t, 600, len(read()), 60)
	c.set(`{"bulk":{"extra":true}}`)
	require.Len(t, read(), 401)
	c.set(`{"bulk":{"upperCase":true}}`)
	require.Equal(t, strings.ToUpper(asked[0]), read()[0])
}

func TestPresenceObjectsAreBent(t *testing.T) {
	c := inside(t, Config{Still: true})
	id := c.tenant.User(2).ID
	require.NoError(t, c.tenant.SetPresence(id, "DoNotDisturb", "Presenting"))
	read := func(faults string) map[string]any {
		c.set(faults)
		p := c.good("/users/" + id + "/presence")
		delete(p, "@odata.context")
		return p
	}
	require.Equal(t, "InAHologram", read(`{"presence":{"unknownWords":true}}`)["activity"])
	require.Equal(t, "doNotDisturb", read(`{"presence":{"camelCase":true}}`)["availability"])
	nulls := read(`{"presence":{"nulls":true}}`)
	require.Equal(t, id, nulls["id"])
	require.Nil(t, nulls["availability"])
	require.Contains(t, nulls, "sequenceNumber")
	gov := read(`{"presence":{"gov":true}}`)
	require.NotContains(t, gov, "sequenceNumber")
	require.NotContains(t, gov, "outOfOfficeSettings")
	require.Contains(t, gov, "availability")

	number := func(p map[string]any) string { return p["sequenceNumber"].(string) }
	first := number(read(`{"sequence":"regress"}`))
	require.Less(t, number(c.good("/users/"+id+"/presence")), first)
	require.Equal(t, number(read(`{"sequence":"equal"}`)), number(c.good("/users/"+id+"/presence")))
	require.Greater(t, len(number(read(`{"sequence":"longer"}`))), len(first))
}

func TestUnknownUsersAnswerAsTold(t *testing.T) {
	c := inside(t, Config{})
	stranger := "5b0d6c1e-0000-4000-8000-000000000000"
	body := map[string]any{"ids": []string{c.tenant.User(0).ID, stranger}}
	for mode, want := range map[string]struct {
		entries, single int
		words           string
	}{
		"omit": {1, 404, ""}, "presenceUnknown": {2, 200, "PresenceUnknown"}, "offline": {2, 200, "Offline"}, "error": {0, 400, ""},
	} {
		c.set(`{"unknownUsers":"` + mode + `"}`)
		bulk, single := c.post("/communications/getPresencesByUserId", body), c.get("/users/"+stranger+"/presence")
		require.Equal(t, want.single, single.status, mode)
		if want.entries == 0 {
			require.Equal(t, http.StatusBadRequest, bulk.status)
			continue
		}
		entries := list(t, bulk.json(t))
		require.Len(t, entries, want.entries, mode)
		if want.words != "" {
			require.Equal(t, want.words, entries[1]["availability"])
			require.Equal(t, want.words, single.json(t)["availability"])
		}
	}
}

func TestGoodTokensAreRefusedAndChallengesAnswered(t *testing.T) {
	c := inside(t, Config{})
	c.set(`{"auth":{"status401":true,"once":true}}`)
	require.Equal(t, http.StatusUnauthorized, c.get("/users").status)
	require.Equal(t, http.StatusOK, c.get("/users").status)

	c.set(`{"auth":{"claims":true}}`)
	got := c.get("/users")
	require.Equal(t, http.StatusUnauthorized, got.status)
	require.Contains(t, got.header.Get("WWW-Authenticate"), `error="insufficient_claims", claims="`)
	require.Equal(t, http.StatusUnauthorized, c.get("/users").status)
	fresh := c.as(c.fetchToken(url.Values{"claims": {`{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["CP1"]}}}`}}))
	require.Equal(t, http.StatusOK, fresh.get("/users").status)

	c.set(`{"auth":{"tokenExpiry":90}}`)
	require.InDelta(t, 90, c.requestToken(nil).json(t)["expires_in"], 0)
}

func TestFaultsThatMakeNoSenseAreRefusedWithWhatWould(t *testing.T) {
	c := inside(t, Config{})
	c.set(`{"sequence":"equal"}`)
	for faults, hint := range map[string]string{
		`{"sequense":"equal"}`:                       "routes.<route or *>.status",
		`{"bulk":{"permutate":true}}`:                "bulk.permute",
		`{"sequence":"backwards"}`:                   "regress, equal, longer",
		`{"unknownUsers":"x"}`:                       "presenceUnknown",
		`{"routes":{"GET /nothing":{"status":500}}}`: "POST /communications/getPresencesByUserId",
		`{"routes":{"*":{"status":99}}}`:             "200 to 599",
		`{"routes":{"*":{"probability":2}}}`:         "0 to 1",
		`{"routes":{"*":{"count":-1}}}`:              "negative",
		`{"routes":{"*":{"body":"xml"}}}`:            "json-without-message",
		`{"routes":{"*":{"retryAfter":true}}}`:       "string or a number",
		`{"bulk":{"drop":1.5}}`:                      "probability",
		`{"auth":{"tokenExpiry":-1}}`:                "negative",
		`{"throttle":{"body":"x"}}`:                  "throttle.body",
		`{`:                                          "reading faults",
		`{} {}`:                                      "more than one",
	} {
		got := c.do(http.MethodPut, "/sim/faults", faults)
		require.Equal(t, http.StatusBadRequest, got.status, faults)
		require.Contains(t, got.json(t)["error"], hint, faults)
	}
	require.Equal(t, map[string]any{"sequence": "equal"}, c.get("/sim/faults").json(t), "nothing changed")
	require.Error(t, c.tenant.SetFaults(Faults{Sequence: "x"}))
}

func FuzzParseFaults(f *testing.F) {
	f.Add(`{"routes":{"*":{"status":503,"retryAfter":"2.5"}},"bulk":{"drop":0.1}}`)
	f.Add(`{"auth":{"claims":true},"delta":{"gone":true}}`)
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := parseFaults([]byte(text), []string{"GET /users"})
		if err != nil {
			return
		}
		raw, err := json.Marshal(faults)
		require.NoError(t, err)
		again, err := parseFaults(raw, []string{"GET /users"})
		require.NoError(t, err)
		require.Equal(t, faults.Bulk, again.Bulk)
	})
}
