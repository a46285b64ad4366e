package demo_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
	"ucwagate/cmd/ucwagate/internal/ucwaclient"
	"ucwagate/mapping"
)

const (
	crowdClients = 200
	crowdPeople  = 2000
	crowdWatched = 30 // people each client watches
)

// TestTwoHundredClientsSeeTheTruth lets 200 clients follow 2,000 people who
// move, while Graph fails in several ways in between. When the movement ends,
// every client's picture equals the tenant's.
func TestTwoHundredClientsSeeTheTruth(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	d, err := demo.Start(ctx, demo.Options{
		Still: true, Users: crowdPeople * 6 / 5, Refresh: time.Second, Logger: slog.New(slog.DiscardHandler),
		Adjust: func(c *config.Config) {
			c.Directory.Sync = true
			c.Applications.PerUser = 2 * crowdClients
		},
	})
	require.NoError(t, err)
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: crowdClients}}
	defer func() {
		hc.CloseIdleConnections()
		require.NoError(t, d.Close(context.WithoutCancel(ctx)))
	}()
	var addresses []string
	for i := 0; len(addresses) < crowdPeople && i < d.Tenant.Len(); i++ {
		if a := d.Tenant.User(i).Address(); strings.HasSuffix(a, "@"+d.Domain) {
			addresses = append(addresses, a)
		}
	}
	client, err := ucwaclient.SignIn(ctx, hc, d.BaseURL, d.Username, d.Password)
	require.NoError(t, err)

	following, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	watchers := make([]*watcher, crowdClients)
	for i := range watchers {
		w := &watcher{known: make(map[string]ucwaclient.Presence)}
		for _, n := range rand.Perm(crowdPeople)[:crowdWatched] {
			w.watched = append(w.watched, addresses[n])
		}
		watchers[i] = w
		wg.Go(func() { w.follow(following, t, client, fmt.Sprint("crowd-", i)) })
	}
	move(ctx, t, d, addresses)

	truth := func(address string) ucwaclient.Presence {
		p, err := d.Tenant.Presence(address)
		require.NoError(t, err)
		c := mapping.Translate(mapping.Presence{Availability: p.Availability, Activity: p.Activity, OutOfOffice: p.OutOfOffice}, mapping.Options{})
		return ucwaclient.Presence{Availability: string(c.Availability), Activity: c.Activity.In(mapping.Culture("en-US"))}
	}
	var wrong []string
	assert.Eventually(t, func() bool {
		wrong = nil
		for i, w := range watchers {
			for _, a := range w.watched {
				if got, want := w.sees(a), truth(a); got != want {
					wrong = append(wrong, fmt.Sprintf("client %d sees %s as %v, the tenant says %v", i, a, got, want))
				}
			}
		}
		return len(wrong) == 0
	}, time.Minute, 500*time.Millisecond, "every picture equals the tenant's")
	require.Empty(t, wrong[:min(len(wrong), 10)], "%d differences", len(wrong))
	stop()
	wg.Wait()
	s := d.Tenant.Stats()
	require.LessOrEqual(t, s.WorstWindow, 1500)
	t.Logf("Graph requests %d, worst window %d, ids per batch %.0f", s.Requests, s.WorstWindow, s.IDsPerBatch)
}

// move changes people's presence for a while, and lets Graph fail meanwhile.
func move(ctx context.Context, t *testing.T, d *demo.Demo, addresses []string) {
	t.Helper()
	states := [][2]string{
		{"Available", "Available"},
		{"Busy", "InAMeeting"},
		{"Busy", "InACall"},
		{"DoNotDisturb", "Presenting"},
		{"BeRightBack", "BeRightBack"},
		{"Away", "Away"},
		{"Offline", "Offline"},
		{"DoNotDisturb", "Focusing"},
	}
	faults := []string{
		`{}`, `{"routes":{"*":{"status":503,"probability":1}}}`, `{"bulk":{"permute":true,"duplicate":0.1,"upperCase":true}}`,
		`{"routes":{"*":{"reset":true,"probability":0.5}}}`, `{}`,
		`{"routes":{"POST /communications/getPresencesByUserId":{"status":429,"probability":0.5,"retryAfter":"1.5"}}}`,
		`{"routes":{"*":{"status":200,"body":"truncated","probability":0.5}}}`, `{}`,
	}
	steps := time.NewTicker(10 * time.Millisecond)
	defer steps.Stop()
	for step := range 200 * len(faults) {
		if step%200 == 0 {
			simulator(t, d, http.MethodPut, "/sim/faults", faults[step/200])
		}
		select {
		case <-steps.C:
		case <-ctx.Done():
			return
		}
		s := states[rand.IntN(len(states))]
		require.NoError(t, d.Tenant.SetPresence(addresses[rand.IntN(len(addresses))], s[0], s[1]))
	}
}

// watcher is a client and its picture of the people it watches.
type watcher struct {
	watched []string
	mu      sync.Mutex
	known   map[string]ucwaclient.Presence
}

func (w *watcher) sees(address string) ucwaclient.Presence {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[address]
}

// follow is what a UCWA client does all day.
func (w *watcher) follow(ctx context.Context, t *testing.T, client *ucwaclient.Client, endpoint string) {
	app, err := client.CreateApplication(ctx, "crowd", endpoint, "en-US")
	if err == nil {
		_, err = app.Subscribe(ctx, w.watched, 30)
	}
	for err == nil {
		var p *ucwaclient.Package
		if p, err = app.Next(ctx); err != nil {
			break
		}
		if p.Resumed || p.Resynced {
			err = errors.New("a client that never was silent is told to begin anew")
			break
		}
		for _, e := range p.Events {
			if e.Link.Rel == "contactPresence" && err == nil {
				err = w.read(ctx, app, &e)
			}
		}
	}
	if ctx.Err() == nil {
		t.Errorf("%s: %v", endpoint, err)
	}
}

// read fetches a presence, again and again while the gateway has none to give.
func (w *watcher) read(ctx context.Context, app *ucwaclient.Application, e *ucwaclient.Event) error {
	for {
		presence, err := app.Presence(ctx, e.Link.Href)
		var status *ucwaclient.StatusError
		if errors.As(err, &status) && status.Status >= http.StatusInternalServerError {
			select {
			case <-time.After(200 * time.Millisecond):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err == nil {
			w.mu.Lock()
			w.known[e.Address()] = presence
			w.mu.Unlock()
		}
		return err
	}
}
