package conform_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/conform"
)

// at limits a mutation to the paths that end so.
func at(suffix string, f mutation) mutation {
	return func(r *http.Request, res *reply) {
		if strings.HasSuffix(r.URL.Path, suffix) {
			f(r, res)
		}
	}
}

// on limits a mutation to a method.
func on(method string, f mutation) mutation {
	return func(r *http.Request, res *reply) {
		if r.Method == method {
			f(r, res)
		}
	}
}

// swap replaces text in every body.
func swap(old, with string) mutation {
	return func(_ *http.Request, res *reply) {
		res.body = []byte(strings.ReplaceAll(string(res.body), old, with))
	}
}

// swapMatch replaces what matches a pattern in every body.
func swapMatch(pattern, with string) mutation {
	re := regexp.MustCompile(pattern)
	return func(_ *http.Request, res *reply) { res.body = re.ReplaceAll(res.body, []byte(with)) }
}

// set sets a header; an empty value takes it away.
func set(name, value string) mutation {
	return func(_ *http.Request, res *reply) {
		delete(res.header, name)
		if value != "" {
			res.header[name] = []string{value}
		}
	}
}

// status changes one status to another.
func status(from, to int) mutation {
	return func(_ *http.Request, res *reply) {
		if res.status == from {
			res.status = to
		}
	}
}

// when limits a mutation to answers with a status.
func when(code int, f mutation) mutation {
	return func(r *http.Request, res *reply) {
		if res.status == code {
			f(r, res)
		}
	}
}

// ucwa limits a mutation to what is below the applications, photos excepted.
func ucwa(f mutation) mutation {
	return func(r *http.Request, res *reply) {
		if strings.Contains(r.URL.Path, "/ucwa/") && res.status != http.StatusUnauthorized && !strings.Contains(r.URL.Path, "/photos/") {
			f(r, res)
		}
	}
}

// asked limits a mutation to requests with a query parameter.
func asked(query string, f mutation) mutation {
	return func(r *http.Request, res *reply) {
		if strings.Contains(r.URL.RawQuery, query) {
			f(r, res)
		}
	}
}

// pretend answers with something else.
func pretend(code int, body string) mutation {
	return func(_ *http.Request, res *reply) { res.status, res.body = code, []byte(body) }
}

// brokenServer is one broken answer: the rule that must be found broken, and
// what else is broken by it.
type brokenServer struct {
	rule   string
	f      mutation
	format conform.Format
	also   []string
}

func TestABrokenRuleIsFound(t *testing.T) {
	t.Parallel()
	for name, b := range allBroken() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, _ := walkModel(t, conform.Options{Formats: []conform.Format{b.format}, Publish: true, Patience: time.Second}, b.f)
			var broken []string
			for _, r := range report.Results {
				if r.Outcome == conform.Failed {
					broken = append(broken, r.Rule.ID)
				}
			}
			require.Contains(t, broken, b.rule, "%s", strings.Join(failures(report), "\n"))
			for _, id := range broken {
				require.True(t, id == b.rule || slices.Contains(b.also, id), "%s is not concerned: %s", id, strings.Join(failures(report), "\n"))
			}
		})
	}
}

func TestWhatDiffersBetweenTheRepresentationsIsFound(t *testing.T) {
	for name, b := range map[string]struct {
		rule string
		f    mutation
	}{
		"a property is only in JSON":            {"both.properties", swap(`<property name="deviceType">PC</property>`, "")},
		"a property is only in XML":             {"both.properties", swap(`"activity":"in-a-meeting",`, "")},
		"a property has another value in XML":   {"both.properties", swap(`name="availability">Busy`, `name="availability">Away`)},
		"a date is another instant in XML":      {"both.properties", swap(`2023-11-14T22:13:20.1230000Z`, `2023-11-14T22:13:21.1230000Z`)},
		"a link is only in JSON":                {"both.links", swapMatch(`<link rel="contactNote"[^>]*>`, "")},
		"a resource is embedded in JSON only":   {"both.embedded", at("/contacts", swapMatch(`<resource rel="contact".*</resource></resource>`, "</resource>"))},
		"a group is too large in XML only":      {"both.properties", at("/expandDistributionGroup", onlyXML(refuse("Forbidden", "TooManyContacts")))},
		"an item of a list is missing in XML":   {"both.properties", swap(`<item>Messaging</item>`, "")},
		"a resource has another address in XML": {"both.properties", at("/presence", swap(`/presence" xmlns`, `/contactPresence" xmlns`))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, _ := walkModel(t, conform.Options{Only: []string{"both"}}, b.f)
			require.Contains(t, strings.Join(failures(report), "\n"), "["+b.rule+"]")
		})
	}
}
