package sweep_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (p *place) roots() (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(p.Certificate)) {
		return nil, errors.New("the simulator's certificate cannot be read")
	}
	return roots, nil
}

// client is an HTTP client that trusts the simulator.
func (p *place) client() (*http.Client, error) {
	roots, err := p.roots()
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}}, nil
}

// plainPresence is what a plain program reads and keeps of a presence: as much
// as the gateway does.
type plainPresence struct {
	ID             string `json:"id"`
	Availability   string `json:"availability"`
	Activity       string `json:"activity"`
	SequenceNumber string `json:"sequenceNumber"`
	StatusMessage  struct {
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
	} `json:"statusMessage"`
	OutOfOffice struct {
		Message       string `json:"message"`
		IsOutOfOffice bool   `json:"isOutOfOffice"`
	} `json:"outOfOfficeSettings"`
	WorkLocation struct {
		Type string `json:"workLocationType"`
	} `json:"workLocation"`
}

// plainPace is the pace at which the plain program sends: the same as the
// gateway's, since a processor that wakes up for each request does not work like
// one that is busy all the time.
const plainPace = time.Second * 2 / 45

// plain is a program that asks for everybody, one request at a time.
type plain struct {
	client   *http.Client
	url      string
	token    string
	people   map[string]plainPresence
	requests int
}

// readPlainly does what readAsGateway does, in as few lines as it takes.
func readPlainly(what *task) (*outcome, error) {
	client, err := what.Tenant.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	p := &plain{client: client, url: what.Tenant.URL + "/v1.0/communications/getPresencesByUserId", people: make(map[string]plainPresence)}
	if err := p.signIn(&what.Tenant); err != nil {
		return nil, err
	}
	o := &outcome{}
	first, err := begin()
	if err != nil {
		return nil, err
	}
	if err := p.sweep(what.IDs); err != nil {
		return nil, err
	}
	if o.First, _, err = first.end(); err != nil {
		return nil, err
	}
	o.Read = len(p.people)
	p.requests = 0
	s, err := begin()
	if err != nil {
		return nil, err
	}
	for range what.Sweeps {
		if err := p.sweep(what.IDs); err != nil {
			return nil, err
		}
	}
	wall, cpu, err := s.end()
	if err != nil {
		return nil, err
	}
	o.garbage(&s, float64(what.Sweeps*what.People))
	n := float64(what.Sweeps)
	o.Sweep, o.CPU, o.Requests = wall/n, cpu/n, float64(p.requests)/n
	o.Resident, err = resident()
	return o, err
}

// signIn gets a token with the client's credentials.
func (p *plain) signIn(at *place) error {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {at.ClientID}, "client_secret": {at.Secret},
		"scope": {at.URL + "/.default"},
	}
	resp, err := p.client.Post(at.URL+"/"+at.TenantID+"/oauth2/v2.0/token", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("getting a token: %w", err)
	}
	defer resp.Body.Close()
	var token struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil || token.Token == "" {
		return fmt.Errorf("getting a token: %s %s: %w", resp.Status, token.Error, err)
	}
	p.token = token.Token
	return nil
}

func (p *plain) sweep(ids []string) error {
	tick := time.NewTicker(plainPace)
	defer tick.Stop()
	for batch := range slices.Chunk(ids, 650) {
		<-tick.C
		if err := p.read(batch); err != nil {
			return fmt.Errorf("reading presence: %w", err)
		}
	}
	return nil
}

func (p *plain) read(ids []string) error {
	body, err := json.Marshal(map[string][]string{"ids": ids})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.token)
	p.requests++
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	var answer struct {
		Value []plainPresence `json:"value"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	for i := range answer.Value {
		p.people[answer.Value[i].ID] = answer.Value[i]
	}
	return nil
}
