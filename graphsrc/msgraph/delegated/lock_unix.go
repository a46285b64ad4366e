//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package delegated

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// hasModes says that files have an owner, a group and others.
const hasModes = true

// tryLock takes an advisory lock, which ends with its process at the latest.
// The file stays: removing it would let two processes hold locks on two files
// of the same name.
func tryLock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = file.Close() }, nil // which unlocks
		case errors.Is(err, syscall.EINTR):
			continue
		}
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
}
