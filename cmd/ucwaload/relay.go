package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// relay stands between the gateway and the simulated Graph. It counts whose
// presence is read and notes when a change has been handed over.
type relay struct {
	server *http.Server
	url    string

	mu      sync.Mutex
	ids     int // people read, a person read twice counts twice
	asked   int // requests that read them
	seen    map[string]bool
	last    time.Time // when the latest request began or ended
	inside  int       // requests under way
	watched *expected
	err     error
}

// expected is a change that is waited for.
type expected struct {
	id, availability string
	delivered        chan time.Time
}

// newRelay serves on loopback until close.
func newRelay(target string) (*relay, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("reading the URL of Graph: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening the relay: %w", err)
	}
	r := &relay{url: "http://" + l.Addr().String(), last: time.Now(), seen: make(map[string]bool)}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host // links in answers lead here again
		},
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	r.server = &http.Server{Handler: r.around(proxy), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(l) }() // it ends with close
	return r, nil
}

func (r *relay) close() { _ = r.server.Close() }

// around notes what passes through proxy.
func (r *relay) around(proxy *httputil.ReverseProxy) http.Handler {
	type arrived struct {
		raw    []byte
		packed bool
	}
	type key struct{}
	proxy.ModifyResponse = func(res *http.Response) error {
		a, _ := res.Request.Context().Value(key{}).(*arrived)
		if a == nil || res.StatusCode != http.StatusOK {
			return nil
		}
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			return fmt.Errorf("reading an answer of Graph: %w", err)
		}
		_ = res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(raw))
		a.raw, a.packed = raw, res.Header.Get("Content-Encoding") == "gzip"
		return nil
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		r.fail(err)
		w.WriteHeader(http.StatusBadGateway)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.step(1)
		defer r.step(-1)
		if !strings.HasSuffix(req.URL.Path, "/getPresencesByUserId") && !strings.HasSuffix(req.URL.Path, "/presence") {
			proxy.ServeHTTP(w, req)
			return
		}
		a := &arrived{}
		proxy.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), key{}, a)))
		at := time.Now()
		if a.raw == nil {
			return // refused: nobody was read
		}
		values, err := readPresences(a.raw, a.packed)
		if err != nil {
			r.fail(err)
		}
		r.note(values, at)
	})
}

// presence is what is read of one person in an answer of Graph.
type presence struct {
	ID           string `json:"id"`
	Availability string `json:"availability"`
}

// readPresences reads an answer about one person or several.
func readPresences(raw []byte, packed bool) ([]presence, error) {
	var from io.Reader = bytes.NewReader(raw)
	if packed {
		z, err := gzip.NewReader(from)
		if err != nil {
			return nil, fmt.Errorf("unpacking presences: %w", err)
		}
		from = z
	}
	var answer struct {
		Value []presence `json:"value"`
		presence
	}
	if err := json.NewDecoder(from).Decode(&answer); err != nil {
		return nil, fmt.Errorf("reading presences: %w", err)
	}
	if answer.Value == nil {
		return []presence{answer.presence}, nil
	}
	return answer.Value, nil
}

// fail keeps the first failure.
func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// failed returns what went wrong, if anything did.
func (r *relay) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *relay) step(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside += n
	r.last = time.Now()
}

// note counts people who were read and tells when the change that is waited
// for was among them.
func (r *relay) note(values []presence, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids += len(values)
	r.asked++
	for _, p := range values {
		r.seen[p.ID] = true
	}
	if r.watched == nil {
		return
	}
	for _, p := range values {
		if p.ID == r.watched.id && p.Availability == r.watched.availability {
			r.watched.delivered <- at
			r.watched = nil
			return
		}
	}
}

// expect returns a channel that tells when a change has been handed over.
func (r *relay) expect(id, availability string) <-chan time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched = &expected{id, availability, make(chan time.Time, 1)}
	return r.watched.delivered
}

// read returns how many people were read so far, by how many requests, and how
// many different ones they were.
func (r *relay) read() (people, requests, different int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids, r.asked, len(r.seen)
}

// idle returns for how long there has been no request.
func (r *relay) idle() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inside > 0 {
		return 0
	}
	return time.Since(r.last)
}
