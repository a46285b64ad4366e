package conform

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// batchPart is a request in a batch.
type batchPart struct {
	method, target, accept string
	// statuses are those that its answer may have.
	statuses []int
	rel      string // of the resource that comes back, or empty
}

// request is the part as it is sent.
func (p batchPart) request(host string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\n\r\n", p.method, p.target, host, p.accept)
}

var refusals = []int{http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed}

// batch sends several requests in one.
func (w *walk) batch(ctx context.Context) {
	href := w.app.link("batch")
	if href == "" {
		w.skip("batch", "the link is not offered", "batch.answer", "batch.framing", "batch.content-type-last", "batch.one-line", "batch.order", "batch.forbidden", "batch.tolerance", "batch.malformed")
		return
	}
	at, err := w.resolve(href)
	if err != nil {
		w.check("batch.answer", "batch", false, "%v", err)
		return
	}
	ok := []int{http.StatusOK}
	me, people := w.app.embed("me"), w.app.embed("people")
	if me == nil || people == nil {
		return
	}
	parts := []batchPart{
		{http.MethodGet, me.href, w.accept(), ok, "me"},
		{http.MethodGet, people.href, w.accept(), ok, "people"},
		{http.MethodPost, people.href, w.accept(), []int{http.StatusMethodNotAllowed}, ""},
		{http.MethodGet, w.app.href, w.accept(), ok, "application"},
		{http.MethodPost, href, w.accept(), refusals, ""},
		{http.MethodGet, w.app.link("events"), w.accept(), refusals, ""},
	}
	if photo := me.link("photo"); photo != "" {
		parts = append(parts, batchPart{http.MethodGet, photo, typeJPEG, refusals, ""})
	}
	boundary := unique("batch_")
	answers := w.sendBatch(ctx, href, at.Host, "multipart/batching;boundary="+boundary, boundary, "", parts)
	if answers != nil {
		w.batchAnswers(parts, answers)
	}
	w.batchTolerance(ctx, href, at, me)
	a := w.send(ctx, request{method: http.MethodPost, href: href, contentType: `multipart/batching;boundary="b"`, body: []byte("no part at all")})
	w.refused("batch.malformed", "batch", a, http.StatusBadRequest, "DeserializationFailure")
}

func (w *walk) batchAnswers(parts []batchPart, answers []batchAnswer) {
	if !w.check("batch.order", "batch", len(answers) == len(parts), "%d answers to %d requests", len(answers), len(parts)) {
		return
	}
	for i, p := range parts {
		got := answers[i]
		fits := false
		for _, status := range p.statuses {
			fits = fits || got.status == status
		}
		if p.rel == "" && p.statuses[0] != http.StatusMethodNotAllowed {
			w.check("batch.forbidden", "batch", fits, "%s %s is answered %d", p.method, p.target, got.status)
			continue
		}
		if !w.check("batch.order", "batch", fits, "%s %s is answered %d", p.method, p.target, got.status) || p.rel == "" {
			continue
		}
		header := http.Header{"Content-Type": {got.contentType}}
		n := w.quietly(&answer{status: got.status, headers: header, body: []byte(got.body)})
		w.check("batch.order", "batch", n != nil && n.rel == p.rel && n.href == p.target, "the answer to %s is %s", p.target, excerpt([]byte(got.body)))
	}
}

// batchTolerance sends a batch as the sample library writes it.
func (w *walk) batchTolerance(ctx context.Context, href string, at *url.URL, me *node) {
	boundary := unique("batch_")
	parts := []batchPart{{http.MethodGet, at.Scheme + "://" + at.Host + me.href, w.accept(), []int{http.StatusOK}, ""}}
	a := w.do(ctx, w.batchRequest(href, at.Host, `multipart/batching; boundary="`+boundary+`"`, boundary, "\r\n", parts))
	w.check("batch.tolerance", "batch", a.status == http.StatusOK && strings.Contains(string(a.body), "HTTP/1.1 200"), "%v", a)
}

func (w *walk) batchRequest(href, host, contentType, boundary, before string, parts []batchPart) request {
	var b bytes.Buffer
	b.WriteString(before)
	for _, p := range parts {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: application/http; msgtype=request\r\n\r\n%s\r\n", boundary, p.request(host))
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return request{method: http.MethodPost, href: href, contentType: contentType, accept: "multipart/batching", body: b.Bytes()}
}

// sendBatch sends a batch and takes its answer to pieces; nil if that cannot be
// done.
func (w *walk) sendBatch(ctx context.Context, href, host, contentType, boundary, before string, parts []batchPart) []batchAnswer {
	a := w.do(ctx, w.batchRequest(href, host, contentType, boundary, before, parts))
	media, params, err := mime.ParseMediaType(a.headers.Get("Content-Type"))
	kept := a.status == http.StatusOK && err == nil && media == "multipart/batching" && params["boundary"] != "" && strings.Contains(a.headers.Get("Cache-Control"), "no-cache")
	if !w.check("batch.answer", "batch", kept, "%v with Content-Type %q and Cache-Control %q", a, a.headers.Get("Content-Type"), a.headers.Get("Cache-Control")) {
		return nil
	}
	answers, wrong := splitBatch(string(a.body), params["boundary"])
	w.check("batch.framing", "batch", wrong == "", "%s", wrong)
	for _, got := range answers {
		w.check("batch.content-type-last", "batch", got.contentTypeLast, "the headers of a part are %q", got.headers)
		w.check("batch.one-line", "batch", !strings.ContainsAny(strings.TrimSuffix(got.body, "\r\n"), "\r\n") && !strings.HasPrefix(got.body, "\ufeff"), "%q", excerpt([]byte(got.body)))
	}
	return answers
}

// batchAnswer is an answer in a batch.
type batchAnswer struct {
	status          int
	headers         []string
	contentType     string
	contentTypeLast bool
	body            string
}

// splitBatch takes the answer to a batch to pieces the way a known client does:
// by lines. It tells what is wrong with the framing.
func splitBatch(body, boundary string) (answers []batchAnswer, wrong string) {
	if lone := strings.Count(body, "\n") - strings.Count(body, "\r\n"); lone > 0 {
		wrong = fmt.Sprintf("%d lines end without a CR", lone)
	}
	pieces := strings.Split("\r\n"+body, "\r\n--"+boundary)
	last := pieces[len(pieces)-1]
	if strings.TrimSpace(last) != "--" {
		return nil, fmt.Sprintf("the end is %q", excerpt([]byte(last)))
	}
	for _, piece := range pieces[1 : len(pieces)-1] {
		outer, inner, found := strings.Cut(strings.TrimPrefix(piece, "\r\n"), "\r\n\r\n")
		if !found {
			return answers, "a part has no blank line"
		}
		if !strings.HasSuffix(outer, "Content-Type: application/http; msgtype=response") {
			wrong = fmt.Sprintf("the header of a part is %q", outer)
		}
		head, content, found := strings.Cut(inner, "\r\n\r\n")
		if !found {
			wrong = "the header of an answer does not end in a blank line"
		}
		lines := strings.Split(head, "\r\n")
		var got batchAnswer
		if _, err := fmt.Sscanf(lines[0], "HTTP/1.1 %d", &got.status); err != nil {
			wrong = fmt.Sprintf("an answer begins with %q", lines[0])
		}
		got.headers, got.body = lines[1:], content
		got.contentTypeLast = true
		for i, line := range got.headers {
			name, value, _ := strings.Cut(line, ": ")
			if strings.EqualFold(name, "Content-Type") {
				got.contentType, got.contentTypeLast = value, i == len(got.headers)-1
			}
		}
		answers = append(answers, got)
	}
	return answers, wrong
}
