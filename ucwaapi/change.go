package ucwaapi

import (
	"net/http"
	"strings"

	"ucwagate/gateway"
)

// Change is a user's attempt to change what others see of them, or their contact
// list, as Options.OnChange is told of it. It never has the text of a note or of
// a location.
type Change struct {
	// Action is the operation, one of Actions.
	Action string
	// Value is what it was to become, from a closed set: an availability or
	// "reset" for presence, "set" or "cleared" for note and location; else
	// empty.
	Value string
	// About is the address of whom or what a change of the contact list
	// concerns; empty where it concerns nobody, or names no address.
	About string
	// Who tried it, in which application.
	Principal   gateway.Principal
	Application string
	// Result is how it ended, and Code the error code of the answer if it is
	// not ChangeOK.
	Result ChangeResult
	Code   string
}

// ChangeResult is how an attempt to change something ended.
type ChangeResult string

// The results. Of a change that has failed it may be unknown whether it is in
// force: an answer that did not come in time may have been a yes.
const (
	ChangeOK      ChangeResult = "ok"
	ChangeRefused ChangeResult = "refused" // the user may not, or not so: 4xx
	ChangeFailed  ChangeResult = "failed"  // 5xx, or the client has left
)

// The words of Change.Value besides availabilities.
const (
	valueReset   = "reset"
	valueSet     = "set"
	valueCleared = "cleared"
)

// changes is row for an operation that OnChange is told of.
func changes(action string, r Route) Route {
	r.action = action
	return r
}

// Actions returns every action of a Change.
func Actions() []string {
	var list []string
	seen := make(map[string]bool)
	for i := range routes {
		if a := routes[i].action; a != "" && !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	return list
}

// serveChange runs a handler that changes something and tells of it.
func (s *Server) serveChange(k *call) error {
	// Told also of a handler that panics, as one that has failed.
	k.change = &Change{Action: k.route.action, Principal: k.principal, Application: k.app.ID, Result: ChangeFailed}
	defer func() { s.onChange(k.Request(), *k.change) }()
	err := k.route.serve(s, k)
	k.change.Result, k.change.Code = outcome(k.Request(), err)
	return err
}

func outcome(r *http.Request, err error) (ChangeResult, string) {
	if err == nil {
		return ChangeOK, ""
	}
	if clientGone(r.Context(), err) {
		return ChangeFailed, ""
	}
	row, _, _ := describe(err)
	code := row.code
	if row.subcode != "" {
		code += "/" + row.subcode
	}
	if row.status >= http.StatusInternalServerError {
		return ChangeFailed, code
	}
	return ChangeRefused, code
}

// becomes says what a change is to make of something, if anybody is told of it.
func (k *call) becomes(value string) {
	if k.change != nil {
		k.change.Value = value
	}
}

// concerns says whom or what a change is about. What is no address is left out:
// it could be anything.
func (k *call) concerns(address string) {
	if k.change != nil {
		k.change.About, _ = gateway.CleanAddress(address)
	}
}

func setOrCleared(text string) string {
	if strings.TrimSpace(text) == "" {
		return valueCleared
	}
	return valueSet
}
