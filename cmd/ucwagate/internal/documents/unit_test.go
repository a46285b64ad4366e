package documents

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	unit = "configs/systemd/ucwagate.service"
	// exposed is the most that systemd-analyze may find open, in tenths of its
	// score from 0 (closed) to 10.
	exposed = "20"
)

// analyze runs systemd-analyze over a unit in whose place of the program stands
// one that is there.
func analyze(t *testing.T, text string, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ucwagate.service")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(text, "/usr/local/bin/ucwagate ", "/bin/true ")), 0o600))
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", append(args, file)...).CombinedOutput()
	require.NotErrorIs(t, err, exec.ErrNotFound, "is the Debian package systemd installed? make deps installs it")
	return string(out), err
}

func TestTheUnitIsSoundAndClosed(t *testing.T) {
	t.Parallel()
	text := read(t, unit)
	out, err := analyze(t, text, "verify", "--man=no")
	require.NoError(t, err, out)
	require.Empty(t, out)
	out, err = analyze(t, text, "security", "--offline=yes", "--threshold="+exposed)
	require.NoError(t, err, out)
}

func TestAUnitThatIsMisspelledOrOpenIsFound(t *testing.T) {
	t.Parallel()
	text := read(t, unit)
	out, _ := analyze(t, strings.Replace(text, "ProtectSystem=", "ProtectSytem=", 1), "verify", "--man=no")
	require.Contains(t, out, "ProtectSytem")
	out, err := analyze(t, "[Service]\nExecStart=/usr/local/bin/ucwagate serve\n", "security", "--offline=yes", "--threshold="+exposed)
	require.Error(t, err, out)
}

func TestTheUnitRunsCommandsThatThereAre(t *testing.T) {
	t.Parallel()
	program := read(t, "cmd/ucwagate/main.go")
	for line := range strings.Lines(read(t, unit)) {
		key, command, _ := strings.Cut(strings.TrimSpace(line), "=")
		if !strings.HasPrefix(key, "Exec") {
			continue
		}
		words := strings.Fields(command)
		require.Equal(t, []string{"/usr/local/bin/ucwagate", "--config", "/etc/ucwagate/ucwagate.yaml"}, append(words[:1:1], words[2:]...))
		require.Regexp(t, `\b`+words[1]+"Command +`cmd:", program)
	}
}
