package graphsim

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"ucwagate/graphsrc/graphsim/people"
)

// subscriptionRoutes are those of /subscriptions. Presence may only be
// subscribed to for a signed-in user, with this very permission: the
// documentation says that one to write does not include it here.
func (t *Tenant) subscriptionRoutes() []*route {
	one := func(method, path string, serve func(*call) (reply, error)) *route {
		return &route{
			method: method, path: path, delegatedOnly: true, delegated: []string{"Presence.Read.All"}, serve: serve,
		}
	}
	write := func(method, path string, serve func(*call) (reply, error)) *route {
		return one(method, path, func(c *call) (reply, error) {
			if admitted, wait := t.sender.admit(c.appID); !admitted {
				return t.throttled(c, wait), nil
			}
			return serve(c)
		})
	}
	return []*route{
		write(http.MethodPost, "/subscriptions", t.createSubscription),
		one(http.MethodGet, "/subscriptions", t.listSubscriptions),
		one(http.MethodGet, "/subscriptions/{id}", t.getSubscription),
		write(http.MethodPatch, "/subscriptions/{id}", t.renewSubscription),
		write(http.MethodDelete, "/subscriptions/{id}", t.deleteSubscription),
		write(http.MethodPost, "/subscriptions/{id}/reauthorize", t.reauthorizeSubscription),
	}
}

// notDelegated refuses app-only tokens where only users may act.
func notDelegated() error {
	return &graphError{
		status: http.StatusForbidden, code: "Forbidden",
		message: "Application permissions are not supported for subscriptions to presence. Sign in a user.",
	}
}

// subscriptionBody is what clients send.
type subscriptionBody struct {
	ChangeType               string  `json:"changeType"`
	Resource                 string  `json:"resource"`
	NotificationURL          string  `json:"notificationUrl"`
	LifecycleNotificationURL string  `json:"lifecycleNotificationUrl"`
	ExpirationDateTime       string  `json:"expirationDateTime"`
	ClientState              string  `json:"clientState"`
	IncludeResourceData      bool    `json:"includeResourceData"`
	EncryptionCertificate    *string `json:"encryptionCertificate"`
	EncryptionCertificateID  *string `json:"encryptionCertificateId"`
}

// invalid is how Graph refuses what a subscription cannot be.
func invalid(format string, args ...any) error {
	return &graphError{status: http.StatusBadRequest, code: "ValidationError", message: fmt.Sprintf(format, args...)}
}

// createSubscription serves POST /subscriptions. The request stays open until
// both URLs have answered.
func (t *Tenant) createSubscription(c *call) (reply, error) {
	if _, err := c.queryOptions(); err != nil {
		return reply{}, err
	}
	var body subscriptionBody
	if err := c.readBody(&body); err != nil {
		return reply{}, err
	}
	sub, err := t.newSubscription(c, body)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	defer context.AfterFunc(t.sender.ctx, cancel)()
	for _, target := range []string{sub.NotificationURL, sub.LifecycleURL} {
		if target == "" {
			continue
		}
		if err := t.sender.handshake(ctx, target); err != nil {
			return reply{}, err
		}
	}
	if err := t.sender.add(sub); err != nil {
		return reply{}, err
	}
	answer := jsonReply(t.appendSubscription(nil, c, sub, body.ClientState))
	answer.status = http.StatusCreated
	return answer, nil
}

// newSubscription checks what was sent.
func (t *Tenant) newSubscription(c *call, body subscriptionBody) (*subscription, error) {
	if !strings.EqualFold(body.ChangeType, "updated") {
		return nil, invalid("The changeType '%s' is not supported for presence: only updated is.", body.ChangeType)
	}
	sights, err := t.subscribed(body.Resource)
	if err != nil {
		return nil, err
	}
	if err := httpsURL("notificationUrl", body.NotificationURL); err != nil {
		return nil, err
	}
	if body.LifecycleNotificationURL != "" {
		if err := httpsURL("lifecycleNotificationUrl", body.LifecycleNotificationURL); err != nil {
			return nil, err
		}
	}
	if n := utf8.RuneCountInString(body.ClientState); n > longestClientState {
		return nil, invalid("The clientState has %d characters; at most %d are allowed.", n, longestClientState)
	}
	sub := &subscription{
		Subscription: Subscription{
			ID: newRequestID(), Resource: body.Resource, Users: len(sights),
			NotificationURL: body.NotificationURL, LifecycleURL: body.LifecycleNotificationURL,
			ClientID: c.appID, UserID: c.userID, Rich: body.IncludeResourceData,
		},
		clientState: body.ClientState, sights: sights,
	}
	if sub.Expires, err = subscriptionEnd(body.ExpirationDateTime, c.now); err != nil {
		return nil, err
	}
	if err := sub.encryptWith(body); err != nil {
		return nil, err
	}
	if sub.Rich && sub.certificate == nil {
		return nil, invalid("includeResourceData requires encryptionCertificate and encryptionCertificateId.")
	}
	sub.authorize(c.expires, c.now)
	return sub, nil
}

// encryptWith takes over a certificate and its name, which come together.
func (s *subscription) encryptWith(body subscriptionBody) error {
	if body.EncryptionCertificate == nil && body.EncryptionCertificateID == nil {
		return nil
	}
	var text, id string
	if body.EncryptionCertificate != nil {
		text = *body.EncryptionCertificate
	}
	if body.EncryptionCertificateID != nil {
		id = *body.EncryptionCertificateID
	}
	if text == "" || id == "" {
		return invalid("encryptionCertificate and encryptionCertificateId must be given together.")
	}
	if n := utf8.RuneCountInString(id); n > longestCertificateID {
		return invalid("The encryptionCertificateId has %d characters; at most %d are allowed.", n, longestCertificateID)
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return invalid("The encryptionCertificate is not base64: %v.", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return invalid("The encryptionCertificate is not an X.509 certificate: %v.", err)
	}
	key, ok := certificate.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < 2048 || key.N.BitLen() > 4096 {
		return invalid("The key of the encryptionCertificate must be RSA of 2048 to 4096 bits.")
	}
	s.certificate, s.certificateID = certificate, id
	return nil
}

func httpsURL(what, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
		return invalid("The %s '%s' must be an absolute URL with the scheme https.", what, text)
	}
	return nil
}

// subscriptionEnd reads an expiration and brings it into what is allowed.
func subscriptionEnd(text string, now time.Time) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, invalid("The expirationDateTime '%s' is not a date and time.", text)
	}
	switch life := at.Sub(now); {
	case life > longestSubscription:
		return time.Time{}, invalid("Subscription expiration can only be %d minutes in the future.", longestSubscription/time.Minute)
	case life <= 0:
		return time.Time{}, invalid("The expirationDateTime '%s' is in the past.", text)
	case life < shortestSubscription:
		at = now.Add(shortestSubscription)
	}
	return at, nil
}

// inFilter is the only filter on presences, quotedID one of its ids.
var (
	inFilter = regexp.MustCompile(`^\s*id\s+in\s*\(([^()]*)\)\s*$`)
	quotedID = regexp.MustCompile(`^\s*'([^']*)'\s*$`)
)

// subscribed finds the users of a resource. Ids that are no user's are passed
// over, or refused if Faults.UnknownUsers says so; what Graph does with them
// is not documented.
func (t *Tenant) subscribed(resource string) ([]sight, error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(resource, "/"), "?")
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, invalid("The query of the resource is malformed: %v.", err)
	}
	if options.Has("$select") {
		return nil, invalid("The query option '$select' is not supported for subscriptions to presence.")
	}
	var ids []string
	switch rest, ok := strings.CutPrefix(strings.ToLower(path), subscriptionsResource); {
	case !ok || rest == "" && !options.Has("$filter") || rest != "" && query != "":
		return nil, invalid("The resource '%.200s' is not supported.", resource)
	case rest != "":
		ids = []string{strings.TrimPrefix(rest, "/")}
	default:
		list := inFilter.FindStringSubmatch(options.Get("$filter"))
		if list == nil {
			return nil, invalid("The $filter of the resource must be of the form: id in ('...','...').")
		}
		for item := range strings.SplitSeq(list[1], ",") {
			id := quotedID.FindStringSubmatch(item)
			if id == nil {
				return nil, invalid("The $filter of the resource names '%.100s', which is not an id in quotes.", item)
			}
			ids = append(ids, strings.ToLower(id[1]))
		}
	}
	return t.sightsOf(ids)
}

// sightsOf finds users by object ids in lower case, each once.
func (t *Tenant) sightsOf(ids []string) ([]sight, error) {
	seen := make(map[string]bool, len(ids))
	var sights []sight
	for _, id := range ids {
		if !people.IsGUID(id) {
			return nil, invalid("The id '%.100s' is not a GUID.", id)
		}
		if seen[id] {
			continue
		}
		if seen[id] = true; len(seen) > maxSubscribed {
			return nil, invalid("A subscription may name at most %d users.", maxSubscribed)
		}
		index, ok := t.dir.ByID(id)
		if !ok {
			if _, _, err := t.stranger(id); err != nil {
				return nil, err
			}
			continue
		}
		sights = append(sights, sight{index: index})
	}
	return sights, nil
}

const subscriptionTime = "2006-01-02T15:04:05.9999999Z"

// object is the representation of a subscription. The client state is only
// told to whoever sends it.
func (s *subscription) object(clientState string) object {
	return object{
		{"id", s.ID},
		{"resource", s.Resource},
		{"applicationId", s.ClientID},
		{"changeType", "updated"},
		{"clientState", orNull(clientState)},
		{"notificationUrl", s.NotificationURL},
		{"notificationQueryOptions", nil},
		{"lifecycleNotificationUrl", orNull(s.LifecycleURL)},
		{"expirationDateTime", s.Expires.UTC().Format(subscriptionTime)},
		{"creatorId", s.UserID},
		{"includeResourceData", s.Rich},
		{"latestSupportedTlsVersion", "v1_2"},
		{"encryptionCertificate", nil},
		{"encryptionCertificateId", orNull(s.certificateID)},
		{"notificationUrlAppId", nil},
	}
}

func (t *Tenant) appendSubscription(out []byte, c *call, sub *subscription, clientState string) []byte {
	head := object{{"@odata.context", c.base + "/$metadata#subscriptions/$entity"}}
	return append(head, sub.object(clientState)...).append(out)
}

// listSubscriptions serves GET /subscriptions.
func (t *Tenant) listSubscriptions(c *call) (reply, error) {
	if _, err := c.queryOptions(); err != nil {
		return reply{}, err
	}
	s := t.sender
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.clock.Now())
	own := []object{}
	for _, sub := range s.sorted() {
		if sub.ClientID == c.appID && sub.UserID == c.userID {
			own = append(own, sub.object(""))
		}
	}
	return jsonReply(object{{"@odata.context", c.base + "/$metadata#subscriptions"}, {"value", own}}.append(nil)), nil
}

// getSubscription serves GET /subscriptions/{id}.
func (t *Tenant) getSubscription(c *call) (answer reply, err error) {
	err = t.sender.with(c.args[0], c.principal, func(sub *subscription) error {
		answer = jsonReply(t.appendSubscription(nil, c, sub, ""))
		return nil
	})
	return answer, err
}

// renewSubscription serves PATCH /subscriptions/{id}, which also reauthorizes
// and may bring a new certificate.
func (t *Tenant) renewSubscription(c *call) (answer reply, err error) {
	var body subscriptionBody
	if err := c.readBody(&body); err != nil {
		return reply{}, err
	}
	err = t.sender.with(c.args[0], c.principal, func(sub *subscription) error {
		end := sub.Expires
		if body.ExpirationDateTime != "" {
			var err error
			if end, err = subscriptionEnd(body.ExpirationDateTime, c.now); err != nil {
				return err
			}
		}
		if err := sub.encryptWith(body); err != nil {
			return err
		}
		sub.Expires = end
		sub.authorize(c.expires, c.now)
		answer = jsonReply(t.appendSubscription(nil, c, sub, ""))
		return nil
	})
	return answer, err
}

// reauthorizeSubscription serves POST /subscriptions/{id}/reauthorize.
func (t *Tenant) reauthorizeSubscription(c *call) (reply, error) {
	return reply{status: http.StatusNoContent}, t.sender.with(c.args[0], c.principal, func(sub *subscription) error {
		sub.authorize(c.expires, c.now)
		return nil
	})
}

// deleteSubscription serves DELETE /subscriptions/{id}.
func (t *Tenant) deleteSubscription(c *call) (reply, error) {
	return reply{status: http.StatusNoContent}, t.sender.with(c.args[0], c.principal, func(sub *subscription) error {
		t.sender.remove(sub)
		return nil
	})
}
