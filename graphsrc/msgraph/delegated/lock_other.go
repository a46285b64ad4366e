//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package delegated

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// hasModes says that files have an owner, a group and others, as Go sees them.
const hasModes = false

// lockAge is the age at which a lock was left behind by a crash: nobody holds
// one longer than an attempt takes.
const lockAge = 4 * attemptTimeout

// tryLock makes a file that must not exist.
func tryLock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return func() { _ = errors.Join(file.Close(), os.Remove(path)) }, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > lockAge {
		_ = os.Remove(path) // the next attempt makes it anew
	}
	return nil, errLocked
}
