package graphsim

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
)

// rich are the members of a subscription with resource data.
func rich(t *testing.T) map[string]any {
	t.Helper()
	return map[string]any{
		"includeResourceData": true, "encryptionCertificateId": "key 1",
		"encryptionCertificate": encryptionCertificate(t, receiverKey().Public(), receiverKey()),
	}
}

func TestRichNotificationReachesAnHTTPSReceiver(t *testing.T) {
	hook := newReceiver(t)
	server := httptest.NewTLSServer(hook)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c, _ := outside(t, Config{Still: true, NotificationLatency: 5 * time.Millisecond, NotificationRootCAs: roots})
	c = c.signedIn(c.tenant.Organizer().ID)
	user := c.tenant.User(7)
	members := rich(t)
	members["notificationUrl"], members["lifecycleNotificationUrl"] = server.URL+"/hook", server.URL+"/life"
	made := c.subscribe("communications/presences/"+user.ID, members)

	require.NoError(t, c.tenant.SetPresence(user.ID, "Busy", "InACall"))
	require.NoError(t, c.tenant.SetStatusMessage(user.ID, "a note is not told"))
	got := hook.next()[0]
	require.Len(t, got.Value, 1)
	item := got.Value[0]
	require.Equal(t, "/hook", got.path)
	require.Equal(t, made["id"], item.SubscriptionID)
	require.Equal(t, made["expirationDateTime"], item.Expires)
	require.Equal(t, "secret", item.ClientState)
	require.Equal(t, "updated", item.ChangeType)
	require.Equal(t, c.tenant.cfg.TenantID, item.TenantID)
	require.Equal(t, c.tenant.cfg.TenantID, item.Organization)
	require.Equal(t, "communications/presences/"+user.ID, item.Resource)
	require.Equal(t, user.ID, item.ResourceData.ID)
	content, err := item.open(t)
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"@odata.type": "#microsoft.graph.presence", "@odata.id": "users/" + user.ID + "/presence",
		"id": user.ID, "availability": "Busy", "activity": "InACall",
	}, content)
	require.Equal(t, "key 1", item.Encrypted.CertificateID)
	der, err := base64.StdEncoding.DecodeString(members["encryptionCertificate"].(string))
	require.NoError(t, err)
	thumbprint := sha1.Sum(der)
	require.Equal(t, strings.ToUpper(hex.EncodeToString(thumbprint[:])), item.Encrypted.Thumbprint)

	require.Len(t, got.Tokens, 1)
	var keys jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(c.get(c.root+"/common/discovery/v2.0/keys").body, &keys))
	parsed, err := jwt.ParseSigned(got.Tokens[0], []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	var token claims
	require.NoError(t, parsed.Claims(&keys, &token))
	require.Equal(t, publisherID, token.AppID)
	require.NoError(t, token.Validate(jwt.Expected{
		Issuer: "https://sts.windows.net/" + c.tenant.cfg.TenantID + "/", AnyAudience: jwt.Audience{c.clientID()}, Time: time.Now(),
	}))

	require.NoError(t, c.tenant.SetPresence(user.ID, "Away", "Away"))
	second := hook.next()[1].Value[0]
	require.NotEqual(t, item.Encrypted.Key, second.Encrypted.Key)
	again, err := second.open(t)
	require.NoError(t, err)
	require.Equal(t, "Away", again["availability"])
	require.Eventually(t, func() bool { return c.tenant.Stats().Notifications == NotificationStats{Posts: 2, Items: 2} }, 5*time.Second, time.Millisecond)
	c.tenant.ResetStats()
	require.Zero(t, c.tenant.Stats().Notifications)
}

func TestEveryWayOfChangingIsNotified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := newReceiver(t)
		c := inside(t, Config{Users: 20, NotificationClient: hook.client()})
		app := c
		c = c.signedIn(c.tenant.Organizer().ID)
		user := c.tenant.User(4)
		require.NoError(t, c.tenant.SetPresence(user.ID, "Offline", "Offline"))
		c.subscribe(resourceOf(ids(t, c.tenant, 0, 20)...), nil)
		only := func(why string) {
			t.Helper()
			got := hook.next()
			require.Len(t, got, 1, why)
			require.Len(t, got[0].Value, 1, why)
			require.Equal(t, user.ID, got[0].Value[0].ResourceData.ID, why)
			require.Nil(t, got[0].Value[0].Encrypted, why)
			require.Empty(t, got[0].Tokens, why)
			hook.forget()
		}
		published := app.post("/users/"+user.ID+"/presence/setPresence", map[string]string{
			"sessionId": c.clientID(), "availability": "Available", "activity": "Available", "expirationDuration": "PT20M",
		})
		require.Equal(t, http.StatusOK, published.status, string(published.body))
		only("an application published")
		start := time.Now()
		only("the session faded")
		require.InDelta(t, 5*time.Minute, time.Since(start), float64(3*time.Second))
		only("the session faded to Away")
		only("the session expired")
		require.Equal(t, http.StatusOK, c.post("/sim/presence", map[string]string{"user": user.ID, "availability": "Busy"}).status)
		only("someone set it by hand")

		before := c.tenant.presences.read([]int{0, 1, 2, 3, 5, 6, 7, 8, 9, 10})
		for range 60 {
			c.tenant.Step()
		}
		moved := make(map[string]bool)
		for i, p := range c.tenant.presences.read([]int{0, 1, 2, 3, 5, 6, 7, 8, 9, 10}) {
			if p.Availability != before[i].Availability || p.Activity != before[i].Activity {
				moved[p.ID] = true
			}
		}
		require.NotEmpty(t, moved)
		for _, item := range hook.next()[0].Value {
			delete(moved, item.ResourceData.ID)
		}
		require.Empty(t, moved, "whom the workday moved")
	})
}

func TestManyChangesShareRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hook := subscriber(t, Config{Users: 700})
		watched := ids(t, c.tenant, 0, 250)
		c.subscribe(resourceOf(watched...), rich(t))
		c.signedIn(c.tenant.User(600).ID).subscribe(resourceOf(watched[:10]...), nil)
		for _, id := range watched {
			require.NoError(t, c.tenant.SetPresence(id, "Busy", "Busy"))
			require.NoError(t, c.tenant.SetPresence(id, "Away", "BeRightBack")) // coalesces
		}
		<-time.After(5 * time.Second)
		var sizes []int
		for _, d := range hook.all() {
			sizes = append(sizes, len(d.Value))
			for _, item := range d.Value {
				if item.Encrypted == nil {
					continue
				}
				content, err := item.open(t)
				require.NoError(t, err)
				require.Equal(t, "BeRightBack", content["activity"])
			}
		}
		require.Equal(t, []int{100, 100, 60}, sizes)
	})
}

func TestRefusedNotificationComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hook := subscriber(t, Config{})
		user := c.tenant.User(3).ID
		c.subscribe(resourceOf(user), nil)
		hook.answer = func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 2 {
				<-r.Context().Done() // late
				return
			}
			w.WriteHeader([]int{http.StatusServiceUnavailable, 0, http.StatusFound, http.StatusAccepted}[min(n, 4)-1])
		}
		require.NoError(t, c.tenant.SetPresence(user, "Busy", "Busy"))
		for range 4 {
			hook.next()
		}
		<-time.After(time.Minute)
		got := hook.all()
		require.Len(t, got, 4)
		for i, pause := range []time.Duration{retryFirst, 2*retryFirst + answerWithin, 4 * retryFirst} {
			require.Equal(t, got[0].Value, got[i+1].Value)
			require.InDelta(t, pause, got[i+1].at.Sub(got[i].at), float64(2*time.Second))
		}
		require.Equal(t, NotificationStats{Posts: 1, Items: 1, Refused: 3}, c.tenant.Stats().Notifications)
	})
}

func TestNotificationIsGivenUpWithItsSubscriptionOrAfterFourHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hook := subscriber(t, Config{TokenLifetime: 24 * time.Hour})
		user := c.tenant.User(3).ID
		made := c.subscribe(resourceOf(user), nil)
		hook.answer = func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusBadGateway) }
		require.NoError(t, c.tenant.SetPresence(user, "Busy", "Busy"))
		for range 10 { // five hours
			<-time.After(30 * time.Minute)
			got := c.do(http.MethodPatch, "/subscriptions/"+made["id"].(string), map[string]string{"expirationDateTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)})
			require.Equal(t, http.StatusOK, got.status, string(got.body))
		}
		got := hook.all()
		first, last := got[0].at, got[len(got)-1].at
		require.InDelta(t, retryFor, last.Sub(first), float64(retryMost))
		require.Equal(t, 1, c.tenant.Stats().Notifications.Dropped)

		require.NoError(t, c.tenant.SetPresence(user, "Away", "Away"))
		<-time.After(2 * time.Second)
		sent := len(hook.all())
		require.Equal(t, http.StatusNoContent, c.do(http.MethodDelete, "/subscriptions/"+made["id"].(string), nil).status)
		<-time.After(time.Hour)
		require.Len(t, hook.all(), sent)
		require.Equal(t, 2, c.tenant.Stats().Notifications.Dropped)
	})
}

func TestSlowReceiverIsDelayedAndThenCutOff(t *testing.T) {
	for name, test := range map[string]struct {
		lateEvery int
		dropped   bool
	}{
		"one answer of nine late":  {9, false},
		"one answer of five late":  {5, true},
		"one answer of twenty":     {20, false},
		"every answer in due time": {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, hook := subscriber(t, Config{NotificationLatency: 100 * time.Millisecond})
				user := c.tenant.User(3).ID
				c.subscribe(resourceOf(user), nil)
				hook.answer = func(w http.ResponseWriter, r *http.Request, n int) {
					if test.lateEvery > 0 && n%test.lateEvery == 0 {
						<-time.After(slowAnswer + 50*time.Millisecond) // late, but in time
					}
					w.WriteHeader(http.StatusAccepted)
				}
				change := func(n int) {
					require.NoError(t, c.tenant.SetPresence(user, "Busy", fmt.Sprint("Task", n)))
					<-time.After(3200 * time.Millisecond)
				}
				for n := range judgedFrom {
					change(n)
				}
				require.Len(t, hook.all(), judgedFrom)
				at := time.Now()
				change(judgedFrom)
				got := hook.all()
				switch {
				case test.dropped:
					require.Len(t, got, judgedFrom)
					require.Equal(t, 1, c.tenant.Stats().Notifications.Dropped)
				case test.lateEvery == 9:
					require.Len(t, got, judgedFrom)
					<-time.After(slowDelay)
					got = hook.all()
					require.Len(t, got, judgedFrom+1)
					require.InDelta(t, slowDelay, got[judgedFrom].at.Sub(at), float64(2*time.Second))
				default:
					require.Len(t, got, judgedFrom+1)
				}
				<-time.After(healthWindow)
				hook.forget()
				change(-1)
				require.Len(t, hook.all(), 1, "the count begins again")
			})
		})
	}
}

func TestLifecycleEventsAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hook := subscriber(t, Config{TokenLifetime: 2 * time.Hour})
		user := c.tenant.User(3).ID
		start := time.Now()
		made := c.subscribe(resourceOf(user), rich(t))
		path := "/subscriptions/" + made["id"].(string)

		warned := hook.next()[0]
		require.Equal(t, "/lifecycle", warned.path)
		require.Equal(t, lifecycleReauthorize, warned.Value[0].Event)
		require.Equal(t, made["id"], warned.Value[0].SubscriptionID)
		require.Equal(t, "secret", warned.Value[0].ClientState)
		require.Nil(t, warned.Value[0].Encrypted)
		require.InDelta(t, longestSubscription-challengeLead, warned.at.Sub(start), float64(2*time.Second))
		hook.forget()
		renew := func(c *caller) {
			got := c.do(http.MethodPatch, path, map[string]string{"expirationDateTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)})
			require.Equal(t, http.StatusOK, got.status, string(got.body))
		}
		renew(c)

		order := func(event string) int {
			return c.post("/sim"+path+"/lifecycle", map[string]string{"event": event}).status
		}
		require.Equal(t, http.StatusBadRequest, order("expired"))
		require.Equal(t, http.StatusNoContent, order(lifecycleMissed))
		require.Equal(t, lifecycleMissed, hook.next()[0].Value[0].Event)
		require.Equal(t, http.StatusNoContent, order(lifecycleRemoved))
		require.Equal(t, lifecycleRemoved, hook.next()[1].Value[0].Event)
		require.Equal(t, http.StatusNotFound, c.get(path).status)
		require.Equal(t, http.StatusNotFound, order(lifecycleMissed))
		hook.forget()
		require.NoError(t, c.tenant.SetPresence(user, "Busy", "Busy"))

		deaf := c.subscribe(resourceOf(user), map[string]any{"lifecycleNotificationUrl": nil})
		path = "/subscriptions/" + deaf["id"].(string)
		require.Equal(t, http.StatusConflict, order(lifecycleMissed))
		<-time.After(2 * time.Hour)
		require.Empty(t, hook.all())
		require.Empty(t, c.tenant.Subscriptions())
	})
}

func TestSubscriptionWhoseTokenExpiredPausesUntilItIsReauthorized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hook := subscriber(t, Config{TokenLifetime: 20 * time.Minute})
		user := c.tenant.User(3).ID
		path := "/subscriptions/" + c.subscribe(resourceOf(user), nil)["id"].(string)
		require.InDelta(t, 5*time.Minute, hook.next()[0].at.Sub(c.tenant.Subscriptions()[0].Created), float64(2*time.Second))
		tell := func(activity string) int {
			hook.forget()
			require.NoError(t, c.tenant.SetPresence(user, "Busy", activity))
			<-time.After(2 * time.Second)
			return len(hook.all())
		}
		<-time.After(25 * time.Minute) // the token has expired
		require.Equal(t, 1, tell("InACall"))
		<-time.After(8 * time.Minute)
		require.Zero(t, tell("InAMeeting"))
		c = c.signedIn(c.tenant.Organizer().ID)
		require.Equal(t, http.StatusNoContent, c.post(path+"/reauthorize", nil).status)
		require.Equal(t, 1, tell("Busy"))
	})
}

func TestCloseEndsAHandshakeAndADelivery(t *testing.T) {
	hook := newReceiver(t)
	entered := make(chan struct{}, 2)
	block := func(_ http.ResponseWriter, r *http.Request, _ string) {
		entered <- struct{}{}
		<-r.Context().Done()
	}
	server := httptest.NewTLSServer(hook)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c, _ := outside(t, Config{Still: true, NotificationLatency: time.Millisecond, NotificationRootCAs: roots})
	first, second := c.signedIn(c.tenant.User(1).ID), c.signedIn(c.tenant.User(2).ID)
	urls := map[string]any{"notificationUrl": server.URL, "lifecycleNotificationUrl": nil}
	first.subscribe(resourceOf(c.tenant.User(5).ID), urls)
	hook.validate = block
	hook.answer = func(w http.ResponseWriter, r *http.Request, _ int) { block(w, r, "") }
	refused := make(chan int)
	go func() {
		refused <- second.post("/subscriptions", subscribeBody(resourceOf(c.tenant.User(5).ID), urls)).status
	}()
	require.NoError(t, c.tenant.SetPresence(c.tenant.User(5).ID, "Busy", "Busy"))
	<-entered
	<-entered
	go c.tenant.Close()
	require.Equal(t, http.StatusBadRequest, <-refused)
	c.tenant.Close()
}

// BenchmarkSweep is what a second of noticing costs for a full subscription of
// which nobody changes.
func BenchmarkSweep(b *testing.B) {
	tenant, err := New(Config{Users: 1000, Still: true})
	require.NoError(b, err)
	sights := make([]sight, maxSubscribed)
	for i := range sights {
		sights[i].index = i
	}
	tenant.presences.sweep(sights)
	b.ReportAllocs()
	for b.Loop() {
		tenant.presences.sweep(sights)
	}
}
