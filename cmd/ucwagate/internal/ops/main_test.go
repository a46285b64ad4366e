package ops

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ucwagate/graphsrc/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTenant tells what it is set to.
type fakeTenant struct {
	mu       sync.Mutex
	budget   Budget
	presence Presence
	asked    int // for its presence
}

func (f *fakeTenant) Budget() Budget {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.budget
}

func (f *fakeTenant) Presence() Presence {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.presence
}

func (f *fakeTenant) use(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budget.Used = n
}

type gatewayFunc func(context.Context) (GatewayStatus, error)

func (f gatewayFunc) Status(ctx context.Context) (GatewayStatus, error) { return f(ctx) }

func contoso() *fakeTenant {
	return &fakeTenant{
		budget: Budget{Used: 412, Limit: 1350, Rate: 45, PlanRate: 45, Throttled: 2, Waiting: 3},
		presence: Presence{
			Interval: 34 * time.Second, Sweep: 33 * time.Second, Sweeps: 120, Oldest: 58 * time.Second, Mean: 14200 * time.Millisecond, Bound: 66 * time.Second,
			Tiers: []Tier{
				{"hot", 1240, 20 * time.Second},
				{"normal", 8310, 34 * time.Second},
				{"quiet", 12045, 62 * time.Second},
				{"pushed", 1300, 5 * time.Minute},
			},
			Accounts: []State{{"live", 2}, {"suspect", 1}}, Covered: 1287,
		},
	}
}

func newServer(t testing.TB, change func(*Options)) *Server {
	t.Helper()
	o := Options{
		Tenants: []NamedTenant{{"contoso", contoso()}}, Version: "1.2.3",
		Gateway: gatewayFunc(func(context.Context) (GatewayStatus, error) { return GatewayStatus{4210, 9866, 4102}, nil }),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "metrics\n") }),
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func do(s http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// handClock goes on by hand, for a test with a browser, whose time is the real
// one.
type handClock struct {
	mu      sync.Mutex
	now     time.Time
	pending map[*handTimer]struct{}
	armed   chan struct{} // a value for each AfterFunc
}

type handTimer struct {
	clock *handClock
	at    time.Time
	f     func()
}

var _ clock.Clock = (*handClock)(nil)

func newHandClock(now time.Time) *handClock {
	return &handClock{now: now, pending: map[*handTimer]struct{}{}, armed: make(chan struct{}, 1)}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc has one caller, who waits for each timer before the next.
func (c *handClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &handTimer{c, c.now.Add(d), f}
	c.pending[t] = struct{}{}
	c.armed <- struct{}{}
	return t
}

func (t *handTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, was := t.clock.pending[t]
	delete(t.clock.pending, t)
	return was
}

// advance calls what is due, before it returns.
func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []func()
	for t := range c.pending {
		if !t.at.After(c.now) {
			due = append(due, t.f)
			delete(c.pending, t)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}
