package ucwaapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/representation"
	"ucwagate/ucwaapi/signin"
	"ucwagate/ucwaapi/xframe"
)

// Options are what New needs.
type Options struct {
	Gateway *gateway.Gateway
	SignIn  *signin.Authenticator
	Logger  *slog.Logger // nil logs nothing
	// Domain is named in discovery hrefs where the request names none.
	Domain string
	// PublicURL is the scheme and host of absolute hrefs; empty means the ones
	// the client used.
	PublicURL string
	// TrustedProxies are the networks whose X-Forwarded-Host, -Proto and
	// -For are believed.
	TrustedProxies []netip.Prefix
	// TrustedSockets says that those of whoever is at the other end of a unix
	// socket are believed too.
	TrustedSockets bool
	// AllowedOrigins are the origins of web pages that may use the gateway
	// through the frame, such as https://intranet.example.com.
	AllowedOrigins []string
	// ServerName is sent as X-MS-Server-Fqdn; empty means the host's name.
	ServerName string
	// NextWithResync adds next to an answer of the event channel that says
	// resync, for clients that know no other link. The documentation has resync
	// alone.
	NextWithResync bool
	// MaxBody is the largest request body in bytes (default 1 MiB).
	MaxBody int64
	// OnBatch is told how many requests each batch has that is executed. It
	// must not block. Nil is for nobody.
	OnBatch func(parts int)
	// OnChange is told of attempts to change something, for an audit log. It
	// runs within the request, of which it may look at the client's address,
	// and must not block. Nil is for nobody.
	OnChange func(*http.Request, Change)
	// Limits bound what clients may ask.
	Limits Limits
}

// Server answers UCWA requests. How long a client may take to send a body and to
// take an answer is the business of who serves it.
type Server struct {
	gateway *gateway.Gateway
	signIn  *signin.Authenticator
	log     *slog.Logger
	origin  *origin
	allowed allowedOrigins
	domain  string
	maxBody int64
	limits  Limits
	echo    *echo.Echo
	handler http.Handler
	header  headers
	buffers sync.Pool

	nextWithResync bool
	compressor     compressor
	frame          http.Handler
	batched        outstanding
	templates      map[string]template // by path as the router knows it
	onBatch        func(parts int)
	onChange       func(*http.Request, Change)
}

// New builds a server.
func New(o Options) (*Server, error) {
	if o.Gateway == nil || o.SignIn == nil {
		return nil, errors.New("the UCWA server needs a gateway and a sign-in")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 1 << 20
	}
	if o.ServerName == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("reading the host name: %w", err)
		}
		o.ServerName = name
	}
	at, err := newOrigin(o.PublicURL, o.ServerName, o.TrustedProxies, o.TrustedSockets)
	if err != nil {
		return nil, err
	}
	s := &Server{
		gateway: o.Gateway, signIn: o.SignIn, log: o.Logger, origin: at,
		allowed: newAllowedOrigins(o.AllowedOrigins), domain: o.Domain,
		maxBody: o.MaxBody, limits: o.Limits, echo: echo.New(), header: newHeaders(o.ServerName),
		nextWithResync: o.NextWithResync, templates: templatesByPath(), onBatch: o.OnBatch, onChange: o.OnChange,
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
	if s.frame, err = xframe.New(xframe.Options{AllowedOrigins: o.AllowedOrigins, Own: at.of}); err != nil {
		return nil, fmt.Errorf("building the frame for web pages: %w", err)
	}
	s.echo.HTTPErrorHandler = s.sendError
	s.register()
	if err := s.registerOptions(); err != nil {
		return nil, fmt.Errorf("describing the operations: %w", err)
	}
	// The token service ends a path of its own: net/http's form and header
	// rules, not Echo's.
	s.echo.Any(strings.ToLower(signin.TokenServicePath), s.tokenService(s.signIn.TokenService(s.origin.of)))
	s.handler = s.recovered(s.crossOrigin(lenientPaths(s.echo)))
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// ClientAddress returns a function that tells the address of the client behind
// trusted proxies, for whoever counts attempts by it; sockets is as in Options.
func ClientAddress(trustedProxies []netip.Prefix, sockets bool) func(*http.Request) string {
	return (&origin{trusted: trustedProxies, sockets: sockets}).clientAddress
}

// TrustedProxy returns a function that says whether a request comes from one of
// the trusted proxies, for whoever believes more of their headers.
func TrustedProxy(trustedProxies []netip.Prefix, sockets bool) func(*http.Request) bool {
	return (&origin{trusted: trustedProxies, sockets: sockets}).trusts
}

// call is one request on its way through a handler.
type call struct {
	echo.Context
	route     *Route
	format    representation.Format
	principal gateway.Principal
	identity  signin.Identity
	app       gateway.Application
	links     links
	// values backs the header values of the answer, one array for all of them.
	values [3]string
	change *Change // nil: nobody is told
}

// value returns s as a header value; i is its place in the call's array.
func (k *call) value(i int, s string) []string {
	k.values[i] = s
	return k.values[i : i+1 : i+1]
}

// handle runs a route's handler once the request has shown what it must.
func (s *Server) handle(route *Route) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		k := &call{Context: c, route: route, format: representation.Negotiate(r.Header["Accept"])}
		if err := s.checkOrigin(r); err != nil {
			return err
		}
		if route.access < signedIn {
			if err := s.admitStranger(r); err != nil {
				return err
			}
		} else {
			authenticate := s.signIn.Authenticate
			if route.cookie {
				authenticate = s.authenticatePhoto
			}
			who, err := authenticate(r)
			if err != nil {
				return s.refuse(c, err)
			}
			if err := s.admitUser(r.Context(), who.Address, 1); err != nil {
				return err
			}
			k.identity = who
			k.principal = gateway.Principal{Address: who.Address, ObjectID: who.ObjectID, TenantID: who.TenantID, Name: who.Name}
			r = r.WithContext(gateway.WithClient(r.Context(), k.principal))
			c.SetRequest(r)
			if x := exchangeOf(r); x != nil {
				x.Principal = k.principal
			}
		}
		if err := checkVersion(r); err != nil {
			return err
		}
		if route.access == application {
			id := c.Param("application")
			app, err := s.gateway.Application(r.Context(), k.principal, id)
			if err != nil {
				return err
			}
			k.app, k.links = app, linksOf(id)
			if x := exchangeOf(r); x != nil {
				x.Application = id
			}
		}
		if route.action != "" && s.onChange != nil {
			return s.serveChange(k)
		}
		return route.serve(s, k)
	}
}

// highestRevision is the highest revision of any resource here.
const highestRevision = 2

// checkVersion refuses a request that needs more than there is. A popular client
// asks every resource for 2.0, whatever that one has; what is no number says
// nothing.
func checkVersion(r *http.Request) error {
	for _, v := range r.Header["X-Ms-Requiresminresourceversion"] {
		if n, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil && n > highestRevision {
			return errVersion
		}
	}
	return nil
}

// refuse answers a request that shows no valid token.
func (s *Server) refuse(c echo.Context, err error) error {
	if errors.Is(err, signin.ErrUnavailable) {
		return &gateway.Error{
			Reason: gateway.Unavailable, Message: "The token cannot be verified at the moment.",
			RetryAfter: signin.UnavailableRetryAfter, Err: err,
		}
	}
	var no signin.ErrForbidden
	if errors.As(err, &no) {
		signin.SetDiagnostics(c.Response().Header(), no.Diagnostics, s.origin.of(c.Request()))
		return &gateway.Error{Reason: gateway.Forbidden, Message: no.Diagnostics.Reason, Err: err}
	}
	if err := s.admitStranger(c.Request()); err != nil {
		return err
	}
	s.header.common(c.Response().Header())
	s.signIn.Challenge(c.Response(), c.Request(), s.origin.of(c.Request()), signin.DiagnosticsFor(err))
	return nil
}

// tokenService puts the checks of every other route before the token service.
func (s *Server) tokenService(next http.Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if err := s.checkOrigin(r); err != nil {
			return err
		}
		if err := s.admitStranger(r); err != nil {
			return err
		}
		next.ServeHTTP(c.Response(), r)
		return nil
	}
}

// recovered keeps a panic of one request from ending the process or leaking
// into the answer.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.log.ErrorContext(r.Context(), "a handler panicked", "method", r.Method, "panic", p, "stack", string(debug.Stack()))
				s.writeReason(w, r, &representation.Reason{Code: codeServiceFailure, Message: messageFailure}, http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// clientGone reports whether an error only says that nobody waits any more.
func clientGone(ctx context.Context, err error) bool {
	return errors.Is(err, context.Canceled) && ctx.Err() != nil
}
