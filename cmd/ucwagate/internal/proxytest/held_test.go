package proxytest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAHeldRequestOutlivesTheOtherTimeOuts runs the shipped file with every
// other time-out of one second. A request for presence that the gateway does
// not answer ends then; a request for events that was there before it is still
// held, and gets its answer when presence changes, as the gateway writes it.
func TestAHeldRequestOutlivesTheOtherTimeOuts(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		for _, http2 := range []bool{false, true} {
			t.Run(map[bool]string{false: "HTTP 1", true: "HTTP 2"}[http2], func(t *testing.T) {
				t.Parallel()
				w := gateways(t, k, 1)
				gate := w.replicas[0]
				p := k.start(t, w.replicas, k.short...)
				c := newClient(t, p.browser(t, http2, "127.0.0.1"))
				c.enter(w)
				people, address := c.app.href(t, "people/self"), strings.TrimPrefix(w.Contacts[0].URI, "sip:")
				a := c.do(http.MethodPost, people+"/presenceSubscriptions", `{"duration":10,"uris":["`+address+`"]}`)
				require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
				// The first events wait in the gateway for the five seconds that the
				// protocol gives them.
				first := c.get(c.app.href(t, "events"))
				require.Contains(t, updated(t, first), people+"/"+address+"/presence")

				stalled, halves := gate.stallAndHalve(t)
				held := make(chan *http.Response)
				go c.open(first.href(t, "next"), held)
				require.Equal(t, "events", <-stalled)
				before := len(gate.requests("/presence"))
				slow := make(chan answer)
				go func() {
					a, _ := c.try(http.MethodGet, people+"/"+address+"/presence", "")
					slow <- a
				}()
				require.Equal(t, "presence", <-stalled)
				over := <-slow
				require.Equal(t, http.StatusServiceUnavailable, over.status, "502 and 504 mean something else to clients: %s", over.body)
				require.Equal(t, "ServiceUnavailable", parse(t, over.body)["code"])
				require.Len(t, gate.requests("/presence"), before+1, "it is not asked of another replica")

				gate.release()
				res, err := http.Post(w.SimulatorURL+"/sim/presence", "application/json", strings.NewReader(`{"user":"`+address+`","availability":"DoNotDisturb","activity":"Presenting"}`))
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				arrived := <-held
				require.NotNil(t, arrived)
				defer arrived.Body.Close()
				require.Equal(t, http.StatusOK, arrived.StatusCode)
				// The gateway has written one byte and does not go on before it is here.
				body := make([]byte, 1)
				_, err = io.ReadFull(arrived.Body, body)
				require.NoError(t, err)
				close(halves)
				rest, err := io.ReadAll(arrived.Body)
				require.NoError(t, err)
				require.Equal(t, []string{people + "/" + address + "/presence"}, updated(t, parse(t, append(body, rest...))))
				require.Equal(t, "DoNotDisturb", c.get(people + "/" + address + "/presence")["availability"])
				require.Len(t, gate.requests("/events"), 2, "no request for events was repeated")
			})
		}
	})
}

// open sends a GET and hands over the answer as soon as its head is there; nil
// if it failed.
func (c *client) open(href string, to chan<- *http.Response) {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+href, nil)
	if err != nil {
		close(to)
		return
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := c.http.Do(req)
	if err != nil {
		close(to)
		return
	}
	to <- res
}

// updated lists the contactPresence events of a package.
func updated(t *testing.T, r resource) []string {
	t.Helper()
	raw, err := json.Marshal(r)
	require.NoError(t, err)
	var p struct {
		Sender []struct {
			Events []struct {
				Link struct{ Rel, Href string }
				Type string
			}
		}
	}
	require.NoError(t, json.Unmarshal(raw, &p))
	var list []string
	for _, s := range p.Sender {
		for _, e := range s.Events {
			if e.Link.Rel == "contactPresence" && e.Type == "updated" {
				list = append(list, e.Link.Href)
			}
		}
	}
	return list
}

// stallAndHalve has the gateway not answer requests for presence any more, and
// answer requests for events with their first byte until halves is closed.
// Each such request is told when it arrives.
func (r *replica) stallAndHalve(t *testing.T) (arrived <-chan string, halves chan struct{}) {
	here, halves := make(chan string, 8), make(chan struct{})
	r.intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		switch {
		case strings.HasSuffix(req.URL.Path, "/presence"):
			here <- "presence"
			select {
			case <-req.Context().Done():
			case <-time.After(patience):
				t.Error("the proxy does not give up")
			}
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(req.URL.Path, "/events"):
			here <- "events"
			next.ServeHTTP(&halved{w, req, halves}, req)
		default:
			next.ServeHTTP(w, req)
		}
	})
	return here, halves
}

// release has the gateway answer requests for presence again.
func (r *replica) release() {
	r.intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) { next.ServeHTTP(w, req) })
}

// halved sends the first byte of a body and waits before it sends the others.
type halved struct {
	http.ResponseWriter
	req  *http.Request
	rest <-chan struct{}
}

// Unwrap lets the server's deadlines be set.
func (h *halved) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *halved) Write(b []byte) (int, error) {
	if len(b) < 2 {
		return h.ResponseWriter.Write(b)
	}
	if n, err := h.ResponseWriter.Write(b[:1]); err != nil {
		return n, err
	}
	if err := http.NewResponseController(h.ResponseWriter).Flush(); err != nil {
		return 1, err
	}
	select {
	case <-h.rest:
	case <-h.req.Context().Done():
		return 1, h.req.Context().Err()
	case <-time.After(patience):
		return 1, errors.New("the first byte is not passed on")
	}
	n, err := h.ResponseWriter.Write(b[1:])
	return n + 1, err
}
