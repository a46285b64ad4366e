package scale

import (
	"context"
	"net/http"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

// Client reads presence from a Service as package msgraph does from Graph: one
// physical send for each call, through the budget's Transport, which spends the
// permit of the context or acquires one.
type Client struct {
	graphsrc.Graph // nil: the model has presence and nothing else

	tenant *Tenant
	door   http.RoundTripper
}

// NewClient connects to a service through a budget.
func NewClient(s *Service, b *budget.Budget) *Client {
	return &Client{tenant: s.tenant, door: b.Transport(&line{service: s})}
}

// Presence implements graphsrc.PresenceReader.
func (c *Client) Presence(ctx context.Context, id string) (graphsrc.Presence, error) {
	got, err := c.ask(ctx, "get presence", http.MethodGet, "/users/"+id+"/presence", []string{id})
	if err != nil {
		return graphsrc.Presence{}, err
	}
	return got[0], nil
}

// Presences implements graphsrc.PresenceReader.
func (c *Client) Presences(ctx context.Context, ids []string) ([]graphsrc.Presence, error) {
	return c.ask(ctx, "get presences by user id", http.MethodPost, "/communications/getPresencesByUserId", ids)
}

// Permissions implements graphsrc.Publisher.
func (c *Client) Permissions(context.Context) ([]string, error) {
	return []string{"Presence.Read.All"}, nil
}

func (c *Client) ask(ctx context.Context, op, method, path string, ids []string) ([]graphsrc.Presence, error) {
	q := &question{ids: ids, done: make(chan struct{})}
	req, err := http.NewRequestWithContext(context.WithValue(ctx, questionKey{}, q), method, "https://graph.invalid/v1.0"+path, http.NoBody)
	if err != nil {
		return nil, graphsrc.TransportError(op, err)
	}
	resp, err := c.door.RoundTrip(req)
	switch {
	case err != nil:
		return nil, graphsrc.TransportError(op, err)
	case resp.StatusCode != http.StatusOK:
		return nil, graphsrc.ResponseError(op, resp, []byte(q.body))
	case q.malformed:
		return nil, &graphsrc.Error{Op: op, Kind: graphsrc.KindMalformed, Status: resp.StatusCode, Message: "the answer is not JSON"}
	}
	c.tenant.delivered(ids, q.said)
	return q.answer, nil
}

// Process is one life of a gateway: a budget and a source on top of it.
type Process struct {
	Budget *budget.Budget
	Source *graphsrc.Source
}

// StartProcess starts a gateway that speaks to a service. Options' Graph and
// Budget are set here; a clock given in them is also the budget's.
func StartProcess(ctx context.Context, s *Service, o graphsrc.Options) (*Process, error) {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	b, err := budget.New(budget.Options{Clock: o.Clock})
	if err != nil {
		return nil, err
	}
	o.Graph, o.Budget = NewClient(s, b), b
	source, err := graphsrc.New(o)
	if err != nil {
		b.Close()
		return nil, err
	}
	source.Start(ctx)
	return &Process{Budget: b, Source: source}, nil
}

// Close ends the process. Its requests on their way arrive all the same.
func (p *Process) Close() {
	p.Source.Close()
	p.Budget.Close()
}
