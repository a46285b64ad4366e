package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/hookrelay"
	"ucwagate/cmd/ucwagate/internal/ops"
	"ucwagate/cmd/ucwagate/internal/redisconn"
	"ucwagate/cmd/ucwagate/internal/ticketkey"
	"ucwagate/gateway"
	"ucwagate/gateway/memory"
	"ucwagate/gateway/redisclock"
	"ucwagate/gateway/redisstore"
	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redisbudget"
	"ucwagate/graphsrc/redisdirectory"
	"ucwagate/graphsrc/redisshare"
	"ucwagate/ucwaapi/signin"
)

const (
	// redisGrace is how long Redis may be away before the gateway says that it is
	// not ready: longer than a failover that nobody should notice.
	redisGrace = 5 * time.Second
	// ticketKeyKept is how long the key of web tickets outlives the last ticket
	// that the last replica may have given.
	ticketKeyKept = 24 * time.Hour
)

// Common is what the replicas have in common for one tenant; the zero one is that
// of a gateway without Redis.
type Common struct {
	Lessor budget.Lessor
	Shared graphsrc.Shared
	Relay  *hookrelay.Relay
	// Directory is nil where each replica has the whole directory.
	Directory graphsrc.SharedDirectory
}

// openRedis opens the way to Redis, if there is one, before whatever uses it: so
// it is closed after all of that.
func (a *App) openRedis() (err error) {
	if !a.cfg.Redis.Enabled() {
		return nil
	}
	a.redis, err = redisconn.Open(a.cfg.Redis, redisconn.Options{Clock: a.clock, Logger: a.log, Observe: a.metrics.RedisOperation})
	if err != nil {
		return err
	}
	a.onStop("connection to Redis", func(context.Context) error { a.redis.Close(); return nil })
	a.commonClock, err = redisclock.New(redisclock.Options{
		Client: a.redis, Prefix: a.cfg.Redis.Prefix, Clock: a.clock, Logger: a.log, Timeout: a.cfg.Redis.Timeout,
	})
	if err != nil {
		return fmt.Errorf("building the common clock: %w", err)
	}
	a.commonClock.Start()
	a.onStop("common clock", func(context.Context) error { a.commonClock.Close(); return nil })
	return nil
}

// storeClock times what the store keeps.
func (a *App) storeClock() clock.Clock {
	if a.commonClock != nil {
		return a.commonClock
	}
	return a.clock
}

// openStore is the engine: in memory, or shared.
func (a *App) openStore() (gateway.Store, error) {
	if a.redis != nil {
		store, err := redisstore.New(redisstore.Options{
			Client: a.commonClock.Client(), Prefix: a.cfg.Redis.Prefix, Clock: a.commonClock, Logger: a.log,
			Idle: a.cfg.Applications.Idle, Tombstone: a.cfg.Applications.Tombstone, Max: a.cfg.Applications.Max,
			Session: a.sessionLimits(), Timeout: a.cfg.Redis.Timeout,
		})
		if err != nil {
			return nil, fmt.Errorf("building the shared store: %w", err)
		}
		a.onStop("store", func(context.Context) error { store.Close(); return nil })
		return store, nil
	}
	store, err := memory.New(memory.Options{
		Clock: a.clock, Session: a.sessionLimits(), Idle: a.cfg.Applications.Idle, Tombstone: a.cfg.Applications.Tombstone, Max: a.cfg.Applications.Max,
	})
	if err != nil {
		return nil, fmt.Errorf("building the store: %w", err)
	}
	a.onStop("store", func(context.Context) error { store.Close(); return nil })
	return store, nil
}

// common is what t has in common with the other replicas.
func (a *App) common(t config.Tenant, log *slog.Logger) (Common, error) {
	if a.redis == nil {
		return Common{}, nil
	}
	return newCommon(a.redis, a.cfg, t, a.clock, log)
}

func newCommon(client *redisconn.Client, cfg config.Config, t config.Tenant, clk clock.Clock, log *slog.Logger) (Common, error) {
	r := cfg.Redis
	// The id, not the name: it is what Graph's limit is counted by.
	lessor, err := redisbudget.New(redisbudget.Options{Client: client, Prefix: r.Prefix, Tenant: t.TenantID, Replicas: r.Replicas})
	if err != nil {
		return Common{}, err
	}
	shared, err := redisshare.New(redisshare.Options{
		Client: client, Prefix: r.Prefix, Tenant: t.TenantID, Stale: cfg.Presence.Staleness, Clock: clk, Logger: log, Timeout: r.Timeout,
	})
	if err != nil {
		return Common{}, err
	}
	relay := hookrelay.New(hookrelay.Options{
		Client: client, Prefix: r.Prefix, Tenant: t.TenantID, Timeout: r.Timeout, Clock: clk, Logger: log,
	})
	common := Common{Lessor: lessor, Shared: shared, Relay: relay}
	if cfg.Directory.Sync {
		return common, nil
	}
	common.Directory, err = redisdirectory.New(redisdirectory.Options{
		Client: client, Prefix: r.Prefix, Tenant: t.TenantID, Clock: clk, Logger: log,
	})
	return common, err
}

// tickets are the web tickets and the cookies for photos: with the configured
// keys, else with the replicas' own, else with those of this process.
func (a *App) tickets(keys [][]byte) (web, photos *signin.Tickets, err error) {
	c := a.cfg.SignIn
	if len(keys) == 0 && a.redis != nil {
		return a.sharedTickets()
	}
	if web, err = signin.NewTickets(keys, c.TicketLifetime, a.clock); err != nil {
		return nil, nil, fmt.Errorf("building web tickets: %w", err)
	}
	if photos, err = signin.NewPhotoTickets(keys, a.clock); err != nil {
		return nil, nil, fmt.Errorf("building cookies for photos: %w", err)
	}
	return web, photos, nil
}

func (a *App) sharedTickets() (web, photos *signin.Tickets, err error) {
	if web, photos, err = signin.NewLateTickets(a.cfg.SignIn.TicketLifetime, a.clock); err != nil {
		return nil, nil, fmt.Errorf("building web tickets: %w", err)
	}
	keeper, err := ticketkey.Keep(ticketkey.Options{
		Client: a.redis, Prefix: a.cfg.Redis.Prefix, Keep: a.cfg.SignIn.TicketLifetime + ticketKeyKept, Clock: a.clock, Logger: a.log,
		Learn: func(keys [][]byte) error {
			if err := photos.Learn(keys); err != nil {
				return err
			}
			return web.Learn(keys)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	a.ticketKey = keeper
	a.onStop("key of web tickets", func(context.Context) error { keeper.Close(); return nil })
	return web, photos, nil
}

// redisComponent says why the gateway is not ready without Redis; none if it
// uses none.
func (a *App) redisComponent() []ops.Component {
	if a.redis == nil {
		return nil
	}
	flowed := a.budgetsFlow()
	return []ops.Component{{Name: "redis", Check: func(context.Context) error {
		if err := a.redis.Unreachable(redisGrace); err != nil {
			return err
		}
		if a.ticketKey != nil && !a.ticketKey.Known() {
			return errors.New("the key of web tickets is not known yet")
		}
		if err := a.commonClock.Unknown(); err != nil {
			return err
		}
		return flowed()
	}}}
}

// budgetsFlow checks that each tenant's budget has had a token, once: in a Redis
// that knows nothing it takes some seconds until it is known who shares it.
func (a *App) budgetsFlow() func() error {
	flowed := make(map[*Tenant]bool)
	return func() error {
		for _, t := range a.tenants {
			if s := t.Budget.Stats(); s.Tokens >= 1 || s.InWindow > 0 {
				flowed[t] = true
			}
			if !flowed[t] {
				return fmt.Errorf("the budget of tenant %s does not flow yet", t.Name)
			}
		}
		return nil
	}
}
