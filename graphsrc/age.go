package graphsrc

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// ageUnit is the shift from nanoseconds to the width of the first buckets,
	// about a millisecond.
	ageUnit = 20
	// ageParts is how many buckets, as a power of two, lie between an age and
	// twice that age.
	ageParts = 3
	// ageBuckets reaches beyond a year; what is older is in the last.
	ageBuckets = (56-ageUnit-ageParts+1)<<ageParts + 1
)

// ageBucket is the bucket of an age: ages below 2^ageParts units have one per
// unit, above that the ageParts digits after the first tell.
func ageBucket(age time.Duration) int {
	if age <= 0 {
		return 0
	}
	u := uint64(age) >> ageUnit
	shift := max(bits.Len64(u)-1-ageParts, 0)
	return min(shift<<ageParts+int(u>>shift), ageBuckets-1)
}

// ageLimit is the age at which a bucket ends.
func ageLimit(bucket int) time.Duration {
	shift := max(bucket>>ageParts-1, 0)
	return time.Duration(bucket-shift<<ageParts+1) << (shift + ageUnit)
}

// Ages counts ages by size, in buckets of which each is an eighth wider than
// the one before. The zero value has counted nothing.
type Ages struct {
	counts [ageBuckets]uint64
	n      uint64
	max    time.Duration
}

// Count is how many ages were counted.
func (a *Ages) Count() uint64 { return a.n }

// Max is the highest age counted, exactly; 0 if none was.
func (a *Ages) Max() time.Duration { return a.max }

// Quantile is the age that a share q of the ages, from 0 to 1, does not exceed.
// It is never too low, and too high by at most an eighth or a millisecond; 0 if
// nothing was counted.
func (a *Ages) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(a.n)))
	var seen uint64
	for i, n := range a.counts[:ageBuckets-1] {
		if seen += n; n > 0 && seen >= rank {
			return min(ageLimit(i), a.max)
		}
	}
	return a.max
}

// Since is what was counted after an earlier state of the same counts. Its Max
// is as exact as a quantile.
func (a *Ages) Since(earlier *Ages) Ages {
	var d Ages
	for i := range a.counts {
		if more := a.counts[i] - earlier.counts[i]; more > 0 {
			d.counts[i] = more
			d.n += more
			d.max = min(ageLimit(i), a.max)
		}
	}
	return d
}

func (a *Ages) add(age time.Duration) {
	a.counts[ageBucket(age)]++
	a.n++
	a.max = max(a.max, age)
}

// ageCounter counts ages concurrently.
type ageCounter struct {
	counts [ageBuckets]atomic.Uint64
	max    atomic.Int64
}

func (c *ageCounter) add(age time.Duration) {
	c.counts[ageBucket(age)].Add(1)
	for {
		known := c.max.Load()
		if int64(age) <= known || c.max.CompareAndSwap(known, int64(age)) {
			return
		}
	}
}

// load copies the counts. Those made meanwhile may be missing.
func (c *ageCounter) load() Ages {
	var a Ages
	for i := range c.counts {
		a.counts[i] = c.counts[i].Load()
		a.n += a.counts[i]
	}
	a.max = time.Duration(c.max.Load())
	return a
}
