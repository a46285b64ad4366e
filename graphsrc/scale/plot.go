package scale

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The plot's frame, in pixels.
const (
	plotWidth, plotHeight   = 660, 376
	plotLeft, plotRight     = 70, 480
	plotTop, plotBottom     = 46, 320
	fewest, most            = 1e3, 1e6 // people
	youngest, oldest        = 10, 1e6  // seconds
	batchedInk, singleInk   = "#0f7b6c", "#c2410c"
	axisInk, gridInk, paper = "#444444", "#dddddd", "#ffffff"
)

// Plot draws how old presence gets (AgeP99) against the people watched, as a
// small SVG. It is a function of the results alone.
func Plot(results []Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, sans-serif" font-size="13" fill="%s">`+"\n",
		plotWidth, plotHeight, plotWidth, plotHeight, axisInk)
	fmt.Fprintf(&b, "<title>Age of what is known of a watched person</title>\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="%s"/>`+"\n", plotWidth, plotHeight, paper)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="15">How old presence gets: the age that 99 %% of the people watched stay below</text>`+"\n", 16)
	grid(&b)
	for _, c := range []struct {
		single  bool
		reads   int
		ink     string
		dash    string // where the line is not drawn through
		caption string
		below   float64 // where the caption stands: both of ours end close together
	}{
		{true, 500, singleInk, "6 4", "one GET each, 500 reads/s", 4},
		{true, 0, singleInk, "", "one GET each, no reads", 4},
		{false, 0, batchedInk, "", nameBatched + ", no reads", -2},
		{false, 500, batchedInk, "6 4", nameBatched + ", 500 reads/s", 16},
	} {
		x, y, ok := curve(&b, results, c.single, c.reads, c.ink, c.dash)
		if ok {
			fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" fill="%s" font-size="12">%s</text>`+"\n", x+8, y+c.below, c.ink, c.caption)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func plotX(people float64) float64 {
	return plotLeft + (plotRight-plotLeft)*math.Log(people/fewest)/math.Log(most/fewest)
}

func plotY(age time.Duration) float64 {
	return plotBottom - (plotBottom-plotTop)*math.Log(age.Seconds()/youngest)/math.Log(float64(oldest)/youngest)
}

func grid(b *strings.Builder) {
	for _, n := range Sizes {
		x := plotX(float64(n))
		fmt.Fprintf(b, `<path d="M%.0f %dV%d" stroke="%s"/><text x="%.0f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, plotTop, plotBottom, gridInk, x, plotBottom+20, thousands(n))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">people watched</text>`+"\n", (plotLeft+plotRight)/2, plotBottom+44)
	for _, mark := range []struct {
		at   time.Duration
		name string
	}{
		{10 * time.Second, "10 s"},
		{time.Minute, "1 min"},
		{10 * time.Minute, "10 min"},
		{time.Hour, "1 h"},
		{10 * time.Hour, "10 h"},
		{4 * 24 * time.Hour, "4 days"},
	} {
		y := plotY(mark.at)
		fmt.Fprintf(b, `<path d="M%d %.0fH%d" stroke="%s"/><text x="%d" y="%.0f" text-anchor="end">%s</text>`+"\n",
			plotLeft, y, plotRight, gridInk, plotLeft-8, y+4, mark.name)
	}
}

// curve draws one line, and returns where it ends.
func curve(b *strings.Builder, results []Result, single bool, reads int, ink, dash string) (x, y float64, ok bool) {
	var path strings.Builder
	for _, r := range results {
		if r.Single != single || r.Reads != reads {
			continue
		}
		command := "L"
		if !ok {
			command, ok = "M", true
		}
		x, y = plotX(float64(r.People)), plotY(r.AgeP99)
		fmt.Fprintf(&path, "%s%.0f %.0f", command, x, y)
		fmt.Fprintf(b, `<circle cx="%.0f" cy="%.0f" r="3" fill="%s"/>`+"\n", x, y, ink)
	}
	if !ok {
		return 0, 0, false
	}
	if dash != "" {
		dash = ` stroke-dasharray="` + dash + `"`
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", path.String(), ink, dash)
	return x, y, true
}
