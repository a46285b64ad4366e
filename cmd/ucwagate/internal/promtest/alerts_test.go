package promtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestPrometheusAcceptsTheShippedFiles(t *testing.T) {
	for _, arguments := range [][]string{
		{"check", "config", "--lint=all", "--lint-fatal", "prometheus.yaml"},
		{"check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"},
	} {
		out, err := promtool(t, prometheusDir, arguments...)
		require.NoError(t, err, out)
	}
}

func TestEveryAlertFiresWhenItShouldOnly(t *testing.T) {
	out, err := promtool(t, prometheusDir, "test", "rules", "alerts_test.yaml")
	require.NoError(t, err, out)
}

// TestTheTestsOfAlertsCanFail spoils each alert, so that it never fires, or
// always does: the test of its name must notice.
func TestTheTestsOfAlertsCanFail(t *testing.T) {
	var tests struct {
		Files    []string         `yaml:"rule_files"`
		Interval string           `yaml:"evaluation_interval"`
		Tests    []map[string]any `yaml:"tests"`
	}
	require.NoError(t, yaml.Unmarshal(shipped(t, "alerts_test.yaml"), &tests))
	all := tests.Tests
	for _, r := range alerts(t).all() {
		own := slices.DeleteFunc(slices.Clone(all), func(test map[string]any) bool {
			name, _ := test["name"].(string)
			return !strings.HasPrefix(name, r.Alert+":")
		})
		require.Len(t, own, 1, r.Alert)
		tests.Tests = own
		its, err := yaml.Marshal(tests)
		require.NoError(t, err)
		for how, expr := range map[string]string{"as it is": r.Expr, "never fires": "vector(1) < 0", "always fires": "vector(1)"} {
			t.Run(r.Alert+" "+how, func(t *testing.T) {
				t.Parallel()
				spoiled := *r
				spoiled.Expr = expr
				text, err := yaml.Marshal(ruleFile{[]ruleGroup{{"test", []rule{spoiled}}}})
				require.NoError(t, err)
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), text, 0o600))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts_test.yaml"), its, 0o600))
				out, err := promtool(t, dir, "test", "rules", "alerts_test.yaml")
				if expr == r.Expr {
					require.NoError(t, err, out)
					return
				}
				require.Error(t, err)
				require.Contains(t, out, "FAILED")
				require.Contains(t, out, r.Alert)
			})
		}
	}
}

var labelInText = regexp.MustCompile(`\$labels\.([a-z_]+)`)

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range alerts(t).all() {
		t.Run(r.Alert, func(t *testing.T) {
			require.False(t, seen[r.Alert], "it is there twice")
			seen[r.Alert] = true
			require.Regexp(t, `^Ucwagate[A-Z][A-Za-z]+$`, r.Alert)
			require.Len(t, r.Labels, 1)
			require.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"])
			require.Len(t, r.Annotations, 3)
			require.Regexp(t, `^[A-Z].*[.]$`, r.Annotations["summary"])
			require.Regexp(t, `^[A-Z].*[.]$`, r.Annotations["description"])
			require.Equal(t, "docs/troubleshooting.md#"+strings.ToLower(r.Alert), r.Annotations["runbook_url"])
			// Otherwise they would be empty where an alert is read.
			kept := read(r.Expr).kept
			for _, text := range r.Annotations {
				for _, label := range labelInText.FindAllStringSubmatch(text, -1) {
					require.Contains(t, kept, label[1], text)
				}
			}
		})
	}
}
