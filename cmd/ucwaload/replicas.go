package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/errgroup"
)

// replicasCommand measures what it costs that several replicas share one Redis:
// reading a presence beside a gateway that keeps everything in its memory, and
// how long a change takes from the replica that reads it to a client parked on
// another. Everything goes over loopback, each server in a process of its own.
type replicasCommand struct {
	Clients int           `default:"100" help:"P-GETs parked at each gateway, 1 to 1,000."`
	Workers int           `default:"8" help:"Connections that read presence without pause, 1 to 100."`
	Phase   time.Duration `default:"4s" help:"How long presence is read at a time."`
	Rounds  int           `default:"5" help:"How often presence is read from each gateway, one after the other."`
	Changes int           `default:"10" help:"How many changes of presence are timed."`
	Binary  string        `type:"existingfile" placeholder:"FILE" help:"The ucwagate to measure. Without it, it is built from this module."`
	Verbose bool          `help:"Show the log of the gateways and of the simulators."`
}

// hotGoal is the least part of the reads of the memory engine that is aimed at.
const hotGoal = 0.9

// hotPeople is how many people are watched, and read.
const hotPeople = 200

func (c *replicasCommand) check() error {
	switch {
	case c.Clients < 1 || c.Clients > perUser/2 || c.Workers < 1 || c.Workers > 100:
		return errors.New("--clients must be from 1 to 500, --workers from 1 to 100")
	case c.Phase < time.Second || c.Phase > time.Minute || c.Rounds < 1 || c.Rounds > 50 || c.Changes < 1 || c.Changes > 1000:
		return errors.New("--phase must be from 1s to 1m, --rounds from 1 to 50, --changes from 1 to 1,000")
	}
	return nil
}

// side is one of the two deployments that are compared.
type side struct {
	*bench
	system *system
	second *process // a second gateway; nil without Redis
	hosts  []string // of the gateways, the one that reads presence first
	fleets []*fleet // parked at each

	reads []rate            // of each round
	told  [][]time.Duration // by gateway: from when it was due, of every client and change
}

// rate is what was read in one phase.
type rate struct {
	perSecond float64
	took      []time.Duration // sorted
}

// Run measures and prints.
func (c *replicasCommand) Run(ctx context.Context) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ucwaload-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if c.Binary == "" {
		if c.Binary, err = build(ctx, dir); err != nil {
			return err
		}
	}
	redis, address, err := startRedis(ctx, dir, c.Verbose)
	if err != nil {
		return err
	}
	defer redis.stop()
	memory, err := c.start(ctx, filepath.Join(dir, "memory"), nil)
	defer memory.stop()
	if err != nil {
		return fmt.Errorf("starting the gateway without Redis: %w", err)
	}
	shared, err := c.start(ctx, filepath.Join(dir, "redis"), object{"addresses": []string{address}, "replicas": 2})
	defer shared.stop()
	if err != nil {
		return fmt.Errorf("starting the gateways on Redis: %w", err)
	}
	for round := range c.Rounds {
		for _, s := range []*side{memory, shared} {
			s.say("round %d: reading presence", round+1)
			if err := s.read(ctx, c); err != nil {
				return fmt.Errorf("reading presence: %w", err)
			}
		}
	}
	for _, s := range []*side{memory, shared} {
		if err := s.timeChanges(ctx, c); err != nil {
			return fmt.Errorf("timing changes: %w", err)
		}
	}
	return c.print(os.Stdout, memory, shared)
}

// startRedis starts a server that keeps nothing on the disk.
func startRedis(ctx context.Context, dir string, verbose bool) (*process, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("finding a port for Redis: %w", err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, "", err
	}
	_, port, _ := net.SplitHostPort(address)
	p, err := start(ctx, "redis-server", verbose, nil, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	if err != nil {
		return nil, "", fmt.Errorf("%w (is the Debian package redis-server installed?)", err)
	}
	_, err = p.await(ctx, func(line string) (string, bool) { return "", strings.Contains(line, "Ready to accept connections") })
	if err != nil {
		p.stop()
		return nil, "", err
	}
	return p, address, nil
}

// start starts a tenant, one gateway, or two on Redis, and parks clients at
// each. stop must be called whatever happens.
func (c *replicasCommand) start(ctx context.Context, dir string, redis object) (*side, error) {
	gateways := 1
	if redis != nil {
		gateways = 2
	}
	s := &side{system: &system{http: newHTTPClient()}, bench: &bench{
		runCommand: &runCommand{
			N: gateways * c.Clients, People: hotPeople, Watch: hotPeople, Refresh: 1500 * time.Millisecond, Binary: c.Binary, GOGC: 100, Verbose: c.Verbose,
		}, dir: dir, cost: bcrypt.MinCost, limits: withoutLimits, redis: redis,
	}}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return s, err
	}
	if err := s.startSystem(ctx, s.system); err != nil {
		return s, err
	}
	if err := s.system.ready(ctx, s.system.internal); err != nil {
		return s, err
	}
	s.hosts = []string{strings.TrimPrefix(s.system.base, "http://")}
	everybody := audience{from: 0, n: s.N}
	members, err := s.openAll(ctx, s.system, plan{clients: s.N, people: hotPeople, watch: hotPeople, audiences: [3]audience{
		everybody, {person: 1, n: s.N}, {person: 2, n: s.N},
	}})
	if err != nil {
		return s, err
	}
	if gateways > 1 { // the first reads presence by now, and goes on to
		s.second, err = start(ctx, "second gateway", c.Verbose, s.environment(), c.Binary, "serve", "--config", filepath.Join(dir, "ucwagate.yaml"))
		if err != nil {
			return s, err
		}
		internal, err := s.second.await(ctx, listeningInside)
		if err != nil {
			return s, err
		}
		address, err := s.second.await(ctx, listeningOutside)
		if err != nil {
			return s, err
		}
		if err := s.system.ready(ctx, internal); err != nil {
			return s, err
		}
		s.hosts = append(s.hosts, address)
	}
	for _, host := range s.hosts {
		mine := members[:c.Clients]
		members = members[c.Clients:]
		for i, m := range mine {
			m.index = i
		}
		f, err := park(ctx, host, mine, func(_ *parking, body []byte) (string, error) { return nextPath(body) })
		if err != nil {
			return s, err
		}
		s.fleets = append(s.fleets, f)
		s.told = append(s.told, nil)
	}
	for _, f := range s.fleets {
		if err := f.quiet(ctx, s.calm()); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *side) stop() {
	for _, f := range s.fleets {
		f.close()
	}
	if s.second != nil {
		s.second.stop()
	}
	s.system.stop()
}

// read asks the first gateway for presence that it knows, without pause.
func (s *side) read(ctx context.Context, c *replicasCommand) error {
	m := s.fleets[0].members[0]
	app, _, _ := strings.Cut(m.path, "/events")
	took := make([][]time.Duration, c.Workers)
	began := time.Now()
	group, within := errgroup.WithContext(ctx)
	for w := range c.Workers {
		group.Go(func() error {
			e, err := dial(within, s.hosts[0])
			if err != nil {
				return err
			}
			defer e.close()
			for i := w; time.Since(began) < c.Phase; i++ {
				path := app + "/people/" + strings.TrimPrefix(s.system.persons[i%hotPeople].URI, "sip:") + "/presence"
				asked := time.Now()
				if err := e.send(http.MethodGet, path, s.hosts[0], m.token, "", ""); err != nil {
					return err
				}
				if err := e.receive(http.StatusOK); err != nil {
					return err
				}
				took[w] = append(took[w], time.Since(asked))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	all := slices.Concat(took...)
	lasted := time.Since(began)
	slices.Sort(all)
	s.reads = append(s.reads, rate{float64(len(all)) / lasted.Seconds(), all})
	return nil
}

// timeChanges changes presence and notes how long after it was due everybody is
// told.
func (s *side) timeChanges(ctx context.Context, c *replicasCommand) error {
	for i := range c.Changes {
		s.say("change %d of %d", i+1, c.Changes)
		for _, f := range s.fleets {
			if err := f.quiet(ctx, 500*time.Millisecond); err != nil {
				return err
			}
		}
		person := i % 3
		handed, err := s.system.change(ctx, person)
		if err != nil {
			return err
		}
		address := strings.TrimPrefix(s.system.persons[person].URI, "sip:")
		times := make([][]time.Time, len(s.fleets))
		group, within := errgroup.WithContext(ctx)
		for k, f := range s.fleets {
			group.Go(func() (err error) {
				times[k], err = f.collect(within, audience{person: person, n: c.Clients}, 3*s.Refresh+30*time.Second, address)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		select {
		case at := <-handed:
			for k := range times {
				s.told[k] = append(s.told[k], newRound(times[k], at.Add(mediumTimer)).fromDue...)
			}
		default:
			return errors.New("clients were told of a change that the gateway had not read")
		}
	}
	return s.system.relay.failed()
}

// print shows both sides.
func (c *replicasCommand) print(out io.Writer, memory, shared *side) error {
	fmt.Fprintf(out, "\nOne gateway without Redis, and two on one Redis; %d rounds of %s over %d connections, %d changes, %d clients parked at each gateway\n\n",
		c.Rounds, c.Phase, c.Workers, c.Changes, c.Clients)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var ratios []float64
	for i := range memory.reads {
		ratios = append(ratios, shared.reads[i].perSecond/memory.reads[i].perSecond)
	}
	slices.Sort(ratios)
	middle := percentileOf(ratios, 0.5)
	verdict := fmt.Sprintf("≥ %.1f met", hotGoal)
	if middle < hotGoal {
		verdict = fmt.Sprintf("≥ %.1f MISSED", hotGoal)
	}
	fmt.Fprint(w, "GET contactPresence of a person who is watched\trequests/s\tp50\tp99\tratio\tgoal\n")
	row := func(name string, s *side, tail string) {
		perSecond := make([]float64, len(s.reads))
		var all []time.Duration
		for i, r := range s.reads {
			perSecond[i] = r.perSecond
			all = append(all, r.took...)
		}
		slices.Sort(perSecond)
		slices.Sort(all)
		fmt.Fprintf(w, "%s\t%.0f\t%.2f ms\t%.2f ms\t%s\n", name, percentileOf(perSecond, 0.5), ms(percentile(all, 0.5)), ms(percentile(all, 0.99)), tail)
	}
	row("memory", memory, "\t")
	row("Redis", shared, fmt.Sprintf("%.2f (%.2f to %.2f)\t%s", middle, ratios[0], ratios[len(ratios)-1], verdict))
	fmt.Fprint(w, "\t\t\t\t\t\n")
	fmt.Fprint(w, "Told of a change, after it was read and the timer was over\tclients\tp50\tp99\t\t\n")
	told := func(name string, all []time.Duration) {
		slices.Sort(all)
		fmt.Fprintf(w, "%s\t%d\t%.2f ms\t%.2f ms\t\t\n", name, len(all), ms(percentile(all, 0.5)), ms(percentile(all, 0.99)))
	}
	told("memory", memory.told[0])
	told("Redis, parked on the replica that reads", shared.told[0])
	told("Redis, parked on the other replica", shared.told[1])
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
