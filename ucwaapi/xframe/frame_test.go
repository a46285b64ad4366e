package xframe

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/ucwaapi/xframe/browsertest"
)

// TestFrame runs the page in a browser, embedded by an allowed application.
func TestFrame(t *testing.T) {
	s := newSite(t)
	tab := open(t, browsertest.Start(t), pageOf(s.app, s.gateway+framePath))
	for _, group := range []struct {
		name string
		run  func(*testing.T, *site, context.Context)
	}{
		{"both framings are understood, as text and as objects", testFramings},
		{"the request carries the headers of the frame and those of the message", testHeaders},
		{"headers that the frame owns cannot be set by a message", testReservedHeaders},
		{"data is encoded by its type", testData},
		{"data of a GET becomes the query", testQuery},
		{"methods of the API pass in any letter case", testMethods},
		{"answers have the names and words that clients look for", testAnswers},
		{"the messageId comes back as it was", testMessageIDs},
		{"a held request does not keep others waiting", testHeldRequest},
		{"a timeout that the message asks for ends the request", testTimeout},
		{"URLs of this server pass in every form", testOwnURLs},
		{"what cannot be sent is answered and not sent", testRefusedRequests},
		{"what is no request is ignored", testIgnoredMessages},
		{"a redirect to another host is not followed", testRedirect},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(t, s, tab) })
	}
}

func testFramings(t *testing.T, s *site, tab context.Context) {
	request := object{"type": "GET", "url": "/echo/framing", "messageId": "m"}
	inner := object{"type": "GET", "url": "/echo/framing"}
	for name, message := range map[string]any{
		"flat":                             request,
		"wrapped":                          object{"request": request},
		"wrapped, with the id at the side": object{"request": inner, "messageId": "m"},
	} {
		text, err := json.Marshal(message)
		require.NoError(t, err)
		for form, message := range map[string]any{"text": string(text), "object": message} {
			a := s.decode(t, js[posted](t, tab, "ask", message, `"m"`))
			require.Equal(t, "/echo/framing", a.backend(t).URI, "%s as %s", name, form)
			require.Equal(t, "success", a.StatusText)
		}
	}
}

func testHeaders(t *testing.T, s *site, tab context.Context) {
	got := s.ask(t, tab, object{
		"type": "PUT", "url": "/echo/headers", "messageId": 1, "data": `{"a":1}`,
		"headers": object{
			"Accept": "application/json", "Authorization": "Bearer cwt=x", "If-Match": `"7"`,
			"content-type": "application/vnd.microsoft.com.ucwa+json", "X-Number": 5, "X-Flag": true,
			"X-Null": nil, "X-Object": object{},
		},
		"accepts": "text/html", "contentType": "text/plain", "processData": false, "cache": false,
		"xhrFields": object{"withCredentials": true, "responseType": "blob", "onload": "x"},
	}).backend(t)
	require.Equal(t, []string{s.app}, got.Header["X-Ms-Origin"])
	require.Equal(t, []string{"XMLHttpRequest"}, got.Header["X-Requested-With"])
	require.Equal(t, []string{s.gateway}, got.Header["Origin"], "to the server it is a request of its own page")
	require.Empty(t, got.Header["Referer"])
	require.Equal(t, []string{"application/json"}, got.Header["Accept"])
	require.Equal(t, []string{"Bearer cwt=x"}, got.Header["Authorization"])
	require.Equal(t, []string{`"7"`}, got.Header["If-Match"])
	require.Equal(t, []string{"application/vnd.microsoft.com.ucwa+json"}, got.Header["Content-Type"])
	require.Equal(t, []string{"5"}, got.Header["X-Number"])
	require.Equal(t, []string{"true"}, got.Header["X-Flag"])
	require.Equal(t, []string{"no-cache"}, got.Header["Cache-Control"])
	require.Empty(t, got.Header["X-Null"])
	require.Empty(t, got.Header["X-Object"])
	require.Equal(t, `{"a":1}`, got.Body)
	require.Equal(t, "/echo/headers", got.URI, "cache: false must not change the URL")

	accepts := map[string]any{
		"text/html":                         "text/html",
		"application/json, application/xml": []string{"application/json", "application/xml"},
		"application/json":                  object{"json": "application/json"},
		"*/*":                               nil,
	}
	for want, given := range accepts {
		got := s.ask(t, tab, object{"type": "GET", "url": "/echo/accept", "accepts": given, "messageId": 2}).backend(t)
		require.Equal(t, []string{want}, got.Header["Accept"])
	}
}

func testReservedHeaders(t *testing.T, s *site, tab context.Context) {
	got := s.ask(t, tab, object{
		"type": "POST", "url": "/echo/reserved", "messageId": 1, "origin": "https://trusted.example",
		"headers": object{
			"X-Ms-Origin": "https://trusted.example", "x-ms-origin": "https://trusted.example", "X_Ms-Origin": "https://trusted.example",
			"X-Requested-With": "no", "x_requested_with": "no", "Origin": "https://trusted.example", "Host": "trusted.example",
			"Cookie": "cwt_ucwa=stolen", "Referer": "https://trusted.example/", "X-Other": "stays",
		},
	}).backend(t)
	require.Equal(t, []string{s.app}, got.Header["X-Ms-Origin"])
	require.Equal(t, []string{"XMLHttpRequest"}, got.Header["X-Requested-With"])
	require.Equal(t, []string{s.gateway}, got.Header["Origin"])
	require.Equal(t, s.gateway, "http://"+got.Host)
	for name := range got.Header {
		require.NotContains(t, []string{"Cookie", "Referer", "X_ms-Origin", "X_Ms-Origin", "X_requested_with", "X_Requested_With"}, name)
	}
	require.Equal(t, []string{"stays"}, got.Header["X-Other"])
}

func testData(t *testing.T, s *site, tab context.Context) {
	const form = "application/x-www-form-urlencoded"
	list := object{"duration": 11, "uris": []string{"sip:ana@contoso.com", "b&c"}, "none": nil, "deep": object{"x": 1}}
	const listAsForm = "deep=%7B%22x%22%3A1%7D&duration=11&none=&uris=sip%3Aana%40contoso.com&uris=b%26c"
	const listAsJSON = `{"deep":{"x":1},"duration":11,"none":null,"uris":["sip:ana@contoso.com","b&c"]}`
	tests := []struct {
		name              string
		data              any
		more              object
		wantBody, wantTyp string
	}{
		{"text stays as it is", "grant_type=password&username=a b", object{"contentType": form + ";charset=UTF-8"}, "grant_type=password&username=a b", form + ";charset=UTF-8"},
		{"text with a type among the headers", "<input/>", object{"headers": object{"Content-Type": "application/xml"}}, "<input/>", "application/xml"},
		{"text that is JSON and has no type", ` {"a":"ü"}`, nil, ` {"a":"ü"}`, "application/json"},
		{"other text that has no type", "a=b", nil, "a=b", form + "; charset=UTF-8"},
		{"an object that has no type", list, nil, listAsJSON, "application/json"},
		{"an object as JSON", list, object{"contentType": "application/json"}, listAsJSON, "application/json"},
		{"an object as a form", list, object{"contentType": form, "processData": true}, listAsForm, form},
		{"an object as a form, by default", list, object{"headers": object{"content-type": "Application/X-WWW-Form-Urlencoded"}}, listAsForm, "Application/X-WWW-Form-Urlencoded"},
		{"an object that is not to be processed", list, object{"contentType": form, "processData": false}, listAsJSON, form},
		{"a list", []int{1, 2}, object{"contentType": form}, "[1,2]", form},
		{"a number", 0, nil, "0", "application/json"},
		{"nothing", nil, nil, "", ""},
		{"empty text", "", nil, "", ""},
		{"empty text with a type", "", object{"contentType": "application/json"}, "", "application/json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			request := object{"type": "POST", "url": "/echo/data", "data": tt.data, "messageId": tt.name}
			for name, value := range tt.more {
				request[name] = value
			}
			got := s.ask(t, tab, request).backend(t)
			require.Equal(t, tt.wantBody, got.Body)
			require.Equal(t, tt.wantTyp, got.Header.Get("Content-Type"))
		})
	}
}

func testQuery(t *testing.T, s *site, tab context.Context) {
	for _, tt := range []struct {
		url  string
		data any
		want string
	}{
		{"/echo/q", object{"query": "ana m", "limit": 5}, "/echo/q?limit=5&query=ana+m"},
		{"/echo/q?ack=1", object{"low": 5}, "/echo/q?ack=1&low=5"},
		{"/echo/q", "?a=b", "/echo/q?a=b"},
		{"/echo/q?ack=1", "&low=5", "/echo/q?ack=1&low=5"},
		{"/echo/q?x=1", "", "/echo/q?x=1"},
		{"/echo/q?x=1#part", nil, "/echo/q?x=1"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := s.ask(t, tab, object{"type": method, "url": tt.url, "data": tt.data, "messageId": 1})
			require.Equal(t, 200, a.Status)
			require.Contains(t, s.backend.took(), method+" "+tt.want)
		}
	}
}

func testMethods(t *testing.T, s *site, tab context.Context) {
	for _, method := range []string{"get", "Post", "PUT", "delete", "OPTIONS"} {
		got := s.ask(t, tab, object{"type": method, "url": "/echo/methods", "messageId": 1}).backend(t)
		require.Equal(t, strings.ToUpper(method), got.Method)
	}
	a := s.ask(t, tab, object{"type": "head", "url": "/echo/methods", "messageId": 1})
	require.Equal(t, answer{200, "success", "", a.Headers, json.RawMessage("1")}, a)
	require.Equal(t, "application/json; charset=utf-8", a.header("Content-Type"))
}

func testAnswers(t *testing.T, s *site, tab context.Context) {
	tests := []struct {
		path, method string
		status       int
		word, body   string
		headers      map[string]string
	}{
		{"unauthorized", "GET", 401, "error", "<p>no token</p>", map[string]string{
			"WWW-Authenticate": `Bearer trusted_issuers="", client_id="x", MsRtcOAuth href="https://gw.example.com/WebTicket/oauthtoken",grant_type="password"`,
			"X-Ms-diagnostics": `28000;source="gw";reason="No token"`,
			"X-MS-Server-Fqdn": "gw.example.com",
			"Content-Type":     "text/html",
			"Content-Length":   "15",
		}},
		{"created", "POST", 201, "success", `{"rel":"application"}`, map[string]string{
			"Content-Type": "application/json; charset=utf-8", "Location": "/ucwa/oauth/v1/applications/1",
			"ETag": `"7"`, "X-MS-UcwaVersion": "2.0",
		}},
		{"nocontent", "DELETE", 204, "success", "", nil},
		{"conflict", "GET", 409, "error", `{"code":"Conflict","subcode":"PGetReplaced"}`, map[string]string{"Content-Type": "application/json"}},
		{"unavailable", "GET", 503, "error", "", map[string]string{"Retry-After": "5"}},
		{"unchanged", "GET", 304, "error", "", map[string]string{"ETag": `"7"`}},
		{"unknown", "GET", 404, "error", "404 page not found\n", map[string]string{"X-Content-Type-Options": "nosniff"}},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			a := s.ask(t, tab, object{
				"type": tt.method, "url": "/answers/" + tt.path, "messageId": tt.path,
				"headers": object{"If-None-Match": `"7"`},
			})
			require.Equal(t, answer{tt.status, tt.word, tt.body, a.Headers, json.RawMessage(`"` + tt.path + `"`)}, a)
			for name, value := range tt.headers {
				require.Equal(t, value, a.header(name), "%s in\n%s", name, a.Headers)
			}
			require.NotRegexp(t, `^\r\n|\r\n$|\r\n\r\n`, a.Headers, "the lines are separated, not ended")
		})
	}
}

func testMessageIDs(t *testing.T, s *site, tab context.Context) {
	for _, id := range []string{
		`"text"`, `""`, `"<b>\"\\\u0000 ü"`, `0`, `7`, `-1.5`, `true`, `false`, `null`, `[]`, `[1,"a",null]`, `{}`,
		`{"__proto__":{"a":1},"toJSON":"x","deep":[{"b":2}]}`, `"` + "\ue000" + `"`,
	} {
		message := `{"type":"GET","url":"/echo/id","messageId":` + id + `}`
		a := s.decode(t, js[posted](t, tab, "ask", message, id))
		require.JSONEq(t, id, string(a.MessageID))

		// What is refused is answered under its messageId as well.
		a = s.decode(t, js[posted](t, tab, "ask", `{"messageId":`+id+`}`, id))
		require.JSONEq(t, id, string(a.MessageID))
		require.Equal(t, 400, a.Status)
	}
	p := js[posted](t, tab, "ask", `{"type":"GET","url":"/echo/id"}`)
	require.Equal(t, 200, s.decode(t, p).Status)
	require.NotContains(t, p.Text, "messageId")
	p = js[posted](t, tab, "ask", `{"type":"GET"}`)
	require.Equal(t, 400, s.decode(t, p).Status)
	require.NotContains(t, p.Text, "messageId")
}

func testHeldRequest(t *testing.T, s *site, tab context.Context) {
	js[bool](t, tab, `() => {
		window.held = ask('{"type":"GET","url":"/hold?ack=1","messageId":"held"}', '"held"');
		window.heldDone = false;
		window.held.then(() => window.heldDone = true);
		return true;
	}`)
	texts := js[[]posted](t, tab, `() => Promise.all([1, 2, 3].map((n) =>
		ask(JSON.stringify({ type: "POST", url: "/echo/" + n, messageId: n }), String(n))))`)
	for i, p := range texts {
		got := s.decode(t, p).backend(t)
		require.Equal(t, "/echo/"+string(rune('1'+i)), got.URI)
	}
	require.False(t, js[bool](t, tab, "() => heldDone"))
	require.Contains(t, s.backend.took(), "GET /hold?ack=1")
	close(s.release)
	held := s.decode(t, js[posted](t, tab, "() => held"))
	require.Equal(t, "/hold?ack=1", held.backend(t).URI)
	s.release = make(chan struct{})
}

func testTimeout(t *testing.T, s *site, tab context.Context) {
	a := s.ask(t, tab, object{"type": "GET", "url": "/hold", "xhrFields": object{"timeout": 50}, "messageId": 1})
	require.Equal(t, answer{0, "timeout", "", "", json.RawMessage("1")}, a)
}

func testOwnURLs(t *testing.T, s *site, tab context.Context) {
	for given, want := range map[string]string{
		s.gateway + "/echo/a?b=c":         "/echo/a?b=c",
		"/echo/people/ana@contoso.com":    "/echo/people/ana@contoso.com",
		"../../echo/relative":             "/echo/relative",
		"/echo/search?query=ana mayer":    "/echo/search?query=ana%20mayer",
		"/echo//doubled":                  "/echo//doubled",
		"/echo/in?u=https://else.example": "/echo/in?u=https://else.example",
	} {
		got := s.ask(t, tab, object{"type": "OPTIONS", "url": given, "messageId": given}).Status
		require.Contains(t, []int{200, 301, 307}, got, given)
		require.Contains(t, s.backend.took(), "OPTIONS "+want)
	}
}

func testRefusedRequests(t *testing.T, s *site, tab context.Context) {
	urls := []any{
		s.foreign + "/target", "//" + s.foreign[len("http://"):] + "/target", `\\localhost\target`,
		strings.Replace(s.gateway, "http:", "https:", 1) + "/echo/", "https://127.0.0.1/echo/", "http://127.0.0.1:1/",
		"ftp://127.0.0.1/", "file:///etc/passwd", "data:text/plain,x", "javascript:alert(1)", "blob:" + s.gateway + "/1", "about:blank",
		"http://user:secret@" + s.gateway[len("http://"):] + "/echo/", s.gateway + ".example.com/", "http://", "http://[", nil, 5,
		object{},
		[]any{},
	}
	requests := []object{
		{"type": "TRACE", "url": "/echo/"},
		{"type": "CONNECT", "url": "/echo/"},
		{"type": "PATCH", "url": "/echo/"},
		{"type": "", "url": "/echo/"},
		{"type": "GET /x HTTP/1.1\r\nHost: x", "url": "/echo/"},
		{"type": 5, "url": "/echo/"},
		{"type": []string{"GET"}, "url": "/echo/"},
		{"url": "/echo/"},
		{"type": "GET"},
		{},
		{"type": "GET", "url": "/echo/", "headers": object{"X-A": "b\r\nX-C: d"}},
		{"type": "GET", "url": "/echo/", "headers": object{"X A": "b"}},
		{"type": "GET", "url": "/echo/", "headers": object{"": "b"}},
		{"type": "GET", "url": "/echo/", "headers": object{"X-A": "snowman ☃"}},
		{"type": "GET", "url": "/echo/", "data": []int{1}},
		{"type": "GET", "url": "/echo/", "data": 5},
	}
	for _, u := range urls {
		requests = append(requests, object{"type": "GET", "url": u}, object{"type": "POST", "url": u, "data": "x"})
	}
	s.backend.took()
	s.stranger.took()
	for _, request := range requests {
		request["messageId"] = "refused"
		a := s.ask(t, tab, request)
		require.Equal(t, 400, a.Status, "%v", request)
		require.Equal(t, "error", a.StatusText)
		require.Equal(t, "application/json", a.header("Content-Type"))
		var reason struct{ Code, Message string }
		require.NoError(t, json.Unmarshal([]byte(a.ResponseText), &reason))
		require.Equal(t, "BadRequest", reason.Code)
		require.NotEmpty(t, reason.Message)
	}
	// A request that passes comes after any that should not have left.
	require.Equal(t, 200, s.ask(t, tab, object{"type": "GET", "url": "/echo/last", "messageId": 1}).Status)
	require.Equal(t, []string{"GET /echo/last"}, s.backend.took())
	require.Empty(t, s.stranger.took())
}

func testIgnoredMessages(t *testing.T, s *site, tab context.Context) {
	s.backend.took()
	for _, message := range []any{
		"", "hello", "{", `{"type":"GET","url":"/echo/",}`, "null", "5", `"text"`, "[]", `[{"type":"GET","url":"/echo/"}]`, "{}", `{"other":1}`,
		`{"request":{}}`, `{"request":[],"x":1}`, "type=GET&url=/echo/", nil, 5, true,
		[]any{},
		object{},
		object{"source": "extension"},
	} {
		require.Empty(t, js[[]posted](t, tab, "until", message), "%v", message)
	}
	for _, odd := range []string{
		"undefined", "10n", "new Map([['type', 'GET']])", "new Date(0)", "new ArrayBuffer(8)", "new Error('x')",
		"(() => { const o = { type: 'GET', url: '/echo/', messageId: 1 }; o.self = o; return o; })()", "({ type: 'GET', url: '/echo/', big: 1n })",
	} {
		require.Empty(t, js[[]posted](t, tab, "() => until("+odd+")"), odd)
	}
	for _, target := range s.backend.took() {
		require.Equal(t, "GET /echo/last", target)
	}
}

func testRedirect(t *testing.T, s *site, tab context.Context) {
	s.stranger.took()
	a := s.ask(t, tab, object{"type": "GET", "url": "/elsewhere", "messageId": 1})
	require.Equal(t, answer{0, "error", "", "", json.RawMessage("1")}, a)
	require.Empty(t, s.stranger.took())
}
