package graphsim

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkBulkRead is what the simulator itself costs per 650 presences,
// which any measurement of a client has to be seen against.
func BenchmarkBulkRead(b *testing.B) {
	tenant, err := New(Config{Users: 1000, Still: true, Limit: Limit{Requests: 1 << 30}})
	require.NoError(b, err)
	indexes := make([]int, maxIDs)
	for i := range indexes {
		indexes[i] = i
	}
	r, err := http.NewRequest(http.MethodPost, "http://graph.test/v1.0/communications/getPresencesByUserId", nil)
	require.NoError(b, err)
	c := tenant.newCall(r)
	b.ReportAllocs()
	for b.Loop() {
		out := make([]byte, 0, maxIDs*presenceBytes)
		for _, p := range tenant.presences.read(indexes) {
			out = tenant.appendPresence(out, c, p, Faults{}, nil)
		}
	}
}
