package scale_test

import (
	"context"
	"flag"
	"math"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/scale"
)

var (
	update = flag.Bool("update", false, "play all rows and rewrite the table of docs/graph-budget.md and its plot")
	full   = flag.Bool("full", false, "play all rows and print them beside the documented ones")
)

const (
	page = "../../docs/graph-budget.md"
	plot = "../../docs/graph-budget.svg"
	// The table stands between these lines.
	tableBegins = "<!-- table: written by make golden -->\n"
	tableEnds   = "<!-- end of table -->\n"
	// largestTested is the size up to which rows are played in every test run.
	largestTested = 10_000
)

func play(t *testing.T, cfg scale.Config) (r scale.Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		r, err = scale.Run(context.Background(), cfg)
		require.NoError(t, err)
	})
	return r
}

// rows are the runs of the documented table up to a size.
func rows(largest int) (runs []scale.Config) {
	for _, people := range scale.Sizes {
		for _, reads := range scale.ReadRates {
			for _, single := range []bool{false, true} {
				if people <= largest {
					runs = append(runs, scale.Config{People: people, Reads: reads, Single: single, Seed: 1})
				}
			}
		}
	}
	return runs
}

// documented returns the page around the table, and the table.
func documented(t *testing.T) (before, table, after string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), tableBegins)
	require.True(t, ok, "the page has no table")
	table, after, ok = strings.Cut(rest, tableEnds)
	require.True(t, ok, "the table has no end")
	return before + tableBegins, table, tableEnds + after
}

func TestTheDocumentedTableIsTrue(t *testing.T) {
	largest := largestTested
	if *update || *full {
		largest = scale.Sizes[len(scale.Sizes)-1]
	}
	var got []scale.Result
	for _, cfg := range rows(largest) {
		r := play(t, cfg)
		plausible(t, r)
		got = append(got, r)
	}
	before, table, after := documented(t)
	if *update {
		table = scale.Table(got)
		require.NoError(t, os.WriteFile(page, []byte(before+table+after), 0o644))
	}
	if *full {
		t.Log("\n" + scale.Table(got))
	}
	want, err := scale.ParseTable(table)
	require.NoError(t, err)
	require.Len(t, want, len(rows(scale.Sizes[len(scale.Sizes)-1])))
	for i, r := range got {
		agree(t, want[i], r)
	}
}

// plausible checks what must hold whatever the page says.
func plausible(t *testing.T, r scale.Result) {
	t.Helper()
	plan := budget.DefaultPlan()
	require.Zero(t, r.Throttled, "%+v", r)
	require.LessOrEqual(t, float64(r.Worst), float64(plan.Capacity)+plan.Rate*plan.Window.Seconds(), "%+v", r)
	if r.Single {
		return
	}
	require.LessOrEqual(t, r.WaitP99, 250*time.Millisecond, "%+v", r)
	if r.Reads > 0 {
		require.Equal(t, 1.0, r.Answered, "%+v", r)
	}
}

// agree compares a row of the page with one just played. Goroutines of a bubble
// that wake at the same moment run in any order, so two runs differ a little.
func agree(t *testing.T, want, got scale.Result) {
	t.Helper()
	near := func(what string, a, b, least float64) {
		if math.Abs(a-b) > max(0.1*max(a, b), least) {
			t.Errorf("%d people, %d reads, single %v: the page says %s %v, now it is %v; run make golden and read the difference",
				got.People, got.Reads, got.Single, what, a, b)
		}
	}
	require.Equal(t, []any{want.People, want.Reads, want.Single}, []any{got.People, got.Reads, got.Single})
	near("presences", want.Refreshed, got.Refreshed, 0)
	near("median age", want.AgeP50.Seconds(), got.AgeP50.Seconds(), 1)
	near("age", want.AgeP99.Seconds(), got.AgeP99.Seconds(), 1)
	near("wait", want.WaitP99.Seconds(), got.WaitP99.Seconds(), 0.02)
	near("share answered", want.Answered, got.Answered, 0.02)
	near("worst window", float64(want.Worst), float64(got.Worst), 20)
	require.Equal(t, want.Throttled, got.Throttled)
}

func TestTheDocumentedPlotShowsTheDocumentedTable(t *testing.T) {
	_, table, _ := documented(t)
	results, err := scale.ParseTable(table)
	require.NoError(t, err)
	want := scale.Plot(results)
	if *update {
		require.NoError(t, os.WriteFile(plot, []byte(want), 0o644))
	}
	got, err := os.ReadFile(plot)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, string(got)), "run make golden")
}

func TestATableIsReadAsItWasWritten(t *testing.T) {
	text := scale.Table([]scale.Result{
		{Config: scale.Config{People: 1_000_000, Reads: 500, Single: true}, Refreshed: 67.4, AgeP50: 62 * time.Hour, AgeP99: 123 * time.Hour, WaitP99: 10 * time.Second, Answered: 0.09, Worst: 1351},
		{Config: scale.Config{People: 1000}, Refreshed: 1500, AgeP50: 9680 * time.Millisecond, AgeP99: 20 * time.Second, Worst: 5, Throttled: 3},
	})
	results, err := scale.ParseTable(text)
	require.NoError(t, err)
	require.Equal(t, text, scale.Table(results))
	for _, broken := range []string{"a\n-\n|1|", strings.Replace(text, "1,351", "many", 1), strings.Replace(text, "62 h", "62 x", 1)} {
		_, err := scale.ParseTable(broken)
		require.Error(t, err)
	}
}
