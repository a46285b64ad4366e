package conform_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/conform"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// TestMain lets more tests run side by side than there are processors, unless
// -parallel says otherwise: a walk waits for as long as it computes.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// walkModel walks the model and returns what failed, by rule.
func walkModel(t *testing.T, o conform.Options, mutations ...mutation) (*conform.Report, string) {
	t.Helper()
	s, _ := newModel(t, mutations...)
	var out strings.Builder
	o.URL, o.User, o.Password, o.Out = s.URL+"/", modelUser, modelPassword, &out
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	report, err := conform.Run(t.Context(), o)
	if err != nil {
		require.ErrorIs(t, err, conform.ErrStopped)
	}
	return report, out.String()
}

func failures(r *conform.Report) (lines []string) {
	for _, result := range r.Results {
		if result.Outcome == conform.Failed {
			lines = append(lines, result.Section+", "+result.Format.String()+": "+result.String())
		}
	}
	return lines
}

func TestTheModelConforms(t *testing.T) {
	report, out := walkModel(t, conform.Options{Publish: true})
	require.Empty(t, failures(report))
	require.Greater(t, report.Count(conform.OK), 500)
	seen := make(map[string]bool)
	for _, r := range report.Results {
		if r.Outcome == conform.OK {
			seen[r.Rule.ID] = true
			require.Contains(t, out, r.String())
		}
	}
	for _, rule := range conform.Rules() {
		require.True(t, seen[rule.ID], "a walk of a server that has everything checks %s", rule.ID)
	}
}

// TestALargeDistributionGroupConforms refuses to expand one and to subscribe to
// it, as the protocol has it.
func TestALargeDistributionGroupConforms(t *testing.T) {
	large := refuse("Forbidden", "TooManyContacts")
	report, _ := walkModel(t, conform.Options{}, at("/expandDistributionGroup", large), asked("groupId=all", on("POST", large)))
	require.Empty(t, failures(report))
	for _, rule := range []string{"href.works", "groups.expansion", "subscriptions.group", "both.properties"} {
		require.True(t, slices.ContainsFunc(report.Results, func(r conform.Result) bool {
			return r.Rule.ID == rule && r.Where == "distributionGroup" && r.Outcome == conform.OK
		}), rule)
	}
}

// TestDemoConforms walks demonstrations of several sizes: 60 people have guests
// among them, and of 1,000 the groups are too large to be expanded. The walks
// wait for events most of the time; therefore they go on side by side, each with
// a demonstration of its own.
func TestDemoConforms(t *testing.T) {
	t.Parallel()
	type try struct {
		name    string
		users   int
		options conform.Options
		lines   []string
		err     error
	}
	var tries []*try
	for _, users := range []int{60, 200, 1000} {
		for name, o := range map[string]conform.Options{
			"JSON":         {Formats: []conform.Format{conform.JSON}, Publish: true},
			"XML":          {Formats: []conform.Format{conform.XML}, Publish: true},
			"JSON and XML": {Only: []string{"both"}},
		} {
			tries = append(tries, &try{name: fmt.Sprintf("%d people, %s", users, name), users: users, options: o})
		}
	}
	var wg sync.WaitGroup
	for _, one := range tries {
		wg.Go(func() { one.lines, one.err = walkDemo(t.Context(), one.users, one.options) })
	}
	wg.Wait()
	for _, one := range tries {
		require.NoError(t, one.err, one.name)
		require.Empty(t, strings.Join(one.lines, "\n"), one.name)
	}
}

// walkDemo walks a demonstration of so many people and returns what failed.
func walkDemo(ctx context.Context, users int, o conform.Options) (lines []string, err error) {
	d, err := demo.Start(ctx, demo.Options{Still: true, Users: users})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close(context.WithoutCancel(ctx))) }()
	o.URL, o.User, o.Password = d.BaseURL+"/", d.Username, d.Password
	report, err := conform.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	return failures(report), nil
}

// TestAReportTellsWhatWasAsked looks at the lines that people read.
func TestAReportTellsWhatWasAsked(t *testing.T) {
	report, out := walkModel(t, conform.Options{})
	for _, want := range []string{
		"ok   GET people with X-MS-RequiresMinResourceVersion 2.0: X-MS-RequiresMinResourceVersion 1, 2 and 2.0 are accepted everywhere (ucwa: resource versioning) [versioning.accepted]\n",
		"ok   error body of POST applications: subcode is an ErrorSubcode (ucwa: synchronous errors) [enums.error-subcode]\n",
		"ok   GET application without Accept: who accepts anything,",
		"ok   every request: a request gets an answer (ucwa: HTTP) [headers.answer]\n",
		"skip note: POST on note answers 204, note updated follows, and GET shows the message (ucwa: note) [me.publish]: nothing is published without --publish\n",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "XML has no arrays")
	require.Equal(t, 2, strings.Count(out, "[challenge.parameters]"), "once in JSON and once in XML")
	for _, r := range report.Results {
		require.NotRegexp(t, `^([0-9.]+|all|none|a resource)$`, r.Where, r.Rule.ID)
	}
	require.Regexp(t, `(?m)^section +ok +skip +FAIL$`, report.Summary())
	require.Regexp(t, `(?m)^me +[1-9][0-9]* +2 +0$`, report.Summary())
	require.Regexp(t, `\n[0-9]+ checks: [0-9]+ ok, 2 skipped, 0 failed$`, report.Summary())
}

func TestAQuietReportTellsWhatFailedAndWhatWasNotChecked(t *testing.T) {
	_, out := walkModel(t, conform.Options{Quiet: true, Patience: time.Second}, swap(`"Workgroup"`, `"Friends"`))
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	require.NotEmpty(t, lines)
	require.Equal(t, "# resources, JSON", lines[0])
	require.Contains(t, out, "[enums.relationship-level]: ")
	require.Equal(t, "# not checked", lines[len(lines)-2])
	require.Contains(t, lines[len(lines)-1], "[me.publish]: nothing is published without --publish")
	require.NotRegexp(t, `(?m)^ok`, out)

	_, out = walkModel(t, conform.Options{Quiet: true, Publish: true})
	require.Empty(t, out, "a server that keeps every rule leaves nothing to tell")
}

func TestTheRulesAreListed(t *testing.T) {
	var b strings.Builder
	require.NoError(t, conform.List(&b))
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	require.Len(t, lines, len(conform.Rules()))
	for i, r := range conform.Rules() {
		require.Regexp(t, `^`+regexp.QuoteMeta(r.ID)+` +`+string(r.Class)+` +`+regexp.QuoteMeta(r.Says+" (ucwa: "+r.Source+")")+`$`, lines[i])
	}
}

func TestWhatCannotBeWalkedIsExplained(t *testing.T) {
	for name, e := range map[string]struct {
		options conform.Options
		want    []string
	}{
		"a URL without a scheme":      {conform.Options{URL: "127.0.0.1:18431"}, []string{`"127.0.0.1:18431"`, "http:// or https://"}},
		"a host without a scheme":     {conform.Options{URL: "localhost"}, []string{"http:// or https://"}},
		"a URL without a host":        {conform.Options{URL: "https:///root"}, []string{"and a host"}},
		"another scheme":              {conform.Options{URL: "ftp://localhost/"}, []string{"http:// or https://"}},
		"no URL":                      {conform.Options{}, []string{"http:// or https://"}},
		"a section that there is not": {conform.Options{URL: "http://localhost/", Only: []string{"everything"}}, []string{`"everything"`, "sections are sign-in, token,", "classes are discovery, challenge,", "id of a rule is in brackets on every line"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := conform.Run(t.Context(), e.options)
			require.Equal(t, e.options.Check(), err)
			for _, want := range e.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestOnlyWhatIsAskedForIsWalked(t *testing.T) {
	for name, e := range map[string]struct {
		only     []string
		sections []string
		rules    func(conform.Rule) bool
	}{
		"a class":   {[]string{"versioning"}, []string{"versioning"}, func(r conform.Rule) bool { return r.Class == conform.ClassVersioning }},
		"a rule":    {[]string{"batch.order"}, []string{"batch"}, func(r conform.Rule) bool { return r.ID == "batch.order" }},
		"a section": {[]string{"Sign-In"}, []string{"sign-in"}, func(conform.Rule) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			report, _ := walkModel(t, conform.Options{Only: e.only, Formats: []conform.Format{conform.JSON}})
			require.NotEmpty(t, report.Results)
			for _, r := range report.Results {
				require.Contains(t, append(e.sections, "resources"), r.Section)
				require.True(t, e.rules(r.Rule), r.Rule.ID)
			}
		})
	}
}

func TestAWalkEndsWhereItCannotGoOn(t *testing.T) {
	for name, e := range map[string]struct {
		rule string
		f    mutation
	}{
		"there is nobody at the address":         {"headers.answer", func(*http.Request, *reply) { panic(http.ErrAbortHandler) }},
		"the right password is refused":          {"token.status", at("token", status(200, 400))},
		"the token is not for user":              {"discovery.user", at("/user", status(200, 401))},
		"a refusal has no diagnostics":           {"token.diagnostics", at("token", set("X-Ms-diagnostics", ""))},
		"a token is text":                        {"token.content-type", at("token", set("Content-Type", "text/plain"))},
		"discovery is at a place without a name": {"discovery.root", at("/", status(200, 404))},
	} {
		t.Run(name, func(t *testing.T) {
			report, _ := walkModel(t, conform.Options{Only: []string{"sign-in", "token", "headers.answer"}, Formats: []conform.Format{conform.JSON}}, e.f)
			require.Contains(t, strings.Join(failures(report), "\n"), "["+e.rule+"]")
		})
	}
}

// TestNothingIsLeftBehind counts the applications and looks at the note of the
// model after a walk.
func TestNothingIsLeftBehind(t *testing.T) {
	s, m := newModel(t)
	m.note = "out for lunch"
	_, err := conform.Run(t.Context(), conform.Options{URL: s.URL + "/", User: modelUser, Password: modelPassword, Publish: true, Patience: time.Second})
	require.NoError(t, err)
	require.Empty(t, m.apps)
	require.Positive(t, m.last)
	require.Equal(t, "out for lunch", m.note)
	require.Contains(t, m.notes, "out for lunch")
	require.Greater(t, len(m.notes), 1)

	s, m = newModel(t)
	_, err = conform.Run(t.Context(), conform.Options{URL: s.URL + "/", User: modelUser, Password: modelPassword, Patience: time.Second})
	require.NoError(t, err)
	require.Empty(t, m.notes, "nothing is published unasked")
}

// TestTheTokenStaysAtHome lets the server link another host.
func TestTheTokenStaysAtHome(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	report, _ := walkModel(t, conform.Options{Only: []string{"href"}, Formats: []conform.Format{conform.JSON}}, at("/people", swapMatch(`"(/ucwa[^"]*/contacts)"`, `"`+thief.URL+`$1"`)))
	require.NotEmpty(t, failures(report))
	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, seen)
	require.Empty(t, strings.Join(seen, ""))
}

func TestAReportIsTheSameEveryTime(t *testing.T) {
	s, _ := newModel(t)
	print := func() string {
		var out strings.Builder
		_, err := conform.Run(t.Context(), conform.Options{URL: s.URL + "/", User: modelUser, Password: modelPassword, Out: &out, Patience: time.Second})
		require.NoError(t, err)
		return out.String()
	}
	require.Equal(t, print(), print())
}

func TestTheTableOfRules(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range conform.Rules() {
		require.False(t, seen[r.ID], "%s is there once", r.ID)
		seen[r.ID] = true
		require.Regexp(t, `^`+string(r.Class)+`\.[a-z0-9-]+$`, r.ID)
		require.NotEmpty(t, r.Says)
		require.NotEmpty(t, r.Source)
		require.NotContains(t, r.Says, "\n")
	}
}
