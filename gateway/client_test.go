package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/memory"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

// settings are what a test may change before the gateway runs.
type settings struct {
	gateway.Options
	memory memory.Options
	wrap   func(gateway.Store) gateway.Store
}

// world is a running gateway with one tenant, in a bubble of its own time.
type world struct {
	*gateway.Gateway
	t       *testing.T
	source  *source
	store   *strict
	clients int
}

// strict is a store that, like one in another process, does nothing for a
// caller who has left. It counts.
type strict struct {
	gateway.Store
	updates atomic.Int64
}

func (s *strict) Update(ctx context.Context, id string, f func(*session.Session) error) error {
	s.updates.Add(1)
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Store.Update(ctx, id, f)
}

const tenantID = "7a1f2d3c-0000-4000-8000-000000000001"

// inBubble runs f on a gateway whose tenant employs people of these names.
func inBubble(t *testing.T, names string, f func(w *world), change ...func(*settings)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		src := newSource(strings.Fields(names)...)
		o := settings{Options: gateway.Options{
			Tenants:        []gateway.Tenant{{Name: "contoso", ID: tenantID, Domains: []string{"Contoso.com", "contoso.net"}, Source: src}},
			Clock:          clock.System(),
			RosterInterval: time.Minute,
		}}
		for _, c := range change {
			c(&o)
		}
		o.memory.Clock, o.memory.Session = o.Clock, o.Limits.Session
		store, err := memory.New(o.memory)
		require.NoError(t, err)
		strict := &strict{Store: store}
		o.Store = strict
		if o.wrap != nil {
			o.Store = o.wrap(strict)
		}
		g, err := gateway.New(o.Options)
		require.NoError(t, err)
		g.Start(t.Context())
		t.Cleanup(func() {
			g.Close()
			store.Close()
			synctest.Wait()
			require.Empty(t, src.misused())
		})
		f(&world{Gateway: g, t: t, source: src, store: strict})
	})
}

// pass lets time go by.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

func principal(name string) gateway.Principal { return gateway.Principal{Address: address(name)} }

// client is an application with one event channel.
type client struct {
	*world
	gateway.Principal
	app      gateway.Application
	instance string
	ack      int64
}

// client starts an application of its own for somebody.
func (w *world) client(name string) *client {
	w.t.Helper()
	w.clients++
	return w.endpoint(name, fmt.Sprint("endpoint ", w.clients), "", "en-US")
}

func (w *world) endpoint(name, endpoint, instance, culture string) *client {
	w.t.Helper()
	p := principal(name)
	app, err := w.CreateApplication(w.t.Context(), p, gateway.ApplicationRequest{
		Culture: culture, UserAgent: "test", EndpointID: endpoint, InstanceID: instance,
	})
	require.NoError(w.t, err)
	c := &client{world: w, Principal: p, app: app, instance: instance}
	c.ack, _, err = w.Channel(w.t.Context(), app, instance)
	require.NoError(w.t, err)
	return c
}

// subscribe subscribes to people by name for 30 minutes.
func (c *client) subscribe(names ...string) session.Subscription {
	c.t.Helper()
	list := make([]string, len(names))
	for i, n := range names {
		if list[i] = n; !strings.Contains(n, "@") {
			list[i] = address(n)
		}
	}
	sub, err := c.Subscribe(c.t.Context(), c.app, list, 30)
	require.NoError(c.t, err)
	return sub
}

// pget is a P-GET under way.
type pget struct {
	pack   *session.Package
	err    error
	ended  time.Time
	done   chan struct{}
	cancel context.CancelFunc
}

func (c *client) pget(poll session.Poll) *pget {
	ctx, cancel := context.WithCancel(c.t.Context())
	p := &pget{done: make(chan struct{}), cancel: cancel}
	if poll.Ack == 0 {
		poll.Ack = c.ack
	}
	go func() {
		defer close(p.done)
		defer cancel()
		p.pack, p.err = c.Events(ctx, c.app, c.instance, poll)
		p.ended = time.Now()
	}()
	synctest.Wait()
	return p
}

func (p *pget) parked() bool {
	synctest.Wait()
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// fetch sends a P-GET and waits for its package.
func (c *client) fetch(poll session.Poll) *session.Package {
	c.t.Helper()
	p := c.pget(poll)
	<-p.done
	require.NoError(c.t, p.err)
	c.ack = p.pack.NextAck
	return p.pack
}

// next returns the events of the next package.
func (c *client) next() []string {
	c.t.Helper()
	return said(c.fetch(session.Poll{}))
}

// nextAny returns the next events, over empty answers.
func (c *client) nextAny() []string {
	c.t.Helper()
	for range 20 {
		if events := c.next(); len(events) > 0 {
			return events
		}
	}
	require.FailNow(c.t, "no event came")
	return nil
}

// settle fetches what has happened so far: until nothing comes for a while.
func (c *client) settle() {
	c.t.Helper()
	for {
		p := c.pget(session.Poll{})
		select {
		case <-p.done:
			require.NoError(c.t, p.err)
			c.ack = p.pack.NextAck
		case <-time.After(20 * time.Second):
			p.cancel()
			<-p.done
			return
		}
	}
}

func said(p *session.Package) []string {
	list := make([]string, len(p.Events))
	for i, e := range p.Events {
		list[i] = describe(e)
	}
	return list
}

// describe puts an event into words.
func describe(e *session.Event) string {
	in := map[session.In]string{
		session.SubscribedContacts: " in subscribedContacts", session.MyContacts: " in myContacts",
		session.InGroup: " in " + e.GroupRel + " " + e.Group, session.MyGroups: " in myGroups",
	}[e.In]
	kind := map[session.Kind]string{
		session.ContactPresence: "contactPresence", session.ContactNote: "contactNote", session.ContactLocation: "contactLocation",
		session.ContactSupportedModalities: "contactSupportedModalities", session.PresenceSubscription: "presenceSubscription",
		session.Contact: "contact", session.Group: e.GroupRel, session.ContactsAndGroupsSubscription: "myContactsAndGroupsSubscription",
		session.CommunicationResource: "communication", session.Me: "me", session.OwnPresence: "presence", session.OwnNote: "note", session.OwnLocation: "location",
	}[e.Kind]
	key := " " + strings.TrimSuffix(e.Key, "@contoso.com")
	if e.Kind == session.PresenceSubscription && e.Group == "" || e.Key == "" {
		key = "" // an id drawn at random
	}
	return kind + " " + e.Type.String() + key + in
}

func requireReason(t *testing.T, want gateway.Reason, err error) *gateway.Error {
	t.Helper()
	var e *gateway.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Reason, "%v", err)
	require.NotEmpty(t, e.Message)
	require.NotContains(t, e.Message, "secret detail")
	return e
}

// logged collects what is logged at warning and above.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
