package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheHeadersOfTheCollectorAreReadFromAFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, content string
		want          map[string]string
		wrong         string
	}{
		{"several, with comments", "# ours\n\nauthorization:  Bearer hunter2:x \r\nX-Scope-OrgID:contoso", map[string]string{
			"Authorization": "Bearer hunter2:x", "X-Scope-Orgid": "contoso",
		}, ""},
		{"a value may be empty", "X-Empty:", map[string]string{"X-Empty": ""}, ""},
		{"no colon", "A: b\nhunter2", nil, "line 2 is not of the form Name: value"},
		{"a name with a space", "my key: hunter2", nil, "line 1 is not of the form Name: value"},
		{"a control character", "A: hunter2\x00", nil, "line 1 is not of the form Name: value"},
		{"one twice", "A: hunter2\na: hunter2", nil, "line 2 has a header that stands above it"},
		{"nothing", "# hunter2\n", nil, "there is no header in it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "headers")
			require.NoError(t, os.WriteFile(path, []byte(c.content), 0o600))
			headers, err := Tracing{HeadersFile: path}.Headers()
			require.Equal(t, c.want, headers)
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "reading headers_file: "+c.wrong)
		})
	}
	headers, err := Tracing{}.Headers()
	require.NoError(t, err)
	require.Empty(t, headers)
	_, err = Tracing{HeadersFile: "no/such/file"}.Headers()
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestHeadersThatAreSentInClearAreWarnedOf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "headers")
	require.NoError(t, os.WriteFile(path, []byte("Authorization: hunter2"), 0o600))
	for endpoint, warned := range map[string]bool{
		"http://127.0.0.1:4318": false, "https://collector.example": false, "http://collector.example:4318": true,
	} {
		loaded, err := Load("", append([]string{"UCWAGATE_TRACING_ENDPOINT=" + endpoint, "UCWAGATE_TRACING_HEADERS_FILE=" + path}, minimal...))
		require.NoError(t, err)
		require.Equal(t, warned, len(loaded.Warnings) == 1, "%s: %v", endpoint, loaded.Warnings)
	}
	loaded, err := Load("", append([]string{"UCWAGATE_TRACING_ENDPOINT=http://[::1]:4318/"}, minimal...))
	require.NoError(t, err)
	require.Equal(t, "http://[::1]:4318/v1/traces", loaded.Config.Tracing.Endpoint)
}
