//go:build unix

package contactfile

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheOwnerOfTheFileIsKept gives the file away first where the user who runs
// the test may.
func TestTheOwnerOfTheFileIsKept(t *testing.T) {
	path := newPath(t, sample)
	foreign := os.Chown(path, 12345, 12346) == nil
	owner := func() (uint32, uint32) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		return stat.Uid, stat.Gid
	}
	uid, gid := owner()
	require.Equal(t, foreign, uid == 12345)

	f := open(t, path, Options{Writable: true})
	require.NoError(t, f.AddMember(ana, Pinned, "eve@contoso.com"))
	newUID, newGID := owner()
	require.Equal(t, [2]uint32{uid, gid}, [2]uint32{newUID, newGID})
}

func TestAnOwnerThatCannotBeKeptIsSaidOnce(t *testing.T) {
	path := newPath(t, sample)
	info, err := os.Stat(path)
	require.NoError(t, err)
	var log bytes.Buffer
	f := open(t, path, Options{Writable: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	closed, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	for range 2 {
		require.ErrorIs(t, f.keepAccess(closed, info), os.ErrClosed)
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"))
}
