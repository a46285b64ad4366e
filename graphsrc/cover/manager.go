package cover

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

const (
	// callTimeout bounds one call of Graph. A create lasts until both URLs are
	// validated, for which Graph gives us 10 s each.
	callTimeout = time.Minute
	// closeTimeout bounds what Close asks of Graph.
	closeTimeout = 5 * time.Second
	// nap bounds a sleep, so that a clock that was set, or stood still in a
	// suspended machine, is noticed.
	nap = time.Minute
	// accept is how long notifications of an ended subscription are accepted.
	accept = 5 * time.Minute
)

// Manager keeps the subscriptions. Its methods may be called concurrently.
type Manager struct {
	keys                          Keys
	endpoint                      Endpoint // nil: not known
	notificationURL, lifecycleURL string
	signInNeeded                  func() // nil: nobody is told
	replan                        time.Duration
	clk                           clock.Clock
	log                           *slog.Logger

	ledger ledger

	// speech is held while people are told who is covered, from the look at the
	// state to the return of the call, so that an Uncover cannot be overtaken
	// by the Cover of another account. It is taken before mu, and never by what
	// People or the receiver call.
	speech sync.Mutex
	people People

	mu       sync.Mutex // held for no call of Graph, Keys or People
	accounts []*account
	barred   map[string]time.Time // people Graph refuses, and until when they are left out

	closed  atomic.Bool
	stop    context.CancelFunc
	loops   sync.WaitGroup
	closing sync.Once
}

// New starts keeping subscriptions. It asks nothing of Graph before it returns;
// its error lists everything that is wrong with the options.
func New(o Options) (*Manager, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("covering people by helper accounts: %w", err)
	}
	m := &Manager{
		keys: o.Keys, endpoint: o.Endpoint, people: o.People, clk: o.Clock, log: o.Logger, replan: o.Replan,
		notificationURL: o.NotificationURL, lifecycleURL: o.LifecycleURL, signInNeeded: o.SignInNeeded,
		barred: make(map[string]time.Time),
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	for _, a := range o.Accounts {
		m.accounts = append(m.accounts, newAccount(a))
	}
	m.loops.Go(func() { m.planning(ctx) })
	for _, a := range m.accounts {
		m.loops.Go(func() { m.run(ctx, a) })
	}
	return m, nil
}

// Close uncovers everybody and deletes the subscriptions, so that Graph stops
// sending; for that it takes up to 5 s. What cannot be deleted ends within the
// hour. No notification is known any more.
func (m *Manager) Close() {
	m.closing.Do(func() {
		m.closed.Store(true)
		m.stop()
		m.loops.Wait()
		ctx, cancel := m.within(context.Background(), closeTimeout)
		defer cancel()
		var farewells sync.WaitGroup
		for _, a := range m.accounts {
			m.uncover(a)
			farewells.Go(func() { m.farewell(ctx, a) })
		}
		farewells.Wait()
	})
}

// run is the loop of an account, and the only one to change a.sub.
func (m *Manager) run(ctx context.Context, a *account) {
	for ctx.Err() == nil {
		act, wait := m.next(a)
		if act != nil {
			act(ctx, a)
			continue
		}
		m.sleep(ctx, wait, a.wake)
	}
}

// sleep waits for d, a nap at most, or until it is woken.
func (m *Manager) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	passed := make(chan struct{})
	t := m.clk.AfterFunc(min(d, nap), func() { close(passed) })
	defer t.Stop()
	select {
	case <-passed:
	case <-wake:
	case <-ctx.Done():
	}
}

// within returns a context that ends after d of the injected clock.
func (m *Manager) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := m.clk.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() {
		t.Stop()
		cancel(nil)
	}
}

// cover says that the people of an account are covered. They are read first:
// what happened before the subscription existed was not notified.
func (m *Manager) cover(_ context.Context, a *account) {
	m.speech.Lock()
	defer m.speech.Unlock()
	m.mu.Lock()
	s := a.sub
	if !s.live() || s.covering {
		m.mu.Unlock()
		return
	}
	s.covering, s.probation = true, time.Time{}
	s.excuse(m.clk.Now())
	ids := s.audible()
	m.mu.Unlock()
	m.people.Reread(ids)
	m.people.Cover(ids)
	m.log.Info("people are covered by notifications", "account", a.name, "people", len(ids))
}

// uncover says that the people of an account are not covered any more, and
// returns them.
func (m *Manager) uncover(a *account) []string {
	m.speech.Lock()
	defer m.speech.Unlock()
	m.mu.Lock()
	s := a.sub
	if s == nil {
		m.mu.Unlock()
		return nil
	}
	ids, covering := s.people(), s.covering
	s.covering = false
	m.mu.Unlock()
	if covering {
		m.people.Uncover(ids)
	}
	return ids
}

// hush uncovers people about whom nothing is delivered, while others are.
func (m *Manager) hush(a *account, ids []string) {
	m.speech.Lock()
	defer m.speech.Unlock()
	m.mu.Lock()
	a.counts.muted += uint64(len(ids))
	m.mu.Unlock()
	m.people.Uncover(ids)
	m.log.Warn("no notification comes about some people of a subscription that delivers for others",
		"account", a.name, "people", len(ids))
}

// reaffirm says again who is covered, of those who are watched: the source may
// have forgotten people who were unwatched meanwhile.
func (m *Manager) reaffirm(watched map[string]bool) {
	m.speech.Lock()
	defer m.speech.Unlock()
	for _, a := range m.accounts {
		var ids []string
		m.mu.Lock()
		if s := a.sub; s.live() && s.covering {
			for _, id := range s.audible() {
				if watched[id] {
					ids = append(ids, id)
				}
			}
		}
		m.mu.Unlock()
		if len(ids) > 0 {
			m.people.Cover(ids)
		}
	}
}

// farewell deletes what an account has subscribed to.
func (m *Manager) farewell(ctx context.Context, a *account) {
	m.mu.Lock()
	s, tidy, out := a.sub, a.tidy, a.signedOut
	a.sub = nil
	m.mu.Unlock()
	var err error
	switch {
	case out:
		return
	case s != nil:
		err = ignoreGone(a.graph.Unsubscribe(ctx, s.id))
	case tidy: // a create may have been cut off
		var left []graphsrc.Subscription
		if left, err = a.graph.Subscriptions(ctx); err == nil { // everybody's are deleted now
			_, err = m.sweep(ctx, a, left)
		}
	}
	if err != nil {
		m.log.Info("a subscription is left to end by itself", "account", a.name, "error", err)
	}
}
