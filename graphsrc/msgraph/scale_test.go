package msgraph

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/graphsim"
	"ucwagate/graphsrc/syncfile"
	"ucwagate/graphsrc/units"
)

// limited is a client of a simulated tenant with units outside of the meter,
// as the gateway has them outside of its budget.
func limited(t testing.TB, cfg graphsim.Config, o units.Options) (*Client, *graphsim.Tenant, *units.Units, *meter) {
	cfg.Still = true
	tenant, err := graphsim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(tenant.Close)
	server, err := tenant.Serve(graphsim.ServeOptions{})
	require.NoError(t, err)
	tenantID, clientID, secret := tenant.Credentials()
	u, m := units.New(o), &meter{}
	t.Cleanup(u.Close)
	c, err := New(Config{
		TenantID: tenantID, ClientID: clientID, Cloud: CloudCustom,
		GraphURL: server.TLSURL, Authority: server.TLSURL, RootCAs: server.CertPool,
		Credential: Credential{Kind: CredentialSecret, Secret: secret},
	}, func(next http.RoundTripper) http.RoundTripper { return u.Transport(m.wrap(next)) }, nil)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, tenant, u, m
}

// Every request of this package is charged here at least what Graph charges.
func TestTheUnitsOfEveryRequestAreKnown(t *testing.T) {
	c, tenant, u, m := limited(t, graphsim.Config{Users: 300}, units.Options{})
	var mu sync.Mutex
	priorities := map[string]bool{}
	m.look = func(r *http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		priorities[r.Header.Get("x-ms-throttle-priority")] = true
		return nil
	}
	ctx := budget.WithLane(t.Context(), budget.Interactive)
	who := tenant.Organizer()
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	_, err := c.User(ctx, who.ID)
	must(err)
	_, err = c.FindUsers(ctx, "mail eq '"+who.Mail+"'", 5)
	must(err)
	_, err = c.Manager(ctx, who.ID)
	must(err)
	_, err = c.DirectReports(ctx, who.ID, 100)
	must(err)
	groups, err := c.MemberOf(ctx, who.ID, 100)
	must(err)
	require.NotEmpty(t, groups)
	_, err = c.GroupMembers(ctx, groups[0].ID, 250)
	must(err)
	_, err = c.Group(ctx, groups[0].ID)
	must(err)
	_, _, err = c.SearchUsers(ctx, `"displayName:a"`, 100)
	must(err)
	_, _, err = c.SearchGroups(ctx, `"displayName:a"`, 100)
	must(err)
	for link, pages := "", 0; ; pages++ {
		page, err := c.UsersDelta(budget.WithLane(ctx, budget.Refresh), link)
		must(err)
		if link = page.Next; link == "" {
			require.Equal(t, 1, pages)
			break
		}
	}
	directory := m.sends.Load()
	_, err = c.Presence(ctx, who.ID)
	must(err)
	_, err = c.Photo(ctx, who.ID, 48, "")
	must(err)
	_, err = c.People(ctx, who.ID, 10)
	must(err)
	_, err = c.ContactFolders(ctx, who.ID, 10)
	must(err)
	_, err = c.Contacts(ctx, who.ID, "", 10)
	must(err)

	st, sim := u.Stats(), tenant.Stats()
	require.Zero(t, st.Undercharged)
	require.EqualValues(t, directory, st.Requests, "neither presence nor mailboxes cost units")
	require.GreaterOrEqual(t, st.Spent, uint64(sim.IdentityUnits))
	require.LessOrEqual(t, st.Spent, uint64(sim.IdentityUnits)+2, "a delta link does not say what it selects")
	require.Zero(t, st.Held)
	require.Equal(t, 1, st.Mailboxes)
	require.Equal(t, map[string]bool{"high": true, "low": true, "": true}, priorities)
}

func TestTheUnitsHeedWhatGraphSaysOfItsLimit(t *testing.T) {
	var log bytes.Buffer
	// The tenant admits a hundredth of what the units reckon with.
	c, tenant, u, _ := limited(t, graphsim.Config{Users: 300, IdentityUnits: 30},
		units.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Jitter: func() float64 { return 0 }})
	ask := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		_, err := c.User(ctx, tenant.Organizer().ID)
		return err
	}
	for range 24 {
		require.NoError(t, ask(10*time.Second))
	}
	st := u.Stats()
	require.InDelta(t, 0.8, st.Share, 0.01)
	require.EqualValues(t, 1, st.Slowed)
	require.InDelta(t, st.PlanRate/10, st.Rate, 1)
	var err error
	for range 7 {
		err = ask(10 * time.Second)
	}
	e := requireKind(t, graphsrc.KindThrottled, err)
	require.Equal(t, http.StatusTooManyRequests, e.Status)
	require.Positive(t, e.RetryAfter)
	st = u.Stats()
	require.EqualValues(t, 1, st.Throttled)
	require.Positive(t, st.PausedFor)
	require.Contains(t, log.String(), "reason=ResourceUnitLimitExceeded")
	require.Contains(t, log.String(), "scope=Tenant_Application limit=ReadWrite")

	// Who cannot wait so long is told at once, and nothing is sent.
	before := tenant.Stats().Requests
	err = ask(500 * time.Millisecond)
	var spent *budget.ExhaustedError
	require.ErrorAs(t, err, &spent)
	require.Equal(t, before, tenant.Stats().Requests)
	_, err = c.Presence(t.Context(), tenant.Organizer().ID)
	require.NoError(t, err, "presence is not touched")
}

// free is a budget that lets everything pass.
type free struct{}

func (free) Acquire(context.Context, budget.Lane) (*budget.Permit, error) { return nil, nil }

// directory is a source that keeps the directory, over the real client.
func directory(t *testing.T, c *Client, state graphsrc.SyncState, owner string, log io.Writer) *graphsrc.Source {
	s, err := graphsrc.New(graphsrc.Options{
		Graph: c, Budget: free{}, DirectorySync: true, SyncInterval: 50 * time.Millisecond, SyncState: state, SyncOwner: owner,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.Start(t.Context())
	require.Eventually(t, s.Synchronized, 20*time.Second, 5*time.Millisecond)
	return s
}

// safe is a log that several goroutines write to.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestADirectoryIsKeptOverARestart(t *testing.T) {
	c, tenant, _, _ := limited(t, graphsim.Config{Users: 1_000, DeltaPage: 100}, units.Options{})
	file := syncfile.New(filepath.Join(t.TempDir(), "directory"))
	require.NoError(t, tenant.SetFaults(graphsim.Faults{Delta: graphsim.DeltaFault{EmptyPages: true, Replay: true}}))
	first := directory(t, c, file, "tenant", io.Discard)
	pages := func() int { return tenant.Stats().ByRoute["GET /users/delta"] }
	require.GreaterOrEqual(t, pages(), 20, "ten pages and an empty one before each")
	for i := range tenant.Len() {
		u := tenant.User(i)
		for _, a := range append([]string{u.UserPrincipalName, u.Mail}, u.IMAddresses...) {
			a, err := graphsrc.ParseAddress(a)
			require.NoError(t, err)
			known, ok := first.Known(a)
			require.True(t, ok, a)
			require.Equal(t, u.ID, known.ID, a)
		}
	}
	first.Close()

	// While nobody looks, somebody is renamed and somebody leaves.
	require.NoError(t, tenant.SetFaults(graphsim.Faults{}))
	require.NoError(t, tenant.Rename(tenant.User(5).ID, "Somebody Else"))
	gone := tenant.User(6)
	require.NoError(t, tenant.Remove(gone.ID))
	tenant.ResetStats()
	var log safe
	s := directory(t, c, file, "tenant", &log)
	require.LessOrEqual(t, pages(), 3, "only what has changed is read")
	u, err := s.User(t.Context(), tenant.User(5).ID)
	require.NoError(t, err)
	require.Equal(t, "Somebody Else", u.DisplayName)
	_, err = s.Lookup(t.Context(), gone.Address())
	requireKind(t, graphsrc.KindNotFound, err)
	require.Zero(t, tenant.Stats().ByRoute["GET /users"]+tenant.Stats().ByRoute["GET /users/{id}"])
	require.Contains(t, log.String(), "the directory was kept")
	s.Close()

	// What another tenant has kept is read by nobody.
	tenant.ResetStats()
	var other safe
	directory(t, c, file, "another tenant", &other).Close()
	require.GreaterOrEqual(t, pages(), 10)
	require.Equal(t, 1, strings.Count(other.String(), "cannot be used"))
}

// Whatever Graph does to a delta link, the old directory answers until there
// is a new one.
func TestALostLinkIsReadAnewBesideTheOldDirectory(t *testing.T) {
	for name, fault := range map[string]graphsim.DeltaFault{
		"410 resyncRequired with Location": {Gone: true}, "400 syncStateNotFound": {Expired: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, tenant, _, _ := limited(t, graphsim.Config{Users: 300, DeltaPage: 1_000}, units.Options{})
			var log safe
			s := directory(t, c, nil, "", &log)
			who, leaver := tenant.User(3), tenant.User(4)
			require.NoError(t, tenant.Remove(leaver.ID))
			require.NoError(t, tenant.SetFaults(graphsim.Faults{Delta: fault}))
			require.Eventually(t, func() bool {
				_, ok := s.Known(who.Address())
				require.True(t, ok)
				_, err := s.Lookup(t.Context(), leaver.Address())
				var e *graphsrc.Error
				return errors.As(err, &e) && e.Kind == graphsrc.KindNotFound && strings.Contains(log.String(), "reading it from the beginning")
			}, 20*time.Second, 5*time.Millisecond)
			require.True(t, s.Synchronized(), "a directory of one page needs no link")
		})
	}
}
