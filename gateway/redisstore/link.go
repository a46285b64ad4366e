package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// link is what a replica hears of the others: who has ended, who is to be woken,
// who is watched. While it is up nothing of that is missed.
type link struct {
	mu         sync.RWMutex
	up         bool
	generation uint64    // counts the times it came up
	lost       time.Time // when it went down last
	endings    atomic.Uint64
	beats      atomic.Uint64 // that were heard
	missed     atomic.Bool   // something was said that was not heard
}

// mark is a moment; what is asked after it may be believed unless something was
// heard since.
type mark struct{ generation, endings uint64 }

func (l *link) mark() mark {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.up {
		return mark{endings: l.endings.Load()}
	}
	return mark{l.generation, l.endings.Load()}
}

func (l *link) isUp() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.up
}

// verified notes that Redis was asked at m whether e is live.
func (l *link) verified(e *entry, m mark, now time.Time) {
	if m.endings != l.endings.Load() {
		m.generation = 0 // perhaps it was e that ended meanwhile
	}
	atLeast(&e.verified, now.UnixNano())
	e.heard.Store(m.generation)
}

// trusts says whether e may be taken for live without asking.
func (l *link) trusts(e *entry, now time.Time, trust time.Duration) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	current := l.generation > 0 && e.heard.Load() == l.generation
	if l.up {
		return current
	}
	since := time.Unix(0, e.verified.Load())
	if current && l.lost.After(since) {
		since = l.lost
	}
	return now.Sub(since) < trust
}

// The pauses before a lost link is taken up again, in real time.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// listen keeps the link up until the store is closed.
func (s *Store) listen() {
	pause := firstPause
	for s.ctx.Err() == nil {
		err := s.hear(func() { pause = firstPause })
		s.down()
		if s.ctx.Err() != nil {
			return
		}
		s.log.Warn("the connection on which the replicas hear of each other was lost", "error", err)
		s.pause(pause/2 + rand.N(pause)) //nolint:gosec // no secret
		pause = min(2*pause, lastPause)
	}
}

// hear subscribes, calls up, and returns when the connection is lost or the
// store closed.
func (s *Store) hear(up func()) error {
	client, done := s.client.Dedicate()
	defer done()
	defer client.Close() // not to be lent out again: perhaps nothing is heard on it
	channels := []string{s.ended, s.interest, s.myWake}
	subscribed := make(chan struct{})
	var once sync.Once
	lost := client.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: s.heard,
		OnSubscription: func(c rueidis.PubSubSubscription) {
			if c.Kind == "subscribe" && c.Count >= int64(len(channels)) {
				once.Do(func() { close(subscribed) })
			}
		},
	})
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	if err := client.Do(ctx, client.B().Subscribe().Channel(channels...).Build()).Error(); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	select {
	case <-subscribed:
	case err := <-lost:
		return fmt.Errorf("subscribing: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("subscribing: %w", ctx.Err())
	}
	up()
	s.up()
	return s.attend(lost)
}

// A replica says something to itself as all say things to it. A connection can
// stay open to a server that has left the cluster, or that the sentinels have
// replaced, and nothing is heard on it any more.

// beat is what it says.
const beat = "beat"

// deaf is how many beats in a row are not heard until the connection is given up.
const deaf = 3

// attend returns when the connection is lost, or something was not heard on it,
// or the store closed. It beats every two timeouts, in real time.
func (s *Store) attend(lost <-chan error) error {
	ticker := time.NewTicker(2 * s.timeout)
	defer ticker.Stop()
	heard := s.link.beats.Load()
	for silent := 0; ; {
		s.beat()
		select {
		case err := <-lost:
			if err == nil {
				err = errors.New("the connection was closed")
			}
			return err
		case <-s.ctx.Done():
			return nil
		case <-ticker.C:
		}
		n := s.link.beats.Load()
		if silent++; n != heard {
			silent, heard = 0, n
		}
		switch {
		case silent >= deaf:
			return errors.New("what is said is not heard")
		case s.link.missed.Load():
			return errors.New("something that was said was not heard")
		}
	}
}

// beat is heard by this replica alone. If it fails it is not heard.
func (s *Store) beat() {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	s.client.Do(ctx, s.client.B().Publish().Channel(s.myWake).Message(beat).Build())
}

// up begins to trust what is heard from now on. Whatever was missed is asked.
func (s *Store) up() {
	s.link.mu.Lock()
	s.link.up = true
	s.link.generation++
	s.link.mu.Unlock()
	s.link.missed.Store(false)
	s.watched.restart()
	s.present.restart()
	s.places.wakeAll(s.clock.Now())
}

func (s *Store) down() {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if s.link.up {
		s.link.up, s.link.lost = false, s.clock.Now()
	}
}

// heard takes in what another replica, or this one, has said.
func (s *Store) heard(m rueidis.PubSubMessage) {
	switch m.Channel {
	case s.ended:
		s.link.endings.Add(1)
		s.lose(m.Message)
	case s.myWake:
		if m.Message == beat {
			s.link.beats.Add(1)
			return
		}
		s.woken(m.Message)
	case s.interest:
		head, rest, _ := strings.Cut(m.Message, "\n")
		words := strings.Fields(head)
		if len(words) != 3 {
			return
		}
		for _, x := range s.indexes() {
			if x.kind == words[0] && x.heard(words[1], words[2], strings.Split(rest, "\n")) {
				s.link.missed.Store(true)
			}
		}
	}
}
