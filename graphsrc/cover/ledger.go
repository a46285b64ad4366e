package cover

import (
	"crypto/subtle"
	"strings"
	"sync"
	"time"
)

// ledger knows which notifications are genuine. A secret is entered before its
// subscription is created, because the first notification may come before the
// answer that names the subscription, and stays for a while after its end.
//
// It has a lock of its own: Knows has seconds to answer and waits for no plan.
type ledger struct {
	mu      sync.Mutex
	entries []entry
}

type entry struct {
	sub    *subscription
	secret string
	id     string    // empty until the answer, or the first notification, tells
	until  time.Time // zero while the subscription is in force
}

// open enters a subscription that is about to be created.
func (l *ledger) open(s *subscription, secret string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.purge(now)
	l.entries = append(l.entries, entry{sub: s, secret: secret})
}

// name enters the id of a subscription.
func (l *ledger) name(s *subscription, id string) {
	l.each(s, func(e *entry) { e.id = id })
}

// retire ends a subscription, whose notifications are accepted until then.
func (l *ledger) retire(s *subscription, until time.Time) {
	l.each(s, func(e *entry) { e.until = until })
}

func (l *ledger) each(s *subscription, do func(*entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.entries {
		if l.entries[i].sub == s {
			do(&l.entries[i])
		}
	}
}

// knows compares with all secrets, so that the time it takes tells nothing.
func (l *ledger) knows(id, secret string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.purge(now)
	known := false
	for i := range l.entries {
		e := &l.entries[i]
		if subtle.ConstantTimeCompare([]byte(e.secret), []byte(secret)) == 0 {
			continue
		}
		if e.id == "" {
			e.id = id
		}
		known = known || strings.EqualFold(e.id, id)
	}
	return known
}

// find returns the subscription with that id and whether it is in force, nil
// if there is none.
func (l *ledger) find(id string) (s *subscription, inForce bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.entries {
		if e := &l.entries[i]; e.id != "" && strings.EqualFold(e.id, id) {
			return e.sub, e.until.IsZero()
		}
	}
	return nil, false
}

func (l *ledger) purge(now time.Time) {
	kept := l.entries[:0]
	for _, e := range l.entries {
		if e.until.IsZero() || now.Before(e.until) {
			kept = append(kept, e)
		}
	}
	clear(l.entries[len(kept):])
	l.entries = kept
}
