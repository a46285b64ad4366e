package replicatest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"ucwagate/graphsrc/graphsim"
	"ucwagate/graphsrc/redistest"
)

const (
	clients = 300
	people  = 3000
	watched = 100 // people of each client
	// moving is how long a move takes to the next: every 25 ms somebody, so that
	// in a minute most of the people move.
	moving = 25 * time.Millisecond
	// impatient is how long half of the clients wait for events: while people move
	// there are some every few seconds, unless the gateway has died.
	impatient = 20 * time.Second
	// batch is how many people one request to Graph carries.
	batch = 650
)

// states are what people change to: the words of Graph, and the availability
// that a UCWA client is to see.
var states = []struct{ availability, activity, seen string }{
	{"Available", "Available", "Online"},
	{"Busy", "InAMeeting", "Busy"},
	{"DoNotDisturb", "Presenting", "DoNotDisturb"},
	{"Away", "Away", "Away"},
	{"Offline", "Offline", "Offline"},
}

// town is what is true of everybody, and how often they have moved.
type town struct {
	tenant *graphsim.Tenant
	all    []string

	mu    sync.Mutex
	truth map[string]string // seen by address
	state map[string]int
	moved map[string]int
}

// inhabit sets everybody's presence.
func inhabit(t *testing.T, w *world, people int) *town {
	t.Helper()
	here := &town{tenant: w.tenant, all: users(w.tenant, people), truth: make(map[string]string), state: make(map[string]int), moved: make(map[string]int)}
	for i, address := range here.all {
		require.NoError(t, here.move(address, i%len(states)))
	}
	return here
}

// seen is how a client is to see somebody.
func (w *town) seen(address string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.truth[address]
}

// move changes somebody to another state.
func (w *town) move(address string, state int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	to := states[state]
	if err := w.tenant.SetPresence(address, to.availability, to.activity); err != nil {
		return err
	}
	w.truth[address], w.state[address] = to.seen, state
	w.moved[address]++
	return nil
}

// begin has people move, and counts anew what clients hear of it, until rest or the
// end of the test.
func (w *town) begin(t *testing.T, crowd []*client) (rest func()) {
	t.Helper()
	for _, c := range crowd {
		c.forget()
	}
	clear(w.moved)
	life, stop := context.WithCancel(t.Context())
	var living errgroup.Group
	living.Go(func() error { return w.live(life) })
	t.Cleanup(func() { stop(); _ = living.Wait() })
	return func() {
		t.Helper()
		stop()
		require.NoError(t, living.Wait())
	}
}

// live moves people until ctx ends.
func (w *town) live(ctx context.Context) error {
	for tick := time.NewTicker(moving); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return nil
		}
		address := w.all[rand.IntN(len(w.all))]
		if err := w.move(address, (w.state[address]+1+rand.IntN(len(states)-1))%len(states)); err != nil {
			return err
		}
	}
}

// TestClientsNoticeNothingOfTheReplicas lets clients watch people who move,
// through a proxy that sends each request to another of three gateways. These are
// replaced one after the other, and no request fails. Then one is killed and
// started again, one stands still for a while, one is cut off from Redis, and Redis
// is killed and started again. No client loses its application or misses a move; nor
// does the tenant notice that there are three gateways. No client hears of a move twice, unless a gateway that could
// not hear of the others showed it the past after it was told.
func TestClientsNoticeNothingOfTheReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.AOF())
	cable := server.Link(t)
	w := build(t, people, at(server.Addr()), at(server.Addr()), at(cable.Addr()))
	here := inhabit(t, w, people)
	crowd, leave := gather(t, w, here, clients, watched)
	defer leave()
	agree(t, crowd, here, "after signing in")
	w.sweeps(t)

	rest := here.begin(t, crowd)
	for i, g := range w.gateways {
		t.Logf("gateway %d is replaced", i)
		g.replace()
	}
	n, last := retried(crowd)
	require.Zero(t, n, "requests that failed in a rollout, such as: %v", last)
	w.lose(t, server, cable)
	rest()
	agree(t, crowd, here, "in the end")
	check(t, w, here, crowd)
}

// check says that nobody lost an application or heard of a move twice, unless they
// were shown the past in between, and that the tenant was not asked too much.
func check(t *testing.T, w *world, here *town, crowd []*client) {
	t.Helper()
	events, late := 0, 0
	var twice []string
	for i, c := range crowd {
		require.NoError(t, c.lost(), "client %d lost its application", i)
		require.Zero(t, c.again, "client %d was told to begin anew", i)
		for address, told := range c.told {
			events += told
			late += c.late[address]
			if told > here.moved[address]+c.late[address] {
				twice = append(twice, fmt.Sprintf("client %d has heard %d times of %s, who moved %d times", i, told, address, here.moved[address]))
			}
		}
	}
	require.Empty(t, twice[:min(len(twice), 5)], "%d of %d events came twice", len(twice), events)
	stats := w.tenant.Stats()
	require.LessOrEqual(t, stats.WorstWindow, 1500)
	require.Zero(t, stats.Throttled)
	n, last := retried(crowd)
	t.Logf("%d events, none twice, %d after which the past was shown, %d requests to Graph in the worst 30 s, %d requests of clients sent again, such as after: %v", events, late, stats.WorstWindow, n, last)
}

// retried counts the requests that failed, and returns the last error.
func retried(crowd []*client) (n int, last error) {
	for _, c := range crowd {
		c.mu.Lock()
		if n += c.retried; c.last != nil {
			last = c.last
		}
		c.mu.Unlock()
	}
	return n, last
}

// gather lets clients in, each of which watches some people; leave ends them.
func gather(t *testing.T, w *world, here *town, clients, watched int) (crowd []*client, leave func()) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * clients}
	hc := &http.Client{Transport: transport}
	crowd = make([]*client, clients)
	var arriving errgroup.Group
	arriving.SetLimit(20)
	for i := range crowd {
		arriving.Go(func() (err error) {
			var mine []string
			for k := range watched {
				mine = append(mine, here.all[(i*len(here.all)/clients+k)%len(here.all)])
			}
			crowd[i], err = open(t.Context(), hc, w, here, here.all[i], fmt.Sprint("endpoint", i), mine)
			if err == nil && i%2 == 0 {
				crowd[i].patience = impatient
			}
			return err
		})
	}
	require.NoError(t, arriving.Wait())
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	for _, c := range crowd {
		following.Go(func() { c.follow(ctx) })
	}
	return crowd, func() {
		stop()
		following.Wait()
		transport.CloseIdleConnections()
	}
}

// agree waits until every client sees everybody as they are.
func agree(t *testing.T, crowd []*client, here *town, when string) {
	t.Helper()
	began, wrong := time.Now(), ""
	eventually(t, func() bool {
		here.mu.Lock()
		defer here.mu.Unlock()
		for i, c := range crowd {
			require.NoError(t, c.lost(), "client %d lost its application", i)
			if n, example := c.differs(here.truth); n > 0 {
				wrong = fmt.Sprintf("%s client %d is wrong about %d people: %s", when, i, n, example)
				return false
			}
		}
		return true
	}, func() string { return wrong })
	t.Logf("%s every client sees everybody as they are; it took %s", when, time.Since(began).Round(time.Second/10))
}

// sweeps counts what reading everybody again and again costs.
func (w *world) sweeps(t *testing.T) {
	t.Helper()
	const rounds = 3
	read := func() (n int) { return w.tenant.Stats().ByRoute["POST /communications/getPresencesByUserId"] }
	before := read()
	pass(t, rounds*refresh)
	each := float64(read()-before) / rounds
	t.Logf("%.2f requests for each sweep over %d people", each, people)
	fewest := (people + batch - 1) / batch
	require.InDelta(t, fewest, each, 0.7, "requests for a sweep")
}

func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// at is the configuration of a way to a single Redis.
func at(address string) string { return fmt.Sprintf(`addresses: ["%s"]`, address) }

// lose is what happens meanwhile.
func (w *world) lose(t *testing.T, server *redistest.Server, cable *redistest.Link) {
	t.Helper()
	pass := func(d time.Duration) { pass(t, d) }
	pass(5 * time.Second)
	t.Log("a gateway is killed")
	w.gateways[0].kill()
	pass(5 * time.Second)
	w.gateways[0].start()
	w.gateways[0].awaitReady()
	pass(5 * time.Second)
	t.Log("another stands still for 20 s")
	w.gateways[1].signal(syscall.SIGSTOP)
	pass(20 * time.Second)
	w.gateways[1].signal(syscall.SIGCONT)
	pass(5 * time.Second)
	t.Log("the third is cut off from Redis for 15 s")
	cable.Cut()
	pass(15 * time.Second)
	cable.Mend()
	pass(5 * time.Second)
	t.Log("Redis is killed and started again")
	server.Kill()
	pass(3 * time.Second)
	server.Restart()
	pass(10 * time.Second)
}
