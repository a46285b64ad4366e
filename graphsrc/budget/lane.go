package budget

import (
	"context"
	"fmt"
)

// Lane is a class of requests; the lower its number, the sooner it is served.
type Lane uint8

const (
	// Interactive is for requests a client waits for.
	Interactive Lane = iota
	// Publish is for what users say about themselves.
	Publish
	// FirstLook is for the first reading for a new subscriber.
	FirstLook
	// Refresh is for readings that keep known things fresh.
	Refresh
)

// LaneCount is the number of lanes; arrays of Stats are indexed by Lane.
const LaneCount = 4

var laneNames = [LaneCount]string{
	Interactive: "interactive", Publish: "publish", FirstLook: "first-look", Refresh: "refresh",
}

// String returns the lane's name as used in logs and metric labels.
func (l Lane) String() string {
	if l < LaneCount {
		return laneNames[l]
	}
	return fmt.Sprintf("lane %d", uint8(l))
}

type (
	laneKey   struct{}
	permitKey struct{}
)

// WithLane returns a context whose requests are charged in the given lane.
func WithLane(ctx context.Context, lane Lane) context.Context {
	return context.WithValue(ctx, laneKey{}, lane)
}

// LaneOf returns the lane of WithLane; without one, the lane of the context's
// permit; without that, Interactive.
func LaneOf(ctx context.Context) Lane {
	if lane, ok := ctx.Value(laneKey{}).(Lane); ok {
		return lane
	}
	if p := permitOf(ctx); p != nil {
		return p.lane
	}
	return Interactive
}

// WithPermit returns a context whose first physical send spends the permit.
// Whoever acquired the permit still returns it at the end: that does nothing if
// it was spent.
func WithPermit(ctx context.Context, p *Permit) context.Context {
	return context.WithValue(ctx, permitKey{}, p)
}

func permitOf(ctx context.Context) *Permit {
	p, _ := ctx.Value(permitKey{}).(*Permit)
	return p
}
