package proxytest

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// each runs a test through every proxy that can run here.
func each(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range []kind{nginx, haproxy} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}
