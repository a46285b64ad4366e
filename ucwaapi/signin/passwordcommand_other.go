//go:build !unix

package signin

import "os/exec"

// killWithChildren leaves the command as it is: where there are no process
// groups, the end of its context ends the command alone.
func killWithChildren(*exec.Cmd) {}
