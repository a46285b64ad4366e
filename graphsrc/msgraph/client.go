package msgraph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/authentication"
	nethttp "github.com/microsoft/kiota-http-go"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// defaultTimeout bounds a logical call whose context has no deadline.
const defaultTimeout = 30 * time.Second

// placeholder stands for the signed-in user in the SDK's URLs; the UrlReplace
// handler makes "/me" of it.
const placeholder = "me-token-to-replace"

// Client speaks to one tenant. It is safe for concurrent use.
type Client struct {
	endpoints endpoints
	clientID  string // of the application as configured, may be empty
	adapter   abstractions.RequestAdapter
	tokens    *tokens
	idle      []*http.Transport // to close
	buffers   sync.Pool         // *bytes.Buffer, for answers
	logger    *slog.Logger
}

var (
	_ graphsrc.Graph       = (*Client)(nil)
	_ graphsrc.Publisher   = (*Client)(nil)
	_ graphsrc.PhotoReader = (*Client)(nil)
	_ graphsrc.Searcher    = (*Client)(nil)
)

// New returns a client of the configured tenant; nothing is sent yet. Its error
// lists every fault of cfg. wrap lets the caller put its budget beneath
// everything: it receives the real transport and returns the innermost
// RoundTripper as the SDK's pipeline sees it, which is called once for each
// physical send to Graph (and never for requests to the authority). An error
// of it that is a *graphsrc.Error reaches the caller unchanged. wrap and logger
// may be nil.
func New(cfg Config, wrap func(http.RoundTripper) http.RoundTripper, logger *slog.Logger) (*Client, error) {
	return newClient(cfg, wrap, logger, clock.System())
}

func newClient(cfg Config, wrap func(http.RoundTripper) http.RoundTripper, logger *slog.Logger, clk clock.Clock) (*Client, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	ep, endpointsErr := cfg.endpoints()
	authority := newTransport(cfg.RootCAs)
	credential, credentialErr := newCredential(cfg, ep, authority)
	if err := errors.Join(endpointsErr, credentialErr); err != nil {
		return nil, fmt.Errorf("setting up Graph: %w", err)
	}
	c, err := assemble(cfg, ep, &tokens{credential: credential, explain: func() error { return checkTokenFile(cfg) }, clock: clk}, wrap, logger)
	if err != nil {
		return nil, err
	}
	c.idle = append(c.idle, authority)
	return c, nil
}

// assemble makes a client of where Graph is and what gives its tokens: t has
// credential, explain and clock, the rest is filled in.
func assemble(cfg Config, ep endpoints, t *tokens, wrap func(http.RoundTripper) http.RoundTripper, logger *slog.Logger) (*Client, error) {
	t.scope, t.logger = ep.scope, logger
	t.ctx, t.cancel = context.WithCancel(context.Background())
	graph := newTransport(cfg.RootCAs)
	c := &Client{
		endpoints: ep, clientID: cfg.ClientID, tokens: t,
		idle:    []*http.Transport{graph},
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		logger:  logger,
	}
	var innermost http.RoundTripper = graph
	if wrap != nil {
		innermost = wrap(graph)
	}
	adapter, err := newAdapter(ep.base, &authTransport{base: ep.base, tokens: t, next: innermost, logger: logger})
	if err != nil {
		t.cancel()
		return nil, fmt.Errorf("setting up the request adapter: %w", err)
	}
	c.adapter = adapter
	return c, nil
}

// newAdapter returns a request adapter with exactly two handlers in a fixed
// order, its own serializers instead of the global registries, and no
// authentication of its own. The http.Client has no timeout, because the
// adapter would make a context of it that is never released.
func newAdapter(base *url.URL, auth http.RoundTripper) (abstractions.RequestAdapter, error) {
	client := &http.Client{
		Transport: nethttp.NewCustomTransportWithParentTransport(auth,
			nethttp.NewUrlReplaceHandler(true, map[string]string{"/users/" + placeholder: "/me"}),
			nethttp.NewParametersNameDecodingHandler(),
		),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	adapter, err := nethttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		&authentication.AnonymousAuthenticationProvider{},
		jsonserialization.NewJsonParseNodeFactory(), jsonserialization.NewJsonSerializationWriterFactory(), client)
	if err != nil {
		return nil, err
	}
	adapter.SetBaseUrl(base.String())
	return adapter, nil
}

// Token gets a token, or takes the one in use, and returns its end and the
// application permissions it carries; the permissions are read without
// checking the signature, and are nil if the token is opaque, empty if it
// carries none. Errors are *graphsrc.Error.
func (c *Client) Token(ctx context.Context) (expires time.Time, roles []string, err error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	token, err := c.tokens.get(ctx)
	if err != nil {
		return time.Time{}, nil, graphsrc.TransportError("get a token", err)
	}
	return token.ExpiresOn, rolesOf(token.Token), nil
}

// Permissions implements graphsrc.Publisher.
func (c *Client) Permissions(ctx context.Context) ([]string, error) {
	_, roles, err := c.Token(ctx)
	return roles, err
}

// Close ends token requests under way and closes idle connections. Calls under
// way end by their own contexts; calls begun later fail if they need a token.
func (c *Client) Close() {
	c.tokens.close()
	for _, transport := range c.idle {
		transport.CloseIdleConnections()
	}
}

// options are request options as every request builder takes them.
type options = []abstractions.RequestOption

// send makes one request through the SDK. build calls a request builder with
// the options given; the answer is decoded into into, see decode. The error is
// nil or a *graphsrc.Error that names op.
func (c *Client) send(ctx context.Context, op string, into any, build func(context.Context, options) error) error {
	return c.exchange(ctx, op, func(resp *http.Response) error { return c.decode(op, resp, into) }, build)
}

// exchange is send for answers that are not JSON: receive is called with the
// answer, whatever its status, and closes its body.
func (c *Client) exchange(ctx context.Context, op string, receive func(*http.Response) error,
	build func(context.Context, options) error,
) (err error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			c.logger.ErrorContext(ctx, "panic in a Graph call", "op", op, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			err = &graphsrc.Error{Op: op, Kind: graphsrc.KindMalformed, Message: "panic in a Graph call"}
		}
	}()
	answered := false
	handler := abstractions.NewRequestHandlerOption()
	handler.SetResponseHandler(func(response any, _ abstractions.ErrorMappings) (any, error) {
		answered = true
		resp, ok := response.(*http.Response)
		if !ok {
			return nil, &graphsrc.Error{Op: op, Kind: graphsrc.KindMalformed, Message: "no HTTP response"}
		}
		return nil, receive(resp)
	})
	err = build(ctx, options{handler})
	var known *graphsrc.Error
	switch {
	case err == nil && answered:
		return nil
	case err == nil:
		return &graphsrc.Error{Op: op, Kind: graphsrc.KindMalformed, Message: "no answer was handed over"}
	case errors.As(err, &known), isTransport(err):
		return graphsrc.TransportError(op, err)
	}
	return &graphsrc.Error{Op: op, Kind: graphsrc.KindInvalid, Message: "the request cannot be built", Err: err}
}

// checkID refuses what cannot be an object id or a user principal name and
// would change the meaning of the URL it is put into.
func checkID(op, id string) error {
	odd := id == "" || len(id) > 512 || strings.Trim(id, ".") == "" || strings.EqualFold(id, placeholder) ||
		strings.ContainsFunc(id, unicode.IsControl)
	if odd {
		return invalid(op, "not an id")
	}
	return nil
}

// invalid is the error of a request that is not worth sending.
func invalid(op, message string) error {
	return &graphsrc.Error{Op: op, Kind: graphsrc.KindInvalid, Message: message}
}
