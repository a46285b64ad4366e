package ucwaclient

import (
	"context"
	"net/http"
	"strconv"
	"strings"
)

// Application is a running application. Its methods other than Next may be
// called concurrently.
type Application struct {
	client *Client
	self   string
	people *resource
	events string // where the next P-GET goes
}

// CreateApplication starts an application.
func (c *Client) CreateApplication(ctx context.Context, userAgent, endpointID, culture string) (*Application, error) {
	r, err := c.call(ctx, http.MethodPost, c.apps, map[string]string{"userAgent": userAgent, "endpointId": endpointID, "culture": culture})
	if err != nil {
		return nil, err
	}
	return &Application{client: c, self: r.href("self"), people: r.embedded("people"), events: r.href("events")}, nil
}

// Delete ends the application.
func (a *Application) Delete(ctx context.Context) error {
	_, err := a.client.call(ctx, http.MethodDelete, a.self, nil)
	return err
}

// Subscription is a presence subscription.
type Subscription struct {
	app  *Application
	self string
	add  string
	ID   string
}

// Subscribe subscribes to the presence of some people for some minutes.
func (a *Application) Subscribe(ctx context.Context, addresses []string, minutes int) (*Subscription, error) {
	uris := make([]string, len(addresses))
	for i, address := range addresses {
		uris[i] = "sip:" + strings.TrimPrefix(address, "sip:")
	}
	r, err := a.client.call(ctx, http.MethodPost, a.people.href("presenceSubscriptions"), map[string]any{"duration": minutes, "uris": uris})
	if err != nil {
		return nil, err
	}
	return &Subscription{app: a, self: r.href("self"), add: r.href("addToPresenceSubscription"), ID: r.ID}, nil
}

// Extend prolongs the subscription.
func (s *Subscription) Extend(ctx context.Context, minutes int) error {
	_, err := s.app.client.call(ctx, http.MethodPost, s.self+"?duration="+strconv.Itoa(minutes), nil)
	return err
}

// Add adds people.
func (s *Subscription) Add(ctx context.Context, addresses ...string) error {
	_, err := s.app.client.call(ctx, http.MethodPost, s.add, map[string]any{"contactUris": addresses})
	return err
}

// Delete ends the subscription.
func (s *Subscription) Delete(ctx context.Context) error {
	_, err := s.app.client.call(ctx, http.MethodDelete, s.self, nil)
	return err
}

// Event is one event of the channel.
type Event struct {
	Link, In struct{ Rel, Href string }
	Type     string
}

// Address returns the address of the contact that an event is about, or an
// empty text.
func (e *Event) Address() string {
	for _, href := range []string{e.In.Href, e.Link.Href} {
		for part := range strings.SplitSeq(href, "/") {
			if strings.Contains(part, "@") {
				return part
			}
		}
	}
	return ""
}

// Package is one answer of the event channel.
type Package struct {
	Events []Event
	// Resumed says that the server has reset subscriptions and timers,
	// Resynced that events were lost: either way the client begins anew with
	// what it has subscribed to.
	Resumed, Resynced bool
}

// Next holds a P-GET until there is a package and moves on to the next one. If
// it fails, calling it again asks for the same package.
func (a *Application) Next(ctx context.Context) (*Package, error) {
	r, err := a.client.get(ctx, a.events)
	if err != nil {
		return nil, err
	}
	p := &Package{}
	for _, s := range r.Sender {
		p.Events = append(p.Events, s.Events...)
	}
	switch {
	case r.href("resync") != "":
		p.Resynced, a.events = true, r.href("resync")
	case r.href("resume") != "":
		p.Resumed, a.events = true, r.href("resume")
	default:
		a.events = r.href("next")
	}
	return p, nil
}

// Presence is a contact's presence.
type Presence struct{ Availability, Activity string }

// Presence reads the presence at the link of a contactPresence event.
func (a *Application) Presence(ctx context.Context, href string) (Presence, error) {
	r, err := a.client.get(ctx, href)
	if err != nil {
		return Presence{}, err
	}
	return Presence{r.Availability, r.Activity}, nil
}
