package sharetest_test

import (
	"testing"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/sharetest"
)

func TestTheDirectoryDoesWhatAnySharedOneMust(t *testing.T) {
	sharetest.RunDirectory(t, func(testing.TB) (a, b graphsrc.SharedDirectory) {
		d := sharetest.NewDirectory(clock.System())
		return d, d
	})
}
