package graphsrc

import (
	"context"
	"sync"
)

// lifetime ends everything a source has running.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func newLifetime() *lifetime {
	l := &lifetime{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// enter announces a piece of work that end waits for; it is false once the
// end has begun. Each true is paired with one leave.
func (l *lifetime) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Add(1)
	return true
}

// fork announces work that is started by work already announced, which may
// still be done while the end waits. It too is paired with one leave.
func (l *lifetime) fork() { l.wg.Add(1) }

func (l *lifetime) leave() { l.wg.Done() }

// end cancels what runs and returns when it has stopped.
func (l *lifetime) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
}
