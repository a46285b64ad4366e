package limit

import "time"

// Units is a gate for events of different cost, in one sliding window. It is
// not safe for concurrent use.
type Units struct {
	limit int
	span  time.Duration

	spent []spending
	head  int
	sum   int
	worst int
}

type spending struct {
	at   time.Time
	cost int
}

// NewUnits makes a gate for a limit of at least 1 in any span, through which
// nothing has passed yet.
func NewUnits(limit int, span time.Duration) *Units { return &Units{limit: limit, span: span} }

// Pass counts an event at now, which must not go back, and reports whether it is
// admitted, and which part of the limit is used, 1 being all of it. If it is
// not admitted, it counts all the same, and retry is how long another of the
// same cost must wait at least. An event of more than the whole limit passes as
// one of the limit.
func (u *Units) Pass(now time.Time, cost int) (admitted bool, retry time.Duration, used float64) {
	cost = min(cost, u.limit)
	for u.head < len(u.spent) && now.Sub(u.spent[u.head].at) >= u.span {
		u.sum -= u.spent[u.head].cost
		u.head++
	}
	if u.head > 64 && u.head*2 > len(u.spent) {
		u.spent = append(u.spent[:0], u.spent[u.head:]...)
		u.head = 0
	}
	u.spent = append(u.spent, spending{now, cost})
	u.sum += cost
	u.worst = max(u.worst, u.sum)
	used = float64(u.sum) / float64(u.limit)
	if u.sum <= u.limit {
		return true, 0, used
	}
	for left, i := u.sum, u.head; i < len(u.spent); i++ {
		if left -= u.spent[i].cost; left+cost <= u.limit {
			retry = u.spent[i].at.Add(u.span).Sub(now)
			break
		}
	}
	return false, retry, used
}

// Worst is the most that was spent in any span so far.
func (u *Units) Worst() int { return u.worst }

// ResetWorst forgets it, but not what was spent.
func (u *Units) ResetWorst() { u.worst = 0 }
