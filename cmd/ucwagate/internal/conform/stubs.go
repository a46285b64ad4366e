package conform

import (
	"context"
	"net/http"
	"regexp"
)

var (
	guid        = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	passThrough = regexp.MustCompile(`^please pass (this|me) in a PUT request$`)
)

// stubs looks at what an application must carry although calls and meetings
// are no matter of presence.
func (w *walk) stubs(ctx context.Context) {
	w.communication(ctx)
	n := w.app.embed("onlineMeetings")
	if n != nil {
		meetings := w.get(ctx, "onlineMeetings", n.href)
		w.check("stubs.meetings", "onlineMeetings", meetings != nil, "%s is not there", n.href)
	}
	if href := w.app.link("policies"); href != "" {
		w.get(ctx, "policies", href)
	}
	href := w.app.link("reportMyNetwork")
	if href == "" {
		w.skip("reportMyNetwork", "the link is not offered", "policies.network")
		return
	}
	a := w.do(ctx, w.post(href, input{{"clientNetworkType", "External"}}))
	w.check("policies.network", "reportMyNetwork", a.status == http.StatusCreated, "%v", a)
	w.named("policies.network", "reportMyNetwork", w.send(ctx, w.post(href, nil)), "clientNetworkType")
}

// communication checks the resource, and PUT with all that it demands.
func (w *walk) communication(ctx context.Context) {
	embedded := w.app.embed("communication")
	if embedded == nil {
		w.skip("communication", "application embeds none", "stubs.communication", "stubs.put", "stubs.put-required", "stubs.put-failed", "stubs.put-pass-through")
		return
	}
	n := w.get(ctx, "communication", embedded.href)
	if n == nil {
		return
	}
	w.check("stubs.communication", "communication", n.first == "supportedModalities" || n.arrays == nil, "the first member is %s", n.first)
	w.check("stubs.communication", "communication", n.link("conversations") != "", "there is no link conversations")
	var pass property
	for _, p := range n.properties {
		if guid.MatchString(p.name) && passThrough.MatchString(p.text) {
			pass = p
		}
	}
	if !w.check("stubs.communication", "communication", pass.name != "", "no property is named by a GUID and says please pass this in a PUT request") {
		w.skip("communication", "the GUID property is not there", "stubs.put", "stubs.put-required", "stubs.put-failed", "stubs.put-pass-through")
		return
	}
	if href := n.link("conversations"); href != "" {
		conversations := w.get(ctx, "conversations", href)
		w.check("stubs.meetings", "conversations", conversations != nil, "%s is not there", href)
	}
	tag := n.text("etag")
	put := func(match string, in input) *answer {
		body, contentType := w.encoded(in, "resource")
		q := request{method: http.MethodPut, href: n.href, body: body, contentType: contentType}
		if match != "" {
			q.header = map[string]string{"If-Match": match}
		}
		return w.send(ctx, q)
	}
	// What is there already is put, so that nothing changes.
	in := input{{"supportedModalities", n.property("supportedModalities").values()}, {"supportedMessageFormats", n.property("supportedMessageFormats").values()}}
	whole := append(in[:len(in):len(in)], parameterValue{pass.name, pass.text}, parameterValue{"rel", "communication"}, parameterValue{"etag", tag})
	w.refused("stubs.put-required", "communication", put("", whole), http.StatusPreconditionRequired, "")
	w.refused("stubs.put-failed", "communication", put(`"not-the-etag"`, whole), http.StatusPreconditionFailed, "")
	w.refused("stubs.put-pass-through", "communication", put(`"`+tag+`"`, in), http.StatusBadRequest, "ParameterValidationFailure")
	a := put(`"`+tag+`"`, whole)
	w.inspectHeaders(a)
	w.check("stubs.put", "communication", a.status == http.StatusOK, "%v", a)
}

// values returns a list, never nil.
func (p *property) values() []string {
	if p == nil || p.list == nil {
		return []string{}
	}
	return p.list
}
