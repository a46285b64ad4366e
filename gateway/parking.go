package gateway

import (
	"fmt"
	"sync"
	"time"
)

// parking bounds the channels that have a P-GET waiting, in all and of each
// user. Channels, not P-GETs: one that takes the place of another needs none of
// its own. Beyond a bound the newcomer loses: PGetReplaced would tell a client
// that waits that its own channel has another reader.
type parking struct {
	all, perUser int // zero is no bound

	mu     sync.Mutex
	n      int
	byUser map[string]map[parkedChannel]int // how many P-GETs each channel has
}

type parkedChannel struct{ application, instance string }

// retryParking is when a client that found no place may try again.
const retryParking = 30 * time.Second

// enter takes a place for a P-GET; leave gives it back.
func (p *parking) enter(user string, c parkedChannel) error {
	if p.all == 0 && p.perUser == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	channels := p.byUser[user]
	if channels[c] == 0 {
		switch {
		case p.perUser > 0 && len(channels) >= p.perUser:
			return &Error{
				Reason: TooManyRequests, RetryAfter: retryParking,
				Message: fmt.Sprintf("The user has %d requests for events waiting, as many as are allowed.", p.perUser),
			}
		case p.all > 0 && p.n >= p.all:
			return &Error{Reason: TooManyWaiting, RetryAfter: retryParking, Message: "As many requests for events wait as are allowed."}
		}
		p.n++
	}
	if channels == nil {
		if p.byUser == nil {
			p.byUser = make(map[string]map[parkedChannel]int)
		}
		channels = make(map[parkedChannel]int, 1)
		p.byUser[user] = channels
	}
	channels[c]++
	return nil
}

func (p *parking) leave(user string, c parkedChannel) {
	if p.all == 0 && p.perUser == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	channels := p.byUser[user]
	if channels[c]--; channels[c] > 0 {
		return
	}
	delete(channels, c)
	p.n--
	if len(channels) == 0 {
		delete(p.byUser, user)
	}
}
