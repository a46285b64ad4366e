package msgraph

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// maxPollAllocs bounds the allocations of one 650-presence read, those of the
// server in the same process included.
const maxPollAllocs = 8000

// poll650 returns a function that reads 650 presences through the whole path
// of this package, and one that does the same with net/http and encoding/json,
// both against one loopback server without TLS.
func poll650(t testing.TB) (ours, plain func() int) {
	ids := make([]string, maxIDs)
	answer := []byte(`{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#Collection(presence)","value":[`)
	for i := range ids {
		ids[i] = fmt.Sprintf("%08x-1111-2222-3333-444444444444", i)
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = fmt.Appendf(answer, `{"id":"%s","availability":"Busy","activity":"InAMeeting","sequenceNumber":"A%010d",`+
			`"statusMessage":{"publishedDateTime":null,"expiryDateTime":null,"message":{"content":"in the workshop until %d","contentType":"text"}},`+
			`"outOfOfficeSettings":{"message":null,"isOutOfOffice":false},"workLocation":{"placeId":null,"workLocationType":"office","source":"scheduled"}}`, ids[i], i, i)
	}
	answer = append(answer, `]}`...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(answer))}
		_, _ = w.Write(answer)
	}))
	t.Cleanup(server.Close)

	cfg := newFake(t, nil).config()
	cfg.GraphURL = server.URL
	c, _, _ := start(t, cfg)
	ours = func() int {
		got, err := c.Presences(context.Background(), ids)
		require.NoError(t, err)
		return len(got)
	}
	client := &http.Client{Transport: newTransport(nil)}
	t.Cleanup(client.CloseIdleConnections)
	plain = func() int {
		body, err := json.Marshal(map[string][]string{"ids": ids})
		require.NoError(t, err)
		resp, err := client.Post(server.URL+apiVersion+"/communications/getPresencesByUserId", "application/json", bytes.NewReader(body))
		require.NoError(t, err)
		defer resp.Body.Close()
		var got page[wirePresence]
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&got))
		return len(got.Value)
	}
	require.Equal(t, maxIDs, ours())
	require.Equal(t, maxIDs, plain())
	return ours, plain
}

// BenchmarkPoll650 measures one read of 650 presences: through this package,
// with net/http and encoding/json, and both in turn for the ratio of their
// median times (x-time, goal at most 1.3).
func BenchmarkPoll650(b *testing.B) {
	ours, plain := poll650(b)
	b.Run("msgraph", func(b *testing.B) { measure(b, ours) })
	b.Run("stdlib", func(b *testing.B) { measure(b, plain) })
	b.Run("ratio", func(b *testing.B) {
		var a, p []time.Duration
		for b.Loop() {
			a, p = append(a, timed(ours)), append(p, timed(plain))
		}
		slices.Sort(a)
		slices.Sort(p)
		b.ReportMetric(0, "ns/op") // of both together: says nothing
		b.ReportMetric(float64(a[len(a)/2])/float64(p[len(p)/2]), "x-time")
	})
}

func measure(b *testing.B, read func() int) {
	b.ReportAllocs()
	for b.Loop() {
		read()
	}
}

func timed(read func() int) time.Duration {
	begin := time.Now()
	read()
	return time.Since(begin)
}

func TestAPollStaysWithinItsAllocations(t *testing.T) {
	ours, plain := poll650(t)
	allocs := testing.AllocsPerRun(20, func() { ours() })
	t.Logf("%.0f allocations, net/http and encoding/json take %.0f", allocs, testing.AllocsPerRun(20, func() { plain() }))
	require.LessOrEqual(t, allocs, float64(maxPollAllocs))
}
