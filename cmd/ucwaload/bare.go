package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// bareCommand is the baseline: a server that does nothing but park.
type bareCommand struct{}

const (
	// collectEvery is how often the bare server collects garbage: parked
	// goroutines keep their grown stacks until then, and nothing else would
	// cause a collection.
	collectEvery = 3 * time.Second
	// largestAnswer bounds the body of a bare answer, in bytes.
	largestAnswer = 1 << 20
)

// Run serves until a signal. Its first line of output is its URL.
func (bareCommand) Run(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("opening the listener: %w", err)
	}
	s := &http.Server{Handler: newBareHandler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 3 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	fmt.Printf("http://%s\n", l.Addr())
	collect := time.NewTicker(collectEvery)
	defer collect.Stop()
	for {
		select {
		case <-collect.C:
			runtime.GC()
		case err := <-failed:
			return fmt.Errorf("serving: %w", err)
		case <-ctx.Done():
			return s.Close()
		}
	}
}

// bareHandler parks GET /park?id=… until POST /wake?from=…&n=…&bytes=… or
// until the client leaves.
type bareHandler struct {
	mu     sync.Mutex
	parked map[int]chan struct{}
	bytes  atomic.Int64
	body   []byte
}

func newBareHandler() *bareHandler {
	return &bareHandler{parked: make(map[int]chan struct{}), body: bytes.Repeat([]byte{' '}, largestAnswer)}
}

// ServeHTTP implements http.Handler.
func (h *bareHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/park":
		h.park(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/wake":
		h.wake(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (h *bareHandler) park(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.URL.Query().Get("id"))
	if err != nil {
		http.Error(w, "id must be a number", http.StatusBadRequest)
		return
	}
	woken := make(chan struct{})
	h.mu.Lock()
	h.parked[id] = woken
	h.mu.Unlock()
	select {
	case <-woken:
	case <-r.Context().Done():
		return
	}
	n := h.bytes.Load()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	_, _ = w.Write(h.body[:n]) // a client that is gone is not told
}

func (h *bareHandler) wake(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, err1 := strconv.Atoi(q.Get("from"))
	n, err2 := strconv.Atoi(q.Get("n"))
	size, err3 := strconv.Atoi(q.Get("bytes"))
	if err1 != nil || err2 != nil || err3 != nil || size < 0 || size > largestAnswer {
		http.Error(w, "from, n and bytes must be numbers", http.StatusBadRequest)
		return
	}
	h.bytes.Store(int64(size))
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := from; id < from+n; id++ {
		if woken, ok := h.parked[id]; ok {
			close(woken)
			delete(h.parked, id)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}
