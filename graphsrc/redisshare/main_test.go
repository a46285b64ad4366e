package redisshare_test

import (
	"testing"

	"go.uber.org/goleak"

	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }
