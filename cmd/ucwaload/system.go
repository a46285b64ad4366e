package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// perUser is how many applications one user opens, the most that the gateway
// can be configured to allow.
const perUser = 1000

// system is the gateway in front of a simulated tenant.
type system struct {
	simulator, gateway *process
	relay              *relay
	sim                tenant
	base, internal     string // of the gateway; the address of its internal listener
	password           string
	persons            []person
	http               *http.Client
}

// object is one of the configuration.
type object = map[string]any

// tenant is what the simulator prints.
type tenant struct {
	GraphURL  string `json:"graph_url"`
	Authority string `json:"authority"`
	CAFile    string `json:"ca_file"`
	TenantID  string `json:"tenant_id"`
	ClientID  string `json:"client_id"`
	Secret    string `json:"secret"`
	Domain    string `json:"domain"`
}

// person is a simulated user.
type person struct {
	ID           string `json:"id"`
	URI          string `json:"uri"`
	Availability string `json:"availability"`
}

// build compiles the gateway of this module.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "ucwagate")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "ucwagate/cmd/ucwagate")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building ucwagate: %w\n%s", err, out)
	}
	return path, nil
}

// startSystem starts simulator, relay and gateway. Whatever happens, stop must
// be called.
func (b *bench) startSystem(ctx context.Context, s *system) (err error) {
	binary := b.Binary
	if binary == "" {
		if binary, err = build(ctx, b.dir); err != nil {
			return err
		}
	}
	users := b.users()
	s.simulator, err = start(ctx, "simulator", b.Verbose, nil, binary, "simulate",
		"--users", strconv.Itoa((b.People+users)*12/10), "--still", "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0",
		"--ca-file", filepath.Join(b.dir, "simulator.pem"))
	if err != nil {
		return err
	}
	_, err = s.simulator.await(ctx, func(line string) (string, bool) {
		return "", json.Unmarshal([]byte(line), &s.sim) == nil && s.sim.GraphURL != ""
	})
	if err != nil {
		return err
	}
	if err := s.read(ctx, "/sim/presence", &s.persons); err != nil {
		return err
	}
	// Guests have addresses of domains that the gateway does not serve.
	s.persons = slices.DeleteFunc(s.persons, func(p person) bool { return !strings.HasSuffix(p.URI, "@"+s.sim.Domain) })
	if len(s.persons) < b.People+users {
		return fmt.Errorf("the simulator has %d people of %s, %d are needed", len(s.persons), s.sim.Domain, b.People+users)
	}
	if s.relay, err = newRelay(s.sim.GraphURL); err != nil {
		return err
	}
	config, err := b.writeConfig(s, users)
	if err != nil {
		return err
	}
	s.gateway, err = start(ctx, "gateway", b.Verbose, b.environment(), binary, "serve", "--config", config)
	if err != nil {
		return err
	}
	if s.internal, err = s.gateway.await(ctx, listeningInside); err != nil {
		return err
	}
	address, err := s.gateway.await(ctx, listeningOutside)
	s.base = "http://" + address
	return err
}

// The lines in which a gateway tells where it listens, in their order.
var (
	listeningInside  = listening("listening for health, metrics and status")
	listeningOutside = listening("listening")
)

// listening finds the address in the line of the log that says so.
func listening(message string) func(line string) (string, bool) {
	return func(line string) (string, bool) {
		var entry struct{ Msg, Address string }
		err := json.Unmarshal([]byte(line), &entry)
		return entry.Address, err == nil && entry.Msg == message
	}
}

// stop ends what was started.
func (s *system) stop() {
	if s.gateway != nil {
		s.gateway.stop()
	}
	if s.relay != nil {
		s.relay.close()
	}
	if s.simulator != nil {
		s.simulator.stop()
	}
	s.http.CloseIdleConnections()
}

// environment is that of the two servers that are compared.
func (b *bench) environment() []string {
	return []string{"GOGC=" + strconv.Itoa(b.GOGC), "GODEBUG=gctrace=1"}
}

// writeConfig writes the configuration of the gateway and the password file.
// The users who sign in are the last ones of the tenant.
func (b *bench) writeConfig(s *system, users int) (string, error) {
	s.password = rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(s.password), b.cost)
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w", err)
	}
	var passwords bytes.Buffer
	for _, p := range s.persons[b.People : b.People+users] {
		fmt.Fprintf(&passwords, "%s:%s\n", strings.TrimPrefix(p.URI, "sip:"), hash)
	}
	htpasswd := filepath.Join(b.dir, "htpasswd")
	config := object{
		"server":   object{"listen": "127.0.0.1:0", "drain_time": "1s"},
		"internal": object{"listen": "127.0.0.1:0"},
		"signin":   object{"htpasswd": htpasswd},
		"limits":   b.limits,
		"tenants": []object{{
			"name": "simulated", "tenant_id": s.sim.TenantID, "domains": []string{s.sim.Domain}, "cloud": "custom",
			"graph_url": s.relay.url, "authority": s.sim.Authority, "ca_file": s.sim.CAFile,
			"credential": object{"kind": "secret", "client_id": s.sim.ClientID, "secret": s.sim.Secret},
		}},
		"presence":      object{"refresh": b.Refresh.String(), "cache_size": max(200_000, 2*b.People)},
		"directory":     object{"sync": b.sync, "cache_size": max(200_000, 2*b.People)},
		"subscriptions": object{"members": 250},
		"applications":  object{"per_user": perUser, "max": max(100_000, b.N)},
	}
	if b.redis != nil {
		config["redis"] = b.redis
	}
	raw, err := yaml.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("encoding the configuration: %w", err)
	}
	path := filepath.Join(b.dir, "ucwagate.yaml")
	err = errors.Join(os.WriteFile(htpasswd, passwords.Bytes(), 0o600), os.WriteFile(path, raw, 0o600))
	if err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	return path, nil
}

// directoryRead waits until the gateway has read the directory, and asks Graph
// for nothing any more.
func (s *system) directoryRead(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var stats stats
		if err := s.read(ctx, "/sim/stats", &stats); err != nil {
			return err
		}
		if stats.Requests > 0 && s.relay.idle() > 2*time.Second {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("waiting until the directory has been read: %w", err)
		}
	}
}

// stats is what is read of the simulator's counters.
type stats struct {
	Requests    int `json:"requests"`
	Throttled   int `json:"throttled"`
	WorstWindow int `json:"worstWindow"`
}

// read asks the simulator's control endpoints.
func (s *system) read(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.sim.GraphURL+path, nil)
	if err != nil {
		return err
	}
	res, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking the simulator: %w", err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("asking the simulator for %s: %s: %w", path, res.Status, err)
	}
	return nil
}

// change gives a person another presence and returns a channel that tells when
// the gateway has been handed it.
func (s *system) change(ctx context.Context, number int) (<-chan time.Time, error) {
	p := &s.persons[number]
	p.Availability = map[bool]string{true: "Available", false: "Busy"}[p.Availability == "Busy"]
	handed := s.relay.expect(p.ID, p.Availability)
	raw, err := json.Marshal(map[string]string{"user": p.ID, "availability": p.Availability, "activity": p.Availability})
	if err != nil {
		return nil, fmt.Errorf("encoding a change: %w", err)
	}
	return handed, post(ctx, s.http, s.sim.GraphURL+"/sim/presence", raw)
}

// post sends a request whose answer does not matter if it is a success.
func post(ctx context.Context, hc *http.Client, to string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("POST %s: %s", to, res.Status)
	}
	return nil
}
