package graphsim

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ucwagate/graphsrc/graphsim/people"
)

// publisherID is the app that Microsoft Graph sends notifications as.
//
// Source: https://learn.microsoft.com/en-us/graph/change-notifications-with-resource-data
const publisherID = "0bf30f3b-4a52-48df-9a82-234910c4a086"

// validationLife is about the life of the token in the documentation's sample.
const validationLife = 8 * time.Hour

// draft is an item with all that is said about it, read under the lock.
type draft struct {
	item
	id, state, client string
	expires           time.Time
	certificate       *x509.Certificate
	certificateID     string
}

// compose writes the body of a request. Items of subscriptions that ended are
// left out, but for their lifecycle events.
func (s *sender) compose(b *batch) (body []byte, items int, err error) {
	fault := s.tenant.faults.get().Notify
	drafts := s.drafts(b)
	if fault.Duplicate > 0 {
		for _, d := range slices.Clone(drafts) {
			if s.tenant.faults.chance(fault.Duplicate) {
				drafts = append(drafts, d)
			}
		}
	}
	if fault.Permute {
		s.tenant.faults.shuffle(len(drafts), func(i, j int) { drafts[i], drafts[j] = drafts[j], drafts[i] })
	}
	values := make([]object, 0, len(drafts))
	var apps []string
	for _, d := range drafts {
		if fault.WrongState {
			d.state = "not " + d.state
		}
		value, err := d.object(s.tenant.cfg.TenantID, fault.BadSignature)
		if err != nil {
			return nil, 0, err
		}
		values = append(values, value)
		if d.event == "" && d.certificate != nil && !slices.Contains(apps, d.client) {
			apps = append(apps, d.client)
		}
	}
	whole := object{{"value", values}}
	if len(apps) > 0 {
		tokens, err := s.validationTokens(apps, fault.BadToken)
		if err != nil {
			return nil, 0, err
		}
		whole = append(whole, member{"validationTokens", tokens})
	}
	return whole.append(nil), len(drafts), nil
}

func (s *sender) drafts(b *batch) []draft {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	drafts := make([]draft, 0, len(b.items))
	for _, e := range b.items {
		if e.event == "" && (e.sub.gone || !now.Before(e.sub.Expires)) {
			s.counts.Dropped++
			continue
		}
		d := draft{
			item: e.item, id: e.sub.ID, state: e.sub.clientState, client: e.sub.ClientID,
			expires: e.sub.Expires, certificateID: e.sub.certificateID,
		}
		if e.sub.Rich {
			d.certificate = e.sub.certificate
		}
		drafts = append(drafts, d)
	}
	return drafts
}

// object is an item of a notification, as the documentation shows it.
func (d draft) object(tenant string, badSignature bool) (object, error) {
	head := object{
		{"subscriptionId", d.id},
		{"subscriptionExpirationDateTime", d.expires.UTC().Format(subscriptionTime)},
		{"clientState", orNull(d.state)},
		{"tenantId", tenant},
	}
	if d.event != "" {
		return append(head, member{"lifecycleEvent", d.event}), nil
	}
	about := object{
		{"@odata.type", "#microsoft.graph.presence"},
		{"@odata.id", "users/" + d.user + "/presence"},
		{"id", d.user},
	}
	out := append(head, object{
		{"changeType", "updated"},
		{"resource", subscriptionsResource + "/" + d.user},
		{"resourceData", about},
		{"organizationId", tenant},
	}...)
	if d.certificate == nil {
		return out, nil
	}
	plain := append(about, member{"availability", d.words.availability}, member{"activity", d.words.activity}).append(nil)
	sealed, err := seal(plain, d.certificate, badSignature)
	if err != nil {
		return nil, err
	}
	sealed = append(sealed, member{"encryptionCertificateId", d.certificateID})
	return append(out, member{"encryptedContent", sealed}), nil
}

// symmetricKey is the length of the AES-256 key, whose beginning is also the
// initialization vector.
const symmetricKey = 32

// seal encrypts with a key of its own, which it encrypts for the certificate.
func seal(plain []byte, certificate *x509.Certificate, badSignature bool) (object, error) {
	public, ok := certificate.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("encrypting a notification: the certificate's key is not RSA")
	}
	key := make([]byte, symmetricKey)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encrypting a notification: %w", err)
	}
	padding := aes.BlockSize - len(plain)%aes.BlockSize // PKCS #7: never none
	data := append(slices.Clone(plain), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, key[:aes.BlockSize]).CryptBlocks(data, data)
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	signature := mac.Sum(nil)
	if badSignature {
		signature[0] ^= 1
	}
	dataKey, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, public, key, nil)
	if err != nil {
		return nil, fmt.Errorf("encrypting the key of a notification: %w", err)
	}
	thumbprint := sha1.Sum(certificate.Raw)
	return object{
		{"data", base64.StdEncoding.EncodeToString(data)},
		{"dataSignature", base64.StdEncoding.EncodeToString(signature)},
		{"dataKey", base64.StdEncoding.EncodeToString(dataKey)},
		{"encryptionCertificateThumbprint", strings.ToUpper(hex.EncodeToString(thumbprint[:]))},
	}, nil
}

// validationTokens prove to each app that Graph sent the request.
func (s *sender) validationTokens(apps []string, bad string) ([]string, error) {
	t := s.tenant
	signer := t.entra.key
	if bad == "forged" {
		signer = s.forger
	}
	key, err := signer()
	if err != nil {
		return nil, err
	}
	var tokens []string
	for _, app := range apps {
		c := claims{AppID: publisherID, Version: "1.0"}
		c.Issuer = "https://sts.windows.net/" + t.cfg.TenantID + "/"
		life := validationLife
		switch bad {
		case "expired":
			life = -time.Hour
		case "audience":
			app = people.GUID(t.cfg.Seed, "another app")
		case "publisher":
			c.AppID = app
		case "issuer":
			c.Issuer = "https://sts.windows.net/" + people.GUID(t.cfg.Seed, "another tenant") + "/"
		}
		token, err := key.sign(t.entra.stamp(c, app, s.clock.Now(), life))
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// notificationClient is the configured client, or one of our own that trusts
// the configured certificates. Neither follows redirects.
func notificationClient(cfg Config) (client *http.Client, idle func()) {
	if cfg.NotificationClient != nil {
		own := *cfg.NotificationClient
		client, idle = &own, func() {}
	} else {
		transport := &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: cfg.NotificationRootCAs, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		}
		client, idle = &http.Client{Transport: transport}, transport.CloseIdleConnections
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, idle
}

var errTooLate = errors.New("no answer in time")

// send posts something and reads the beginning of the answer, all within a
// time.
func (s *sender) send(ctx context.Context, target, contentType string, body []byte, within time.Duration) (*http.Response, []byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := s.clock.AfterFunc(within, func() { cancel(errTooLate) })
	defer cancel(nil)
	defer timer.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("addressing a notification: %w", err)
	}
	r.Header.Set("Content-Type", contentType)
	response, err := s.client.Do(r)
	if err != nil {
		return nil, nil, fmt.Errorf("notifying: %w", causeOr(ctx, err))
	}
	defer func() { _ = response.Body.Close() }() // read as far as wanted
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxForm))
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer to a notification: %w", causeOr(ctx, err))
	}
	return response, answer, nil
}

// causeOr is the cause of a context that ended, or else err.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// post delivers a body; nil means that it was accepted in time.
func (s *sender) post(target string, body []byte) error {
	response, _, err := s.send(s.ctx, target, "application/json; charset=utf-8", body, answerWithin)
	if err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("notifying: the answer was %s", response.Status)
	}
	return nil
}

// validateWithin is how long an endpoint may take to answer the handshake.
const validateWithin = 10 * time.Second

// handshake makes a URL prove that it wants notifications: it must answer with
// the token, which needs unescaping.
//
// Source: https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks#notificationurl-validation
func (s *sender) handshake(ctx context.Context, target string) error {
	if s.tenant.faults.get().Notify.NoValidation {
		return invalid("Subscription validation request timed out.")
	}
	u, err := url.Parse(target)
	if err != nil {
		return invalid("The URL '%s' is malformed.", target)
	}
	token := "Validation: Testing client application reachability for subscription Request-Id: " +
		newRequestID() + " 100% /+=" + rand.Text()
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "validationToken=" + url.QueryEscape(token)
	response, body, err := s.send(ctx, u.String(), "text/plain; charset=utf-8", nil, validateWithin)
	switch {
	case errors.Is(err, errTooLate):
		return invalid("Subscription validation request timed out.")
	case err != nil:
		s.tenant.log.Debug("simulated handshake failed", "error", err)
		return invalid("Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request.")
	case response.StatusCode != http.StatusOK:
		return invalid("Subscription validation request failed. HTTP status code is '%s'. Notification endpoint must respond with 200 OK to validation request.", http.StatusText(response.StatusCode))
	}
	if media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || media != "text/plain" {
		return invalid("Subscription validation request failed. The content type must be text/plain.")
	}
	if string(body) != token {
		return invalid("Subscription validation request failed. Response must exactly match validationToken query parameter.")
	}
	return nil
}
