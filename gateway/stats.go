package gateway

import (
	"context"
	"fmt"
)

// Stats counts what a gateway keeps.
type Stats struct {
	// Applications and Subscriptions are how many live; where replicas share a
	// store, those of all.
	Applications, Subscriptions int
	// Parked is how many P-GETs wait in this process.
	Parked int
	// UnknownWords is how many different words of Graph the translation did not
	// know since the start; at most 1,000 are told apart.
	UnknownWords uint64
}

// Stats returns the present numbers. It asks the store, which may take until ctx
// ends.
func (g *Gateway) Stats(ctx context.Context) (s Stats, err error) {
	s.Parked, s.UnknownWords = int(g.parked.Load()), g.unknown.count()
	s.Applications, s.Subscriptions, err = g.store.Count(ctx)
	if err != nil {
		return s, fmt.Errorf("counting applications: %w", err)
	}
	return s, nil
}
