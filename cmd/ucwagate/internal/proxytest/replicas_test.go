package proxytest

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnApplicationStaysWhereItWasCreated puts two gateways that share no
// state behind the proxy. Clients find their application with every request,
// also with a renewed token and with the cookie for photos alone. When a replica
// goes away its clients hear that their application is not found, and create
// another one; nobody sees a failure of another kind.
func TestAnApplicationStaysWhereItWasCreated(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 2)
		p := k.start(t, w.replicas)
		var clients []*client
		at := [2]int{}
		for i := 0; at[0] < 3 || at[1] < 3; i++ {
			require.Less(t, i, 100, "all clients come to one replica: %v", at)
			// Clients of nginx differ by their address.
			c := newClient(t, p.browser(t, i%2 == 0, fmt.Sprintf("127.0.1.%d", 1+i)))
			c.enter(w)
			clients = append(clients, c)
			at[w.home(t, c)]++
		}
		for _, c := range clients {
			home := w.home(t, c)
			self := c.app.href(t, "self")
			for _, path := range []string{self, c.app.href(t, "people/self"), strings.ToUpper(self), "/" + self, strings.Replace(self, "/oauth", "", 1)} {
				require.Equal(t, http.StatusOK, c.do(http.MethodGet, path, "").status, path)
			}
			old := c.token
			c.signIn("http://"+discover+"/", w.Username, w.Password)
			require.NotEqual(t, old, c.token)
			require.Equal(t, http.StatusOK, c.do(http.MethodGet, self, "").status, "with another token")
			c.photo(t, w)
			require.Equal(t, home, w.home(t, c))
		}

		gone := w.home(t, clients[0])
		require.NoError(t, w.replicas[gone].server.Close())
		for _, c := range clients {
			there := w.home(t, c)
			a := c.do(http.MethodGet, c.app.href(t, "people/self"), "")
			if there != gone {
				require.Equal(t, http.StatusOK, a.status, "%s", a.body)
				continue
			}
			require.Equal(t, http.StatusNotFound, a.status, "%s", a.body)
			require.Equal(t, "ApplicationNotFound", parse(t, a.body)["subcode"])
			c.create()
			require.Equal(t, 1-gone, w.home(t, c))
			require.Equal(t, http.StatusOK, c.do(http.MethodGet, c.app.href(t, "people/self"), "").status)
		}
	})
}

// home returns which gateway has a client's application: the only one that a
// request for it reaches.
func (w *world) home(t *testing.T, c *client) int {
	t.Helper()
	id := c.app["id"]
	require.NotEmpty(t, id)
	for i, r := range w.replicas {
		r.mu.Lock()
		created := r.created[fmt.Sprint(id)]
		r.mu.Unlock()
		if created {
			return i
		}
	}
	require.FailNow(t, "no replica has created the application")
	return 0
}

// TestWhatWasSentIsNotSentTwice has a gateway end connections without an answer.
// A GET is asked of the other one; a POST, which may have had its effect, is not.
// (nginx repeats PUT and DELETE, which have the same effect twice.)
func TestWhatWasSentIsNotSentTwice(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		methods := []string{http.MethodGet, http.MethodPost}
		if k.name == haproxy.name {
			methods = append(methods, http.MethodPut, http.MethodDelete)
		}
		for _, method := range methods {
			t.Run(method, func(t *testing.T) { notTwice(t, k, method) })
			t.Run(method+" to replicas that share their state", func(t *testing.T) { notTwice(t, k, method, k.shared...) })
		}
	})
}

func notTwice(t *testing.T, k kind, method string, more ...change) {
	t.Helper()
	w := gateways(t, k, 2)
	p := k.start(t, w.replicas, more...)
	var cut atomic.Bool
	for _, r := range w.replicas {
		r.intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if strings.HasSuffix(req.URL.Path, "/oauthtoken") && cut.CompareAndSwap(false, true) {
				panic(http.ErrAbortHandler) // ends the connection
			}
			next.ServeHTTP(w, req)
		})
	}
	c := newClient(t, p.browser(t, false, "127.0.0.1"))
	body := ""
	if method != http.MethodGet && method != http.MethodDelete {
		body = "grant_type=none"
	}
	a := c.do(method, "/WebTicket/oauthtoken", body)
	asked := len(w.replicas[0].requests("/oauthtoken")) + len(w.replicas[1].requests("/oauthtoken"))
	if method == http.MethodGet {
		require.Equal(t, 2, asked)
		require.Less(t, a.status, http.StatusInternalServerError)
		return
	}
	require.Equal(t, 1, asked)
	require.Equal(t, http.StatusServiceUnavailable, a.status, "%s", a.body)
}

// TestReplicasThatShareTheirStateAreAllAsked changes the shipped file as it says
// itself. One client then comes to both replicas, and to the other one at once
// when a replica is gone, whatever it sends.
func TestReplicasThatShareTheirStateAreAllAsked(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
		replicas := []*replica{serve(t, answer), serve(t, answer)}
		p := k.start(t, replicas, k.shared...)
		c := newClient(t, p.browser(t, false, "127.0.0.1"))
		const path = "/ucwa/oauth/v1/applications/1a2b/me"
		for i := 0; len(replicas[0].requests(path)) == 0 || len(replicas[1].requests(path)) == 0; i++ {
			require.Less(t, i, 100, "one client comes to one replica")
			require.Equal(t, http.StatusOK, c.do(http.MethodGet, path, "").status)
		}
		require.NoError(t, replicas[0].server.Close())
		for range 10 {
			require.Equal(t, http.StatusOK, c.do(http.MethodGet, path, "").status)
		}
		for range 10 {
			require.Equal(t, http.StatusOK, c.do(http.MethodPost, path, "{}").status)
		}
	})
}
