package demo_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

func TestTheSynchronizedDirectoryIsKeptForTheNextStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "directory")
	d, err := demo.Start(t.Context(), demo.Options{Still: true, Adjust: func(c *config.Config) {
		c.Directory.Sync, c.Directory.StateFile = true, file
	}})
	require.NoError(t, err)
	require.Eventually(t, d.App.Tenants()[0].Source.Synchronized, 20*time.Second, 20*time.Millisecond)
	require.NoError(t, d.Close(t.Context()))
	info, err := os.Stat(file + ".simulated")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it holds personal data")
	require.Greater(t, info.Size(), int64(5000))
}
