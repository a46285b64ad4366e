package conform

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Format is a representation.
type Format int

// The representations. Both is none of its own: it stands for checks that
// compare the two.
const (
	JSON Format = iota
	XML
	Both
)

func (f Format) String() string { return [...]string{"JSON", "XML", "JSON and XML"}[f] }

// Options describe a walk.
type Options struct {
	// URL is where discovery begins, such as https://lyncdiscover.contoso.com/.
	URL string
	// User and Password sign in with the grant type password.
	User, Password string
	// Formats are the representations to walk in: JSON, XML, or both (the
	// default), which are then compared too.
	Formats []Format
	// Only limits the walk to these classes, sections or rules, by name; empty
	// means all.
	Only []string
	// Publish allows to change the user's note; it is restored.
	Publish bool
	// HTTP is the transport; nil makes one. It is used without compression and
	// redirects of its own, and not for what must be read as raw bytes.
	HTTP *http.Transport
	// Quiet limits the report to what failed and, at its end, the skips of rules
	// that were checked nowhere.
	Quiet bool
	// Out takes the report, line by line; nil discards it.
	Out io.Writer
	// Patience is how long an expected event may take (default 30 s).
	Patience time.Duration
}

const (
	defaultPatience = 30 * time.Second
	// tidyTime bounds the cleaning up after a walk.
	tidyTime = 15 * time.Second
)

// ErrStopped says that the walk could not go on, because it got no token or no
// application; the report says why.
var ErrStopped = errors.New("the walk could not go on")

// run is what all walks of one call share.
type run struct {
	Options
	recorder
	http           *http.Client
	base           *url.URL
	token, service string // the Authorization header; the token service
	// tidy are the applications to end.
	tidy []string
}

// walk is a run in one representation.
type walk struct {
	*run
	format       Format
	root, user   *node
	applications string // href
	appAnswer    *answer
	app          *node // the application of the walk
	cookie       string
	contactNodes []*node // some people, once they were read
}

// Run walks a server and returns what it found. The error says why a walk could
// not go on; failed checks are no error.
func Run(ctx context.Context, o Options) (*Report, error) {
	base, err := o.check()
	if err != nil {
		return nil, err
	}
	if len(o.Formats) == 0 {
		o.Formats = []Format{JSON, XML}
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	r := &run{Options: o, base: base, recorder: recorder{rules: index(), only: o.Only, w: o.Out, quiet: o.Quiet}}
	r.http = newHTTPClient(o.HTTP)
	defer r.http.CloseIdleConnections()
	defer r.clean(context.WithoutCancel(ctx))
	for _, f := range o.Formats {
		if err := r.walk(ctx, f); err != nil {
			return &r.report, errors.Join(err, r.end())
		}
	}
	return &r.report, r.end()
}

// Check says what is wrong with the URL or with Only, before anything is sent.
func (o *Options) Check() error {
	_, err := o.check()
	return err
}

func (o *Options) check() (*url.URL, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("the URL %q must begin with http:// or https:// and a host, such as https://lyncdiscover.contoso.com/", o.URL)
	}
	return base, checkOnly(o.Only)
}

// section is a stretch of a walk.
type section struct {
	name    string
	classes []Class // whose rules it checks beside those of every answer
	run     func(*walk, context.Context)
	once    bool // and not in every representation
	both    bool // only if both representations are asked for
}

// sections returns the stretches in their order. The first and the last are
// always walked.
func sections() []section {
	return []section{
		{"sign-in", []Class{ClassDiscovery, ClassChallenge, ClassToken, ClassXFrame}, (*walk).signIn, false, false},
		{"token", []Class{ClassToken}, (*walk).tokenService, true, false},
		{"xframe", []Class{ClassXFrame}, (*walk).xframe, true, false},
		{"application", []Class{ClassApplication}, (*walk).application, false, false},
		{"resources", slices.Concat(everyAnswer, []Class{ClassContacts, ClassGroups, ClassStubs, ClassPolicies, ClassSubscriptions, ClassMe, ClassApplication}), (*walk).resources, false, false},
		{"both", []Class{ClassBoth}, (*walk).compareAll, true, true},
		{"headers", []Class{ClassHeaders}, (*walk).headers, false, false},
		{"contacts", []Class{ClassContacts, ClassHref}, (*walk).contacts, false, false},
		{"groups", []Class{ClassGroups}, (*walk).groups, false, false},
		{"search", []Class{ClassSearch}, (*walk).search, false, false},
		{"photos", []Class{ClassPhotos}, (*walk).photos, true, false},
		{"stubs", []Class{ClassStubs, ClassPolicies}, (*walk).stubs, false, false},
		{"subscriptions", []Class{ClassSubscriptions, ClassContacts, ClassDeletion}, (*walk).subscriptions, false, false},
		{"events", []Class{ClassEvents}, (*walk).events, false, false},
		{"me", []Class{ClassMe}, (*walk).me, false, false},
		{"batch", []Class{ClassBatch}, (*walk).batch, false, false},
		{"errors", []Class{ClassErrors}, (*walk).errors, false, false},
		{"versioning", []Class{ClassVersioning}, (*walk).versioning, false, false},
		{"tolerance", []Class{ClassTolerance}, (*walk).tolerance, false, false},
		{"deletion", []Class{ClassDeletion, ClassTolerance}, (*walk).deletion, false, false},
	}
}

// everyAnswer are the classes that are checked on every answer.
var everyAnswer = []Class{ClassHref, ClassTypes, ClassEnums, ClassArrays, ClassDates, ClassNulls, ClassIdentity, ClassJSON, ClassXML, ClassHeaders}

// Sections returns the names of the stretches of a walk, in their order.
func Sections() []string {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return names
}

func (r *run) walk(ctx context.Context, f Format) error {
	w := &walk{run: r, format: f}
	for _, s := range sections() {
		if !r.asked(&s) || s.once && f != r.Formats[0] || s.both && len(r.Formats) < 2 {
			continue
		}
		shown := f
		if s.both {
			shown = Both
		}
		if err := r.begin(s.name, shown); err != nil {
			return err
		}
		s.run(w, ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case s.name == "sign-in" && w.applications == "":
			return fmt.Errorf("%w: no way to the applications of %s", ErrStopped, r.User)
		case s.name == "application" && w.app == nil:
			return fmt.Errorf("%w: no application", ErrStopped)
		}
	}
	return nil
}

// asked says whether a section is to be walked.
func (r *run) asked(s *section) bool {
	if len(r.Only) == 0 || s.name == "sign-in" || s.name == "application" {
		return true
	}
	for _, o := range r.Only {
		if strings.EqualFold(o, s.name) || slices.ContainsFunc(s.classes, func(c Class) bool { return strings.EqualFold(o, string(c)) }) {
			return true
		}
		if rule, ok := r.rules[strings.ToLower(o)]; ok && slices.Contains(s.classes, rule.Class) {
			return true
		}
	}
	return false
}

// checkOnly refuses names that are none.
func checkOnly(only []string) error {
	known := make(map[string]bool)
	for _, s := range Sections() {
		known[s] = true
	}
	for _, r := range Rules() {
		known[r.ID], known[string(r.Class)] = true, true
	}
	for _, o := range only {
		if !known[strings.ToLower(o)] {
			return fmt.Errorf("there is no section, class or rule %q; the sections are %s; the classes are %s; the id of a rule is in brackets on every line, and --list prints all",
				o, strings.Join(Sections(), ", "), strings.Join(Classes(), ", "))
		}
	}
	return nil
}

// clean ends the applications that are left.
func (r *run) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	w := &walk{run: r, format: JSON}
	for _, href := range r.tidy {
		w.send(ctx, request{method: http.MethodDelete, href: href}) // it ends by itself if this fails
	}
}

// check records whether a rule is kept. seen tells what was seen if it is not.
func (w *walk) check(id, where string, kept bool, seen string, args ...any) bool {
	if kept {
		w.note(id, where, OK, "")
	} else {
		w.note(id, where, Failed, fmt.Sprintf(seen, args...))
	}
	return kept
}

// skip records why rules could not be checked.
func (w *walk) skip(where, why string, ids ...string) {
	for _, id := range ids {
		w.note(id, where, Skipped, why)
	}
}

// unique returns a name that nobody else uses.
func unique(prefix string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return prefix + hex.EncodeToString(b[:])
}
