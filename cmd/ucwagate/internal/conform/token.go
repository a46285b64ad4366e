package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ticket asks the token service; the answer is checked for what all answers of
// it have in common.
func (w *walk) ticket(ctx context.Context, where, contentType, body string) *answer {
	a := w.do(ctx, request{method: http.MethodPost, href: w.service, anonymous: true, accept: typeJSON, contentType: contentType, body: []byte(body)})
	if a.status == 0 {
		return a
	}
	w.check("token.no-store", where, strings.Contains(a.headers.Get("Cache-Control"), "no-store") && a.headers.Get("Pragma") == "no-cache",
		"Cache-Control %q, Pragma %q", a.headers.Get("Cache-Control"), a.headers.Get("Pragma"))
	w.check("token.content-type", where, a.mediaType() == typeJSON, "%q", a.headers.Get("Content-Type"))
	return a
}

// password signs in and keeps the token.
func (w *walk) password(ctx context.Context) {
	form := url.Values{"grant_type": {"password"}, "username": {w.User}, "password": {w.Password}}
	a := w.ticket(ctx, "a token", typeForm+";charset=UTF-8", form.Encode())
	if !w.check("token.status", "a token", a.status == http.StatusOK, "%d %s", a.status, tokenError(a)) {
		return
	}
	v, err := readJSON(a.body)
	if !w.check("token.access-token", "a token", err == nil, "the answer is no JSON object: %v", err) {
		return
	}
	token := v.text("access_token")
	w.check("token.access-token", "a token", strings.HasPrefix(token, "cwt="), "it begins with %q", token[:min(4, len(token))])
	w.check("token.type", "a token", v.text("token_type") == "Bearer", "%q", v.text("token_type"))
	seconds := 0
	if e := v.member("expires_in"); e != nil {
		if n, isNumber := e.scalar.(json.Number); isNumber {
			seconds, _ = strconv.Atoi(n.String())
		}
		w.check("token.expires-in", "a token", seconds > 0, "%s", e.raw)
	} else {
		w.check("token.expires-in", "a token", false, "there is none")
	}
	if token != "" {
		w.token = "Bearer " + token
	}
}

// tokenError returns the error of the token service, never what else is there.
func tokenError(a *answer) string {
	v, err := readJSON(a.body)
	if err != nil {
		return "without a JSON body"
	}
	return v.text("error")
}

// tokenService checks refusals and what the token service takes beside the
// documented form. There is one attempt with a wrong password, no more.
func (w *walk) tokenService(ctx context.Context) {
	refused := func(id, where, body, want string) {
		a := w.ticket(ctx, where, typeForm, body)
		w.check(id, where, a.status == http.StatusBadRequest && tokenError(a) == want, "%d %s", a.status, tokenError(a))
		if id == "token.wrong-password" {
			w.check("token.diagnostics", where, a.headers.Get("X-Ms-diagnostics") != "", "there is none")
		}
	}
	refused("token.wrong-password", "a wrong password", url.Values{"grant_type": {"password"}, "username": {w.User}, "password": {w.Password + unique("-")}}.Encode(), "invalid_grant")
	refused("token.grant-type", "an unknown grant_type", "grant_type=urn%3Aexample%3Aunknown", "unsupported_grant_type")
	refused("token.grant-type", "no grant_type", "username=nobody", "invalid_request")

	taken := func(where, contentType, body string) {
		a := w.ticket(ctx, where, contentType, body)
		w.check("token.tolerance", where, a.status == http.StatusOK, "%d %s", a.status, tokenError(a))
	}
	form := url.Values{"grant_type": {"password"}, "username": {w.User}, "password": {w.Password}}
	taken("charset in single quotes", typeForm+";charset='utf-8'", form.Encode())
	if !strings.ContainsAny(w.User+w.Password, "&%+=") {
		taken("a body that is not escaped", typeForm, fmt.Sprintf("grant_type=password&username=%s&password=%s", w.User, w.Password))
	}
	form.Set("username", "sip:"+strings.TrimPrefix(w.User, "sip:"))
	taken("a user name with sip:", typeForm, form.Encode())
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for _, name := range []string{"grant_type", "username", "password"} {
		_ = m.WriteField(name, form.Get(name)) // a buffer takes everything
	}
	_ = m.Close()
	taken("multipart/form-data", m.FormDataContentType(), body.String())
}
