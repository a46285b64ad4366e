package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// operation is something that an honest client does.
type operation string

// The operations. A P-GET is measured by its replacement: a second one for the
// same channel has the one that waits answered at once.
const (
	presenceOperation  operation = "GET contactPresence"
	batchOperation     operation = "batch of 20"
	subscribeOperation operation = "subscribe, unsubscribe"
	pgetOperation      operation = "P-GET answered"
	signInOperation    operation = "sign in"
)

var operations = []operation{presenceOperation, batchOperation, subscribeOperation, pgetOperation, signInOperation}

const (
	// every is how often an honest client does something.
	every = time.Second
	// signInEvery is at how many turns of all clients one signs in: for a
	// password to be checked takes a processor as long as hundreds of the others.
	signInEvery = 80
	// honestPatience is how long an honest client waits for an answer.
	honestPatience = 30 * time.Second
)

// honest is a client with an application, a subscription and a parked P-GET.
type honest struct {
	user, token                  string
	events, presence, batchPath  string
	subscriptions, subscribeBody string
	batchBody                    string
	direct, parked               *exchange
	turn                         int
}

// exchange is a connection over which requests are sent.
type exchange struct {
	conn net.Conn
	r    *bufio.Reader
}

func (e *exchange) close() {
	if e != nil {
		_ = e.conn.Close()
	}
}

// send writes a request.
func (e *exchange) send(method, path, host, token, contentType, body string) error {
	if err := e.conn.SetDeadline(time.Now().Add(honestPatience)); err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: ucwaload\r\nAccept: application/json\r\n", method, path, host)
	if token != "" {
		fmt.Fprintf(&b, "Authorization: %s\r\n", token)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Length: %d\r\n", contentType, len(body))
	}
	fmt.Fprintf(&b, "\r\n%s", body)
	_, err := e.conn.Write(b.Bytes())
	return err
}

// receive reads an answer whose status must be the one that is named.
func (e *exchange) receive(status int) error {
	res, err := http.ReadResponse(e.r, nil)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if res.StatusCode != status {
		return fmt.Errorf("answered %s instead of %d: %.200s", res.Status, status, body)
	}
	return nil
}

// prepare makes the requests that the client sends again and again.
func (h *honest) prepare(events string, uris []string) {
	app, _, _ := strings.Cut(events, "/events")
	h.events, h.batchPath = events+"&timeout=1800", app+"/batch"
	h.presence = app + "/people/" + strings.TrimPrefix(uris[0], "sip:") + "/presence"
	h.subscriptions = app + "/people/presenceSubscriptions"
	h.subscribeBody = fmt.Sprintf(`{"duration":10,"uris":[%q]}`, uris[1])
	var b strings.Builder
	for _, uri := range uris {
		fmt.Fprintf(&b, "\r\n--b\r\nContent-Type: application/http; msgtype=request\r\n\r\nGET %s/people/%s/presence HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n",
			app, strings.TrimPrefix(uri, "sip:"))
	}
	h.batchBody = b.String() + "\r\n--b--\r\n"
}

func dial(ctx context.Context, host string) (*exchange, error) {
	conn, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return &exchange{conn, bufio.NewReader(conn)}, nil
}

// connect opens the connections that are not there and parks a P-GET.
func (h *honest) connect(ctx context.Context, host string) (err error) {
	if h.direct == nil {
		if h.direct, err = dial(ctx, host); err != nil {
			return err
		}
	}
	if h.parked == nil {
		if h.parked, err = dial(ctx, host); err != nil {
			return err
		}
		return h.parked.send(http.MethodGet, h.events, host, h.token, "", "")
	}
	return nil
}

// do does one operation and returns how long it took. A connection that was
// closed while nothing happened on it is opened anew, as every HTTP client does.
func (h *honest) do(ctx context.Context, op operation, host, password string) (time.Duration, error) {
	began := time.Now()
	err := h.try(ctx, op, host, password)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		err = h.try(ctx, op, host, password)
	}
	return time.Since(began), err
}

func (h *honest) try(ctx context.Context, op operation, host, password string) error {
	err := h.connect(ctx, host)
	if err != nil {
		return err
	}
	switch op {
	case presenceOperation:
		err = h.ask(http.MethodGet, h.presence, host, "", "", http.StatusOK)
	case batchOperation:
		err = h.ask(http.MethodPost, h.batchPath, host, "multipart/batching;boundary=b", h.batchBody, http.StatusOK)
	case subscribeOperation:
		err = h.subscribe(host)
	case pgetOperation:
		err = h.replace(ctx, host)
	case signInOperation:
		err = h.signIn(ctx, host, password)
	}
	if err == nil {
		return nil
	}
	// What is outstanding would be taken for another answer.
	if op == pgetOperation {
		h.parked.close()
		h.parked = nil
	} else {
		h.direct.close()
		h.direct = nil
	}
	return fmt.Errorf("%s: %w", op, err)
}

func (h *honest) ask(method, path, host, contentType, body string, status int) error {
	if err := h.direct.send(method, path, host, h.token, contentType, body); err != nil {
		return err
	}
	return h.direct.receive(status)
}

// subscribe subscribes to somebody, and ends that.
func (h *honest) subscribe(host string) error {
	if err := h.direct.send(http.MethodPost, h.subscriptions, host, h.token, "application/json", h.subscribeBody); err != nil {
		return err
	}
	res, err := http.ReadResponse(h.direct.r, nil)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("answered %s", res.Status)
	}
	// It does not outlive the measurement.
	return h.ask(http.MethodDelete, res.Header.Get("Location"), host, "", "", http.StatusNoContent)
}

// replace sends a P-GET in place of the one that waits. The one that waits may
// have been answered by events meanwhile, which counts as well.
func (h *honest) replace(ctx context.Context, host string) error {
	next, err := dial(ctx, host)
	if err != nil {
		return err
	}
	if err := next.send(http.MethodGet, h.events, host, h.token, "", ""); err != nil {
		next.close()
		return err
	}
	old := h.parked
	h.parked = next
	defer old.close()
	if err := old.conn.SetDeadline(time.Now().Add(honestPatience)); err != nil {
		return err
	}
	res, err := http.ReadResponse(old.r, nil)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if res.StatusCode != http.StatusConflict && res.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// signIn trades the password for another ticket, over a connection of its own.
func (h *honest) signIn(ctx context.Context, host, password string) error {
	e, err := dial(ctx, host)
	if err != nil {
		return err
	}
	defer e.close()
	form := url.Values{"grant_type": {"password"}, "username": {h.user}, "password": {password}}.Encode()
	if err := e.send(http.MethodPost, "/WebTicket/oauthtoken", host, "", "application/x-www-form-urlencoded", form); err != nil {
		return err
	}
	return e.receive(http.StatusOK)
}

// crowd are all honest clients.
type crowd struct {
	host, password string
	members        []*honest
}

func (c *crowd) close() {
	for _, h := range c.members {
		if h != nil {
			h.direct.close()
			h.parked.close()
		}
	}
}

// work lets each client do something again and again, spread over time, and
// returns how long each operation took, sorted, and how many failed. A failure
// counts as long as it took, and as no less than a client waits.
func (c *crowd) work(ctx context.Context, d time.Duration) (map[operation][]time.Duration, int, error) {
	var mu sync.Mutex
	took, failed := make(map[operation][]time.Duration), 0
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for i, h := range c.members {
		all.Go(func() {
			due := time.Now().Add(every * time.Duration(i) / time.Duration(len(c.members)))
			for ; due.Before(end); due = due.Add(every) {
				if pause(ctx, time.Until(due)) != nil {
					return
				}
				op := operations[(i+h.turn)%4]
				if (i+h.turn*31)%signInEvery == 0 {
					op = signInOperation
				}
				h.turn++
				t, err := h.do(ctx, op, c.host, c.password)
				mu.Lock()
				if err != nil {
					failed++
					t = max(t, honestPatience)
				}
				took[op] = append(took[op], t)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for _, op := range operations {
		if len(took[op]) == 0 && ctx.Err() == nil {
			return nil, 0, fmt.Errorf("no client has done %q in %s", op, d)
		}
		slices.Sort(took[op])
	}
	return took, failed, ctx.Err()
}
