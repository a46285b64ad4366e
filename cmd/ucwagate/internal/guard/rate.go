package guard

import (
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ucwagate/graphsrc/clock"
)

// Rate is a token bucket for each name: a user, an address. Its memory is
// bounded, about 15 MB when full. It is safe for concurrent use.
type Rate struct {
	perSecond rate.Limit
	burst     int
	clk       clock.Clock
	seed      maphash.Seed
	shards    [shards]shard
}

const (
	// shards keep those apart who ask at the same time.
	shards = 64
	// perShard bounds the names that are remembered.
	perShard = 1 << 10
	// sweepSample is how many buckets are looked at for each new one. More than
	// one goes for each that comes, so idle ones do not pile up.
	sweepSample = 8
	// rounding is what floating point may be off by.
	rounding = time.Millisecond
)

type shard struct {
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// NewRate admits perMinute requests a minute of each name, and burst at once. It
// returns nil, which admits everything, if perMinute is below one.
func NewRate(perMinute, burst int, clk clock.Clock) *Rate {
	if perMinute < 1 {
		return nil
	}
	r := &Rate{perSecond: rate.Limit(float64(perMinute) / 60), burst: max(burst, 1), clk: clk, seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].buckets = make(map[string]*rate.Limiter)
	}
	return r
}

// Take takes n requests of a name. If there are not so many, none is taken, and
// retryAfter says when there will be; for more than the burst that is the time
// it takes to fill up.
func (r *Rate) Take(name string, n int) (retryAfter time.Duration, ok bool) {
	if r == nil || n <= 0 {
		return 0, true
	}
	now := r.clk.Now()
	b := r.bucket(name, now)
	if b.AllowN(now, n) {
		return 0, true
	}
	missing := float64(min(n, r.burst)) - b.TokensAt(now)
	return time.Duration(missing/float64(r.perSecond)*float64(time.Second)) + rounding, false
}

func (r *Rate) bucket(name string, now time.Time) *rate.Limiter {
	s := &r.shards[maphash.String(r.seed, name)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b == nil {
		r.evict(s, now)
		b = rate.NewLimiter(r.perSecond, r.burst)
		s.buckets[name] = b
	}
	return b
}

// evict makes room for one bucket: it removes those of a random sample that
// have filled up again, which are as good as none, and where the limit is
// reached the fullest of the sample. The caller holds the shard's lock.
func (r *Rate) evict(s *shard, now time.Time) {
	var victim string
	best, seen := -1.0, 0
	for name, b := range s.buckets {
		tokens := b.TokensAt(now)
		if tokens >= float64(r.burst) {
			delete(s.buckets, name)
		}
		if tokens > best {
			victim, best = name, tokens
		}
		if seen++; seen == sweepSample {
			break
		}
	}
	if len(s.buckets) >= perShard {
		delete(s.buckets, victim)
	}
}
