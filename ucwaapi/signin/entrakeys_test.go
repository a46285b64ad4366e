package signin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requireSoon waits until verify returns the error wanted. A key set hands out
// the result of a fetch a moment before it is ready for the next, so a caller
// who comes at once may be given the same result again.
func requireSoon(t *testing.T, want error, verify func() error) {
	t.Helper()
	require.Eventually(t, func() bool { return errors.Is(verify(), want) }, 10*time.Second, time.Millisecond)
}

func TestEntraIgnoresKeysThatAreNotForTheTenant(t *testing.T) {
	for _, c := range []struct {
		name    string
		mark    map[string]any
		trusted bool
	}{
		{"a key of consumer accounts", map[string]any{"issuer": "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"}, false},
		{"an encryption key", map[string]any{"use": "enc"}, false},
		{"a key of every tenant", map[string]any{"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"}, true},
		{"a key without a use", map[string]any{"use": ""}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, clk := startIssuer(t), newShiftedClock()
			i.publish(0, 1)
			maps.Copy(i.keys[1], c.mark)
			e := i.entra(t, clk, nil)
			_, err := e.Verify(t.Context(), sign(t, 1, i.claims(clk.Now(), nil)))
			if c.trusted {
				require.NoError(t, err)
			} else {
				requireInvalid(t, err, "signature")
			}
			_, err = e.Verify(t.Context(), sign(t, 0, i.claims(clk.Now(), nil)))
			require.NoError(t, err)
		})
	}
}

func TestKeyRotation(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	e := i.entra(t, clk, nil)
	verify := func(n int) error {
		_, err := e.Verify(t.Context(), sign(t, n, i.claims(clk.Now(), map[string]any{"jti": rand.Text()})))
		return err
	}
	require.NoError(t, verify(0))
	i.publish(0, 1)
	clk.advance(keysFreshFor)
	requireSoon(t, nil, func() error { return verify(1) })
	require.NoError(t, verify(0))
	require.EqualValues(t, 2, i.keyFetches.Load())

	for range 50 { // nobody can make the gateway ask more often
		requireInvalid(t, verify(2), "signature")
	}
	require.EqualValues(t, 2, i.keyFetches.Load())

	i.publish(1) // a withdrawn key loses its power within a day
	clk.advance(keysMaxAge)
	require.NoError(t, verify(1))
	requireInvalid(t, verify(0), "signature")
	require.EqualValues(t, 2, i.discoveries.Load())
}

func TestOutageOfTheAuthority(t *testing.T) {
	for _, c := range []struct {
		name string
		how  func(w http.ResponseWriter)
	}{
		{"a 503", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"an HTML page", func(w http.ResponseWriter) { fmt.Fprint(w, "<html>sign in to the network</html>") }},
		{"an empty key set", func(w http.ResponseWriter) { fmt.Fprint(w, `{"keys":[]}`) }},
		{"keys that are none", func(w http.ResponseWriter) { fmt.Fprint(w, `{"keys":[{"kty":"RSA","n":1}]}`) }},
		{"an endless answer", func(w http.ResponseWriter) { _, _ = w.Write(bytes.Repeat([]byte(" "), maxDocument+100)) }},
		{"a broken connection", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, clk := startIssuer(t), newShiftedClock()
			e := i.entra(t, clk, nil)
			verify := func(n int) error {
				_, err := e.Verify(t.Context(), sign(t, n, i.claims(clk.Now(), map[string]any{"jti": rand.Text()})))
				return err
			}
			i.fail(c.how)
			require.ErrorIs(t, verify(0), ErrUnavailable)
			var invalid ErrInvalidToken
			require.False(t, errors.As(verify(0), &invalid))
			asked := i.discoveries.Load() // go's transport repeats a GET whose connection breaks
			require.ErrorIs(t, verify(0), ErrUnavailable)
			require.Equal(t, asked, i.discoveries.Load(), "an outage is not hammered")

			i.fail(nil)
			clk.advance(keysFailedFor)
			requireSoon(t, nil, func() error { return verify(0) })

			i.fail(c.how)
			clk.advance(time.Hour)
			require.NoError(t, verify(0), "known keys serve through an outage")
			// An unknown key may be a new one.
			requireSoon(t, ErrUnavailable, func() error { return verify(1) })
			clk.advance(2 * keysMaxAge)
			require.NoError(t, verify(0), "even when they are due for renewal")
			require.NoError(t, verify(0))

			i.fail(nil)
			i.publish(1)
			clk.advance(keysRetry)
			requireSoon(t, nil, func() error { return verify(1) })
			requireInvalid(t, verify(0), "signature")
		})
	}
}

func TestOutageBetweenDiscoveryAndKeys(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	e := i.entra(t, clk, nil)
	token := sign(t, 0, i.claims(clk.Now(), nil))
	i.mu.Lock()
	keys := i.keys
	i.keys = nil
	i.mu.Unlock()
	_, err := e.Verify(t.Context(), token)
	require.ErrorIs(t, err, ErrUnavailable)
	i.mu.Lock()
	i.keys = keys
	i.mu.Unlock()
	clk.advance(keysFailedFor)
	requireSoon(t, nil, func() error {
		_, err := e.Verify(t.Context(), token)
		return err
	})
	require.EqualValues(t, 1, i.discoveries.Load())
}

func TestManyFirstTokensShareOneFetch(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	e := i.entra(t, clk, nil)
	var wg sync.WaitGroup
	for n := range 30 {
		token := sign(t, 0, i.claims(clk.Now(), map[string]any{"jti": n}))
		wg.Go(func() {
			_, err := e.Verify(context.Background(), token)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, i.discoveries.Load())
	require.EqualValues(t, 1, i.keyFetches.Load())
}

func TestACallerWhoLeavesDoesNotSpoilTheFetch(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	e := i.entra(t, clk, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	token := sign(t, 0, i.claims(clk.Now(), nil))
	_, err := e.Verify(ctx, token)
	if err != nil {
		require.ErrorIs(t, err, ErrUnavailable)
	}
	_, err = e.Verify(t.Context(), token)
	require.NoError(t, err)
	require.EqualValues(t, 1, i.discoveries.Load())
}

func TestAnAuthorityWithoutTrustIsAnOutage(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	e := i.entra(t, clk, func(cfg *EntraConfig) { cfg.HTTPClient = &http.Client{Transport: transport} })
	_, err := e.Verify(t.Context(), sign(t, 0, i.claims(clk.Now(), nil)))
	require.ErrorIs(t, err, ErrUnavailable)
}
