package sharetest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// Directory is a graphsrc.SharedDirectory in memory, one for all sources. Cut makes
// it unreachable.
type Directory struct {
	clk clock.Clock

	mu      sync.Mutex
	kept    map[string]graphsrc.LookedUp
	recalls []int
	keeps   int
	cut     bool
}

var _ graphsrc.SharedDirectory = (*Directory)(nil)

// NewDirectory makes one in which nothing is kept.
func NewDirectory(clk clock.Clock) *Directory {
	return &Directory{clk: clk, kept: make(map[string]graphsrc.LookedUp)}
}

// Recall implements graphsrc.SharedDirectory.
func (d *Directory) Recall(_ context.Context, addresses []string) ([]graphsrc.LookedUp, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(addresses) > graphsrc.DirectoryBatch {
		panic(fmt.Sprintf("%d addresses were recalled at once", len(addresses)))
	}
	d.recalls = append(d.recalls, len(addresses))
	if d.cut {
		return nil, ErrCut
	}
	var out []graphsrc.LookedUp
	for _, a := range addresses {
		if one, ok := d.kept[a]; ok && d.clk.Now().Before(one.Until) {
			out = append(out, one)
		}
	}
	return out, nil
}

// Keep implements graphsrc.SharedDirectory.
func (d *Directory) Keep(_ context.Context, outcomes []graphsrc.LookedUp) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(outcomes) > graphsrc.DirectoryBatch {
		panic(fmt.Sprintf("%d outcomes were kept at once", len(outcomes)))
	}
	d.keeps++
	if d.cut {
		return ErrCut
	}
	for _, one := range outcomes {
		if d.clk.Now().Before(one.Until) {
			d.kept[one.Address] = one
		}
	}
	return nil
}

// Cut makes it unreachable, or ends that.
func (d *Directory) Cut(cut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = cut
}

// Recalls returns how many addresses were asked for in each trip, Keeps counts the
// trips that kept something.
func (d *Directory) Recalls() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.recalls)
}

// Keeps counts the calls of Keep.
func (d *Directory) Keeps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keeps
}
