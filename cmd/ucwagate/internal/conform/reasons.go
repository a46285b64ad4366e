package conform

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// reason is an error body.
type reason struct {
	code, subcode string
	// parameters are the names it gives.
	parameters []string
}

// refused checks that an answer is an error with a status, a code and a
// subcode (empty: none; "*": any), and that the error has the form of one.
func (w *walk) refused(id, where string, a *answer, status int, subcode string) (*reason, bool) {
	w.inspectHeaders(a)
	if !w.check(id, where, a.status == status, "%v", a) {
		return nil, false
	}
	r := w.reason(a, where)
	if r == nil {
		return nil, false
	}
	return r, w.check(id, where, subcode == "*" || r.subcode == subcode, "%s %s: %d %s with the subcode %q, not %q", a.method, a.href, a.status, r.code, r.subcode, subcode)
}

// named checks that an error names a parameter.
func (w *walk) named(id, where string, a *answer, parameter string) {
	r, ok := w.refused(id, where, a, http.StatusBadRequest, "ParameterValidationFailure")
	if ok {
		w.check(id, where, slices.ContainsFunc(r.parameters, func(p string) bool { return strings.EqualFold(p, parameter) }),
			"%s %s: the parameters are %q, without %s", a.method, a.href, r.parameters, parameter)
	}
}

// tooLarge says whether an answer is the refusal that the protocol has for what
// a distributionGroup links when it has too many members.
func (a *answer) tooLarge() bool {
	if a.status != http.StatusForbidden {
		return false
	}
	r, err := a.reason()
	return err == nil && r.code == "Forbidden" && r.subcode == "TooManyContacts"
}

// reason reads the body of an error that a request for a resource got, and
// checks its form.
func (w *walk) reason(a *answer, resource string) *reason {
	where := "error body of " + a.method + " " + resource
	if a.subject != "" {
		where = "error body of " + a.subject
	}
	want := a.accept
	if want == "" {
		want = w.accept()
	}
	if want == typeJSON || want == typeXML {
		w.check("errors.content-type", where, a.mediaType() == want, "%s %s: %q", a.method, a.href, a.headers.Get("Content-Type"))
	}
	r, err := a.reason()
	if !w.check("errors.shape", where, err == nil, "%v: %v", a, err) {
		return nil
	}
	w.check("enums.error-code", where, slices.Contains(codes[a.status], r.code), "%d has the code %q", a.status, r.code)
	if r.subcode != "" {
		w.check("enums.error-subcode", where, slices.Contains(subcodes, r.subcode), "%q", r.subcode)
	}
	if r.subcode == "ParameterValidationFailure" {
		w.check("errors.parameters", where, len(r.parameters) > 0, "%v names none", a)
	} else {
		w.check("errors.parameters", where, a.status == http.StatusBadRequest || len(r.parameters) == 0, "%v has parameters", a)
	}
	return r
}

// reason reads an error body.
func (a *answer) reason() (*reason, error) {
	if a.isXML() {
		return xmlReason(a.body)
	}
	return jsonReason(a.body)
}

// reasonMembers are the documented members of an error.
var reasonMembers = []string{"code", "subcode", "message", "link", "parameters", "debugInfo", "rel", "_links"}

func jsonReason(body []byte) (*reason, error) {
	v, err := readJSON(body)
	if err != nil {
		return nil, err
	}
	for _, m := range v.members {
		if !slices.Contains(reasonMembers, m.name) {
			return nil, fmt.Errorf("%q is not documented", m.name)
		}
	}
	if v.text("code") == "" {
		return nil, fmt.Errorf("there is no code")
	}
	if name, null := v.anyNull(); null {
		return nil, fmt.Errorf("%s is null", name)
	}
	r := &reason{code: v.text("code"), subcode: v.text("subcode")}
	if p := v.member("parameters"); p != nil {
		for _, item := range p.items {
			r.parameters = append(r.parameters, item.text("name"))
		}
		for _, m := range p.members { // as a property bag
			r.parameters = append(r.parameters, m.name)
		}
	}
	return r, nil
}

func xmlReason(body []byte) (*reason, error) {
	e, err := readXML(body)
	if err != nil {
		return nil, err
	}
	return reasonOf(e)
}

func reasonOf(e *element) (*reason, error) {
	if wrong := e.namespaceFault(true); wrong != "" {
		return nil, fmt.Errorf("%s", wrong)
	}
	if e.name.Local != "reason" {
		return nil, fmt.Errorf("it is a <%s>", e.name.Local)
	}
	r := &reason{}
	for _, c := range e.children {
		switch c.name.Local {
		case "code":
			r.code = c.text
		case "subcode":
			r.subcode = c.text
		case "message", "link", "debugInfo":
		case "parameters":
			for _, p := range c.children {
				r.parameters = append(r.parameters, p.attr("name"))
			}
		default:
			return nil, fmt.Errorf("<%s> is not documented", c.name.Local)
		}
	}
	if r.code == "" {
		return nil, fmt.Errorf("there is no code")
	}
	return r, nil
}
