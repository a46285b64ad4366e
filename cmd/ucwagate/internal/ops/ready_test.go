package ops

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func fine(context.Context) error { return nil }

func TestReadinessSaysWhatIsMissingAndWhy(t *testing.T) {
	s := newServer(t, func(o *Options) {
		o.Components = []Component{
			{"store", fine},
			{"token of contoso", func(context.Context) error { return errors.New("the secret\nhas [+] expired") }},
			{"keys", func(context.Context) error { panic("at the disco") }},
		}
	})
	require.Equal(t, http.StatusServiceUnavailable, do(s, "GET", "/startupz").Code)
	w := do(s, "GET", "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "starting\n", w.Body.String())

	s.Started()
	w = do(s, "GET", "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "not ready\n[+] store\n[-] token of contoso: the secret has [+] expired\n[-] keys: the check panicked: at the disco\n", w.Body.String())

	w = do(s, "GET", "/readyz", "Accept", "text/plain;q=0.1, application/json")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	var got readyAnswer
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.False(t, got.Ready)
	require.Equal(t, "serving", got.State)
	require.Len(t, got.Components, 3)
	require.Equal(t, "the secret has [+] expired", got.Components[1].Why)

	s.Drain()
	w = do(s, "GET", "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "draining\n", w.Body.String())
	require.JSONEq(t, `{"ready":false,"state":"draining","components":[]}`, do(s, "GET", "/readyz", "Accept", "application/json").Body.String())
	require.Equal(t, http.StatusOK, do(s, "GET", "/livez").Code, "it still lives")
	require.Equal(t, http.StatusOK, do(s, "GET", "/startupz").Code, "and has started once")
}

func TestReadyWhenAllAre(t *testing.T) {
	s := newServer(t, func(o *Options) { o.Components = []Component{{"a", fine}, {"b", fine}} })
	s.Started()
	w := do(s, "GET", "/readyz")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "ready\n[+] a\n[+] b\n", w.Body.String())
}

func TestChecksRunTogetherAndNoLongerThanTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var stubborn atomic.Int32
		s := newServer(t, func(o *Options) {
			o.CheckTimeout = 3 * time.Second
			o.Components = []Component{
				{"slow", func(ctx context.Context) error { <-time.After(2 * time.Second); return nil }},
				{"obedient", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
				{"stubborn", func(context.Context) error { stubborn.Add(1); <-release; return nil }},
			}
		})
		s.Started()
		began := time.Now()
		w := do(s, "GET", "/readyz")
		require.Equal(t, 3*time.Second, time.Since(began))
		require.Equal(t, "not ready\n[+] slow\n[-] obedient: no answer in time\n[-] stubborn: no answer in time\n", w.Body.String())

		w = do(s, "GET", "/readyz")
		require.Contains(t, w.Body.String(), "[-] stubborn: an earlier check has not answered yet\n")
		require.EqualValues(t, 1, stubborn.Load(), "a check that hangs is not called again")

		close(release)
		synctest.Wait()
		require.Contains(t, do(s, "GET", "/readyz").Body.String(), "[+] stubborn\n")
	})
}

func TestAClientThatLeavesDoesNotWaitForChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := newReadiness([]Component{{"slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}}, time.Hour, newServer(t, nil).clk)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		require.Equal(t, context.DeadlineExceeded.Error(), r.ask(ctx)[0].Why)
		require.Equal(t, time.Second, time.Since(began))
		synctest.Wait()
	})
}

func TestWhoWantsJSON(t *testing.T) {
	for accept, want := range map[string]bool{
		"":    false,
		"*/*": false,
		"text/html,application/xhtml+xml,*/*;q=0.8": false,
		"application/json":                          true,
		"Application/JSON; charset=utf-8":           true,
		"text/plain, application/json;q=0.5":        true,
		"application/json;q=0":                      false,
		"application/json; q = 0.0":                 false,
		"application/jsonp":                         false,
	} {
		require.Equal(t, want, wantsJSON([]string{accept}), accept)
	}
}
