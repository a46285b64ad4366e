package contactfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// newFileMode is the mode of a file that the first change makes.
const newFileMode = 0o600

// disk is what can fail under a change.
type disk struct {
	create func(path string) (*os.File, error) // a new, empty file of mode 0600
	sync   func(*os.File) error
	rename func(from, to string) error
}

func realDisk() disk {
	return disk{
		create: func(path string) (*os.File, error) {
			return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, newFileMode)
		},
		sync:   (*os.File).Sync,
		rename: os.Rename,
	}
}

// target returns the file that path means, links followed: a link stays a link
// when the file is replaced, and all who share the file share the lock beside
// it. Where there is no file, it is path with the links of its folder followed.
func target(path string) (string, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return resolved, err
	}
	if _, dangling := os.Lstat(path); dangling == nil {
		return "", err
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(folder, filepath.Base(path)), err
}

// replace puts text in the place of the file at path, at once or not at all,
// and returns the new file's state. old is the file's state before, nil if
// there was none. The caller holds the lock, so nobody else uses the temporary
// file; one of the same name is left from a crash.
func (f *File) replace(path string, text []byte, old os.FileInfo) (info os.FileInfo, err error) {
	temp := path + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := f.disk.create(temp)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(temp)
		}
	}()
	if _, err := file.Write(text); err != nil {
		return nil, err
	}
	if old != nil {
		if err := f.keepAccess(file, old); err != nil {
			return nil, err
		}
	}
	if err := f.disk.sync(file); err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	switch err := f.disk.rename(temp, path); {
	case errors.Is(err, syscall.EBUSY):
		return nil, fmt.Errorf("%w (a file that is mounted by itself cannot be replaced: mount its folder)", err)
	case err != nil:
		return nil, err
	}
	syncFolder(filepath.Dir(path))
	return info, nil
}

// keepAccess gives file the owner and the permission bits of old. Only a
// privileged process may give a file away; where the owner cannot be kept, the
// file is this process's from then on, which is said once.
func (f *File) keepAccess(file *os.File, old os.FileInfo) error {
	if err := keepOwner(file, old); err != nil && !f.ownerTaken {
		f.ownerTaken = true
		f.log.Warn("the owner of the file of contact lists cannot be kept when it is changed", "path", f.path, "error", err)
	}
	return file.Chmod(old.Mode().Perm())
}

// syncFolder makes the renaming outlast a power failure. The change is made
// whether or not that works, and some systems cannot sync a folder.
func syncFolder(path string) {
	if folder, err := os.Open(path); err == nil {
		_ = folder.Sync()
		folder.Close()
	}
}
