package signin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"ucwagate/graphsrc/clock"
)

// PasswordSource checks names and passwords. Its methods are called by several
// goroutines.
type PasswordSource interface {
	// Account returns the one name under which attempts for user are counted,
	// so that every spelling counts as the same. It must not block.
	Account(user string) string
	// CheckPassword returns who user is if the password is right. The error is
	// ErrWrongPassword, ErrUnknownUser where the source knows that there is no
	// such user, or wraps ErrUnavailable. Clients are told the first two alike.
	CheckPassword(ctx context.Context, user, password string) (Identity, error)
	// Concurrency is how many checks may run at a time, at least one.
	Concurrency() int
}

var (
	// ErrWrongPassword says that the password is not the user's.
	ErrWrongPassword = errors.New("wrong password")
	// ErrUnknownUser says that there is no such user.
	ErrUnknownUser = errors.New("unknown user")
)

// ChainPasswords returns a source that asks several in order: one that does not
// know the user passes to the next, one that does decides. Sources that cannot
// tell, as PasswordCommand and PasswordCallback, belong at the end. It shows by
// its time in which source a user is.
func ChainPasswords(sources ...PasswordSource) (PasswordSource, error) {
	if len(sources) == 0 {
		return nil, errors.New("no password source")
	}
	c := &passwordChain{}
	for _, s := range sources {
		if s == nil {
			return nil, errors.New("a password source is nil")
		}
		c.links = append(c.links, passwordLink{s, make(chan struct{}, max(1, s.Concurrency()))})
	}
	return c, nil
}

type passwordChain struct{ links []passwordLink }

type passwordLink struct {
	PasswordSource
	slots chan struct{}
}

func (c *passwordChain) Account(user string) string { return c.links[0].Account(user) }

func (c *passwordChain) Concurrency() int {
	sum := 0
	for _, l := range c.links {
		sum += cap(l.slots)
	}
	return sum
}

func (c *passwordChain) CheckPassword(ctx context.Context, user, password string) (Identity, error) {
	for _, l := range c.links {
		id, err := l.check(ctx, user, password)
		if !errors.Is(err, ErrUnknownUser) {
			return id, err
		}
	}
	return Identity{}, ErrUnknownUser
}

func (l passwordLink) check(ctx context.Context, user, password string) (Identity, error) {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
		return l.CheckPassword(ctx, user, password)
	case <-ctx.Done():
		return Identity{}, fmt.Errorf("%w: waiting for a turn: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// MaxRemember is the longest that a right password may be remembered.
const MaxRemember = time.Minute

// longestPassword bounds what is handed to a program or a service, in bytes.
const longestPassword = 1024

// remembered has the passwords that were right a moment ago, as keyed digests:
// the key ends with the process, and nothing of a password can be had from
// them. A nil one remembers nothing.
type remembered struct {
	ttl   time.Duration
	clk   clock.Clock
	key   []byte
	until *otter.Cache[[sha256.Size]byte, time.Time]
}

// newRemembered returns nil for a ttl of zero.
func newRemembered(ttl time.Duration, clk clock.Clock) (*remembered, error) {
	if ttl == 0 {
		return nil, nil
	}
	if ttl < 0 || ttl > MaxRemember {
		return nil, fmt.Errorf("remembering right passwords for %v: not between 0 and %v", ttl, MaxRemember)
	}
	m := &remembered{ttl: ttl, clk: clk, key: make([]byte, sha256.Size)}
	rand.Read(m.key) // never fails: the runtime ends the process instead
	var err error
	if m.until, err = otter.New(&otter.Options[[sha256.Size]byte, time.Time]{MaximumSize: defaultTokenCache}); err != nil {
		return nil, fmt.Errorf("making the cache of passwords: %w", err)
	}
	return m, nil
}

func (m *remembered) digest(address, password string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, m.key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(address))))
	mac.Write([]byte(address))
	mac.Write([]byte(password))
	mac.Sum(sum[:0])
	return sum
}

// check asks by ask unless the password was right a moment ago.
func (m *remembered) check(address, password string, ask func() error) (Identity, error) {
	id := Identity{Address: address, Method: MethodPassword}
	if m == nil {
		if err := ask(); err != nil {
			return Identity{}, err
		}
		return id, nil
	}
	digest := m.digest(address, password)
	if until, ok := m.until.GetIfPresent(digest); ok {
		if m.clk.Now().Before(until) {
			return id, nil
		}
		m.until.Invalidate(digest)
	}
	if err := ask(); err != nil {
		return Identity{}, err
	}
	m.until.Set(digest, m.clk.Now().Add(m.ttl))
	return id, nil
}

// errTimeLimit is why a check ended that took too long.
var errTimeLimit = errors.New("the time limit has passed")

// withLimit returns a context that ends after d at the latest; release it.
func withLimit(ctx context.Context, clk clock.Clock, d time.Duration) (limited context.Context, release func()) {
	limited, cancel := context.WithCancelCause(ctx)
	timer := clk.AfterFunc(d, func() { cancel(errTimeLimit) })
	return limited, func() {
		timer.Stop()
		cancel(nil)
	}
}

// checkBounds fills in the defaults of an outside check and refuses what is out of range.
func checkBounds(limit time.Duration, concurrency int) (time.Duration, int, error) {
	if limit == 0 {
		limit = DefaultCheckTime
	}
	if concurrency == 0 {
		concurrency = DefaultChecks
	}
	if limit < 0 || limit > MaxCheckTime {
		return 0, 0, fmt.Errorf("time limit %v: not between 0 and %v", limit, MaxCheckTime)
	}
	if concurrency < 1 || concurrency > maxChecks {
		return 0, 0, fmt.Errorf("%d checks at a time: not between 1 and %d", concurrency, maxChecks)
	}
	return limit, concurrency, nil
}

// The bounds of PasswordCommand and PasswordCallback.
const (
	// DefaultCheckTime is how long a check may take where nothing is configured.
	DefaultCheckTime = 5 * time.Second
	// MaxCheckTime is the longest that may be configured.
	MaxCheckTime = 30 * time.Second
	// DefaultChecks is how many run at a time where nothing is configured.
	DefaultChecks = 4

	maxChecks = 256
)
