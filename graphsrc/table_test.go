package graphsrc

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever is inserted, removed and trimmed, the table holds what a list holds.
func TestTheTableAgreesWithAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type pair struct{ hash, number uint32 }
		var (
			x    table
			want []pair
		)
		// Few hashes at both ends of the range make long rows that wrap around.
		hash := rapid.SampledFrom([]uint32{0, 1, 1 << 28, 1 << 31, 1<<31 + 1, 1<<32 - 2, 1<<32 - 1})
		number := rapid.Uint32Range(0, 12)
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			p := pair{hash.Draw(t, "hash"), number.Draw(t, "number")}
			switch rapid.IntRange(0, 9).Draw(t, "do") {
			case 0:
				x.trim()
			case 1, 2, 3, 4:
				at := slices.Index(want, p)
				if x.remove(p.hash, p.number) != (at >= 0) {
					t.Fatalf("removing %v, in the list at %d", p, at)
				}
				if at >= 0 {
					want = slices.Delete(want, at, at+1)
				}
			default:
				x.insert(p.hash, p.number)
				want = append(want, p)
			}
			if x.count != len(want) || x.count*ofSlots > len(x.slots)*maxLoad {
				t.Fatalf("%d numbers in %d slots, want %d", x.count, len(x.slots), len(want))
			}
		}
		for h := range uint32(7) {
			h = []uint32{0, 1, 1 << 28, 1 << 31, 1<<31 + 1, 1<<32 - 2, 1<<32 - 1}[h]
			for n := range uint32(13) {
				_, found := x.find(h, func(o uint32) bool { return o == n })
				if found != slices.Contains(want, pair{h, n}) {
					t.Fatalf("%d under %d found: %v", n, h, found)
				}
			}
		}
	})
}

func TestATrimmedTableIsNearlyFull(t *testing.T) {
	var x table
	for n := range uint32(10_000) {
		x.insert(n*0x9E3779B9, n)
	}
	x.trim()
	require.Less(t, len(x.slots), 10_000*13/10)
	for n := range uint32(10_000) {
		_, found := x.find(n*0x9E3779B9, func(o uint32) bool { return o == n })
		require.True(t, found)
	}
}
