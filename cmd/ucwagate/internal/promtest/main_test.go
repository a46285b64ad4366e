package promtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

// prometheusDir is where the configuration and the rules are.
const prometheusDir = "../../../../configs/prometheus"

// rule is an alert.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

type ruleGroup struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

// ruleFile is a file of alerts. Rules that record are not among them.
type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

func (f *ruleFile) all() (list []*rule) {
	for g := range f.Groups {
		for i := range f.Groups[g].Rules {
			list = append(list, &f.Groups[g].Rules[i])
		}
	}
	return list
}

func shipped(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(prometheusDir, name))
	require.NoError(t, err)
	return text
}

func alerts(t testing.TB) *ruleFile {
	t.Helper()
	var f ruleFile
	require.NoError(t, yaml.Unmarshal(shipped(t, "alerts.yaml"), &f))
	require.NotEmpty(t, f.all())
	return &f
}

// promtool runs promtool in a folder and returns what it says.
func promtool(t testing.TB, dir string, arguments ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	require.NoError(t, err, "is the Debian package prometheus installed? make deps installs it")
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
