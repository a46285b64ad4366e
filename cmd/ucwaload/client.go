package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// account is a signed-in user of the gateway.
type account struct {
	http         *http.Client
	base         string
	token        string // with its type, as in the header Authorization
	applications string // href
}

// resource is what is read of an answer.
type resource struct {
	Links    map[string]json.RawMessage `json:"_links"`
	Embedded map[string]json.RawMessage `json:"_embedded"`
}

func (r *resource) href(rel string) string {
	var l struct{ Href string }
	if json.Unmarshal(r.Links[rel], &l) != nil {
		return ""
	}
	return l.Href
}

// send asks for a resource. body is nil, url.Values or something to encode.
func (a *account) send(ctx context.Context, method, href string, body any) (http.Header, *resource, int, error) {
	contentType, raw := "", []byte(nil)
	switch b := body.(type) {
	case nil:
	case url.Values:
		contentType, raw = "application/x-www-form-urlencoded;charset=UTF-8", []byte(b.Encode())
	default:
		contentType = "application/json"
		var err error
		if raw, err = json.Marshal(b); err != nil {
			return nil, nil, 0, fmt.Errorf("encoding a request: %w", err)
		}
	}
	if strings.HasPrefix(href, "/") {
		href = a.base + href
	}
	req, err := http.NewRequestWithContext(ctx, method, href, bytes.NewReader(raw))
	if err != nil {
		return nil, nil, 0, err
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if a.token != "" {
		req.Header.Set("Authorization", a.token)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, nil, 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("reading an answer: %w", err)
	}
	r := &resource{}
	if json.Unmarshal(answer, r) != nil {
		r = &resource{} // no resource
	}
	if res.StatusCode >= 300 && res.StatusCode != http.StatusUnauthorized {
		return nil, nil, 0, fmt.Errorf("%s %s: %s: %s", method, req.URL.Path, res.Status, answer)
	}
	if t, ok := tokenOf(answer); ok {
		a.token = t
	}
	return res.Header, r, res.StatusCode, nil
}

// tokenOf reads a web ticket.
func tokenOf(answer []byte) (string, bool) {
	var t struct {
		Type  string `json:"token_type"`
		Token string `json:"access_token"`
	}
	if json.Unmarshal(answer, &t) != nil || t.Token == "" {
		return "", false
	}
	return t.Type + " " + t.Token, true
}

var tokenService = regexp.MustCompile(`MsRtcOAuth href="([^"]+)"`)

// signIn goes from discovery to the user's applications.
func signIn(ctx context.Context, hc *http.Client, base, user, password string) (*account, error) {
	a := &account{http: hc, base: base}
	_, root, _, err := a.send(ctx, http.MethodGet, base+"/", nil)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	header, _, _, err := a.send(ctx, http.MethodGet, root.href("user"), nil)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	m := tokenService.FindStringSubmatch(strings.Join(header.Values("WWW-Authenticate"), ", "))
	if m == nil {
		return nil, errors.New("the challenge names no token service")
	}
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	if _, _, _, err = a.send(ctx, http.MethodPost, m[1], form); err != nil || a.token == "" {
		return nil, fmt.Errorf("signing in as %s: no ticket: %w", user, err)
	}
	_, me, status, err := a.send(ctx, http.MethodGet, root.href("user"), nil)
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("reading the user: status %d: %w", status, err)
	}
	if a.applications = me.href("applications"); a.applications == "" {
		return nil, errors.New("the user has no link applications")
	}
	return a, nil
}

// open creates an application and subscribes it to people. It returns the
// path of the first P-GET.
func (a *account) open(ctx context.Context, endpoint string, uris []string) (string, error) {
	_, app, _, err := a.send(ctx, http.MethodPost, a.applications, map[string]string{"userAgent": "ucwaload", "endpointId": endpoint, "culture": "en-US"})
	if err != nil {
		return "", fmt.Errorf("creating an application: %w", err)
	}
	people := &resource{}
	if err := json.Unmarshal(app.Embedded["people"], people); err != nil {
		return "", fmt.Errorf("the application embeds no people: %w", err)
	}
	_, _, status, err := a.send(ctx, http.MethodPost, people.href("presenceSubscriptions"), map[string]any{"duration": 30, "uris": uris})
	if err != nil || status != http.StatusCreated {
		return "", fmt.Errorf("subscribing: status %d: %w", status, err)
	}
	events := app.href("events")
	if events == "" {
		return "", errors.New("the application has no link events")
	}
	return events, nil
}

// drain fetches the first package, which tells the subscription and the first
// presences, and proves its receipt with a P-GET that it leaves. It returns the
// path of the P-GET that continues.
func (a *account) drain(ctx context.Context, host, path string) (string, error) {
	d := net.Dialer{KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return "", fmt.Errorf("fetching the first events: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// The package is there already; it must not take as long as a P-GET may.
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(conn)
	if _, err := conn.Write(parkRequest(path, host, a.token)); err != nil {
		return "", fmt.Errorf("fetching the first events: %w", err)
	}
	body, err := readAnswer(r)
	if err != nil {
		return "", fmt.Errorf("fetching the first events: %w", err)
	}
	next, err := nextPath(body)
	if err != nil {
		return "", err
	}
	if _, err := conn.Write(parkRequest(next, host, a.token)); err != nil {
		return "", fmt.Errorf("acknowledging the first events: %w", err)
	}
	return next, pause(ctx, 20*time.Millisecond) // so that it is parked when the connection ends
}

// nextPath reads the link that a package continues with.
func nextPath(body []byte) (string, error) {
	r := &resource{}
	if err := json.Unmarshal(body, r); err != nil {
		return "", fmt.Errorf("reading a package: %w", err)
	}
	if next := r.href("next"); next != "" && r.href("resume") == "" {
		return next, nil
	}
	return "", fmt.Errorf("a package without a link next: %.300s", body)
}
