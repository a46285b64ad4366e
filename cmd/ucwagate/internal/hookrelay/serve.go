package hookrelay

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc/clock"
)

const (
	// atOnce is how many entries are read at a time; each may have a megabyte.
	atOnce = 8
	// block is how long a reading waits for something to come, and slack how long
	// it may take beyond that.
	block, slack = 5 * time.Second, 2 * time.Second
	// pause is the time between two tries when something did not work.
	pause = time.Second
)

// Serve gives the sink what arrives, in the order of arrival, until ctx ends.
// Where leads reports false nothing is taken: it is for another replica, or will
// be.
func (r *Relay) Serve(ctx context.Context, leads func() bool, sink Sink) {
	given := "" // the last one that the sink has taken
	for ctx.Err() == nil {
		entries, err := r.read(ctx)
		for _, e := range entries {
			if !leads() || e.ID != given && !give(sink, e) {
				err = errNotNow
				break
			}
			given = e.ID
			if err = r.done(ctx, e.ID); err != nil {
				break
			}
		}
		if err != nil && ctx.Err() == nil {
			r.o.Logger.DebugContext(ctx, "what other replicas received is not taken", "tenant", r.o.Tenant, "error", err)
			clock.Wait(ctx, r.o.Clock, pause)
		}
	}
}

// give reports whether the sink is done with an entry.
func give(sink Sink, e rueidis.XRangeEntry) bool {
	if kind(e.FieldValues["k"]) == validation {
		sink.Validated()
		return true
	}
	return sink.Take([]byte(e.FieldValues["b"]))
}

// read returns the first entries, and waits for one if there is none.
func (r *Relay) read(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	// Not a deadline: with one the client does not look at anything else, and the
	// end of ctx would wait for it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(block+slack, cancel).Stop()
	streams, err := r.o.Client.Do(ctx, r.o.Client.B().Xread().Count(atOnce).Block(block.Milliseconds()).
		Streams().Key(r.keys[0]).Id("0-0").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what arrived at other replicas: %w", err)
	}
	return streams[r.keys[0]], nil
}

func (r *Relay) done(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	if err := doneScript.Exec(ctx, r.o.Client, r.keys, []string{id}).Error(); err != nil {
		return fmt.Errorf("removing what was taken: %w", err)
	}
	return nil
}
