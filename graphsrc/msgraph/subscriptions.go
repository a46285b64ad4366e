package msgraph

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/subscriptions"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

const (
	opSubscribe     = "subscribe to presence"
	opRenew         = "renew a subscription"
	opUnsubscribe   = "end a subscription"
	opSubscriptions = "list subscriptions"

	// maxSubscriptionText bounds the client state and the certificate's id, in
	// characters.
	maxSubscriptionText = 128
)

// Subscriber subscribes to presence as one signed-in user. It sends through the
// same layers as Client, with a connection pool of its own. It is safe for
// concurrent use.
type Subscriber struct {
	client     *Client
	credential *userCredential
}

var _ graphsrc.Subscriber = (*Subscriber)(nil)

// NewSubscriber returns a subscriber of the configured tenant as the user whose
// tokens credential gives; cfg.Credential is not looked at. Nothing is sent
// yet. Errors of the credential that are *graphsrc.Error are passed on as
// causes, so they hold no secrets; others are told in a few words.
//
// wrap is as in New, but not the place for the presence budget: Graph limits
// reading presence to 1,500 requests in 30 s, while /subscriptions is limited
// by the subscription service, apart from presence and far above what a few
// helper accounts send, each of them one request in some thirty minutes.
//
// Source: https://learn.microsoft.com/en-us/graph/throttling-limits
func NewSubscriber(cfg Config, credential azcore.TokenCredential, wrap func(http.RoundTripper) http.RoundTripper, logger *slog.Logger) (*Subscriber, error) {
	return newSubscriber(cfg, credential, wrap, logger, clock.System())
}

func newSubscriber(cfg Config, credential azcore.TokenCredential, wrap func(http.RoundTripper) http.RoundTripper, logger *slog.Logger, clk clock.Clock) (*Subscriber, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	ep, err := cfg.endpoints()
	if credential == nil {
		err = errors.Join(err, errors.New("the credential is missing"))
	}
	if err != nil {
		return nil, fmt.Errorf("setting up subscriptions: %w", err)
	}
	user := &userCredential{credential: credential}
	c, err := assemble(cfg, ep, &tokens{credential: user, explain: user.reason, clock: clk}, wrap, logger)
	if err != nil {
		return nil, err
	}
	return &Subscriber{client: c, credential: user}, nil
}

// Close ends token requests under way and closes idle connections. It does not
// close the credential, and ends no subscription.
func (s *Subscriber) Close() { s.client.Close() }

// Subscribe implements graphsrc.Subscriber. A request that Graph would refuse
// anyway is KindInvalid and is not sent. LifecycleURL may be empty. Without a
// certificate, notifications carry ids only.
func (s *Subscriber) Subscribe(ctx context.Context, r graphsrc.SubscriptionRequest) (graphsrc.Subscription, error) {
	if err := checkSubscription(r); err != nil {
		return graphsrc.Subscription{}, err
	}
	var got wireSubscription
	err := s.send(ctx, opSubscribe, &got, func(ctx context.Context, opts options) error {
		_, err := s.subscriptions().Post(ctx, subscriptionBody(r),
			&subscriptions.SubscriptionsRequestBuilderPostRequestConfiguration{Options: opts})
		return err
	})
	if err != nil {
		return graphsrc.Subscription{}, err
	}
	return got.subscription(r.Expires), nil
}

// Renew implements graphsrc.Subscriber.
func (s *Subscriber) Renew(ctx context.Context, id string, expires time.Time) (graphsrc.Subscription, error) {
	if err := checkID(opRenew, id); err != nil {
		return graphsrc.Subscription{}, err
	}
	if expires.IsZero() {
		return graphsrc.Subscription{}, invalid(opRenew, "no end is given")
	}
	var got wireSubscription
	err := s.send(ctx, opRenew, &got, func(ctx context.Context, opts options) error {
		body := models.NewSubscription()
		body.SetExpirationDateTime(utc(expires))
		_, err := s.subscriptions().BySubscriptionId(id).Patch(ctx, body,
			&subscriptions.SubscriptionItemRequestBuilderPatchRequestConfiguration{Options: opts})
		return err
	})
	if err != nil {
		return graphsrc.Subscription{}, err
	}
	return got.subscription(expires), nil
}

// Unsubscribe implements graphsrc.Subscriber.
func (s *Subscriber) Unsubscribe(ctx context.Context, id string) error {
	if err := checkID(opUnsubscribe, id); err != nil {
		return err
	}
	return s.send(ctx, opUnsubscribe, nil, func(ctx context.Context, opts options) error {
		return s.subscriptions().BySubscriptionId(id).Delete(ctx,
			&subscriptions.SubscriptionItemRequestBuilderDeleteRequestConfiguration{Options: opts})
	})
}

// Subscriptions implements graphsrc.Subscriber. Subscriptions to other things
// than presence are among them, if the application has made any.
func (s *Subscriber) Subscriptions(ctx context.Context) ([]graphsrc.Subscription, error) {
	all, err := collect(ctx, s.client, opSubscriptions, math.MaxInt, func(ctx context.Context, link string, opts options) error {
		builder := s.subscriptions()
		if link != "" {
			builder = builder.WithUrl(link)
		}
		_, err := builder.Get(ctx, &subscriptions.SubscriptionsRequestBuilderGetRequestConfiguration{Options: opts})
		return err
	}, func(w *wireSubscription) (graphsrc.Subscription, bool) {
		return w.subscription(time.Time{}), w.ID != ""
	})
	return all, s.blame(err)
}

// subscriptions begins a request; builders are made anew for each, because the
// adapter writes into their parameters.
func (s *Subscriber) subscriptions() *subscriptions.SubscriptionsRequestBuilder {
	return subscriptions.NewSubscriptionsRequestBuilderInternal(nil, s.client.adapter)
}

func (s *Subscriber) send(ctx context.Context, op string, into any, build func(context.Context, options) error) error {
	return s.blame(s.client.send(ctx, op, into, build))
}

// blame adds to a 401 of Graph that no better token is to be had: an account
// whose sign-ins are revoked is refused by Graph while its token still lasts.
func (s *Subscriber) blame(err error) error {
	var e *graphsrc.Error
	if !errors.As(err, &e) || e.Kind != graphsrc.KindUnauthorized || e.Err != nil {
		return err
	}
	reason := s.credential.reason()
	if !errors.Is(reason, graphsrc.ErrSignInNeeded) {
		return err
	}
	blamed := *e
	blamed.Err = reason
	return &blamed
}

func checkSubscription(r graphsrc.SubscriptionRequest) error {
	switch {
	case len(r.People) == 0 || len(r.People) > graphsrc.SubscriptionSize:
		return invalid(opSubscribe, fmt.Sprintf("%d people are not 1 to %d", len(r.People), graphsrc.SubscriptionSize))
	case !isHTTPS(r.NotificationURL):
		return invalid(opSubscribe, "the notification URL is not https")
	case r.LifecycleURL != "" && !isHTTPS(r.LifecycleURL):
		return invalid(opSubscribe, "the lifecycle URL is not https")
	case len(r.ClientState) > maxSubscriptionText || len(r.CertificateID) > maxSubscriptionText:
		return invalid(opSubscribe, fmt.Sprintf("the client state or the certificate's id has more than %d characters", maxSubscriptionText))
	case (len(r.Certificate) == 0) != (r.CertificateID == ""):
		return invalid(opSubscribe, "a certificate and its id go together")
	case r.Expires.IsZero():
		return invalid(opSubscribe, "no end is given")
	}
	for _, id := range r.People {
		// An id becomes part of a path or of a filter.
		if id == "" || strings.Trim(id, "0123456789abcdefABCDEF-") != "" {
			return &graphsrc.Error{Op: opSubscribe, Kind: graphsrc.KindInvalid, Code: graphsrc.CodeInvalidID, Message: "not an object id"}
		}
	}
	return nil
}

func isHTTPS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil
}

// subscriptionBody leaves out latestSupportedTlsVersion: Graph's default is
// the highest there is.
func subscriptionBody(r graphsrc.SubscriptionRequest) *models.Subscription {
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	body := models.NewSubscription()
	body.SetChangeType(text("updated"))
	body.SetResource(text(presenceResource(r.People)))
	body.SetNotificationUrl(text(r.NotificationURL))
	body.SetLifecycleNotificationUrl(text(r.LifecycleURL))
	body.SetClientState(text(r.ClientState))
	body.SetExpirationDateTime(utc(r.Expires))
	if len(r.Certificate) > 0 {
		rich := true
		body.SetIncludeResourceData(&rich)
		body.SetEncryptionCertificate(text(base64.StdEncoding.EncodeToString(r.Certificate)))
		body.SetEncryptionCertificateId(text(r.CertificateID))
	}
	return body
}

func utc(t time.Time) *time.Time {
	t = t.UTC()
	return &t
}

// presenceResource spells what a subscription to the presence of people covers.
//
// Source: https://learn.microsoft.com/en-us/graph/changenotifications-for-presence
func presenceResource(people []string) string {
	const root = "/communications/presences"
	if len(people) == 1 {
		return root + "/" + people[0]
	}
	return root + "?$filter=id in ('" + strings.Join(people, "','") + "')"
}

// wireSubscription is what is read of a subscription.
type wireSubscription struct {
	ID              string `json:"id"`
	Resource        string `json:"resource"`
	NotificationURL string `json:"notificationUrl"`
	Expires         string `json:"expirationDateTime"`
}

func (w *wireSubscription) validate() error {
	if w.ID == "" {
		return errors.New("the answer is not a subscription")
	}
	return nil
}

// subscription translates w; asked is its end if the answer names none that
// can be read, for the subscription exists all the same.
func (w *wireSubscription) subscription(asked time.Time) graphsrc.Subscription {
	out := graphsrc.Subscription{ID: w.ID, Resource: w.Resource, NotificationURL: w.NotificationURL, Expires: asked}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05"} { // a fraction is read by both
		if expires, err := time.Parse(layout, w.Expires); err == nil {
			out.Expires = expires.UTC()
			break
		}
	}
	return out
}

// userCredential remembers why the last request for a token failed, and tells
// it to tokens in the two ways that azidentity's credentials would: as a fault
// of the network, or as a known reason.
type userCredential struct {
	credential azcore.TokenCredential

	mu   sync.Mutex
	last *graphsrc.Error
}

// GetToken implements azcore.TokenCredential.
func (u *userCredential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := u.credential.GetToken(ctx, o)
	var known *graphsrc.Error
	errors.As(err, &known)
	u.mu.Lock()
	u.last = known
	u.mu.Unlock()
	if seen, ok := ctx.Value(sightingKey{}).(*sighting); ok && known != nil && passing(known.Kind) {
		seen.mu.Lock()
		seen.err = known
		seen.mu.Unlock()
	}
	return token, err
}

// passing reports whether a failure of the authority is like one of the network.
func passing(kind graphsrc.Kind) bool {
	return kind == graphsrc.KindUnavailable || kind == graphsrc.KindTimeout || kind == graphsrc.KindThrottled
}

// reason is why there was no token at the last request, nil if there was one
// or nothing is known.
func (u *userCredential) reason() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		return nil
	}
	return u.last
}
