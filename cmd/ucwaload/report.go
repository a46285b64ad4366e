package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// goal is the largest ratio of gateway to bare handler that is aimed at.
const goal = 1.3

// batch is how many people one request to Graph can be about.
const batch = 650

// printReport prints what was measured.
func printReport(out io.Writer, c *runCommand, gateway, bare *result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\n%d parked P-GETs, each watching %d of %d people; refresh %s, GOGC=%d, %s, %d CPUs\n",
		c.N, c.Watch, c.People, c.Refresh, c.GOGC, runtime.Version(), runtime.NumCPU())
	fmt.Fprint(out, "A ratio is gateway / bare net/http handler.\n\n")
	printMemory(w, c.N, gateway, bare)
	first := func(x round) []time.Duration { return x.fromFirst }
	due := func(x round) []time.Duration { return x.fromDue }
	fmt.Fprintf(w, "Wake latency from the moment the first client is told (median of %d rounds; one client: from due)\n", c.Rounds)
	printWakes(w, gateway, bare, [3]func(round) []time.Duration{due, first, first}, true)
	fmt.Fprint(w, "Wake latency from the moment due (gateway: changed presence handed over + 5 s; bare: request to wake sent)\n")
	printWakes(w, gateway, bare, [3]func(round) []time.Duration{due, due, due}, false)
	fmt.Fprintf(w, "Answers that wake: gateway %d bytes, bare %d bytes\n\n", gateway.answerBytes, bare.answerBytes)
	printSweeps(w, c, gateway.sweeps)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func printMemory(w io.Writer, n int, gateway, bare *result) {
	perClient := func(r *result, f footprint) float64 { return float64(f.resident-r.before.resident) / float64(n) / 1024 }
	perHeap := func(of func(footprint) int) (x, y float64) {
		each := func(r *result) float64 { return float64(of(r.after)-of(r.before)) * 1024 / float64(n) }
		return each(gateway), each(bare)
	}
	row := func(name, unit string, of func(*result) float64) {
		fmt.Fprintf(w, "%s\t%.1f %s\t%.1f %s\t\t\t\n", name, of(gateway), unit, of(bare), unit)
	}
	fmt.Fprint(w, "Memory\tgateway\tbare\tratio\tgoal\t\n")
	row("resident before parking", "MiB", func(r *result) float64 { return float64(r.before.resident) / (1 << 20) })
	row("resident after parking", "MiB", func(r *result) float64 { return float64(r.after.resident) / (1 << 20) })
	x, y := perClient(gateway, gateway.after), perClient(bare, bare.after)
	fmt.Fprintf(w, "resident per parked P-GET\t%.1f KiB\t%.1f KiB\t%.2f\t%s\t\n", x, y, x/y, verdict(x/y))
	x, y = perHeap(func(f footprint) int { return f.heap.live })
	fmt.Fprintf(w, "of it live heap (traced)\t%.1f KiB\t%.1f KiB\t%.2f\t\t\n", x, y, x/y)
	x, y = perHeap(func(f footprint) int { return f.heap.stacks })
	fmt.Fprintf(w, "of it stacks (traced)\t%.1f KiB\t%.1f KiB\t%.2f\t\t\n", x, y, x/y)
	x, y = perClient(gateway, gateway.woken), perClient(bare, bare.woken)
	fmt.Fprintf(w, "resident per parked P-GET after all rounds\t%.1f KiB\t%.1f KiB\t%.2f\t\t\n", x, y, x/y)
	fmt.Fprintf(w, "resident per application with its subscription\t%.1f KiB\t\t\t\t\n",
		float64(gateway.before.resident-gateway.empty.resident)/float64(n)/1024)
	fmt.Fprintf(w, "live heap per application with its subscription\t%.1f KiB\t\t\t\t\n\n",
		float64(gateway.before.heap.live-gateway.empty.heap.live)*1024/float64(n))
}

func verdict(ratio float64) string {
	if ratio <= goal {
		return fmt.Sprintf("≤ %.1f met", goal)
	}
	return fmt.Sprintf("≤ %.1f MISSED", goal)
}

func printWakes(w io.Writer, gateway, bare *result, of [3]func(round) []time.Duration, judged bool) {
	fmt.Fprint(w, "clients\tpercentile\tgateway\tbare\tratio\tgoal\t\n")
	for i := range of {
		for _, q := range []struct {
			name string
			p    float64
		}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
			x, y := overRounds(gateway.wakes[i], of[i], q.p), overRounds(bare.wakes[i], of[i], q.p)
			ratio, met := float64(x)/float64(y), ""
			if judged {
				met = verdict(ratio)
			}
			fmt.Fprintf(w, "%d\t%s\t%.2f ms\t%.2f ms\t%.2f\t%s\t\n", len(gateway.wakes[i][0].fromDue), q.name, ms(x), ms(y), ratio, met)
		}
	}
	fmt.Fprintln(w)
}

// overRounds returns the median over all rounds of a percentile: one round in
// which something else wanted the processor does not decide.
func overRounds(rounds []round, of func(round) []time.Duration, p float64) time.Duration {
	var each []time.Duration
	for _, r := range rounds {
		each = append(each, percentile(of(r), p))
	}
	slices.Sort(each)
	return percentile(each, 0.5)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// percentile returns the smallest of sorted values that a share p of them does
// not exceed.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(p * float64(len(sorted)))
	if float64(rank) < p*float64(len(sorted)) {
		rank++ // the ceiling
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func printSweeps(w io.Writer, c *runCommand, s sweeps) {
	ideal := (s.watched + batch - 1) / batch
	fmt.Fprintf(w, "Sweeps (%.2f of %d people watched, nothing changing)\n", s.count, s.watched)
	fmt.Fprintf(w, "CPU time of the gateway per sweep\t%.3f s\t\t\n", s.cpu.Seconds()/s.count)
	fmt.Fprintf(w, "one sweep lasts\t%.2f s\t(refresh %s)\t\n", s.took.Seconds()/s.count, c.Refresh)
	fmt.Fprintf(w, "Graph requests per sweep\t%.2f\t(ideal %d)\t\n", float64(s.requests)/s.count, ideal)
	fmt.Fprintf(w, "most Graph requests in any 30 s, from the start\t%d\t(limit 1500)\t\n", s.worstWindow)
}
