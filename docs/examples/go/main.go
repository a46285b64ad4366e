// Command go watches the presence of people through UCWA, following links only.
//
//	UCWA_PASSWORD=… go run . https://lyncdiscover.contoso.com/ ana@contoso.com bo@contoso.com
//
// It needs the standard library and nothing else. It ends on Ctrl-C.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// duration is the longest a presence subscription may last, in minutes.
const duration = 30

// errEnded says that the application or the ticket is not good any more.
var errEnded = errors.New("the application has ended")

type link struct{ Rel, Href string }

// resource is what is read of an answer.
type resource struct {
	Links    map[string]link     `json:"_links"`
	Embedded map[string]resource `json:"_embedded"`

	Subcode, URI, Availability, Activity string

	Sender []struct {
		Events []struct {
			Link, In link
			Type     string
		}
	}
}

func (r resource) href(rel string) string { return r.Links[rel].Href }

type client struct {
	base        *url.URL // what hrefs are relative to
	token       string
	application resource
	addresses   []string
	known       map[string]string
}

// send sends a request and waits out what is temporary.
func (c *client) send(ctx context.Context, method, href, contentType string, body []byte) (*http.Response, []byte, error) {
	at, err := c.base.Parse(href)
	if err != nil {
		return nil, nil, err
	}
	for {
		req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set("Accept", "application/json")
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		if c.token != "" {
			req.Header.Set("Authorization", c.token)
		}
		wait := 5
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			var text []byte
			text, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
			temporary := slices.Contains([]int{429, 502, 503, 504}, res.StatusCode)
			if err == nil && !temporary {
				return res, text, nil
			}
			seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
			wait = cmp.Or(seconds, wait)
			err = cmp.Or(err, errors.New(res.Status))
		}
		if ctx.Err() == nil {
			log.Printf("%v, again in %d s", err, wait)
		}
		select {
		case <-time.After(time.Duration(wait) * time.Second):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// call returns the resource, or errEnded for what ends the application.
func (c *client) call(ctx context.Context, method, href string, body any) (resource, error) {
	var r resource
	var raw []byte
	var contentType string
	if body != nil {
		contentType = "application/json"
		raw, _ = json.Marshal(body)
	}
	res, text, err := c.send(ctx, method, href, contentType, raw)
	if err != nil {
		return r, err
	}
	_ = json.Unmarshal(text, &r) // empty, or a page of a proxy
	switch {
	case slices.Contains([]int{401, 404, 410}, res.StatusCode):
		return r, fmt.Errorf("%s %s: %w", res.Status, r.Subcode, errEnded)
	case res.StatusCode >= 300:
		return r, fmt.Errorf("%s %s: %s %s", method, href, res.Status, text)
	}
	return r, nil
}

var tokenService = regexp.MustCompile(`MsRtcOAuth href="([^"]+)"`)

// signIn goes from discovery to a token and returns the link to applications.
func (c *client) signIn(ctx context.Context, root, user, password string) (string, error) {
	c.token = ""
	found, err := c.call(ctx, http.MethodGet, root, nil)
	if err != nil {
		return "", err
	}
	// The answer is 401 and says where the token service is.
	res, _, err := c.send(ctx, http.MethodGet, found.href("user"), "", nil)
	if err != nil {
		return "", err
	}
	service := tokenService.FindStringSubmatch(strings.Join(res.Header.Values("WWW-Authenticate"), ", "))
	if service == nil {
		return "", errors.New("the server names no token service")
	}
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	res, text, err := c.send(ctx, http.MethodPost, service[1], "application/x-www-form-urlencoded", []byte(form.Encode()))
	if err != nil {
		return "", err
	}
	var ticket struct {
		Type  string `json:"token_type"`
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(text, &ticket); err != nil || ticket.Token == "" {
		return "", fmt.Errorf("sign-in was refused: %s", res.Status)
	}
	c.token = ticket.Type + " " + ticket.Token
	me, err := c.call(ctx, http.MethodGet, found.href("user"), nil)
	return me.href("applications"), err
}

func (c *client) subscribe(ctx context.Context) error {
	uris := make([]string, len(c.addresses))
	for i, address := range c.addresses {
		uris[i] = "sip:" + address
	}
	to := c.application.Embedded["people"].href("presenceSubscriptions")
	_, err := c.call(ctx, http.MethodPost, to, map[string]any{"duration": duration, "uris": uris})
	return err
}

// show prints a presence, if it has changed.
func (c *client) show(ctx context.Context, in, at string) error {
	contact, err := c.call(ctx, http.MethodGet, in, nil)
	if err != nil {
		return err
	}
	presence, err := c.call(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	who, now := strings.TrimPrefix(contact.URI, "sip:"), strings.TrimSpace(presence.Availability+" "+presence.Activity)
	if c.known[who] != now {
		c.known[who] = now
		fmt.Println(who, now)
	}
	return nil
}

// watch follows the event channel until the application ends.
func (c *client) watch(ctx context.Context) error {
	if err := c.subscribe(ctx); err != nil {
		return err
	}
	for next := c.application.href("events"); ; {
		answer, err := c.call(ctx, http.MethodGet, next, nil) // held until there are events
		if err != nil {
			return err
		}
		for _, sender := range answer.Sender {
			for _, e := range sender.Events {
				var err error
				switch e.Link.Rel + " " + e.Type {
				case "contactPresence updated":
					// If it is the application that has ended, the next P-GET tells.
					if err = c.show(ctx, e.In.Href, e.Link.Href); errors.Is(err, errEnded) {
						err = nil
					}
				case "presenceSubscription updated": // about to expire
					_, err = c.call(ctx, http.MethodPost, fmt.Sprintf("%s?duration=%d", e.Link.Href, duration), nil)
				case "presenceSubscription deleted":
					err = c.subscribe(ctx)
				}
				if err != nil {
					return err
				}
			}
		}
		anew := cmp.Or(answer.href("resync"), answer.href("resume"))
		if anew != "" { // events or subscriptions were lost
			log.Print("subscribing anew")
			if err := c.subscribe(ctx); err != nil {
				return err
			}
		}
		next = cmp.Or(anew, answer.href("next"))
	}
}

func run(ctx context.Context, root, user, password string, addresses []string) error {
	base, err := url.Parse(root)
	if err != nil {
		return err
	}
	c := &client{addresses: addresses, known: map[string]string{}}
	defer func() {
		if self := c.application.href("self"); self != "" {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, _ = c.call(end, http.MethodDelete, self, nil)
		}
	}()
	for {
		c.base = base
		apps, err := c.signIn(ctx, root, user, password)
		if err == nil {
			c.base, err = base.Parse(apps) // hrefs from here on are relative to it
		}
		if err == nil {
			c.application, err = c.call(ctx, http.MethodPost, apps, map[string]string{
				"userAgent": "watch", "endpointId": strconv.Itoa(os.Getpid()), "culture": "en-US",
			})
		}
		if err == nil {
			err = c.watch(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, errEnded):
			return err
		}
		log.Print("beginning anew: ", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("usage: UCWA_PASSWORD=… watch URL USER ADDRESS…")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Getenv("UCWA_PASSWORD"), os.Args[3:]); err != nil {
		log.Fatal(err)
	}
}
