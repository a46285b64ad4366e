package notify

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

func TestAFullQueueAsksForRedelivery(t *testing.T) {
	hold := make(chan struct{})
	sink := &tape{hold: hold}
	r := newRig(t, clock.System(), func(cfg *Config) { cfg.Sink, cfg.Queue, cfg.Workers = sink, 4, 2 })
	people := 0
	deliver := func(n int) *httptest.ResponseRecorder {
		var items []map[string]any
		for range n {
			people++
			id := fmt.Sprintf("00000000-0000-0000-0000-%012d", people)
			items = append(items, notification(map[string]any{"resourceData": map[string]any{"id": id}}))
		}
		return post(r.Receiver, "/", body(t, nil, items...))
	}
	require.Equal(t, http.StatusAccepted, deliver(3).Code)
	full := deliver(2)
	require.Equal(t, http.StatusServiceUnavailable, full.Code)
	require.Equal(t, "10", full.Header().Get("Retry-After"))
	require.Equal(t, http.StatusAccepted, deliver(1).Code, "what fits is taken")
	require.Equal(t, http.StatusServiceUnavailable, deliver(1).Code)
	forged := post(r.Receiver, "/", body(t, nil, notification(map[string]any{"clientState": "guessed"})))
	require.Equal(t, http.StatusAccepted, forged.Code, "others do not see that the queue is full")
	require.Equal(t, 4, r.Stats().Waiting)

	close(hold)
	settle(t, r.Receiver)
	require.Equal(t, http.StatusAccepted, deliver(2).Code, "the redelivery")
	settle(t, r.Receiver)
	require.Equal(t, http.StatusAccepted, deliver(9).Code, "more than the queue, when nothing waits")
	settle(t, r.Receiver)
	changes, _ := sink.told()
	require.Len(t, changes, 3+1+2+9)
	require.EqualValues(t, 2, r.Stats().QueueFull)
}

func TestCloseWorksOnWhatWasAccepted(t *testing.T) {
	r := newRig(t, clock.System(), func(cfg *Config) { cfg.Workers = 1 })
	require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", body(t, nil, notification(nil))).Code)
	r.Close()
	changes, _ := r.sink.told()
	require.Len(t, changes, 1)
	require.Equal(t, http.StatusServiceUnavailable, post(r.Receiver, "/", body(t, nil, notification(nil))).Code)
}

func TestCloseDoesNotWaitForTheSignInService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clock.System(), nil)
		r.tokens.keys.client.Transport = &slowTransport{next: r.issuer, wait: time.Hour}
		r.tokens.keys.client.Timeout = time.Hour
		require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", body(t, []string{r.token(t)}, r.rich(t, anaID, "Busy", "Busy", nil))).Code)
		synctest.Wait()
		start := time.Now()
		r.Close()
		require.Zero(t, time.Since(start))
		changes, _ := r.sink.told()
		require.Equal(t, []graphsrc.PresenceChange{{ID: anaID, SubscriptionID: subscription}}, changes, "accepted, so told as far as it is proven")
	})
}

func TestTheAnswerDoesNotWaitForTheSignInService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clock.System(), nil)
		r.tokens.keys.client.Transport = &slowTransport{next: r.issuer, wait: 5 * time.Second}
		start := time.Now()
		require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", body(t, []string{r.token(t)}, r.rich(t, anaID, "Busy", "Busy", nil))).Code)
		require.Zero(t, time.Since(start))
		synctest.Wait()
		require.Equal(t, 1, r.Stats().Waiting)
		<-time.After(11 * time.Second)
		synctest.Wait()
		changes, _ := r.sink.told()
		require.Equal(t, []graphsrc.PresenceChange{{ID: anaID, Availability: "Busy", Activity: "Busy", SubscriptionID: subscription}}, changes)
	})
}

func TestDuringAnOutageOfTheSignInServiceChangesAreStillNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clock.System(), nil)
		r.issuer.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		deliver := func() {
			require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", body(t, []string{"a.b.c", r.token(t)}, r.rich(t, anaID, "Busy", "Busy", nil))).Code)
			synctest.Wait()
		}
		deliver()
		r.issuer.fail(nil)
		<-time.After(keysPause)
		deliver()
		changes, _ := r.sink.told()
		require.Equal(t, []graphsrc.PresenceChange{
			{ID: anaID, SubscriptionID: subscription},
			{ID: anaID, Availability: "Busy", Activity: "Busy", SubscriptionID: subscription},
		}, changes)
		require.EqualValues(t, 1, r.Stats().Unproven)
		require.Zero(t, r.Stats().BadTokens)
	})
}

func TestAnItemFromBeforeARotationIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clock.System(), nil)
		old := r.rich(t, anaID, "Busy", "Busy", nil)
		<-time.After(DefaultRotation)
		fresh := r.rich(t, benID, "Away", "Away", nil)
		require.NotEqual(t, old["encryptedContent"].(EncryptedContent).CertificateID, fresh["encryptedContent"].(EncryptedContent).CertificateID)
		require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", body(t, []string{r.token(t)}, old, fresh)).Code)
		synctest.Wait()
		changes, _ := r.sink.told()
		require.ElementsMatch(t, []graphsrc.PresenceChange{
			{ID: anaID, Availability: "Busy", Activity: "Busy", SubscriptionID: subscription},
			{ID: benID, Availability: "Away", Activity: "Away", SubscriptionID: subscription},
		}, changes)
	})
}

func TestAnAttackFillsNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		r := newRig(t, clock.System(), func(c *Config) { c.Refused = func() { told.Add(1) } })
		attack := func() {
			for range 500 {
				post(r.Receiver, "/", body(t, nil, notification(map[string]any{"clientState": "guessed"})))
				post(r.Receiver, "/", "{")
			}
		}
		attack()
		require.Equal(t, 2, strings.Count(r.log.String(), "\n"))
		<-time.After(complaintsEvery)
		attack()
		require.Equal(t, 4, strings.Count(r.log.String(), "\n"))
		require.Contains(t, r.log.String(), "count=500")
		require.EqualValues(t, 4, told.Load())
		require.EqualValues(t, 1000, r.Stats().WrongClientState)
	})
}

func TestWhatAClientStateAloneCanAskForIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clock.System(), nil)
		lost := seal(t, newRing(t, KeyringConfig{}), presenceJSON(anaID, "Busy", "Busy"))
		basic, unopened := notification(nil), notification(map[string]any{"encryptedContent": lost})
		deliver := func(items ...map[string]any) []graphsrc.PresenceChange {
			require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", body(t, []string{r.token(t)}, items...)).Code)
			synctest.Wait()
			changes, _ := r.sink.take()
			return changes
		}
		something := []graphsrc.PresenceChange{{ID: anaID, SubscriptionID: subscription}}
		require.Equal(t, something, deliver(basic, basic, unopened, basic))
		require.EqualValues(t, 3, r.Stats().Repeated)
		require.EqualValues(t, 1, r.Stats().Changes)
		<-time.After(3 * time.Second)
		require.Empty(t, deliver(unopened))
		require.Len(t, deliver(r.rich(t, anaID, "Away", "Away", nil), r.rich(t, anaID, "Busy", "Busy", nil)), 2, "what is proven is never dropped")
		<-time.After(2 * time.Second)
		require.Equal(t, something, deliver(unopened), "5 s after the last one told")
		<-time.After(4 * time.Second)
		require.Empty(t, deliver(basic))
		<-time.After(time.Minute)
		require.Equal(t, something, deliver(basic))
		require.EqualValues(t, 5, r.Stats().Repeated)
		require.Zero(t, r.Stats().Malformed)
	})
}

func TestHintsKeepABoundedNumberOfPeople(t *testing.T) {
	clk := newShiftedClock()
	h := newHints(clk)
	admitted := 0
	for i := range 3 * maxHints {
		if h.admit(fmt.Sprint(i)) {
			admitted++
		}
	}
	require.LessOrEqual(t, admitted, maxHints)
	for range 10 {
		clk.advance(hintsEvery)
		for i := range 2 * maxHints {
			h.admit(fmt.Sprint(i))
		}
		require.LessOrEqual(t, len(h.young)+len(h.old), 2*maxHints)
	}
	clk.advance(2 * hintsEvery)
	require.True(t, h.admit("0"))
	require.False(t, h.admit("0"))
}
