package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// attack is one kind of hostile client. run prepares it, closes ready and goes
// on until ctx ends.
type attack struct {
	name string
	run  func(ctx context.Context, a *assault)
}

// assault is an attack that goes on.
type assault struct {
	host  string
	ready chan struct{}

	opened, cut, sent, refused atomic.Int64

	failed atomic.Pointer[error] // what kept it from being prepared
}

func (a *assault) String() string {
	return fmt.Sprintf("%d connections, %d cut, %d requests, %d refused", a.opened.Load(), a.cut.Load(), a.sent.Load(), a.refused.Load())
}

// How much there is of each attack.
const (
	slowHeaders   = 1000 // connections that send a byte of a header a second
	slowReaders   = 200  // connections that ask and do not read
	asked         = 60   // requests that each of them sends
	hugeBodies    = 20   // connections that send bodies, each
	hugeEvery     = time.Second
	hugeBody      = 16 << 20 // bytes that each says it will send
	passwordFlood = 20       // connections that send passwords, each
	passwordEvery = 50 * time.Millisecond
	addresses     = 20 // from which they come
)

func (c *hostileCommand) attacks(host string, persons []person) []attack {
	page := "GET /Autodiscover/XFrame/XFrame.html HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	return []attack{
		{"slow headers", func(ctx context.Context, a *assault) {
			a.hold(ctx, slowHeaders, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", "x")
		}},
		{"slow reads", func(ctx context.Context, a *assault) { a.doNotRead(ctx, strings.Repeat(page, asked)) }},
		{"huge bodies", func(ctx context.Context, a *assault) { a.sendBodies(ctx) }},
		{"idle connections", func(ctx context.Context, a *assault) { a.holdElsewhere(ctx, c.Idle) }},
		{"bad passwords", func(ctx context.Context, a *assault) { a.guess(ctx, persons) }},
	}
}

// open opens a connection, nil if it is refused.
func (a *assault) open(ctx context.Context, d *net.Dialer) net.Conn {
	conn, err := d.DialContext(ctx, "tcp", a.host)
	if err != nil {
		if ctx.Err() == nil {
			a.refused.Add(1)
		}
		return nil
	}
	a.opened.Add(1)
	return conn
}

// hold opens n connections, says something on each and then, every second or so,
// something more; one that is cut is opened again a second later.
func (a *assault) hold(ctx context.Context, n int, first, more string) {
	var all sync.WaitGroup
	var ready sync.WaitGroup
	slots := make(chan struct{}, 50) // being opened at a time
	for i := range n {
		ready.Add(1)
		all.Go(func() {
			begun := sync.OnceFunc(ready.Done)
			defer begun()
			for ctx.Err() == nil {
				slots <- struct{}{}
				conn := a.open(ctx, from(i%addresses))
				if conn != nil {
					_, _ = io.WriteString(conn, first)
				}
				<-slots
				begun()
				if conn != nil {
					a.holdOn(ctx, conn, more)
				}
				_ = pause(ctx, time.Second+rand.N(time.Second))
			}
		})
	}
	ready.Wait()
	close(a.ready)
	all.Wait()
}

// perHolder is how many connections one process holds: it may have that many
// files open nearly everywhere.
const perHolder = 8000

// holdElsewhere holds idle connections in other processes.
func (a *assault) holdElsewhere(ctx context.Context, n int) {
	var holders []*process
	defer func() {
		for _, p := range holders {
			p.stop()
		}
	}()
	self, err := os.Executable()
	for held := 0; held < n && err == nil; held += perHolder {
		var p *process
		if p, err = start(ctx, "holder", false, nil, self, "hold", a.host, strconv.Itoa(min(perHolder, n-held))); err == nil {
			holders = append(holders, p)
		}
	}
	for _, p := range holders {
		line, failed := p.await(ctx, func(line string) (string, bool) { return line, strings.HasPrefix(line, "held ") })
		if failed != nil {
			a.failed.CompareAndSwap(nil, &failed)
			continue
		}
		opened, _ := strconv.Atoi(strings.TrimPrefix(line, "held "))
		a.opened.Add(int64(opened))
	}
	if err != nil {
		a.failed.CompareAndSwap(nil, &err)
	}
	close(a.ready)
	<-ctx.Done()
}

// holdCommand is such a process.
type holdCommand struct {
	Host string `arg:""`
	N    int    `arg:""`
}

// Run holds connections until a signal, ten minutes at most.
func (c *holdCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := allowFiles(uint64(c.N) + 256); err != nil {
		return err
	}
	a := &assault{host: c.Host, ready: make(chan struct{})}
	go func() {
		<-a.ready
		fmt.Printf("held %d\n", a.opened.Load())
	}()
	a.hold(ctx, c.N, "GET / HTTP/1.1\r\nHost: "+c.Host+"\r\n\r\n", "")
	return nil
}

// holdOn keeps a connection until it is cut.
func (a *assault) holdOn(ctx context.Context, conn net.Conn, more string) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if more != "" {
		go func() {
			for pause(ctx, time.Second) == nil {
				if _, err := io.WriteString(conn, more); err != nil {
					return
				}
			}
		}()
	}
	_, _ = io.Copy(io.Discard, conn)
	if ctx.Err() == nil {
		a.cut.Add(1)
	}
}

// doNotRead asks for more than the kernel takes, with a small window, and reads
// nothing.
func (a *assault) doNotRead(ctx context.Context, ask string) {
	var all sync.WaitGroup
	for i := range slowReaders {
		all.Go(func() {
			d := from(i % addresses)
			d.Control = func(_, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
			}
			for pause(ctx, rand.N(time.Second)) == nil {
				conn := a.open(ctx, d)
				if conn == nil {
					continue
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				if _, err := io.WriteString(conn, ask); err == nil {
					a.sent.Add(asked)
				}
				for pause(ctx, time.Second) == nil { // it fails when it is cut
					if _, err := io.WriteString(conn, "G"); err != nil {
						break
					}
				}
				stop()
				_ = conn.Close()
				if ctx.Err() == nil {
					a.cut.Add(1)
				}
			}
		})
	}
	_ = pause(ctx, 2*time.Second)
	close(a.ready)
	all.Wait()
}

// sendBodies sends large bodies until the gateway has enough.
func (a *assault) sendBodies(ctx context.Context) {
	close(a.ready)
	chunk := strings.Repeat("x", 64<<10)
	a.again(ctx, hugeBodies, hugeEvery, func(conn net.Conn) {
		head := "POST /WebTicket/oauthtoken HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
		if _, err := fmt.Fprintf(conn, head, hugeBody); err != nil {
			return
		}
		for range hugeBody / len(chunk) {
			if _, err := io.WriteString(conn, chunk); err != nil {
				a.cut.Add(1)
				return
			}
		}
	})
}

// guess sends passwords that are wrong, for people there are and for some there
// are not.
func (a *assault) guess(ctx context.Context, persons []person) {
	close(a.ready)
	a.again(ctx, passwordFlood, passwordEvery, func(conn net.Conn) {
		user := strings.TrimPrefix(persons[rand.IntN(len(persons))].URI, "sip:")
		if rand.IntN(2) == 0 {
			user = "nobody." + user
		}
		form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {"guess"}}.Encode()
		_, err := fmt.Fprintf(conn, "POST /WebTicket/oauthtoken HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(form), form)
		if err != nil {
			return
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return
		}
		_ = res.Body.Close()
		if res.Header.Get("Retry-After") != "" {
			a.refused.Add(1)
		}
	})
}

// again lets n clients do something every so often, each time over a new
// connection.
func (a *assault) again(ctx context.Context, n int, every time.Duration, do func(net.Conn)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			_ = pause(ctx, rand.N(every))
			for ctx.Err() == nil {
				if conn := a.open(ctx, from(i%addresses)); conn != nil {
					stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
					a.sent.Add(1)
					do(conn)
					stop()
					_ = conn.Close()
				}
				_ = pause(ctx, every)
			}
		})
	}
	all.Wait()
}
