package delegated

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/msgraph"
)

const (
	// permission is the delegated permission that tokens carry at least.
	//
	// Source: https://learn.microsoft.com/en-us/graph/changenotifications-for-presence
	permission = "Presence.Read.All"
	// expiryMargin is how long before its end a token is replaced; MSAL uses
	// the same.
	expiryMargin = 5 * time.Minute
	// attemptTimeout bounds one attempt to get a token, whoever waits for it.
	attemptTimeout = 30 * time.Second
	// signInHold is how long nobody is asked again once only a person can help.
	signInHold = time.Minute
	// failureHold is how long any other failure is repeated instead of asking
	// again; Retry-After may lengthen it up to signInHold.
	failureHold = 5 * time.Second
	// closeGrace is how long an attempt may go on after Close: a refresh token
	// that was used and whose successor is lost may be the end of a sign-in.
	closeGrace = 5 * time.Second
)

// Lifetime is how long Entra ID keeps a sign-in that is not used; each use
// begins it anew. Policies of the tenant and an administrator may end it sooner.
//
// Source: https://learn.microsoft.com/en-us/entra/identity-platform/refresh-tokens
const Lifetime = 90 * 24 * time.Hour

// Options say which account of which application.
type Options struct {
	// Graph names tenant, application and cloud; its Credential is not looked
	// at. The application must allow public client flows.
	Graph msgraph.Config
	// File keeps the sign-in. It need not exist; its folder must. A lock file
	// lies beside it.
	File string
	// Clock may be nil, for the system's.
	Clock clock.Clock
	// Logger may be nil.
	Logger *slog.Logger
}

// Account is a helper account: an azcore.TokenCredential for Graph. It is safe
// for concurrent use, by several processes too.
type Account struct {
	tenantID, clientID string
	platform           msgraph.Platform
	scopes             []string
	vault              *vault
	client             public.Client // on the vault
	clock              clock.Clock
	logger             *slog.Logger
	ctx                context.Context // ends some time after Close
	cancel             context.CancelFunc
	running            sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	flight      *flight // the attempt under way, or nil
	seen        version // of the file that the following were made with
	current     azcore.AccessToken
	failure     *graphsrc.Error
	failedUntil time.Time
}

var _ azcore.TokenCredential = (*Account)(nil)

// New returns the account whose sign-in is in a file, or will be. It contacts
// nobody and does not read the file. Its error lists what is wrong with o.
func New(o Options) (*Account, error) {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	platform, err := o.Graph.Platform()
	if o.File == "" {
		err = errors.Join(err, errors.New("the file is missing"))
	}
	if err != nil {
		return nil, fmt.Errorf("setting up a helper account: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &Account{
		tenantID: o.Graph.TenantID, clientID: o.Graph.ClientID, platform: platform,
		scopes: []string{platform.Resource + "/" + permission},
		vault:  newVault(o.File, o.Clock, o.Logger),
		clock:  o.Clock, logger: o.Logger, ctx: ctx, cancel: cancel,
	}
	if a.client, err = a.newClient(a.vault); err != nil {
		cancel()
		return nil, err
	}
	return a, nil
}

// newClient returns MSAL's client on a cache. Claims challenges are announced
// as understood: Graph then refuses tokens of revoked sign-ins at once.
func (a *Account) newClient(tokens cache.ExportReplace) (public.Client, error) {
	client, err := public.New(a.clientID,
		public.WithAuthority(a.platform.Authority), public.WithInstanceDiscovery(!a.platform.Custom),
		public.WithHTTPClient(a.platform.HTTP), public.WithCache(tokens),
		public.WithClientCapabilities([]string{"CP1"}))
	if err != nil {
		return public.Client{}, errors.New("setting up a helper account: the authority is refused")
	}
	return client, nil
}

// GetToken implements azcore.TokenCredential. Whatever permissions of Graph
// are asked for, the token carries Presence.Read.All and what else the
// application was granted; a scope of another resource is KindInvalid. Callers
// share one attempt, each waits for it as long as its own context allows.
//
// Errors are *graphsrc.Error. If only a person can help, they wrap
// graphsrc.ErrSignInNeeded; Entra ID is then left alone for a minute, unless
// the file changes.
func (a *Account) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	for _, scope := range o.Scopes {
		if !strings.HasPrefix(strings.ToLower(scope), strings.ToLower(a.platform.Resource)+"/") {
			return azcore.AccessToken{}, &graphsrc.Error{Op: opToken, Kind: graphsrc.KindInvalid, Message: "the scope is not one of Graph"}
		}
	}
	a.mu.Lock()
	token, f, err := a.begin(o.Claims)
	a.mu.Unlock()
	if f == nil {
		return token, err
	}
	return f.wait(ctx)
}

// begin answers from memory, or returns the attempt to wait for; a.mu is held.
func (a *Account) begin(claims string) (azcore.AccessToken, *flight, error) {
	if now := a.vault.look(); !now.same(a.seen) && a.flight == nil {
		// Somebody has signed in, or out.
		a.seen, a.current, a.failure = now, azcore.AccessToken{}, nil
	}
	now := a.clock.Now()
	if claims == "" && usable(a.current, now) {
		return a.current, nil, nil
	}
	if a.flight != nil {
		return azcore.AccessToken{}, a.flight, nil
	}
	if a.failure != nil && now.Before(a.failedUntil) {
		if claims == "" && a.good(now) {
			return a.current, nil, nil
		}
		return azcore.AccessToken{}, nil, a.failure
	}
	if a.closed {
		return azcore.AccessToken{}, nil, graphsrc.TransportError(opToken, context.Canceled)
	}
	f := &flight{done: make(chan struct{})}
	a.flight = f
	a.running.Go(func() { a.fly(f, claims) })
	return azcore.AccessToken{}, f, nil
}

// good reports whether a token that is due to be replaced serves on: not if a
// person has to help, which should not stay hidden until its end. a.mu is held.
func (a *Account) good(now time.Time) bool {
	return a.current.Token != "" && now.Before(a.current.ExpiresOn) && !needsSignIn(a.failure)
}

// flight is one attempt to get a token; token and err may be read once done is
// closed.
type flight struct {
	done  chan struct{}
	token azcore.AccessToken
	err   *graphsrc.Error
}

func (f *flight) wait(ctx context.Context) (azcore.AccessToken, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return azcore.AccessToken{}, graphsrc.TransportError(opToken, ctx.Err())
	}
	if f.err != nil {
		return azcore.AccessToken{}, f.err
	}
	return f.token, nil
}

// fly makes an attempt. It does not end with the context of a caller: the
// refresh token it uses must not be used in vain.
func (a *Account) fly(f *flight, claims string) {
	ctx, cancel := context.WithTimeout(a.ctx, attemptTimeout)
	defer cancel()
	token, err := a.acquire(ctx, claims)
	a.mu.Lock()
	defer a.mu.Unlock()
	defer close(f.done)
	a.flight, a.seen = nil, a.vault.known()
	if err == nil {
		a.current, a.failure, f.token = token, nil, token
		return
	}
	before := a.failure
	a.failure = tokenFailure(err)
	hold := min(max(failureHold, a.failure.RetryAfter), signInHold)
	if needsSignIn(a.failure) {
		hold = signInHold
		if !needsSignIn(before) {
			a.logger.Warn("a helper account must be signed in again", "file", a.vault.path, "reason", a.failure.Message)
		}
	}
	now := a.clock.Now()
	a.failedUntil = now.Add(hold)
	if claims == "" && a.good(now) {
		f.token = a.current
		return
	}
	f.err = a.failure
}

// acquire gets a token: out of the file, where another process may have left
// it, or for the refresh token. A panic does not end the process.
func (a *Account) acquire(ctx context.Context, claims string) (token azcore.AccessToken, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			a.logger.Error("panic in a token request", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			err = errors.New("panic in a token request")
		}
	}()
	unlock, err := a.vault.lock(ctx)
	if err != nil {
		return token, err
	}
	defer unlock()
	held, err := a.vault.load(ctx)
	if err != nil {
		return token, err
	}
	if !strings.EqualFold(held.TenantID, a.tenantID) || !strings.EqualFold(held.ClientID, a.clientID) {
		return token, signInNeeded("the file holds a sign-in of another tenant or application")
	}
	accounts, err := a.client.Accounts(ctx)
	if err != nil {
		return token, err
	}
	who := slices.IndexFunc(accounts, func(account public.Account) bool { return strings.EqualFold(account.LocalAccountID, held.ID) })
	if who < 0 {
		return token, signInNeeded("the file holds no account")
	}
	options := []public.AcquireSilentOption{public.WithSilentAccount(accounts[who])}
	if claims != "" {
		options = append(options, public.WithClaims(claims))
	}
	result, err := a.client.AcquireTokenSilent(ctx, a.scopes, options...)
	if err != nil {
		return token, err
	}
	return azcore.AccessToken{Token: result.AccessToken, ExpiresOn: result.ExpiresOn, RefreshOn: result.Metadata.RefreshOn}, nil
}

func needsSignIn(e *graphsrc.Error) bool { return e != nil && errors.Is(e, graphsrc.ErrSignInNeeded) }

func usable(token azcore.AccessToken, now time.Time) bool {
	return token.Token != "" && now.Add(expiryMargin).Before(token.ExpiresOn) &&
		(token.RefreshOn.IsZero() || now.Before(token.RefreshOn))
}

// Username returns the user principal name of the account in the file, empty
// if nobody is signed in or the file cannot be read.
func (a *Account) Username() string { return a.vault.held().Username }

// ID returns the object id of the account in the file, in lower case, empty if
// nobody is signed in or the file cannot be read.
func (a *Account) ID() string { return a.vault.held().ID }

// Forget signs the account out: it removes the file, and with it what is in
// memory. See the function Forget.
func (a *Account) Forget(ctx context.Context) error { return a.vault.forget(ctx) }

// Close waits some seconds for the attempt under way, which no later one
// follows, and closes idle connections.
func (a *Account) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	timer := a.clock.AfterFunc(closeGrace, a.cancel)
	a.running.Wait()
	timer.Stop()
	a.cancel()
	a.platform.HTTP.CloseIdleConnections()
}

// String names the account by its file.
func (a *Account) String() string { return "helper account in " + a.vault.path }

// GoString keeps tokens out of %#v.
func (a *Account) GoString() string { return a.String() }

// LogValue keeps tokens out of logs.
func (a *Account) LogValue() slog.Value { return slog.StringValue(a.String()) }
