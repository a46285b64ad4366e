package notify

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

const (
	// DefaultRotation is for how long a key is given to new subscriptions.
	DefaultRotation = 24 * time.Hour

	// keyGrace is for how long a key is kept after it was last given out or
	// last opened something: the 60 minutes that a subscription to presence
	// lives, and time for what is delivered late.
	keyGrace = 2 * time.Hour

	keyBits = 2048 // Graph takes 2,048 to 4,096
	// certificateLife is so long that no renewed subscription outlives its
	// certificate. Graph uses only the public key in it.
	certificateLife = 10 * 365 * 24 * time.Hour
	// certificateLead allows for clocks that are behind ours.
	certificateLead = 24 * time.Hour
)

// KeyringConfig says how keys are kept.
type KeyringConfig struct {
	// Rotation is the age at which Current makes a new key; zero means
	// DefaultRotation.
	Rotation time.Duration
	// Clock is nil for the system's.
	Clock clock.Clock
	// Logger is nil for none.
	Logger *slog.Logger
}

// Keyring has the keys that Graph encrypts resource data for. They are made by
// this process and never leave it: they are on no disk, and printing or logging
// a Keyring shows nothing of them. Safe for use by several goroutines; making a
// key holds up nobody who opens content.
type Keyring struct {
	rotation time.Duration
	clk      clock.Clock
	log      *slog.Logger

	making sync.Mutex // held while a key is made; mu may be taken inside, not the other way round

	mu   sync.Mutex
	keys []*key // oldest first; the last is the current one, and there always is one
}

// key is one key pair. What changes is guarded by Keyring.mu.
type key struct {
	id          string
	private     *rsa.PrivateKey
	certificate []byte // DER
	made        time.Time
	inUse       time.Time // when it was last given out or has last opened something
}

// NewKeyring makes the first key, which takes a few tenths of a second.
func NewKeyring(cfg KeyringConfig) (*Keyring, error) {
	k := &Keyring{rotation: cfg.Rotation, clk: cfg.Clock, log: cfg.Logger}
	if k.rotation < 0 {
		return nil, errors.New("the age at which keys are rotated is negative")
	}
	if k.rotation == 0 {
		k.rotation = DefaultRotation
	}
	if k.clk == nil {
		k.clk = clock.System()
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	first, err := newKey(k.clk.Now())
	if err != nil {
		return nil, err
	}
	k.keys = []*key{first}
	return k, nil
}

// Current returns what a new subscription is made with: the DER form of the
// certificate, not to be modified, and the id by which notifications name it.
// When the key has reached the age of rotation, it is replaced first; callers at
// that time wait for the new one. Should making it fail, the old one goes on.
//
// A subscription that is renewed keeps its certificate. Its key stays for as
// long as content comes for it, but it becomes a younger one only if the
// subscription is made anew.
func (k *Keyring) Current() (certificateDER []byte, id string) {
	if current, due := k.giveOut(); !due {
		return current.certificate, current.id
	}
	k.making.Lock()
	defer k.making.Unlock()
	current, due := k.giveOut()
	if !due {
		return current.certificate, current.id // another caller has just made it
	}
	fresh, err := newKey(k.clk.Now())
	if err != nil {
		k.log.Error("the key for notifications could not be replaced", "error", err)
		return current.certificate, current.id
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = append(k.keys, fresh)
	k.drop()
	k.log.Info("the key for notifications was replaced", "certificate", fresh.id, "kept", len(k.keys))
	return fresh.certificate, fresh.id
}

// giveOut returns the current key and whether it is due for replacement.
func (k *Keyring) giveOut() (current *key, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop()
	now := k.clk.Now()
	current = k.keys[len(k.keys)-1]
	due = now.Sub(current.made) >= k.rotation
	if !due {
		current.inUse = now
	}
	return current, due
}

// Retire forgets a key that no subscription uses any more. The current key stays.
func (k *Keyring) Retire(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	current := k.keys[len(k.keys)-1]
	k.keys = slices.DeleteFunc(k.keys, func(old *key) bool { return old != current && old.id == id })
}

// find returns the key with that id, nil if there is none or it is no longer kept.
func (k *Keyring) find(id string) *key {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop()
	for _, key := range k.keys {
		if key.id == id {
			return key
		}
	}
	return nil
}

// used notes that content came for the key.
func (k *Keyring) used(key *key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key.inUse = k.clk.Now()
}

// drop forgets the keys that have had their time. The caller holds mu. Age alone
// would not do: a renewed subscription keeps its certificate beyond any age.
func (k *Keyring) drop() {
	now := k.clk.Now()
	current := k.keys[len(k.keys)-1]
	k.keys = slices.DeleteFunc(k.keys, func(old *key) bool {
		return old != current && now.Sub(old.made) >= k.rotation+keyGrace && now.Sub(old.inUse) >= keyGrace
	})
}

// String tells how many keys there are.
func (k *Keyring) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprintf("keyring of %d, private keys withheld", len(k.keys))
}

// GoString is String.
func (k *Keyring) GoString() string { return k.String() }

// Format writes String for every verb, so that none prints the fields.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue is String.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

// newKey makes a key pair and a certificate signed by itself.
func newKey(now time.Time) (*key, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("making a key for notifications: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("making a serial number for a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), // never zero (RFC 5280, 4.1.2.2)
		Subject:      pkix.Name{CommonName: "ucwagate change notifications"},
		NotBefore:    now.Add(-certificateLead),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for notifications: %w", err)
	}
	return &key{id: rand.Text(), private: private, certificate: certificate, made: now, inUse: now}, nil
}
