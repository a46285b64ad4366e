package signin

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"ucwagate/graphsrc/clock"
)

// The two ways in which a ticket fails.
var (
	// ErrInvalid says that the text is no ticket, or none of ours, or was
	// changed on the way.
	ErrInvalid = errors.New("the web ticket is invalid")
	// ErrExpired says that the ticket is genuine but its time is over.
	ErrExpired = errors.New("the web ticket has expired")
)

var errNoKey = fmt.Errorf("%w: the key of web tickets is not known yet", ErrUnavailable)

// DefaultTicketLifetime is the lifetime of a user's ticket on the servers that
// the protocol comes from: eight hours.
const DefaultTicketLifetime = 8 * time.Hour

// ticketPrefix begins every ticket. It is part of the token that the client
// sends back.
const ticketPrefix = "cwt="

// The layout of a ticket behind its prefix, in base64url without padding:
//
//	3   version: 00 01 01, which makes the text begin with AAEB as that of
//	    the servers of old does
//	4   id of the signing key
//	8   end of the lifetime, Unix seconds, big endian
//	8   random, so that no two tickets are alike
//	…   five strings, each with its length in one byte before it: address,
//	    name, object id, tenant id, method
//	32  HMAC-SHA256 over all before it
const (
	versionLen = 3
	keyIDLen   = 4
	headLen    = versionLen + keyIDLen + 8 + 8
	macLen     = sha256.Size
	fieldCount = 5

	maxNameLen   = 128 // a longer display name is cut
	maxIDLen     = 64
	maxMethodLen = 16

	minRawLen  = headLen + fieldCount + macLen
	maxRawLen  = minRawLen + maxAddress + maxNameLen + 2*maxIDLen + maxMethodLen
	maxTextLen = (maxRawLen*8 + 5) / 6 // base64 without padding

	// MaxTicketLength is the most bytes a ticket has, its prefix included.
	MaxTicketLength = len(ticketPrefix) + maxTextLen
)

var ticketVersion = [versionLen]byte{0x00, 0x01, 0x01}

// ticketEncoding is strict, so that a ticket has one spelling only.
var ticketEncoding = base64.RawURLEncoding.Strict()

// minKeyLen is the least number of bytes in a signing key: as many as the MAC has.
const minKeyLen = 32

// Tickets issues and verifies web tickets. It keeps no state per ticket: any
// process with the same keys accepts it. Safe for use by several goroutines.
type Tickets struct {
	purpose  string
	lifetime time.Duration
	clk      clock.Clock
	ring     atomic.Pointer[keyring] // nil until the keys are known
}

// keyring is the keys that are in use: the first signs, all verify.
type keyring struct {
	keys    []ticketKey
	scratch sync.Pool // of *ticketScratch
}

type ticketKey struct {
	id     [keyIDLen]byte
	secret []byte
}

// ticketScratch is what one check needs. It is pooled because setting up the
// keyed hash costs more than using it.
type ticketScratch struct {
	macs []hash.Hash // one per key, in the order of keyring.keys
	text [maxTextLen]byte
	raw  [maxRawLen]byte
	sum  [macLen]byte
}

// NewTickets returns Tickets that sign with the first of keys and accept both
// where there are two, so that keys can be rotated: put the new key first, and
// drop the old one after a lifetime. Each key has at least 32 bytes of
// randomness. With no key one is generated; its tickets end with the process.
// A lifetime of zero means DefaultTicketLifetime; less than a second is an error.
func NewTickets(keys [][]byte, lifetime time.Duration, clk clock.Clock) (*Tickets, error) {
	return newTicketsFor(webPurpose, keys, lifetime, clk)
}

// NewPhotoTickets returns Tickets that stand for a token in a cookie, from the
// same keys: they open nothing else, and no web ticket passes for one.
func NewPhotoTickets(keys [][]byte, clk clock.Clock) (*Tickets, error) {
	return newTicketsFor(photoPurpose, keys, 0, clk)
}

// NewLateTickets returns Tickets of both kinds whose keys are not known yet: until
// Learn has been told them none is issued, and verifying fails with ErrUnavailable.
func NewLateTickets(lifetime time.Duration, clk clock.Clock) (web, photos *Tickets, err error) {
	if web, err = lateTicketsFor(webPurpose, lifetime, clk); err != nil {
		return nil, nil, err
	}
	photos, err = lateTicketsFor(photoPurpose, 0, clk)
	return web, photos, err
}

const (
	webPurpose   = "ucwagate web ticket 1"
	photoPurpose = "ucwagate photo cookie 1"
)

func lateTicketsFor(purpose string, lifetime time.Duration, clk clock.Clock) (*Tickets, error) {
	if lifetime == 0 {
		lifetime = DefaultTicketLifetime
	}
	if lifetime < time.Second {
		return nil, fmt.Errorf("ticket lifetime %v: less than a second", lifetime)
	}
	if clk == nil {
		clk = clock.System()
	}
	return &Tickets{purpose: purpose, lifetime: lifetime, clk: clk}, nil
}

func newTicketsFor(purpose string, keys [][]byte, lifetime time.Duration, clk clock.Clock) (*Tickets, error) {
	t, err := lateTicketsFor(purpose, lifetime, clk)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		key := make([]byte, minKeyLen)
		rand.Read(key) // never fails: the runtime ends the process instead
		keys = [][]byte{key}
	}
	return t, t.Learn(keys)
}

// Learn puts one or two keys in the place of those before: the first signs, both
// verify. It changes nothing where it returns an error.
func (t *Tickets) Learn(keys [][]byte) error {
	if len(keys) < 1 || len(keys) > 2 {
		return fmt.Errorf("%d ticket keys: at most two are accepted, the new one and the old one", len(keys))
	}
	ring := &keyring{}
	for i, key := range keys {
		if len(key) < minKeyLen {
			return fmt.Errorf("ticket key %d: %d bytes, at least %d are needed", i+1, len(key), minKeyLen)
		}
		k, err := deriveTicketKey(t.purpose, key)
		if err != nil {
			return fmt.Errorf("ticket key %d: %w", i+1, err)
		}
		if i > 0 && k.id == ring.keys[0].id {
			return errors.New("ticket key 2: the same as ticket key 1")
		}
		ring.keys = append(ring.keys, k)
	}
	ring.scratch.New = ring.newScratch
	t.ring.Store(ring)
	return nil
}

// known reports whether there are keys.
func (t *Tickets) known() bool { return t.ring.Load() != nil }

// deriveTicketKey keeps the configured key apart from its use, so that the
// same key may serve another purpose under another label. The id is derived
// too: it tells nothing about the key.
func deriveTicketKey(purpose string, key []byte) (ticketKey, error) {
	out, err := hkdf.Key(sha256.New, key, nil, purpose, macLen+keyIDLen)
	if err != nil {
		return ticketKey{}, fmt.Errorf("deriving the signing key: %w", err)
	}
	k := ticketKey{secret: out[:macLen]}
	copy(k.id[:], out[macLen:])
	return k, nil
}

func (r *keyring) newScratch() any {
	s := &ticketScratch{}
	for _, k := range r.keys {
		s.macs = append(s.macs, hmac.New(sha256.New, k.secret))
	}
	return s
}

// Issue returns a new ticket for id and how long it lives, in whole seconds:
// the lifetime, or less where id.Expires comes earlier. For an identity that
// can have no ticket — no valid address, overlong ids, or its time over — and
// while no key is known it returns an empty ticket and zero.
func (t *Tickets) Issue(id Identity) (ticket string, expiresIn time.Duration) {
	ring, now := t.ring.Load(), t.clk.Now()
	expiresIn = t.lifetime
	if !id.Expires.IsZero() {
		expiresIn = min(expiresIn, id.Expires.Sub(now))
	}
	expiresIn = expiresIn.Truncate(time.Second)
	address, err := parseAddress(id.Address)
	if ring == nil || err != nil || expiresIn <= 0 ||
		len(id.ObjectID) > maxIDLen || len(id.TenantID) > maxIDLen || len(id.Method) > maxMethodLen {
		return "", 0
	}
	raw := make([]byte, 0, maxRawLen)
	raw = append(raw, ticketVersion[:]...)
	raw = append(raw, ring.keys[0].id[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(now.Add(expiresIn).Unix()))
	var random [8]byte
	rand.Read(random[:])
	raw = append(raw, random[:]...)
	for _, field := range [fieldCount]string{address, cut(id.Name, maxNameLen), id.ObjectID, id.TenantID, id.Method} {
		raw = append(raw, byte(len(field)))
		raw = append(raw, field...)
	}
	s := ring.scratch.Get().(*ticketScratch)
	defer ring.scratch.Put(s)
	s.macs[0].Reset()
	s.macs[0].Write(raw)
	return ticketPrefix + ticketEncoding.EncodeToString(s.macs[0].Sum(raw)), expiresIn
}

// Verify returns the identity for which the ticket was issued, with Expires
// set to the end of the ticket. The error is ErrInvalid or ErrExpired, or wraps
// ErrUnavailable while no key is known.
func (t *Tickets) Verify(ticket string) (Identity, error) {
	ring := t.ring.Load()
	if ring == nil {
		return Identity{}, errNoKey
	}
	text, ok := strings.CutPrefix(ticket, ticketPrefix)
	if !ok || len(text) > maxTextLen {
		return Identity{}, ErrInvalid
	}
	s := ring.scratch.Get().(*ticketScratch)
	defer ring.scratch.Put(s)
	claims, ok := ring.open(s, text)
	if !ok {
		return Identity{}, ErrInvalid
	}
	expires := time.Unix(int64(binary.BigEndian.Uint64(claims[versionLen+keyIDLen:])), 0)
	if !t.clk.Now().Before(expires) {
		return Identity{}, ErrExpired
	}
	id, ok := parseFields(string(claims[headLen:]))
	if !ok {
		return Identity{}, ErrInvalid
	}
	id.Expires = expires
	return id, nil
}

// open decodes the text of a ticket into s and returns what its MAC covers,
// once the MAC is seen to be right.
func (r *keyring) open(s *ticketScratch, text string) ([]byte, bool) {
	src := s.text[:copy(s.text[:], text)]
	n, err := ticketEncoding.Decode(s.raw[:], src)
	// The decoder skips line breaks; a ticket has none.
	if err != nil || ticketEncoding.EncodedLen(n) != len(src) || n < minRawLen {
		return nil, false
	}
	claims, mac := s.raw[:n-macLen], s.raw[n-macLen:n]
	if [versionLen]byte(claims) != ticketVersion {
		return nil, false
	}
	for i, k := range r.keys {
		if k.id != [keyIDLen]byte(claims[versionLen:]) {
			continue
		}
		s.macs[i].Reset()
		s.macs[i].Write(claims)
		return claims, hmac.Equal(mac, s.macs[i].Sum(s.sum[:0]))
	}
	return nil, false
}

// parseFields reads the five strings of a ticket; they must fill text exactly.
func parseFields(text string) (Identity, bool) {
	var fields [fieldCount]string
	for i := range fields {
		if text == "" || len(text)-1 < int(text[0]) {
			return Identity{}, false
		}
		n := int(text[0])
		fields[i], text = text[1:1+n], text[1+n:]
	}
	return Identity{
		Address: fields[0], Name: fields[1], ObjectID: fields[2], TenantID: fields[3], Method: fields[4],
	}, text == "" && fields[0] != ""
}

// cut returns s, cut to at most n bytes between two characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
