package mapping

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheGuideForMigrationsShowsTheTable keeps what is between the two marks of
// the page.
func TestTheGuideForMigrationsShowsTheTable(t *testing.T) {
	const page, begin, end = "../docs/migration.md", "<!-- map: begin -->\n", "<!-- map: end -->\n"
	var table bytes.Buffer
	require.NoError(t, WriteTable(&table))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "the page has its mark")
	_, tail, ok := strings.Cut(rest, end)
	require.True(t, ok, "the page has its mark")
	want := head + begin + "\n```text\n" + table.String() + "```\n\n" + end + tail
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "run the tests with -update and review the difference")
}
