package graphsim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// receiverKey decrypts the notifications of all tests.
var receiverKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the tests cannot go on
	}
	return key
})

// encryptionCertificate is a certificate of a key in the form of the API.
func encryptionCertificate(t *testing.T, public, private any) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "receiver"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(der)
}

// notified is an item as a receiver reads it.
type notified struct {
	SubscriptionID string `json:"subscriptionId"`
	Expires        string `json:"subscriptionExpirationDateTime"`
	ClientState    string `json:"clientState"`
	ChangeType     string `json:"changeType"`
	TenantID       string `json:"tenantId"`
	Organization   string `json:"organizationId"`
	Resource       string `json:"resource"`
	Event          string `json:"lifecycleEvent"`
	ResourceData   struct {
		Type    string `json:"@odata.type"`
		ODataID string `json:"@odata.id"`
		ID      string `json:"id"`
	} `json:"resourceData"`
	Encrypted *struct {
		Data          string `json:"data"`
		Signature     string `json:"dataSignature"`
		Key           string `json:"dataKey"`
		CertificateID string `json:"encryptionCertificateId"`
		Thumbprint    string `json:"encryptionCertificateThumbprint"`
	} `json:"encryptedContent"`
}

// delivery is a request with notifications.
type delivery struct {
	at     time.Time
	path   string
	Value  []notified `json:"value"`
	Tokens []string   `json:"validationTokens"`
}

// receiver is the webhook of a client. It answers the handshake and keeps what
// it gets.
type receiver struct {
	t *testing.T
	// validate replaces the answer to a handshake, answer the one to the nth
	// notification (from 1).
	validate func(w http.ResponseWriter, r *http.Request, token string)
	answer   func(w http.ResponseWriter, r *http.Request, n int)

	mu         sync.Mutex
	handshakes []string // paths
	got        []delivery
	arrived    chan struct{}
}

func newReceiver(t *testing.T) *receiver {
	return &receiver{t: t, arrived: make(chan struct{}, 10_000)}
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if token := r.URL.Query().Get("validationToken"); token != "" {
		v.mu.Lock()
		v.handshakes = append(v.handshakes, r.URL.Path)
		v.mu.Unlock()
		if v.validate != nil {
			v.validate(w, r, token)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, token)
		return
	}
	d := delivery{at: time.Now(), path: r.URL.Path}
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		v.t.Errorf("reading a notification: %v", err)
	}
	v.mu.Lock()
	v.got = append(v.got, d)
	n := len(v.got)
	v.mu.Unlock()
	if v.answer != nil {
		v.answer(w, r, n)
	} else {
		w.WriteHeader(http.StatusAccepted)
	}
	v.arrived <- struct{}{}
}

// next waits for a delivery and returns all so far.
func (v *receiver) next() []delivery {
	v.t.Helper()
	select {
	case <-v.arrived:
	case <-time.After(5 * time.Hour): // of the bubble
		v.t.Fatal("nothing was delivered")
	case <-v.t.Context().Done():
		v.t.Fatal("the test has ended")
	}
	return v.all()
}

func (v *receiver) all() []delivery {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]delivery(nil), v.got...)
}

// forget empties the receiver.
func (v *receiver) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.got = nil
	for len(v.arrived) > 0 {
		<-v.arrived
	}
}

// client delivers to the receiver without a socket.
func (v *receiver) client() *http.Client { return &http.Client{Transport: inProcess{v}} }

var errUntrue = errors.New("the signature does not match")

// open decrypts the content of a notification, as the documentation tells
// receivers to.
func (n notified) open(t *testing.T) (map[string]string, error) {
	t.Helper()
	require.NotNil(t, n.Encrypted)
	decode := func(text string) []byte {
		raw, err := base64.StdEncoding.DecodeString(text)
		require.NoError(t, err)
		return raw
	}
	key, err := rsa.DecryptOAEP(sha1.New(), nil, receiverKey(), decode(n.Encrypted.Key), nil)
	require.NoError(t, err)
	require.Len(t, key, 32)
	data := decode(n.Encrypted.Data)
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	if !hmac.Equal(mac.Sum(nil), decode(n.Encrypted.Signature)) {
		return nil, errUntrue
	}
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	cipher.NewCBCDecrypter(block, key[:16]).CryptBlocks(data, data)
	padding := int(data[len(data)-1])
	require.LessOrEqual(t, padding, aes.BlockSize)
	require.Positive(t, padding)
	for _, b := range data[len(data)-padding:] {
		require.EqualValues(t, padding, b)
	}
	var content map[string]string
	require.NoError(t, json.Unmarshal(data[:len(data)-padding], &content))
	return content, nil
}
