package conform_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/conform"
	"ucwagate/cmd/ucwagate/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func TestDemoConforms(t *testing.T) {
	d, err := demo.Start(t.Context(), demo.Options{Still: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close(context.WithoutCancel(t.Context()))) }()
	report, err := conform.Run(t.Context(), conform.Options{URL: d.BaseURL + "/", User: d.Username, Password: d.Password, Publish: true})
	require.NoError(t, err)
	require.Empty(t, strings.Join(failures(report), "\n"))
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
	_, err := conform.Run(t.Context(), conform.Options{URL: "http://localhost/", Only: []string{"everything"}})
	require.ErrorContains(t, err, `"everything"`)
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
