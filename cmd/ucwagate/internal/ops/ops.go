package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc/clock"
)

// Options are what New needs.
type Options struct {
	// Tenants are shown in this order; their names are unique.
	Tenants []NamedTenant
	// Gateway may be nil: its numbers are left out.
	Gateway Gateway
	// Errors are the problems shown; nil shows none.
	Errors *Errors
	// Metrics answers /metrics; nil: not found.
	Metrics http.Handler
	// Components are what /readyz asks.
	Components []Component
	// CheckTimeout bounds each check (default 2 s).
	CheckTimeout time.Duration
	// Profiling switches /debug/pprof/ on.
	Profiling bool
	// Version is shown.
	Version string
	Clock   clock.Clock  // nil: the system's
	Logger  *slog.Logger // nil logs nothing
}

// Server answers the internal listener. It is safe for concurrent use.
type Server struct {
	routes  map[string]http.Handler
	pprof   http.Handler // nil: switched off
	ready   *readiness
	errors  *Errors
	gateway Gateway
	tenants []*watched
	clk     clock.Clock
	log     *slog.Logger
	version string
	began   time.Time

	started, draining atomic.Bool

	looking sync.Mutex // one at a time asks for what the page shows
	shown   *status    // what was shown last
	shownAt time.Time

	stop context.CancelFunc // nil until Start
	work sync.WaitGroup
}

// New checks o and builds a server that does not sample yet.
func New(o Options) (*Server, error) {
	s := &Server{errors: o.Errors, gateway: o.Gateway, clk: o.Clock, log: o.Logger, version: o.Version}
	if s.clk == nil {
		s.clk = clock.System()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.errors == nil {
		s.errors = NewErrors(s.clk)
	}
	s.began = s.clk.Now()
	seen := map[string]bool{}
	for _, t := range o.Tenants {
		if t.Tenant == nil || t.Name == "" || seen[t.Name] {
			return nil, fmt.Errorf("the status page: tenant %q is nil, or its name is empty or taken", t.Name)
		}
		seen[t.Name] = true
		s.tenants = append(s.tenants, &watched{NamedTenant: t})
	}
	var err error
	if s.ready, err = newReadiness(o.Components, o.CheckTimeout, s.clk); err != nil {
		return nil, err
	}
	s.routes = map[string]http.Handler{
		"/":            http.HandlerFunc(s.page),
		"/status.json": http.HandlerFunc(s.statusJSON),
		"/livez":       http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") }),
		"/readyz":      http.HandlerFunc(s.readyz),
		"/startupz":    http.HandlerFunc(s.startupz),
		"/status.css":  asset("text/css; charset=utf-8", styleSheet),
		"/status.js":   asset("text/javascript; charset=utf-8", script),
		"/icon.svg":    asset("image/svg+xml", icon),
	}
	if o.Metrics != nil {
		s.routes["/metrics"] = o.Metrics
	}
	if o.Profiling {
		s.pprof = profiles()
	}
	return s, nil
}

// Start samples what is sent to Graph once a second until ctx ends or Close. It
// is called once.
func (s *Server) Start(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	s.work.Go(func() { s.sample(ctx) })
}

// Close ends what Start began. The server goes on to answer.
func (s *Server) Close() {
	if s.stop != nil {
		s.stop()
	}
	s.work.Wait()
}

// Started says that the gateway serves: before, it is neither started nor ready.
func (s *Server) Started() { s.started.Store(true) }

// Drain says that the gateway is about to end: it is not ready any more.
func (s *Server) Drain() { s.draining.Store(true) }

const allowedMethods = http.MethodGet + ", " + http.MethodHead

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// Nothing of another host is loaded, and no other page may show this one.
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	next := s.routes[r.URL.Path]
	if next == nil && strings.HasPrefix(r.URL.Path, "/debug/pprof/") {
		next = s.pprof
	}
	switch {
	case next == nil:
		plain(w, http.StatusNotFound, "not found\n")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", allowedMethods)
		plain(w, http.StatusMethodNotAllowed, "only GET and HEAD are allowed\n")
	default:
		next.ServeHTTP(w, r)
	}
}

func (s *Server) startupz(w http.ResponseWriter, _ *http.Request) {
	if !s.started.Load() {
		plain(w, http.StatusServiceUnavailable, "starting\n")
		return
	}
	plain(w, http.StatusOK, "ok\n")
}

// profiles are those of net/http/pprof, which puts them into the default mux as
// well; nothing here serves that one.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func plain(w http.ResponseWriter, status int, text string) {
	send(w, status, "text/plain; charset=utf-8", []byte(text))
}

func asset(contentType string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { send(w, http.StatusOK, contentType, content) })
}

func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone if it fails
}

var errNoCheck = errors.New("a component needs a name of its own and a check")
