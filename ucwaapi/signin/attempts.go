package signin

import (
	"crypto/sha256"
	"math"
	"net/netip"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

// Attempts bounds how often wrong passwords can be tried. Only failures are
// charged: people who know their password never wait because others sign in
// from the same address.
//
//	client address   perMinute failures a minute, over all accounts
//	account          three times that, over all addresses, so that two
//	                 attackers at full rate still leave room for the user
//	known pair       an account at an address from which it has signed in:
//	                 perMinute of its own, and neither of the above, so that
//	                 nobody elsewhere can lock the user out
//
// Each is a token bucket that starts full and is never overdrawn, so a refused
// caller waits at most a minute. Safe for use by several goroutines.
type Attempts struct {
	perMinute float64
	clk       clock.Clock

	mu      sync.Mutex
	buckets map[bucketKey]bucket
}

// DefaultAttemptsPerMinute is the rate used where none is given.
const DefaultAttemptsPerMinute = 10

const (
	// accountShare is how many times the rate of one address an account bears.
	accountShare = 3
	// maxBuckets bounds the memory: about 10 MB when full.
	maxBuckets = 1 << 16
	// sweepSample is how many buckets are looked at for each new one. More
	// than one goes for each that comes, so idle ones do not pile up.
	sweepSample = 8
	// pairMemory is how long a known pair is remembered after its last success.
	pairMemory = 7 * 24 * time.Hour
)

// bucketKey is a digest: what a client sends as its name has no bound.
type bucketKey [sha256.Size]byte

// bucket is full again once the time since at has made up what is missing. A
// full bucket is as good as none, unless its presence has a meaning (keep).
type bucket struct {
	tokens, capacity float64
	at               time.Time
	keep             time.Time // for a known pair: until when it is known
}

// NewAttempts returns a limiter that lets perMinute wrong passwords a minute
// pass per client address; below one it is DefaultAttemptsPerMinute.
func NewAttempts(perMinute int, clk clock.Clock) *Attempts {
	if perMinute < 1 {
		perMinute = DefaultAttemptsPerMinute
	}
	if clk == nil {
		clk = clock.System()
	}
	return &Attempts{perMinute: float64(perMinute), clk: clk, buckets: map[bucketKey]bucket{}}
}

// Allow reports whether a password for account may be checked now for the
// client at address (an IP address, with or without a port), and if not, after
// how long one may, at most a minute. It charges nothing.
func (a *Attempts) Allow(account, address string) (retryAfter time.Duration, ok bool) {
	keys := attemptKeys(account, address)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clk.Now()
	if b, known := a.pair(keys, now); known {
		retryAfter = b.wait(now)
	} else {
		for _, key := range []bucketKey{keys.address, keys.account} {
			if b, ok := a.buckets[key]; ok {
				retryAfter = max(retryAfter, b.wait(now))
			}
		}
	}
	return retryAfter, retryAfter == 0
}

// Failed charges a wrong password.
func (a *Attempts) Failed(account, address string) {
	keys := attemptKeys(account, address)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clk.Now()
	if _, known := a.pair(keys, now); known {
		a.charge(keys.pair, a.perMinute, now)
		return
	}
	a.charge(keys.address, a.perMinute, now)
	a.charge(keys.account, a.perMinute*accountShare, now)
}

// Succeeded forgives the account what its user has mistyped, and remembers the
// address for it. What the address has failed at with other accounts stays
// charged: an attacker with one good account gains nothing by it.
func (a *Attempts) Succeeded(account, address string) {
	keys := attemptKeys(account, address)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clk.Now()
	if _, known := a.pair(keys, now); !known {
		delete(a.buckets, keys.account)
	}
	a.put(keys.pair, bucket{tokens: a.perMinute, capacity: a.perMinute, at: now, keep: now.Add(pairMemory)}, now)
}

// Known says whether account has been signed in to from address before, within
// the last week.
func (a *Attempts) Known(account, address string) bool {
	keys := attemptKeys(account, address)
	a.mu.Lock()
	defer a.mu.Unlock()
	_, known := a.pair(keys, a.clk.Now())
	return known
}

func (a *Attempts) pair(keys keySet, now time.Time) (bucket, bool) {
	b, ok := a.buckets[keys.pair]
	return b, ok && now.Before(b.keep)
}

// level returns how many tokens b holds now. Each bucket fills within a minute.
func (b bucket) level(now time.Time) float64 {
	return min(b.capacity, b.tokens+b.capacity*max(0, now.Sub(b.at).Minutes()))
}

// wait returns how long it takes until b holds a token, in whole milliseconds,
// rounded up.
func (b bucket) wait(now time.Time) time.Duration {
	const rounding = 1e-6 // tokens; what floating point may be off by
	missing := 1 - b.level(now) - rounding
	if missing <= 0 {
		return 0
	}
	milliseconds := math.Ceil(missing / b.capacity * 60_000)
	return min(time.Duration(milliseconds)*time.Millisecond, time.Minute)
}

// charge takes a token from the bucket, which is full where there is none. It
// never overdraws: checks under way at the same time must not add up to a long
// wait.
func (a *Attempts) charge(key bucketKey, capacity float64, now time.Time) {
	b, ok := a.buckets[key]
	if !ok {
		b = bucket{tokens: capacity, capacity: capacity, at: now}
	}
	b.tokens = max(0, b.level(now)-1)
	b.at = now
	a.put(key, b, now)
}

func (a *Attempts) put(key bucketKey, b bucket, now time.Time) {
	if _, ok := a.buckets[key]; !ok {
		a.evict(now)
	}
	a.buckets[key] = b
}

// evict makes room for one bucket: it removes those of a random sample that
// have filled up again, and where the limit is reached also the fullest of the
// sample, a known pair only as the last resort.
func (a *Attempts) evict(now time.Time) {
	var victim bucketKey
	best, seen := -1.0, 0
	for key, b := range a.buckets {
		idle := b.level(now) / b.capacity
		switch {
		case now.Before(b.keep):
			idle = 0
		case idle == 1:
			delete(a.buckets, key)
		}
		if idle > best {
			victim, best = key, idle
		}
		if seen++; seen == sweepSample {
			break
		}
	}
	if len(a.buckets) >= maxBuckets {
		delete(a.buckets, victim)
	}
}

// keySet names the buckets of one attempt.
type keySet struct{ address, account, pair bucketKey }

func attemptKeys(account, address string) keySet {
	address = Network(address)
	return keySet{
		address: sha256.Sum256([]byte("address\x00" + address)),
		account: sha256.Sum256([]byte("account\x00" + account)),
		pair:    sha256.Sum256([]byte("pair\x00" + address + "\x00" + account)),
	}
}

// Network returns what counts as one client address: an IPv4 address, or the
// first 64 bits of an IPv6 address, of which one subscriber has them all.
func Network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		withPort, err := netip.ParseAddrPort(address)
		if err != nil {
			return address // a unix socket, or whatever the caller tells apart
		}
		ip = withPort.Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}
