package ops

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	sampleEvery = time.Second
	// plotSpan is what the plot shows, and the ring holds.
	plotSpan = 5 * time.Minute
	ringSize = int(plotSpan/sampleEvery) + 1
	// gap is the time between two samples from which on the line is broken:
	// the machine slept, or had no time.
	gap = 5 * sampleEvery
)

// watched is a tenant and the last minutes of its budget.
type watched struct {
	NamedTenant

	mu   sync.Mutex
	ring [ringSize]point
	next int // where the next sample goes
	n    int // how many there are
}

// point is a sample.
type point struct {
	at   time.Time
	used int
}

// sample asks every tenant for its budget once a second until ctx ends.
func (s *Server) sample(ctx context.Context) {
	due := make(chan struct{}, 1)
	for {
		now := s.clk.Now()
		for _, t := range s.tenants {
			t.add(point{now, t.Tenant.Budget().Used})
		}
		timer := s.clk.AfterFunc(sampleEvery, func() { due <- struct{}{} })
		select {
		case <-due:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (t *watched) add(p point) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring[t.next] = p
	t.next = (t.next + 1) % ringSize
	t.n = min(t.n+1, ringSize)
}

// points are the samples of the time that the plot shows, the oldest first.
func (t *watched) points(now time.Time) []point {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []point
	for i := range t.n {
		p := t.ring[(t.next-t.n+i+ringSize)%ringSize]
		if age := now.Sub(p.at); age >= 0 && age <= plotSpan {
			list = append(list, p)
		}
	}
	return list
}

// The plot's coordinates: seconds to the right, from plotSpan ago to now, and
// downwards from the top to plotHeight. The limit is at plotLimit, so that
// there is room to see it exceeded.
const (
	plotWidth  = int(plotSpan / time.Second)
	plotHeight = 100
	plotLimit  = 8
)

// plot is what the page draws: SVG path data of the line, and of the area under
// it.
type plot struct {
	Line string `json:"line"`
	Area string `json:"area"`
}

// draw draws samples, which are in the order of time.
func draw(points []point, now time.Time, limit int) plot {
	var line, area strings.Builder
	var last point
	var begin float64
	x := func(p point) float64 { return float64(plotWidth) - now.Sub(p.at).Seconds() }
	closeArea := func() {
		if !last.at.IsZero() {
			fmt.Fprintf(&area, "L%.1f %d L%.1f %d Z", x(last), plotHeight, begin, plotHeight)
		}
	}
	for _, p := range points {
		at, height := x(p), 0.0
		if limit > 0 {
			height = float64(p.used) / float64(limit) * (plotHeight - plotLimit)
		}
		y := min(max(plotHeight-height, 0), plotHeight)
		verb := "L"
		if last.at.IsZero() || p.at.Sub(last.at) > gap {
			closeArea()
			verb, begin = "M", at
		}
		for _, path := range []*strings.Builder{&line, &area} {
			fmt.Fprintf(path, "%s%.1f %.1f ", verb, at, y)
		}
		last = p
	}
	closeArea()
	return plot{Line: strings.TrimSpace(line.String()), Area: strings.TrimSpace(area.String())}
}
