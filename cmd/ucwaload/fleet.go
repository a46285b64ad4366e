package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// parkRequest is the request of a client that parks, the same for the gateway
// and for the bare handler but for its path.
func parkRequest(path, host, token string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: ucwaload\r\nAccept: application/json\r\nAuthorization: %s\r\n\r\n", path, host, token)
	return b.Bytes()
}

// readAnswer reads the body of an answer to a P-GET.
func readAnswer(r *bufio.Reader) ([]byte, error) {
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("a P-GET was answered %s: %.300s", res.Status, body)
	}
	return body, nil
}

// counter counts the bytes that are read.
type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// parking is one client: a connection with a request parked in it.
type parking struct {
	index  int
	conn   net.Conn
	path   string
	token  string
	last   []byte // body of the last answer
	size   int    // its bytes, those of the lines before the body included
	resume chan struct{}
}

// wake tells that a client was told something.
type wake struct {
	index int
	at    time.Time
	err   error
}

// fleet are all parked clients: one goroutine and one connection each.
type fleet struct {
	host    string
	members []*parking
	wakes   chan wake
	again   atomic.Int64 // answers that were read, with the next request sent
	woken   int64        // how many of wakes were taken in
	running sync.WaitGroup
	closed  atomic.Bool
	// next reads the path of the next request from an answer.
	next func(p *parking, body []byte) (string, error)
}

// parkPause spreads the connections over time. Probes of TCP keep-alive would
// else be due for all of them in one tick of the kernel, more than the queue of
// the loopback device holds, and what is dropped there looks like a dead peer
// in the end. For the same reason the clients send no probes of their own.
const parkPause = time.Millisecond

// park opens all connections and sends their requests.
func park(ctx context.Context, host string, members []*parking, next func(*parking, []byte) (string, error)) (*fleet, error) {
	f := &fleet{host: host, members: members, wakes: make(chan wake, 2*len(members)), next: next}
	d := net.Dialer{KeepAlive: -1}
	for _, p := range members {
		if err := pause(ctx, parkPause); err != nil {
			f.close()
			return nil, err
		}
		conn, err := d.DialContext(ctx, "tcp", host)
		if err != nil {
			f.close()
			return nil, fmt.Errorf("parking: %w", err)
		}
		p.conn, p.resume = conn, make(chan struct{}, 1)
		f.running.Go(func() { f.run(p) })
	}
	return f, nil
}

// close ends all connections.
func (f *fleet) close() {
	f.closed.Store(true)
	for _, p := range f.members {
		if p.conn != nil {
			_ = p.conn.Close()
			close(p.resume)
		}
	}
	f.running.Wait()
}

// run is a client's life: park, note the time of the first byte, wait until
// everyone has been told, read, and park again.
func (f *fleet) run(p *parking) {
	err := func() error {
		counted := &counter{r: p.conn}
		r := bufio.NewReader(counted)
		for {
			before := counted.n
			if _, err := p.conn.Write(parkRequest(p.path, f.host, p.token)); err != nil {
				return err
			}
			if _, err := r.Peek(1); err != nil {
				return err
			}
			f.wakes <- wake{index: p.index, at: time.Now()}
			if _, on := <-p.resume; !on {
				return nil
			}
			var err error
			if p.last, err = readAnswer(r); err != nil {
				return err
			}
			p.size = counted.n - before // nothing follows an answer before the next request
			if p.path, err = f.next(p, p.last); err != nil {
				return err
			}
			f.again.Add(1)
		}
	}()
	if err != nil && !f.closed.Load() {
		f.wakes <- wake{index: p.index, err: fmt.Errorf("client %d: %w", p.index, err)}
	}
}

// quiet answers for everyone who is told something until nobody has been for
// calm.
func (f *fleet) quiet(ctx context.Context, calm time.Duration) error {
	for {
		select {
		case w := <-f.wakes:
			if w.err != nil {
				return w.err
			}
			f.woken++
			f.members[w.index].resume <- struct{}{}
		case <-time.After(calm):
			return f.parked(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// parked waits until everyone who was told something has parked again.
func (f *fleet) parked(ctx context.Context) error {
	for f.again.Load() < f.woken {
		select {
		case w := <-f.wakes:
			if w.err != nil {
				return w.err
			}
			return fmt.Errorf("client %d was told something that did not happen", w.index)
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// collect waits until an audience has been told, within limit, lets it park
// again, and returns the moments in the order in which they came. Each client
// must be told once, nobody else at all, and the answer must hold text.
func (f *fleet) collect(ctx context.Context, a audience, limit time.Duration, text string) ([]time.Time, error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	seen := make(map[int]bool, a.n)
	times := make([]time.Time, 0, a.n)
	for len(times) < a.n {
		select {
		case w := <-f.wakes:
			if w.err != nil {
				return nil, w.err
			}
			if w.index < a.from || w.index >= a.from+a.n || seen[w.index] {
				return nil, fmt.Errorf("client %d was told of a change that it does not watch, or twice", w.index)
			}
			seen[w.index] = true
			times = append(times, w.at)
		case <-late.C:
			return nil, fmt.Errorf("%d of %d clients were never told", a.n-len(times), a.n)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.woken += int64(a.n)
	for i := range seen {
		f.members[i].resume <- struct{}{}
	}
	if err := f.parked(ctx); err != nil {
		return nil, err
	}
	for i := range seen {
		if body := string(f.members[i].last); !strings.Contains(body, text) {
			return nil, fmt.Errorf("client %d was told something else: %.300s", i, body)
		}
	}
	return times, nil
}
