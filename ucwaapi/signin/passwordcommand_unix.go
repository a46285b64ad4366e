//go:build unix

package signin

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// killWithChildren makes the end of the command's context the end of all that
// it has started too: a script is often waiting for another program.
func killWithChildren(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
