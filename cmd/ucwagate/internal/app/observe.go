package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/metrics"
	"ucwagate/cmd/ucwagate/internal/observe"
	"ucwagate/cmd/ucwagate/internal/ops"
	"ucwagate/gateway"
	"ucwagate/ucwaapi"
	"ucwagate/ucwaapi/signin"
)

// openTracing begins to record spans, if they are to be sent anywhere.
func (a *App) openTracing() error {
	c := a.cfg.Tracing
	if c.Endpoint == "" {
		return nil
	}
	headers, err := c.Headers()
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	a.tracing, err = observe.NewTracing(observe.TracingOptions{
		Endpoint: c.Endpoint, Headers: headers, SampleRatio: c.SampleRatio,
		ServiceName: c.ServiceName, ServiceVersion: build().Version, Logger: a.log, Clock: a.clock,
	})
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	a.onStop("traces", a.stopTracing)
	return nil
}

// leastFlush is what is left for the last spans where everything else has used
// up the grace.
const leastFlush = time.Second

// stopTracing sends the last spans in what is left of the grace. A collector that
// cannot be reached is no reason to end with an error.
func (a *App) stopTracing(ctx context.Context) error {
	left := a.cfg.Server.ShutdownGrace
	if !a.graceEnds.IsZero() {
		left = a.graceEnds.Sub(a.clock.Now())
	}
	ctx, cancel := context.WithTimeout(ctx, max(left, leastFlush))
	defer cancel()
	if err := a.tracing.Stop(ctx); err != nil {
		a.log.WarnContext(ctx, "the last traces were not sent", "error", err)
	}
	return nil
}

// openRequests finds out what is recorded of clients' requests.
func (a *App) openRequests() {
	a.requests = observe.NewRequests(observe.Options{
		Access:  map[config.LogAccess]observe.Access{config.AccessErrors: observe.AccessErrors, config.AccessAll: observe.AccessAll}[a.cfg.Log.Access],
		Tracing: a.tracing, Trusted: ucwaapi.TrustedProxy(a.cfg.Server.TrustedProxies, a.cfg.Server.TrustedSocket),
		Client: a.clientAddress, Whose: a.userOf, Logger: a.log, Clock: a.clock,
	})
}

// The templates of what is served besides UCWA.
var (
	hookTemplate     = config.HookPath(":tenant")
	redirectTemplate = "redirect"
)

// observed counts and records the requests of clients and of Graph to h; server
// knows the templates of UCWA.
func (a *App) observed(server *ucwaapi.Server, h http.Handler) http.Handler {
	receivers := make(map[string]bool)
	for _, t := range a.tenants {
		receivers[config.HookPath(t.Name)] = t.notifications != nil
	}
	return a.recorded(append(ucwaapi.Templates(), hookTemplate), func(r *http.Request) observe.Route {
		if receivers[r.URL.Path] {
			return observe.Route{Template: hookTemplate}
		}
		template, held := server.Template(r)
		return observe.Route{Template: template, PGet: held}
	}, h)
}

// redirected counts and records the requests that are sent to HTTPS.
func (a *App) redirected(h http.Handler) http.Handler {
	return a.recorded([]string{redirectTemplate}, func(*http.Request) observe.Route { return observe.Route{Template: redirectTemplate} }, h)
}

func (a *App) recorded(templates []string, route func(*http.Request) observe.Route, h http.Handler) http.Handler {
	count := a.metrics.Middleware(templates, func(r *http.Request) metrics.Route { return metrics.Route(route(r)) })
	return count(a.requests.Middleware(route, h))
}

// userOf is what logs show of somebody.
func (a *App) userOf(p gateway.Principal) observe.User {
	u := observe.User{Account: a.authenticator.Pseudonym(p.Address)}
	u.Tenant, u.ObjectID = a.domain.Whose(p.Address)
	if p.ObjectID != "" {
		u.ObjectID = p.ObjectID
	}
	if a.cfg.Log.Names {
		u.Address = p.Address
	}
	return u
}

// unavailable is what is wrong where a proof of a method cannot be checked.
var unavailable = map[string]ops.Cause{signin.MethodPassword: ops.CausePasswords, signin.MethodEntra: ops.CauseSignInKeys}

// signedIn counts an attempt to sign in and writes it into the audit log.
func (a *App) signedIn(ctx context.Context, s signin.SignIn) {
	a.metrics.SignIn(s.Method, string(s.Result))
	if s.Result == signin.ResultUnavailable {
		a.problems.Record(ops.Problem{Cause: unavailable[s.Method]})
	}
	user := observe.User{Account: s.Account, ObjectID: s.ObjectID, Address: s.Address}
	a.audit(ctx, "sign-in", append([]slog.Attr{
		slog.String("method", s.Method), slog.String("result", string(s.Result)), slog.String("peer", s.Peer),
	}, user.Attrs()...))
}

// noteNotifications has the status page show what goes wrong with a tenant's
// change notifications and never is a request to Graph.
func (a *App) noteNotifications(t *Tenant) {
	note := func(cause ops.Cause) func() {
		return func() { a.problems.Record(ops.Problem{Tenant: t.Name, Cause: cause}) }
	}
	if n := t.notifications; n != nil {
		n.signInNeeded, n.refused = note(ops.CauseAccount), note(ops.CauseNotifications)
	}
}

// changed writes an attempt to change something into the audit log.
func (a *App) changed(r *http.Request, c ucwaapi.Change) {
	attrs := []slog.Attr{slog.String("result", string(c.Result))}
	if c.Code != "" {
		attrs = append(attrs, slog.String("code", c.Code))
	}
	if c.Value != "" {
		attrs = append(attrs, slog.String("value", c.Value))
	}
	attrs = append(attrs, slog.String("peer", a.clientAddress(r)), slog.String("application", c.Application))
	attrs = append(attrs, a.userOf(c.Principal).Attrs()...)
	if c.About != "" {
		about := a.userOf(gateway.Principal{Address: c.About})
		attrs = append(attrs, slog.Attr{Key: "about", Value: slog.GroupValue(about.Attrs()...)})
	}
	a.audit(r.Context(), c.Action, attrs)
}

func (a *App) audit(ctx context.Context, action string, attrs []slog.Attr) {
	attrs = append([]slog.Attr{slog.String("action", action)}, attrs...)
	a.log.LogAttrs(ctx, slog.LevelInfo, "audit: "+action, slog.Attr{Key: "audit", Value: slog.GroupValue(attrs...)})
}
