package budget

// window counts the sends of the last span, and remembers the most there ever
// were. It keeps every send time that still matters, so its numbers are exact.
type window struct {
	span  int64
	times []int64 // ascending
	head  int     // first of times that lies within the span
	worst int
}

// add counts one send. Both ends of a window belong to it: a send exactly one
// span ago is still counted, which no service can beat for strictness.
func (w *window) add(now int64) {
	w.trim(now)
	w.times = append(w.times, now)
	w.worst = max(w.worst, len(w.times)-w.head)
}

func (w *window) count(now int64) int {
	w.trim(now)
	return len(w.times) - w.head
}

func (w *window) trim(now int64) {
	for w.head < len(w.times) && now-w.times[w.head] > w.span {
		w.head++
	}
	if w.head > len(w.times)/2 { // each time is moved at most once per add: amortized O(1)
		w.times = w.times[:copy(w.times, w.times[w.head:])]
		w.head = 0
	}
}
