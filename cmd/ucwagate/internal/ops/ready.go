package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

// Component is something without which the gateway is not ready.
type Component struct {
	// Name is shown, for example "sign-in keys".
	Name string
	// Check returns nil, or why the component does not work, in words that may
	// be shown: no secret, no person. It should return when ctx ends; until it
	// does it is not called again. It is not called concurrently.
	Check func(ctx context.Context) error
}

const defaultCheckTimeout = 2 * time.Second

var (
	errCheckTime = errors.New("no answer in time")
	errCheckBusy = errors.New("an earlier check has not answered yet")
)

// readiness asks the components.
type readiness struct {
	checks  []*check
	timeout time.Duration
	clk     clock.Clock
}

// check is a component and the run of its check that is under way.
type check struct {
	Component
	busy chan struct{} // holds a value while the check runs
}

func newReadiness(components []Component, timeout time.Duration, clk clock.Clock) (*readiness, error) {
	r := &readiness{timeout: timeout, clk: clk}
	if r.timeout <= 0 {
		r.timeout = defaultCheckTimeout
	}
	seen := map[string]bool{}
	for _, c := range components {
		if c.Name == "" || c.Check == nil || seen[c.Name] {
			return nil, fmt.Errorf("component %q: %w", c.Name, errNoCheck)
		}
		seen[c.Name] = true
		r.checks = append(r.checks, &check{Component: c, busy: make(chan struct{}, 1)})
	}
	return r, nil
}

// answer is what a component says.
type answer struct {
	Name  string  `json:"name"`
	Ready bool    `json:"ready"`
	Why   string  `json:"why,omitempty"`
	Took  float64 `json:"seconds"`
}

// ask asks all components at once and returns what they say, in their order.
func (r *readiness) ask(ctx context.Context) []answer {
	answers := make([]answer, len(r.checks))
	var asked sync.WaitGroup
	for i, c := range r.checks {
		asked.Go(func() {
			began := r.clk.Now()
			err := r.run(ctx, c)
			answers[i] = answer{Name: c.Name, Ready: err == nil, Took: r.clk.Now().Sub(began).Seconds()}
			if err != nil {
				answers[i].Why = oneLine(err.Error())
			}
		})
	}
	asked.Wait()
	return answers
}

// run waits for a check no longer than the time-out, even if the check does.
// Those who come while one is under way wait for their turn for as long.
func (r *readiness) run(ctx context.Context, c *check) error {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := r.clk.AfterFunc(r.timeout, func() { cancel(errCheckTime) })
	end := func() { timer.Stop(); cancel(nil) }
	select {
	case c.busy <- struct{}{}:
	case <-ctx.Done():
		defer end()
		if err := context.Cause(ctx); !errors.Is(err, errCheckTime) {
			return err
		}
		return errCheckBusy
	}
	result := make(chan error, 1)
	go func() {
		// Another may ask before the result is there: who has seen it asks
		// again at once and must not be turned away.
		defer end()
		err := c.safely(ctx)
		<-c.busy
		result <- err
	}()
	select {
	case err := <-result:
		return inTime(ctx, err)
	case <-ctx.Done():
	}
	select {
	case err := <-result: // both at once
		return inTime(ctx, err)
	default:
		return context.Cause(ctx)
	}
}

// inTime says of a check that failed at the end of its time that this is why.
func inTime(ctx context.Context, err error) error {
	switch {
	case err == nil || !errors.Is(context.Cause(ctx), errCheckTime):
		return err
	case errors.Is(err, context.Canceled):
		return errCheckTime
	}
	return fmt.Errorf("%w: %w", errCheckTime, err)
}

// safely keeps a check that panics from ending the process.
func (c *check) safely(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked: %v", p)
		}
	}()
	return c.Check(ctx)
}

// oneLine keeps a text from looking like more components.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// readyAnswer is /readyz as JSON.
type readyAnswer struct {
	Ready      bool     `json:"ready"`
	State      string   `json:"state"`
	Components []answer `json:"components"`
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	a := readyAnswer{State: s.state(), Components: []answer{}}
	if a.State == stateServing {
		a.Ready, a.Components = true, s.ready.ask(r.Context())
		for _, c := range a.Components {
			a.Ready = a.Ready && c.Ready
		}
	}
	status := http.StatusOK
	if !a.Ready {
		status = http.StatusServiceUnavailable
	}
	if wantsJSON(r.Header.Values("Accept")) {
		writeJSON(w, status, a)
		return
	}
	plain(w, status, a.text())
}

func (a readyAnswer) text() string {
	var b strings.Builder
	switch {
	case a.Ready:
		b.WriteString("ready\n")
	case a.State != stateServing:
		b.WriteString(a.State + "\n")
	default:
		b.WriteString("not ready\n")
	}
	for _, c := range a.Components {
		if c.Ready {
			fmt.Fprintf(&b, "[+] %s\n", c.Name)
		} else {
			fmt.Fprintf(&b, "[-] %s: %s\n", c.Name, c.Why)
		}
	}
	return b.String()
}

// What the gateway is doing.
const (
	stateStarting = "starting"
	stateServing  = "serving"
	stateDraining = "draining"
)

func (s *Server) state() string {
	switch {
	case s.draining.Load():
		return stateDraining
	case s.started.Load():
		return stateServing
	}
	return stateStarting
}

// wantsJSON reports whether a client names JSON among what it accepts. */* and
// what browsers send do not.
func wantsJSON(accept []string) bool {
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		mediaType, parameters, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(mediaType), "application/json") {
			q := strings.ReplaceAll(strings.ToLower(parameters), " ", "")
			return q != "q=0" && q != "q=0.0"
		}
	}
	return false
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil { // a number that JSON does not have
		plain(w, http.StatusInternalServerError, "the answer cannot be written\n")
		return
	}
	send(w, status, "application/json; charset=utf-8", append(text, '\n'))
}
