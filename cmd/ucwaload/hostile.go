package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// hostileCommand measures how long honest clients wait beside hostile ones: all
// over loopback, the gateway in a process of its own with its default limits.
// Honest clients come from 127.0.0.1, hostile ones from addresses behind it. How
// many there are and how long each phase lasts is bounded.
type hostileCommand struct {
	Honest  int           `default:"200" help:"Honest clients, 10 to 1,000."`
	Idle    int           `default:"20000" help:"Connections that are held and do nothing, up to 50,000."`
	Phase   time.Duration `default:"8s" help:"How long each attack lasts."`
	Rounds  int           `default:"3" help:"How often everything is repeated."`
	Cost    int           `default:"10" help:"Cost of the bcrypt hashes of passwords, 4 to 14."`
	Binary  string        `type:"existingfile" placeholder:"FILE" help:"The ucwagate to measure. Without it, it is built from this module."`
	Verbose bool          `help:"Show the log of the gateway and of the simulator."`
}

// hostileGoal is the largest ratio of a 99th percentile to that of the quiet run
// that is aimed at.
const hostileGoal = 2.0

func (c *hostileCommand) check() error {
	switch {
	case c.Honest < 10 || c.Honest > 1000:
		return errors.New("--honest must be from 10 to 1,000")
	case c.Idle < 0 || c.Idle > 50_000:
		return errors.New("--idle must be from 0 to 50,000")
	case c.Phase < time.Second || c.Phase > time.Minute || c.Rounds < 1 || c.Rounds > 20:
		return errors.New("--phase must be from 1s to 1m, --rounds from 1 to 20")
	case c.Cost < 4 || c.Cost > 14:
		return errors.New("--cost must be from 4 to 14")
	}
	return nil
}

// phase is what was measured while one attack went on, in each round.
type phase struct {
	name     string
	rounds   []map[operation][]time.Duration // sorted
	failed   int
	resident int64 // the most, in bytes
	told     string
}

// Run measures and prints.
func (c *hostileCommand) Run(ctx context.Context) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	if err := allowFiles(uint64(4*c.Honest + 4096)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ucwaload-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{runCommand: &runCommand{
		N: c.Honest, People: 500, Refresh: 20 * time.Second, Binary: c.Binary, GOGC: 100, Verbose: c.Verbose,
	}, dir: dir, accounts: c.Honest, cost: c.Cost}
	s := &system{http: newHTTPClient()}
	defer s.stop()
	if err := b.startSystem(ctx, s); err != nil {
		return err
	}
	b.say("signing in %d honest clients", c.Honest)
	crowd, err := c.gather(ctx, b, s)
	defer crowd.close()
	if err != nil {
		return err
	}
	phases := []*phase{{name: "quiet"}}
	attacks := c.attacks(strings.TrimPrefix(s.base, "http://"), s.persons)
	for _, a := range attacks {
		phases = append(phases, &phase{name: a.name})
	}
	phases = append(phases, &phase{name: "all of them"})
	for round := range c.Rounds {
		for i, p := range phases {
			b.say("round %d: %s", round+1, p.name)
			var now []attack
			switch {
			case i == 0:
			case i <= len(attacks):
				now = attacks[i-1 : i]
			default:
				now = attacks
			}
			if err := c.measure(ctx, s, crowd, now, p); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return c.print(os.Stdout, phases)
}

// measure lets the honest clients work while attacks go on.
func (c *hostileCommand) measure(ctx context.Context, s *system, crowd *crowd, attacks []attack, p *phase) error {
	hostile, stop := context.WithCancel(ctx)
	var group errgroup.Group
	var running []*assault
	defer func() {
		stop()
		_ = group.Wait()
	}()
	for _, a := range attacks {
		one := &assault{host: crowd.host, ready: make(chan struct{})}
		running = append(running, one)
		group.Go(func() error { a.run(hostile, one); return nil })
	}
	for _, one := range running {
		select {
		case <-one.ready:
			if failed := one.failed.Load(); failed != nil {
				return *failed
			}
		case <-time.After(time.Minute):
			return errors.New("the attack could not be prepared within a minute")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	took, failed, err := crowd.work(ctx, c.Phase)
	if err != nil {
		return err
	}
	p.rounds, p.failed = append(p.rounds, took), p.failed+failed
	resident, err := s.gateway.resident()
	if err != nil {
		return err
	}
	p.resident = max(p.resident, resident)
	var told []string
	for _, one := range running {
		told = append(told, one.String())
	}
	if len(told) == 1 {
		p.told = told[0]
	}
	stop()
	_ = group.Wait()
	// What was cut is gone before the next one begins.
	return pause(ctx, time.Second)
}

// gather signs the honest clients in.
func (c *hostileCommand) gather(ctx context.Context, b *bench, s *system) (*crowd, error) {
	crowd := &crowd{host: strings.TrimPrefix(s.base, "http://"), password: s.password, members: make([]*honest, c.Honest)}
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range crowd.members {
		group.Go(func() error {
			user := strings.TrimPrefix(s.persons[b.People+i].URI, "sip:")
			a, err := signIn(within, s.http, s.base, user, s.password)
			if err != nil {
				return err
			}
			h := &honest{user: user, token: a.token}
			var uris []string
			for k := range 20 {
				uris = append(uris, s.persons[(i*7+k)%b.People].URI)
			}
			path, err := a.open(within, fmt.Sprintf("honest-%d", i), uris)
			if err != nil {
				return err
			}
			h.prepare(path, uris)
			crowd.members[i] = h
			return h.connect(within, crowd.host)
		})
	}
	if err := group.Wait(); err != nil {
		return crowd, err
	}
	// The first presences are read, and told, before anything is measured.
	return crowd, pause(ctx, mediumTimer+2*time.Second)
}

// print shows each phase beside the quiet run of the same round.
func (c *hostileCommand) print(out io.Writer, phases []*phase) error {
	fmt.Fprintf(out, "\n%d honest clients beside hostile ones, default limits, bcrypt at cost %d, %d rounds of %s\n", c.Honest, c.Cost, c.Rounds, c.Phase)
	fmt.Fprint(out, "A ratio is that to the quiet run of the same round: median (lowest to highest) over the rounds.\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "operation\tbeside\tp50\tp99\tratio p50\tratio p99\tgoal\n")
	for _, op := range operations {
		for i, p := range phases {
			p50, p99 := p.median(op, 0.5), p.median(op, 0.99)
			if i == 0 {
				fmt.Fprintf(w, "%s\t%s\t%.2f ms\t%.2f ms\t\t\t\n", op, p.name, ms(p50), ms(p99))
				continue
			}
			half, most := p.ratios(phases[0], op, 0.5), p.ratios(phases[0], op, 0.99)
			verdict := fmt.Sprintf("≤ %.1f met", hostileGoal)
			if percentileOf(most, 0.5) > hostileGoal {
				verdict = fmt.Sprintf("≤ %.1f MISSED", hostileGoal)
			}
			fmt.Fprintf(w, "%s\t%s\t%.2f ms\t%.2f ms\t%.2f\t%.2f (%.2f to %.2f)\t%s\n", op, p.name, ms(p50), ms(p99),
				percentileOf(half, 0.5), percentileOf(most, 0.5), most[0], most[len(most)-1], verdict)
		}
		fmt.Fprint(w, "\t\t\t\t\t\t\n")
	}
	fmt.Fprint(w, "beside\toperations\tfailed\tresident\tthe attack, last round\t\t\n")
	for _, p := range phases {
		n := 0
		for _, round := range p.rounds {
			for _, took := range round {
				n += len(took)
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f MiB\t%s\t\t\n", p.name, n, p.failed, float64(p.resident)/(1<<20), p.told)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// median returns the median over the rounds of a percentile.
func (p *phase) median(op operation, q float64) time.Duration {
	var each []time.Duration
	for _, round := range p.rounds {
		each = append(each, percentile(round[op], q))
	}
	slices.Sort(each)
	return percentile(each, 0.5)
}

// ratios returns those of each round to the quiet one, sorted.
func (p *phase) ratios(quiet *phase, op operation, q float64) []float64 {
	var all []float64
	for i, round := range p.rounds {
		all = append(all, float64(percentile(round[op], q))/float64(max(1, percentile(quiet.rounds[i][op], q))))
	}
	slices.Sort(all)
	return all
}

// percentileOf is percentile for ratios.
func percentileOf(sorted []float64, p float64) float64 {
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// from is a dialer whose connections come from a loopback address of their own.
func from(n int) *net.Dialer {
	return &net.Dialer{KeepAlive: -1, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n%200))}}
}
