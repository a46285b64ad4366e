package delegated

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/graphsim"
	"ucwagate/graphsrc/msgraph"
)

// TestAnAccountSubscribes goes through the whole life of a subscription: the
// account's tokens, the SDK's requests, and the handshake that Graph makes
// with the gateway meanwhile.
func TestAnAccountSubscribes(t *testing.T) {
	var handshakes atomic.Int64
	gateway := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handshakes.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, r.URL.Query().Get("validationToken"))
	}))
	defer gateway.Close()
	p := newPlace(t, graphsim.Config{NotificationClient: gateway.Client()})
	m := p.open(t)
	sends := &counter{}
	s, err := msgraph.NewSubscriber(p.graph, m, sends.wrap, nil)
	require.NoError(t, err)
	defer s.Close()

	r := graphsrc.SubscriptionRequest{
		People:          []string{p.tenant.User(2).ID, p.tenant.User(3).ID},
		NotificationURL: gateway.URL + "/n", LifecycleURL: gateway.URL + "/l", ClientState: "state",
		Certificate: certificate(t), CertificateID: "c1", Expires: time.Now().Add(50 * time.Minute),
	}
	_, err = s.Subscribe(t.Context(), r)
	require.ErrorIs(t, err, graphsrc.ErrSignInNeeded)
	require.Zero(t, sends.n.Load())

	p.signIn(t, p.open(t), p.ana().UserPrincipalName)
	// The subscriber repeats a failure for a few seconds; another begins anew.
	other, err := msgraph.NewSubscriber(p.graph, m, sends.wrap, nil)
	require.NoError(t, err)
	defer other.Close()
	made, err := other.Subscribe(t.Context(), r)
	require.NoError(t, err)
	require.EqualValues(t, 2, handshakes.Load())
	require.Contains(t, made.Resource, r.People[1])
	require.Equal(t, r.NotificationURL, made.NotificationURL)
	require.WithinDuration(t, r.Expires, made.Expires, time.Second)
	require.Equal(t, p.ana().ID, p.tenant.Subscriptions()[0].UserID)

	renewed, err := other.Renew(t.Context(), made.ID, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, made.ID, renewed.ID)
	require.True(t, renewed.Expires.After(made.Expires))
	all, err := other.Subscriptions(t.Context())
	require.NoError(t, err)
	require.Equal(t, []graphsrc.Subscription{renewed}, all)
	_, err = other.Subscribe(t.Context(), r)
	require.Error(t, err, "an account has one subscription to presence")

	require.NoError(t, other.Unsubscribe(t.Context(), made.ID))
	for _, err := range []error{other.Unsubscribe(t.Context(), made.ID), second(other.Renew(t.Context(), made.ID, r.Expires))} {
		var e *graphsrc.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, graphsrc.KindNotFound, e.Kind)
	}
	all, err = other.Subscriptions(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
	require.EqualValues(t, 8, sends.n.Load())
}

// TestGraphRefusesTheTokenOfARevokedAccount: Graph may know of a revocation
// before the token's end.
func TestGraphRefusesTheTokenOfARevokedAccount(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	s, err := msgraph.NewSubscriber(p.graph, m, nil, nil)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Subscriptions(t.Context())
	require.NoError(t, err)

	require.NoError(t, p.tenant.SetFaults(graphsim.Faults{Auth: graphsim.AuthFault{Status401: true, Claims: true}}))
	_, err = s.Subscriptions(t.Context())
	require.NoError(t, err, "a token in answer to the challenge passes")
	require.NoError(t, p.tenant.SetFaults(graphsim.Faults{Auth: graphsim.AuthFault{Status401: true}}))
	require.NoError(t, p.tenant.RevokeSignIns(p.ana().ID))
	_, err = s.Subscriptions(t.Context())
	require.ErrorIs(t, err, graphsrc.ErrSignInNeeded)
}

func second[T any](_ T, err error) error { return err }

// counter counts what is sent to Graph.
type counter struct {
	n    atomic.Int64
	next http.RoundTripper
}

func (c *counter) wrap(next http.RoundTripper) http.RoundTripper {
	c.next = next
	return c
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.next.RoundTrip(r)
}

func certificate(t *testing.T) []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return der
}
