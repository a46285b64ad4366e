package budget

// wheelSize is the number of grants after which the shares of the lower lanes
// repeat.
const wheelSize = 40

// order decides which lane the next token goes to. It is a small value: the
// budget keeps one as the truth, and forecasts play with copies.
//
// Only grants to waiters turn the wheel, so the shares of the package comment
// hold exactly for any 40 consecutive grants during which the lanes in question
// have somebody waiting.
type order struct {
	waiting [LaneCount]int
	slot    int // position on the wheel, 0 to wheelSize-1
}

// favoured returns the lower lanes to which a slot of the wheel belongs, the
// first having the better claim. The four slots are spread evenly, so Refresh
// waits for at most 20 grants for its next one.
func favoured(slot int) (first, second Lane, ok bool) {
	switch slot {
	case 9, 29:
		return Refresh, Refresh, true
	case 19:
		return Publish, FirstLook, true
	case 39:
		return FirstLook, Publish, true
	}
	return 0, 0, false
}

func (o *order) empty() bool { return o.waiting == [LaneCount]int{} }

func (o *order) total() int {
	n := 0
	for _, w := range o.waiting {
		n += w
	}
	return n
}

// next returns the lane that gets the next token, and whether it gets it by its
// guaranteed share, in front of a higher lane that waits. Somebody must wait.
func (o *order) next() (lane Lane, byShare bool) {
	top := Interactive
	for o.waiting[top] == 0 {
		top++
	}
	if first, second, ok := favoured(o.slot); ok {
		if first > top && o.waiting[first] > 0 {
			return first, true
		}
		if second > top && o.waiting[second] > 0 {
			return second, true
		}
	}
	return top, false
}

// take removes one waiter of the lane that next names.
func (o *order) take() (lane Lane, byShare bool) {
	lane, byShare = o.next()
	o.waiting[lane]--
	o.slot = (o.slot + 1) % wheelSize
	return lane, byShare
}

// grantsUntil returns how many grants it takes, counting the last, until the
// waiter now at the end of lane is served, if nobody comes or goes; and whether
// that last grant is by the lane's share. Somebody must wait in lane. It takes
// whole turns of the wheel at once while no lane can run empty in them, so its
// cost does not grow with the queue.
func (o order) grantsUntil(lane Lane) (grants int, byShare bool) {
	for {
		turns, each := o.wholeTurns()
		for l := range o.waiting {
			o.waiting[l] -= turns * each[l]
		}
		grants += turns * wheelSize
		for range wheelSize {
			l, share := o.take()
			grants++
			if l == lane && o.waiting[l] == 0 {
				return grants, share
			}
		}
	}
}

// wholeTurns returns how often the wheel can turn before some lane may run
// empty, and what each lane gets in one turn until then.
func (o order) wholeTurns() (turns int, each [LaneCount]int) {
	for range wheelSize {
		l, _ := o.next()
		each[l]++
		o.slot = (o.slot + 1) % wheelSize
	}
	turns = o.total()
	for l, n := range each {
		if n > 0 {
			turns = min(turns, (o.waiting[l]-1)/n)
		}
	}
	return turns, each
}
