package conform_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"ucwagate/ucwaapi/representation"
)

// swapHeader replaces text in a header, wherever it is.
func swapHeader(name, old, with string) mutation {
	return func(_ *http.Request, res *reply) {
		for i, v := range res.header[name] {
			res.header[name][i] = strings.ReplaceAll(v, old, with)
		}
	}
}

func swapChallenge(old, with string) mutation { return swapHeader("WWW-Authenticate", old, with) }

func joinChallenges(_ *http.Request, res *reply) {
	res.header["WWW-Authenticate"] = []string{strings.Join(res.header["WWW-Authenticate"], ", ")}
}

func respell(_ *http.Request, res *reply) {
	res.header["Www-Authenticate"] = res.header["WWW-Authenticate"]
	delete(res.header, "WWW-Authenticate")
}

func wrongPassword(r *http.Request, res *reply) {
	when(http.StatusBadRequest, func(_ *http.Request, res *reply) {
		if strings.Contains(string(res.body), "invalid_grant") {
			res.status = http.StatusUnauthorized
		}
	})(r, res)
}

func notMultipart(r *http.Request, res *reply) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		res.status, res.body = http.StatusBadRequest, []byte(`{"error":"invalid_request"}`)
	}
}

// cookie replaces the cookie where there is one.
func cookie(value string) mutation {
	return func(_ *http.Request, res *reply) {
		if res.header["Set-Cookie"] != nil {
			res.header["Set-Cookie"] = []string{value}
		}
	}
}

// another gives every answer about an application that is known another
// application.
func another() mutation {
	var mu sync.Mutex
	seen := make(map[string]bool)
	return func(_ *http.Request, res *reply) {
		if res.header["Location"] == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		href := res.header["Location"][0]
		if seen[href] && !strings.Contains(href, "?") {
			swap(href, href+"9")(nil, res)
			res.header["Location"] = []string{href + "9"}
		}
		seen[href] = true
	}
}

func chunked(_ *http.Request, res *reply) { res.chunked = true }

func anythingIsXML(r *http.Request, res *reply) {
	if r.Header.Get("Accept") == "*/*" && res.status == http.StatusOK && strings.Contains(res.header["Content-Type"][0], "json") {
		res.header["Content-Type"] = []string{"application/xml; charset=utf-8"}
	}
}

func emptyForm(r *http.Request, res *reply) {
	if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" && res.status == http.StatusCreated {
		pretend(http.StatusUnsupportedMediaType, `{"code":"UnsupportedMediaType"}`)(r, res)
	}
}

func noAccept(r *http.Request, res *reply) {
	if r.Header.Get("Accept") == "" {
		pretend(http.StatusNotAcceptable, `{"code":"NotAcceptable"}`)(r, res)
	}
}

func revisionRefused(r *http.Request, res *reply) {
	if r.Header.Get("X-MS-RequiresMinResourceVersion") == "2.0" {
		pretend(http.StatusNotFound, `{"code":"NotFound","subcode":"APIVersionNotSupported"}`)(r, res)
	}
}

// minds refuses what begins with a text in lower case.
func minds(prefix string) mutation {
	return func(r *http.Request, res *reply) {
		if strings.HasPrefix(r.URL.Path, prefix) {
			res.status = http.StatusNotFound
		}
	}
}

func doubled(r *http.Request, res *reply) {
	if strings.HasPrefix(r.URL.Path, "//") {
		res.status, res.body = http.StatusMovedPermanently, nil
	}
}

func upperAddress(r *http.Request, res *reply) {
	if strings.Contains(r.URL.Path, "/people/BO@") || strings.Contains(r.URL.Path, "/people/CY@") {
		pretend(http.StatusNotFound, `{"code":"NotFound"}`)(r, res)
	}
}

// odd refuses what has a text in its body.
func odd(text string) mutation {
	return func(r *http.Request, res *reply) {
		if body, err := io.ReadAll(r.Body); err == nil && strings.Contains(string(body), text) {
			pretend(http.StatusBadRequest, `{"code":"BadRequest"}`)(r, res)
		}
	}
}

func vendorInput(r *http.Request, res *reply) {
	if strings.Contains(r.Header.Get("Content-Type"), "vnd.") {
		pretend(http.StatusUnsupportedMediaType, `{"code":"UnsupportedMediaType"}`)(r, res)
	}
}

// refuse answers 403 with an error in the representation asked for.
func refuse(code, subcode string) mutation {
	reason := &representation.Reason{Code: code, Subcode: subcode}
	return func(r *http.Request, res *reply) {
		if res.status == http.StatusUnauthorized || res.status == http.StatusNotFound {
			return // of what is no longer there
		}
		res.status, res.body = http.StatusForbidden, representation.AppendReasonJSON(nil, reason)
		if strings.Contains(r.Header.Get("Accept"), "xml") {
			res.body = representation.AppendReasonXML(nil, reason)
		}
	}
}

// onlyXML limits a mutation to who asks for XML.
func onlyXML(f mutation) mutation {
	return func(r *http.Request, res *reply) {
		if strings.Contains(r.Header.Get("Accept"), "xml") {
			f(r, res)
		}
	}
}

// both is one mutation after the other.
func both(first, second mutation) mutation {
	return func(r *http.Request, res *reply) {
		first(r, res)
		second(r, res)
	}
}

// reasonJSON is an error in JSON.
func reasonJSON(code, subcode string) string {
	return string(representation.AppendReasonJSON(nil, &representation.Reason{Code: code, Subcode: subcode}))
}

// afterwards changes the second and every later answer with a status.
func afterwards(code int, f mutation) mutation {
	var mu sync.Mutex
	count := make(map[string]int)
	return func(r *http.Request, res *reply) {
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprint(r.Method, r.URL.String())
		if res.status == code {
			count[key]++
		}
		if count[key] > 1 {
			f(r, res)
		}
	}
}
