package msgraph

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// holder is a credential that gives one token, or fails.
type holder struct {
	mu    sync.Mutex
	token string
	err   error
	asked int
}

func (h *holder) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if h.err != nil {
		return azcore.AccessToken{}, h.err
	}
	return azcore.AccessToken{Token: h.token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (h *holder) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// subscriber returns one whose Graph is handler and whose token is accepted.
func subscriber(t *testing.T, handler http.HandlerFunc) (*Subscriber, *fake, *holder, *handClock) {
	f := newFake(t, handler)
	credential, clk := &holder{token: testToken(0)}, &handClock{Clock: clock.System()}
	s, err := newSubscriber(f.config(), credential, nil, nil, clk)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s, f, credential, clk
}

const existing = `{"id":"s1","resource":"/communications/presences/x","notificationUrl":"https://gateway.test/n",` +
	`"expirationDateTime":"2030-01-02T03:04:05.1234567Z","clientState":null}`

var (
	ends    = time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	answers = graphsrc.Subscription{
		ID: "s1", Resource: "/communications/presences/x", NotificationURL: "https://gateway.test/n",
		Expires: time.Date(2030, 1, 2, 3, 4, 5, 123456700, time.UTC),
	}
)

func request(people ...string) graphsrc.SubscriptionRequest {
	return graphsrc.SubscriptionRequest{
		People: people, NotificationURL: "https://gateway.test/n", LifecycleURL: "https://gateway.test/l",
		ClientState: "state", Certificate: []byte("certificate"), CertificateID: "c1", Expires: ends,
	}
}

func TestASubscriptionIsAskedForAsGraphWantsIt(t *testing.T) {
	many := make([]string, graphsrc.SubscriptionSize)
	for i := range many {
		many[i] = fmt.Sprintf("aaaaaaaa-0000-0000-0000-%012d", i)
	}
	rich := map[string]any{
		"changeType": "updated", "resource": "/communications/presences/" + idAna, "clientState": "state",
		"notificationUrl": "https://gateway.test/n", "lifecycleNotificationUrl": "https://gateway.test/l",
		"expirationDateTime": "2030-01-02T02:04:05Z", "includeResourceData": true,
		"encryptionCertificate": base64.StdEncoding.EncodeToString([]byte("certificate")), "encryptionCertificateId": "c1",
	}
	with := func(changes map[string]any) map[string]any {
		body := map[string]any{}
		for _, layer := range []map[string]any{rich, changes} {
			for key, value := range layer {
				if body[key] = value; value == nil {
					delete(body, key)
				}
			}
		}
		return body
	}
	bare := request(idAna)
	bare.LifecycleURL, bare.ClientState, bare.Certificate, bare.CertificateID = "", "", nil, ""
	for name, tc := range map[string]struct {
		request graphsrc.SubscriptionRequest
		want    map[string]any
	}{
		"to one person": {request(idAna), rich},
		"to two":        {request(idAna, idBen), with(map[string]any{"resource": "/communications/presences?$filter=id in ('" + idAna + "','" + idBen + "')"})},
		"to as many as there may be": {request(many...), with(map[string]any{
			"resource": "/communications/presences?$filter=id in ('" + strings.Join(many, "','") + "')",
		})},
		"without anything optional": {bare, with(map[string]any{
			"lifecycleNotificationUrl": nil, "clientState": nil, "includeResourceData": nil,
			"encryptionCertificate": nil, "encryptionCertificateId": nil,
		})},
	} {
		t.Run(name, func(t *testing.T) {
			s, f, _, _ := subscriber(t, always(201, existing))
			got, err := s.Subscribe(t.Context(), tc.request)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(answers, got))
			sent := f.sent()
			require.Len(t, sent, 1)
			require.Equal(t, "POST /v1.0/subscriptions", sent[0].method+" "+sent[0].uri)
			require.Equal(t, "application/json", sent[0].header.Get("Content-Type"))
			require.False(t, sent[0].chunked)
			var body map[string]any
			require.NoError(t, json.Unmarshal([]byte(sent[0].body), &body))
			require.Empty(t, cmp.Diff(tc.want, body))
		})
	}
}

func TestARequestThatGraphWouldRefuseIsNotSent(t *testing.T) {
	s, f, credential, _ := subscriber(t, always(201, existing))
	for name, change := range map[string]func(*graphsrc.SubscriptionRequest){
		"nobody":                    func(r *graphsrc.SubscriptionRequest) { r.People = nil },
		"too many":                  func(r *graphsrc.SubscriptionRequest) { r.People = make([]string, graphsrc.SubscriptionSize+1) },
		"no id":                     func(r *graphsrc.SubscriptionRequest) { r.People = []string{""} },
		"an id that ends a quote":   func(r *graphsrc.SubscriptionRequest) { r.People = []string{idAna, "x') or id in ('y"} },
		"an id that is a path":      func(r *graphsrc.SubscriptionRequest) { r.People = []string{"../users"} },
		"plain http":                func(r *graphsrc.SubscriptionRequest) { r.NotificationURL = "http://gateway.test/n" },
		"no URL":                    func(r *graphsrc.SubscriptionRequest) { r.NotificationURL = "" },
		"lifecycle over plain http": func(r *graphsrc.SubscriptionRequest) { r.LifecycleURL = "http://gateway.test/l" },
		"a long state":              func(r *graphsrc.SubscriptionRequest) { r.ClientState = strings.Repeat("x", 129) },
		"a long certificate id":     func(r *graphsrc.SubscriptionRequest) { r.CertificateID = strings.Repeat("x", 129) },
		"an id of no certificate":   func(r *graphsrc.SubscriptionRequest) { r.Certificate = nil },
		"a certificate of no id":    func(r *graphsrc.SubscriptionRequest) { r.CertificateID = "" },
		"no end":                    func(r *graphsrc.SubscriptionRequest) { r.Expires = time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			r := request(idAna)
			change(&r)
			_, err := s.Subscribe(t.Context(), r)
			e := requireKind(t, graphsrc.KindInvalid, err)
			require.NotContains(t, e.Error(), "state\"")
		})
	}
	_, err := s.Renew(t.Context(), "", ends)
	requireKind(t, graphsrc.KindInvalid, err)
	_, err = s.Renew(t.Context(), "s1", time.Time{})
	requireKind(t, graphsrc.KindInvalid, err)
	requireKind(t, graphsrc.KindInvalid, s.Unsubscribe(t.Context(), ".."))
	require.Empty(t, f.sent())
	require.Zero(t, credential.asked)
}

func TestASubscriptionIsRenewedAndEnded(t *testing.T) {
	s, f, _, _ := subscriber(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		reply(w, 200, `{"id":"s/1","expirationDateTime":"soon"}`)
	})
	got, err := s.Renew(t.Context(), "s/1", ends)
	require.NoError(t, err)
	require.Equal(t, graphsrc.Subscription{ID: "s/1", Expires: ends}, got, "an end that cannot be read is the one asked for")
	require.NoError(t, s.Unsubscribe(t.Context(), "s/1"))
	sent := f.sent()
	require.Len(t, sent, 2)
	require.Equal(t, "PATCH /v1.0/subscriptions/s%2F1", sent[0].method+" "+sent[0].uri)
	require.JSONEq(t, `{"expirationDateTime":"2030-01-02T02:04:05Z"}`, sent[0].body)
	require.Equal(t, "DELETE /v1.0/subscriptions/s%2F1", sent[1].method+" "+sent[1].uri)
	require.Empty(t, sent[1].body)
}

func TestAllPagesOfSubscriptionsAreRead(t *testing.T) {
	s, f, _, _ := subscriber(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("$skiptoken") {
		case "":
			reply(w, 200, `{"value":[`+existing+`,{}],"@odata.nextLink":"https://`+r.Host+`/v1.0/subscriptions?$skiptoken=a%20b"}`)
		case "a b":
			reply(w, 200, `{"value":[],"@odata.nextLink":"https://`+r.Host+`/v1.0/subscriptions?$skiptoken=c"}`)
		default:
			reply(w, 200, `{"value":[{"id":"s2","expirationDateTime":"2030-01-02T03:04:05"}]}`)
		}
	})
	got, err := s.Subscriptions(t.Context())
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]graphsrc.Subscription{answers, {ID: "s2", Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}}, got))
	sent := f.sent()
	require.Len(t, sent, 3)
	require.Equal(t, "/v1.0/subscriptions", sent[0].uri)
	require.Equal(t, "/v1.0/subscriptions?$skiptoken=a%20b", sent[1].uri)

	s, _, _, _ = subscriber(t, always(200, `{"value":[],"@odata.nextLink":"https://elsewhere.test/v1.0/subscriptions"}`))
	_, err = s.Subscriptions(t.Context())
	requireKind(t, graphsrc.KindMalformed, err)
}

func TestAnswersOfSubscriptionsMeanWhatTheyMean(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		kind   graphsrc.Kind
	}{
		"gone":               {404, `{"error":{"code":"ResourceNotFound","message":"m"}}`, graphsrc.KindNotFound},
		"forbidden":          {403, `{"error":{"code":"Forbidden"}}`, graphsrc.KindForbidden},
		"exists already":     {409, `{"error":{"code":"Conflict"}}`, graphsrc.KindInvalid},
		"not validated":      {400, `{"error":{"code":"ValidationError"}}`, graphsrc.KindInvalid},
		"throttled":          {429, `{}`, graphsrc.KindThrottled},
		"a proxy in trouble": {502, `<html>`, graphsrc.KindUnavailable},
		"no subscription":    {201, `{}`, graphsrc.KindMalformed},
		"no JSON":            {200, `<html>`, graphsrc.KindMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			s, f, _, _ := subscriber(t, always(tc.status, tc.body, "Retry-After", "7"))
			_, err := s.Subscribe(t.Context(), request(idAna))
			e := requireKind(t, tc.kind, err)
			require.Equal(t, 7*time.Second, e.RetryAfter)
			_, err = s.Renew(t.Context(), "s1", ends)
			requireKind(t, tc.kind, err)
			require.Len(t, f.sent(), 2, "nothing is sent again")
		})
	}
	s, _, _, _ := subscriber(t, always(404, `{}`))
	requireKind(t, graphsrc.KindNotFound, s.Unsubscribe(t.Context(), "s1"))
}

func TestWhyTheAccountHasNoTokenIsPassedOn(t *testing.T) {
	const secret = "secret-trace"
	signIn := &graphsrc.Error{Op: "o", Kind: graphsrc.KindUnauthorized, Status: 400, Code: "AADSTS50173", Err: graphsrc.ErrSignInNeeded}
	for name, tc := range map[string]struct {
		err  error
		kind graphsrc.Kind
		code string
	}{
		"a person has to help":     {signIn, graphsrc.KindUnauthorized, "AADSTS50173"},
		"the authority is down":    {&graphsrc.Error{Op: "o", Kind: graphsrc.KindUnavailable, RetryAfter: 9 * time.Second}, graphsrc.KindUnavailable, ""},
		"the account takes long":   {context.DeadlineExceeded, graphsrc.KindTimeout, ""},
		"a credential that quotes": {errors.New("AADSTS7000215 " + secret), graphsrc.KindUnauthorized, "AADSTS7000215"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, always(201, existing))
			log := &bytes.Buffer{}
			s, err := newSubscriber(f.config(), &holder{err: tc.err}, nil, slog.New(slog.NewTextHandler(log, nil)), &handClock{Clock: clock.System()})
			require.NoError(t, err)
			defer s.Close()
			for range 2 {
				_, err = s.Subscriptions(t.Context())
				e := requireKind(t, tc.kind, err)
				require.Equal(t, tc.code, e.Code)
				require.Equal(t, errors.Is(tc.err, graphsrc.ErrSignInNeeded), errors.Is(err, graphsrc.ErrSignInNeeded))
				require.NotContains(t, e.Error()+log.String(), secret)
			}
			require.Empty(t, f.sent())
		})
	}
}

func TestATokenThatGraphRefusesForGoodAsksForAPerson(t *testing.T) {
	s, f, credential, clk := subscriber(t, always(401, `{}`))
	_, err := s.Subscribe(t.Context(), request(idAna))
	require.NotErrorIs(t, err, graphsrc.ErrSignInNeeded)
	credential.fail(&graphsrc.Error{Op: "o", Kind: graphsrc.KindUnauthorized, Err: graphsrc.ErrSignInNeeded})
	clk.advance(2 * renewEvery)
	for _, call := range []func() error{
		func() error { _, err := s.Subscribe(t.Context(), request(idAna)); return err },
		func() error { _, err := s.Subscriptions(t.Context()); return err },
		func() error { return s.Unsubscribe(t.Context(), "s1") },
	} {
		err := call()
		requireKind(t, graphsrc.KindUnauthorized, err)
		require.ErrorIs(t, err, graphsrc.ErrSignInNeeded)
	}
	require.LessOrEqual(t, len(f.sent()), 8, "two for each call")
}

func TestASubscriberNeedsACredentialAndACloud(t *testing.T) {
	_, err := NewSubscriber(Config{Cloud: "mars"}, nil, nil, nil)
	require.ErrorContains(t, err, `cloud "mars"`)
	require.ErrorContains(t, err, "the credential is missing")
}

func TestUsersSignInWhereTheCloudSays(t *testing.T) {
	for cloud, want := range map[string][2]string{
		CloudGlobal:   {"https://login.microsoftonline.com/contoso.test", "https://graph.microsoft.com"},
		CloudUSGov:    {"https://login.microsoftonline.us/contoso.test", "https://graph.microsoft.us"},
		CloudUSGovDoD: {"https://login.microsoftonline.us/contoso.test", "https://dod-graph.microsoft.us"},
	} {
		p, err := Config{Cloud: cloud, TenantID: "contoso.test", ClientID: testClient}.Platform()
		require.NoError(t, err)
		require.Equal(t, want, [2]string{p.Authority, p.Resource})
		require.False(t, p.Custom)
		require.Positive(t, p.HTTP.Timeout)
	}
	p, err := Config{
		Cloud: CloudCustom, GraphURL: "http://127.0.0.1:80/x", Authority: "https://[::1]:1/", TenantID: testTenant, ClientID: testClient,
	}.Platform()
	require.NoError(t, err)
	require.Equal(t, [2]string{"https://[::1]:1/" + testTenant, "http://127.0.0.1:80"}, [2]string{p.Authority, p.Resource})
	require.True(t, p.Custom)
}
