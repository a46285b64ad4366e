package signin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/clock"
)

const formType = "application/x-www-form-urlencoded"

func gatewayBase(*http.Request) string { return "https://gw.contoso.test" }

// ask sends one request to the token service over real HTTP.
func ask(t *testing.T, h http.Handler, method, contentType, body string) (*http.Response, string) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+"/WebTicket/oauthtoken", strings.NewReader(body))
	require.NoError(t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(data)
}

func multipartBody(t *testing.T, fields ...string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		require.NoError(t, w.WriteField(fields[i], fields[i+1]))
	}
	require.NoError(t, w.Close())
	return w.FormDataContentType(), b.String()
}

func TestTokenServiceGivesATicket(t *testing.T) {
	a := newAuthenticator(t, Options{Passwords: testPasswords(t, "contoso.test"), Attempts: NewAttempts(1000, nil)})
	escaped := "grant_type=password&username=ana%40contoso.test&password=Pass%2Bw%40rd%251"
	multi, multiBody := multipartBody(t, "grant_type", "password", "username", "sip:ana@contoso.test", "password", "Pass+w@rd%1")
	for _, c := range []struct{ name, contentType, body string }{
		{"an escaped form", formType, escaped},
		{"a charset", formType + ";charset=UTF-8", escaped},
		{"a charset in single quotes", formType + "; charset='utf-8'", escaped},
		{"a charset in double quotes", formType + `; charset="utf-8"`, escaped},
		{"a type in capitals with a stray parameter", "Application/X-WWW-Form-URLEncoded ; charset", escaped},
		{"no type", "", escaped},
		{"plain text", "text/plain; charset=utf-8", escaped},
		{"an unescaped form", formType, "grant_type=password&username=ana@contoso.test&password=Pass+w@rd%1"},
		{"an unescaped form with a line end", formType, "grant_type=password&username=ana@contoso.test&password=Pass+w@rd%1\r\n"},
		{"only the name unescaped", formType, "grant_type=password&username=ana@contoso.test&password=Pass%2Bw%40rd%251"},
		{"an unescaped Windows name", formType, `grant_type=password&username=CONTOSO\Ana&password=Pass+w@rd%1`},
		{"a URI escaped as a whole", formType, "grant_type=password&username=ana@contoso.test&password=Pass+w@rd%251"},
		{"a name with its scheme", formType, "grant_type=password&username=sip%3Aana%40contoso.test&password=Pass%2Bw%40rd%251"},
		{"a bare name", formType, "grant_type=password&username=ana&password=Pass%2Bw%40rd%251"},
		{"names in other letter case", formType, "Grant_Type=Password&UserName=ana&PASSWORD=Pass%2Bw%40rd%251"},
		{"the scope all", formType, escaped + "&scope=all"},
		{"an empty scope", formType, escaped + "&scope="},
		{"fields of other servers", formType, escaped + "&client_id=x&resource=y&ms_rtc_renew=&&"},
		{"multipart", multi, multiBody},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := ask(t, a.TokenService(gatewayBase), http.MethodPost, c.contentType, c.body)
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
			require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
			require.Equal(t, "no-cache", resp.Header.Get("Pragma"))
			require.EqualValues(t, len(body), resp.ContentLength)
			require.Empty(t, resp.Header.Get("X-Ms-Diagnostics"))
			require.Regexp(t, `^\{"access_token":"cwt=AAEB[A-Za-z0-9_-]+","expires_in":28800,"ms_rtc_identityscope":"local","token_type":"Bearer"\}$`, body)

			var answer tokenResponse
			require.NoError(t, json.Unmarshal([]byte(body), &answer))
			id, err := a.Authenticate(requestWith(answer.TokenType + " " + answer.AccessToken))
			require.NoError(t, err)
			require.Equal(t, "ana@contoso.test", id.Address)
			require.Equal(t, MethodPassword, id.Method)
			require.WithinDuration(t, time.Now().Add(DefaultTicketLifetime), id.Expires, 10*time.Second)
		})
	}
}

func TestTokenServiceRefuses(t *testing.T) {
	a := newAuthenticator(t, Options{Passwords: testPasswords(t, "contoso.test"), Attempts: NewAttempts(1000, nil)})
	nobody := newAuthenticator(t, Options{})
	good := "grant_type=password&username=bo%40contoso.test&password=b"
	twice, twiceBody := multipartBody(t, "username", "bo", "username", "ana")
	for _, c := range []struct {
		name, method, contentType, body string
		status                          int
		code, diagnostics               string
	}{
		{"a wrong password", "POST", formType, good + "b", 400, "invalid_grant", "28020 The user name or the password is wrong."},
		{"an unknown user", "POST", formType, "grant_type=password&username=eve&password=b", 400, "invalid_grant", "28020 The user name or the password is wrong."},
		{"a password longer than bcrypt reads", "POST", formType, good + strings.Repeat("b", 100), 400, "invalid_grant", "28020 The user name or the password is wrong."},
		{"no grant type", "POST", formType, "username=bo&password=b", 400, "invalid_request", "28020 The field grant_type is missing."},
		{"no user name", "POST", formType, "grant_type=password&password=b", 400, "invalid_request", "28020 The field username is missing."},
		{"a blank user name", "POST", formType, "grant_type=password&username=+&password=b", 400, "invalid_request", "28020 The field username is missing."},
		{"an overlong user name", "POST", formType, "grant_type=password&password=b&username=" + strings.Repeat("b", 501), 400, "invalid_request", "28020 The field username is longer than 500 bytes."},
		{"no password", "POST", formType, "grant_type=password&username=bo", 400, "invalid_request", "28020 The field password is missing."},
		{"an empty body", "POST", formType, "", 400, "invalid_request", "28020 The field grant_type is missing."},
		{"a field twice", "POST", formType, good + "&password=b", 400, "invalid_request", "28020 The field password is sent twice."},
		{"a part twice", "POST", twice, twiceBody, 400, "invalid_request", "28020 The field username is sent twice."},
		{"an overlong field twice", "POST", formType, strings.Repeat(strings.Repeat("n", 40)+"=1&", 2), 400, "invalid_request", "28020 A field is sent twice."},
		{"too many fields", "POST", formType, manyFields(65), 400, "invalid_request", "28020 The body has too many fields."},
		{"another scope", "POST", formType, good + "&scope=User.Read", 400, "invalid_scope", "28020 The field scope is not valid; the only legal value is: all."},
		{"integrated authentication", "POST", formType, "grant_type=urn%3Amicrosoft.rtc%3Awindows", 400, "unsupported_grant_type", "28029 The authentication type is not allowed; allowed is: password."},
		{"integrated authentication, unescaped", "POST", formType, "grant_type=urn:microsoft.rtc:windows", 400, "unsupported_grant_type", "28029 The authentication type is not allowed; allowed is: password."},
		{"passive authentication", "POST", formType, "grant_type=urn:microsoft.rtc:passive", 400, "unsupported_grant_type", "28029 The authentication type is not allowed; allowed is: password."},
		{"joining a meeting", "POST", formType, "grant_type=urn:microsoft.rtc:anonmeeting&password=x&ms_rtc_conferenceuri=y", 400, "unsupported_grant_type", "28029 The authentication type is not allowed; allowed is: password."},
		{"JSON", "POST", "application/json", `{"grant_type":"password"}`, 400, "invalid_request", "28020 The Content-Type is not accepted; send application/x-www-form-urlencoded."},
		{"JSON under no type", "POST", "", ` {"grant_type":"password"}`, 400, "invalid_request", "28020 The body is no form; send application/x-www-form-urlencoded."},
		{"XML under a form type", "POST", formType, `<input/>`, 400, "invalid_request", "28020 The body is no form; send application/x-www-form-urlencoded."},
		{"multipart without a boundary", "POST", "multipart/form-data", "x", 400, "invalid_request", "28020 The Content-Type has no boundary."},
		{"multipart cut off", "POST", twice, twiceBody[:strings.Index(twiceBody, "bo")+2], 400, "invalid_request", "28020 The body is not well-formed multipart/form-data."},
		{"a long body", "POST", formType, good + strings.Repeat("b", maxTokenBody), 413, "invalid_request", "28020 The body is longer than 16 KiB."},
		{"GET", "GET", "", "", 405, "invalid_request", "28020 Only POST is allowed here."},
		{"PUT", "PUT", formType, good, 405, "invalid_request", "28020 Only POST is allowed here."},
		{"HEAD", "HEAD", "", "", 405, "", "28020 Only POST is allowed here."},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := ask(t, a.TokenService(gatewayBase), c.method, c.contentType, c.body)
			require.Equal(t, c.status, resp.StatusCode)
			require.Equal(t, "application/json;charset=UTF-8", resp.Header.Get("Content-Type"))
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
			require.Equal(t, "no-cache", resp.Header.Get("Pragma"))
			if c.code != "" {
				require.JSONEq(t, `{"error":"`+c.code+`"}`, body)
				require.EqualValues(t, len(body), resp.ContentLength)
			}
			code, reason, _ := strings.Cut(c.diagnostics, " ")
			require.Equal(t, code+`;source="gw.contoso.test";reason="`+reason+`"`, resp.Header.Get("X-Ms-Diagnostics"))
			require.Equal(t, map[bool]string{true: "POST"}[c.status == 405], resp.Header.Get("Allow"))
		})
	}
	resp, _ := ask(t, nobody.TokenService(gatewayBase), "POST", formType, good)
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, resp.Header.Get("X-Ms-Diagnostics"), "28029;")
	require.Contains(t, resp.Header.Get("X-Ms-Diagnostics"), "use an Entra ID access token")
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "f%d=1&", i)
	}
	return b.String()
}

func TestTokenServiceSpellsItsHeadersOnTheWire(t *testing.T) {
	a := newAuthenticator(t, Options{Passwords: testPasswords(t)})
	head, body := rawAnswer(t, a.TokenService(gatewayBase), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0")
	require.Contains(t, head, `X-Ms-diagnostics: 28020;source="gw.contoso.test";reason="The field grant_type is missing."`)
	require.Contains(t, head, fmt.Sprintf("Content-Length: %d", len(body)))
}

// verbatim reads a header in the spelling in which it is sent, which is not
// the canonical one that Values looks for.
func verbatim(w http.ResponseWriter, name string) []string { return w.Header()[name] }

// post asks the service without a network, for the tests in virtual time.
func post(h http.Handler, client, user, password string) *httptest.ResponseRecorder {
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	r := httptest.NewRequest(http.MethodPost, "/WebTicket/oauthtoken", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	r.RemoteAddr = client + ":1234"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTooManyWrongPasswordsWaitAndTheHonestUserComesThrough(t *testing.T) {
	passwords := testPasswords(t, "contoso.test")
	synctest.Test(t, func(t *testing.T) {
		a := newAuthenticator(t, Options{Passwords: passwords, Attempts: NewAttempts(6, clock.System())})
		h := a.TokenService(gatewayBase)
		for i := range 6 { // every spelling is one account
			require.Empty(t, post(h, "192.0.2.66", []string{"bo", "sip:bo@contoso.test", `X\bo`}[i%3], "wrong").Header().Get("Retry-After"))
		}
		w := post(h, "192.0.2.66", "bo", "b")
		require.Equal(t, http.StatusBadRequest, w.Code)
		require.JSONEq(t, `{"error":"invalid_grant"}`, w.Body.String())
		require.Equal(t, "10", w.Header().Get("Retry-After"))
		require.Equal(t, `28020;source="gw.contoso.test";reason="Too many attempts; wait 10 s and try again."`, verbatim(w, diagnosticsHeader)[0])

		require.Equal(t, http.StatusOK, post(h, "192.0.2.1", "bo", "b").Code, "from elsewhere")
		<-time.After(10 * time.Second)
		require.Equal(t, http.StatusOK, post(h, "192.0.2.66", "bo", "b").Code, "after the wait")
	})
}

func TestManyPeopleMaySignInFromOneAddress(t *testing.T) {
	passwords := testPasswords(t, "contoso.test")
	synctest.Test(t, func(t *testing.T) {
		a := newAuthenticator(t, Options{Passwords: passwords, Attempts: NewAttempts(1, clock.System())})
		h := a.TokenService(gatewayBase)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if w := post(h, "192.0.2.1", "bo", "b"); w.Code != http.StatusOK {
					t.Errorf("status %d", w.Code)
				}
			})
		}
		wg.Wait()
	})
}

func TestSignInsAreLoggedWithoutSecretsAndAddresses(t *testing.T) {
	var log bytes.Buffer
	a := newAuthenticator(t, Options{
		Passwords: testPasswords(t, "contoso.test"), Attempts: NewAttempts(1, nil),
		Logger:        slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		ClientAddress: func(*http.Request) string { return "198.51.100.7" },
		OnSignIn:      func(context.Context, SignIn) {},
	})
	h := a.TokenService(gatewayBase)
	var answer tokenResponse
	require.NoError(t, json.Unmarshal(post(h, "192.0.2.1", "Ana", "Pass+w@rd%1").Body.Bytes(), &answer))
	post(h, "192.0.2.1", "bo", "hunter2")
	post(h, "192.0.2.1", "bo", "hunter2")
	_, err := a.Authenticate(requestWith("Bearer " + answer.AccessToken))
	require.NoError(t, err)
	ana, bo := a.Pseudonym("ana@contoso.test"), a.Pseudonym("bo@contoso.test")
	require.NotEqual(t, ana, bo)
	for _, want := range []string{
		"account=" + ana + " client=198.51.100.7 method=password result=accepted",
		"account=" + bo + " client=198.51.100.7 method=password result=refused",
		"account=" + bo + ` client=198.51.100.7 method=password result="too many attempts"`,
	} {
		require.Contains(t, log.String(), want)
	}
	for _, secret := range []string{"@", "hunter2", "Pass+w", answer.AccessToken, answer.AccessToken[20:40]} {
		require.NotContains(t, log.String(), secret)
	}
}

func FuzzTokenForm(f *testing.F) {
	for _, seed := range []string{
		"", "grant_type=password&username=ana%40contoso.test&password=a%2Bb", "a=%&b=%zz&c=%4", "password=a+b&username=a@b", "&&=&==",
		"\xff=\x00", "p=%41%", manyFields(70),
	} {
		f.Add(formType, seed)
	}
	f.Add("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nana\r\n--b--\r\n")
	f.Add("multipart/form-data; boundary=", "--")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		form, failure := readForm(httptest.NewRecorder(), r)
		require.True(t, (form == nil) != (failure == nil))
		if failure != nil {
			require.Equal(t, oauthInvalidRequest, failure.code)
			return
		}
		require.LessOrEqual(t, len(form), maxTokenFields)
		for name, value := range form {
			require.LessOrEqual(t, len(value), len(body))
			require.Equal(t, strings.ToLower(name), name)
		}
	})
}

func FuzzFormValuesSurviveEncoding(f *testing.F) {
	f.Add("ana@contoso.test", "a+b %41&c=d")
	f.Add("sip:é", "\x00%")
	f.Fuzz(func(t *testing.T, user, password string) {
		form, failure := parseForm(url.Values{"username": {user}, "password": {password}}.Encode())
		require.Nil(t, failure)
		require.Equal(t, tokenForm{"username": user, "password": password}, form)
	})
}
