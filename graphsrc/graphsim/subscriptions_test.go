package graphsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/graphsim/people"
)

const (
	webhook   = "https://gateway.test/notify"
	lifecycle = "https://gateway.test/lifecycle"
)

// resourceOf is the resource of some users' presence.
func resourceOf(ids ...string) string {
	return "/communications/presences?$filter=id in ('" + strings.Join(ids, "','") + "')"
}

// subscribeBody is the body of a subscription that is right; others replaces members,
// and nil removes them.
func subscribeBody(resource string, others map[string]any) map[string]any {
	body := map[string]any{
		"changeType": "updated", "resource": resource, "notificationUrl": webhook, "lifecycleNotificationUrl": lifecycle,
		"expirationDateTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano), "clientState": "secret",
	}
	for name, value := range others {
		body[name] = value
		if value == nil {
			delete(body, name)
		}
	}
	return body
}

func (c *caller) subscribe(resource string, others map[string]any) map[string]any {
	c.t.Helper()
	got := c.post("/subscriptions", subscribeBody(resource, others))
	require.Equal(c.t, http.StatusCreated, got.status, string(got.body))
	return got.json(c.t)
}

// subscriber is a caller with the token of the organizer, and its webhook.
func subscriber(t *testing.T, cfg Config) (*caller, *receiver) {
	t.Helper()
	hook := newReceiver(t)
	cfg.Still, cfg.NotificationClient = true, hook.client()
	c := inside(t, cfg)
	return c.signedIn(c.tenant.Organizer().ID), hook
}

func TestSubscriptionIsToldRenewedAndDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hook := subscriber(t, Config{})
		watched := ids(t, c.tenant, 3, 3)
		made := c.subscribe(resourceOf(append(watched, strings.ToUpper(watched[0]))...), nil)
		require.Equal(t, []string{"/notify", "/lifecycle"}, hook.handshakes)
		require.Equal(t, "secret", made["clientState"])
		require.Equal(t, c.clientID(), made["applicationId"])
		require.Equal(t, c.tenant.Organizer().ID, made["creatorId"])
		require.Equal(t, time.Now().Add(time.Hour).UTC().Format(subscriptionTime), made["expirationDateTime"])
		path := "/subscriptions/" + made["id"].(string)

		listed := c.values("/subscriptions")
		require.Len(t, listed, 1)
		require.Nil(t, listed[0]["clientState"])
		require.Equal(t, made["id"], c.good(path)["id"])
		kept := c.tenant.Subscriptions()
		require.Len(t, kept, 1)
		require.Equal(t, 3, kept[0].Users)
		require.Equal(t, 1, c.tenant.Stats().Subscriptions)
		require.Contains(t, string(c.get("/sim/subscriptions").body), kept[0].ID)

		again := c.post("/subscriptions", subscribeBody("communications/presences/"+watched[1], nil))
		require.Equal(t, http.StatusConflict, again.status)
		require.Equal(t, "ExtensionError", again.code(t))

		other := c.signedIn(c.tenant.User(20).ID)
		require.Empty(t, other.values("/subscriptions"))
		for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPatch} {
			require.Equal(t, http.StatusNotFound, other.do(method, path, map[string]any{}).status, method)
		}
		other.subscribe("communications/presences/"+watched[1], nil)
		require.Len(t, c.tenant.Subscriptions(), 2)

		<-time.After(30 * time.Minute)
		end := func(in time.Duration) map[string]any {
			return map[string]any{"expirationDateTime": time.Now().Add(in).UTC().Format(time.RFC3339Nano)}
		}
		renewed := c.do(http.MethodPatch, path, end(10*time.Minute))
		require.Equal(t, http.StatusOK, renewed.status, string(renewed.body))
		require.Equal(t, time.Now().Add(45*time.Minute).UTC().Format(subscriptionTime), renewed.json(t)["expirationDateTime"])
		require.Equal(t, http.StatusBadRequest, c.do(http.MethodPatch, path, end(time.Hour+time.Second)).status)
		require.Equal(t, http.StatusNoContent, c.post(path+"/reauthorize", nil).status)

		<-time.After(30 * time.Minute) // the other's expires
		require.Len(t, c.tenant.Subscriptions(), 1)
		c = c.signedIn(c.tenant.Organizer().ID)
		require.Equal(t, http.StatusNoContent, c.do(http.MethodDelete, path, nil).status)
		require.Equal(t, http.StatusNotFound, c.do(http.MethodDelete, path, nil).status)
		require.Equal(t, http.StatusNotFound, c.do(http.MethodPatch, path, end(time.Hour)).status)
		require.Empty(t, c.values("/subscriptions"))
	})
}

func TestSubscriptionThatGraphWouldRefuseIsRefused(t *testing.T) {
	c, hook := subscriber(t, Config{Users: 1000})
	one := c.tenant.User(5).ID
	good := encryptionCertificate(t, receiverKey().Public(), receiverKey())
	weakKey, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rich := func(certificate, id any) map[string]any {
		return map[string]any{"includeResourceData": true, "encryptionCertificate": certificate, "encryptionCertificateId": id}
	}
	in := func(d time.Duration) map[string]any {
		return map[string]any{"expirationDateTime": time.Now().Add(d).UTC().Format(time.RFC3339Nano)}
	}
	many := ids(t, c.tenant, 0, 651)
	for name, test := range map[string]struct {
		resource string
		others   map[string]any
	}{
		"another change type":              {resourceOf(one), map[string]any{"changeType": "updated,deleted"}},
		"another resource":                 {"/users/" + one, nil},
		"a collection without filter":      {"/communications/presences", nil},
		"a filter of another form":         {"/communications/presences?$filter=id eq '" + one + "'", nil},
		"an id without quotes":             {"/communications/presences?$filter=id in (" + one + ")", nil},
		"an id that is no GUID":            {resourceOf("me"), nil},
		"a path that is no GUID":           {"/communications/presences/me", nil},
		"a selection":                      {resourceOf(one) + "&$select=activity", nil},
		"a selection of one":               {"/communications/presences/" + one + "?$select=activity", nil},
		"651 users":                        {resourceOf(many...), nil},
		"plain HTTP":                       {resourceOf(one), map[string]any{"notificationUrl": "http://127.0.0.1/notify"}},
		"plain HTTP for the lifecycle":     {resourceOf(one), map[string]any{"lifecycleNotificationUrl": "http://localhost/x"}},
		"no URL":                           {resourceOf(one), map[string]any{"notificationUrl": nil}},
		"more than an hour":                {resourceOf(one), in(61 * time.Minute)},
		"the past":                         {resourceOf(one), in(-time.Minute)},
		"no end":                           {resourceOf(one), map[string]any{"expirationDateTime": nil}},
		"a long client state":              {resourceOf(one), map[string]any{"clientState": strings.Repeat("x", 129)}},
		"rich without certificate":         {resourceOf(one), rich(nil, nil)},
		"a certificate without a name":     {resourceOf(one), rich(good, nil)},
		"a long name of the certificate":   {resourceOf(one), rich(good, strings.Repeat("x", 129))},
		"a certificate that is no base64":  {resourceOf(one), rich("%", "k")},
		"a certificate that is none":       {resourceOf(one), rich("AAAA", "k")},
		"a certificate of a weak key":      {resourceOf(one), rich(encryptionCertificate(t, weakKey.Public(), receiverKey()), "k")},
		"a certificate of another key":     {resourceOf(one), rich(encryptionCertificate(t, curve.Public(), receiverKey()), "k")},
		"a query that cannot be unescaped": {"/communications/presences?$filter=%zz", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.post("/subscriptions", subscribeBody(test.resource, test.others))
			require.Equal(t, http.StatusBadRequest, got.status, string(got.body))
			require.Equal(t, "ValidationError", got.code(t))
		})
	}
	require.Empty(t, hook.handshakes)
	c.subscribe(strings.ReplaceAll(resourceOf(many[:650]...), " ", "%20"), nil)
	require.Equal(t, 650, c.tenant.Subscriptions()[0].Users)
}

func TestOnlySignedInUsersWithThePermissionSubscribe(t *testing.T) {
	c := inside(t, Config{Still: true})
	for _, try := range []answer{c.get("/subscriptions"), c.post("/subscriptions", subscribeBody(resourceOf(c.tenant.User(1).ID), nil))} {
		require.Equal(t, http.StatusForbidden, try.status)
		require.Equal(t, "Forbidden", try.code(t))
	}
	writer := inside(t, Config{Still: true, Scopes: []string{"Presence.ReadWrite.All", "User.Read"}})
	code, userCode := writer.openDevice("User.Read")
	require.NoError(t, writer.tenant.ApproveDevice(userCode, writer.tenant.Organizer().ID))
	writer = writer.as(writer.pollDevice(code).json(t)["access_token"].(string))
	got := writer.get("/subscriptions")
	require.Equal(t, http.StatusForbidden, got.status)
	require.Equal(t, "Authorization_RequestDenied", got.code(t))
}

func TestURLThatDoesNotAnswerTheHandshakeIsRefused(t *testing.T) {
	plain := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/plain") }
	for name, validate := range map[string]func(w http.ResponseWriter, r *http.Request, token string){
		"another status": func(w http.ResponseWriter, _ *http.Request, token string) {
			plain(w)
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, token)
		},
		"another content type": func(w http.ResponseWriter, _ *http.Request, token string) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, token)
		},
		"another token": func(w http.ResponseWriter, _ *http.Request, token string) {
			plain(w)
			_, _ = io.WriteString(w, token+"\n")
		},
		"the token as it was escaped": func(w http.ResponseWriter, r *http.Request, _ string) {
			plain(w)
			_, escaped, _ := strings.Cut(r.URL.RawQuery, "validationToken=")
			_, _ = io.WriteString(w, escaped)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request, _ string) { http.Redirect(w, r, webhook, http.StatusFound) },
		"no answer in ten seconds": func(w http.ResponseWriter, r *http.Request, token string) {
			<-time.After(validateWithin + time.Millisecond)
			plain(w)
			_, _ = io.WriteString(w, token)
		},
		"the lifecycle URL only": func(w http.ResponseWriter, r *http.Request, token string) {
			plain(w)
			if r.URL.Path != "/lifecycle" {
				_, _ = io.WriteString(w, token)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, hook := subscriber(t, Config{})
				hook.validate = validate
				got := c.post("/subscriptions", subscribeBody(resourceOf(c.tenant.User(1).ID), nil))
				require.Equal(t, http.StatusBadRequest, got.status)
				require.Equal(t, "ValidationError", got.code(t))
				require.Contains(t, string(got.body), "Subscription validation request")
				require.Empty(t, c.tenant.Subscriptions())
			})
		})
	}
}

func TestValidationTokenSurvivesEscapingForHTML(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hook := subscriber(t, Config{})
		var tokens []string
		hook.validate = func(w http.ResponseWriter, r *http.Request, token string) {
			tokens = append(tokens, token)
			require.Equal(t, "kept", r.URL.Query().Get("own"))
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, html.EscapeString(token))
		}
		c.subscribe(resourceOf(c.tenant.User(1).ID), map[string]any{"notificationUrl": webhook + "?own=kept", "lifecycleNotificationUrl": webhook + "?own=kept"})
		require.Len(t, tokens, 2)
		require.NotEqual(t, tokens[0], tokens[1])
		require.NotEqual(t, tokens[0], url.QueryEscape(tokens[0]))
	})
}

func TestWritesOfSubscriptionsHaveALimitOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := subscriber(t, Config{Limit: Limit{Requests: 5}})
		gone := "/subscriptions/" + people.GUID(1, "gone")
		for range subscriptionWrites.Requests {
			require.Equal(t, http.StatusNotFound, c.do(http.MethodDelete, gone, nil).status)
		}
		got := c.do(http.MethodDelete, gone, nil)
		require.Equal(t, http.StatusTooManyRequests, got.status)
		require.NotEmpty(t, got.header.Get("Retry-After"))
		require.Equal(t, http.StatusNotFound, c.get(gone).status, "reads are not limited")
		require.Equal(t, http.StatusOK, c.get("/me/presence").status, "nor is presence")
		<-time.After(subscriptionWrites.Window + time.Second)
		require.Equal(t, http.StatusNotFound, c.do(http.MethodDelete, gone, nil).status)
		require.Zero(t, c.tenant.Stats().IdentityUnits)
	})
}

func TestCreatingMayBeMadeToFail(t *testing.T) {
	c, hook := subscriber(t, Config{})
	body := subscribeBody(resourceOf(c.tenant.User(1).ID), nil)
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		require.NoError(t, c.tenant.SetFaults(Faults{Routes: map[string]RouteFault{"POST /subscriptions": {Status: status, RetryAfter: "7", Count: 1}}}))
		got := c.post("/subscriptions", body)
		require.Equal(t, status, got.status)
		require.Equal(t, "7", got.header.Get("Retry-After"))
	}
	faults := c.do(http.MethodPut, "/sim/faults", `{"notify":{"noValidation":true}}`)
	require.Equal(t, http.StatusOK, faults.status, string(faults.body))
	got := c.post("/subscriptions", body)
	require.Equal(t, http.StatusBadRequest, got.status)
	require.Contains(t, string(got.body), "timed out")
	require.Empty(t, hook.handshakes)
	require.NoError(t, c.tenant.SetFaults(Faults{UnknownUsers: "error"}))
	stranger := subscribeBody(resourceOf(people.GUID(9, "stranger")), nil)
	require.Equal(t, http.StatusBadRequest, c.post("/subscriptions", stranger).status)
	require.NoError(t, c.tenant.SetFaults(Faults{}))
	require.Equal(t, http.StatusCreated, c.post("/subscriptions", stranger).status)
	require.Zero(t, c.tenant.Subscriptions()[0].Users)

	for _, bad := range []string{`{"delayMs":-1}`, `{"drop":2}`, `{"badToken":"odd"}`} {
		got := c.do(http.MethodPut, "/sim/faults", fmt.Sprintf(`{"notify":%s}`, bad))
		require.Equal(t, http.StatusBadRequest, got.status, bad)
	}
}

func FuzzSubscriptionResource(f *testing.F) {
	tenant, err := New(Config{Users: 10, Still: true})
	require.NoError(f, err)
	one := tenant.User(1).ID
	for _, seed := range []string{
		resourceOf(one, one), "communications/presences/" + one, "/communications/presences?$filter=id%20in%20('" + one + "')",
		"/communications/presences?$filter=id in ()", "/communications/presences?$filter=id in (('" + one + "'))&$select=id", "?%", "", "/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, resource string) {
		sights, err := tenant.subscribed(resource)
		if err != nil {
			var refused *graphError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, http.StatusBadRequest, refused.status)
			require.Empty(t, sights)
			return
		}
		seen := make(map[int]bool)
		for _, s := range sights {
			require.False(t, seen[s.index], "each user once")
			seen[s.index] = true
			require.Contains(t, strings.ToLower(resource), tenant.User(s.index).ID[:8])
		}
	})
}
