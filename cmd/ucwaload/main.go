// Command ucwaload measures what a parked P-GET costs the gateway, beside a
// bare net/http handler that is parked the same way, in the same run, and
// prints a report. Everything goes over real HTTP on loopback, in processes of
// its own:
//
//	                      ┌───────────────┐      ┌──────────────────┐
//	parked connections ──▶│ ucwagate serve│─────▶│ relay (in here)  │──▶ ucwagate simulate
//	(in here)             └───────────────┘      └──────────────────┘
//	                  ──▶ ucwaload bare
//
// The relay stands between the gateway and the simulated tenant so that the
// moment is known at which a changed presence reached the gateway; it sees
// about three requests per second and is in nobody's way.
//
// What is measured, and how:
//
//   - Resident memory is VmRSS of /proc/PID/status once it has settled, before
//     and after parking, and again when most clients have been woken, answered
//     and parked again: only then have the buffers of answers been written to,
//     and memory that was never written to is not resident. Both servers run with the same GOGC (the flag gogc,
//     25 by default), so that free heap is a small and equal part of it, and
//     both collect garbage while parked: the gateway through its sweeps, the
//     bare handler every few seconds. Both are sent requests of the same length with the same headers.
//   - Wake latency is the time from the release to the first byte at a client.
//     The release is the moment at which the first client of the change is
//     told. A change that one client sees has no other client to compare with:
//     for it, and as a second table for all, the time counts from the moment
//     the package was due, which is when the changed presence had been handed
//     to the gateway plus the five seconds of the medium timer. That includes
//     reading the answer of up to 650 people. For the bare handler it counts
//     from the request that wakes. Clients send their next request once all of
//     a round are awake.
//   - A sweep is one reading of every watched person. CPU time is utime and
//     stime of /proc/PID/stat over several sweeps in which nothing changes.
//
// Besides, "hostile" measures how long honest clients wait beside hostile ones,
// "footprint" how long the program takes to start and how large it is, and
// "replicas" what it costs that two gateways share one Redis.
//
// It must never know the inside of the gateway: it starts the program and
// speaks HTTP with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/crypto/bcrypt"
)

type commands struct {
	Run  runCommand  `cmd:"" default:"withargs" help:"Measure (the default)."`
	Bare bareCommand `cmd:"" hidden:"" help:"Be the bare handler."`

	Hold      holdCommand      `cmd:"" hidden:"" help:"Hold connections."`
	Hostile   hostileCommand   `cmd:"" help:"Measure honest clients beside hostile ones."`
	Footprint footprintCommand `cmd:"" help:"Measure the time to start, the memory and the size of the program."`
	Replicas  replicasCommand  `cmd:"" help:"Measure two gateways that share one Redis beside one that does not."`
}

type runCommand struct {
	N       int           `name:"n" default:"10000" help:"P-GETs to park, 20 to 100,000."`
	People  int           `default:"20000" help:"People in the tenant who are watched, 100 to 500,000."`
	Watch   int           `default:"50" help:"People whom each application watches, 3 to 250."`
	Refresh time.Duration `help:"Time between two sweeps of the gateway; 10s, or 1.5s for fewer than 2,000 P-GETs."`
	Rounds  int           `help:"Changes per row of the wake table; 5, or 1 for fewer than 2,000 P-GETs."`
	Sweeps  int           `default:"3" help:"Sweeps over which CPU time is measured."`
	GOGC    int           `name:"gogc" default:"25" help:"GOGC of the gateway and of the bare handler."`
	Binary  string        `type:"existingfile" placeholder:"FILE" help:"The ucwagate to measure. Without it, it is built from this module."`
	Hold    time.Duration `help:"Pause with everything parked, to look at the gateway from outside."`
	Verbose bool          `help:"Show the log of the gateway and of the simulator."`
}

// quickBelow is the size below which the defaults aim at a quick look.
const quickBelow = 2000

func (c *runCommand) prepare() error {
	quick := c.N < quickBelow
	if c.Refresh == 0 {
		c.Refresh = 10 * time.Second
		if quick {
			c.Refresh = 1500 * time.Millisecond
		}
	}
	if c.Rounds == 0 {
		c.Rounds = 5
		if quick {
			c.Rounds = 1
		}
	}
	switch {
	case c.N < 20 || c.N > 100_000:
		return errors.New("--n must be from 20 to 100,000")
	case c.People < 100 || c.People > 500_000:
		return errors.New("--people must be from 100 to 500,000")
	case c.Watch < 3 || c.Watch > min(250, c.People-3): // three people have audiences of their own
		return errors.New("--watch must be from 3 to 250, and at most three less than --people")
	case c.Refresh < time.Second || c.Rounds < 1 || c.Sweeps < 1 || c.GOGC < 1:
		return errors.New("--refresh must be at least 1s, --rounds, --sweeps and --gogc at least 1")
	}
	return nil
}

// Run measures and prints.
func (c *runCommand) Run(ctx context.Context) (err error) {
	if err := c.prepare(); err != nil {
		return err
	}
	if err := allowFiles(uint64(c.N) + 512); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ucwaload-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{runCommand: c, dir: dir, cost: bcrypt.MinCost, sync: true, limits: withoutLimits}
	gateway, err := b.measureGateway(ctx)
	if err != nil {
		return fmt.Errorf("measuring the gateway: %w", err)
	}
	bare, err := b.measureBare(ctx, gateway)
	if err != nil {
		return fmt.Errorf("measuring the bare handler: %w", err)
	}
	return printReport(os.Stdout, c, gateway, bare)
}

// allowFiles makes sure that this process and those it starts may open so many
// files. Go itself raises the soft limit to the hard one.
func allowFiles(need uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	if limit.Max >= need {
		return nil
	}
	raised := syscall.Rlimit{Cur: need, Max: need}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
		return fmt.Errorf("%d open files are needed, the hard limit is %d and may not be raised (%w): raise it (ulimit -Hn) or lower --n", need, limit.Max, err)
	}
	return nil
}

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	k := kong.Parse(&c, kong.Name("ucwaload"), kong.UsageOnError(),
		kong.Description("Parks P-GETs in a gateway and in a bare net/http handler and compares what they cost."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err := k.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "ucwaload: %v\n", err)
		return 1
	}
	return 0
}
