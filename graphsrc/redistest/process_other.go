//go:build !linux

package redistest

import (
	"errors"
	"os"
	"os/exec"
)

func endWithParent(*exec.Cmd) {}

func freeze(*os.Process) error { return errors.ErrUnsupported }

func thaw(*os.Process) error { return errors.ErrUnsupported }
