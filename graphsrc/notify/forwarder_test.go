package notify

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// wire is a relay that keeps what it is given, or refuses it.
type wire struct {
	mu          sync.Mutex
	err         error
	proven      []string
	unproven    []string
	validations int
}

func (w *wire) Deliver(_ context.Context, body []byte, proven bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return w.err
	case proven:
		w.proven = append(w.proven, string(body))
	default:
		w.unproven = append(w.unproven, string(body))
	}
	return nil
}

func (w *wire) Validated(context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.validations++
}

// take returns what was given since it was last called.
func (w *wire) take() (proven, unproven []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	proven, unproven = w.proven, w.unproven
	w.proven, w.unproven = nil, nil
	return proven, unproven
}

func newForwarder(t testing.TB, i *issuer, clk clock.Clock, change func(*ForwarderConfig)) (*Forwarder, *wire) {
	t.Helper()
	w := &wire{}
	cfg := ForwarderConfig{TenantID: strings.ToUpper(tenantID), Tokens: i.tokens(t, clk), Relay: w, Clock: clk}
	if change != nil {
		change(&cfg)
	}
	f, err := NewForwarder(cfg)
	require.NoError(t, err)
	t.Cleanup(f.Close)
	return f, w
}

func forward(f *Forwarder, target, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, target, strings.NewReader(body)))
	return rec
}

func TestConfigurationOfAForwarder(t *testing.T) {
	tokens := newIssuer(authority, 0).tokens(t, nil)
	for _, c := range []ForwarderConfig{
		{TenantID: "contoso.com", Tokens: tokens, Relay: &wire{}},
		{TenantID: tenantID, Relay: &wire{}},
		{TenantID: tenantID, Tokens: tokens},
		{TenantID: tenantID, Tokens: tokens, Relay: &wire{}, MaxBody: -1},
	} {
		_, err := NewForwarder(c)
		require.Error(t, err)
	}
}

func TestAForwarderAnswersValidationsAsAReceiverDoes(t *testing.T) {
	r := newRig(t, clock.System(), nil)
	f, w := newForwarder(t, r.issuer, clock.System(), nil)
	for _, query := range []string{"a", "Validation%3A+a%2Bb", "", "%3Cscript%3E", "%00", "%ff", strings.Repeat("x", 4096), strings.Repeat("x", 4097)} {
		target := "/hook?validationToken=" + query
		want, got := post(r.Receiver, target, ""), forward(f, target, "")
		require.Equal(t, want.Code, got.Code, query)
		require.Equal(t, want.Body.String(), got.Body.String(), query)
		require.Equal(t, want.Header(), got.Header(), query)
	}
	require.Equal(t, 3, w.validations, "those with a token")
	require.Equal(t, uint64(3), r.Stats().Validations)
	r.Validated()
	require.Equal(t, uint64(4), r.Stats().Validations)

	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/hook?validationToken=a", http.NoBody))
	require.Equal(t, http.StatusMethodNotAllowed, rec.Code)
}

func TestWhatAForwarderHandsOn(t *testing.T) {
	r := newRig(t, clock.System(), nil)
	f, w := newForwarder(t, r.issuer, clock.System(), nil)
	good := []string{r.token(t)}
	expired := []string{token(t, 0, goodClaims(time.Now().Add(-2*time.Hour), nil))}
	forged := []string{token(t, 1, goodClaims(time.Now(), nil)), "x"}
	rich := r.rich(t, anaID, "Busy", "InACall", nil)
	lifecycle := notification(map[string]any{"lifecycleEvent": "reauthorizationRequired", "resourceData": nil})
	for _, c := range []struct {
		name   string
		body   string
		status int
		proven bool
		handed bool
	}{
		{"a delivery with a good token", body(t, good, rich), 202, true, true},
		{"a good token among others", body(t, append([]string{forged[0]}, good...), rich), 202, true, true},
		{"no token", body(t, nil, rich), 202, false, false},
		{"an expired token", body(t, expired, rich), 202, false, false},
		{"a forged token, whose key is unknown", body(t, forged, rich), 202, false, false},
		{"a lifecycle notification", body(t, nil, lifecycle), 202, false, true},
		{"a lifecycle notification with a good token", body(t, good, lifecycle), 202, true, true},
		{"an event nobody knows", body(t, good, notification(map[string]any{"lifecycleEvent": "x"})), 202, false, false},
		{"a basic notification", body(t, nil, notification(nil)), 202, false, true},
		{"another tenant's", body(t, good, notification(map[string]any{"tenantId": clientID})), 202, false, false},
		{"no clientState", body(t, good, notification(map[string]any{"clientState": nil})), 202, false, false},
		{"no subscription", body(t, good, notification(map[string]any{"subscriptionId": ""})), 202, false, false},
		{"nothing", `{"value":[]}`, 202, false, false},
		{"no JSON", "{", 400, false, false},
		{"another JSON", `{"a":1}`, 400, false, false},
		{"more than a body may have", `{"value":[` + strings.Repeat(" ", DefaultMaxBody) + `]}`, 413, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := forward(f, "/hook", c.body)
			require.Equal(t, c.status, rec.Code)
			proven, unproven := w.take()
			switch {
			case c.handed && c.proven:
				require.Equal(t, []string{c.body}, proven)
				require.Empty(t, unproven)
			case c.handed:
				require.Equal(t, []string{c.body}, unproven)
				require.Empty(t, proven)
			default:
				require.Empty(t, proven)
				require.Empty(t, unproven)
			}
		})
	}
}

func TestAForwardedDeliveryIsTakenAsIfItHadComeThere(t *testing.T) {
	r := newRig(t, clock.System(), nil)
	f, w := newForwarder(t, r.issuer, clock.System(), nil)
	forward(f, "/hook", body(t, []string{r.token(t)}, r.rich(t, anaID, "Busy", "InACall", nil)))
	// With a token of Graph's, but not the subscription's secret.
	forward(f, "/hook", body(t, []string{r.token(t)}, r.rich(t, anaID, "Away", "Away", map[string]any{"clientState": "guessed"})))
	proven, _ := w.take()
	require.Len(t, proven, 2)
	for _, delivery := range proven {
		require.True(t, r.Take([]byte(delivery)))
	}
	require.True(t, r.Take([]byte("{")), "what cannot be read is not given again")
	settle(t, r.Receiver)
	changes, _ := r.sink.take()
	require.Equal(t, []graphsrc.PresenceChange{{ID: anaID, SubscriptionID: subscription, Availability: "Busy", Activity: "InACall"}}, changes)
	s := r.Stats()
	require.Equal(t, uint64(3), s.Deliveries)
	require.Equal(t, uint64(1), s.WrongClientState)
	require.Equal(t, uint64(1), s.Unreadable)

	r.Close()
	require.False(t, r.Take([]byte(proven[0])), "it may be given to the next one")
}

func TestAForwarderThatCannotHandOnHasGraphComeAgain(t *testing.T) {
	r := newRig(t, clock.System(), nil)
	var log bytes.Buffer
	f, w := newForwarder(t, r.issuer, clock.System(), func(c *ForwarderConfig) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	w.err = errors.New("nobody there")
	for range 3 {
		rec := forward(f, "/hook", body(t, []string{r.token(t)}, r.rich(t, anaID, "Busy", "InACall", nil)))
		require.Equal(t, http.StatusServiceUnavailable, rec.Code)
		require.Equal(t, "10", rec.Header().Get("Retry-After"))
	}
	require.Equal(t, 1, strings.Count(log.String(), "nobody there"), "a line a minute")
	require.NotContains(t, log.String(), secret)
	require.Equal(t, http.StatusOK, forward(f, "/hook?validationToken=a", "").Code)
}

// slow is a sign-in service that answers when asked for the last time.
type slow struct {
	*issuer
	after time.Duration
}

func (s slow) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(s.after):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	return s.issuer.RoundTrip(req)
}

func TestASignInServiceThatIsSlowDoesNotKeepGraphWaiting(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		i, w := newIssuer(authority, 0), &wire{}
		tokens, err := NewTokens(TokensConfig{
			Authority: authority, TenantID: tenantID, ClientID: clientID, HTTPClient: &http.Client{Transport: slow{i, 2 * time.Second}},
		})
		require.NoError(t, err)
		f, err := NewForwarder(ForwarderConfig{TenantID: tenantID, Tokens: tokens, Relay: w})
		require.NoError(t, err)
		rich := notification(map[string]any{"encryptedContent": EncryptedContent{Data: "x"}})
		delivery := body(t, []string{token(t, 0, goodClaims(time.Now(), nil))}, rich)

		began := time.Now()
		require.Equal(t, http.StatusAccepted, forward(f, "/hook", delivery).Code)
		require.Equal(t, provingTime, time.Since(began))
		proven, unproven := w.take()
		require.Empty(t, proven)
		require.Equal(t, []string{delivery}, unproven, "it is Graph's, for all that is known")

		time.Sleep(10 * time.Second)
		require.Equal(t, http.StatusAccepted, forward(f, "/hook", delivery).Code)
		proven, _ = w.take()
		require.Equal(t, []string{delivery}, proven, "the keys have come meanwhile")
		f.Close()
		require.Equal(t, http.StatusAccepted, forward(f, "/hook", delivery).Code)
		_, unproven = w.take()
		require.Len(t, unproven, 1)
	})
}
