package sharetest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/sharetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheHubDoesWhatAnySharedMust(t *testing.T) {
	sharetest.Run(t, func(testing.TB) sharetest.Join {
		h := sharetest.NewHub()
		h.Lease = 200 * time.Millisecond
		return func(testing.TB) graphsrc.Shared { return h.Join() }
	})
}
