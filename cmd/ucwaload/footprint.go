package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// footprintCommand measures what the program itself costs: a stripped build in
// front of a simulated tenant in another process.
type footprintCommand struct {
	Starts       int  `default:"11" help:"How often the gateway is started."`
	Applications int  `default:"1000" help:"Applications, each with a parked P-GET, of the loaded gateway."`
	Watch        int  `default:"50" help:"People whom each application watches."`
	Verbose      bool `help:"Show the log of the gateway and of the simulator."`
}

// What is aimed at.
const (
	startGoal = 300 * time.Millisecond
	idleGoal  = 30 << 20
	sizeGoal  = 25 << 20
)

// footprints is what was measured.
type footprints struct {
	size         int64
	starts       []time.Duration // sorted
	idle, loaded int64           // resident bytes
	// program is how much of idle is pages of the program's file, which the
	// system shares and may take back.
	program int64
}

// Run measures and prints.
func (c *footprintCommand) Run(ctx context.Context) (err error) {
	if c.Starts < 1 || c.Applications < 20 || c.Applications > 10_000 || c.Watch < 3 || c.Watch > 250 {
		return errors.New("--starts must be at least 1, --applications from 20 to 10,000, --watch from 3 to 250")
	}
	if err := allowFiles(uint64(c.Applications) + 512); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ucwaload-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var f footprints
	binary, err := buildStripped(ctx, dir)
	if err != nil {
		return err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return fmt.Errorf("reading the size of the program: %w", err)
	}
	f.size = info.Size()
	if err := c.start(ctx, dir, binary, &f); err != nil {
		return fmt.Errorf("measuring the start: %w", err)
	}
	if err := c.load(ctx, dir, binary, &f); err != nil {
		return fmt.Errorf("measuring the loaded gateway: %w", err)
	}
	return f.print(os.Stdout, c)
}

// buildStripped compiles the gateway as it is shipped.
func buildStripped(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "ucwagate")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "ucwagate/cmd/ucwagate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building ucwagate: %w\n%s", err, out)
	}
	return path, nil
}

// start starts the gateway again and again, and leaves the last one idle.
func (c *footprintCommand) start(ctx context.Context, dir, binary string, f *footprints) error {
	b := &bench{runCommand: &runCommand{N: 1, People: 100, Refresh: 20 * time.Second, Binary: binary, GOGC: 100, Verbose: c.Verbose}, dir: dir, cost: bcrypt.MinCost}
	s := &system{http: newHTTPClient()}
	defer s.stop()
	if err := b.startSystem(ctx, s); err != nil {
		return err
	}
	for i := range c.Starts + 1 {
		s.gateway.stop()
		began := time.Now()
		var err error
		s.gateway, err = start(ctx, "gateway", c.Verbose, nil, binary, "serve", "--config", filepath.Join(dir, "ucwagate.yaml"))
		if err != nil {
			return err
		}
		internal, err := s.gateway.await(ctx, listeningInside)
		if err != nil {
			return err
		}
		if err := s.ready(ctx, internal); err != nil {
			return err
		}
		if i > 0 { // the first has the program read from the disk
			f.starts = append(f.starts, time.Since(began))
		}
	}
	slices.Sort(f.starts)
	idle, err := s.gateway.settled(ctx, 5*time.Second)
	if err != nil {
		return err
	}
	f.idle = idle.resident
	f.program, err = s.gateway.memory("RssFile")
	return err
}

// ready waits until a gateway says at its internal listener that it is ready.
func (s *system) ready(ctx context.Context, internal string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+internal+"/readyz", nil)
		if err != nil {
			return err
		}
		res, err := s.http.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			if err = cmp.Or(err, res.Body.Close()); err == nil && res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("waiting until the gateway is ready: %w", err)
		}
	}
}

// load measures the gateway with applications, subscriptions and parked P-GETs.
func (c *footprintCommand) load(ctx context.Context, dir, binary string, f *footprints) error {
	b := &bench{runCommand: &runCommand{
		N: c.Applications, People: 5000, Watch: c.Watch, Refresh: 20 * time.Second, Binary: binary, GOGC: 100, Verbose: c.Verbose,
	}, dir: dir, cost: bcrypt.MinCost, limits: withoutLimits}
	s := &system{http: newHTTPClient()}
	defer s.stop()
	if err := b.startSystem(ctx, s); err != nil {
		return err
	}
	members, err := b.openAll(ctx, s, newPlan(b.N, b.People, b.Watch))
	if err != nil {
		return err
	}
	parked, err := park(ctx, strings.TrimPrefix(s.base, "http://"), members, func(_ *parking, body []byte) (string, error) { return nextPath(body) })
	if err != nil {
		return err
	}
	defer parked.close()
	if err := s.gateway.holds(ctx, b.N); err != nil {
		return err
	}
	loaded, err := s.gateway.settled(ctx, 5*time.Second)
	f.loaded = loaded.resident
	return cmp.Or(err, s.relay.failed())
}

func (f *footprints) print(out io.Writer, c *footprintCommand) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	met := func(ok bool) string {
		if ok {
			return "met"
		}
		return "MISSED"
	}
	mib := func(n int64) float64 { return float64(n) / (1 << 20) }
	median := percentile(f.starts, 0.5)
	fmt.Fprintf(out, "\nThe program by itself (simulated tenant in another process, default GOGC)\n\n")
	fmt.Fprintf(w, "from exec to ready, median of %d\t%.0f ms\tgoal %d ms %s\t(%.0f to %.0f ms)\t\n", len(f.starts), ms(median),
		startGoal.Milliseconds(), met(median < startGoal), ms(f.starts[0]), ms(f.starts[len(f.starts)-1]))
	fmt.Fprintf(w, "resident when idle\t%.1f MiB\tgoal %d MiB %s\t(%.1f MiB of it pages of the program's file)\t\n", mib(f.idle), idleGoal>>20, met(f.idle <= idleGoal), mib(f.program))
	fmt.Fprintf(w, "resident with %d applications that watch %d people each, P-GETs parked\t%.1f MiB\t\t\t\n", c.Applications, c.Watch, mib(f.loaded))
	fmt.Fprintf(w, "stripped program\t%.1f MiB\tgoal %d MiB %s\t\t\n", mib(f.size), sizeGoal>>20, met(f.size <= sizeGoal))
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
