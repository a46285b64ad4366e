package delegated

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// lockPoll is the pause between two attempts to lock: neither kind of lock can
// be waited for with a context.
const lockPoll = 20 * time.Millisecond

// errLocked says that another holds the lock.
var errLocked = errors.New("another process is using the sign-in")

// lock keeps other users of the file out, in this process and in others, until
// unlock is called. Where there can be no lock, on a read-only file system,
// there is nothing to protect either: only the end of ctx is an error.
func (v *vault) lock(ctx context.Context) (unlock func(), err error) {
	for {
		unlock, err := tryLock(v.target() + ".lock")
		switch {
		case err == nil:
			v.noLock(nil)
			return unlock, nil
		case !errors.Is(err, errLocked):
			v.noLock(err)
			return func() {}, nil
		}
		again := make(chan struct{})
		timer := v.clock.AfterFunc(lockPoll, func() { close(again) })
		select {
		case <-again:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("%w: %w", errLocked, ctx.Err())
		}
	}
}

// noLock logs once that there is no lock, until there is one.
func (v *vault) noLock(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil && !v.unlocked {
		v.logger.Warn("the sign-in of a helper account cannot be locked against other processes", "file", v.path, "error", err)
	}
	v.unlocked = err != nil
}
