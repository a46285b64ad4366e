package documents

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
)

// source is the text of the program without its tests.
func source(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, path := range files(t, ".go") {
		if !strings.HasSuffix(path, "_test.go") {
			b.WriteString(read(t, path))
		}
	}
	return b.String()
}

// options are what a page may call an option: the key, the key of a section, or
// the end of either where it is clear which.
func options() []string {
	var all []string
	for _, o := range config.Options() {
		parts := strings.Split(o.Key, ".")
		for i := range parts {
			for j := i + 1; j <= len(parts); j++ {
				all = append(all, strings.Join(parts[i:j], "."))
			}
		}
	}
	return all
}

// sections begin the names of options.
func sections() []string {
	var all []string
	for _, o := range config.Options() {
		parts := strings.Split(o.Key, ".")
		for _, part := range parts[:len(parts)-1] {
			all = append(all, regexp.QuoteMeta(part))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// named finds the options that a text names: in backquotes, whatever is set
// behind them.
func named(text string) []string {
	pattern := regexp.MustCompile("`((?:" + strings.Join(sections(), "|") + `)\.[a-z_.\[\]]+)(?:: [^` + "`" + `]*)?` + "`")
	var all []string
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func TestEveryOptionThatAPageNamesExists(t *testing.T) {
	t.Parallel()
	known, found := options(), 0
	for _, p := range pages(t) {
		for _, name := range named(p.text) {
			require.Contains(t, known, name, p.path)
			found++
		}
	}
	require.Greater(t, found, 100)
	require.Equal(t, []string{"server.no_such", "tenants[].budget.limit", "presence.publish", "budget.rate"},
		named("`server.no_such` `tenants[].budget.limit` `presence.publish: false` `budget.rate` `server` server.listen"))
	require.NotContains(t, known, "server.no_such")
}

var metric = regexp.MustCompile("`ucwagate_([a-z_]+)`")

func TestEveryMetricThatAPageNamesExists(t *testing.T) {
	t.Parallel()
	text, found := read(t, "cmd/ucwagate/internal/metrics/testdata/scrape.txt"), 0
	for _, p := range pages(t) {
		for _, m := range metric.FindAllStringSubmatch(p.text, -1) {
			require.Contains(t, text, "# HELP ucwagate_"+m[1]+" ", p.path)
			found++
		}
	}
	require.Greater(t, found, 5)
}

// message matches what a page quotes of the log: several words in lower case,
// or beginning with a name, in backquotes, and nothing that is typed or set.
var message = regexp.MustCompile("`((?:[a-z]+|Graph)(?: [A-Za-z'-]+[,;:]?){3,}|Graph permission has arrived|audit: sign-in|a request failed|a handler panicked)`")

// typed begins what is typed rather than logged.
var typed = regexp.MustCompile(`^(ucwagate|docker|systemctl|kubectl|az|htpasswd|go|node|make|az aks) `)

func TestEveryLogLineThatTheGuideForRepairsQuotesIsLogged(t *testing.T) {
	t.Parallel()
	program := source(t)
	var quoted []string
	for _, name := range []string{"docs/troubleshooting.md", "docs/permissions.md"} {
		for _, m := range message.FindAllStringSubmatch(read(t, name), -1) {
			if !typed.MatchString(m[1]) {
				quoted = append(quoted, m[1])
			}
		}
	}
	require.Greater(t, len(quoted), 15)
	for _, text := range quoted {
		if action, ok := strings.CutPrefix(text, "audit: "); ok {
			text = `a.audit(ctx, "` + action + `"`
		}
		require.True(t, strings.Contains(program, text), "the program logs %q", text)
	}
}

func TestEveryPermissionOfThePingIsExplained(t *testing.T) {
	t.Parallel()
	granting := regexp.MustCompile(`(?m)^\t\{"([A-Z][A-Za-z.]+\.Read(?:Write)?(?:\.All)?)", "`)
	asked := granting.FindAllStringSubmatch(read(t, "cmd/ucwagate/graph.go"), -1)
	require.Greater(t, len(asked), 5)
	text := read(t, "docs/permissions.md")
	for _, m := range asked {
		require.Contains(t, text, "\n| `"+m[1]+"` |")
	}
}
