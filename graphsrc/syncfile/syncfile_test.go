package syncfile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAStateIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.state")
	f := New(path)
	got, err := f.Load(t.Context())
	require.NoError(t, err)
	require.Empty(t, got, "there is none yet")
	for _, state := range []string{"one", "", "a longer one than before"} {
		require.NoError(t, f.Save(t.Context(), []byte(state)))
		got, err = New(path).Load(t.Context())
		require.NoError(t, err)
		require.Equal(t, state, string(got))
		info, err := os.Stat(path)
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		}
	}
	require.Len(t, files(t, filepath.Dir(path)), 1, "nothing is left beside it")
}

func files(t *testing.T, dir string) []os.DirEntry {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	return entries
}

func TestAPathWithoutAFolderIsOfTheWorkingFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	f := New("state")
	require.NoError(t, f.Save(t.Context(), []byte("x")))
	got, err := f.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

func TestAFailedSaveLeavesTheOldState(t *testing.T) {
	dir := t.TempDir()
	f := New(filepath.Join(dir, "state"))
	require.NoError(t, f.Save(t.Context(), []byte("old")))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, f.Save(ended, []byte("new")), context.Canceled)
	_, err := f.Load(ended)
	require.ErrorIs(t, err, context.Canceled)
	got, err := f.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, "old", string(got))
	require.Len(t, files(t, dir), 1)

	require.Error(t, New(filepath.Join(dir, "nowhere", "state")).Save(t.Context(), nil))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	require.Error(t, New(filepath.Join(dir, "folder")).Save(t.Context(), []byte("x")), "the name is taken")
	_, err = New(filepath.Join(dir, "folder")).Load(t.Context())
	require.ErrorContains(t, err, "not a regular file")
	require.Len(t, files(t, dir), 2)
}

func TestWhatACrashLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-2 * time.Hour)
	for name, when := range map[string]time.Time{
		".new-state-1": old, ".new-state-2": time.Now(), ".new-other-1": old, "state": old,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), when, when))
	}
	_, err := New(filepath.Join(dir, "state")).Load(t.Context())
	require.NoError(t, err)
	var left []string
	for _, e := range files(t, dir) {
		left = append(left, e.Name())
	}
	require.Equal(t, []string{".new-other-1", ".new-state-2", "state"}, left)
}

func TestAReaderNeverSeesHalfAState(t *testing.T) {
	f := New(filepath.Join(t.TempDir(), "state"))
	state := func(c byte) []byte { return bytes.Repeat([]byte{c}, 100_000) }
	require.NoError(t, f.Save(t.Context(), state('a')))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 50 {
			if err := f.Save(context.Background(), state('a'+byte(i%26))); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		got, err := f.Load(t.Context())
		require.NoError(t, err)
		require.Equal(t, state(got[0]), got)
	}
	wg.Wait()
}
