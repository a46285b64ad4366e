package budget

// wheelSize is the number of grants after which the shares of the lower lanes
// repeat.
const wheelSize = 40

// order decides which lane the next token goes to. It is a small value: the
// budget keeps one as the truth, and forecasts play with copies.
//
// Only grants to waiters turn the wheel, so the shares of the package comment
// hold for any 40 consecutive grants during which the lane in question has
// somebody waiting, whatever the other lanes do.
type order struct {
	waiting [LaneCount]int
	slot    int // position on the wheel, 0 to wheelSize-1
	// served tells which lanes had a grant since the last slot that Publish and
	// FirstLook share, that one included.
	served [LaneCount]bool
}

// favoured returns the lower lanes to which the slot belongs, which is every
// tenth. The four are spread evenly, so Refresh waits for at most 20 grants for its next
// one. Those that two lanes share come every 20 grants, too: who had nothing
// since the last one has the better claim, even if it is the highest lane that
// waits; then who is not the highest; then the first. One of the two gets each
// slot for which any of them waits, so that at the next one at most one of them
// can have had nothing, and gets it.
func (o *order) favoured() (first, second Lane) {
	switch o.slot {
	case 19:
		first, second = Publish, FirstLook
	case 39:
		first, second = FirstLook, Publish
	default:
		return Refresh, Refresh
	}
	if o.served[first] && !o.served[second] {
		return second, first
	}
	return first, second
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
	if o.slot%(wheelSize/4) != wheelSize/4-1 {
		return top, false
	}
	first, second := o.favoured()
	if o.waiting[first] > 0 && (first > top || !o.served[first]) {
		return first, first > top
	}
	if o.waiting[second] > 0 && second > top {
		return second, true
	}
	return top, false
}

// take removes one waiter of the lane that next names.
func (o *order) take() (lane Lane, byShare bool) {
	lane, byShare = o.next()
	o.waiting[lane]--
	o.turn(lane)
	return lane, byShare
}

// turn moves the wheel on after a grant to lane.
func (o *order) turn(lane Lane) {
	if o.slot%(wheelSize/2) == wheelSize/2-1 {
		o.served = [LaneCount]bool{}
	}
	o.served[lane] = true
	o.slot = (o.slot + 1) % wheelSize
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
// empty, and what each lane gets in one turn until then. It is 0 if a turn does
// not end as it began: after a lane has come or gone, the first may differ.
func (o order) wholeTurns() (turns int, each [LaneCount]int) {
	before := o.served
	for range wheelSize {
		l, _ := o.next()
		each[l]++
		o.turn(l)
	}
	if o.served != before {
		return 0, each
	}
	turns = o.total()
	for l, n := range each {
		if n > 0 {
			turns = min(turns, (o.waiting[l]-1)/n)
		}
	}
	return turns, each
}
