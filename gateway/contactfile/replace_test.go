package contactfile

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFailedChangeLeavesTheFileAsItWas(t *testing.T) {
	full := errors.New("no space left")
	for name, fault := range map[string]struct {
		spoil func(*disk)
		want  error
	}{
		"the folder is not writable": {
			func(d *disk) { d.create = func(string) (*os.File, error) { return nil, os.ErrPermission } }, os.ErrPermission,
		},
		"the text cannot be written": {
			func(d *disk) {
				d.create = func(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600) }
			}, syscall.EBADF,
		},
		"the disk is full":           {func(d *disk) { d.sync = func(*os.File) error { return full } }, full},
		"the file cannot be renamed": {func(d *disk) { d.rename = func(string, string) error { return full } }, full},
		"the file is a mount": {
			func(d *disk) { d.rename = func(string, string) error { return syscall.EBUSY } }, syscall.EBUSY,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t, sample)
			f := open(t, path, Options{Writable: true})
			fault.spoil(&f.disk)
			require.ErrorIs(t, f.AddMember(ana, Pinned, "eve@contoso.com"), fault.want)
			require.Equal(t, sample, content(t, path))
			require.NoFileExists(t, path+".tmp")
			require.Equal(t, []string{"bob@contoso.com"}, list(t, f, ana).Pinned)

			f.disk = realDisk()
			require.NoError(t, f.AddMember(ana, Pinned, "eve@contoso.com"), "the next change works")
		})
	}
}

func TestALockThatCannotBeTakenRefusesTheChange(t *testing.T) {
	path := newPath(t, sample)
	require.NoError(t, os.Mkdir(path+".lock", 0o700))
	f := open(t, path, Options{Writable: true})
	require.ErrorContains(t, f.AddMember(ana, Pinned, "eve@contoso.com"), "locking the contact lists")
	require.Equal(t, sample, content(t, path))
}

func TestWhatACrashLeftIsNoHindrance(t *testing.T) {
	path := newPath(t, sample)
	write(t, path+".tmp", "contacts: {ana@cont")
	f := open(t, path, Options{Writable: true})
	require.NoError(t, f.AddMember(ana, Pinned, "eve@contoso.com"))
	require.NoFileExists(t, path+".tmp")
	require.Contains(t, content(t, path), "eve@contoso.com")
}

func TestPermissionsAndLinksAreKept(t *testing.T) {
	path := newPath(t, sample)
	require.NoError(t, os.Chmod(path, 0o664))
	link := filepath.Join(t.TempDir(), "link.yaml")
	require.NoError(t, os.Symlink(path, link))
	require.NoError(t, open(t, link, Options{Writable: true}).AddMember(ana, Pinned, "eve@contoso.com"))

	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o664), info.Mode().Perm())
	require.Contains(t, content(t, path), "eve@contoso.com")
	require.FileExists(t, path+".lock", "whoever shares the file shares the lock")
}

func TestALinkToNothingIsNotReplaced(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link.yaml")
	require.NoError(t, os.Symlink("nothing.yaml", link))
	f := open(t, link, Options{Writable: true})
	require.ErrorIs(t, f.AddMember(ana, Pinned, "eve@contoso.com"), os.ErrNotExist)
	_, err := os.Readlink(link)
	require.NoError(t, err)
}
