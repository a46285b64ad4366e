package signin

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rawAnswer sends a request over TCP and returns the bytes of the answer.
func rawAnswer(t *testing.T, h http.Handler, request string) (head []string, body string) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, request+"\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	headText, body, ok := strings.Cut(string(answer), "\r\n\r\n")
	require.True(t, ok)
	return strings.Split(headText, "\r\n"), body
}

var challengeParameter = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// requireReadableChallenge checks what the clients in use depend on.
func requireReadableChallenge(t *testing.T, head []string) {
	t.Helper()
	var lines []string
	urlSeen := false
	for _, line := range head {
		if value, ok := strings.CutPrefix(line, "WWW-Authenticate: "); ok {
			lines = append(lines, value)
			require.Regexp(t, challengeParameter, value, "each line has a parameter")
			if len(lines) == 1 {
				require.False(t, urlSeen, "a URL before the href")
				require.Regexp(t, `^MsRtcOAuth href="https://[^"]+/WebTicket/oauthtoken",grant_type="[^"]+"$`, value)
			}
			continue
		}
		require.False(t, strings.HasPrefix(strings.ToLower(line), "www-authenticate"), line)
		urlSeen = urlSeen || strings.Contains(line, "://")
	}
	require.Len(t, lines, 2)
	require.Regexp(t, `^Bearer trusted_issuers="`, lines[1])

	var names []string
	for _, line := range lines {
		for _, m := range challengeParameter.FindAllStringSubmatch(line, -1) {
			require.NotEmpty(t, m[2], m[1])
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	require.Equal(t, []string{"authorization_uri", "client_id", "grant_type", "href", "trusted_issuers"}, names)
}

func TestTheChallengeOnTheWire(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	passwords := testPasswords(t)
	for _, c := range []struct {
		name string
		a    *Authenticator
		want []string
	}{
		{"passwords", newAuthenticator(t, Options{Passwords: passwords}), []string{
			`WWW-Authenticate: MsRtcOAuth href="https://gw.contoso.test/WebTicket/oauthtoken",grant_type="password"`,
			`WWW-Authenticate: Bearer trusted_issuers="00000001-0000-0000-c000-000000000000@gw.contoso.test", client_id="00000004-0000-0ff1-ce00-000000000000", authorization_uri="https://gw.contoso.test/WebTicket/oauthtoken"`,
		}},
		{"Entra ID of one tenant", newAuthenticator(t, Options{Entra: i.entra(t, clk, func(c *EntraConfig) { c.TenantIDs = []string{tenantA} })}), []string{
			`WWW-Authenticate: MsRtcOAuth href="https://gw.contoso.test/WebTicket/oauthtoken",grant_type="urn:microsoft.rtc:passive"`,
			`WWW-Authenticate: Bearer trusted_issuers="00000001-0000-0000-c000-000000000000@` + tenantA + `", client_id="` + clientID + `", authorization_uri="` + i.URL + `/` + tenantA + `/oauth2/authorize"`,
		}},
		{"both, with two tenants", newAuthenticator(t, Options{Passwords: passwords, Entra: i.entra(t, clk, nil)}), []string{
			`WWW-Authenticate: MsRtcOAuth href="https://gw.contoso.test/WebTicket/oauthtoken",grant_type="password"`,
			`WWW-Authenticate: Bearer trusted_issuers="00000001-0000-0000-c000-000000000000@` + tenantA + `,00000001-0000-0000-c000-000000000000@` + tenantB + `", client_id="` + clientID + `", authorization_uri="` + i.URL + `/organizations/oauth2/authorize"`,
		}},
		{"nothing", newAuthenticator(t, Options{}), []string{
			`WWW-Authenticate: MsRtcOAuth href="https://gw.contoso.test/WebTicket/oauthtoken",grant_type="urn:microsoft.rtc:passive"`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c.a.Challenge(w, r, "https://gw.contoso.test/", nil)
			})
			head, body := rawAnswer(t, h, "GET /user HTTP/1.1\r\nHost: gw.contoso.test")
			requireReadableChallenge(t, head)
			require.Equal(t, "HTTP/1.1 401 Unauthorized", head[0])
			for _, want := range append(c.want,
				`X-Ms-diagnostics: 28020;source="gw.contoso.test";reason="No valid security token."`,
				"Content-Type: text/html", "Vary: Accept-Encoding", "Cache-Control: no-cache", "Pragma: no-cache", "Expires: -1",
				fmt.Sprintf("Content-Length: %d", len(challengeBody))) {
				require.Contains(t, head, want)
			}
			require.Equal(t, challengeBody, body)

			headHead, none := rawAnswer(t, h, "HEAD /user HTTP/1.1\r\nHost: gw.contoso.test")
			require.Empty(t, none)
			requireReadableChallenge(t, headHead)
			require.Contains(t, headHead, fmt.Sprintf("Content-Length: %d", len(challengeBody)))
		})
	}
}

func TestTheChallengeReplacesWhatStoodBefore(t *testing.T) {
	a := newAuthenticator(t, Options{Passwords: testPasswords(t)})
	head, _ := rawAnswer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", "Negotiate")
		w.Header().Set("X-MS-Diagnostics", "1")
		w.Header().Add("Vary", "Origin")
		w.Header().Add("Vary", "Accept-Encoding")
		a.Challenge(w, r, "https://gw.contoso.test:8443", &Diagnostics{28033, "It's \"over\"\r\nSet-Cookie: é"})
	}), "GET / HTTP/1.1\r\nHost: x")
	requireReadableChallenge(t, head)
	require.Contains(t, head, `X-Ms-diagnostics: 28033;source="gw.contoso.test";reason="It's 'over'??Set-Cookie: ?"`)
	require.Len(t, slices.DeleteFunc(slices.Clone(head), func(l string) bool { return l != "Vary: Accept-Encoding" }), 1)
	require.Contains(t, head, "Vary: Origin")
}

func TestAHostileHostNameStaysInsideItsQuotes(t *testing.T) {
	a := newAuthenticator(t, Options{Passwords: testPasswords(t)})
	for _, base := range []string{`https://a",href="https://evil.test`, "https://a\r\nX: y", "https://é.test", ""} {
		w := httptest.NewRecorder()
		a.Challenge(w, requestWith(), base, nil)
		lines := slices.Concat(verbatim(w, challengeHeader), verbatim(w, diagnosticsHeader))
		require.Len(t, lines, 3)
		for _, line := range lines {
			require.NotContains(t, line, `",href="https://evil`)
			require.NotRegexp(t, `[^ -~]`, line)
			require.Zero(t, strings.Count(line, `"`)%2)
		}
	}
}
