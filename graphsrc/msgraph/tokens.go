package msgraph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

const (
	// expiryMargin is how long before its end a token is replaced; the
	// authentication library below uses the same.
	expiryMargin = 5 * time.Minute
	// tokenTimeout bounds one attempt to get a token, whoever waits for it.
	tokenTimeout = 20 * time.Second
	// failureHold is how long a failure is repeated instead of asking the
	// authority again; its Retry-After may lengthen it up to failureHoldMax.
	failureHold    = 5 * time.Second
	failureHoldMax = time.Minute
	// renewEvery is the least time between two renewals for the same reason.
	renewEvery = time.Minute
	// anyClaims asks for a token that no cache may answer and claims nothing.
	anyClaims = "{}"
)

// tokens holds the one access token in use. All callers share one request to
// the authority, each waits for it only as long as its own context allows, and
// a failure is not repeated at the rate of the calls. (The credential itself
// makes its callers queue behind a lock that knows no deadline.)
type tokens struct {
	credential azcore.TokenCredential
	explain    func() error // a known local reason for a failure, or nil
	scope      string
	clock      clock.Clock
	logger     *slog.Logger
	ctx        context.Context // ends with Client.Close
	cancel     context.CancelFunc
	running    sync.WaitGroup

	mu           sync.Mutex
	current      azcore.AccessToken
	flight       *flight // the request under way, or nil
	failure      *graphsrc.Error
	failedUntil  time.Time
	renewed      time.Time // last renewal, and
	renewedClaim string    // what it claimed
}

// flight is one request to the authority; token and err may be read once done
// is closed.
type flight struct {
	done  chan struct{}
	token azcore.AccessToken
	err   *graphsrc.Error
}

// get returns a token that is good for some minutes. Errors are
// *graphsrc.Error without Op.
func (t *tokens) get(ctx context.Context) (azcore.AccessToken, error) {
	t.mu.Lock()
	now := t.clock.Now()
	if current := t.current; usable(current, now) {
		t.mu.Unlock()
		return current, nil
	}
	if t.failure != nil && now.Before(t.failedUntil) {
		defer t.mu.Unlock()
		if t.current.Token != "" && now.Before(t.current.ExpiresOn) {
			return t.current, nil
		}
		return azcore.AccessToken{}, t.failure
	}
	f := t.start("")
	t.mu.Unlock()
	return f.wait(ctx)
}

// renew returns a token to use in place of one that Graph refused, with the
// claims of its challenge if there was one. Without a challenge, and shortly
// after another renewal, it is the same token again: Graph is known to refuse
// good tokens now and then. It fails where a re-send would be in vain.
func (t *tokens) renew(ctx context.Context, refused azcore.AccessToken, claims string) (azcore.AccessToken, error) {
	t.mu.Lock()
	now := t.clock.Now()
	if t.current.Token != "" && t.current.Token != refused.Token {
		defer t.mu.Unlock()
		return t.current, nil // another call has renewed it meanwhile
	}
	wanted := claims
	if wanted == "" {
		wanted = anyClaims
	}
	if wanted == t.renewedClaim && now.Sub(t.renewed) < renewEvery {
		defer t.mu.Unlock()
		if claims == "" {
			return refused, nil
		}
		return azcore.AccessToken{}, &graphsrc.Error{Kind: graphsrc.KindUnauthorized, Message: "the renewed token is refused too"}
	}
	if t.failure != nil && now.Before(t.failedUntil) {
		defer t.mu.Unlock()
		return azcore.AccessToken{}, t.failure
	}
	t.renewed, t.renewedClaim = now, wanted
	f := t.start(wanted)
	t.mu.Unlock()
	return f.wait(ctx)
}

// start joins the request under way or begins one; t.mu is held.
func (t *tokens) start(claims string) *flight {
	if t.flight != nil {
		return t.flight
	}
	f := &flight{done: make(chan struct{})}
	if err := t.ctx.Err(); err != nil {
		f.err = graphsrc.TransportError("", err)
		close(f.done)
		return f
	}
	t.flight = f
	t.running.Go(func() { t.request(f, claims) })
	return f
}

func (t *tokens) request(f *flight, claims string) {
	ctx, cancel := context.WithTimeout(t.ctx, tokenTimeout)
	defer cancel()
	seen := &sighting{}
	token, err := t.ask(context.WithValue(ctx, sightingKey{}, seen), claims)
	t.mu.Lock()
	defer t.mu.Unlock()
	defer close(f.done)
	t.flight = nil
	now := t.clock.Now()
	if err == nil {
		t.current, t.failure, f.token = token, nil, token
		return
	}
	failure := tokenError(err, seen.last(), t.explain)
	t.failure = failure
	t.failedUntil = now.Add(min(max(failureHold, failure.RetryAfter), failureHoldMax))
	t.logger.Warn("no token from the authority", "kind", failure.Kind.String(), "reason", failure.Message)
	if claims == "" && t.current.Token != "" && now.Before(t.current.ExpiresOn) {
		f.token = t.current // nearly at its end, but still good
		return
	}
	f.err = failure
}

// ask calls the credential; a panic of it does not end the process.
func (t *tokens) ask(ctx context.Context, claims string) (token azcore.AccessToken, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			t.logger.Error("panic in a token request", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			err = errors.New("panic in a token request")
		}
	}()
	return t.credential.GetToken(ctx, policy.TokenRequestOptions{
		Scopes: []string{t.scope}, Claims: claims,
		// One value always: the cache below keeps one token per value.
		EnableCAE: true,
	})
}

func (f *flight) wait(ctx context.Context) (azcore.AccessToken, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return azcore.AccessToken{}, graphsrc.TransportError("", ctx.Err())
	}
	if f.err != nil {
		return azcore.AccessToken{}, f.err
	}
	return f.token, nil
}

// close ends the request under way and waits for its end.
func (t *tokens) close() {
	t.mu.Lock() // so that no request begins after the wait has
	t.cancel()
	t.mu.Unlock()
	t.running.Wait()
}

func usable(token azcore.AccessToken, now time.Time) bool {
	return token.Token != "" && now.Add(expiryMargin).Before(token.ExpiresOn) &&
		(token.RefreshOn.IsZero() || now.Before(token.RefreshOn))
}

var reasonCode = regexp.MustCompile(`AADSTS\d{3,9}`)

// tokenError says in a few words of our own why there is no token. The text of
// err is never passed on, because it quotes the whole answer of the authority;
// only the AADSTS code is taken out of it. network is the last transport error
// seen, or nil.
func tokenError(err, network error, explain func() error) *graphsrc.Error {
	e := &graphsrc.Error{Kind: graphsrc.KindUnauthorized, Message: "no token"}
	e.Code = reasonCode.FindString(err.Error())
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		answer := graphsrc.ResponseError("", failed.RawResponse, nil)
		e.Message = "the authority refuses a token: " + http.StatusText(answer.Status)
		if answer.Kind == graphsrc.KindThrottled || answer.Kind == graphsrc.KindTimeout || answer.Status >= 500 {
			e.Kind = graphsrc.KindUnavailable
			e.RetryAfter = answer.RetryAfter
		}
		if e.Code != "" {
			e.Message += " " + e.Code
		}
		return e
	}
	if network != nil {
		e = graphsrc.TransportError("", network)
		e.Message = "the authority is out of reach"
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return graphsrc.TransportError("", err)
	}
	if e.Err = explain(); e.Err == nil && e.Code != "" {
		e.Message += ": " + e.Code
	}
	return e
}

// witness notes transport errors in the sighting of the request's context:
// azidentity turns them into text.
type witness struct{ next http.RoundTripper }

type (
	sightingKey struct{}
	sighting    struct {
		mu  sync.Mutex
		err error
	}
)

func (w witness) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	if seen, ok := req.Context().Value(sightingKey{}).(*sighting); ok {
		seen.mu.Lock()
		seen.err = err
		seen.mu.Unlock()
	}
	return resp, err
}

func (s *sighting) last() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// rolesOf reads the application permissions out of an access token. An opaque
// token has nil; one that names none has an empty list.
func rolesOf(token string) []string {
	claims, ok := claimsIn(token)
	if ok && claims.Roles == nil {
		return []string{}
	}
	return claims.Roles
}

// tokenClaims are what is read of an access token.
//
// Source: https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference
type tokenClaims struct {
	Roles []string `json:"roles"`
	// AppID is the application's client id in tokens of version 1, which
	// Graph's are, AppIDV2 in those of version 2.
	AppID   string `json:"appid"`
	AppIDV2 string `json:"azp"`
}

// claimsIn reads an access token without checking its signature: it is Graph
// that decides by it. It reports false for an opaque one.
func claimsIn(token string) (claims tokenClaims, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return tokenClaims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return tokenClaims{}, false
	}
	return claims, true
}
