package signin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// source is a PasswordSource that answers to order.
type source struct {
	answer func(ctx context.Context, user string) error
	slots  int
	now    atomic.Int64
	most   atomic.Int64
}

func (s *source) Account(user string) string { return user }
func (s *source) Concurrency() int           { return s.slots }

func (s *source) CheckPassword(ctx context.Context, user, _ string) (Identity, error) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	if err := s.answer(ctx, user); err != nil {
		return Identity{}, err
	}
	return Identity{Address: user, Method: MethodPassword}, nil
}

func always(err error) func(context.Context, string) error {
	return func(context.Context, string) error { return err }
}

func TestChainedPasswords(t *testing.T) {
	right, wrong, unknown, out := always(nil), always(ErrWrongPassword), always(ErrUnknownUser), always(ErrUnavailable)
	for _, c := range []struct {
		name    string
		sources []func(context.Context, string) error
		want    error
	}{
		{"the first that knows the user lets in", []func(context.Context, string) error{unknown, right, wrong}, nil},
		{"a wrong password is not tried elsewhere", []func(context.Context, string) error{wrong, right}, ErrWrongPassword},
		{"an outage does not open the next", []func(context.Context, string) error{out, right}, ErrUnavailable},
		{"nobody knows the user", []func(context.Context, string) error{unknown, unknown}, ErrUnknownUser},
	} {
		t.Run(c.name, func(t *testing.T) {
			var list []PasswordSource
			for _, answer := range c.sources {
				list = append(list, &source{answer: answer, slots: 1})
			}
			chain, err := ChainPasswords(list...)
			require.NoError(t, err)
			require.Equal(t, len(list), chain.Concurrency())
			require.Equal(t, "ana@contoso.test", chain.Account("ana@contoso.test"))
			_, err = chain.CheckPassword(t.Context(), "ana@contoso.test", "p")
			require.ErrorIs(t, err, c.want)
		})
	}
	_, err := ChainPasswords()
	require.ErrorContains(t, err, "no password source")
	_, err = ChainPasswords(nil)
	require.ErrorContains(t, err, "nil")
}

func TestEachLinkOfAChainKeepsItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &source{slots: 2, answer: func(context.Context, string) error { <-time.After(time.Second); return nil }}
		chain, err := ChainPasswords(&source{slots: 8, answer: always(ErrUnknownUser)}, slow)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if _, err := chain.CheckPassword(t.Context(), "ana@contoso.test", "p"); err != nil {
					t.Error(err)
				}
			})
		}
		started := time.Now()
		wg.Wait()
		require.EqualValues(t, 2, slow.most.Load())
		require.Equal(t, 3*time.Second, time.Since(started))

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		slow.answer = func(ctx context.Context, _ string) error { <-ctx.Done(); return nil }
		for range 3 {
			wg.Go(func() { _, _ = chain.CheckPassword(ctx, "a", "p") })
		}
		wg.Wait()
		require.EqualValues(t, 2, slow.most.Load())
	})
}

func TestAnOutageOfThePasswordServiceIsNoWrongPassword(t *testing.T) {
	var log bytes.Buffer
	a := newAuthenticator(t, Options{
		Passwords: &source{answer: always(errors.New("a bug")), slots: 1}, Attempts: NewAttempts(1, nil),
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	h := a.TokenService(gatewayBase)
	for range 5 { // nothing is charged
		w := post(h, "192.0.2.1", "ana@contoso.test", "hunter2")
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "5", w.Header().Get("Retry-After"))
		require.JSONEq(t, `{"error":"server_error"}`, w.Body.String())
		require.Contains(t, verbatim(w, diagnosticsHeader)[0], "cannot be checked at the moment")
	}
	require.Equal(t, 1, strings.Count(log.String(), "passwords cannot be checked"))
	require.NotContains(t, log.String(), "hunter2")
}

func TestThePasswordQueueIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var release sync.WaitGroup
		release.Add(1)
		held := &source{slots: 1, answer: func(context.Context, string) error { release.Wait(); return nil }}
		a := newAuthenticator(t, Options{Passwords: held})
		h := a.TokenService(gatewayBase)
		codes := make(chan int, 2)
		go func() { codes <- post(h, "192.0.2.1", "ana@contoso.test", "p").Code }()
		synctest.Wait()
		started := time.Now()
		require.Equal(t, http.StatusServiceUnavailable, post(h, "192.0.2.2", "bo@contoso.test", "p").Code)
		require.Equal(t, checkQueueTime, time.Since(started))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := a.checkPassword(ctx, "bo@contoso.test", "p", "192.0.2.2")
		require.ErrorIs(t, err, errBusy)
		release.Done()
		require.Equal(t, http.StatusOK, <-codes)
	})
}

func TestTheAttemptsLimiterStandsBeforeEverySource(t *testing.T) {
	service := &checker{t: t}
	srv := httptest.NewServer(service)
	defer srv.Close()
	p, err := NewPasswordCallback(CallbackOptions{URL: srv.URL, Header: http.Header{"Authorization": {"Bearer of-the-gateway"}}, Names: Names{DefaultDomain: "contoso.test"}})
	require.NoError(t, err)
	a := newAuthenticator(t, Options{Passwords: p, Attempts: NewAttempts(3, nil)})
	h := a.TokenService(gatewayBase)
	for i := range 6 {
		w := post(h, "192.0.2.66", []string{"ana", "sip:ana@contoso.test"}[i%2], "wrong")
		require.Equal(t, http.StatusBadRequest, w.Code)
		require.Equal(t, i >= 3, w.Header().Get("Retry-After") != "")
	}
	require.EqualValues(t, 3, service.asked.Load())
	w := post(h, "192.0.2.1", "ana", "Pass&w@rd")
	require.Equal(t, http.StatusOK, w.Code)
	require.True(t, json.Valid(w.Body.Bytes()))
}
