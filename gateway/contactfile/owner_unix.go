//go:build unix

package contactfile

import (
	"os"
	"syscall"
)

// keepOwner gives file the user and the group of old, or at least the group.
func keepOwner(file *os.File, old os.FileInfo) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	was, ok := old.Sys().(*syscall.Stat_t)
	is, same := info.Sys().(*syscall.Stat_t)
	if !ok || !same || was.Uid == is.Uid && was.Gid == is.Gid {
		return nil
	}
	err = file.Chown(int(was.Uid), int(was.Gid))
	if err != nil && was.Gid != is.Gid {
		// A process may give its files to any group of its own.
		_ = file.Chown(-1, int(was.Gid))
	}
	return err
}
