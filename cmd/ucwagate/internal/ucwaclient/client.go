// Package ucwaclient is a small UCWA client: it signs in, creates an
// application, subscribes to presence and follows the event channel. It
// follows links only and builds no path of its own. The watch command and the
// end-to-end tests use it.
//
// It must never know the gateway: any UCWA server will do.
package ucwaclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Client is a signed-in user. It is safe for concurrent use.
type Client struct {
	http  *http.Client
	base  *url.URL // what relative hrefs are relative to
	token string
	apps  string // href of applications
}

// StatusError is an answer that is not a success.
type StatusError struct {
	Method, Href string
	Status       int
	Code         string `json:"code"`
	Subcode      string `json:"subcode"`
	Message      string `json:"message"`
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: %d %s %s %s", e.Method, e.Href, e.Status, e.Code, e.Subcode, e.Message)
}

// Gone says whether err means that the application is not there any more.
func Gone(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && (e.Status == http.StatusGone || e.Status == http.StatusNotFound && e.Subcode == "ApplicationNotFound")
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 16 << 20

// SignIn goes from discovery at base to the applications resource: root, user,
// the challenge, the token service, user again.
func SignIn(ctx context.Context, hc *http.Client, base, user, password string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("reading the URL: %w", err)
	}
	c := &Client{http: hc, base: u}
	root, err := c.get(ctx, base)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	userHref := root.href("user")
	service, err := c.challenge(ctx, userHref)
	if err != nil {
		return nil, fmt.Errorf("finding the token service: %w", err)
	}
	if err := c.ticket(ctx, service, user, password); err != nil {
		return nil, fmt.Errorf("signing in as %s: %w", user, err)
	}
	me, err := c.get(ctx, userHref)
	if err != nil {
		return nil, fmt.Errorf("reading the user: %w", err)
	}
	if c.apps = me.href("applications"); c.apps == "" {
		return nil, errors.New("the user has no link applications")
	}
	return c, nil
}

var tokenService = regexp.MustCompile(`MsRtcOAuth href="([^"]+)"`)

func (c *Client) challenge(ctx context.Context, href string) (string, error) {
	res, err := c.send(ctx, http.MethodGet, href, "", nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	m := tokenService.FindStringSubmatch(strings.Join(res.Header.Values("WWW-Authenticate"), ", "))
	if m == nil {
		return "", fmt.Errorf("the answer %d names none", res.StatusCode)
	}
	return m[1], nil
}

func (c *Client) ticket(ctx context.Context, service, user, password string) error {
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	res, err := c.send(ctx, http.MethodPost, service, "application/x-www-form-urlencoded;charset=UTF-8", []byte(form.Encode()))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var ticket struct {
		Type  string `json:"token_type"`
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&ticket); err != nil {
		return fmt.Errorf("reading the ticket: %w", err)
	}
	if ticket.Token == "" {
		return fmt.Errorf("refused: %s", ticket.Error)
	}
	c.token = ticket.Type + " " + ticket.Token
	return nil
}

// resource is what is read of an answer.
type resource struct {
	ID           string                     `json:"id"`
	Rel          string                     `json:"rel"`
	Availability string                     `json:"availability"`
	Activity     string                     `json:"activity"`
	Name         string                     `json:"name"`
	Links        map[string]json.RawMessage `json:"_links"`
	Embedded     map[string]json.RawMessage `json:"_embedded"`
	Sender       []struct {
		Events []Event `json:"events"`
	} `json:"sender"`
}

// href returns the link of a rel that has one value, or an empty text.
func (r *resource) href(rel string) string {
	var l struct{ Href string }
	if json.Unmarshal(r.Links[rel], &l) != nil {
		return ""
	}
	return l.Href
}

func (r *resource) embedded(rel string) *resource {
	var e resource
	if json.Unmarshal(r.Embedded[rel], &e) != nil {
		return &resource{}
	}
	return &e
}

func (c *Client) get(ctx context.Context, href string) (*resource, error) {
	return c.call(ctx, http.MethodGet, href, nil)
}

// call sends a request and reads the resource that comes back, if any.
func (c *Client) call(ctx context.Context, method, href string, body any) (*resource, error) {
	var raw []byte
	contentType := ""
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		contentType = "application/json"
	}
	res, err := c.send(ctx, method, href, contentType, raw)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		failed := &StatusError{}
		_ = json.Unmarshal(answer, failed) // a body of another kind leaves the status
		failed.Method, failed.Href, failed.Status = method, href, res.StatusCode
		return nil, failed
	}
	r := &resource{}
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, r); err != nil {
			return nil, fmt.Errorf("reading the answer of %s %s: %w", method, href, err)
		}
	}
	return r, nil
}

func (c *Client) send(ctx context.Context, method, href, contentType string, body []byte) (*http.Response, error) {
	at, err := c.base.Parse(href)
	if err != nil {
		return nil, fmt.Errorf("reading the link %q: %w", href, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", c.token)
	}
	return c.http.Do(req)
}
