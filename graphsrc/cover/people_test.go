package cover

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

const (
	floor  = 20 * time.Second
	safety = 5 * time.Minute
)

// source is a model of whoever reads presence: the uncovered every floor, the
// covered every safety.
type source struct {
	tenant *tenant
	stop   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	manager *Manager
	order   []string
	covered map[string]bool
	known   map[string]string
	rereads int
	reread  map[string]time.Time // last
}

func newSource(n *tenant) *source {
	return &source{
		tenant: n, stop: make(chan struct{}), done: make(chan struct{}),
		covered: make(map[string]bool), known: make(map[string]string), reread: make(map[string]time.Time),
	}
}

func (p *source) watch(ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if !slices.Contains(p.order, id) {
			p.order = append(p.order, id)
		}
	}
}

func (p *source) unwatch(ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.order = slices.DeleteFunc(p.order, func(id string) bool { return slices.Contains(ids, id) })
	for _, id := range ids {
		delete(p.covered, id) // the planner may forget those whom nobody watches
	}
}

func (p *source) Watched(limit int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.order[:min(limit, len(p.order))])
}

func (p *source) Cover(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		p.covered[id] = true
	}
}

func (p *source) Uncover(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		delete(p.covered, id)
	}
}

func (p *source) Apply(c graphsrc.PresenceChange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[c.ID] = c.Availability
}

func (p *source) Reread(ids []string) {
	p.mu.Lock()
	p.rereads++
	for _, id := range ids {
		p.reread[id] = time.Now()
	}
	p.mu.Unlock()
	time.AfterFunc(500*time.Millisecond, func() { p.read(ids) })
}

// read reads people and tells of what should have been notified.
func (p *source) read(ids []string) {
	p.mu.Lock()
	var missed []string
	p.tenant.mu.Lock()
	for _, id := range ids {
		if now := word(p.tenant.presence[id]); p.known[id] != now {
			if p.covered[id] && p.known[id] != "" {
				missed = append(missed, id)
			}
			p.known[id] = now
		}
	}
	p.tenant.mu.Unlock()
	m := p.manager
	p.mu.Unlock()
	for _, id := range missed {
		m.Missed(id)
	}
}

func (p *source) sweep() {
	defer close(p.done)
	last := time.Now()
	for {
		select {
		case <-p.stop:
			return
		case <-time.After(floor):
		}
		all := time.Since(last) >= safety
		if all {
			last = time.Now()
		}
		p.mu.Lock()
		var ids []string
		for _, id := range p.order {
			if all || !p.covered[id] {
				ids = append(ids, id)
			}
		}
		p.mu.Unlock()
		p.read(ids)
	}
}

// coveredOf returns which of some people are covered.
func (p *source) coveredOf(ids []string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, id := range ids {
		if p.covered[id] {
			n++
		}
	}
	return n
}

// stale returns who of the watched is known otherwise than they are.
func (p *source) stale() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tenant.mu.Lock()
	defer p.tenant.mu.Unlock()
	var ids []string
	for _, id := range p.order {
		if p.known[id] != word(p.tenant.presence[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}

// keyring is a Keys.
type keyring struct {
	mu   sync.Mutex
	id   string
	fail bool
}

func (k *keyring) Current() ([]byte, string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail {
		return nil, "", errors.New("no key")
	}
	return []byte("certificate"), k.id, nil
}

func (k *keyring) set(id string, fail bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.id, k.fail = id, fail
}

// skewed is a clock that can be set. Its timers run like the bubble's.
type skewed struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *skewed) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *skewed) set(offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
}

func (c *skewed) AfterFunc(d time.Duration, f func()) clock.Timer { return time.AfterFunc(d, f) }

// bench is a manager between both models.
type bench struct {
	*Manager
	tenant   *tenant
	source   *source
	keys     *keyring
	clock    *skewed
	log      *locked
	accounts []Account // nil: one for each helper
	endpoint Endpoint
	signIns  atomic.Int32 // how often it was told that one is needed
}

// start starts a manager. prepare may change the tenant before.
func start(t *testing.T, accounts int, prepare func(*bench)) *bench {
	t.Helper()
	n := newTenant(accounts)
	b := &bench{tenant: n, source: newSource(n), keys: &keyring{id: "k1"}, clock: new(skewed), log: new(locked)}
	if prepare != nil {
		prepare(b)
	}
	if b.accounts == nil {
		b.accounts = n.accounts()
	}
	m, err := New(Options{
		People: b.source, Keys: b.keys, Accounts: b.accounts, Endpoint: b.endpoint, NotificationURL: ourURL, LifecycleURL: ourLife,
		Clock: b.clock, Logger: slog.New(slog.NewTextHandler(b.log, nil)), SignInNeeded: func() { b.signIns.Add(1) },
	})
	require.NoError(t, err)
	b.Manager = m
	n.mu.Lock()
	n.receiver = m
	n.mu.Unlock()
	b.source.mu.Lock()
	b.source.manager = m
	b.source.mu.Unlock()
	go b.source.sweep()
	return b
}

// end closes everything.
func (b *bench) end() {
	b.Close()
	close(b.source.stop)
	<-b.source.done
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	w  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.String()
}

func ids(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("p%05d", i))
	}
	return all
}

func pass(d time.Duration) { <-time.After(d) }
