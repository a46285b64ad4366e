package redisshare_test

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/redisshare"
	"ucwagate/graphsrc/redistest"
	"ucwagate/graphsrc/sharetest"
	"ucwagate/mapping"
)

func batch(n int, words string, changed bool) []graphsrc.Told {
	out := make([]graphsrc.Told, n)
	for i := range out {
		binary.BigEndian.PutUint32(out[i].ID[12:], uint32(i))
		out[i].Words = mapping.Presence{Availability: words, Activity: words}
		out[i].Sequence = "A0000000000000000042"
		out[i].ReadAt, out[i].Changed = time.Now(), changed
	}
	return out
}

// BenchmarkTell tells what a full request has read.
func BenchmarkTell(b *testing.B) {
	for name, changed := range map[string]int{"nobody has changed": 0, "one in ten has changed": 65, "all have changed": 650} {
		b.Run(name, func(b *testing.B) {
			s := share(b, redistest.Start(b).Option(), "contoso", nil)
			_, err := s.Tell(b.Context(), batch(650, "Available", true))
			require.NoError(b, err)
			words := [2]string{"Busy", "Available"}
			for i := 0; b.Loop(); i++ {
				readings := batch(650, "Available", false)
				copy(readings, batch(changed, words[i%2], true))
				_, err := s.Tell(b.Context(), readings)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkRecord reports the memory of Redis for each person, and the bytes of the
// stream for each unchanged reading.
func BenchmarkRecord(b *testing.B) {
	server := redistest.Start(b)
	client := server.Client(b)
	used := func() float64 {
		info, err := client.Do(b.Context(), client.B().Info().Section("memory").Build()).ToString()
		require.NoError(b, err)
		_, rest, _ := strings.Cut(info, "used_memory:")
		n, err := strconv.ParseFloat(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), 64)
		require.NoError(b, err)
		return n
	}
	s := share(b, server.Option(), "contoso", func(o *redisshare.Options) { o.MaxEntries = 1 })
	for b.Loop() {
		const people = 65_000
		before := used()
		for range people / 650 {
			readings := batch(650, "Available", true)
			for i := range readings {
				readings[i].ID = uuid.New()
			}
			_, err := s.Tell(b.Context(), readings)
			require.NoError(b, err)
		}
		b.ReportMetric((used()-before)/people, "B/person")
	}
}

// hearing is a member that notes when it hears of changes.
type hearing struct {
	sharetest.Recorder
	heard chan time.Time
}

func (h *hearing) Hear(_ context.Context, readings []graphsrc.Heard) {
	if readings[len(readings)-1].Changed {
		h.heard <- time.Now()
	}
}

// BenchmarkHearing reports how long it takes from Tell of one change, or of a full
// request, until another process has heard of it.
func BenchmarkHearing(b *testing.B) {
	for _, n := range []int{1, 650} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			server := redistest.Start(b)
			teller, hearer := share(b, server.Option(), "contoso", nil), share(b, server.Option(), "contoso", nil)
			m := &hearing{heard: make(chan time.Time, 10)}
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			wg.Go(func() { hearer.Run(ctx, m) })
			defer wg.Wait()
			defer cancel()
			require.Eventually(b, func() bool { return m.Resyncs() > 0 }, 10*time.Second, time.Millisecond)
			words := [2]string{"Busy", "Available"}
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				begun := time.Now()
				_, err := teller.Tell(b.Context(), batch(n, words[i%2], true))
				require.NoError(b, err)
				took = append(took, (<-m.heard).Sub(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
