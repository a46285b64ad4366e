package scale

import "time"

// histogram counts durations in buckets of a width.
type histogram struct {
	width  time.Duration
	counts []uint64
	total  uint64
}

func (h *histogram) add(d time.Duration) {
	i := int(max(d, 0) / h.width)
	if i >= len(h.counts) {
		h.counts = append(h.counts, make([]uint64, i+1-len(h.counts))...)
	}
	h.counts[i]++
	h.total++
}

// quantile returns the duration that a share of all do not exceed, rounded up to
// the width; 0 if there are none.
func (h *histogram) quantile(share float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	left := max(uint64(share*float64(h.total)), 1)
	for i, n := range h.counts {
		if n >= left {
			return time.Duration(i+1) * h.width
		}
		left -= n
	}
	return time.Duration(len(h.counts)) * h.width
}
