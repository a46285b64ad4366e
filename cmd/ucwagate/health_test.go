package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHealthIsThatOfTheGatewayAsked(t *testing.T) {
	_, line := program(t, "demo", "--listen", "127.0.0.1:0", "--users", "50", "--still", "--print", "json")
	var info struct{ StatusURL string }
	require.NoError(t, json.Unmarshal([]byte(line), &info))
	link := filepath.Join(t.TempDir(), "ucwagate")
	require.NoError(t, os.Symlink(os.Args[0], link))
	health := func(url string) (string, error) {
		out, err := exec.CommandContext(t.Context(), link, "health", "--url", url, "--timeout", "2s").CombinedOutput()
		return string(out), err
	}
	out, err := health(info.StatusURL + "/readyz")
	require.NoError(t, err, out)
	require.Equal(t, "ready\n[+] Microsoft Graph, tenant simulated\n", out)
	out, err = health(info.StatusURL + "/nothing")
	require.Error(t, err)
	require.Contains(t, out, "answers 404 Not Found")
	out, err = health("http://127.0.0.1:1/readyz")
	require.Error(t, err)
	require.Contains(t, out, "asking for health")
}
