package graphsim

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"ucwagate/graphsrc/graphsim/people"
)

// controlHandler serves what stands outside of Graph: setting presence and
// faults, and reading the truth. It asks for no token and must only be
// reachable by whoever runs the simulator.
func (t *Tenant) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sim/presence", t.controlTruth)
	mux.HandleFunc("POST /sim/presence", t.controlSet)
	mux.HandleFunc("GET /sim/presence/{user}", t.controlOne)
	mux.HandleFunc("DELETE /sim/presence/{user}", t.controlRelease)
	mux.HandleFunc("POST /sim/users", t.controlUser)
	mux.HandleFunc("POST /sim/users/{user}/revoke", t.controlRevoke)
	mux.HandleFunc("POST /sim/device/{user_code}", t.controlDevice)
	mux.HandleFunc("GET /sim/subscriptions", t.controlSubscriptions)
	mux.HandleFunc("POST /sim/subscriptions/{id}/lifecycle", t.controlLifecycle)
	mux.HandleFunc("GET /sim/faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, t.Faults()) })
	mux.HandleFunc("PUT /sim/faults", t.controlFaults)
	mux.HandleFunc("GET /sim/stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, t.Stats()) })
	mux.HandleFunc("POST /sim/stats/reset", func(w http.ResponseWriter, _ *http.Request) {
		t.ResetStats()
		writeJSON(w, http.StatusOK, t.Stats())
	})
	return mux
}

func controlError(w http.ResponseWriter, status int, format string, args ...any) {
	writeJSON(w, status, map[string]string{"error": fmt.Sprintf(format, args...)})
}

// truth is a user's presence as the control endpoints tell it.
type truth struct {
	ID                 string `json:"id"`
	URI                string `json:"uri"`
	Availability       string `json:"availability"`
	Activity           string `json:"activity"`
	StatusMessage      string `json:"statusMessage,omitempty"`
	OutOfOffice        bool   `json:"outOfOffice,omitempty"`
	OutOfOfficeMessage string `json:"outOfOfficeMessage,omitempty"`
	WorkLocation       string `json:"workLocation,omitempty"`
}

func (t *Tenant) truthOf(index int) truth {
	p := t.presences.read([]int{index})[0]
	return truth{
		ID: p.ID, URI: t.uri(index), Availability: p.Availability, Activity: p.Activity,
		StatusMessage: p.StatusMessage, OutOfOffice: p.OutOfOffice, OutOfOfficeMessage: p.OutOfOfficeMessage,
		WorkLocation: p.WorkLocation.Type,
	}
}

func (t *Tenant) uri(index int) string { return "sip:" + t.dir.Person(index).Address() }

// truthChunk is how many users are read at once for the streamed list.
const truthChunk = 1000

// controlTruth streams the presence of everyone.
func (t *Tenant) controlTruth(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	out := bufio.NewWriterSize(w, 64<<10)
	separator := "["
	var line []byte
	for from := 0; from < t.dir.Len() && r.Context().Err() == nil; from += truthChunk {
		var indexes []int
		for index := from; index < min(from+truthChunk, t.dir.Len()); index++ {
			if t.dir.Present(index) {
				indexes = append(indexes, index)
			}
		}
		for i, p := range t.presences.read(indexes) {
			line = append(line[:0], separator...)
			separator = ",\n"
			line = object{
				{"id", p.ID}, {"uri", t.uri(indexes[i])}, {"availability", p.Availability}, {"activity", p.Activity},
			}.append(line)
			if _, err := out.Write(line); err != nil {
				return
			}
		}
	}
	if separator == "[" {
		_, _ = out.WriteString(separator) // the error is kept by the writer
	}
	_, _ = out.WriteString("]\n")
	_ = out.Flush() // a client that left is no error of ours
}

// order is the body of POST /sim/presence. Absent members change nothing; an
// availability without an activity stands for both.
type order struct {
	User               string  `json:"user"`
	Availability       string  `json:"availability"`
	Activity           string  `json:"activity"`
	StatusMessage      *string `json:"statusMessage"`
	OutOfOffice        *bool   `json:"outOfOffice"`
	OutOfOfficeMessage *string `json:"outOfOfficeMessage"`
	WorkLocation       *string `json:"workLocation"`
	Release            bool    `json:"release"`
}

// workLocations are the values of workLocationType.
var workLocations = map[string]bool{"": true, "unspecified": true, "office": true, "remote": true, "timeOff": true}

func (o order) validate() error {
	switch {
	case o.User == "":
		return errors.New(`"user" is missing: an address or an object id`)
	case o.Availability == "" && o.Activity != "":
		return errors.New(`"availability" is missing: it goes with "activity"`)
	case o.WorkLocation != nil && !workLocations[*o.WorkLocation]:
		return fmt.Errorf(`"workLocation" %q: allowed are unspecified, office, remote, timeOff and an empty text for none`, *o.WorkLocation)
	case o.Availability == "" && !o.Release && o.StatusMessage == nil && o.OutOfOffice == nil && o.OutOfOfficeMessage == nil && o.WorkLocation == nil:
		return errors.New(`nothing to set: "availability" and "activity", "statusMessage", "outOfOffice", "outOfOfficeMessage", "workLocation" or "release"`)
	}
	return nil
}

// apply edits everything an order names in one change.
func (o order) apply(to *overlay, now time.Time) {
	if o.Release {
		release(to, now)
	}
	if o.Availability != "" {
		pin(o.Availability, or(o.Activity, o.Availability))(to, now)
	}
	if o.StatusMessage != nil {
		to.note = &note{text: *o.StatusMessage, published: now}
	}
	if o.OutOfOffice != nil || o.OutOfOfficeMessage != nil {
		var set outOfOffice
		if to.office != nil {
			set = *to.office
		}
		if o.OutOfOfficeMessage != nil {
			set.message, set.on = *o.OutOfOfficeMessage, true
		}
		if o.OutOfOffice != nil {
			set.on = *o.OutOfOffice
		}
		to.office = &set
	}
	if o.WorkLocation != nil {
		to.location = &WorkLocation{}
		if *o.WorkLocation != "" {
			to.location = &WorkLocation{Type: *o.WorkLocation, Source: "manual"}
		}
	}
}

func readControl(w http.ResponseWriter, r *http.Request, v any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		controlError(w, http.StatusBadRequest, "reading the body: %v", err)
		return false
	}
	return true
}

func (t *Tenant) controlSet(w http.ResponseWriter, r *http.Request) {
	var o order
	if !readControl(w, r, &o) {
		return
	}
	if err := o.validate(); err != nil {
		controlError(w, http.StatusBadRequest, "%v", err)
		return
	}
	index, ok := t.controlFind(w, o.User)
	if !ok {
		return
	}
	t.presences.change(index, o.apply)
	writeJSON(w, http.StatusOK, t.truthOf(index))
}

func (t *Tenant) controlFind(w http.ResponseWriter, name string) (int, bool) {
	index, ok := t.dir.Find(name)
	if !ok {
		controlError(w, http.StatusNotFound, "no user %q", name)
	}
	return index, ok
}

func (t *Tenant) controlOne(w http.ResponseWriter, r *http.Request) {
	if index, ok := t.controlFind(w, pathUser(r)); ok {
		writeJSON(w, http.StatusOK, t.truthOf(index))
	}
}

func (t *Tenant) controlRelease(w http.ResponseWriter, r *http.Request) {
	if index, ok := t.controlFind(w, pathUser(r)); ok {
		t.presences.change(index, release)
		writeJSON(w, http.StatusOK, t.truthOf(index))
	}
}

// pathUser is the user a path names, unescaped once more for clients that
// escape an address twice.
func pathUser(r *http.Request) string {
	name := r.PathValue("user")
	if again, err := url.PathUnescape(name); err == nil {
		return again
	}
	return name
}

// controlUser renames, removes and restores users.
func (t *Tenant) controlUser(w http.ResponseWriter, r *http.Request) {
	var body struct {
		User        string `json:"user"`
		DisplayName string `json:"displayName"`
		Remove      bool   `json:"remove"`
		Restore     bool   `json:"restore"`
	}
	if !readControl(w, r, &body) {
		return
	}
	index, ok := t.dir.Find(body.User)
	if !ok && body.Restore {
		index, ok = t.removed(body.User)
	}
	if !ok {
		controlError(w, http.StatusNotFound, "no user %q", body.User)
		return
	}
	var err error
	switch {
	case body.Remove:
		err = t.dir.Remove(index)
	case body.Restore:
		err = t.dir.Restore(index)
	case body.DisplayName != "":
		err = t.dir.Rename(index, body.DisplayName)
	default:
		err = errors.New(`nothing to do: "displayName", "remove" or "restore"`)
	}
	if err != nil {
		controlError(w, http.StatusBadRequest, "%v", err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"id": t.dir.Person(index).ID(), "displayName": t.dir.Person(index).DisplayName()})
}

// removed finds a removed user by object id.
func (t *Tenant) removed(id string) (int, bool) {
	if !people.IsGUID(id) {
		return 0, false
	}
	candidates := t.dir.Candidates(id)
	if len(candidates) != 1 {
		return 0, false
	}
	return candidates[0], true
}

func (t *Tenant) controlFaults(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		controlError(w, http.StatusBadRequest, "reading the body: %v", err)
		return
	}
	f, err := parseFaults(raw, t.faults.routes)
	if err != nil {
		controlError(w, http.StatusBadRequest, "%v", err)
		return
	}
	t.faults.set(f)
	writeJSON(w, http.StatusOK, f)
}
