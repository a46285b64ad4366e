package graphsim

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/graphsim/people"
)

// Tenant is a simulated tenant. Its methods may be called from many
// goroutines.
type Tenant struct {
	cfg       Config
	clock     clock.Clock
	log       *slog.Logger
	dir       *people.Directory
	presences *presences
	workday   *workday
	entra     *entra
	faults    *faultDial
	stats     *recorder
	limits    *limiter
	identity  *identityGates
	sender    *sender
	graph     *router
	zip       zippers

	mu      sync.Mutex
	servers []*Server
	closed  bool
}

// New makes a tenant. It opens no socket and starts no goroutine.
func New(cfg Config) (*Tenant, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	dir, err := people.New(cfg.Domain, cfg.Users, cfg.Seed)
	if err != nil {
		return nil, fmt.Errorf("inventing the people of a simulated tenant: %w", err)
	}
	t := &Tenant{
		cfg: cfg, clock: cfg.Clock, log: cfg.Logger, dir: dir,
		entra:  newEntra(cfg, dir),
		faults: newFaultDial(cfg.Seed),
		stats:  newRecorder(cfg.LogSize),
		limits: newLimiter(cfg.Limit), identity: newIdentityGates(cfg),
	}
	t.presences = newPresences(dir, cfg.Seed, cfg.Clock)
	t.workday = newWorkday(t.presences, dir, cfg)
	t.sender = newSender(t)
	t.graph = newRouter(t.routes())
	t.faults.routes = t.graph.names()
	return t, nil
}

// Handler serves Graph under /v1.0/, the control endpoints under /sim/ and
// Entra ID under everything else.
func (t *Tenant) Handler() http.Handler {
	control := t.controlHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
		switch strings.ToLower(first) {
		case "v1.0", "beta":
			t.serveGraph(w, r)
		case "sim":
			control.ServeHTTP(w, r)
		default:
			t.serveEntra(w, r)
		}
	})
}

// Start runs the workday until ctx ends or Close is called. A still tenant
// has nothing to run.
func (t *Tenant) Start(ctx context.Context) {
	if t.cfg.Still {
		return
	}
	t.workday.start(ctx)
}

// Step moves the workday on by one second, as Start does every second. The
// same number of steps from the same seed leads to the same presences.
func (t *Tenant) Step() { t.workday.step() }

// Close ends the workday and the notifications and closes all servers.
func (t *Tenant) Close() {
	t.workday.stop()
	t.sender.stop()
	t.mu.Lock()
	t.closed = true
	servers := t.servers
	t.servers = nil
	t.mu.Unlock()
	for _, s := range servers {
		s.Close()
	}
}

// Credentials are those of the app registered at New.
func (t *Tenant) Credentials() (tenantID, clientID, secret string) {
	return t.cfg.TenantID, t.cfg.ClientID, t.cfg.ClientSecret
}

// Domain is the default domain, lower case.
func (t *Tenant) Domain() string { return t.cfg.Domain }

// Len is the number of users the tenant was made with.
func (t *Tenant) Len() int { return t.dir.Len() }

// User is the user of an index in [0, Len).
func (t *Tenant) User(i int) User { return t.dir.User(i) }

// Find finds a user by object id, principal name or any address, with or
// without "sip:" or "smtp:", in any case.
func (t *Tenant) Find(addressOrID string) (User, bool) {
	index, ok := t.dir.Find(addressOrID)
	if !ok {
		return User{}, false
	}
	return t.dir.User(index), true
}

// Organizer is the user for demonstrations: one with a manager, peers, direct
// reports, groups, contact folders, people and a photo.
func (t *Tenant) Organizer() User { return t.dir.User(t.dir.Organizer()) }

// Manager is a user's manager, if there is one.
func (t *Tenant) Manager(of User) (User, bool) {
	index, ok := t.dir.Manager(of.Index)
	if !ok {
		return User{}, false
	}
	return t.dir.User(index), true
}

// Reports are a user's direct reports.
func (t *Tenant) Reports(of User) []User {
	var reports []User
	for _, index := range t.dir.Reports(of.Index) {
		reports = append(reports, t.dir.User(index))
	}
	return reports
}

// Rename gives a user another display name, which the next delta round tells.
// The error is people.ErrNoUser for unknown users.
func (t *Tenant) Rename(addressOrID, displayName string) error {
	index, ok := t.dir.Find(addressOrID)
	if !ok {
		return people.ErrNoUser
	}
	return t.dir.Rename(index, displayName)
}

// Remove deletes a user, which the next delta round tells. The error is
// people.ErrNoUser for unknown users.
func (t *Tenant) Remove(addressOrID string) error {
	index, ok := t.dir.Find(addressOrID)
	if !ok {
		return people.ErrNoUser
	}
	return t.dir.Remove(index)
}

// Restore brings back a removed user, named by index.
func (t *Tenant) Restore(i int) error { return t.dir.Restore(i) }
