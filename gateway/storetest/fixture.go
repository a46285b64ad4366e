package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

// patience is how long an engine may take to pass something on; real time,
// spent only by one that fails, or that has to ask another process.
const patience = 10 * time.Second

// fixture is an open store and what its hook said.
type fixture struct {
	gateway.Store
	clk *Clock
	// early says that the engine may have a P-GET look again before anything is due.
	early bool

	mu        sync.Mutex
	available map[string]bool
	watched   map[string]bool
	said      map[string]int
	wrong     []string
}

func newFixture(s gateway.Store, clk *Clock) *fixture {
	f := &fixture{Store: s, clk: clk, watched: map[string]bool{}, available: map[string]bool{}, said: map[string]int{}}
	s.Open(gateway.Hooks{Interest: f.interest, Available: f.isAvailable})
	return f
}

func (f *fixture) isAvailable(owner string, available bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.available[owner] == available {
		f.wrong = append(f.wrong, fmt.Sprintf("%s: told to be available (%t) twice", owner, available))
	}
	f.available[owner] = available
}

// requireAvailable waits until the hook has said so.
func (f *fixture) requireAvailable(t *testing.T, owner string, available bool) {
	t.Helper()
	eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.available[owner] == available
	})
}

// makeAvailable makes the owner of an application available.
func (f *fixture) makeAvailable(t *testing.T, id, owner string) {
	t.Helper()
	require.NoError(t, f.Update(t.Context(), id, func(s *session.Session) error {
		return s.MakeAvailable(session.Availability{Owner: owner, Publishes: true}, f.clk.Now())
	}))
}

func (f *fixture) interest(address string, watched bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watched[address] == watched {
		f.wrong = append(f.wrong, fmt.Sprintf("%s: told %t twice", address, watched))
	}
	f.watched[address] = watched
	f.said[address]++
}

// told is how often the hook was told something about address.
func (f *fixture) told(address string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said[address]
}

// requireWatched waits until the hook has said so.
func (f *fixture) requireWatched(t *testing.T, address string, watched bool) {
	t.Helper()
	eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.watched[address] == watched
	})
}

func (f *fixture) create(t *testing.T, id string) {
	t.Helper()
	mustCreate(t, f.Store, app(id, "owner"+id+"@contoso.com", "e"), 10)
}

func (f *fixture) subscribe(t *testing.T, id, sub string, addresses ...string) {
	t.Helper()
	require.NoError(t, f.Update(t.Context(), id, func(s *session.Session) error {
		_, err := s.Subscribe(sub, addresses, 30*time.Minute, f.clk.Now())
		return err
	}))
}

// look asks what becomes of the P-GET of the channel.
func (f *fixture) look(t *testing.T, id, instance string, ticket uint64) (v session.Verdict) {
	t.Helper()
	require.NoError(t, f.Update(t.Context(), id, func(s *session.Session) error {
		v = s.Look(instance, ticket, f.clk.Now())
		return nil
	}))
	return v
}

// park sends a P-GET that has to wait, after it has taken what is queued.
func (f *fixture) park(t *testing.T, id, instance string) (p gateway.Parked, v session.Verdict) {
	t.Helper()
	p = f.Park(id, instance)
	t.Cleanup(p.Close)
	require.NoError(t, f.Update(t.Context(), id, func(s *session.Session) error {
		now := f.clk.Now()
		for {
			var err error
			v, err = s.Arrive(instance, session.Poll{Ack: s.Position(instance)}, now)
			if err != nil {
				return err
			}
			if v.Package == nil {
				break
			}
			if v, err = s.Arrive(instance, session.Poll{Ack: v.Package.NextAck}, now); err != nil || v.Package == nil {
				return err
			}
		}
		if v.Until.After(now.Add(time.Minute)) {
			return nil
		}
		pack := s.Release(instance, v.Ticket, now).Package
		var err error
		v, err = s.Arrive(instance, session.Poll{Ack: pack.NextAck}, now)
		return err
	}))
	require.NotZero(t, v.Ticket)
	p.Until(v.Until)
	return p, v
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-deadline:
			require.FailNow(t, "it did not come about")
		case <-time.After(time.Millisecond):
		}
	}
}

func requireWoken(t *testing.T, p gateway.Parked) {
	t.Helper()
	select {
	case <-p.Wake():
	case <-time.After(patience):
		require.FailNow(t, "the P-GET was not woken")
	}
}

// requireAsleep fails if the P-GET was woken by an engine that knows better. An
// early wake is taken away, so that it does not pass for one that is due.
func (f *fixture) requireAsleep(t *testing.T, p gateway.Parked) {
	t.Helper()
	select {
	case <-p.Wake():
		require.True(t, f.early, "the P-GET was woken")
	default:
	}
}

func requireEndedError(t *testing.T, err error, why gateway.Ended, owner string) {
	t.Helper()
	var ended *gateway.EndedError
	require.ErrorAs(t, err, &ended)
	require.Equal(t, gateway.EndedError{Why: why, Owner: owner}, *ended)
}

func presence(address string) *session.Event {
	return &session.Event{Kind: session.ContactPresence, Type: session.Updated, Class: session.Medium, Key: address}
}
