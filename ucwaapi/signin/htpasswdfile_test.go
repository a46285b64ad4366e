package signin

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// replaceFile writes a file as careful editors do: beside, then over it.
func replaceFile(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(content), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// aged makes a file look as if it had been written long ago.
func aged(t testing.TB, path string) {
	t.Helper()
	long := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, long, long))
}

func TestThePasswordFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	one := "ana:" + hashOf(t, "2y", "one", 4) + "\n"
	two := "ana:" + hashOf(t, "2y", "two", 4) + "\nbo:" + hashOf(t, "2y", "b", 4) + "\n"
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		replaceFile(t, path, one)
		aged(t, path)
		h, err := NewHtpasswd(HtpasswdOptions{
			Path: path, DefaultDomains: []string{"contoso.test"}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		require.NoError(t, err)
		check := func(user, password string) error {
			_, err := h.CheckPassword(t.Context(), user, password)
			return err
		}
		second := func() { <-time.After(lookEvery) }
		require.NoError(t, check("ana", "one"))
		require.Equal(t, 1, h.Len())

		// A new file counts within a second, and not before one has passed.
		replaceFile(t, path, two)
		require.NoError(t, check("ana", "one"))
		require.ErrorIs(t, check("bo", "b"), ErrUnknownUser)
		second()
		require.ErrorIs(t, check("ana", "one"), ErrWrongPassword)
		require.NoError(t, check("ana", "two"))
		require.NoError(t, check("bo", "b"))
		require.Equal(t, 1, strings.Count(log.String(), "read anew"))

		// A broken one leaves everything as it was, and is told once.
		replaceFile(t, path, "ana:hunter2\n")
		for range 5 {
			second()
			require.NoError(t, check("ana", "two"))
		}
		require.Equal(t, 1, strings.Count(log.String(), "cannot be used"))
		require.Contains(t, log.String(), "line 1")
		require.NotContains(t, log.String(), "hunter2")

		// So does one that is gone.
		require.NoError(t, os.Remove(path))
		for range 5 {
			second()
			require.NoError(t, check("ana", "two"))
		}
		require.Equal(t, 2, strings.Count(log.String(), "cannot be used"))

		// The good one comes back: the content is known, so nothing happens.
		replaceFile(t, path, two)
		second()
		require.NoError(t, check("ana", "two"))
		require.Equal(t, 1, strings.Count(log.String(), "read anew"))

		// The same size and time, in the same file, right after it was read.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		info, err := f.Stat()
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("ben"), 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		second()
		require.NoError(t, check("ben", "two"))
		require.ErrorIs(t, check("ana", "two"), ErrUnknownUser)

		// Cut to nothing it may be about to be written; it counts the next time.
		require.NoError(t, os.Truncate(path, 0))
		second()
		require.NoError(t, check("ben", "two"))
		second()
		require.ErrorIs(t, check("ben", "two"), ErrUnknownUser)
		require.Zero(t, h.Len())

		replaceFile(t, path, one)
		second()
		require.NoError(t, check("ana", "one"))
		require.Equal(t, "ana@contoso.test", h.Account("ANA"))
		require.Positive(t, h.Concurrency())
	})
}

func TestAPasswordFileThatDoesNotChangeIsReadOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	synctest.Test(t, func(t *testing.T) {
		replaceFile(t, path, "ana@contoso.test:"+hashOf(t, "2y", "one", 4))
		long := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // before the bubble's time
		require.NoError(t, os.Chtimes(path, long, long))
		h, err := NewHtpasswd(HtpasswdOptions{Path: path})
		require.NoError(t, err)
		require.True(t, h.seen.settled)
		accounts := h.accounts.Load()
		for range 3 {
			<-time.After(lookEvery)
			_, err := h.CheckPassword(t.Context(), "ana@contoso.test", "one")
			require.NoError(t, err)
			require.Same(t, accounts, h.accounts.Load())
		}
	})
}

func TestReloadsAndChecksAtTheSameTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	files := []string{"ana@contoso.test:" + hashOf(t, "2y", "one", 4), "ana@contoso.test:" + hashOf(t, "2y", "one", 4) + "\n\n"}
	replaceFile(t, path, files[0])
	clk := newShiftedClock()
	h, err := NewHtpasswd(HtpasswdOptions{Path: path, Clock: clk})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 50 {
				clk.advance(lookEvery)
				if _, err := h.CheckPassword(t.Context(), "ana@contoso.test", "one"); err != nil {
					t.Errorf("check %d: %v", i, err)
				}
			}
		})
	}
	for i := range 50 {
		replaceFile(t, path, files[i%2])
	}
	wg.Wait()
}

func TestNewHtpasswdRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	_, err := NewHtpasswd(HtpasswdOptions{Path: path})
	require.ErrorIs(t, err, os.ErrNotExist)
	replaceFile(t, path, "nonsense")
	_, err = NewHtpasswd(HtpasswdOptions{Path: path})
	require.ErrorContains(t, err, path+": line 1: no colon")
	_, err = NewHtpasswd(HtpasswdOptions{Path: filepath.Dir(path)})
	require.ErrorContains(t, err, "reading the password file")
}
