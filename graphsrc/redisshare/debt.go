package redisshare

import (
	"time"

	"github.com/google/uuid"

	"ucwagate/graphsrc"
)

const (
	// maxOwed is how many changes of a person are owed one by one. What comes later
	// is owed as one, of which nobody knows what was before.
	maxOwed = 8
	// probes is of how many people it is tried first whether they can be reported.
	probes = 16
	// debtPause is how long nothing that is owed is tried after something failed, or
	// five times as long as that took: others wait meanwhile.
	debtPause = 5 * time.Second
)

// debt is the changes of some people that could not be reported. Those of each
// person are in order.
type debt struct {
	owed map[uuid.UUID][]graphsrc.SharedChange
	from position // before the first of them
	next int64    // when they are tried again; nanoseconds, see Share.elapsed
}

// queue puts changes behind those that are owed of the same people, and returns
// the others.
func (d *debt) queue(changes []graphsrc.SharedChange) (others []graphsrc.SharedChange) {
	if len(d.owed) == 0 {
		return changes
	}
	for _, c := range changes {
		if _, waits := d.owed[c.After.ID]; waits {
			d.add(c)
		} else {
			others = append(others, c)
		}
	}
	return others
}

// owe notes changes that could not be reported. At is the position before them.
func (d *debt) owe(changes []graphsrc.SharedChange, at position, next int64) {
	if len(d.owed) == 0 {
		d.owed, d.from, d.next = make(map[uuid.UUID][]graphsrc.SharedChange), at, next
	}
	for _, c := range changes {
		d.add(c)
	}
}

func (d *debt) add(c graphsrc.SharedChange) {
	list := d.owed[c.After.ID]
	if len(list) == maxOwed {
		c.First, c.Unsure, c.Shown = false, true, nil
		list = list[:maxOwed-1]
	}
	d.owed[c.After.ID] = append(list, c)
}

// due is the first change of each person, of so many at most, if it is time.
func (d *debt) due(now int64, most int) (due []graphsrc.SharedChange) {
	if now < d.next {
		return nil
	}
	for _, list := range d.owed {
		if due = append(due, list[0]); len(due) == most {
			break
		}
	}
	return due
}

// paid notes that changes were reported but for those that failed, which put off
// the rest until next.
func (d *debt) paid(changes, failed []graphsrc.SharedChange, next int64) {
	still := make(map[uuid.UUID]bool, len(failed))
	for _, c := range failed {
		still[c.After.ID] = true
	}
	for _, c := range changes {
		switch id := c.After.ID; {
		case still[id]:
		case len(d.owed[id]) > 1:
			d.owed[id] = d.owed[id][1:]
		default:
			delete(d.owed, id)
		}
	}
	if len(failed) > 0 {
		d.next = next
	}
}

// before is the position up to which nothing is owed, if all up to at was reported
// otherwise.
func (d *debt) before(at position) position {
	if len(d.owed) > 0 {
		return d.from
	}
	return at
}
