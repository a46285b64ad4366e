package sweep_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// maxRatio is the goal for processor time against the plain program.
const maxRatio = 1.3

// ideal is the fewest requests in which so many people can be read.
func ideal(people int) int { return (people + 649) / 650 }

// compare lets both programs read a tenant, and checks what must be true
// however fast the machine is.
func compare(t testing.TB, people, sweeps int) (ours, plain outcome) {
	t.Helper()
	what := simulated(t, people, sweeps)
	seen(t, what)
	ours = run(t, roleGateway, what)
	stats := seen(t, what)
	require.Zero(t, stats.Throttled)
	require.LessOrEqual(t, stats.WorstWindow, 1500)
	require.Equal(t, people, ours.Read)
	require.InDelta(t, ideal(people), ours.Requests, 0.02*float64(ideal(people))+0.5)

	plain = run(t, rolePlain, what)
	require.Zero(t, seen(t, what).Throttled)
	require.Equal(t, people, plain.Read)
	require.InDelta(t, ideal(people), plain.Requests, 0.01)
	return ours, plain
}

func TestASmallTenantIsReadInAsFewRequestsAsCanBe(t *testing.T) {
	ours, plain := compare(t, 2000, 3)
	require.Less(t, ours.First, 10.0)
	t.Logf("gateway %+v", ours)
	t.Logf("plain   %+v", plain)
}

// BenchmarkWholeTenant reads 100,000 people: how long the first sweep takes
// from an empty bucket and each one after it, at what cost, and at what cost
// the plain program does it that keeps no limit (x-cpu, goal at most 1.3).
func BenchmarkWholeTenant(b *testing.B) {
	const people = 100_000
	for b.Loop() {
		ours, plain := compare(b, people, 3)
		b.ReportMetric(0, "ns/op") // of the whole measurement: says nothing
		b.ReportMetric(ours.First, "s-first-sweep")
		b.ReportMetric(ours.Sweep, "s/sweep")
		b.ReportMetric(ours.Requests, "requests/sweep")
		b.ReportMetric(ours.CPU, "cpu-s/sweep")
		b.ReportMetric(plain.CPU, "plain-cpu-s/sweep")
		b.ReportMetric(ours.CPU/plain.CPU, "x-cpu")
		b.ReportMetric(ours.Garbage, "B/person")
		b.ReportMetric(plain.Garbage, "plain-B/person")
		b.ReportMetric(ours.Objects, "allocs/person")
		b.ReportMetric(plain.Objects, "plain-allocs/person")
		b.ReportMetric(ours.Resident, "MB-resident")
		b.ReportMetric(plain.Resident, "plain-MB-resident")
		if ratio := ours.CPU / plain.CPU; ratio > maxRatio {
			b.Logf("a sweep takes %.2f times the plain program's processor time, the goal is %.1f", ratio, maxRatio)
		}
	}
}
