package hookrelay_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/cmd/ucwagate/internal/hookrelay"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

func newRelay(client rueidis.Client) *hookrelay.Relay {
	return hookrelay.New(hookrelay.Options{Client: client, Prefix: "p", Tenant: "contoso", MaxBody: 1 << 20, Clock: clock.System()})
}

func deliver(r *hookrelay.Relay, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, "/graph/notifications/contoso?validationToken=a%20b", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	r.ServeHTTP(w, req)
	return w
}

func TestADeliveryIsAnsweredByTheReplicaThatServes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a := newRelay(s.Client(t))
	b := newRelay(s.Client(t))
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	served.Go(func() {
		b.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Method != http.MethodPost || r.URL.Path != "/graph/notifications/contoso" || r.Header.Get("Content-Type") != "application/json" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, r.URL.Query().Get("validationToken")+string(body))
		}))
	})
	t.Cleanup(func() { cancel(); served.Wait() })
	body := strings.Repeat("x", 100_000)
	var w *httptest.ResponseRecorder
	require.Eventually(t, func() bool { w = deliver(a, body); return w.Code == http.StatusAccepted }, 20*time.Second, time.Millisecond)
	require.Equal(t, "a b"+body, w.Body.String())
	require.Equal(t, "text/plain", w.Header().Get("Content-Type"))
	require.Equal(t, http.StatusRequestEntityTooLarge, deliver(a, strings.Repeat("x", 1<<20+1)).Code)

	client := s.Client(t)
	keys, err := client.Do(t.Context(), client.B().Dbsize().Build()).AsInt64()
	require.NoError(t, err)
	require.LessOrEqual(t, keys, int64(1), "answers are fetched; one may have come too late")
}

func TestADeliveryThatNobodyExpectsComesAgain(t *testing.T) {
	t.Parallel()
	w := deliver(newRelay(redistest.Start(t).Client(t)), "{}")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "10", w.Header().Get("Retry-After"))
}
