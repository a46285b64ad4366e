package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a server that was started for the measurement.
type process struct {
	name string
	cmd  *exec.Cmd
	// lines are the lines of its output and log until somebody has found what
	// they were looking for; later ones are dropped.
	lines chan string
	ended chan struct{}

	mu    sync.Mutex
	tail  []string // the last lines of the log, for a failure
	trace heap
}

// heap is what the garbage collector traced last, in MiB.
type heap struct{ live, stacks int }

// start runs a program. Its standard output and error are read line by line;
// verbose shows the latter.
func start(ctx context.Context, name string, verbose bool, env []string, path string, args ...string) (*process, error) {
	p := &process{name: name, lines: make(chan string, 64), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 15 * time.Second
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	errs, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.read(out, false) })
	readers.Go(func() { p.read(errs, verbose) })
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // how it ended does not matter; that it did, does
		close(p.ended)
	}()
	return p, nil
}

func (p *process) read(r io.Reader, verbose bool) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if h, ok := parseTrace(line); ok {
			p.mu.Lock()
			p.trace = h
			p.mu.Unlock()
			continue
		}
		if verbose {
			fmt.Fprintf(os.Stderr, "%s: %s\n", p.name, line)
		}
		p.mu.Lock()
		p.tail = append(p.tail[max(0, len(p.tail)-9):], line)
		p.mu.Unlock()
		select {
		case p.lines <- line:
		default:
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line that is too long must not block the process
}

// await returns what find makes of the first line that it accepts.
func (p *process) await(ctx context.Context, find func(line string) (string, bool)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		select {
		case line := <-p.lines:
			if found, ok := find(line); ok {
				return found, nil
			}
		case <-p.ended:
			return "", p.failure()
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for %s: %w", p.name, ctx.Err())
		}
	}
}

// failure tells that the process has ended, with the end of its log.
func (p *process) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("%s has ended: %s", p.name, strings.Join(p.tail, "\n  "))
}

// stop ends the process: politely, then not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(p.cmd.WaitDelay):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func (p *process) heap() heap {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trace
}

// footprint is the memory of a process.
type footprint struct {
	resident int64 // bytes
	heap     heap
}

// settled waits until the resident memory has not fallen for calm, and returns
// the lowest of that time. Free heap goes back to the system bit by bit.
func (p *process) settled(ctx context.Context, calm time.Duration) (footprint, error) {
	const sample, noise = 250 * time.Millisecond, 0.002
	lowest := int64(1 << 62)
	since := time.Now()
	for began := since; time.Since(since) < calm && time.Since(began) < 9*calm; {
		now, err := p.resident()
		if err != nil {
			return footprint{}, err
		}
		if now < lowest {
			if float64(now) < float64(lowest)*(1-noise) {
				since = time.Now()
			}
			lowest = now
		}
		if err := pause(ctx, sample); err != nil {
			return footprint{}, err
		}
	}
	return footprint{lowest, p.heap()}, nil
}

func (p *process) resident() (int64, error) { return p.memory("VmRSS") }

// memory reads one of the sizes in /proc/PID/status, in bytes.
func (p *process) memory(field string) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of %s: %w", p.name, err)
	}
	return parseMemory(string(raw), field)
}

func parseMemory(status, field string) (int64, error) {
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(line, field+":")
		if !ok {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || unit != "kB" {
			return 0, fmt.Errorf("%s is %q", field, strings.TrimSpace(rest))
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("the status has no %s", field)
}

// holds waits until the process has accepted n connections, going by the files
// that it has open.
func (p *process) holds(ctx context.Context, n int) error {
	const patience = 30 * time.Second
	for began := time.Now(); ; {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
		if err != nil {
			return fmt.Errorf("reading the open files of %s: %w", p.name, err)
		}
		if len(files) >= n {
			return nil
		}
		if time.Since(began) > patience {
			return fmt.Errorf("%s has %d files open, it should hold %d connections", p.name, len(files), n)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func (p *process) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of %s: %w", p.name, err)
	}
	return parseCPU(string(raw))
}

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// parseCPU reads utime and stime of /proc/PID/stat. The second field is a name
// in parentheses that may hold anything.
func parseCPU(stat string) (time.Duration, error) {
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("the stat line is %q", stat)
	}
	var sum time.Duration
	for _, f := range fields[11:13] { // fields 14 and 15 of proc(5)
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the stat line is %q: %w", stat, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

var traceLine = regexp.MustCompile(`^gc \d+ @.*\d+->\d+->(\d+) MB, .* (\d+) MB stacks`)

// parseTrace reads a line of GODEBUG=gctrace=1.
func parseTrace(line string) (heap, bool) {
	m := traceLine.FindStringSubmatch(line)
	if m == nil {
		return heap{}, false
	}
	live, err1 := strconv.Atoi(m[1])
	stacks, err2 := strconv.Atoi(m[2])
	return heap{live, stacks}, err1 == nil && err2 == nil
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
