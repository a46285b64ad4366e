package redisdirectory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// Options configure a Directory. Zero fields take the defaults given.
type Options struct {
	// Client is required and stays the caller's.
	Client rueidis.Client
	// Prefix begins all keys. Default ucwagate.
	Prefix string
	// Tenant is whose directory it is; required.
	Tenant string
	Clock  clock.Clock  // default: the system's
	Logger *slog.Logger // nil logs nothing
}

// Directory is graphsrc.SharedDirectory on Redis. It runs nothing by itself.
type Directory struct {
	o    Options
	base string // of all keys
}

var _ graphsrc.SharedDirectory = (*Directory)(nil)

// New makes a Directory. Nothing is asked before the first call.
func New(o Options) (*Directory, error) {
	if o.Client == nil || o.Tenant == "" {
		return nil, errors.New("sharing look-ups: a client and a tenant are needed")
	}
	if o.Prefix == "" {
		o.Prefix = "ucwagate"
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Directory{o: o, base: o.Prefix + ":directory:" + o.Tenant + ":"}, nil
}

// Recall implements graphsrc.SharedDirectory.
func (d *Directory) Recall(ctx context.Context, addresses []string) ([]graphsrc.LookedUp, error) {
	commands := make(rueidis.Commands, 0, 2*len(addresses))
	for _, a := range addresses {
		key := d.base + a
		commands = append(commands, d.o.Client.B().Get().Key(key).Build(), d.o.Client.B().Pttl().Key(key).Build())
	}
	answers := d.o.Client.DoMulti(ctx, commands...)
	now := d.o.Clock.Now()
	var out []graphsrc.LookedUp
	for i, a := range addresses {
		stored, err := answers[2*i].ToString()
		if rueidis.IsRedisNil(err) {
			continue
		}
		left, err2 := answers[2*i+1].AsInt64()
		if err := errors.Join(err, err2); err != nil {
			return out, fmt.Errorf("reading look-ups: %w", err)
		}
		if left <= 0 { // it has just ended
			continue
		}
		u, err := decode(stored)
		if err != nil {
			d.o.Logger.Error("a look-up could not be read", "tenant", d.o.Tenant, "error", err)
			continue
		}
		out = append(out, graphsrc.LookedUp{Address: a, User: u, Until: now.Add(time.Duration(left) * time.Millisecond)})
	}
	return out, nil
}

// Keep implements graphsrc.SharedDirectory.
func (d *Directory) Keep(ctx context.Context, outcomes []graphsrc.LookedUp) error {
	now := d.o.Clock.Now()
	commands := make(rueidis.Commands, 0, len(outcomes))
	for i := range outcomes {
		out := &outcomes[i]
		left := out.Until.Sub(now).Milliseconds()
		if left <= 0 {
			continue
		}
		stored, err := encode(out.User)
		if err != nil {
			return fmt.Errorf("writing look-ups: %w", err)
		}
		commands = append(commands, d.o.Client.B().Set().Key(d.base+out.Address).Value(stored).PxMilliseconds(left).Build())
	}
	for _, answer := range d.o.Client.DoMulti(ctx, commands...) {
		if err := answer.Error(); err != nil {
			return fmt.Errorf("writing look-ups: %w", err)
		}
	}
	return nil
}
