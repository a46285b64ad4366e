package memory

import (
	"hash/maphash"
	"slices"
	"sync"
)

// interest is the index from an address to the applications that it concerns,
// such as those whose subscriptions hold it.
type interest struct {
	tell   func(address string, some bool) // of the first and the last; may be nil
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu       sync.RWMutex
	watchers map[string]*watchers
}

// watchers are the applications that watch one address: a list, and beyond
// listed of them a set. Most addresses have few watchers, and a set of few
// costs several times as much.
type watchers struct {
	list []*entry
	set  map[*entry]struct{}
}

const listed = 64

func (x *interest) init() {
	x.seed = maphash.MakeSeed()
	for i := range x.shards {
		x.shards[i].watchers = make(map[string]*watchers)
	}
}

func (x *interest) shard(address string) *shard {
	return &x.shards[maphash.String(x.seed, address)%uint64(len(x.shards))]
}

// enter and leave tell the hook under the lock of the address, so that it
// hears of comings and goings in the order in which they happened.
func (x *interest) enter(address string, e *entry) {
	sh := x.shard(address)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.watchers[address]
	if w == nil {
		w = &watchers{}
		sh.watchers[address] = w
		if x.tell != nil {
			x.tell(address, true)
		}
	}
	w.add(e)
}

func (x *interest) leave(address string, e *entry) {
	sh := x.shard(address)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.watchers[address]
	if w == nil {
		return
	}
	w.remove(e)
	if w.len() > 0 {
		return
	}
	delete(sh.watchers, address)
	if x.tell != nil {
		x.tell(address, false)
	}
}

// watching returns a copy of who watches address at this moment.
func (x *interest) watching(address string) []*entry {
	sh := x.shard(address)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	w := sh.watchers[address]
	switch {
	case w == nil:
		return nil
	case w.set == nil:
		return slices.Clone(w.list)
	}
	all := make([]*entry, 0, len(w.set))
	for e := range w.set {
		all = append(all, e)
	}
	return all
}

func (w *watchers) len() int { return len(w.list) + len(w.set) }

func (w *watchers) add(e *entry) {
	if w.set == nil && len(w.list) < listed {
		w.list = append(w.list, e)
		return
	}
	if w.set == nil {
		w.set = make(map[*entry]struct{}, 2*listed)
		for _, other := range w.list {
			w.set[other] = struct{}{}
		}
		w.list = nil
	}
	w.set[e] = struct{}{}
}

func (w *watchers) remove(e *entry) {
	if w.set != nil {
		delete(w.set, e)
		return
	}
	if i := slices.Index(w.list, e); i >= 0 {
		last := len(w.list) - 1
		w.list[i] = w.list[last]
		w.list[last] = nil
		w.list = w.list[:last]
	}
}
