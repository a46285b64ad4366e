package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"ucwagate/cmd/ucwagate/internal/metrics"
	"ucwagate/cmd/ucwagate/internal/ops"
	"ucwagate/gateway"
	"ucwagate/graphsrc"
	"ucwagate/graphsrc/cover"
	"ucwagate/graphsrc/notify"
)

// internal builds what the internal listener serves; the tenants and the gateway
// are there.
func (a *App) internal() error {
	o := ops.Options{
		Gateway: watchedGateway{a.domain}, Errors: a.problems, Profiling: a.cfg.Internal.Profiling,
		Version: build().Version, Clock: a.clock, Logger: a.log,
	}
	for _, t := range a.tenants {
		counted := metrics.Tenant{Name: t.Name, Budget: t.Budget, Units: t.Units, Source: t.Source}
		if a.redis != nil {
			counted.Leads = t.Source.Leads
		}
		shown := ops.Parts{Budget: t.Budget, Source: t.Source}
		if t.notifications != nil {
			counted.Coverage, counted.Notifications = coverage{t}, received{t}
			shown.Coverage = coverage{t}
		}
		if err := a.metrics.AddTenant(counted); err != nil {
			return err
		}
		o.Tenants = append(o.Tenants, ops.NamedTenant{Name: t.Name, Tenant: ops.TenantOf(shown)})
		o.Components = append(o.Components, ops.Component{Name: "Microsoft Graph, tenant " + t.Name, Check: a.reachable(t)})
	}
	o.Components = append(o.Components, a.redisComponent()...)
	if a.redis != nil {
		a.metrics.SetRedis(func() bool { return a.redis.State().Err == nil })
	}
	a.metrics.SetGateway(watchedGateway{a.domain})
	var err error
	if o.Metrics, err = a.metrics.Handler(); err != nil {
		return fmt.Errorf("building the metrics: %w", err)
	}
	a.ops, err = ops.New(o)
	return err
}

// reachable checks that Graph can be asked in the name of the gateway. Once it
// could, it is not checked again: a gateway that cannot reach Graph for a while
// still serves what it knows, better than none would.
func (a *App) reachable(t *Tenant) func(context.Context) error {
	var once atomic.Bool
	return func(ctx context.Context) error {
		if once.Load() {
			return nil
		}
		granted, err := t.Graph.Permissions(ctx)
		if err != nil {
			a.problems.RecordError(t.Name, err)
			var known *graphsrc.Error
			if errors.As(err, &known) {
				return fmt.Errorf("there is no token: %s", known.Kind)
			}
			return errors.New("there is no token")
		}
		if granted != nil && !slices.ContainsFunc(granted, func(p string) bool { return p == "Presence.Read.All" || p == graphsrc.PublishPermission }) {
			return errors.New("the permission Presence.Read.All is not granted")
		}
		once.Store(true)
		return nil
	}
}

// listenInternal opens the internal listener, if there is to be one.
func (a *App) listenInternal(ctx context.Context) error {
	a.ops.Start(context.WithoutCancel(ctx))
	a.onStop("status", func(context.Context) error { a.ops.Close(); return nil })
	if a.cfg.Internal.Listen == "" {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Internal.Listen)
	if err != nil {
		return fmt.Errorf("opening the internal listener: %w", err)
	}
	a.internalAddr = l.Addr()
	a.serveBeside("internal listener", l, a.ops)
	a.log.InfoContext(ctx, "listening for health, metrics and status", "address", a.internalAddr.String())
	return nil
}

// serveBeside serves on a listener besides the one for clients. It is closed at
// once in the end: nobody waits there.
func (a *App) serveBeside(name string, l net.Listener, h http.Handler) {
	server := newServer(h, a.log)
	a.onStop(name, func(context.Context) error { return server.Close() })
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.served <- fmt.Errorf("%s: %w", name, err)
		}
	}()
}

// build is what the build knows of itself.
func build() metrics.Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return metrics.Build{Version: "unknown"}
	}
	b := metrics.Build{Version: info.Main.Version}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

// watchedGateway is the gateway as metrics and status page ask it.
type watchedGateway struct{ *gateway.Gateway }

func (g watchedGateway) Stats(ctx context.Context) (metrics.GatewayStats, error) {
	s, err := g.Gateway.Stats(ctx)
	return metrics.GatewayStats(s), err
}

func (g watchedGateway) Status(ctx context.Context) (ops.GatewayStatus, error) {
	s, err := g.Gateway.Stats(ctx)
	return ops.GatewayStatus{Applications: s.Applications, Subscriptions: s.Subscriptions, Parked: s.Parked}, err
}

type coverage struct{ *Tenant }

func (c coverage) Stats() cover.Stats { s, _, _ := c.Notifications(); return s }

type received struct{ *Tenant }

func (r received) Stats() notify.Stats { _, s, _ := r.Notifications(); return s }

// drainDelay waits while the gateway says that it is not ready and still serves.
func (a *App) drainDelay(ctx context.Context) {
	if a.cfg.Server.DrainDelay <= 0 {
		return
	}
	t := time.NewTimer(a.cfg.Server.DrainDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
