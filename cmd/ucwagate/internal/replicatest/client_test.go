package replicatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"ucwagate/cmd/ucwagate/internal/ucwaclient"
)

// client watches people as a dashboard does: it subscribes once and reads a
// presence whenever an event says that it has changed.
type client struct {
	app *ucwaclient.Application
	// patience is how long it waits for events before it asks again, from where the
	// proxy sends it next; zero: for ever.
	patience time.Duration
	people   []string
	truth    func(address string) string // how somebody is to be seen now

	mu      sync.Mutex
	picture map[string]string // availability by address
	told    map[string]int    // how many events there were of each since forget
	late    map[string]int    // after how many of them the client was shown what was before
	gone    error             // the application ended
	again   int               // packages that said resume or resync
	retried int               // requests that failed, those not counted that waited too long
	last    error             // of them
}

// open signs in, starts an application and subscribes.
func open(ctx context.Context, hc *http.Client, w *world, here *town, user, endpoint string, people []string) (*client, error) {
	c := &client{people: people, truth: here.seen, picture: make(map[string]string), told: make(map[string]int), late: make(map[string]int)}
	signedIn, err := ucwaclient.SignIn(ctx, hc, w.url, user, w.password)
	if err != nil {
		return nil, err
	}
	if c.app, err = signedIn.CreateApplication(ctx, "replicatest", endpoint, "en-US"); err != nil {
		return nil, fmt.Errorf("creating an application: %w", err)
	}
	if _, err = c.app.Subscribe(ctx, people, 30); err != nil {
		return nil, fmt.Errorf("subscribing: %w", err)
	}
	return c, nil
}

// follow takes events until ctx ends or the application does. A request that
// fails is sent again, as every client of a network does.
func (c *client) follow(ctx context.Context) {
	for ctx.Err() == nil {
		pack, err := c.next(ctx)
		if err != nil {
			if c.failed(ctx, err) {
				return
			}
			continue
		}
		if pack.Resumed || pack.Resynced {
			c.mu.Lock()
			c.again++
			c.mu.Unlock()
		}
		changed := make(map[string]string) // href by address
		for _, e := range pack.Events {
			if e.Link.Rel != "contactPresence" {
				continue
			}
			changed[e.Address()] = e.Link.Href
			c.mu.Lock()
			c.told[e.Address()]++
			c.mu.Unlock()
		}
		for address, href := range changed {
			for ctx.Err() == nil {
				p, err := c.app.Presence(ctx, href)
				if err == nil {
					c.see(address, p.Availability)
					break
				}
				if c.failed(ctx, err) {
					return
				}
			}
		}
	}
}

// see takes what the client is shown after an event.
func (c *client) see(address, availability string) {
	truth := c.truth(address)
	c.mu.Lock()
	defer c.mu.Unlock()
	if availability == c.picture[address] && availability != truth {
		c.late[address]++
	}
	c.picture[address] = availability
}

func (c *client) next(ctx context.Context) (*ucwaclient.Package, error) {
	if c.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.patience)
		defer cancel()
	}
	return c.app.Next(ctx)
}

// failed notes a failure, waits a little and says whether it is the end.
func (c *client) failed(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ucwaclient.Gone(err) {
		c.gone = err
		return true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false // the client's own patience
	}
	c.retried++
	c.last = err
	var status *ucwaclient.StatusError
	if errors.As(err, &status) && status.Status < http.StatusInternalServerError && status.Status != http.StatusConflict {
		c.gone = err // nothing else may be refused
		return true
	}
	time.Sleep(200*time.Millisecond + rand.N(200*time.Millisecond))
	return false
}

// differs says how many people the client sees otherwise than they are.
func (c *client) differs(truth map[string]string) (n int, example string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, address := range c.people {
		if seen := c.picture[address]; seen != truth[address] {
			n++
			example = fmt.Sprintf("%s is %s and seen as %q", address, truth[address], seen)
		}
	}
	return n, example
}

// lost is why the application has ended; nil if it has not.
func (c *client) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// forget begins to count anew.
func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.told)
	clear(c.late)
	c.retried, c.last = 0, nil
}
